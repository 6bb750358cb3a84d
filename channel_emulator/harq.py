"""Hybrid ARQ with chase combining: copies of a token are added up until it can be received.

Copies with amplitudes h_1..h_k, combined in proportion to their amplitudes (maximum ratio), are one
copy with amplitude sqrt(h_1² + ... + h_k²) under the same noise: SNRs add (Chase 1985). Within one
block of fading every copy sees the same h, so P_fail(K) = P(m, m γ_th / (K γ̄)); where every copy
fades by itself P_fail(K) = P(K m, m γ_th / γ̄).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from channel_emulator.fading import Floats


@dataclass(frozen=True, slots=True)
class Combined:
    """What the rounds came to; h and failed have the shape of one copy's amplitudes."""

    first: Floats
    """h of the first copy."""

    h: Floats
    """Amplitude after combining."""

    transmissions: NDArray[np.int64]
    """Copies sent of each token, at least 1: [tokens]."""

    failed: NDArray[np.bool_]
    """The last copy was not enough either: lost."""


def combine(
    fade: Callable[[int], Floats], enough: Callable[[Floats], NDArray[np.bool_]], limit: int
) -> Combined:
    """Sends each token until it is received, at most `limit` times.

    Args:
        fade: h at an attempt 0, 1, ...: [tokens, 1], or [tokens, hidden] with a limit of 1.
        enough: whether a combined power gain Σh² is received.
    """
    first = fade(0)
    gain = first * first
    done = enough(gain)
    transmissions = np.ones(len(first), dtype=np.int64)
    for attempt in range(1, limit):
        if done.all():
            break
        gain = np.where(done, gain, gain + np.square(fade(attempt)))
        transmissions += ~done.all(axis=1)
        done |= enough(gain)
    h = first if limit == 1 else np.sqrt(gain)
    return Combined(first, h, transmissions, ~done)


def failure_probability(m: float, mean_snr: float, outage_snr: float, copies: int) -> float:
    """P_fail after `copies` transmissions in one block, both SNRs as ratios."""
    return float(special.gammainc(m, m * outage_snr / (copies * mean_snr)))
