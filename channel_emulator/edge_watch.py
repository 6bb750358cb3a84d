"""Whether an edge that owes an answer still lives.

How long an answer may take is nobody's guess: a slow edge may compute a chunk of a large model for
minutes. But while it computes it still answers a health check, and an edge that hangs does not. So
after half of the time allowed without an answer the edge is asked whether it lives, and has the
other half to say so; if it does, its time begins anew.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from airsplit.clock import Clock
from airsplit.errors import PeerTimeoutError
from airsplit.rpc import connect_aio

Result = TypeVar("Result")

MIN_RATE_BYTES_PER_S = 125_000
"""1 Mbit/s: the slowest line to an edge that time is allowed for; the UE allows the same."""


class EdgeWatch:
    """What the edge owes to one call, in order, and since when it has been silent."""

    def __init__(
        self,
        address: str,
        clock: Clock,
        deadline_s: float,
        lives: Callable[[float], Awaitable[bool]],
    ) -> None:
        """
        Args:
            deadline_s: longest silence of an edge that owes an answer, besides 1 s for every
                125 kB on the way to it.
            lives: asks the edge; whether it answers within so many seconds.
        """
        self._address = address
        self._clock = clock
        self._deadline_s = deadline_s
        self._lives = lives
        self._owed: deque[int] = deque()
        self._silent_since_ns: int | None = None

    def owes(self, n_bytes: int = 0) -> None:
        """`n_bytes` go to the edge, and an answer has to come."""
        self._owed.append(n_bytes)
        if self._silent_since_ns is None:
            self._silent_since_ns = self._clock.now_ns()

    def answered(self) -> None:
        """The oldest answer has come; the edge may turn to the next."""
        if self._owed:
            self._owed.popleft()
        self._silent_since_ns = self._clock.now_ns() if self._owed else None

    @property
    def patience_s(self) -> float:
        """How long the edge may be silent now."""
        return self._deadline_s + sum(self._owed) / MIN_RATE_BYTES_PER_S

    async def run(self) -> None:
        """Watches until it is cancelled.

        Raises:
            PeerTimeoutError: the edge owes an answer and shows no sign of life.
        """
        while True:
            since_ns, patience_s = self._silent_since_ns, self.patience_s
            start_ns = self._clock.now_ns() if since_ns is None else since_ns
            await self._clock.sleep_until(start_ns + round(patience_s / 2 * 1e9))
            if since_ns is None or self._silent_since_ns != since_ns:
                continue
            lives = await self._lives(patience_s / 2)
            if self._silent_since_ns != since_ns:
                continue
            if not lives:
                why = f"no answer and no sign of life within {round(patience_s, 1):g} s"
                raise PeerTimeoutError.of("edge server", self._address, why)
            self._silent_since_ns = self._clock.now_ns()


class EdgeHealth:
    """Asks an edge whether it lives."""

    def __init__(self, address: str) -> None:
        # A connection of its own: frames that wait at a busy edge must not hold it up.
        self._channel = connect_aio(address, [("grpc.use_local_subchannel_pool", 1)])
        self._health = health_pb2_grpc.HealthStub(self._channel)

    async def lives(self, timeout_s: float) -> bool:
        """Whether it answers a health check in time, with whatever."""
        try:
            await self._health.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            silent = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED
            return error.code() not in silent
        return True

    async def close(self) -> None:
        await self._channel.close(None)


async def while_alive(work: Coroutine[Any, Any, Result], watch: EdgeWatch) -> Result:
    """What `work` comes to, as long as the edge lives.

    Raises:
        PeerTimeoutError: what the watch found.
    """
    working, watching = asyncio.create_task(work), asyncio.create_task(watch.run())
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            watching.result()
        return await working
    finally:
        working.cancel()
        watching.cancel()
        await asyncio.gather(working, watching, return_exceptions=True)
