"""Bursts of loss: a two-state Markov chain over the units of a stream (Gilbert 1960; Elliott 1963).

A good unit is followed by a bad one with probability p, a bad one by a good one with r. Spells of
bad units are geometric with mean 1/r, their share of all units is π = p/(p + r), and the
autocorrelation of the state is (1 - p - r)^n.

One uniform U per unit moves the chain: to bad if U < p from good, if U < 1 - r from bad. Where
U < min(p, 1 - r) it is bad and where U >= max(p, 1 - r) good, whatever it was: the chain renews
itself. In between it stays (p + r <= 1) or changes (p + r > 1). So the state at any unit follows
exactly from the last renewal before it: coupling from the past (Propp and Wilson 1996). Only
renewals are drawn, as events of probability q = 1 - |1 - p - r|; before unit 0 there is one that
has the law π.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from channel_emulator.config import ChannelConfig
from channel_emulator.draws import Draws, Purpose
from channel_emulator.events import Bools, EventSource, happens

_LEAST_RENEWAL = 2.0**-32
"""A chain that hardly ever renews itself alternates (p + r = 2): the look-back has to end."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Probabilities of one chain."""

    p: float
    """From good to bad."""

    r: float
    """From bad to good."""

    @classmethod
    def of(cls, config: ChannelConfig) -> Chain:
        """The chain with that mean loss and burst length."""
        bad = (config.loss - config.loss_good) / (config.loss_bad - config.loss_good)
        r = 1 / config.burst_length
        return cls(min(r * bad / (1 - bad), 1.0), r) if bad < 1 else cls(1.0, r)

    @property
    def share(self) -> float:
        """π, of bad units."""
        return self.p / (self.p + self.r)

    def is_bad(self, draws: Draws, first: int, count: int) -> Bools:
        """The states of the units `first` to `first + count - 1`: [count]."""
        if self.p == 0:
            return np.zeros(count, dtype=np.bool_)
        to_bad = min(self.p, 1 - self.r)
        renewal = max(to_bad + 1 - max(self.p, 1 - self.r), _LEAST_RENEWAL)
        source = EventSource(draws, Purpose.LOSS_STATE, renewal)
        low, high = first // source.block, (first + count - 1) // source.block
        at, mark = source.of_blocks(low, high, first)
        while low > 0 and not (at.size and at[0] <= 0):
            low -= 1
            before = source.of_blocks(low, low, first)
            at, mark = np.concatenate([before[0], at]), np.concatenate([before[1], mark])
        # Of the renewals to_bad/q are to bad; marks have the distribution (1 - e^(-λx))/q.
        bad = mark < -math.log1p(-to_bad) / source.rate
        if low == 0 and not (at.size and at[0] <= 0):
            initial = draws.at(Purpose.LOSS_STATE, 1, 0).random() < self.share
            at, bad = np.append(-1 - first, at), np.append(initial, bad)
        last, end = np.searchsorted(at, (0, count - 1), side="right")
        at, bad = at[last - 1 : end], bad[last - 1 : end]
        until = np.append(at[1:], count) - np.maximum(at, 0)
        states = np.repeat(bad, until)
        if self.p + self.r > 1:
            states ^= ((np.arange(count) - np.repeat(at, until)) & 1).astype(np.bool_)
        return states


def lost(config: ChannelConfig, draws: Draws, first: int, count: int) -> Bools:
    """Which of the units `first` to `first + count - 1` are lost: [count]."""
    bad = Chain.of(config).is_bad(draws, first, count)
    if config.loss_bad < 1:
        of_bad = happens(draws, Purpose.LOSS, config.loss_bad, first, count)
        of_bad &= bad
    else:
        of_bad = bad
    if config.loss_good > 0:
        of_good = happens(draws, Purpose.LOSS, config.loss_good, first, count, kind=1)
        return of_bad | (of_good & ~bad)
    return of_bad
