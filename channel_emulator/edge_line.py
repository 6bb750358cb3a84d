"""The emulator's line to one edge: connection, health, and the names of what goes wrong on it."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc

from airsplit.clock import Clock
from airsplit.errors import PeerTimeoutError, PeerUnavailableError, RemoteError
from airsplit.rpc import Outcome, connect_aio, is_named, translate
from airsplit.v1 import edge_pb2, edge_pb2_grpc
from channel_emulator.edge_watch import EdgeHealth, EdgeWatch, while_alive

Result = TypeVar("Result")

ASK_AGAIN_S = 1.0
"""How often an edge in doubt is asked whether it lives."""

REFUSAL_S = 10.0
"""How long it is held against an edge that it let nobody in."""

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
        edge = edge or address
        host = address.rpartition(":")[0].strip("[]")
        self.name = address if edge == address else f"{edge} ({host})"
        self._clock = clock
        self._answer_deadline_s = answer_deadline_s
        self._channel = connect_aio(address)
        self._health = EdgeHealth(address)
        self._asking: asyncio.Task[None] | None = None
        self._refused_ns = -math.inf
        self._is_closed = False
        self.stub = edge_pb2_grpc.EdgeStub(self._channel)

    @property
    def in_doubt(self) -> bool:
        """A call failed, and the edge has shown no sign of life since."""
        return self._asking is not None and not self._asking.done()

    def doubt(self) -> None:
        """The edge may have failed: it is asked until it shows a sign of life."""
        if not self.in_doubt and not self._is_closed:
            self._asking = asyncio.create_task(self._ask())

    @property
    def refused_ns(self) -> float:
        """When whoever came last was turned away; -inf if nobody was, or long ago."""
        is_held = self._clock.now_ns() - self._refused_ns < REFUSAL_S * 1e9
        return self._refused_ns if is_held else -math.inf

    def refused(self) -> None:
        """Somebody was turned away, and others would be too."""
        self._refused_ns = self._clock.now_ns()

    async def close(self) -> None:
        self._is_closed = True
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        await self._channel.close(None)
        await self._health.close()

    def watch(self, deadline_s: float | None = None) -> EdgeWatch:
        """Over one call.

        Args:
            deadline_s: longest silence of the edge, where it is not the usual one.
        """
        deadline_s = self._answer_deadline_s if deadline_s is None else deadline_s
        return EdgeWatch(self.name, self._clock, deadline_s, self._lives)

    async def open(
        self, request: edge_pb2.InferRequest, timeout_s: float | None, patience_s: float
    ) -> tuple[Any, Outcome, edge_pb2.InferResponse]:
        """A session's call, its outcome, and the edge's answer to the request that opens it.

        Args:
            patience_s: longest silence of the edge.

        Raises:
            AirSplitError: as `run`, and the edge's refusal.
        """
        call = self.stub.Infer(None, timeout=timeout_s)
        outcome = Outcome(call)

        async def opening() -> edge_pb2.InferResponse | None:
            with contextlib.suppress(*GONE):  # reading says why
                await call.write(request)
            return await anext(aiter(call), None)

        watch = self.watch(patience_s)
        watch.owes()
        try:
            opened = await self.run(opening(), watch, outcome)
            if opened is None:
                raise RemoteError(f"edge server at {self.name}: no answer to the opening")
        except BaseException:
            call.cancel()
            raise
        self._refused_ns = -math.inf
        return call, outcome, opened

    async def run(
        self,
        work: Coroutine[Any, Any, Result],
        watch: EdgeWatch,
        outcome: Outcome | None = None,
    ) -> Result:
        """What `work`, a call to the edge, comes to, as long as the edge lives.

        Args:
            outcome: of the call, where it streams requests.

        Raises:
            PeerTimeoutError: what the watch found.
            PeerUnavailableError: the edge cannot be reached, or has gone.
            AirSplitError: what the edge raised, or `work` itself.
        """
        try:
            return await while_alive(work, watch)
        except grpc.aio.AioRpcError as raised:
            error = outcome.behind(raised) if outcome else raised
            named = translate(error, "edge server", self.name)
            # A deadline that gRPC keeps is the UE's, and the watch is what finds a silent edge.
            lost = isinstance(named, PeerUnavailableError)
            if lost and not isinstance(named, PeerTimeoutError) and not is_named(error):
                self.doubt()
            raise named from error

    async def _lives(self, timeout_s: float) -> bool:
        lives = await self._health.lives(timeout_s)
        if not lives:
            self.doubt()
        return lives

    async def _ask(self) -> None:
        """Returns when the edge shows a sign of life."""
        while not await self._health.lives(ASK_AGAIN_S):  # noqa: ASYNC110 (it is another process)
            await asyncio.sleep(ASK_AGAIN_S)
