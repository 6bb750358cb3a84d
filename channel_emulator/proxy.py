"""The radio's place in the data path: calls of the UE in, the same calls to the edge out.

Each direction of a session reads, lets `Session` say what becomes of the message and when it is
due, and hands it to a lane. Both run at the same time; what ends one ends the call.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc

from airsplit.errors import (
    AirSplitError,
    PeerTimeoutError,
    PeerUnavailableError,
    TransitionError,
)
from airsplit.rpc import connect_aio, is_named, translate
from airsplit.serving import ServicerContext, requests_have_ended
from airsplit.v1 import edge_pb2, edge_pb2_grpc
from channel_emulator.draws import Direction
from channel_emulator.edge_watch import EdgeHealth, EdgeWatch, while_alive
from channel_emulator.lane import Lane
from channel_emulator.limits import Limits
from channel_emulator.session import Session
from channel_emulator.state import Emulator

log = logging.getLogger(__name__)

Message = TypeVar("Message")

CONNECT_TIMEOUT_S = 5.0
"""How long an edge may take to be connected to."""

MAX_INLINE_BYTES = 64 << 10
"""Larger payloads are damaged on a thread of their own, so that other sessions do not wait."""

_GONE = (grpc.RpcError, asyncio.InvalidStateError)
"""What writing to a call that has ended raises."""


class Proxy:
    """Forwards to one edge. Made within the event loop that it works in; connects by need."""

    def __init__(self, emulator: Emulator, edge_address: str, limits: Limits | None = None) -> None:
        self.stopping = False
        """Calls that end from now on end because this process does."""

        self._emulator = emulator
        self._clock = emulator.clock
        self._address = edge_address
        self._limits = limits or Limits()
        self._channel = connect_aio(edge_address)
        self._edge = edge_pb2_grpc.EdgeStub(self._channel)
        self._health = EdgeHealth(edge_address)

    async def close(self) -> None:
        await self._channel.close(None)
        await self._health.close()

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
        first = await self._next(requests)
        if first is None or not first.HasField("open"):
            raise TransitionError("the first message of a stream has to open a session")
        session = self._emulator.open(first.open)
        called = f"session {session.id[:8]} of UE {session.ue_id}"
        call = self._edge.Infer(None, timeout=context.time_remaining())
        watch = self._watch()
        try:
            with self._naming_the_edge(called):
                await self._connected(call)
                carrying = self._carry(session, first, requests, call, context, watch)
                await while_alive(carrying, watch)
            log.info("%s at %s has ended", called, context.peer())
        except asyncio.CancelledError:
            if not self.stopping:
                peer = session.ue_id, context.peer(), session.id[:8]
                log.warning("UE %s at %s is gone: session %s", *peer)
            raise
        except AirSplitError as error:
            log.info("%s at %s has ended: %s", called, context.peer(), error)
            raise
        finally:
            call.cancel()
            self._emulator.close(session)

    async def push_cache(
        self, requests: AsyncIterator[edge_pb2.CacheRows], context: ServicerContext
    ) -> edge_pb2.PushCacheResponse:
        """K/V rows on their way up: intact, paying airtime and delay.

        Raises:
            PeerTimeoutError: the UE stops sending, or the edge shows no sign of life.
            PeerUnavailableError, AirSplitError: as `infer`.
        """
        call = self._edge.PushCache(None, timeout=context.time_remaining())
        watch = self._watch()
        session: Session | None = None
        total = 0

        async def write(rows: edge_pb2.CacheRows) -> None:
            nonlocal total
            n_bytes = len(rows.key) + len(rows.value)
            total += n_bytes
            watch.owes(n_bytes)  # room for it, before its answer
            await call.write(rows)
            watch.answered()

        lane = Lane(write, self._clock)

        async def carry() -> edge_pb2.PushCacheResponse:
            nonlocal session
            try:
                while (rows := await self._next(requests)) is not None:
                    session = session or self._emulator.session(rows.session_id)
                    await lane.send(rows, self._rows_due_ns(session, Direction.UPLINK, rows))
                await lane.drain()
                await call.done_writing()
            except _GONE:
                pass  # the call's own outcome says why
            watch.owes(total)
            response: edge_pb2.PushCacheResponse = await call
            return response

        try:
            with self._naming_the_edge():
                response = await while_alive(carry(), watch)
        finally:
            lane.cancel()
            call.cancel()
        if session is not None:
            await self._clock.sleep_until(self._control_due_ns(session, Direction.DOWNLINK))
        return response

    async def pull_cache(
        self, request: edge_pb2.PullCacheRequest, context: ServicerContext
    ) -> None:
        """K/V rows on their way down: intact, paying airtime and delay.

        Raises:
            PeerTimeoutError: the edge shows no sign of life.
            PeerUnavailableError, AirSplitError: as `infer`.
        """
        session = self._emulator.session(request.session_id)
        await self._clock.sleep_until(self._control_due_ns(session, Direction.UPLINK))
        call = self._edge.PullCache(request, timeout=context.time_remaining())
        lane: Lane[edge_pb2.CacheRows] = Lane(context.write, self._clock)
        watch = self._watch()

        async def carry() -> None:
            watch.owes()
            async for rows in call:
                watch.answered()
                await lane.send(rows, self._rows_due_ns(session, Direction.DOWNLINK, rows))
                watch.owes()
            watch.answered()
            await lane.drain()

        try:
            with self._naming_the_edge():
                await while_alive(carry(), watch)
        finally:
            lane.cancel()
            call.cancel()

    async def describe_edge(
        self, request: edge_pb2.DescribeEdgeRequest, context: ServicerContext
    ) -> edge_pb2.EdgeDescription:
        """Belongs to no session: passes at once.

        Raises:
            PeerTimeoutError: the edge shows no sign of life.
            PeerUnavailableError, AirSplitError: as `infer`.
        """
        watch = self._watch()

        async def carry() -> edge_pb2.EdgeDescription:
            watch.owes()
            response: edge_pb2.EdgeDescription = await self._edge.DescribeEdge(
                request, timeout=context.time_remaining()
            )
            return response

        with self._naming_the_edge():
            return await while_alive(carry(), watch)

    async def _next(self, requests: AsyncIterator[Message]) -> Message | None:
        """The stream's next message; None at its end.

        Raises:
            PeerTimeoutError: none within the idle limit.
        """
        limit_s = self._limits.idle_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                return await anext(requests, None)
        except TimeoutError:
            raise PeerTimeoutError(f"no message within {limit_s:g} s (--idle-timeout)") from None

    def _watch(self) -> EdgeWatch:
        deadline_s = self._limits.answer_deadline_s
        return EdgeWatch(self._address, self._clock, deadline_s, self._health.lives)

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
        watch: EdgeWatch,
    ) -> None:
        """Both directions at once, until the edge has ended its side or one of them fails."""
        up = asyncio.create_task(self._carry_up(session, first, requests, call, watch))
        down = asyncio.create_task(self._carry_down(session, call, context, watch))
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
        watch: EdgeWatch,
    ) -> None:
        """Returns when the UE has sent everything, or the edge takes no more."""

        async def write(request: edge_pb2.InferRequest) -> None:
            watch.owes(len(request.frame.payload))
            await call.write(request)

        lane = Lane(write, self._clock)
        try:
            await lane.send(first, self._control_due_ns(session, Direction.UPLINK))
            async for request in requests:
                await lane.send(request, await self._request_due_ns(session, request))
            await requests_have_ended()
            await lane.drain()
            await call.done_writing()
        except _GONE:
            pass  # the other direction learns why
        finally:
            lane.cancel()

    async def _carry_down(
        self, session: Session, call: Any, context: ServicerContext, watch: EdgeWatch
    ) -> None:
        lane: Lane[edge_pb2.InferResponse] = Lane(context.write, self._clock)
        try:
            async for response in call:
                watch.answered()
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
    def _naming_the_edge(self, session: str | None = None) -> Iterator[None]:
        """Errors of the call as named ones; of a `session` the log says that its edge is lost."""
        try:
            yield
        except grpc.RpcError as error:
            named = translate(error, "edge server", self._address)
            if session and isinstance(named, PeerUnavailableError) and not is_named(error):
                log.warning("%s: %s", session, named)
            raise named from error
        except PeerUnavailableError as error:
            if session:
                log.warning("%s: %s", session, error)
            raise
