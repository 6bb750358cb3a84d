"""The servicer of airsplit.v1.Controller: reports come up, decisions go down.

Everything that decides is in `controller.sessions`; here are streams, queues and the decision log.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc

from airsplit.clock import Clock
from airsplit.errors import AirSplitError, InputError, TransitionError
from airsplit.layer_range import LayerRange
from airsplit.serving import requests_have_ended
from airsplit.v1 import controller_pb2, controller_pb2_grpc
from controller.decision_log import DecisionLog, decision_record
from controller.decisions import Consideration, Decision
from controller.ends import End, Ends
from controller.messages import ALLOWED, Role, estimate, first_hello, session_status
from controller.policy import ModelId
from controller.session import Session
from controller.sessions import SessionBook

log = logging.getLogger(__name__)


class ControllerService(controller_pb2_grpc.ControllerServicer):
    """One controller: its attached ends, its sessions, its policy."""

    def __init__(self, book: SessionBook, clock: Clock, decision_log: DecisionLog | None) -> None:
        self.instance = secrets.token_hex(8)
        self._book = book
        self._clock = clock
        self._log = decision_log
        self._ends = Ends()
        self._failures: dict[str, str] = {}
        self._stopping = False

    async def Attach(
        self,
        request_iterator: AsyncIterator[controller_pb2.AttachRequest],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[controller_pb2.AttachResponse]:
        """One end's stream, until it ends it, breaks the contract, or vanishes.

        Raises:
            TransitionError: no Hello first, or a message that this role may not send.
            InputError: a Hello without role or id.
        """
        end = self._attach(await first_hello(request_iterator), context.peer())
        # Also called where the peer vanished while this generator waited inside a yield.
        done: Any = lambda _: self._detach(end)  # noqa: E731 (grpc-stubs wants a class here)
        context.add_done_callback(done)
        try:
            yield controller_pb2.AttachResponse(
                attached=controller_pb2.Attached(
                    controller_instance=self.instance,
                    policy=self._book.policy.name,
                    report_interval_ms=self._book.settings.report_interval_ms,
                    report_interval_tokens=self._book.settings.decision_interval_tokens,
                )
            )
            end.reader = asyncio.create_task(self._read(end, request_iterator))
            async for decision in end.outbox:
                yield controller_pb2.AttachResponse(decision=self._to_proto(decision))
            await end.reader
        except AirSplitError as error:
            end.in_order = True
            log.info("%s is sent away: %s", end.named, error)
            raise
        finally:
            self._detach(end)

    async def GetSplit(
        self,
        request: controller_pb2.GetSplitRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> controller_pb2.SplitStatus:
        """Raises: UnknownSessionError: no such session."""
        return self._status(self._book.select(request.session_id))

    async def SetSplit(
        self,
        request: controller_pb2.SetSplitRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> controller_pb2.SplitStatus:
        """Raises: UnknownSessionError, InputError: nothing is changed then."""
        target = request.WhichOneof("target")
        if target == "split":
            now_ns = self._clock.now_ns()
            self._carry_out(self._book.set_override(request.session_id, request.split, now_ns))
        elif target == "release" and request.release:
            self._book.release(request.session_id)
        else:
            raise InputError.of("target", target, "a split, or release = true")
        return self._status(self._book.select(request.session_id))

    def stopping(self) -> None:
        """Ends that go from now on go because this process does."""
        self._stopping = True

    async def close(self) -> None:
        for end in self._ends:
            self._detach(end)
        if self._log:
            self._log.close()

    def _attach(self, hello: controller_pb2.Hello, peer: str) -> End:
        end = self._ends.attach(hello, peer)
        if end.role == Role.ROLE_EDGE:  # what is on its way to the UEs is still to be prepared
            for session in self._book.sessions.values():
                if session.pending:
                    end.outbox.put(session.pending)
        log.info("%s attached", end.named)
        return end

    def _detach(self, end: End) -> None:
        if not self._ends.detach(end):
            return
        dropped = self._book.drop(end.key)
        for session in dropped:
            self._forget(session.session_id)
        # A UE without a session has said goodbye: it breaks the stream off when it is done.
        clean = end.in_order or self._stopping or (end.role == Role.ROLE_UE and not dropped)
        if clean:
            log.info("%s detached", end.named)
            return
        ended = "".join(f", session {session.session_id[:8]} ends" for session in dropped)
        log.warning("%s is gone%s", end.named, ended)

    async def _read(self, end: End, requests: AsyncIterator[controller_pb2.AttachRequest]) -> None:
        try:
            async for request in requests:
                self._take(end, request)
            await requests_have_ended()
            end.in_order = True
        finally:
            end.outbox.close()

    def _take(self, end: End, request: controller_pb2.AttachRequest) -> None:
        kind = request.WhichOneof("message")
        if kind not in ALLOWED[end.role]:
            raise TransitionError(f"{kind} is not allowed from {end} after its hello")
        if kind == "started":
            self._started(end, request.started)
            return
        session = self._session_of(end, getattr(request, kind).session_id)
        if session is None:
            return
        match kind:
            case "report":
                self._report(end, session, request.report)
            case "committed":
                self._committed(session, request.committed)
            case "rejected":
                self._rejected(session, request.rejected)
            case "ended":
                self._book.end(session)
                self._forget(session.session_id)

    def _session_of(self, end: End, session_id: str) -> Session | None:
        """The session that a message is about; None where it is not (or no longer) known.

        That is no error: the emulator sees a session before its UE announces it, and an end that
        reattaches may still send what had waited.

        Raises:
            TransitionError: a UE speaks for the session of another.
        """
        if session_id not in self._book.sessions:
            log.debug("%s speaks of the unknown session %r", end, session_id)
            return None
        owner = end.role == Role.ROLE_UE
        return self._book.owned(end.key, session_id) if owner else self._book.get(session_id)

    def _started(self, end: End, started: controller_pb2.SessionStarted) -> None:
        if started.ue_id != end.hello.id:
            raise TransitionError(f"ue_id: {started.ue_id!r}; allowed: {end.hello.id!r}")
        model = ModelId(started.model.name, started.model.layers)
        splits = LayerRange(started.splits.start, started.splits.stop)
        session = self._book.start(
            end.key,
            started.ue_id,
            started.session_id,
            model,
            splits,
            started.split,
            pinned=started.pinned,
        )
        log.info("session %s of %s: %s, split %d", session.session_id, end, model, session.split)
        if session.unfit:
            self._warn(session.session_id, session.unfit)

    def _report(self, end: End, session: Session, report: controller_pb2.SessionReport) -> None:
        from_ue = end.role == Role.ROLE_UE
        if from_ue:
            session.confirm(report.split, report.split_version)
        elif self._book.settings.decision_interval_tokens:
            return  # when it comes is a matter of the wall clock
        now_ns = self._clock.now_ns()
        if report.HasField("channel") and report.channel.HasField("estimate"):
            self._book.observe(session, now_ns, estimate(report.channel.estimate))
        tokens = report.stream_offset if from_ue else None
        considered = self._book.consider(session, now_ns, tokens)
        if considered:
            self._carry_out([considered])

    def _committed(self, session: Session, committed: controller_pb2.SplitCommitted) -> None:
        ours = committed.controller_instance == self.instance
        decided = committed.decision_version if ours else None
        self._book.commit(session, committed.split_to, committed.split_version, decided)
        self._write(
            "committed",
            session_id=session.session_id,
            controller_instance=committed.controller_instance,
            version=committed.decision_version,
            split_from=committed.split_from,
            split_to=committed.split_to,
            position=committed.position,
            handoff_bytes=committed.handoff_bytes,
            gap_ns=committed.gap_ns,
        )

    def _rejected(self, session: Session, rejected: controller_pb2.SplitRejected) -> None:
        ours = rejected.controller_instance == self.instance
        self._book.reject(session, rejected.decision_version if ours else None)
        refused = session.session_id, rejected.split, rejected.reason
        log.warning("session %s rejects split %d: %s", *refused)
        self._write(
            "rejected",
            session_id=session.session_id,
            controller_instance=rejected.controller_instance,
            version=rejected.decision_version,
            split=rejected.split,
            reason=rejected.reason,
        )

    def _carry_out(self, considerations: Iterable[Consideration]) -> None:
        for considered in considerations:
            owner = self._book.get(considered.session_id).owner
            if considered.decision:
                self._ends.deliver(considered.answer, owner=owner, role=Role.ROLE_EDGE)
            elif self._is_awaited(considered):
                self._ends.deliver(considered.answer, owner=owner)
            if considered.failure:
                self._warn(considered.session_id, considered.failure)
            if self._log:
                policy = self._book.policy.name
                self._log.write(decision_record(considered, time.time(), self.instance, policy))

    def _is_awaited(self, considered: Consideration) -> bool:
        """Whether the UE may wait for an answer to this report, whatever it is."""
        by_tokens = self._book.settings.decision_interval_tokens > 0
        return by_tokens and considered.tokens is not None

    def _forget(self, session_id: str) -> None:
        self._failures.pop(session_id, None)
        self._ends.forget(session_id)

    def _warn(self, session_id: str, failure: Exception) -> None:
        """Says once per session what keeps the policy from deciding."""
        text = f"{type(failure).__name__}: {failure}"
        if self._failures.get(session_id) != text:
            self._failures[session_id] = text
            log.warning("session %s keeps its split: %s", session_id, text)

    def _write(self, event: str, **fields: object) -> None:
        if self._log:
            self._log.write({"event": event, "time_unix_s": round(time.time(), 6), **fields})

    def _to_proto(self, decision: Decision) -> controller_pb2.SplitDecision:
        return controller_pb2.SplitDecision(
            ue_id=decision.ue_id,
            session_id=decision.session_id,
            controller_instance=self.instance,
            version=decision.version,
            split=decision.split,
            reason=decision.reason,
            stream_offset=decision.tokens or 0,
        )

    def _status(self, sessions: Iterable[Session]) -> controller_pb2.SplitStatus:
        return controller_pb2.SplitStatus(
            controller_instance=self.instance,
            policy=self._book.policy.name,
            sessions=[session_status(session) for session in sessions],
            attached=[end.hello for end in self._ends],
        )
