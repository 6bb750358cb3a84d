"""Units of a stream that something happens to, each by itself with one probability q.

The units between two events are geometric in number: floor(E/λ), with E exponential and
λ = -ln(1 - q), so that draws are as few as events (Devroye 1986, X.2). Blocks of units have draws
of their own, which gives random access: whichever call asks about a unit, in whatever order.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from channel_emulator.draws import Draws, Purpose

Bools = NDArray[np.bool_]
Indices = NDArray[np.int64]

_EVENTS = 256
"""Mean number of events in a block, up to twice as many."""

_MAX_BLOCK = 2**40
"""So that a block's indices are exact in float64."""


class EventSource:
    """Events of one kind and probability along one stream."""

    def __init__(self, draws: Draws, purpose: Purpose, probability: float, kind: int = 0) -> None:
        """`probability` is in (0, 1]; another `kind` has other draws."""
        self._draws, self._purpose, self._kind = draws, purpose, kind
        # Almost 1 instead of 1, for which λ is infinite.
        self.rate = -math.log1p(-min(probability, 1 - 2**-53))
        self.block = min(2 ** math.ceil(math.log2(_EVENTS) - math.log2(probability)), _MAX_BLOCK)
        mean = self.block * probability
        self._enough = int(mean + 6 * math.sqrt(mean)) + 2

    def between(self, first: int, count: int) -> Indices:
        """Events at units `first` to `first + count - 1`, counted from `first`, ascending."""
        at, _ = self.of_blocks(first // self.block, (first + count - 1) // self.block, first)
        low, high = np.searchsorted(at, (0, count))
        return at[low:high]

    def of_blocks(self, low: int, high: int, origin: int) -> tuple[Indices, NDArray[np.float64]]:
        """All events of the blocks `low` to `high`.

        Returns:
            Their units, counted from `origin`, ascending; and for each a number x in [0, 1) that
            does not depend on any of the units, with P(x < t) = (1 - e^(-λt)) / q.
        """
        drawn = self._exponentials(low, high, self._enough)
        drawn *= 1 / self.rate
        if self.block == _MAX_BLOCK:  # else a gap is at most 45/λ, less than a block
            np.minimum(drawn, self.block, out=drawn)
        gaps = np.floor(drawn)
        drawn -= gaps
        gaps += 1
        np.cumsum(gaps, axis=1, out=gaps)
        if gaps[:, -1].min() < self.block:  # a longer row begins with the same draws
            self._enough *= 2
            return self.of_blocks(low, high, origin)
        inside = gaps <= self.block
        # Counted from `origin` in Python's integers: an index may be beyond int64.
        starts = [block * self.block - 1 - origin for block in range(low, high + 1)]
        at = gaps.astype(np.int64) + np.array(starts)[:, None]
        return at[inside], drawn[inside]

    def _exponentials(self, low: int, high: int, number: int) -> NDArray[np.float64]:
        drawn = np.empty((high - low + 1, number))
        for block, row in enumerate(drawn, low):
            generator = self._draws.at(self._purpose, self._kind, block % 2**64)
            generator.standard_exponential(out=row)
        return drawn


def happens(
    draws: Draws, purpose: Purpose, probability: float, first: int, count: int, kind: int = 0
) -> Bools:
    """Whether there is an event at each of the units `first` to `first + count - 1`: [count]."""
    if probability > 0.5:  # fewer draws for what does not happen
        return ~happens(draws, purpose, 1 - probability, first, count, kind)
    found = np.zeros(count, dtype=np.bool_)
    if probability > 0:
        found[EventSource(draws, purpose, probability, kind).between(first, count)] = True
    return found
