"""How decisions are taken, and decisions as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from airsplit.errors import InputError
from controller.policy import Action, Observation


@dataclass(frozen=True, slots=True)
class Settings:
    """How decisions are taken.

    Raises:
        InputError: a value is out of its range.
    """

    decision_interval_ms: float = 250.0
    """Shortest time between two decisions about one session, >= 0."""

    decision_interval_tokens: int = 0
    """Tokens of a session between two decisions about it, in place of the time; 0: by time. What
    the UE met on these tokens is then all that counts, so that decisions fall at the same tokens
    whatever the wall clock does."""

    min_dwell_ms: float = 500.0
    """Shortest time between two changes of one session's target, >= 0."""

    confirmations: int = 1
    """Looks in a row that have to want a move in the same direction before it is made, >= 1."""

    smoothing_ms: float = 200.0
    """Time constant of the channel estimate's average, >= 0."""

    max_sessions: int = 1024
    """Sessions that are kept at a time, >= 1."""

    def __post_init__(self) -> None:
        for name in ("decision_interval_ms", "min_dwell_ms", "smoothing_ms"):
            if not 0 <= getattr(self, name) <= 3_600_000:
                flag = "--" + name.replace("_", "-")
                raise InputError.of(flag, getattr(self, name), "0-3600000 ms")
        if not 0 <= self.decision_interval_tokens <= 1_000_000:
            allowed = "1-1000000 tokens, or 0 (by time)"
            raise InputError.of(
                "--decision-interval-tokens", self.decision_interval_tokens, allowed
            )
        if not 1 <= self.confirmations <= 1000:
            raise InputError.of("--confirmations", self.confirmations, "1-1000")
        if self.max_sessions < 1:
            raise InputError.of("--max-sessions", self.max_sessions, "at least 1")

    @property
    def resend_ms(self) -> float:
        """A decision that the UE has neither committed nor rejected is sent again after so long."""
        return max(2000.0, 4 * self.decision_interval_ms)

    @property
    def report_interval_ms(self) -> int:
        """How often ends are asked to report: twice a decision, not faster than every 20 ms."""
        return max(20, int(self.decision_interval_ms / 2))


@dataclass(frozen=True, slots=True)
class Decision:
    """To the UE: hand off and commit between two tokens. To the edge: prepare."""

    ue_id: str
    session_id: str
    version: int
    """Grows within a session."""

    split: int
    reason: str
    """"policy", "operator", or why the split stays."""

    tokens: int | None = None
    """That had crossed when the UE's report asked for it."""


@dataclass(frozen=True, slots=True)
class Consideration:
    """One look at one session: what was seen, what is wanted, and what comes of it."""

    ue_id: str
    session_id: str
    observation: Observation
    action: Action
    target: int
    """The split that stands after it: decided now or before, committed or not."""

    reason: str
    """Why the decision was made, or why there is none."""

    decision: Decision | None
    standing: int
    """Version of the decision that stands after it; 0 before the first."""

    failure: Exception | None = None
    """What the policy raised; the split is held then."""

    tokens: int | None = None
    """That had crossed in the session, where its UE said so."""

    @property
    def answer(self) -> Decision:
        """The decision, or else the one that stands, with why there is no other."""
        decision = self.decision or Decision(
            self.ue_id, self.session_id, self.standing, self.target, self.reason
        )
        return replace(decision, tokens=self.tokens)
