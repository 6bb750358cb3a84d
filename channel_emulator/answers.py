"""Writing to the UE's call, so that it can be ended with a named error at any time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from airsplit.serving import ServicerContext

_SETTLE_S = 1.0
"""How long a UE may take to take in the last answer."""


class Answers:
    """One write at a time, none broken off.

    gRPC cannot end a call with a status while a write to it is in progress, even one whose task has
    been cancelled: the client would wait for ever.
    """

    def __init__(self, context: ServicerContext) -> None:
        self._context = context
        self._one = asyncio.Lock()

    async def write(self, message: Any) -> None:
        async with self._one:
            await self._context.write(message)

    async def end(self) -> None:
        """Returns when no write is in progress, and lets none begin."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_S):
                await self._one.acquire()
