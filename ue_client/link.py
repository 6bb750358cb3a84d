"""The UE's link to the edge: one blocking stream, K/V transfers, deadlines on everything."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import grpc

from airsplit import errors
from airsplit.rpc import connect, translate, wait_ready
from airsplit.v1 import channel_pb2, channel_pb2_grpc, edge_pb2, edge_pb2_grpc

MIN_RATE_BYTES_PER_S = 125_000
"""1 Mbit/s: the slowest link that deadlines make room for."""

WATCH_S = 0.1
"""How often the deadline of a pending answer is looked at; an answer is late by at most this."""


class Link:
    """A connection to the edge, direct or through the channel emulator. One thread uses it."""

    def __init__(self, address: str, *, deadline_s: float = 10.0) -> None:
        """Connects, and finds out whether a channel emulator is in between.

        Args:
            deadline_s: longest wait for the connection or for one answer, seconds.

        Raises:
            PeerUnavailableError: nobody answers at `address`.
        """
        self.address = address
        self.peer = "edge server"
        """What to call the other side in errors."""

        self.deadline_s = deadline_s
        self._channel = connect(address)
        try:
            wait_ready(self._channel, self.peer, address, deadline_s)
        except errors.PeerUnavailableError:
            self._channel.close()
            raise
        self._edge = edge_pb2_grpc.EdgeStub(self._channel)
        self._radio = channel_pb2_grpc.ChannelStub(self._channel)
        if self.channel_state() is not None:
            self.peer = "channel emulator"

    def describe(self) -> edge_pb2.EdgeDescription:
        """What the edge runs and how much room it has."""
        request = edge_pb2.DescribeEdgeRequest()
        try:
            return self._edge.DescribeEdge(request, timeout=self.deadline_s)
        except grpc.RpcError as error:
            raise self._translated(error) from error

    def channel_state(self) -> channel_pb2.ChannelState | None:
        """The radio's state; None where no channel emulator is in between."""
        try:
            return self._radio.GetChannel(channel_pb2.GetChannelRequest(), timeout=self.deadline_s)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return None
            raise self._translated(error) from error

    def open(self, request: edge_pb2.OpenSession) -> tuple[Stream, edge_pb2.SessionOpened]:
        """Opens a session.

        Raises:
            AirSplitError: the edge's named refusal, or the peer is gone.
        """
        stream = Stream(self)
        try:
            stream.send(edge_pb2.InferRequest(open=request))
            response = stream.receive()
        except errors.AirSplitError:
            stream.close()
            raise
        if not response.HasField("opened"):
            stream.close()
            raise errors.TransitionError("the edge did not answer an open with an opened")
        return stream, response.opened

    def push(self, rows: Iterable[edge_pb2.CacheRows], n_bytes: int) -> edge_pb2.PushCacheResponse:
        """Sends K/V rows, `n_bytes` in all, to the edge."""
        try:
            return self._edge.PushCache(iter(rows), timeout=self.allowance_s(n_bytes))
        except grpc.RpcError as error:
            raise self._translated(error) from error

    def pull(
        self, request: edge_pb2.PullCacheRequest, n_bytes: int
    ) -> Iterator[edge_pb2.CacheRows]:
        """Fetches K/V rows, `n_bytes` in all, from the edge."""
        try:
            yield from self._edge.PullCache(request, timeout=self.allowance_s(n_bytes))
        except grpc.RpcError as error:
            raise self._translated(error) from error

    def allowance_s(self, n_bytes: int) -> float:
        """How long an exchange of `n_bytes` may take."""
        return self.deadline_s + n_bytes / MIN_RATE_BYTES_PER_S

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _translated(self, error: grpc.RpcError) -> errors.AirSplitError:
        return translate(error, self.peer, self.address)


class Stream:
    """One session's bidirectional stream, with a deadline for every answer.

    gRPC's blocking iterator knows no timeout for one message, so a watchdog cancels the call when
    an answer is overdue. That costs nothing while answers come.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._outgoing: SimpleQueue[edge_pb2.InferRequest | None] = SimpleQueue()
        self._call: Any = link._edge.Infer(iter(self._outgoing.get, None))
        self._due: float | None = None
        self._overdue = False
        self._receiving = False
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="deadline", daemon=True).start()

    def send(self, request: edge_pb2.InferRequest) -> None:
        self._outgoing.put(request)

    def receive(self, n_bytes: int = 0) -> edge_pb2.InferResponse:
        """The next answer, when `n_bytes` are on their way.

        Raises:
            PeerTimeoutError: not within the deadline.
            PeerUnavailableError: the peer has gone.
            AirSplitError: what the peer refused, by name.
        """
        allowance_s = self._link.allowance_s(n_bytes)
        self._due = time.monotonic() + allowance_s
        self._receiving = True
        try:
            response: edge_pb2.InferResponse = next(self._call)
            self._receiving = False
        except StopIteration:
            raise errors.PeerUnavailableError.of(
                self._link.peer, self._link.address, "it ended the stream"
            ) from None
        except grpc.RpcError as error:
            if self._overdue:
                raise errors.PeerTimeoutError.of(
                    self._link.peer,
                    self._link.address,
                    f"no answer within {allowance_s:g} s",
                ) from error
            raise self._link._translated(error) from error
        finally:
            self._due = None
        return response

    def close(self, grace_s: float = 2.0) -> None:
        """Ends the stream in order; cancels it if the peer does not end its side in time.

        A receive that failed or was interrupted (Ctrl-C) left the call in the middle of an
        operation, and gRPC allows no second one: then it is cancelled at once.
        """
        self._outgoing.put(None)
        if self._receiving:
            self._call.cancel()
            self._closed.set()
            return
        self._due = time.monotonic() + grace_s
        try:
            for _ in self._call:
                pass
        except grpc.RpcError:
            pass  # closing: whatever the peer has to say comes too late
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(WATCH_S):
            due = self._due
            if due is not None and time.monotonic() > due:
                self._overdue = True
                self._call.cancel()
                return
