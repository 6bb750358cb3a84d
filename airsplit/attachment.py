"""One end's attachment to the controller: reports up, decisions down, for as long as it lasts.

The control path must never hurt the data path: messages wait in a bounded queue (the oldest are
dropped), a lost controller is tried again, and meanwhile the last committed split goes on.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable

import grpc

from airsplit.rpc import Outcome, connect_aio, translate
from airsplit.v1 import controller_pb2, controller_pb2_grpc

log = logging.getLogger(__name__)

RETRY_S = (0.2, 0.5, 1.0, 2.0)
"""Pauses between attempts to attach; the last one repeats."""

MAX_WAITING = 256
"""Messages that wait for a controller at most."""


class ControllerAttachment:
    """Keeps `Controller.Attach` open from inside an event loop.

    `post` may be called from any thread; `on_decision` is called on the loop.
    """

    def __init__(
        self,
        address: str,
        hello: controller_pb2.Hello,
        on_decision: Callable[[controller_pb2.SplitDecision], None],
    ) -> None:
        self.address = address
        self.attached = False
        self.instance = ""
        """Instance id of the controller that we are, or were last, attached to."""
        self.report_interval_ms = 100
        self.report_interval_tokens = 0
        """Tokens between two reports of a UE; 0: by time."""
        self._hello = hello
        self._on_decision = on_decision
        self._sessions: dict[str, controller_pb2.SessionStarted] = {}
        self._waiting: deque[controller_pb2.AttachRequest] = deque(maxlen=MAX_WAITING)
        self._wake = asyncio.Event()
        self._finishing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._current: object = None

    def post(self, message: controller_pb2.AttachRequest) -> None:
        """Sends a message when a controller is there.

        Sessions that are open are announced again to every controller that comes.
        """
        kind = message.WhichOneof("message")
        if kind == "started":
            self._sessions[message.started.session_id] = message.started
        elif kind == "ended":
            self._sessions.pop(message.ended.session_id, None)
        elif kind == "committed" and message.committed.session_id in self._sessions:
            self._sessions[message.committed.session_id].split = message.committed.split_to
        self._waiting.append(message)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    def finish(self) -> None:
        """Ends the attachment in order: what waits is sent, then `run` returns. On the loop."""
        self._finishing = True
        self._wake.set()

    async def run(self) -> None:
        """Attaches, and again after a failure, until it is finished or cancelled."""
        self._loop = asyncio.get_running_loop()
        attempt = 0
        async with connect_aio(self.address) as channel:
            stub = controller_pb2_grpc.ControllerStub(channel)
            while True:
                try:
                    call = stub.Attach(self._requests())
                    outcome = Outcome(call)
                    async for response in call:
                        attempt = 0
                        self._receive(response)
                    if self._finishing:
                        return
                    why = f"controller at {self.address} ended the stream"
                except grpc.aio.AioRpcError as error:
                    why = str(translate(outcome.behind(error), "controller", self.address))
                except Exception as error:  # a bug here must not end the control path for good
                    log.exception("the attachment failed")
                    why = f"controller at {self.address}: {error!r}"
                self._current = None  # else gRPC leaves the failed call's requests waiting
                self._wake.set()
                if _is_cancelled():
                    raise asyncio.CancelledError
                if self.attached or attempt == 0:
                    log.warning("%s; the split holds", why)
                self.attached = False
                await asyncio.sleep(RETRY_S[min(attempt, len(RETRY_S) - 1)])
                attempt += 1

    def _receive(self, response: controller_pb2.AttachResponse) -> None:
        if response.HasField("attached"):
            self.instance = response.attached.controller_instance
            self.report_interval_ms = response.attached.report_interval_ms or 100
            self.report_interval_tokens = response.attached.report_interval_tokens
            self.attached = True
        elif response.HasField("decision"):
            self._on_decision(response.decision)

    async def _requests(self) -> AsyncIterator[controller_pb2.AttachRequest]:
        stream = self._current = object()
        yield controller_pb2.AttachRequest(hello=self._hello)
        self._waiting.clear()
        for started in list(self._sessions.values()):
            yield controller_pb2.AttachRequest(started=started)
        while self._current is stream:
            if self._waiting:
                yield self._waiting.popleft()
            elif self._finishing:
                return
            else:
                self._wake.clear()
                await self._wake.wait()


def _is_cancelled() -> bool:
    """Whether this task is to end. Where its call fails at that moment, gRPC hides it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class AttachmentThread:
    """A `ControllerAttachment` on a thread and event loop of its own, for the synchronous UE."""

    def __init__(self, attachment: ControllerAttachment) -> None:
        self.attachment = attachment
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._grace_s = 0.0
        started = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._work(started)), name="controller", daemon=True
        )
        self._thread.start()
        started.wait()

    def stop(self, grace_s: float = 1.0) -> None:
        """Sends what waits, for at most `grace_s`, and ends the thread."""
        self._grace_s = grace_s
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(timeout=grace_s + 2.0)

    async def _work(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        running = asyncio.create_task(self.attachment.run())
        started.set()
        await self._stopping.wait()
        if self.attachment.attached:
            self.attachment.finish()
            await asyncio.wait([running], timeout=self._grace_s)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
