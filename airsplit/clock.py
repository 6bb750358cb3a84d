"""Time behind a small interface: the system's monotonic clock, and a virtual one for tests."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Monotonic nanoseconds and a sleep that ends at an absolute time."""

    def now_ns(self) -> int: ...

    async def sleep_until(self, deadline_ns: int) -> None: ...


class SystemClock:
    """The monotonic clock. Sleeping to an absolute deadline carries no error forward."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    async def sleep_until(self, deadline_ns: int) -> None:
        remaining_ns = deadline_ns - self.now_ns()
        if remaining_ns > 0:
            await asyncio.sleep(remaining_ns / 1e9)


class VirtualClock:
    """Time that moves only when something sleeps, or by `advance`."""

    def __init__(self, now_ns: int = 0) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        return self._now_ns

    def advance(self, duration_ns: int) -> None:
        self._now_ns += duration_ns

    async def sleep_until(self, deadline_ns: int) -> None:
        self._now_ns = max(self._now_ns, deadline_ns)
        await asyncio.sleep(0)
