"""How a channel goes on from step to step, for n episodes at once. Pure numpy.

A state is [n, k + hidden]: its first k columns are the channel, the others the dynamics' own.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple, Protocol

import numpy as np
from scipy import sparse

from airsplit.errors import InputError
from controller.learning.cases import Starts
from controller.learning.space import ChannelSpace, Floats, Ints

Matrix = Any
"""scipy.sparse, [n, n]: the probability of state j after state i."""


class Grid(NamedTuple):
    """States that stand for all of them, where a value has to be known for each."""

    states: Floats
    """[n, k + hidden]"""

    start: Floats
    """[n]: the probability that an episode begins there, by the trapezoidal rule."""

    inner: int = 1
    """States in a row whose first coordinate is the same."""


class Dynamics(Protocol):
    """A law of motion of the channel within `space`."""

    @property
    def hidden(self) -> int:
        """Columns of a state that are no channel."""

    def start(
        self, chance: np.random.Generator, space: ChannelSpace, starts: Starts, n: int
    ) -> Floats:
        """n first states, [n, k + hidden], with channels of `starts`."""

    def step(
        self, chance: np.random.Generator, space: ChannelSpace, states: Floats, moves: Ints
    ) -> Floats:
        """The next states; `moves`, int64 [n], are by how much the split has just moved."""

    def grid(self, space: ChannelSpace, starts: Starts, levels: int) -> Grid:
        """For dynamic programming; `levels` along each coordinate that is not given by itself."""

    def transition(self, space: ChannelSpace, grid: Grid, move: int) -> Matrix:
        """From state to state of the grid when the split moves by `move`. What falls between two
        states is shared by them, so that a value is interpolated linearly."""

    def describe(self) -> dict[str, Any]:
        """What it is, for JSON."""


class _Visible:
    """Dynamics of which nothing is hidden, begun as the starts say."""

    __slots__ = ()

    @property
    def hidden(self) -> int:
        return 0

    def start(
        self, chance: np.random.Generator, space: ChannelSpace, starts: Starts, n: int
    ) -> Floats:
        return starts.draw_channels(chance, n)

    def grid(self, space: ChannelSpace, starts: Starts, levels: int) -> Grid:
        return box_grid(space, starts, levels)


@dataclass(frozen=True, slots=True)
class Held(_Visible):
    """The channel of an episode stays as it is."""

    def step(
        self, chance: np.random.Generator, space: ChannelSpace, states: Floats, moves: Ints
    ) -> Floats:
        return states

    def grid(self, space: ChannelSpace, starts: Starts, levels: int) -> Grid:
        return box_grid(starts.space, starts, levels)

    def transition(self, space: ChannelSpace, grid: Grid, move: int) -> Matrix:
        return sparse.eye_array(len(grid.states), format="csr")

    def describe(self) -> dict[str, Any]:
        return {"dynamics": "held"}


_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
"""Of a standard normal, for the expectation over a drift: exact up to degree 17."""


@dataclass(frozen=True, slots=True)
class Drift(_Visible):
    """A random walk of the first coordinate on its own scale, clipped to the space.

    Raises:
        InputError: the standard deviation is out of its range.
    """

    sd: float = 0.015
    """Standard deviation of a step, as a share of the range."""

    def __post_init__(self) -> None:
        if not 0 <= self.sd <= 1:
            raise InputError.of("drift", self.sd, "0-1")

    def step(
        self, chance: np.random.Generator, space: ChannelSpace, states: Floats, moves: Ints
    ) -> Floats:
        return self._moved(space, states, chance.standard_normal(len(states)))

    def _moved(self, space: ChannelSpace, states: Floats, normal: Floats) -> Floats:
        unit = space.to_unit(states)
        unit[:, 0] += self.sd * normal
        return space.from_unit(unit)

    def transition(self, space: ChannelSpace, grid: Grid, move: int) -> Matrix:
        shares = _WEIGHTS / _WEIGHTS.sum()
        return sum(
            share * shared(space, grid, self._moved(space, grid.states, np.array([node])))
            for node, share in zip(_NODES, shares, strict=True)
        )

    def describe(self) -> dict[str, Any]:
        return {"dynamics": "drift", "sd": self.sd}


@dataclass(frozen=True, slots=True)
class ReleasedDrift(_Visible):
    """The released code's: the first coordinate times 1 - rate (p' - p), clipped to the space.

    It is no law of a channel, but of what the authors trained on.

    Raises:
        InputError: the rate is out of its range.
    """

    rate: float = 0.0005

    def __post_init__(self) -> None:
        if not (isfinite(self.rate) and 0 <= self.rate <= 0.1):
            raise InputError.of("rate", self.rate, "0-0.1")

    def step(
        self, chance: np.random.Generator, space: ChannelSpace, states: Floats, moves: Ints
    ) -> Floats:
        channels = states.copy()
        channels[:, 0] *= 1 - self.rate * moves
        return space.clip(channels)

    def transition(self, space: ChannelSpace, grid: Grid, move: int) -> Matrix:
        no_chance = np.random.default_rng(0)
        return shared(space, grid, self.step(no_chance, space, grid.states, np.array([move])))

    def describe(self) -> dict[str, Any]:
        return {"dynamics": "released", "rate": self.rate}


def box_grid(space: ChannelSpace, starts: Starts, levels: int) -> Grid:
    """A grid over all of `space`, with nodes at the edges of the starts.

    `levels` nodes for the starts, and as many for the space where that is wider. The weights are
    those of the trapezoidal rule; of 1/m, the share that does not fade is at its least.
    """
    axes, weights = [], []
    low, high = space.to_unit(np.array([starts.space.low, starts.space.high]))
    for i, name in enumerate(space.names):
        nodes = np.linspace(low[i], high[i], levels)
        axis = np.unique(np.concatenate([nodes, np.linspace(0, 1, levels)]).round(12))
        inside = (axis >= nodes[0] - 1e-9) & (axis <= nodes[-1] + 1e-9)
        width = np.gradient(axis[inside])
        width[[0, -1]] /= 2
        weight = np.zeros(len(axis))
        weight[inside] = width / width.sum()
        if name == "inverse_m":
            weight *= starts.fading_share
            weight[np.argmax(inside)] += 1 - starts.fading_share
        axes.append(axis)
        weights.append(weight)
    unit = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    share = np.prod(np.meshgrid(*weights, indexing="ij"), axis=0).ravel()
    return Grid(space.from_unit(unit), share, len(unit) // len(axes[0]))


def shared(space: ChannelSpace, grid: Grid, reached: Floats) -> Matrix:
    """Each of the `reached` channels, [n, k], shared by the two states of a box grid about it along
    the first coordinate; the others must be those of the grid's own row."""
    n, inner = len(grid.states), grid.inner
    axis = space.to_unit(grid.states[::inner])[:, 0]
    at = space.to_unit(reached)[:, 0]
    i = np.clip(np.searchsorted(axis, at, side="right") - 1, 0, len(axis) - 2)
    into = np.clip((at - axis[i]) / (axis[i + 1] - axis[i]), 0, 1)
    rows = np.arange(n)
    columns = i * inner + rows % inner
    pairs = (np.tile(rows, 2), np.concatenate([columns, columns + inner]))
    return sparse.csr_array((np.concatenate([1 - into, into]), pairs), shape=(n, n))
