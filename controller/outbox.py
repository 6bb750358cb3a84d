"""What is still to be sent to one attached end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from controller.decisions import Decision


class Outbox:
    """Holds at most one decision per session: a newer one takes the place of an unsent older one.

    So it is bounded by the number of sessions, putting never waits, and an end that reads slowly
    gets fewer, newer decisions. For one event loop.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, Decision] = {}
        self._changed = asyncio.Event()
        self._closed = False

    def put(self, decision: Decision) -> None:
        self._waiting.pop(decision.session_id, None)
        self._waiting[decision.session_id] = decision
        self._changed.set()

    def discard(self, session_id: str) -> None:
        """Forgets what is unsent of a session that has ended."""
        self._waiting.pop(session_id, None)

    def close(self) -> None:
        """Ends the iteration; what is unsent is dropped."""
        self._closed = True
        self._changed.set()

    async def __aiter__(self) -> AsyncIterator[Decision]:
        while not self._closed:
            if self._waiting:
                yield self._waiting.pop(next(iter(self._waiting)))
            else:
                self._changed.clear()
                await self._changed.wait()
