"""Time-correlated Gaussian processes with Clarke's Doppler spectrum, at any times in any order.

Sum of sinusoids (Xiao, Zheng and Beaulieu 2006), N = 64 scattered waves:

    r(t) = N^(-1/2) Σ exp j(2π f_D t cos α_n + φ_n),  α_n = (2πn + θ_n)/N,  θ, φ ~ U(-π, π)

The argument is a number of cycles: where f_D changes, f_D t is ∫ f_D dt (`travel`), and r(t) does
not jump. E|r|² = 1 and the autocorrelation is J0(2π f_D τ), both exactly; E|r|⁴ = 2 - 1/N, where a
Rayleigh process has 2.

Each wave is a numerically controlled oscillator: 2^64 steps of phase to a turn, a whole number of
steps per nanosecond, so that its phase at any int64 time is exact, with no rounding that grows with
time; a frequency is within 2.8e-11 Hz of the nominal one. Its cosine is interpolated linearly in a
table, to 3e-7. Integers, tables and basic arithmetic alone: r(t) is the same bit for bit whichever
call asks for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from channel_emulator.draws import Draws, Purpose
from channel_emulator.travel import ORIGIN, Anchor

WAVES = 64
"""N."""

Instants = NDArray[np.uint64]
"""Radio times in nanoseconds, [times]. A sum of two int64 times that are not negative fits."""

_TABLE_BITS = 12
_FRACTION = 2.0 ** (_TABLE_BITS - 64)
_SHIFT = np.uint64(64 - _TABLE_BITS)
_MASK = np.uint64(2 ** (64 - _TABLE_BITS) - 1)
_TURN = np.exp(2j * np.pi * np.arange(2**_TABLE_BITS + 1) / 2**_TABLE_BITS)
_TURN = np.rint(_TURN * 2.0**40) / 2.0**40  # the last bits of exp differ between machines
_STEP = np.diff(_TURN) * _FRACTION
_BATCH = 1024 * WAVES
"""Oscillators evaluated at once: bounds the memory of one call."""


@dataclass(frozen=True, slots=True)
class GaussianProcess:
    """Independent complex processes r(t), E|r|² = 1."""

    cosines: NDArray[np.int64]
    """Share of the largest Doppler shift, in 2^-32: [processes, WAVES]."""

    frequencies: NDArray[np.uint64]
    """2^-64 turns per nanosecond, negative ones modulo 2^64: [processes, WAVES]."""

    phases: NDArray[np.uint64]
    """Before the first cycle, in 2^-64 turns: [processes, WAVES]."""

    @classmethod
    def of(cls, draws: Draws, processes: int, doppler_hz: float) -> GaussianProcess:
        """The processes of one stream and direction; the first of them are the same for any number.

        A Doppler frequency of 0 gives constants. At most 4e8 Hz.
        """
        key = processes, doppler_hz
        found = _LATEST.get(draws)
        if found is None or found[0] != key:
            found = _LATEST[draws] = key, cls._drawn(draws, processes, doppler_hz)
        return found[1]

    @classmethod
    def _drawn(cls, draws: Draws, processes: int, doppler_hz: float) -> GaussianProcess:
        theta = np.empty((processes, WAVES))
        phases = np.empty((processes, WAVES), dtype=np.uint64)
        for process in range(processes):
            generator = draws.at(Purpose.SCATTERING, 0, process)
            theta[process] = generator.uniform(-np.pi, np.pi, WAVES)
            phases[process] = generator.integers(2**64, size=WAVES, dtype=np.uint64)
        cosine = np.cos((2 * np.pi * np.arange(1, WAVES + 1) + theta) / WAVES)
        cosine = np.rint(cosine * 2.0**32)  # as for the table
        steps = np.rint(cosine * (doppler_hz * 1e-9 * 2.0**32)).astype(np.int64)
        return cls(cosine.astype(np.int64), steps.view(np.uint64), phases)

    def at(self, times_ns: Instants, anchor: Anchor = ORIGIN) -> NDArray[np.complex128]:
        """r: [times, processes].

        Args:
            anchor: a time, and how many cycles had passed until then.
        """
        phases = self.phases
        if anchor is not ORIGIN:  # all is modulo one turn, so that a time before it is right too
            times_ns = times_ns - np.uint64(anchor.time_ns)
            phases = phases + self._turns(anchor.travel.cycles)
        r = np.empty((len(times_ns), len(self.phases)), dtype=np.complex128)
        batch = max(_BATCH // self.phases.size, 1)
        for first in range(0, len(times_ns), batch):
            last = first + batch
            phase = times_ns[first:last, None, None] * self.frequencies
            phase += phases
            r[first:last] = _turned(phase).sum(axis=2)
        r *= 1 / math.sqrt(WAVES)
        return r

    def _turns(self, cycles: int) -> NDArray[np.uint64]:
        """Of each wave, after so many cycles in 2^-64: in 2^-64 turns, nearly."""
        return self.cosines.view(np.uint64) * np.uint64((cycles >> 32) % 2**64)


_LATEST: WeakKeyDictionary[Draws, tuple[tuple[int, float], GaussianProcess]] = WeakKeyDictionary()
"""One for each stream that somebody still draws from: building takes longer than evaluating."""


def _turned(phase: NDArray[np.uint64]) -> NDArray[np.complex128]:
    """exp of 2πj times `phase` in 2^-64 turns."""
    index = (phase >> _SHIFT).view(np.int64)
    wave: NDArray[np.complex128] = _STEP[index]
    wave *= phase & _MASK
    wave += _TURN[index]
    return wave
