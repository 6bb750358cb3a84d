"""The gRPC faces of the emulator: the edge's service, forwarded, and the channel's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from airsplit.errors import InputError
from airsplit.serving import ServicerContext
from airsplit.v1 import channel_pb2, channel_pb2_grpc, edge_pb2, edge_pb2_grpc
from channel_emulator.proxy import Proxy
from channel_emulator.state import Emulator

DEFAULT_INTERVAL_MS = 200


class EdgeProxyServicer(edge_pb2_grpc.EdgeServicer):
    """Serves `airsplit.v1.Edge` in front of the edge. Streams are written by hand, not yielded:
    a lane delivers them."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    async def Infer(  # type: ignore[override]
        self, requests: AsyncIterator[edge_pb2.InferRequest], context: ServicerContext
    ) -> None:
        await self._proxy.infer(requests, context)

    async def PushCache(
        self, requests: AsyncIterator[edge_pb2.CacheRows], context: ServicerContext
    ) -> edge_pb2.PushCacheResponse:
        return await self._proxy.push_cache(requests, context)

    async def PullCache(  # type: ignore[override]
        self, request: edge_pb2.PullCacheRequest, context: ServicerContext
    ) -> None:
        await self._proxy.pull_cache(request, context)

    async def DescribeEdge(
        self, request: edge_pb2.DescribeEdgeRequest, context: ServicerContext
    ) -> edge_pb2.EdgeDescription:
        return await self._proxy.describe_edge(request, context)


class ChannelServicer(channel_pb2_grpc.ChannelServicer):
    """Serves `airsplit.v1.Channel`: reads, changes and watches the channel while it runs."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._changing = asyncio.Lock()

    async def GetChannel(
        self, request: channel_pb2.GetChannelRequest, context: ServicerContext
    ) -> channel_pb2.ChannelState:
        return self._emulator.state()

    async def ConfigureChannel(
        self, request: channel_pb2.ConfigureChannelRequest, context: ServicerContext
    ) -> channel_pb2.ChannelState:
        """Raises: VersionConflictError, InputError: nothing is changed then."""
        async with self._changing:
            self._emulator.configure(request)
            return self._emulator.state()

    async def PlayScenario(
        self, request: channel_pb2.PlayScenarioRequest, context: ServicerContext
    ) -> channel_pb2.ChannelState:
        """Raises: VersionConflictError, InputError: nothing is changed then."""
        async with self._changing:  # others wait, frames do not
            self._emulator.play(await asyncio.to_thread(self._emulator.plan, request))
            return self._emulator.state()

    async def WatchChannel(
        self, request: channel_pb2.WatchChannelRequest, context: ServicerContext
    ) -> AsyncIterator[channel_pb2.ChannelState]:
        """Raises: InputError: the interval is out of its range."""
        has_interval = request.HasField("interval_ms")
        interval_ms = request.interval_ms if has_interval else DEFAULT_INTERVAL_MS
        if not 10 <= interval_ms <= 60_000:
            raise InputError.of("interval_ms", interval_ms, "10-60000")
        while True:
            yield self._emulator.state()
            await asyncio.sleep(interval_ms / 1e3)
