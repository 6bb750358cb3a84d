"""Hybrid ARQ with chase combining: copies of a token are added up until it can be received.

Copies with amplitudes h_1..h_k, combined in proportion to their amplitudes (maximum ratio), are one
copy with amplitude sqrt(h_1² + ... + h_k²) under the same noise: SNRs add (Chase 1985). Each copy
meets the h of its own time; how often all are not enough is `theory.harq_failure_probability`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from channel_emulator.fading import Floats


class Combined(NamedTuple):
    """What the rounds came to; h and failed have the shape of one copy's amplitudes."""

    first: Floats
    """h of the first copy."""

    h: Floats
    """Amplitude after combining."""

    transmissions: NDArray[np.int64]
    """Copies sent of each token, at least 1: [tokens]."""

    failed: NDArray[np.bool_]
    """The last copy was not enough either: lost."""

    def of(self, tokens: slice) -> Combined:
        """Of some of the tokens."""
        transmissions, failed = self.transmissions[tokens], self.failed[tokens]
        return Combined(self.first[tokens], self.h[tokens], transmissions, failed)


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
    if limit == 1:
        return Combined(first, first, transmissions, np.logical_not(done, out=done))
    for attempt in range(1, limit):
        if done.all():
            break
        gain = np.where(done, gain, gain + np.square(fade(attempt)))
        transmissions += ~done.all(axis=1)
        done |= enough(gain)
    return Combined(first, np.sqrt(gain), transmissions, ~done)
