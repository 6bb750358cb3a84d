"""The emulator's line to one edge: connection, health, and the names of what goes wrong on it."""

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

ASK_AGAIN_S = 1.0
"""How often an edge in doubt is asked whether it lives."""

GONE = (grpc.RpcError, asyncio.InvalidStateError)
"""What writing to a call that has ended raises."""


class EdgeLine:
    """Made within the event loop that it works in; connects by need."""

    def __init__(
        self, address: str, clock: Clock, answer_deadline_s: float, edge: str | None = None
    ) -> None:
        """
        Args:
            edge: what the address was resolved from, where that is another name.
        """
        self.edge = edge or address
        host = address.rpartition(":")[0].strip("[]")
        self.name = address if self.edge == address else f"{self.edge} ({host})"
        self._clock = clock
        self._answer_deadline_s = answer_deadline_s
        self._channel = connect_aio(address)
        self._health = EdgeHealth(address)
        self._asking: asyncio.Task[None] | None = None
        self.stub = edge_pb2_grpc.EdgeStub(self._channel)

    @property
    def in_doubt(self) -> bool:
        """A call failed, and the edge has shown no sign of life since."""
        return self._asking is not None and not self._asking.done()

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        await self._channel.close(None)
        await self._health.close()

    def watch(self) -> EdgeWatch:
        """Over one call."""
        return EdgeWatch(self.name, self._clock, self._answer_deadline_s, self._health.lives)

    async def infer(self, timeout_s: float | None, session: str) -> Any:
        """A session's call, once it has a connection.

        Raises:
            PeerUnavailableError: there is none in time.
        """
        call = self.stub.Infer(None, timeout=timeout_s)
        try:
            with self.naming(session):
                await self._connected(call)
        except BaseException:
            call.cancel()
            raise
        return call

    async def _connected(self, call: Any) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await call.wait_for_connection()
        except TimeoutError:
            why = f"no connection within {CONNECT_TIMEOUT_S:g} s"
            raise PeerUnavailableError.of("edge server", self.name, why) from None

    @contextmanager
    def naming(self, session: str | None = None) -> Iterator[None]:
        """Errors of the call as named ones; of a `session` the log says that its edge is lost."""
        try:
            yield
        except grpc.RpcError as error:
            named = translate(error, "edge server", self.name)
            if isinstance(named, PeerUnavailableError) and not is_named(error):
                self._doubt(named, session)
            raise named from error
        except PeerUnavailableError as error:
            self._doubt(error, session)
            raise

    def _doubt(self, error: PeerUnavailableError, session: str | None) -> None:
        if session:
            log.warning("%s: %s", session, error)
        if not self.in_doubt:
            self._asking = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        """Returns when the edge shows a sign of life."""
        while not await self._health.lives(ASK_AGAIN_S):  # noqa: ASYNC110 (it is another process)
            await asyncio.sleep(ASK_AGAIN_S)
