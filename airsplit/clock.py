"""Time behind a small interface: the system's monotonic clock, and a virtual one for tests."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import heapq
import os
import struct
import sys
import time
import weakref
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


class PreciseClock(SystemClock):
    """A monotonic clock whose sleep ends within some 0.1 ms; belongs to one event loop.

    The timers of uvloop count whole milliseconds. Here the event loop's timer sleeps most of the
    time, and the kernel's high-resolution one wakes the loop: one file descriptor for all who
    sleep, and no spinning. Where there is no such timer (timerfd of Linux) it is a `SystemClock`.
    """

    def __init__(self) -> None:
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0
        self._timer = _Timer() if sys.platform == "linux" else None
        self._watched = False

    async def sleep_until(self, deadline_ns: int) -> None:
        if self._timer is None:
            await super().sleep_until(deadline_ns)
            return
        await super().sleep_until(deadline_ns - _COARSE_NS)
        if deadline_ns <= self.now_ns():
            return
        loop = asyncio.get_running_loop()
        if not self._watched:
            loop.add_reader(self._timer.descriptor, self._wake, self._timer)
            self._watched = True
        awake = loop.create_future()
        self._count += 1  # of two with one deadline the first wakes first
        heapq.heappush(self._sleepers, (deadline_ns, self._count, awake))
        if self._sleepers[0][2] is awake:
            self._timer.set(deadline_ns)
        await awake

    def _wake(self, timer: _Timer) -> None:
        timer.clear()
        now_ns = self.now_ns()
        while self._sleepers and self._sleepers[0][0] <= now_ns:
            _, _, awake = heapq.heappop(self._sleepers)
            if not awake.done():
                awake.set_result(None)
        if self._sleepers:
            timer.set(self._sleepers[0][0])


_COARSE_NS = 2_000_000
"""An event loop's timer may be more than a millisecond late."""


class _Timer:
    """A timer of the monotonic clock that makes a file descriptor readable: timerfd_create(2)."""

    _MONOTONIC, _ABSOLUTE = 1, 1

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = self._libc.timerfd_create(self._MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        weakref.finalize(self, os.close, self.descriptor)

    def set(self, deadline_ns: int) -> None:
        """Fires at an absolute time; a time that has passed fires at once."""
        seconds, rest_ns = divmod(deadline_ns, 1_000_000_000)
        once = struct.pack("llll", 0, 0, seconds, rest_ns)
        self._libc.timerfd_settime(self.descriptor, self._ABSOLUTE, once, None)

    def clear(self) -> None:
        """Takes notice of its having fired."""
        with contextlib.suppress(BlockingIOError):  # it has been set anew since
            os.read(self.descriptor, 8)


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
