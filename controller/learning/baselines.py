"""Policies that a learned one is held beside: random, greedy and the optimum. Torch-free.

They are served as any other. An observed channel beyond what a reward covers counts as the nearest
that it does cover; one that is not known holds the split.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

import numpy as np

from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from controller.features import observed, unknown
from controller.learning.planning import Process, best
from controller.learning.reward import Reward
from controller.learning.space import Floats
from controller.policy import Action, ModelId, Observation, PolicyError, clamp, hold, require_same

EDGE = "policy, at the edge of what its reward covers"


@dataclass(frozen=True)
class RandomPolicy:
    """Moves by -u..u, each as probable as the others; the same seed, the same moves."""

    max_move: int = 1
    seed: int = 0
    _chance: np.random.Generator = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_max_move(self.max_move)
        if self.seed < 0:
            raise InputError.of("seed", self.seed, "at least 0")
        object.__setattr__(self, "_chance", np.random.default_rng(self.seed))

    @property
    def name(self) -> str:
        return f"random:{self.seed}"

    def check(self, model: ModelId) -> None:
        """Any model: the split is clamped to what the session allows."""

    def decide(self, observation: Observation) -> Action:
        actions = 2 * self.max_move + 1
        move = int(self._chance.integers(actions)) - self.max_move
        split = clamp(observation.split + move, observation.splits)
        return Action(split, "random", probabilities=(1 / actions,) * actions)


@dataclass(frozen=True)
class GreedyPolicy:
    """The split whose reward is greatest now, less the cost of going there; the nearest of equals.

    On a surrogate or on a measured table, as the reward is.
    """

    reward: Reward
    max_move: int | None = None
    """u: how far a decision may move; None: anywhere."""

    move_cost: float = 0.0
    name: str = "greedy"

    def __post_init__(self) -> None:
        if self.max_move is not None:
            require_max_move(self.max_move)
        _require_cost(self.move_cost)

    def check(self, model: ModelId) -> None:
        """Raises: ModelMismatchError: the reward is of another model."""
        require_same(self.name, self.reward.model, model)

    def decide(self, observation: Observation) -> Action:
        """Raises: PolicyError: the session allows no split that the reward covers."""
        seen = _row(self.reward, observation, self.name)
        if isinstance(seen, Action):
            return seen
        row, splits, reason = seen
        away = np.abs(np.array([*splits]) - observation.split)
        value = row - self.move_cost * away
        if self.max_move is not None:
            nearest = away.min()  # a split outside of what is allowed has to come back first
            value = np.where(away <= max(self.max_move, nearest), value, -inf)
        chosen = np.lexsort((away, -value))[0]
        return Action(splits.start + int(chosen), reason, value=float(value[chosen]))


@dataclass(frozen=True)
class OptimalPolicy:
    """The first move of the best `steps` to come, the channel held: dynamic programming.

    The yardstick for policies that are bound to moves of -u..u.
    """

    reward: Reward
    max_move: int = 2
    move_cost: float = 0.0
    steps: int = 5
    """How far it looks ahead."""

    name: str = "optimum"

    def __post_init__(self) -> None:
        require_max_move(self.max_move)
        _require_cost(self.move_cost)
        if self.steps < 1:
            raise InputError.of("steps", self.steps, "at least 1")

    def check(self, model: ModelId) -> None:
        """Raises: ModelMismatchError: the reward is of another model."""
        require_same(self.name, self.reward.model, model)

    def decide(self, observation: Observation) -> Action:
        """Raises: PolicyError: the session allows no split that the reward covers."""
        seen = _row(self.reward, observation, self.name)
        if isinstance(seen, Action):
            return seen
        row, splits, reason = seen
        moves = tuple(range(-self.max_move, self.max_move + 1))
        process = Process(row[None], moves, self.move_cost)
        at = clamp(observation.split, splits) - splits.start
        values = process.action_values(process.returns(self.steps - 1, best))[at, :, 0]
        action = int(process.first_actions(self.steps)[0, at])
        return Action(
            splits.start + int(process.reach[at, action]), reason, value=float(values[action])
        )


def _row(
    reward: Reward, observation: Observation, name: str
) -> tuple[Floats, LayerRange, str] | Action:
    """The rewards of the splits that both session and reward have, those splits, and the reason to
    give; or the answer where the channel is not known."""
    channel = observed(reward.space, observation)
    missing = unknown(reward.space, channel)
    if missing is not None:
        return hold(observation, f"{missing} is not known")
    ours, theirs = reward.splits, observation.splits
    start, stop = max(ours.start, theirs.start), min(ours.stop, theirs.stop)
    if start >= stop:
        raise PolicyError(f"policy {name}: covers splits {ours}, the session allows {theirs}")
    row = reward.rows(reward.space.clip(channel))[0, start - ours.start : stop - ours.start]
    reason = "policy" if reward.space.contains(channel)[0] else EDGE
    return row, LayerRange(start, stop), reason


def require_max_move(max_move: int) -> None:
    """Raises: InputError: moves of -u..u make no action space."""
    if max_move < 1:
        raise InputError.of("--actions", 2 * max_move + 1, "3, 5, 7, ...")


def _require_cost(move_cost: float) -> None:
    if not 0 <= move_cost < inf:
        raise InputError.of("--move-cost", move_cost, "a finite number, at least 0")
