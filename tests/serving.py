"""Servers inside the test process: real grpc.aio on port 0, on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import grpc

from airsplit.identity import identity_of
from airsplit.partition import ModelPartition
from airsplit.serving import Service, start_server
from airsplit.v1 import edge_pb2_grpc
from edge_server.config import EdgeConfig
from edge_server.service import EdgeServicer
from edge_server.sessions import SessionTable


@contextmanager
def serving(register: Callable[[grpc.aio.Server], Sequence[str]]) -> Iterator[str]:
    """Serves what `register` adds; yields the address."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def on_loop(coroutine):  # type: ignore[no-untyped-def]
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(timeout=20)

    server, address = on_loop(start_server(Service("test", register), "127.0.0.1:0"))
    try:
        yield address
    finally:
        on_loop(server.stop(0.5))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()


@contextmanager
def edge_serving(
    partition: ModelPartition, config: EdgeConfig | None = None
) -> Iterator[tuple[str, EdgeServicer]]:
    """Serves `partition`; yields the address and the servicer."""
    config = config or EdgeConfig(allow_logits=True)
    sessions = SessionTable(partition, identity_of("test", partition), config)
    servicer = EdgeServicer(partition, sessions, config)

    def register(server: grpc.aio.Server) -> list[str]:
        edge_pb2_grpc.add_EdgeServicer_to_server(servicer, server)
        return ["airsplit.v1.Edge"]

    try:
        with serving(register) as address:
            yield address, servicer
    finally:
        servicer.engine.stop()
