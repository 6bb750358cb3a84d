"""Paced delivery of one stream's messages: in order, none before its time, and not too many."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from airsplit.clock import Clock

Message = TypeVar("Message")

MAX_WAITING_BYTES = 8 << 20
"""Accepted and not delivered; beyond, the next message's sender waits."""

MESSAGE_BYTES = 1024
"""What a message counts besides its payload."""


class Lane(Generic[Message]):
    """Delivers through `write`; belongs to one event loop.

    A message that is due with none before it is written by its sender's own task. Only while
    messages wait does a task of the lane's own deliver them.
    """

    def __init__(self, write: Callable[[Message], Awaitable[None]], clock: Clock) -> None:
        self._write = write
        self._clock = clock
        self._waiting: deque[tuple[int, int, Message]] = deque()
        self._waiting_bytes = 0
        self._room = asyncio.Event()
        self._delivery: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None

    async def send(
        self,
        message: Message,
        due_ns: int,
        n_bytes: int = 0,
        limit_bytes: float = MAX_WAITING_BYTES,
    ) -> None:
        """Accepts a message for delivery at `due_ns`; returns once there is room for it.

        Args:
            n_bytes: size of its payload.
            limit_bytes: most that may wait with it; a message alone always may.

        Raises:
            Exception: what `write` raised, for this message or one before it.
        """
        if self._delivery is None and due_ns <= self._clock.now_ns():
            await self._write(message)
            return
        n_bytes += MESSAGE_BYTES
        while self._waiting and self._waiting_bytes + n_bytes > limit_bytes and not self._failure:
            self._room.clear()
            await self._room.wait()
        if self._failure is not None:
            raise self._failure
        self._waiting.append((due_ns, n_bytes, message))
        self._waiting_bytes += n_bytes
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
                due_ns, n_bytes, message = self._waiting[0]
                while self._clock.now_ns() < due_ns:  # an event loop's timer may be early
                    await self._clock.sleep_until(due_ns)
                await self._write(message)
                self._waiting.popleft()
                self._waiting_bytes -= n_bytes
                self._room.set()
            self._delivery = None
        except Exception as failure:
            self._failure = failure
            self._room.set()
