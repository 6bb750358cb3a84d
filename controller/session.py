"""One session as the controller knows it: what its UE committed, what was decided. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from airsplit.errors import SplitError
from airsplit.layer_range import LayerRange
from controller.decisions import Consideration, Decision
from controller.estimate import SmoothedEstimate
from controller.hysteresis import Hysteresis
from controller.policy import Action, ModelId, Observation


@dataclass(slots=True)
class Session:
    """One generation that runs across a split."""

    session_id: str
    ue_id: str
    owner: int
    """The UE's attachment."""

    model: ModelId
    splits: LayerRange
    split: int
    """Committed by the UE."""

    target: int
    """Decided last; equals `split` once the decision is committed."""

    estimate: SmoothedEstimate
    hysteresis: Hysteresis
    pinned: bool = False
    """The UE's user chose the split: the policy leaves it alone, an operator may still move it."""

    split_version: int = 1
    decisions: int = 0
    """Version of the last decision."""

    pending: Decision | None = None
    """Sent, neither committed nor rejected. A newer one supersedes it."""

    sent_ns: int = 0
    """When `pending` was last sent."""

    override: int | None = None
    """The operator's split, until it is released."""

    switches: int = 0
    unfit: Exception | None = None
    """Why the policy may not decide about this session's model."""

    considered_ns: int | None = None
    """When it was last looked at; None: the next report is due for a look."""

    considered_tokens: int = 0
    """Tokens that had crossed then."""

    @property
    def observation(self) -> Observation:
        now = self.estimate.current
        return Observation(now.sigma, now.m, now.loss, now.snr_db, self.split, self.splits)

    def require_split(self, name: str, split: int) -> None:
        """Raises: SplitError: not a split that both ends hold."""
        if split not in self.splits:
            raise SplitError(f"{name}: {split}; allowed: {self.splits_text}")

    @property
    def splits_text(self) -> str:
        """The allowed splits for people, both ends included."""
        return f"{self.splits.start}-{self.splits.stop - 1}"

    def confirm(self, split: int, split_version: int) -> None:
        """What the UE says is in force.

        Raises:
            SplitError: not an allowed split.
        """
        self.require_split("split", split)
        self.split, self.split_version = split, split_version
        if self.pending and self.pending.split == split:
            self.pending = None
        if self.pending is None:
            self.target = split

    def decide(self, now_ns: int, split: int, reason: str) -> Decision:
        """A new decision; from now on `split` is the target."""
        self.decisions += 1
        decision = Decision(self.ue_id, self.session_id, self.decisions, split, reason)
        self.target = split
        # Back to the committed split: the UE drops what was pending and has nothing to commit.
        self.pending = decision if split != self.split else None
        self.sent_ns = now_ns
        self.hysteresis.changed(now_ns)
        return decision

    def considered(
        self,
        action: Action,
        reason: str,
        decision: Decision | None = None,
        failure: Exception | None = None,
        tokens: int | None = None,
    ) -> Consideration:
        """One look at this session as a value; the state is as it is after the look."""
        return Consideration(
            ue_id=self.ue_id,
            session_id=self.session_id,
            observation=self.observation,
            action=action,
            target=self.target,
            reason=reason,
            decision=decision,
            standing=self.decisions,
            failure=failure,
            tokens=tokens,
        )
