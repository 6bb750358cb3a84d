"""The split in the controller's hands: decisions come in on their own thread, between frames they
are applied, and what came of them goes back."""

from __future__ import annotations

import threading
import time

from airsplit.attachment import AttachmentThread, ControllerAttachment
from airsplit.frames import Frame
from airsplit.v1 import controller_pb2, edge_pb2
from ue_client.records import Answer
from ue_client.session import UeSession
from ue_client.steering import Stay, Steering


class ControllerSteering:
    """Follows the controller's decisions; without one, an inner steering (a schedule, or none).

    With `wait_s` it waits, at most so long, to be attached and for the answer to each report that a
    controller that decides by tokens asked for: then decisions fall at the same tokens in each run.
    """

    def __init__(
        self, address: str, ue_id: str, *, inner: Steering | None = None, wait_s: float = 0.0
    ) -> None:
        hello = controller_pb2.Hello(role=controller_pb2.ROLE_UE, id=ue_id)
        self._ue_id = ue_id
        self._inner = inner or Stay()
        self._wait_s = wait_s
        self._lock = threading.Lock()
        self._answered = threading.Condition(self._lock)
        self._decided: dict[str, controller_pb2.SplitDecision] = {}
        self._applied: dict[str, controller_pb2.SplitDecision] = {}
        self._reported: dict[str, float] = {}
        self._offsets: dict[str, int] = {}
        self._attachment = ControllerAttachment(address, hello, self._decide)
        self._thread = AttachmentThread(self._attachment)

    def begin(self, session: UeSession, *, pinned: bool) -> None:
        """Announces a session; `pinned` keeps the policy away from it, not the operator."""
        started = controller_pb2.SessionStarted(
            session_id=session.id,
            ue_id=self._ue_id,
            model=session.identity,
            splits=edge_pb2.Layers(start=session.splits.start, stop=session.splits.stop),
            split=session.split,
            pinned=pinned,
        )
        self._attachment.post(controller_pb2.AttachRequest(started=started))
        deadline = time.monotonic() + self._wait_s
        while not self._attachment.attached and time.monotonic() < deadline:
            time.sleep(0.005)

    def end(self, session: UeSession) -> None:
        ended = controller_pb2.SessionEnded(session_id=session.id)
        self._attachment.post(controller_pb2.AttachRequest(ended=ended))

    def close(self) -> None:
        self._thread.stop()

    def target(self, session: UeSession, index: int) -> int | None:
        """A decision of the controller that we are attached to, else what the schedule says.

        It may be asked twice before one frame; a decision stands until it is applied or replaced.
        """
        with self._lock:
            decision = self._decided.get(session.id)
        if decision is None or decision.controller_instance != self._attachment.instance:
            return self._inner.target(session, index)
        self._applied[session.id] = decision
        if decision.split not in session.splits:
            self.rejected(session, decision.split, f"allowed: {session.splits}")
            return None
        if decision.split == session.split and not session.uncommitted:
            self._take(session, decision.split)  # there already: nothing to commit
            return None
        return decision.split

    def answered(self, session: UeSession, answer: Answer) -> None:
        if answer.switch is not None:
            self._committed(session, answer)
        if not self._is_due(session.id, answer.frame):
            return
        report = controller_pb2.SessionReport(
            session_id=session.id,
            split=answer.frame.split,
            split_version=answer.frame.split_version,
            position=answer.frame.end,
            channel=answer.channel,
            ue_compute_ns=int(answer.trace.ue_ms * 1e6),
            edge_compute_ns=int(answer.trace.edge_ms * 1e6),
            stream_offset=_offset(answer.frame),
        )
        self._attachment.post(controller_pb2.AttachRequest(report=report))
        if self._attachment.report_interval_tokens:
            self._await_answer(session.id, report.stream_offset)

    def rejected(self, session: UeSession, split: int, reason: str) -> None:
        decision = self._take(session, split)
        rejected = controller_pb2.SplitRejected(
            session_id=session.id,
            split=split,
            controller_instance=decision.controller_instance,
            decision_version=decision.version,
            reason=reason,
        )
        self._attachment.post(controller_pb2.AttachRequest(rejected=rejected))

    def _committed(self, session: UeSession, answer: Answer) -> None:
        switch = answer.switch
        if switch is None:
            return
        decision = self._take(session, switch.split_to)
        committed = controller_pb2.SplitCommitted(
            session_id=session.id,
            split_version=answer.frame.split_version,
            split_from=switch.split_from,
            split_to=switch.split_to,
            position=switch.position,
            handoff_bytes=switch.bytes,
            gap_ns=int(switch.gap_ms * 1e6),
            controller_instance=decision.controller_instance,
            decision_version=decision.version,
        )
        self._attachment.post(controller_pb2.AttachRequest(committed=committed))

    def _take(self, session: UeSession, split: int) -> controller_pb2.SplitDecision:
        """The decision that led to `split`, done with; an empty one for a local schedule."""
        applied = self._applied.pop(session.id, None)
        if applied is None or applied.split != split:
            return controller_pb2.SplitDecision()
        with self._lock:  # a newer decision may come in meanwhile, and stays
            if self._decided.get(session.id) is applied:
                del self._decided[session.id]
        return applied

    def _decide(self, decision: controller_pb2.SplitDecision) -> None:
        with self._answered:
            self._decided[decision.session_id] = decision
            self._answered.notify_all()

    def _is_due(self, session_id: str, frame: Frame) -> bool:
        """By tokens each time that a multiple of the interval is reached, else by time."""
        before = self._offsets.get(session_id, 0)
        self._offsets[session_id] = _offset(frame)
        every = self._attachment.report_interval_tokens
        if every:
            return _offset(frame) // every > before // every
        now = time.monotonic()
        if now - self._reported.get(session_id, 0.0) < self._attachment.report_interval_ms / 1e3:
            return False
        self._reported[session_id] = now
        return True

    def _await_answer(self, session_id: str, offset: int) -> None:
        def answered() -> bool:
            decision = self._decided.get(session_id)
            return not self._attachment.attached or (
                decision is not None and decision.stream_offset >= offset
            )

        with self._answered:
            self._answered.wait_for(answered, self._wait_s)


def _offset(frame: Frame) -> int:
    """Tokens of the session up to and with this frame, in all windows."""
    return frame.stream_offset + frame.token_count
