"""Servers in one place: error mapping, health, reflection, graceful stop.

Services are `grpc.aio` on uvloop. An `AirSplitError` raised in a handler becomes its status code
with the error's name in the trailing metadata; `airsplit.rpc.translate` turns it back.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import inspect
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from airsplit import errors
from airsplit.memory import keep_freed_memory
from airsplit.rpc import ERROR_NAME_KEY, MAX_MESSAGE_BYTES, parse_address

log = logging.getLogger(__name__)

SERVER_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
]

BREAK_OFF_S = 0.01


async def requests_have_ended() -> None:
    """Called in a handler at the end of its requests; returns if the client ended them in order.

    The requests of a client that broke off or vanished end as well, and only then does gRPC cancel
    the handler: it does so in here.
    """
    await asyncio.sleep(BREAK_OFF_S)


ServicerContext: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


async def _abort(context: ServicerContext, error: errors.AirSplitError) -> None:
    code = grpc.StatusCode[error.code]
    await context.abort(code, str(error), ((ERROR_NAME_KEY, type(error).__name__),))


def _named(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The handler with `AirSplitError` mapped; an async generator stays one."""
    if inspect.isasyncgenfunction(handler):

        async def generate(request: Any, context: ServicerContext) -> AsyncIterator[Any]:
            try:
                async for response in handler(request, context):
                    yield response
            except errors.AirSplitError as error:
                await _abort(context, error)

        return generate

    async def call(request: Any, context: ServicerContext) -> Any:
        try:
            return await handler(request, context)
        except errors.AirSplitError as error:
            return await _abort(context, error)

    return call


class ErrorInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Maps `AirSplitError` to its gRPC status, once, for every method of our own services."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith("/airsplit."):
            return handler
        make, inner = {
            (False, False): (grpc.unary_unary_rpc_method_handler, handler.unary_unary),
            (False, True): (grpc.unary_stream_rpc_method_handler, handler.unary_stream),
            (True, False): (grpc.stream_unary_rpc_method_handler, handler.stream_unary),
            (True, True): (grpc.stream_stream_rpc_method_handler, handler.stream_stream),
        }[handler.request_streaming, handler.response_streaming]
        return make(_named(inner), handler.request_deserializer, handler.response_serializer)


@dataclass
class Service:
    """One process's server: what it serves, and what has to be tidied up after it."""

    name: str
    """For people and for log lines: "edge server"."""

    register: Callable[[grpc.aio.Server], Sequence[str]]
    """Adds the servicers to the server; returns the full names of the services."""

    start: Callable[[str], Awaitable[None]] | None = None
    """Called with the bound address once the server listens; starts background tasks."""

    stop: Callable[[], Awaitable[None]] | None = None
    """Called after the server has stopped."""

    stopping: Callable[[], None] | None = None
    """Called when a graceful stop begins: calls that end from then on are ended by us."""


async def start_server(service: Service, listen: str) -> tuple[grpc.aio.Server, str]:
    """Binds and starts; returns the server and the bound `host:port` (port 0 finds a free one).

    Raises:
        InputError: the address cannot be bound.
    """
    server, address, _ = await _start_server(service, listen)
    return server, address


async def _start_server(service: Service, listen: str) -> tuple[grpc.aio.Server, str, Any]:
    """As `start_server`, and the health servicer."""
    host, port = parse_address("--listen", listen)
    _require_free(host, port)
    server = grpc.aio.server(interceptors=(ErrorInterceptor(),), options=SERVER_OPTIONS)
    names = [*service.register(server), health_pb2.DESCRIPTOR.services_by_name["Health"].full_name]
    health_servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], server)
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise errors.InputError.of("--listen", listen, "an address that can be bound") from error
    await server.start()
    for name in ("", *names):
        await health_servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    return server, f"{host}:{bound}", health_servicer


def _require_free(host: str, port: int) -> None:
    if port == 0:
        return
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        why = error.strerror or str(error)
        raise errors.InputError(f"--listen: {host}:{port} cannot be bound: {why}") from error


LOG_LEVELS = ("debug", "info", "warning", "error")


def add_serving_arguments(parser: argparse.ArgumentParser, listen: str) -> None:
    """The command line that every service has."""
    parser.add_argument(
        "--listen",
        default=listen,
        metavar="HOST:PORT",
        help=f"address to serve on; port 0 finds a free one (default {listen})",
    )
    parser.add_argument(
        "--stop-with-parent",
        action="store_true",
        help="stop when standard input closes, so that no child outlives who started it",
    )
    parser.add_argument(
        "--log-level", default="warning", choices=LOG_LEVELS, help="default warning"
    )


def _watch_standard_input(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
    """Sets `stopping` at the end of standard input: the parent has gone, however it went."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        with contextlib.suppress(RuntimeError):  # the loop may be closed already
            loop.call_soon_threadsafe(stopping.set)

    threading.Thread(target=watch, name="parent", daemon=True).start()


TIDY_UP_S = 1.0
"""How long handlers may take after their calls have been broken off."""


async def _all_tidied_up() -> None:
    """Returns when no other task is left, or after that time.

    A handler that still tidies up when the event loop ends is cancelled once more, and gRPC prints
    that as an exception.
    """
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others, timeout=TIDY_UP_S)


async def serve(
    service: Service, listen: str, *, stop_with_parent: bool = False, grace_s: float = 2.0
) -> None:
    """Serves until SIGTERM or SIGINT (or the parent's end), then stops gracefully.

    The first line on standard output is JSON: {"service": NAME, "listening": "HOST:PORT"}, so that
    a parent that asked for port 0 learns the port.
    """
    keep_freed_memory()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    if stop_with_parent:
        _watch_standard_input(loop, stopping)
    server, address, health_servicer = await _start_server(service, listen)
    try:
        if service.start:
            await service.start(address)
        print(json.dumps({"service": service.name, "listening": address}), flush=True)
        log.info("%s listens on %s", service.name, address)
        await stopping.wait()
    finally:
        if service.stopping:
            service.stopping()
        await health_servicer.enter_graceful_shutdown()  # before the grace: who watches goes away
        await server.stop(grace_s)
        if service.stop:
            await service.stop()
        await _all_tidied_up()
    log.info("%s stopped", service.name)
