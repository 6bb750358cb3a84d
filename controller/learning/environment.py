"""The split as a Markov decision process (Sec. 4.1 of the paper).

State (sigma, 1/m, p) or (loss, p), actions {-u, ..., u}. `SplitVectorEnv` steps n episodes at once
in numpy alone; `SplitEnv` is one of them as a gymnasium environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from numpy.typing import ArrayLike, NDArray

from airsplit.errors import InputError
from controller.features import Features
from controller.learning.cases import Case, Starts, starts_of
from controller.learning.dynamics import Drift, Dynamics
from controller.learning.reward import Reward
from controller.learning.space import Floats, Ints, require_splits

States = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EnvironmentConfig:
    """What the agent is asked to do.

    Raises:
        InputError: a value is out of its range.
    """

    case: Case = Case.A
    """Where episodes begin."""

    max_move: int = 2
    """u: the split moves by -u..u layers a step. Actions are in this order; the released code's
    0, -1, +1, -2, ... is a mere permutation."""

    episode_steps: int = 5
    """Table 4 of the paper."""

    move_cost: float = 0.0
    """What moving the split by one layer costs once, in units of the reward: its K/V rows have to
    cross. Not in Eq. 9, where a policy may wander between splits that are about as good."""

    fading_share: float = 0.5
    """Where 1/m is in the state: the share of the episodes whose channel fades."""

    dynamics: Dynamics = field(default_factory=Drift)
    """How the channel goes on from step to step."""

    def __post_init__(self) -> None:
        if not 0 <= self.move_cost < inf:
            raise InputError.of("--move-cost", self.move_cost, "a finite number, at least 0")
        if self.max_move < 1:
            raise InputError.of("--actions", 2 * self.max_move + 1, "3, 5, 7, ...")
        if self.episode_steps < 1:
            raise InputError.of("episode_steps", self.episode_steps, "at least 1")
        if not 0 <= self.fading_share <= 1:
            raise InputError.of("fading_share", self.fading_share, "0-1")

    @property
    def moves(self) -> tuple[int, ...]:
        """Of the actions 0..2u, in their order."""
        return tuple(range(-self.max_move, self.max_move + 1))

    def starts(self, reward: Reward) -> Starts:
        """Raises: InputError: the case does not fit the reward's state."""
        return starts_of(self.case, reward.space, reward.splits, self.fading_share)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "case": self.case.value,
            "max_move": self.max_move,
            "episode_steps": self.episode_steps,
            "move_cost": self.move_cost,
            "fading_share": self.fading_share,
            **self.dynamics.describe(),
        }


class Transition(NamedTuple):
    """What a step of n episodes came to."""

    observations: States
    """[n, k + 1] to act on next: the first of a new episode where the last one is over."""

    rewards: Floats
    """[n]"""

    truncated: bool
    """Whether the episodes, all n of them, are over. They are truncated, never terminated: the
    session would go on."""

    final: States
    """[n, k + 1] after the step, before any reset: what a value is bootstrapped from."""


