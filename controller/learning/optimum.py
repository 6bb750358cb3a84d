"""How good a policy is: its return, the optimum's and chance's, without sampling. Pure numpy.

States are enumerated: every split times the nodes of the dynamics' grid. Where the channel is held
that is exact for each start; where it drifts, values between two nodes are interpolated. A UE's way
is known to its end, so that under mobility the optimum is one that sees ahead: an upper bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf, nan

import numpy as np

from controller.features import Features
from controller.learning.dynamics import Grid
from controller.learning.environment import EnvironmentConfig
from controller.learning.planning import Process, best, chosen, uniform
from controller.learning.reward import Reward
from controller.learning.space import Floats, Ints
from controller.policy import Observation, Policy

NextSplits = Callable[[Floats, Ints], Ints]
"""A policy without chance: channels [n, k] and splits [n] to the splits that it wants next, [n]. As
far as a step goes towards them, the split moves."""

LEVELS = 30


@dataclass(frozen=True, slots=True)
class Scores:
    """Mean undiscounted returns of an episode over all start states; higher is better."""

    policy: float
    optimal: float
    """By dynamic programming."""

    best_fixed: float
    """Of going to one split whatever the channel, and staying there: the best such split."""

    best_fixed_split: int
    random: float
    """Uniformly random moves."""

    @property
    def fraction_of_optimum(self) -> float:
        """(J - J_random) / (J* - J_random): 0 is random, 1 is optimal, also where all are alike."""
        return fraction(self.policy, self.optimal, self.random)


def fraction(policy: float, optimal: float, random: float) -> float:
    """As `Scores.fraction_of_optimum`, of three returns."""
    span = optimal - random
    alike = span <= 1e-12 * max(abs(optimal), abs(random))  # but for the last bits of the sums
    return 1.0 if alike else (policy - random) / span


@dataclass(frozen=True)
class Scorer:
    """Scores policies on one decision process. Makes the optimum once, for all of them."""

    reward: Reward
    config: EnvironmentConfig
    grid: Grid
    process: Process
    optimal: float
    random: float
    fixed: Floats
    """[splits]: of going to each split and staying there."""

    @classmethod
    def of(cls, reward: Reward, config: EnvironmentConfig, levels: int = LEVELS) -> Scorer:
        """`levels`: nodes along each coordinate of the channel, 2 or more."""
        starts, dynamics = config.starts(reward), config.dynamics
        grid = dynamics.grid(reward.space, starts, levels)
        channels = grid.states[:, : len(reward.space.names)]
        matrices = [dynamics.transition(reward.space, grid, move) for move in config.moves]
        process = Process(
            reward.rows(channels),
            config.moves,
            config.move_cost,
            [matrix.__matmul__ for matrix in matrices],
        )
        bare = cls(reward, config, grid, process, 0.0, 0.0, np.zeros(0))
        shape = process.rewards.shape
        towards = [bare._return(np.full(shape, split)) for split in range(shape[1])]
        return replace(
            bare,
            optimal=bare._mean(process.returns(config.episode_steps, best)),
            random=bare._mean(process.returns(config.episode_steps, uniform)),
            fixed=np.array(towards),
        )

    def score(self, policy: NextSplits) -> Scores:
        """Raises: PolicyError: as the policy."""
        n, count = self.process.rewards.shape
        first = self.reward.splits.start
        channels = self.grid.states[:, : len(self.reward.space.names)]
        splits = np.tile(np.arange(first, first + count), n)
        wanted = policy(np.repeat(channels, count, axis=0), splits)
        split = int(self.fixed.argmax())
        return Scores(
            policy=self._return(wanted.reshape(n, count) - first),
            optimal=self.optimal,
            best_fixed=float(self.fixed[split]),
            best_fixed_split=first + split,
            random=self.random,
        )

    def held_return(self) -> float:
        """Mean return of the best of all moves for a channel that stays, planned anew at each step:
        what `rollout.optimal` plays. `optimal` knows how the channel goes on."""
        still = replace(self.process, transitions=None)
        returns = np.zeros_like(self.process.rewards)
        for left in range(1, self.config.episode_steps + 1):
            act = chosen(still.first_actions(left))
            returns = act(self.process.action_values(returns)).T
        return self._mean(returns)

    def endless_return(self, gamma: float) -> float:
        """Mean return, of an episode, of what is best for an endless discounted process: of what
        an agent aims at that bootstraps where an episode is cut, without its errors of learning.

        Raises:
            ValueError: gamma is not in [0, 1).
        """
        actions = self.process.endless_actions(gamma)
        return self._mean(self.process.returns(self.config.episode_steps, chosen(actions)))

    def _return(self, wanted: Ints) -> float:
        """Mean return of moving towards `wanted`, [n, splits], counted from 0."""
        u = self.config.max_move
        actions = np.clip(wanted - np.arange(wanted.shape[1]), -u, u) + u
        return self._mean(self.process.returns(self.config.episode_steps, chosen(actions)))

    def _mean(self, returns: Floats) -> float:
        first, starts = self.reward.splits.start, self.config.starts(self.reward).splits
        of_splits = returns[:, starts.start - first : starts.stop - first].mean(axis=1)
        return float(self.grid.start @ of_splits)


def score(
    policy: NextSplits, reward: Reward, config: EnvironmentConfig, levels: int = LEVELS
) -> Scores:
    """`Scorer.score` of one policy."""
    return Scorer.of(reward, config, levels).score(policy)


def served(policy: Policy, features: Features) -> NextSplits:
    """A served policy, asked state by state; all splits are allowed, and no SNR is known."""

    def wanted(channels: Floats, splits: Ints) -> Ints:
        pairs = zip(channels, splits.tolist(), strict=True)
        seen = (observation_of(features, channel, split) for channel, split in pairs)
        return np.array([policy.decide(observation).split for observation in seen])

    return wanted


def observation_of(features: Features, channel: Floats, split: int) -> Observation:
    """What a served policy sees of a channel, [k]; what is not a coordinate is not known."""
    known = dict(zip(features.space.names, channel.tolist(), strict=True))
    share = known.get("inverse_m", nan)
    return Observation(
        sigma=known.get("sigma", nan),
        m=1 / share if share else inf,
        loss=known.get("loss", nan),
        snr_db=nan,
        split=split,
        splits=features.splits,
    )


def optimal_splits(reward: Reward, channels: Floats) -> Ints:
    """argmin of Eq. 8: the split that is best where the channel stays, [n]."""
    return np.asarray(reward.splits.start + reward.rows(channels).argmax(axis=1))


def settled_splits(policy: NextSplits, reward: Reward, channel: Floats) -> tuple[int, ...]:
    """Where a policy ends under a channel, [k], that stays, from any start: what it still visits.

    One number means that it comes to rest there from everywhere.
    """
    splits = np.array([*reward.splits])
    follow = policy(np.tile(channel, (len(splits), 1)), splits) - reward.splits.start
    at = np.arange(len(splits))
    for _ in range(2 * len(splits)):  # longer than any way through as many splits
        at = follow[at]
    return tuple(sorted({int(split) for split in splits[at]}))
