"""The gRPC face of the edge: streams in, jobs to the engine, results out."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable
from functools import partial
from typing import TypeVar

from airsplit import errors
from airsplit.cache_rows import export_rows, take_rows
from airsplit.frames import Frame, Task
from airsplit.handoff import RowSpan, pieces
from airsplit.partition import ModelPartition
from airsplit.rpc import MAX_CHUNK_BYTES
from airsplit.serving import ServicerContext, requests_have_ended
from airsplit.v1 import edge_pb2, edge_pb2_grpc
from edge_server.config import EdgeConfig
from edge_server.engine import Engine, Priority
from edge_server.inference import infer
from edge_server.sessions import EdgeSession, SessionTable

log = logging.getLogger(__name__)

M = TypeVar("M")


class Inbox:
    """Messages of one session that wait for the engine, each with its time of arrival.

    A UE may have as many frames unanswered as it was granted credits.
    """

    def __init__(self, credits: int) -> None:
        self._credits = credits
        self._unanswered = 0
        self._waiting: asyncio.Queue[
            tuple[edge_pb2.InferRequest, int] | errors.AirSplitError | None
        ] = asyncio.Queue()

    def put(self, request: edge_pb2.InferRequest, arrived_ns: int) -> None:
        """Raises: CreditError: no credit is left."""
        if self._unanswered >= self._credits:
            raise errors.CreditError(f"frames: more than {self._credits} unanswered (--credits)")
        self._unanswered += 1
        self._waiting.put_nowait((request, arrived_ns))

    def end(self, error: errors.AirSplitError | None) -> None:
        """Nothing more comes, in order or by an error."""
        self._waiting.put_nowait(error)

    async def next(self) -> tuple[edge_pb2.InferRequest, int] | None:
        """The next message and its arrival; None at the end.

        Raises:
            AirSplitError: what ended the stream.
        """
        item = await self._waiting.get()
        if isinstance(item, errors.AirSplitError):
            raise item
        return item

    def answered(self) -> None:
        """A message has its answer: the credit is free before the UE can know."""
        self._unanswered -= 1


class EdgeServicer(edge_pb2_grpc.EdgeServicer):
    """Serves `airsplit.v1.Edge`."""

    def __init__(
        self, partition: ModelPartition, sessions: SessionTable, config: EdgeConfig
    ) -> None:
        self.partition = partition
        self.sessions = sessions
        self.config = config
        self.engine = Engine()
        self._readers: set[asyncio.Task[None]] = set()
        self.stopping = False
        """Calls that end from now on end because this process does."""

    async def Infer(
        self, requests: AsyncIterator[edge_pb2.InferRequest], context: ServicerContext
    ) -> AsyncIterator[edge_pb2.InferResponse]:
        peer = context.peer()  # of a call that has ended it is a segmentation fault inside gRPC
        session = self.sessions.admit(await self._first(requests))
        inbox = Inbox(self.config.credits)
        # Never cancelled: gRPC may still write into what a pending read has to hold. The call's end
        # ends it.
        reader = asyncio.create_task(self._read(requests, inbox))
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)
        try:
            yield edge_pb2.InferResponse(opened=self._opened(session))
            while (arrival := await self._in_time(inbox.next())) is not None:
                response = await self._answer(session, *arrival)
                inbox.answered()
                yield response
            session.protocol.close()
        except (asyncio.CancelledError, GeneratorExit):
            if not self.stopping:
                log.warning("UE %s at %s is gone", session.ue_id, peer)
            raise
        finally:
            self.sessions.release(session)

    async def PushCache(
        self, requests: AsyncIterator[edge_pb2.CacheRows], context: ServicerContext
    ) -> edge_pb2.PushCacheResponse:
        taken, layers = 0, set()
        session: EdgeSession | None = None
        while (rows := await self._next(requests)) is not None:
            session = self.sessions.get(rows.session_id)
            _check_rows(session, rows.window, rows.stop)
            taken += await self.engine.run(Priority.DECODE, partial(take_rows, session.cache, rows))
            layers.add(rows.layer)
        validity = [
            edge_pb2.LayerValidity(layer=layer, valid=session.cache.valid(layer))
            for layer in sorted(layers)
            if session is not None
        ]
        return edge_pb2.PushCacheResponse(bytes=taken, validity=validity)

    async def PullCache(
        self, request: edge_pb2.PullCacheRequest, context: ServicerContext
    ) -> AsyncIterator[edge_pb2.CacheRows]:
        session = self.sessions.get(request.session_id)
        for row in request.rows:
            _check_rows(session, request.window, row.stop)
        rows = tuple(RowSpan(row.layer, row.start, row.stop) for row in request.rows)
        for span in pieces(rows, session.cache.shape.row_bytes, MAX_CHUNK_BYTES):
            job = partial(export_rows, session.cache, session.id, request.window, span)
            yield await self.engine.run(Priority.DECODE, job)

    async def DescribeEdge(
        self, request: edge_pb2.DescribeEdgeRequest, context: ServicerContext
    ) -> edge_pb2.EdgeDescription:
        return edge_pb2.EdgeDescription(
            model=self.sessions.identity,
            edge_layers=self._held(),
            sessions=len(self.sessions),
            max_sessions=self.config.max_sessions,
            kv_reserved_bytes=self.sessions.kv_reserved_bytes,
            kv_budget_bytes=self.config.kv_budget_bytes,
            max_context=self.sessions.max_context,
            weight_bytes=self.partition.weight_bytes,
        )

    async def _first(self, requests: AsyncIterator[edge_pb2.InferRequest]) -> edge_pb2.OpenSession:
        request = await self._next(requests)
        if request is None or not request.HasField("open"):
            raise errors.TransitionError("the first message of a stream has to open a session")
        return request.open

    async def _read(self, requests: AsyncIterator[edge_pb2.InferRequest], inbox: Inbox) -> None:
        """Stamps messages as they arrive, so that waiting for the engine counts as waiting."""
        try:
            async for request in requests:
                inbox.put(request, time.monotonic_ns())
            await requests_have_ended()
            inbox.end(None)
        except errors.AirSplitError as error:
            inbox.end(error)
        except Exception as error:  # whatever gRPC says of a call that has ended
            inbox.end(errors.PeerUnavailableError(f"the UE's stream broke off: {error!r}"))

    async def _next(self, requests: AsyncIterator[M]) -> M | None:
        """A stream's next message; None at its end."""
        return await self._in_time(anext(requests, None))

    async def _in_time(self, message: Awaitable[M]) -> M:
        """Raises: PeerTimeoutError: the UE was silent for too long."""
        try:
            async with asyncio.timeout(self.config.idle_timeout_s):
                return await message
        except TimeoutError:
            raise errors.PeerTimeoutError(
                f"no frame within {self.config.idle_timeout_s:g} s (--idle-timeout)"
            ) from None

    async def _answer(
        self, session: EdgeSession, request: edge_pb2.InferRequest, arrived_ns: int
    ) -> edge_pb2.InferResponse:
        if not request.HasField("frame"):
            raise errors.TransitionError("the session is open: only frames may follow")
        frame = Frame.from_proto(request.frame)
        session.protocol.check(frame)
        decode_step = frame.task == Task.TASK_SAMPLE and frame.token_count == 1
        priority = Priority.DECODE if decode_step else Priority.PREFILL
        job = partial(infer, self.partition, session, frame, arrived_ns)
        try:
            return edge_pb2.InferResponse(result=await self.engine.run(priority, job))
        except errors.StaleCacheError as error:
            refused = edge_pb2.FrameRefused(
                sequence=frame.sequence, error=type(error).__name__, detail=str(error)
            )
            return edge_pb2.InferResponse(refused=refused)

    def _opened(self, session: EdgeSession) -> edge_pb2.SessionOpened:
        return edge_pb2.SessionOpened(
            session_id=session.id,
            edge_layers=self._held(),
            credits=self.config.credits,
            kv_reserved_bytes=session.kv_bytes,
            model=self.sessions.identity,
        )

    def _held(self) -> edge_pb2.Layers:
        return edge_pb2.Layers(start=self.partition.held.start, stop=self.partition.held.stop)


def _check_rows(session: EdgeSession, window: int, stop: int) -> None:
    """Raises: WindowError, PositionError: rows of another window, or beyond what is computed."""
    committed = session.protocol.committed
    if window != committed.window:
        raise errors.WindowError(f"window: {window}; allowed: {committed.window}")
    if stop > committed.position:
        raise errors.PositionError(f"rows: up to {stop}; allowed: up to {committed.position}")
