"""Backward induction over an episode of finitely many steps. Pure numpy.

Splits are counted from 0 here: column s of a reward row is the first split plus s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from controller.learning.space import Floats, Ints

Transition = Callable[[Floats], Floats]
"""From what is worth how much, [n, S], to what it is worth a step before, in expectation."""

Choice = Callable[[Floats], Floats]
"""From the value of each action, [S, actions, n], to that of the state, [S, n]."""


def best(values: Floats) -> Floats:
    """The optimum's choice."""
    return np.asarray(values.max(axis=1))


def uniform(values: Floats) -> Floats:
    """Every action alike."""
    return np.asarray(values.mean(axis=1))


def chosen(actions: Ints) -> Choice:
    """A policy's: `actions`, int [n, S], says which."""
    return lambda values: np.take_along_axis(values, actions.T[:, None, :], axis=1)[:, 0]


@dataclass(frozen=True)
class Process:
    """Splits that move by `moves`, stopped at both ends, and pay by where they arrive."""

    rewards: Floats
    """[n, S]: of n channels and S splits."""

    moves: tuple[int, ...]
    """-u, ..., u"""

    move_cost: float = 0.0
    transitions: Sequence[Transition] | None = None
    """How the channel goes on when the split moves by each of `moves`; None: it stays."""

    @cached_property
    def reach(self) -> Ints:
        """The split after each action: int [S, actions]."""
        start = np.arange(self.rewards.shape[1])
        return np.asarray(np.clip(start[:, None] + np.array(self.moves), 0, len(start) - 1))

    @cached_property
    def moved(self) -> Ints:
        """By how much: int [S, actions]."""
        return np.asarray(self.reach - np.arange(self.rewards.shape[1])[:, None])

    def action_values(self, after: Floats) -> Floats:
        """[S, actions, n] of each action when states are worth `after`, [n, S], from then on."""
        if self.transitions is None:
            worth = (self.rewards + after).T[self.reach]
        else:
            carried = np.stack([carry(after).T for carry in self.transitions])  # [actions, S, n]
            kind = self.moved + self.moves[-1]  # a move that a bound cut short is a shorter one
            worth = self.rewards.T[self.reach] + carried[kind, self.reach]
        toll: NDArray[np.float64] = self.move_cost * np.abs(self.moved)
        return np.asarray(worth - toll[:, :, None])

    def returns(self, steps: int, choice: Choice) -> Floats:
        """Undiscounted, of an episode of `steps` from each state on: [n, S]."""
        after = np.zeros_like(self.rewards)
        for _ in range(steps):
            after = choice(self.action_values(after)).T
        return after

    def first_actions(self, steps: int) -> Ints:
        """What the optimum does first: int [n, S]. Among equals the shortest move, then up."""
        return self._greatest(self.action_values(self.returns(steps - 1, best)))

    def endless_actions(self, gamma: float) -> Ints:
        """What the optimum of the endless process does, its rewards discounted: int [n, S].

        By value iteration, until every value is within 1e-6 of a reward's range of its limit: what
        is left is at most gamma / (1 - gamma) times the last change.

        Raises:
            ValueError: gamma is not in [0, 1), where there is no limit.
        """
        if not 0 <= gamma < 1:
            raise ValueError(f"gamma: {gamma}")
        after = np.zeros_like(self.rewards)
        near = 1e-6 * (1 - gamma) * (float(np.ptp(self.rewards)) or 1.0)
        while True:
            before, after = after, best(self.action_values(gamma * after)).T
            if gamma * np.abs(after - before).max() <= near:
                return self._greatest(self.action_values(gamma * after))

    def _greatest(self, values: Floats) -> Ints:
        order = sorted(range(len(self.moves)), key=lambda a: (abs(self.moves[a]), -self.moves[a]))
        return np.asarray(np.array(order)[values[:, order].argmax(axis=1)].T)
