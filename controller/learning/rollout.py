"""Episodes played by policies without torch: returns with a confidence interval, and what moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from airsplit.errors import InputError
from controller.learning.environment import EnvironmentConfig, SplitVectorEnv
from controller.learning.optimum import NextSplits
from controller.learning.planning import Process
from controller.learning.reward import Reward
from controller.learning.space import Floats, Ints

Player = Callable[[Floats, Ints, int], Ints]
"""Channels [n, k], splits [n] and how many steps are left, to the splits wanted next, [n]."""


@dataclass(frozen=True, slots=True)
class Episodes:
    """Of one policy, all begun and gone on with the same chance as another's of the same seed."""

    returns: Floats
    """Undiscounted, [n]."""

    moved: NDArray[np.int64]
    """Steps of each episode at which the split moved, [n]."""

    @property
    def mean(self) -> float:
        return float(self.returns.mean())

    @property
    def margin(self) -> float:
        """Half of the 95 % interval of the mean: Student's t over episodes."""
        n = len(self.returns)
        return float(stats.t.ppf(0.975, n - 1) * self.returns.std(ddof=1) / sqrt(n))


def play(
    player: Player, reward: Reward, config: EnvironmentConfig, episodes: int, seed: int
) -> Episodes:
    """Plays `episodes` side by side.

    Raises:
        InputError: fewer than two episodes, which have no interval.
        PolicyError: as the policy.
    """
    if episodes < 2:
        raise InputError.of("--episodes", episodes, "at least 2")
    env = SplitVectorEnv(reward, config, episodes, seed)
    returns, moved = np.zeros(episodes), np.zeros(episodes, np.int64)
    u, splits = config.max_move, reward.splits
    for left in range(config.episode_steps, 0, -1):
        at = env.splits.copy()
        wanted = player(env.channels, at, left).clip(splits.start, splits.stop - 1)
        moves = np.clip(wanted - at, -u, u)
        returns += env.step(moves + u).rewards
        moved += moves != 0
    return Episodes(returns, moved)


def steady(policy: NextSplits) -> Player:
    """A policy that does not count the steps."""
    return lambda channels, splits, left: policy(channels, splits)


def uniform(config: EnvironmentConfig, seed: int) -> Player:
    """Uniformly random moves; a move beyond the model's ends stays where it is."""
    chance = np.random.default_rng(seed)
    moves = np.array(config.moves)
    return lambda channels, splits, left: splits + chance.choice(moves, len(splits))


def greedy(reward: Reward, config: EnvironmentConfig) -> NextSplits:
    """Of what one step reaches, the split whose reward is the greatest now."""

    def next_splits(channels: Floats, splits: Ints) -> Ints:
        return _first(reward, config, channels, splits, 1)

    return next_splits


def optimal(reward: Reward, config: EnvironmentConfig) -> Player:
    """Dynamic programming over the steps that are left, as if the channel stayed."""
    return lambda channels, splits, left: _first(reward, config, channels, splits, left)


def _first(
    reward: Reward, config: EnvironmentConfig, channels: Floats, splits: Ints, left: int
) -> Ints:
    process = Process(reward.rows(channels), config.moves, config.move_cost)
    at = splits - reward.splits.start
    actions = process.first_actions(left)[np.arange(len(at)), at]
    return np.asarray(reward.splits.start + process.reach[at, actions])
