"""What is left of a call, as gRPC's asyncio client shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
from grpc.aio import Metadata

SUBSTITUTE = grpc.StatusCode.INTERNAL, "Internal error from Core"
"""What gRPC says where the end of a call meets a write."""


class EndedCall:
    """Says of its end what gRPC's would: now one status, then another."""

    def __init__(self) -> None:
        self._done: list[Callable[[Any], None]] = []

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._done.append(callback)

    def end(self, status: tuple[grpc.StatusCode, str], *, tell: bool) -> grpc.aio.AioRpcError:
        self._code, self._details = status
        for callback in self._done if tell else ():
            callback(self)
        return grpc.aio.AioRpcError(self._code, Metadata(), Metadata(), self._details, None)

    async def code(self) -> grpc.StatusCode:
        return self._code

    async def details(self) -> str:
        return self._details

    async def trailing_metadata(self) -> Metadata:
        return Metadata()
