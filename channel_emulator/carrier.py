"""One session's stream through the radio, both ways at the same time.

Each direction reads, lets `Session` say what becomes of the message and when it is due, and hands
it to a lane. What ends one direction ends the call.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Any

import grpc

from airsplit.frames import payload_bytes
from airsplit.serving import ServicerContext, requests_have_ended
from airsplit.v1 import edge_pb2
from channel_emulator.answers import Answers
from channel_emulator.config import ChannelConfig
from channel_emulator.draws import Direction
from channel_emulator.edge_line import GONE
from channel_emulator.edge_watch import EdgeWatch
from channel_emulator.lane import MAX_WAITING_BYTES, Lane
from channel_emulator.session import Session
from channel_emulator.state import Emulator

MAX_INLINE_BYTES = 64 << 10
"""Larger payloads are damaged on a thread of their own, so that other sessions do not wait. Where
there are none, the way to another thread and back only costs: on two cores a fifth of the rate."""


class Carrier:
    """Between the UE's call, `context`, and the edge's, `call`."""

    def __init__(
        self,
        emulator: Emulator,
        session: Session,
        call: Any,
        context: ServicerContext,
        watch: EdgeWatch,
    ) -> None:
        self._emulator = emulator
        self._clock = emulator.clock
        self._session = session
        self._call = call
        self._watch = watch
        self._answers = Answers(context)
        self._elsewhere = False  # whether a thread of its own has the session's radio
        self._up = Lane(self._write_up, self._clock)
        self._down: Lane[edge_pb2.InferResponse] = Lane(self._answers.write, self._clock)

    async def run(
        self, opened: edge_pb2.InferResponse, requests: AsyncIterator[edge_pb2.InferRequest]
    ) -> None:
        """Returns when the edge has ended its side.

        Args:
            opened: the edge's answer to what opened the session.

        Raises:
            FrameError: a frame does not fit itself.
            RpcError: how the edge ended the call.
        """
        up = asyncio.create_task(self._carry_up(requests))
        down = asyncio.create_task(self._carry_down(opened))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if up.done():
                up.result()
            await down
        finally:
            up.cancel()
            await self._answers.end()
            down.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    async def _write_up(self, request: edge_pb2.InferRequest) -> None:
        is_frame = request.HasField("frame")
        self._watch.owes(payload_bytes(request.frame.header) if is_frame else 0)
        await self._call.write(request)

    async def _carry_up(self, requests: AsyncIterator[edge_pb2.InferRequest]) -> None:
        """Returns when the UE has sent everything, or the edge takes no more."""
        try:
            async for request in requests:
                if request.HasField("frame"):
                    await self._carry_frame(request)
                else:
                    await self._up.send(request, self._control_due_ns(Direction.UPLINK))
            await requests_have_ended()
            await self._up.drain()
            await self._call.done_writing()
        except GONE:
            pass  # the other direction learns why
        finally:
            self._up.cancel()

    async def _carry_frame(self, request: edge_pb2.InferRequest) -> None:
        """Not before there is room for it: while it waits, nothing more is read from the UE."""
        session, frame = self._session, request.frame
        arrival_ns, timeline = self._clock.now_ns(), self._emulator.timeline
        admission = session.admit(frame, timeline, arrival_ns)
        while admission.room_ns > arrival_ns:
            arrival_ns = admission.room_ns
            await self._clock.sleep_until(arrival_ns)
            timeline = self._emulator.timeline
            admission = session.admit(frame, timeline, arrival_ns)
        snapshot, n_bytes = admission.snapshot, len(admission.payload)
        is_short = n_bytes <= MAX_INLINE_BYTES or len(self._emulator.sessions) == 1
        if snapshot.is_transparent or admission.dropped or is_short:
            impaired = session.impair(frame, admission)
        else:
            self._elsewhere = True
            impaired = await asyncio.to_thread(session.impair, frame, admission)
            self._elsewhere = False
        due_ns = session.schedule(frame, admission, impaired)
        self._emulator.carried(frame.header.channel, timeline)
        await self._up.send(request, due_ns, n_bytes, _most_waiting_bytes(snapshot.config))

    async def _carry_down(self, opened: edge_pb2.InferResponse) -> None:
        try:
            await self._answer(opened)
            async for response in self._call:
                self._watch.answered()
                await self._answer(response)
            await self._down.drain()
        except grpc.RpcError:
            await self._down.drain()  # answers come before the end, however it came
            raise
        finally:
            self._down.cancel()

    async def _answer(self, response: edge_pb2.InferResponse) -> None:
        due_ns, n_bytes = self._response_due_ns(response)
        asyncio.get_running_loop().call_soon(self._draw_ahead)  # once this task waits
        await self._down.send(response, due_ns, n_bytes)

    def _draw_ahead(self) -> None:
        """While the UE computes."""
        if not self._elsewhere:
            self._session.draw_ahead()

    def _response_due_ns(self, response: edge_pb2.InferResponse) -> tuple[int, int]:
        """And its size."""
        if not response.HasField("result"):
            return self._control_due_ns(Direction.DOWNLINK), 0
        result, timeline = response.result, self._emulator.timeline
        due_ns = self._session.carry_result(result, timeline, self._clock.now_ns())
        return due_ns, result.downlink.payload_bytes

    def _control_due_ns(self, direction: Direction) -> int:
        now_ns = self._clock.now_ns()
        return self._session.carry_reliable(direction, 0, self._emulator.timeline, now_ns)


def _most_waiting_bytes(config: ChannelConfig) -> float:
    """A full queue and what has left it and is not there yet."""
    queue_bytes = config.queue_kib * 1024 if math.isfinite(config.queue_kib) else 0
    return MAX_WAITING_BYTES + queue_bytes
