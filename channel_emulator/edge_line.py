"""The emulator's line to its edge: connection, health, and the names of what goes wrong on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from airsplit.clock import Clock
from airsplit.errors import PeerUnavailableError
from airsplit.rpc import connect_aio, is_named, translate
from airsplit.v1 import edge_pb2_grpc
from channel_emulator.edge_watch import EdgeHealth, EdgeWatch

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
"""How long an edge may take to be connected to."""

GONE = (grpc.RpcError, asyncio.InvalidStateError)
"""What writing to a call that has ended raises."""


class EdgeLine:
    """Made within the event loop that it works in; connects by need."""

    def __init__(self, address: str, clock: Clock, answer_deadline_s: float) -> None:
        self._address = address
        self._clock = clock
        self._answer_deadline_s = answer_deadline_s
        self._channel = connect_aio(address)
        self._health = EdgeHealth(address)
        self.stub = edge_pb2_grpc.EdgeStub(self._channel)

    async def close(self) -> None:
        await self._channel.close(None)
        await self._health.close()

    def watch(self) -> EdgeWatch:
        """Over one call."""
        return EdgeWatch(self._address, self._clock, self._answer_deadline_s, self._health.lives)

    async def connected(self, call: Any) -> None:
        """Returns once the call has a connection.

        Raises:
            PeerUnavailableError: there is none in time.
        """
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await call.wait_for_connection()
        except TimeoutError:
            why = f"no connection within {CONNECT_TIMEOUT_S:g} s"
            raise PeerUnavailableError.of("edge server", self._address, why) from None

    @contextmanager
    def naming(self, session: str | None = None) -> Iterator[None]:
        """Errors of the call as named ones; of a `session` the log says that its edge is lost."""
        try:
            yield
        except grpc.RpcError as error:
            named = translate(error, "edge server", self._address)
            if session and isinstance(named, PeerUnavailableError) and not is_named(error):
                log.warning("%s: %s", session, named)
            raise named from error
        except PeerUnavailableError as error:
            if session:
                log.warning("%s: %s", session, error)
            raise
