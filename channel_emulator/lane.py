"""Paced delivery of one stream's messages: in order, none before its time, and not too many."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from airsplit.clock import Clock

Message = TypeVar("Message")

MAX_WAITING = 16
"""Messages accepted and not delivered; the next one's sender waits."""


class Lane(Generic[Message]):
    """Delivers through `write`; belongs to one event loop.

    A message that is due with none before it is written by its sender's own task. Only while
    messages wait does a task of the lane's own deliver them.
    """

    def __init__(
        self,
        write: Callable[[Message], Awaitable[None]],
        clock: Clock,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._write = write
        self._clock = clock
        self._max_waiting = max_waiting
        self._waiting: deque[tuple[int, Message]] = deque()
        self._room = asyncio.Event()
        self._delivery: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None

    async def send(self, message: Message, due_ns: int) -> None:
        """Accepts a message for delivery at `due_ns`; returns once there is room for it.

        Raises:
            Exception: what `write` raised, for this message or one before it.
        """
        if self._delivery is None and due_ns <= self._clock.now_ns():
            await self._write(message)
            return
        while len(self._waiting) >= self._max_waiting and self._failure is None:
            self._room.clear()
            await self._room.wait()
        if self._failure is not None:
            raise self._failure
        self._waiting.append((due_ns, message))
        if self._delivery is None:
            self._delivery = asyncio.create_task(self._deliver())

    async def drain(self) -> None:
        """Returns when everything is delivered. Raises what `write` raised."""
        if self._delivery is not None:
            await asyncio.shield(self._delivery)
        if self._failure is not None:
            raise self._failure

    def cancel(self) -> None:
        """Drops what is waiting."""
        if self._delivery is not None:
            self._delivery.cancel()

    async def _deliver(self) -> None:
        try:
            while self._waiting:
                due_ns, message = self._waiting[0]
                while self._clock.now_ns() < due_ns:  # an event loop's timer may be early
                    await self._clock.sleep_until(due_ns)
                await self._write(message)
                self._waiting.popleft()
                self._room.set()
            self._delivery = None
        except Exception as failure:
            self._failure = failure
            self._room.set()
