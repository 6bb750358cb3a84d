"""What the controller knows of sessions and decides about them. Pure: no socket, no clock.

Time is passed in, in nanoseconds of one monotonic clock; a decision is a value that the service
delivers. What the ends have committed and what was decided last are kept apart: `split` and
`target` of a session.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from airsplit.errors import (
    InputError,
    SessionExistsError,
    SessionLimitError,
    TransitionError,
    UnknownSessionError,
)
from airsplit.layer_range import LayerRange
from controller.decisions import Consideration, Settings
from controller.estimate import Estimate, SmoothedEstimate
from controller.hysteresis import Hysteresis
from controller.policy import Action, ModelId, Policy, hold
from controller.session import Session


@dataclass
class SessionBook:
    """All sessions, and the policy that decides about them."""

    policy: Policy
    settings: Settings = field(default_factory=Settings)
    sessions: dict[str, Session] = field(default_factory=dict)

    def start(
        self,
        owner: int,
        ue_id: str,
        session_id: str,
        model: ModelId,
        splits: LayerRange,
        split: int,
        *,
        pinned: bool = False,
    ) -> Session:
        """Enters a session; one that its UE started before (and reattached) keeps its override.

        Raises:
            SessionExistsError: another UE has a session of that id.
            SessionLimitError: as many sessions as may be are kept already.
            SplitError: there is no allowed split, or `split` is none.
            InputError: the allowed splits exceed the model's layers.
        """
        known = self.sessions.get(session_id)
        if known and known.ue_id != ue_id:
            raise SessionExistsError(f"session_id: {session_id} belongs to UE {known.ue_id}")
        if not known and len(self.sessions) >= self.settings.max_sessions:
            raise SessionLimitError(f"{len(self.sessions)} sessions are attached already")
        if not len(splits) or splits.stop > model.layers + 1:
            raise InputError.of("splits", str(splits), f"some of [0, {model.layers + 1})")
        session = Session(
            session_id=session_id,
            ue_id=ue_id,
            owner=owner,
            model=model,
            splits=splits,
            split=split,
            target=split,
            pinned=pinned,
            estimate=SmoothedEstimate(self.settings.smoothing_ms),
            hysteresis=Hysteresis(self.settings.min_dwell_ms, self.settings.confirmations),
        )
        session.require_split("split", split)
        if known:
            session.decisions, session.switches = known.decisions, known.switches
            session.override = known.override if known.override in splits else None
        try:
            self.policy.check(model)
        except Exception as error:  # a broken policy must not end the session's control path
            session.unfit = error
        self.sessions[session_id] = session
        return session

    def get(self, session_id: str) -> Session:
        """Raises: UnknownSessionError."""
        try:
            return self.sessions[session_id]
        except KeyError:
            raise UnknownSessionError(f"session_id: {session_id!r} is not attached") from None

    def owned(self, owner: int, session_id: str) -> Session:
        """A session that this attachment started.

        Raises:
            UnknownSessionError: there is none of that id.
            TransitionError: it was started by somebody else.
        """
        session = self.get(session_id)
        if session.owner != owner:
            raise TransitionError(f"session_id: {session_id} was started by UE {session.ue_id}")
        return session

    def observe(self, session: Session, now_ns: int, estimate: Estimate) -> None:
        """Takes in what the channel was like."""
        session.estimate.update(now_ns, estimate)

    def commit(self, session: Session, split: int, split_version: int, decided: int | None) -> None:
        """The UE stamped a new split; `decided` is the version of our decision, if it was ours.

        Raises:
            SplitError: not an allowed split.
        """
        session.require_split("split_to", split)
        session.switches += 1
        if session.pending and decided is not None and decided >= session.pending.version:
            session.pending = None
        session.confirm(split, split_version)

    def reject(self, session: Session, decided: int | None) -> bool:
        """The UE could not follow; the old split goes on. Whether it was the last decision."""
        if session.pending is None or decided != session.pending.version:
            return False
        session.pending, session.target = None, session.split
        return True

    def end(self, session: Session) -> None:
        del self.sessions[session.session_id]

    def drop(self, owner: int) -> list[Session]:
        """Removes the sessions of an attachment that has gone."""
        gone = [session for session in self.sessions.values() if session.owner == owner]
        for session in gone:
            self.end(session)
        return gone

    def consider(
        self, session: Session, now_ns: int, tokens: int | None = None
    ) -> Consideration | None:
        """Decides about one session; None while the last look at it is too recent.

        A decision that stays unanswered is given out again as it was: it or its answer may have
        been lost with an attachment, and a UE that followed it finds nothing left to do.

        A policy that fails leaves the split as it is, whatever it raised.

        Args:
            tokens: that have crossed in this session, where the report says so.
        """
        if not self._is_due(session, now_ns, tokens):
            return None
        session.considered_ns = now_ns
        session.considered_tokens = tokens or 0
        action, failure = self._wanted(session)
        wanted = session.target if action.hold else action.split
        held = session.hysteresis.holds(now_ns, session.target, wanted)
        if failure is not None:
            return session.considered(action, action.reason, failure=failure, tokens=tokens)
        if wanted == session.target:
            again = session.pending if self._is_overdue(session, now_ns) else None
            if again is None:
                return session.considered(action, action.reason, tokens=tokens)
            session.sent_ns = now_ns
            reason = "again: neither committed nor rejected"
            return session.considered(action, reason, again, tokens=tokens)
        if held:
            return session.considered(action, f"held: {held}", tokens=tokens)
        source = "policy" if session.override is None else "operator"
        decision = session.decide(now_ns, wanted, source)
        return session.considered(action, action.reason, decision, tokens=tokens)

    def set_override(self, session_id: str, split: int, now_ns: int) -> list[Consideration]:
        """The operator's split for one session, or for all where `session_id` is empty; at once.

        Raises:
            UnknownSessionError: no such session, or none at all.
            InputError: a session does not allow the split; nothing is changed then.
        """
        chosen = self.select(session_id)
        if not chosen:
            raise UnknownSessionError("no session is attached")
        for session in chosen:
            if split not in session.splits:
                raise InputError.of("split", split, session.splits_text)
        considered = []
        for session in chosen:
            session.override = split
            decision = None
            if split != session.target:
                decision = session.decide(now_ns, split, "operator")
            action = Action(split, "operator")
            # It may take the place of an answer that the UE waits for.
            tokens = session.considered_tokens or None
            considered.append(session.considered(action, "operator", decision, tokens=tokens))
        return considered

    def release(self, session_id: str) -> None:
        """Gives the split of one session (or all) back to the policy; its next report decides.

        Raises:
            UnknownSessionError: no such session.
        """
        for session in self.select(session_id):
            session.override, session.considered_ns = None, None

    def select(self, session_id: str) -> list[Session]:
        """One session, or all where `session_id` is empty.

        Raises:
            UnknownSessionError: no such session.
        """
        return [self.get(session_id)] if session_id else list(self.sessions.values())

    def _wanted(self, session: Session) -> tuple[Action, Exception | None]:
        """What the operator or the policy wants; with what the policy raised where it failed."""
        if session.override is not None:
            return Action(session.override, "operator"), None
        if session.pinned:
            return hold(session.observation, "pinned by the UE"), None
        failure = session.unfit
        if failure is None:
            try:
                action = self.policy.decide(session.observation)
                session.require_split("split of the policy", action.split)
                return action, None
            except Exception as error:  # the session and the process outlive a broken policy
                failure = error
        return hold(session.observation, f"policy failed: {failure}"), failure

    def _is_due(self, session: Session, now_ns: int, tokens: int | None) -> bool:
        """By tokens each time that a multiple of the interval is reached, else by time."""
        every = self.settings.decision_interval_tokens
        if every:
            return tokens is not None and tokens // every > session.considered_tokens // every
        last_ns, interval_ms = session.considered_ns, self.settings.decision_interval_ms
        return last_ns is None or now_ns - last_ns >= interval_ms * 1e6

    def _is_overdue(self, session: Session, now_ns: int) -> bool:
        return now_ns - session.sent_ns >= self.settings.resend_ms * 1e6
