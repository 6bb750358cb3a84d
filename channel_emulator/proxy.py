"""The radio's place in the data path: calls of the UE in, the same calls to the edge out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

from airsplit.errors import (
    AirSplitError,
    PeerTimeoutError,
    PeerUnavailableError,
    TransitionError,
)
from airsplit.rpc import Outcome
from airsplit.serving import ServicerContext
from airsplit.v1 import edge_pb2
from channel_emulator.answers import Answers
from channel_emulator.carrier import Carrier
from channel_emulator.draws import Direction
from channel_emulator.edge_line import GONE, EdgeLine
from channel_emulator.edges import Edges
from channel_emulator.lane import Lane
from channel_emulator.limits import Limits
from channel_emulator.session import Session
from channel_emulator.state import Emulator

log = logging.getLogger(__name__)

Message = TypeVar("Message")


class Proxy:
    """Forwards to edges, each session to one of them. Made within the event loop that it works in;
    connects by need."""

    def __init__(
        self, emulator: Emulator, edges: Sequence[str], limits: Limits | None = None
    ) -> None:
        self.stopping = False
        """Calls that end from now on end because this process does."""

        self._emulator = emulator
        self._clock = emulator.clock
        self._limits = limits or Limits()
        self._edges = Edges(edges, self._clock, self._limits.answer_deadline_s)

    async def close(self) -> None:
        await self._edges.close()

    async def infer(
        self, requests: AsyncIterator[edge_pb2.InferRequest], context: ServicerContext
    ) -> None:
        """One session, until the UE or the edge ends it.

        Raises:
            TransitionError: the first message does not open a session.
            SessionExistsError: a session of that id is open already.
            SessionLimitError, KvBudgetError: no edge has room.
            FrameError: a frame does not fit itself; nothing of it reaches the edge.
            PeerUnavailableError: no edge can be reached, or the session's has gone.
            AirSplitError: what the edge itself raised.
        """
        peer = context.peer()  # of a call that has ended it is a segmentation fault inside gRPC
        first = await self._next(requests)
        if first is None or not first.HasField("open"):
            raise TransitionError("the first message of a stream has to open a session")
        session = self._emulator.open(first.open)
        called = f"session {session.id[:8]} of UE {session.ue_id}"

        async def opening(
            line: EdgeLine, patience_s: float
        ) -> tuple[Any, Outcome, edge_pb2.InferResponse]:
            return await line.open(first, context.time_remaining(), patience_s)

        try:
            await self._clock.sleep_until(self._control_due_ns(session, Direction.UPLINK))
            async with self._edges.reached(session.id, opening) as (line, (call, outcome, opened)):
                log.info("%s at %s goes to the edge server at %s", called, peer, line.name)
                watch = line.watch()
                carrier = Carrier(self._emulator, session, call, context, watch)
                try:
                    await line.run(carrier.run(opened, requests), watch, outcome)
                finally:
                    call.cancel()
            log.info("%s at %s has ended", called, peer)
        except asyncio.CancelledError:
            if not self.stopping:
                log.warning("UE %s at %s is gone: session %s", session.ue_id, peer, session.id[:8])
            raise
        except AirSplitError as error:
            if isinstance(error, PeerUnavailableError):
                log.warning("%s: %s", called, error)
            log.info("%s at %s has ended: %s", called, peer, error)
            raise
        finally:
            self._emulator.close(session)

    async def push_cache(
        self, requests: AsyncIterator[edge_pb2.CacheRows], context: ServicerContext
    ) -> edge_pb2.PushCacheResponse:
        """K/V rows on their way up: intact, paying airtime and delay.

        Raises:
            PeerTimeoutError: the UE stops sending, or the edge shows no sign of life.
            PeerUnavailableError, AirSplitError: as `infer`.
        """
        first = await self._next(requests)
        session_id = first.session_id if first else ""
        session = self._emulator.session(session_id)
        async with self._edges.line_of(session_id) as line:
            call = line.stub.PushCache(None, timeout=context.time_remaining())
            try:
                response = await self._push(line, call, session, first, requests)
            finally:
                call.cancel()
        await self._clock.sleep_until(self._control_due_ns(session, Direction.DOWNLINK))
        return response

    async def _push(
        self,
        line: EdgeLine,
        call: Any,
        session: Session,
        first: edge_pb2.CacheRows | None,
        requests: AsyncIterator[edge_pb2.CacheRows],
    ) -> edge_pb2.PushCacheResponse:
        outcome, watch = Outcome(call), line.watch()
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
            rows = first
            try:
                while rows is not None:
                    await self._send_rows(lane, session, Direction.UPLINK, rows)
                    rows = await self._next(requests)
                await lane.drain()
                await call.done_writing()
            except GONE:
                pass  # the call's own outcome says why
            watch.owes(total)
            response: edge_pb2.PushCacheResponse = await call
            return response

        try:
            return await line.run(carry(), watch, outcome)
        finally:
            lane.cancel()

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
        async with self._edges.line_of(request.session_id) as line:
            call = line.stub.PullCache(request, timeout=context.time_remaining())
            try:
                await self._pull(line, call, session, Answers(context))
            finally:
                call.cancel()

    async def _pull(self, line: EdgeLine, call: Any, session: Session, answers: Answers) -> None:
        watch = line.watch()

        async def write(rows: edge_pb2.CacheRows) -> None:
            await asyncio.shield(answers.write(rows))  # cancelling does not break it off

        lane = Lane(write, self._clock)

        async def carry() -> None:
            watch.owes()
            async for rows in call:
                watch.answered()
                await self._send_rows(lane, session, Direction.DOWNLINK, rows)
                watch.owes()
            watch.answered()
            await lane.drain()

        try:
            await line.run(carry(), watch)
        finally:
            await answers.end()
            lane.cancel()

    async def describe_edge(
        self, request: edge_pb2.DescribeEdgeRequest, context: ServicerContext
    ) -> edge_pb2.EdgeDescription:
        """Of the edge that a session opened now would get. Belongs to no session: passes at once.

        Raises:
            PeerTimeoutError: the edge shows no sign of life.
            PeerUnavailableError, AirSplitError: as `infer`.
        """

        async def ask(line: EdgeLine, patience_s: float) -> edge_pb2.EdgeDescription:
            watch = line.watch(patience_s)

            async def carry() -> edge_pb2.EdgeDescription:
                watch.owes()
                response: edge_pb2.EdgeDescription = await line.stub.DescribeEdge(
                    request, timeout=context.time_remaining()
                )
                return response

            return await line.run(carry(), watch)

        async with self._edges.reached(object(), ask) as (_, description):
            return description

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

    async def _send_rows(
        self,
        lane: Lane[edge_pb2.CacheRows],
        session: Session,
        direction: Direction,
        rows: edge_pb2.CacheRows,
    ) -> None:
        n_bytes = len(rows.key) + len(rows.value)
        self._emulator.handoff_bytes += n_bytes
        timeline, now_ns = self._emulator.timeline, self._clock.now_ns()
        due_ns = session.carry_reliable(direction, n_bytes, timeline, now_ns)
        await lane.send(rows, due_ns, n_bytes)

    def _control_due_ns(self, session: Session, direction: Direction) -> int:
        now_ns = self._clock.now_ns()
        return session.carry_reliable(direction, 0, self._emulator.timeline, now_ns)