class SplitVectorEnv:
    """n episodes side by side, all of the same length and begun together. numpy alone.

    The reward of a step is that of the new split under the channel that the agent saw; then the
    channel goes on. It is computed at each step, also where the channel is held: the rewards of all
    splits, looked up from then on, would cost more than those of the five that an episode needs.

    Raises:
        InputError: n or the seed is out of its range, or the case does not fit the reward's state.
    """

    def __init__(
        self, reward: Reward, config: EnvironmentConfig | None = None, n: int = 1, seed: int = 0
    ) -> None:
        if n < 1:
            raise InputError.of("environments", n, "at least 1")
        self.reward = reward  # may be exchanged between steps (Algorithm 1)
        self.config = config or EnvironmentConfig()
        self.features = Features(reward.space, reward.splits)
        self.n = n
        self.chance = np.random.default_rng(_seed(seed))
        self._starts = self.config.starts(reward)
        self._moves = np.array(self.config.moves)
        self._coordinates = len(reward.space.names)
        self.reset()

    @property
    def channels(self) -> Floats:
        """[n, k]"""
        return self._states[:, : self._coordinates]

    @property
    def splits(self) -> Ints:
        """[n]"""
        return self._splits

    def reset(self, seed: int | None = None) -> States:
        """Begins n episodes; with a seed, the same ones each time."""
        if seed is not None:
            self.chance = np.random.default_rng(_seed(seed))
        self._splits = self._starts.draw_splits(self.chance, self.n)
        self._states = self.config.dynamics.start(
            self.chance, self.reward.space, self._starts, self.n
        )
        self._steps = 0
        return self._observe()

    def begin(self, channels: ArrayLike, splits: ArrayLike) -> States:
        """Begins episodes in given states, [n, k] and [n]; n is theirs from now on.

        Raises:
            InputError: a state is outside what the reward covers, or the dynamics hide a part.
        """
        if self.config.dynamics.hidden:
            raise InputError("channel: follows the UE's way; allowed: no channel of one's own")
        found = self.reward.space.require(channels)
        allowed = self.reward.splits
        self._splits = require_splits(splits, allowed.start, allowed.stop)
        if len(found) != len(self._splits):
            raise InputError.of("splits", len(self._splits), f"{len(found)}, one a channel")
        self._states, self.n, self._steps = found, len(found), 0
        return self._observe()

    def step(self, actions: ArrayLike) -> Transition:
        """Takes actions 0..2u, int [n]; begins anew what is over.

        Raises:
            InputError: an action is none of these, or their number is another.
        """
        chosen = np.asarray(actions)
        if chosen.shape != (self.n,) or chosen.dtype.kind not in "iu":
            given = f"{chosen.dtype} {chosen.shape}"
            raise InputError.of("actions", given, f"integers ({self.n},)")
        if chosen.min() < 0 or chosen.max() >= len(self._moves):
            worst = chosen.min() if chosen.min() < 0 else chosen.max()
            raise InputError.of("action", int(worst), f"0-{len(self._moves) - 1}")
        splits, config = self.reward.splits, self.config
        arrived = np.minimum(
            np.maximum(self._splits + self._moves[chosen], splits.start), splits.stop - 1
        )
        moved = arrived - self._splits
        rewards = self.reward(self.channels, arrived)
        if config.move_cost:
            rewards = rewards - config.move_cost * np.abs(moved)
        self._splits = arrived
        self._states = config.dynamics.step(self.chance, self.reward.space, self._states, moved)
        self._steps += 1
        final = self._observe()
        truncated = self._steps == config.episode_steps
        return Transition(self.reset() if truncated else final, rewards, truncated, final)

    def snapshot(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """All that the next step depends on: numbers for JSON, and arrays."""
        numbers = {"chance": self.chance.bit_generator.state, "steps": self._steps}
        return numbers, {"states": self._states.copy(), "splits": self._splits.copy()}

    def restore(self, numbers: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Goes back to a snapshot of an environment of the same configuration."""
        self.chance.bit_generator.state = numbers["chance"]
        self._steps = int(numbers["steps"])
        self._states, self._splits = arrays["states"].copy(), arrays["splits"].copy()

    def _observe(self) -> States:
        return self.features.vectors(self.channels, self._splits)


def _seed(seed: int) -> int:
    if not 0 <= seed < 2**32:
        raise InputError.of("--seed", seed, "0-4294967295")
    return seed


class SplitEnv(gymnasium.Env[States, np.int64]):
    """One episode after another. `info` of a step names the channel and the split it was paid for.

    `reset(options=...)` sets coordinates of the channel by name, and `split`.
    """

    def __init__(self, reward: Reward, config: EnvironmentConfig | None = None) -> None:
        self._episodes = SplitVectorEnv(reward, config)
        self.features = self._episodes.features
        self.observation_space = gymnasium.spaces.Box(-1, 1, (self.features.size,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(len(self._episodes.config.moves))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[States, dict[str, Any]]:
        """Raises: InputError: an option has no meaning or is out of its range."""
        super().reset(seed=seed)
        self._episodes.chance = self.np_random
        observations = self._episodes.reset()
        if options:
            observations = self._begin(options)
        return observations[0], self._info(self._episodes.channels, self._episodes.splits)

    def step(self, action: np.int64) -> tuple[States, float, bool, bool, dict[str, Any]]:
        channels = self._episodes.channels
        left = self._episodes.splits
        found = self._episodes.step(np.array([action]))
        moved = self._episodes.config.moves[int(action)]
        allowed = self.features.splits
        arrived = np.clip(left + moved, allowed.start, allowed.stop - 1)
        info = self._info(channels, arrived)
        return found.final[0], float(found.rewards[0]), False, found.truncated, info

    def _begin(self, options: dict[str, Any]) -> States:
        names = self.features.space.names
        for name in options:
            if name not in (*names, "split"):
                raise InputError.of("options", name, ", ".join((*names, "split")))
        drawn = zip(names, self._episodes.channels[0].tolist(), strict=True)
        try:
            channels = [[float(options.get(name, value)) for name, value in drawn]]
        except (TypeError, ValueError) as error:
            raise InputError(f"options: {error}") from error
        split = options.get("split", int(self._episodes.splits[0]))
        return self._episodes.begin(channels, [split])

    def _info(self, channels: Floats, splits: Ints) -> dict[str, Any]:
        names = self.features.space.names
        known = dict(zip(names, channels[0].tolist(), strict=True))
        return {**known, "split": int(splits[0])}
