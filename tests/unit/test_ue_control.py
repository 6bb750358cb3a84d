"""The UE in a controller's hands: when it reports, and whether it waits for the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from airsplit.errors import InputError
from airsplit.v1 import controller_pb2, controller_pb2_grpc
from tests.serving import serving
from ue_client.config import UeConfig
from ue_client.control import ControllerSteering

SESSION: Any = SimpleNamespace(id="s", identity=None, splits=range(17), split=4, uncommitted=False)


class SlowController(controller_pb2_grpc.ControllerServicer):
    """Answers every report, `late_s` after it came, with split 9."""

    def __init__(self, every: int, late_s: float) -> None:
        self.every, self.late_s = every, late_s
        self.reported: list[int] = []

    async def Attach(  # noqa: N802
        self, requests: AsyncIterator[controller_pb2.AttachRequest], context: Any
    ) -> AsyncIterator[controller_pb2.AttachResponse]:
        attached = controller_pb2.Attached(
            controller_instance="c", report_interval_ms=3_600_000, report_interval_tokens=self.every
        )
        await asyncio.sleep(self.late_s)
        yield controller_pb2.AttachResponse(attached=attached)
        async for request in requests:
            if not request.HasField("report"):
                continue
            self.reported.append(request.report.stream_offset)
            await asyncio.sleep(self.late_s)
            decision = controller_pb2.SplitDecision(
                session_id="s",
                controller_instance="c",
                version=1,
                split=9,
                stream_offset=request.report.stream_offset,
            )
            yield controller_pb2.AttachResponse(decision=decision)

    def register(self, server: grpc.aio.Server) -> list[str]:
        controller_pb2_grpc.add_ControllerServicer_to_server(self, server)
        return ["airsplit.v1.Controller"]


@contextmanager
def steered(controller: SlowController, wait_s: float) -> Iterator[ControllerSteering]:
    with serving(controller.register) as address:
        steering = ControllerSteering(address, "ue", wait_s=wait_s)
        try:
            steering.begin(SESSION, pinned=False)
            yield steering
        finally:
            steering.close()


def answer(offset: int, tokens: int = 10) -> Any:
    """A frame whose last token is the session's `offset`-th."""
    frame = SimpleNamespace(
        split=4, split_version=1, end=offset, stream_offset=offset - tokens, token_count=tokens
    )
    trace = SimpleNamespace(ue_ms=1.0, edge_ms=1.0)
    return SimpleNamespace(frame=frame, trace=trace, switch=None, channel=None)


def test_by_tokens_it_reports_where_a_multiple_is_reached_and_waits() -> None:
    controller = SlowController(every=25, late_s=0.05)
    with steered(controller, wait_s=20) as steering:
        before = [steering.target(SESSION, 0)]
        for offset in (10, 20):
            steering.answered(SESSION, answer(offset))
            before.append(steering.target(SESSION, 0))
        assert before == [None, None, None]
        steering.answered(SESSION, answer(30))
        assert steering.target(SESSION, 0) == 9, "the answer is there"
        for offset in (40, 50, 60):
            steering.answered(SESSION, answer(offset))
        assert controller.reported == [30, 50]


def test_without_a_wait_it_goes_on_at_once() -> None:
    controller = SlowController(every=10, late_s=0.3)
    with steered(controller, wait_s=0) as steering:
        while not steering._attachment.attached:
            time.sleep(0.01)
        steering.answered(SESSION, answer(10))
        assert steering.target(SESSION, 0) is None, "its answer has yet to come"


def test_a_controller_that_is_not_there_is_waited_for_no_longer_than_that() -> None:
    steering = ControllerSteering("127.0.0.1:1", "ue", wait_s=0.05)
    try:
        steering.begin(SESSION, pinned=False)
        steering.answered(SESSION, answer(10))
        assert steering.target(SESSION, 0) is None
    finally:
        steering.close()


@pytest.mark.parametrize("wait_s", [-1.0, 3601.0, float("nan")])
def test_a_wait_out_of_range_is_refused(wait_s: float) -> None:
    with pytest.raises(InputError, match="--decision-wait"):
        UeConfig("e:1", controller="c:1", decision_wait_s=wait_s)
