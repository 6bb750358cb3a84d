"""The thread that owns the model. The event loop hands it jobs and never computes itself."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable
from enum import IntEnum
from queue import PriorityQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Priority(IntEnum):
    """Decode frames go before prefill chunks: one waiting user's token before another's prompt."""

    STOP = 0
    DECODE = 1
    PREFILL = 2


class Engine:
    """Runs jobs one at a time, by priority, then in order of arrival."""

    def __init__(self) -> None:
        self._jobs: PriorityQueue[tuple[Priority, int, Callable[[], None]]] = PriorityQueue()
        self._arrival = itertools.count()
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._stopping = False
        self._thread.start()

    async def run(self, priority: Priority, job: Callable[[], T]) -> T:
        """Runs `job` on the engine's thread and returns its result or raises its error."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def work() -> None:
            try:
                outcome: Callable[..., None] = future.set_result
                value: Any = job()
            except BaseException as error:
                outcome, value = future.set_exception, error
            loop.call_soon_threadsafe(_settle, future, outcome, value)

        self._jobs.put((priority, next(self._arrival), work))
        return await future

    def stop(self, timeout_s: float = 5.0) -> None:
        """Ends the thread after the job that runs; jobs that wait are dropped.

        Blocks for at most `timeout_s`: not for an event loop's thread.
        """

        def last() -> None:
            self._stopping = True

        self._jobs.put((Priority.STOP, next(self._arrival), last))
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while not self._stopping:
            self._jobs.get()[2]()


def _settle(future: asyncio.Future[Any], outcome: Callable[..., None], value: Any) -> None:
    if not future.done():  # the caller may have gone meanwhile
        outcome(value)
