"""gRPC seen from the caller: limits, connections, and named errors out of failed calls."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any

import grpc

from airsplit import errors

MAX_CHUNK_BYTES = 1 << 20
"""Largest activation payload or K/V piece in one message."""

MAX_MESSAGE_BYTES = 4 * MAX_CHUNK_BYTES
"""Largest gRPC message: a chunk, its mask, scales and header. Debug logits are cut to fit."""

ERROR_NAME_KEY = "airsplit-error"

SUBSTITUTE_DETAILS = "Internal error from Core"
"""What `set_internal_error` of gRPC's asyncio client says in place of the peer."""

# A peer that vanished without a word (a lost machine, a cut line) is noticed within 30 s: a ping
# after 10 s of silence, and 20 s for its answer. It is the ping's timeout that ends the connection
# (gRPC 1.85, default 60 s); shorter, and a ping behind 1 MiB on a line of 1 Mbit/s might miss it.
CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


def parse_address(field: str, address: str) -> tuple[str, int]:
    """`host:port` to its parts.

    Raises:
        InputError: not of that form, or the port is not in 0-65535.
    """
    host, separator, port = address.rpartition(":")
    number = int(port) if port.isdecimal() and len(port) <= 5 else -1
    if not separator or not host or not 0 <= number <= 65535:
        raise errors.InputError.of(field, address, "HOST:PORT with a port in 0-65535")
    return host, number


def connect(address: str, options: Sequence[tuple[str, Any]] = ()) -> grpc.Channel:
    """A blocking channel with AirSplit's limits."""
    return grpc.insecure_channel(address, options=[*CHANNEL_OPTIONS, *options])


def connect_aio(address: str, options: Sequence[tuple[str, Any]] = ()) -> grpc.aio.Channel:
    """An asyncio channel with AirSplit's limits."""
    return grpc.aio.insecure_channel(address, options=[*CHANNEL_OPTIONS, *options])


def wait_ready(channel: grpc.Channel, peer: str, address: str, timeout_s: float) -> None:
    """Returns when the channel is connected.

    Raises:
        PeerUnavailableError: no connection within `timeout_s`.
    """
    host, port = parse_address(peer, address)
    try:
        socket.getaddrinfo(host.strip("[]"), port)
    except OSError as error:
        why = f"the host {host!r} is not known"
        raise errors.PeerUnavailableError.of(peer, address, why) from error
    try:
        grpc.channel_ready_future(channel).result(timeout=timeout_s)
    except grpc.FutureTimeoutError as error:
        why = f"no connection within {timeout_s:g} s"
        raise errors.PeerUnavailableError.of(peer, address, why) from error


def _why(details: str) -> str:
    """What of gRPC's words on a lost connection a person can use."""
    for reason in ("Connection refused", "Connection reset by peer", "Socket closed"):
        if reason in details:
            return reason.lower()
    return details.splitlines()[0] if details else "connection lost"


def translate(error: grpc.RpcError, peer: str, address: str) -> errors.AirSplitError:
    """The named error behind a failed call to `peer`."""
    code = error.code() if hasattr(error, "code") else None
    details = (error.details() if hasattr(error, "details") else None) or ""
    name = _name_of(error)
    if name:
        return errors.by_name(name)(details)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return errors.PeerTimeoutError.of(peer, address, "deadline exceeded")
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return errors.PeerUnavailableError.of(peer, address, _why(details))
    if code is grpc.StatusCode.OK:  # the end met a write, see `Outcome`
        return errors.PeerUnavailableError.of(peer, address, "it ended the stream")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        why = "something else answers there"
        return errors.PeerUnavailableError.of(peer, address, why)
    return errors.RemoteError(f"{peer} at {address}: {code.name if code else error}: {details}")


class Outcome:
    """How a call that streams requests ended, in the peer's words.

    Where the end meets a write, gRPC's asyncio client (1.85) sets a status of its own, INTERNAL, a
    moment before the peer's or in place of it: https://github.com/grpc/grpc/issues/36066. Both are
    there once the answer, or the last of a stream of answers by `async for`, has been waited for.
    """

    def __init__(self, call: Any) -> None:
        """
        Args:
            call: of `grpc.aio`, just started.
        """
        self._call = call
        self._first: grpc.aio.AioRpcError | None = None
        call.add_done_callback(self._note)

    def behind(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """What the peer ended the call with, which may be OK, where `error`, which the call
        raised, is gRPC's own; else `error`."""
        for found in (error, self._first or error, _status(self._call)):
            if found.details() != SUBSTITUTE_DETAILS:
                return found
        return error

    def _note(self, call: Any) -> None:
        self._first = self._first or _status(call)


def _status(call: Any) -> grpc.aio.AioRpcError:
    """What a call that has ended says now."""

    async def status() -> grpc.aio.AioRpcError:
        code, trailing = await call.code(), await call.trailing_metadata()
        return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, await call.details(), None)

    try:
        status().send(None)  # it is there; a task would come to it when it may be another
    except StopIteration as returned:
        error: grpc.aio.AioRpcError = returned.value
        return error
    raise RuntimeError("the call has not ended")


def is_named(error: grpc.RpcError) -> bool:
    """Whether the peer itself said what is wrong; else the call did not get through to it."""
    return bool(_name_of(error))


def _name_of(error: grpc.RpcError) -> str:
    metadata: Any = error.trailing_metadata() if hasattr(error, "trailing_metadata") else None
    return str(dict(metadata or ()).get(ERROR_NAME_KEY, ""))
