"""How good a policy is, exactly: every start enumerated, the channel held still. Pure numpy.

With the channel held still the decision process is deterministic, so the returns of a
policy without chance, of the uniform random policy and of the optimum follow without sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from airsplit.layer_range import LayerRange
from controller.environment import Objective
from controller.features import noise_coordinate, sigma_at
from controller.policy import Observation, Policy


@dataclass(frozen=True)
class Scores:
    """Mean undiscounted returns of an episode over all channels and starts; higher is better."""

    policy: float
    optimal: float
    """By dynamic programming."""

    best_fixed: float
    """The best single split for all channels, held from the first step."""

    best_fixed_split: int
    random: float

    @property
    def fraction_of_optimum(self) -> float:
        """(J - J_random) / (J* - J_random): 0 is random, 1 is optimal."""
        return (self.policy - self.random) / (self.optimal - self.random)


def channels_of(objective: Objective, noise_levels: int = 24) -> list[tuple[float, float]]:
    """(sigma, m): noise in equal steps on its logarithmic scale, times every m of the table."""
    table = objective.table
    levels = np.linspace(0, noise_coordinate(table.sigma_max), noise_levels)
    sigmas = [min(sigma_at(float(level)), table.sigma_max) for level in levels]
    return [(sigma, m) for m in table.m for sigma in sigmas]


def next_splits(policy: Policy, channel: tuple[float, float], layers: int) -> np.ndarray:
    """Where the policy moves from each split p = 0..L, the whole range allowed: int [L + 1]."""
    sigma, m = channel
    splits = LayerRange(0, layers + 1)
    seen = (Observation(sigma, m, 0.0, inf, split, splits) for split in splits)
    return np.array([policy.decide(observation).split for observation in seen])


def evaluate(
    policy: Policy,
    objective: Objective,
    moves: Sequence[int],
    steps: int = 5,
    channels: Sequence[tuple[float, float]] | None = None,
) -> Scores:
    """Scores of a policy on an objective, over `channels` (all of `channels_of`) and all starts.

    `moves` are what the optimum and the random policy may do in a step.
    """
    layers = objective.table.model.layers
    start = np.arange(layers + 1)
    reach = np.clip(start[:, None] + np.array(moves), 0, layers)
    toll = objective.move_cost * np.abs(reach - start[:, None])
    totals = np.zeros(3)
    fixed = np.zeros(layers + 1)
    chosen = channels if channels is not None else channels_of(objective)
    for channel in chosen:
        reward = -objective.row(*channel)
        follow = next_splits(policy, channel, layers)
        own_toll = objective.move_cost * np.abs(follow - start)
        mine, best, random = np.zeros((3, layers + 1))
        for _ in range(steps):
            mine = (reward + mine)[follow] - own_toll
            best = ((reward + best)[reach] - toll).max(axis=1)
            random = ((reward + random)[reach] - toll).mean(axis=1)
        totals += [mine.mean(), best.mean(), random.mean()]
        fixed += steps * reward
    returns = [float(total) for total in totals / len(chosen)]
    split = int(fixed.argmax())
    return Scores(returns[0], returns[1], float(fixed[split]) / len(chosen), split, returns[2])


def settled_splits(policy: Policy, sigma: float, m: float, layers: int) -> tuple[int, ...]:
    """Where a policy ends under a channel that stays, from any start: the splits it still visits.

    One number means that it comes to rest there from everywhere.
    """
    follow = next_splits(policy, (sigma, m), layers)
    at = np.arange(layers + 1)
    for _ in range(2 * (layers + 1)):  # longer than any way through L + 1 splits
        at = follow[at]
    return tuple(sorted({int(split) for split in at}))


def optimal_split(objective: Objective, sigma: float, m: float) -> int:
    """argmin of Eq. 8: the split that is best where the channel stays."""
    return int(objective.row(sigma, m).argmin())
