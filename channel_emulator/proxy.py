"""The radio's place in the data path: calls of the UE in, the same calls to the edge out.

Each direction of a session reads, lets `Session` say what becomes of the message and when it is
due, and hands it to a lane. Both run at the same time; what ends one ends the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from airsplit.errors import PeerUnavailableError, TransitionError
from airsplit.rpc import ServicerContext, connect_aio, translate
from airsplit.v1 import edge_pb2, edge_pb2_grpc
from channel_emulator.draws import Direction
from channel_emulator.lane import Lane
from channel_emulator.session import Session
from channel_emulator.state import Emulator

CONNECT_TIMEOUT_S = 5.0
"""How long an edge may take to be connected to."""

MAX_INLINE_BYTES = 64 << 10
"""Larger payloads are damaged on a thread of their own, so that other sessions do not wait."""

_GONE = (grpc.RpcError, asyncio.InvalidStateError)
"""What writing to a call that has ended raises."""


class Proxy:
    """Forwards to one edge. Made within the event loop that it works in; connects by need."""

    def __init__(self, emulator: Emulator, edge_address: str) -> None:
        self._emulator = emulator
        self._clock = emulator.clock
        self._address = edge_address
        self._channel = connect_aio(edge_address)
        self._edge = edge_pb2_grpc.EdgeStub(self._channel)

    async def close(self) -> None:
        await self._channel.close(None)

    async def infer(
        self, requests: AsyncIterator[edge_pb2.InferRequest], context: ServicerContext
    ) -> None:
        """One session, until the UE or the edge ends it.

        Raises:
            TransitionError: the first message does not open a session.
            FrameError: a frame does not fit itself; nothing of it reaches the edge.
            PeerUnavailableError: the edge cannot be reached or has gone.
            AirSplitError: what the edge itself raised.
        """
        first = await anext(requests, None)
        if first is None or not first.HasField("open"):
            raise TransitionError("the first message of a stream has to open a session")
        session = self._emulator.open(first.open)
        call = self._edge.Infer(None, timeout=context.time_remaining())
        try:
            with self._naming_the_edge():
                await self._connected(call)
                await self._carry(session, first, requests, call, context)
        finally:
            call.cancel()
            self._emulator.close(session)

    async def push_cache(
        self, requests: AsyncIterator[edge_pb2.CacheRows], context: ServicerContext
    ) -> edge_pb2.PushCacheResponse:
        """K/V rows on their way up: intact, paying airtime and delay."""
        call = self._edge.PushCache(None, timeout=context.time_remaining())
        lane = Lane(call.write, self._clock)
        session: Session | None = None
        try:
            with self._naming_the_edge():
                try:
                    async for rows in requests:
                        session = session or self._emulator.session(rows.session_id)
                        await lane.send(rows, self._rows_due_ns(session, Direction.UPLINK, rows))
                    await lane.drain()
                    await call.done_writing()
                except _GONE:
                    pass  # the call's own outcome says why
                response: edge_pb2.PushCacheResponse = await call
        finally:
            lane.cancel()
            call.cancel()
        if session is not None:
            await self._clock.sleep_until(self._control_due_ns(session, Direction.DOWNLINK))
        return response

    async def pull_cache(
        self, request: edge_pb2.PullCacheRequest, context: ServicerContext
    ) -> None:
        """K/V rows on their way down: intact, paying airtime and delay."""
        session = self._emulator.session(request.session_id)
        await self._clock.sleep_until(self._control_due_ns(session, Direction.UPLINK))
        call = self._edge.PullCache(request, timeout=context.time_remaining())
        lane: Lane[edge_pb2.CacheRows] = Lane(context.write, self._clock)
        try:
            with self._naming_the_edge():
                async for rows in call:
                    await lane.send(rows, self._rows_due_ns(session, Direction.DOWNLINK, rows))
            await lane.drain()
        finally:
            lane.cancel()
            call.cancel()

    async def describe_edge(
        self, request: edge_pb2.DescribeEdgeRequest, context: ServicerContext
    ) -> edge_pb2.EdgeDescription:
        """Belongs to no session: passes at once."""
        with self._naming_the_edge():
            response: edge_pb2.EdgeDescription = await self._edge.DescribeEdge(
                request, timeout=context.time_remaining()
            )
        return response

    async def _connected(self, call: Any) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await call.wait_for_connection()
        except TimeoutError:
            why = f"no connection within {CONNECT_TIMEOUT_S:g} s"
            raise PeerUnavailableError.of("edge server", self._address, why) from None

    async def _carry(
        self,
        session: Session,
        first: edge_pb2.InferRequest,
        requests: AsyncIterator[edge_pb2.InferRequest],
        call: Any,
        context: ServicerContext,
    ) -> None:
        """Both directions at once, until the edge has ended its side or one of them fails."""
        up = asyncio.create_task(self._carry_up(session, first, requests, call))
        down = asyncio.create_task(self._carry_down(session, call, context))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if up.done():
                up.result()
            await down
        finally:
            up.cancel()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _carry_up(
        self,
        session: Session,
        first: edge_pb2.InferRequest,
        requests: AsyncIterator[edge_pb2.InferRequest],
        call: Any,
    ) -> None:
        """Returns when the UE has sent everything, or the edge takes no more."""
        lane: Lane[edge_pb2.InferRequest] = Lane(call.write, self._clock)
        try:
            await lane.send(first, self._control_due_ns(session, Direction.UPLINK))
            async for request in requests:
                await lane.send(request, await self._request_due_ns(session, request))
            await lane.drain()
            await call.done_writing()
        except _GONE:
            pass  # the other direction learns why
        finally:
            lane.cancel()

    async def _carry_down(self, session: Session, call: Any, context: ServicerContext) -> None:
        lane: Lane[edge_pb2.InferResponse] = Lane(context.write, self._clock)
        try:
            async for response in call:
                await lane.send(response, self._response_due_ns(session, response))
            await lane.drain()
        except grpc.RpcError:
            await lane.drain()  # answers come before the end, however it came
            raise
        finally:
            lane.cancel()

    async def _request_due_ns(self, session: Session, request: edge_pb2.InferRequest) -> int:
        arrival_ns = self._clock.now_ns()
        if not request.HasField("frame"):
            return self._control_due_ns(session, Direction.UPLINK)
        snapshot, frame = self._emulator.snapshot, request.frame
        payload_bytes = len(frame.payload)
        if snapshot.is_transparent or payload_bytes <= MAX_INLINE_BYTES:
            airtime_ns = session.impair(frame, snapshot, arrival_ns)
        else:
            airtime_ns = await asyncio.to_thread(session.impair, frame, snapshot, arrival_ns)
        due_ns = session.schedule(frame, snapshot, arrival_ns, airtime_ns)
        self._emulator.frames += 1
        self._emulator.payload_bytes += payload_bytes
        return due_ns

    def _response_due_ns(self, session: Session, response: edge_pb2.InferResponse) -> int:
        if not response.HasField("result"):
            return self._control_due_ns(session, Direction.DOWNLINK)
        snapshot = self._emulator.snapshot
        return session.carry_result(response.result, snapshot, self._clock.now_ns())

    def _control_due_ns(self, session: Session, direction: Direction) -> int:
        now_ns = self._clock.now_ns()
        return session.carry_reliable(direction, 0, self._emulator.snapshot, now_ns)

    def _rows_due_ns(self, session: Session, direction: Direction, rows: edge_pb2.CacheRows) -> int:
        row_bytes = len(rows.key) + len(rows.value)
        self._emulator.handoff_bytes += row_bytes
        now_ns = self._clock.now_ns()
        return session.carry_reliable(direction, row_bytes, self._emulator.snapshot, now_ns)

    @contextmanager
    def _naming_the_edge(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise translate(error, "edge server", self._address) from error
