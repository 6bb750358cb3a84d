"""Nakagami-m fading: generating the amplitude h is apart from applying it.

h = sqrt(G) with G ~ Gamma(shape m, scale Ω/m), for any m >= 0.5; E[h²] = Ω (Nakagami 1960; Eq. 4 of
the paper). How long an h is held is `ChannelConfig.fading`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from channel_emulator.config import ChannelConfig
from channel_emulator.draws import Draws, Purpose
from channel_emulator.knobs import Fading

Floats = NDArray[np.float32]
Times = NDArray[np.int64]
"""Radio time of each token in nanoseconds, [tokens]."""


def nakagami(generator: np.random.Generator, m: float, omega: float, size: int) -> Floats:
    """`size` independent amplitudes, float32."""
    if m == 0.5:  # half-normal
        h = np.abs(generator.standard_normal(size, dtype=np.float32))
        return h * np.float32(np.sqrt(omega))
    if m == 1:  # Rayleigh
        power = generator.standard_exponential(size, dtype=np.float32)
    else:
        power = generator.standard_gamma(m, size, dtype=np.float32)
    power *= np.float32(omega / m)
    return np.sqrt(power, out=power)


def outage_probability(m: float, omega: float, h_th: float) -> float:
    """P(h < h_th) = P(m, m h_th²/Ω), the regularised lower incomplete gamma function (Eq. 5)."""
    return float(special.gammainc(m, m * h_th**2 / omega))


def threshold_of_outage(m: float, omega: float, probability: float) -> float:
    """The h_th with that outage probability: sqrt(Ω/m P⁻¹(m, p))."""
    return float(np.sqrt(omega / m * special.gammaincinv(m, probability)))


class FadingSource:
    """h of consecutive tokens of one stream."""

    def __init__(self, config: ChannelConfig, draws: Draws) -> None:
        self._config = config
        self._draws = draws

    def amplitudes(
        self, window: int, position: int, times_ns: Times, hidden: int, attempt: int = 0
    ) -> Floats:
        """h of the tokens from `position` on, at radio times `times_ns` [tokens].

        [tokens, hidden] where elements fade alone, else [tokens, 1]. Another `attempt` meets
        another h, except within a block.
        """
        tokens = len(times_ns)
        match self._config.fading:
            case Fading.NONE:
                return np.ones((tokens, 1), dtype=np.float32)
            case Fading.BLOCK:
                return self._blocks(times_ns)
            case Fading.ELEMENT:
                width = hidden
            case Fading.TOKEN:
                width = 1
        h = np.empty((tokens, width), dtype=np.float32)
        for token, row in enumerate(h):
            row[:] = self._draw(Purpose.FADING, window, position + token, attempt, width)
        return h

    def _blocks(self, times_ns: Times) -> Floats:
        """h is held while floor(t / T_c) stays the same."""
        coherence_ns = round(self._config.coherence_ms * 1e6)
        blocks, of_token = np.unique(times_ns // coherence_ns, return_inverse=True)
        h = [self._draw(Purpose.BLOCK_FADING, 0, int(block), 0, 1) for block in blocks]
        return np.stack(h)[of_token]

    def _draw(
        self, purpose: Purpose, window: int, position: int, attempt: int, size: int
    ) -> Floats:
        generator = self._draws.at(purpose, window, position, attempt)
        return nakagami(generator, self._config.m, self._config.omega, size)
