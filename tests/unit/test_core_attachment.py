"""One end's attachment to the controller, against a controller of a few lines."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from airsplit.attachment import MAX_WAITING, AttachmentThread, ControllerAttachment
from airsplit.errors import SessionLimitError
from airsplit.serving import Service, start_server
from airsplit.v1 import controller_pb2, controller_pb2_grpc
from tests.serving import serving

HELLO = controller_pb2.Hello(role=controller_pb2.ROLE_UE, id="phone")


class FakeController(controller_pb2_grpc.ControllerServicer):
    """Says who it is, sends what it is told to, and remembers what it hears."""

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self.heard: list[controller_pb2.AttachRequest] = []
        self.decisions: asyncio.Queue[controller_pb2.SplitDecision] = asyncio.Queue()

    async def Attach(  # noqa: N802
        self, requests: AsyncIterator[controller_pb2.AttachRequest], context: Any
    ) -> AsyncIterator[controller_pb2.AttachResponse]:
        attached = controller_pb2.Attached(
            controller_instance=self.instance, report_interval_ms=250
        )
        yield controller_pb2.AttachResponse(attached=attached)
        listening = asyncio.create_task(self._listen(requests))
        try:
            while True:
                yield controller_pb2.AttachResponse(decision=await self.decisions.get())
        finally:
            listening.cancel()

    async def _listen(self, requests: AsyncIterator[controller_pb2.AttachRequest]) -> None:
        async for request in requests:
            self.heard.append(request)

    def register(self, server: grpc.aio.Server) -> list[str]:
        controller_pb2_grpc.add_ControllerServicer_to_server(self, server)
        return ["airsplit.v1.Controller"]

    def kinds(self) -> list[str | None]:
        return [message.WhichOneof("message") for message in self.heard]


@asynccontextmanager
async def controlling(controller: FakeController, listen: str) -> AsyncIterator[str]:
    server, address = await start_server(Service("controller", controller.register), listen)
    try:
        yield address
    finally:
        await server.stop(0)


@asynccontextmanager
async def attached_to(
    address: str, decided: list[controller_pb2.SplitDecision]
) -> AsyncIterator[ControllerAttachment]:
    attachment = ControllerAttachment(address, HELLO, decided.append)
    task = asyncio.create_task(attachment.run())
    try:
        yield attachment
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool], seconds: float = 8.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is awaited knows no event
            await asyncio.sleep(0.01)


def started(session: str, split: int = 4) -> controller_pb2.AttachRequest:
    message = controller_pb2.SessionStarted(session_id=session, split=split)
    return controller_pb2.AttachRequest(started=message)


def ended(session: str) -> controller_pb2.AttachRequest:
    return controller_pb2.AttachRequest(ended=controller_pb2.SessionEnded(session_id=session))


def report(position: int) -> controller_pb2.AttachRequest:
    return controller_pb2.AttachRequest(report=controller_pb2.SessionReport(position=position))


def committed(session: str, split: int) -> controller_pb2.AttachRequest:
    message = controller_pb2.SplitCommitted(session_id=session, split_to=split)
    return controller_pb2.AttachRequest(committed=message)


def positions(controller: FakeController) -> list[int]:
    return [m.report.position for m in controller.heard if m.HasField("report")]


def run(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 20))  # type: ignore[arg-type]


def test_it_says_hello_and_both_sides_hear_each_other() -> None:
    async def body() -> None:
        controller, decided = FakeController("one"), []
        async with (
            controlling(controller, "127.0.0.1:0") as address,
            attached_to(address, decided) as attachment,
        ):
            await until(lambda: attachment.attached)
            assert (attachment.instance, attachment.report_interval_ms) == ("one", 250)
            attachment.post(report(1))
            attachment.post(report(2))
            await until(lambda: len(controller.heard) == 3)
            assert controller.heard == [
                controller_pb2.AttachRequest(hello=HELLO),
                report(1),
                report(2),
            ]
            decision = controller_pb2.SplitDecision(session_id="s", version=1, split=7)
            controller.decisions.put_nowait(decision)
            await until(lambda: bool(decided))
            assert decided == [decision]

    run(body)


def test_a_restarted_controller_learns_of_the_sessions_that_are_open() -> None:
    async def body() -> None:
        first, second, decided = FakeController("one"), FakeController("two"), []
        async with controlling(first, "127.0.0.1:0") as address:
            attachment_context = attached_to(address, decided)
            attachment = await attachment_context.__aenter__()
            await until(lambda: attachment.attached)
            for message in (started("a"), started("b"), committed("a", 9), ended("b")):
                attachment.post(message)
            await until(lambda: len(first.heard) == 5)
        try:
            await until(lambda: not attachment.attached)
            attachment.post(report(1))  # nobody is there to hear it, and then it is old
            attachment.post(started("c", 2))
            async with controlling(second, address):
                await until(lambda: attachment.instance == "two" and len(second.heard) >= 3)
                attachment.post(report(5))
                await until(lambda: positions(second) == [5])
                assert second.heard == [
                    controller_pb2.AttachRequest(hello=HELLO),
                    started("a", 9),
                    started("c", 2),
                    report(5),
                ]
                second.decisions.put_nowait(controller_pb2.SplitDecision(session_id="a", split=1))
                await until(lambda: len(decided) == 1)
        finally:
            await attachment_context.__aexit__(None, None, None)

    run(body)


def test_a_controller_may_come_late() -> None:
    async def body() -> None:
        early, late = FakeController("early"), FakeController("late")
        async with controlling(early, "127.0.0.1:0") as address:
            pass
        async with attached_to(address, []) as attachment:
            attachment.post(started("a"))
            await asyncio.sleep(0.1)
            assert not attachment.attached
            async with controlling(late, address):
                await until(lambda: len(late.heard) == 2)
                assert late.heard[1] == started("a")

    run(body)


def test_the_oldest_messages_are_dropped_when_too_many_wait() -> None:
    async def body() -> None:
        controller = FakeController("one")
        async with (
            controlling(controller, "127.0.0.1:0") as address,
            attached_to(address, []) as attachment,
        ):
            await until(lambda: len(controller.heard) == 1)
            for position in range(MAX_WAITING + 44):  # the loop sends nothing meanwhile
                attachment.post(report(position))
            await until(lambda: positions(controller)[-1:] == [MAX_WAITING + 43])
            assert positions(controller) == list(range(44, MAX_WAITING + 44))

    run(body)


@pytest.mark.parametrize("messages", [1, 100])
def test_on_a_thread_what_waits_is_sent_before_the_end(messages: int) -> None:
    controller = FakeController("one")
    with serving(controller.register) as address:
        decided: list[controller_pb2.SplitDecision] = []
        attachment = ControllerAttachment(address, HELLO, decided.append)
        thread = AttachmentThread(attachment)

        async def attached() -> None:
            await until(lambda: attachment.attached and len(controller.heard) == 1)

        asyncio.run(attached())
        for position in range(messages):
            attachment.post(report(position))
        attachment.post(ended("a"))
        thread.stop()
        assert not thread._thread.is_alive()
        assert positions(controller) == list(range(messages))
        assert controller.kinds()[-1] == "ended"


def test_a_thread_without_a_controller_ends_at_once() -> None:
    thread = AttachmentThread(ControllerAttachment("127.0.0.1:1", HELLO, lambda _: None))
    thread.attachment.post(started("a"))
    thread.stop(grace_s=0.5)
    assert not thread._thread.is_alive()


def test_a_stop_that_meets_a_failure_is_not_lost() -> None:
    """Of some 50 calls that fail while they are cancelled, gRPC hides the cancellation of one."""
    for attempt in range(200):
        thread = AttachmentThread(ControllerAttachment("127.0.0.1:1", HELLO, lambda _: None))
        time.sleep(attempt % 7 * 5e-4)
        thread.stop(grace_s=0.5)
        assert not thread._thread.is_alive(), attempt


class RefusingController(FakeController):
    """Takes the hello, then refuses, whatever is on its way."""

    async def Attach(  # noqa: N802
        self, requests: AsyncIterator[controller_pb2.AttachRequest], context: Any
    ) -> AsyncIterator[controller_pb2.AttachResponse]:
        await anext(requests)
        yield controller_pb2.AttachResponse(attached=controller_pb2.Attached())
        raise SessionLimitError("1024 ends are attached already")


@pytest.mark.parametrize("sends", [True, False])
def test_a_refusal_is_logged_by_name_and_nothing_else(
    caplog: pytest.LogCaptureFixture, sends: bool
) -> None:
    async def body() -> None:
        async with controlling(RefusingController("one"), "127.0.0.1:0") as address:
            for refusals in range(1, 41):
                async with attached_to(address, []) as attachment:
                    while len(caplog.messages) < refusals:
                        if sends:
                            attachment.post(report(0))
                        await asyncio.sleep(0)

    run(body)
    gc.collect()  # a task that still waits would be found now
    assert set(caplog.messages) == {"1024 ends are attached already; the split holds"}
