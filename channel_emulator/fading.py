"""Nakagami-m fading: generating the amplitude h is apart from applying it.

h = sqrt(G) with G ~ Gamma(shape m, scale Ω/m), for any m >= 0.5; E[h²] = Ω (Nakagami 1960; Eq. 4 of
the paper). m = 0.5 is half-normal, 1 Rayleigh, and towards infinity h = sqrt(Ω). How long an h is
held is `ChannelConfig.fading`. Two generators follow a Doppler spectrum; only for m = 1 do they
agree on more than the distribution:

- copula, any m: a Rayleigh process mapped rank by rank (Beaulieu and Cheng 2005);
- sum_of_squares, 2m an integer: h² = Ω/2m Σ g_i², with 2m real Gaussian processes (Nakagami 1960;
  Yacoub, Bautista and de Rezende Guedes 1999).

Their closed forms are in `theory`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from channel_emulator.config import ChannelConfig
from channel_emulator.copula import nakagami_of_rayleigh
from channel_emulator.doppler import GaussianProcess, Instants
from channel_emulator.draws import Draws, Purpose
from channel_emulator.knobs import Fading
from channel_emulator.place import Place
from channel_emulator.travel import ONE, Anchor

Floats = NDArray[np.float32]


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


class FadingSource:
    """h of the tokens of one stream in one direction. Holds nothing: making another is cheap."""

    def __init__(self, config: ChannelConfig, draws: Draws) -> None:
        self._config = config
        self._draws = draws

    def amplitudes(self, place: Place, hidden: int, attempt: int = 0) -> Floats:
        """h of each token of a frame: [tokens, hidden] where elements fade alone, else [tokens, 1].

        Copy `attempt` is sent attempt * harq_rtt_ms after the first, and meets the h of that time;
        where h is no function of time, one of its own.
        """
        tokens = len(place.times_ns)
        match self._config.fading:
            case Fading.NONE:
                return np.ones((tokens, 1), dtype=np.float32)
            case Fading.ELEMENT:
                return self._each(place, tokens, hidden, attempt)
            case Fading.TOKEN:
                return self._rows(place, tokens, attempt)
            case Fading.FRAME:
                return np.repeat(self._rows(place, 1, attempt), tokens, axis=0)
            case Fading.BLOCK:
                return self._blocks(self._sent_ns(place, attempt), place.anchor)
            case Fading.COPULA:
                return self._copula(self._sent_ns(place, attempt), place.anchor)
            case Fading.SUM_OF_SQUARES:
                return self._sum_of_squares(self._sent_ns(place, attempt), place.anchor)

    def _sent_ns(self, place: Place, attempt: int) -> Instants:
        delay_ns = attempt * round(self._config.harq_rtt_ms * 1e6)
        return place.times_ns.astype(np.uint64) + np.uint64(delay_ns)

    def _rows(self, place: Place, tokens: int, attempt: int) -> Floats:
        """One h for each of the first `tokens` tokens, by inversion: √(Ω/m P⁻¹(m, u))."""
        m, omega = self._config.m, self._config.omega
        at = place.window, place.position
        u = self._draws.uniform(Purpose.FADING, *at, (tokens, 1), attempt)
        h: Floats = np.sqrt(special.gammaincinv(m, u) * (omega / m)).astype(np.float32)
        return h

    def _each(self, place: Place, tokens: int, width: int, attempt: int) -> Floats:
        """`width` independent h for each token."""
        h = np.empty((tokens, width), dtype=np.float32)
        for token, row in enumerate(h):
            row[:] = self._draw(
                Purpose.FADING, place.window, place.position + token, attempt, width
            )
        return h

    def _blocks(self, times_ns: Instants, anchor: Anchor) -> Floats:
        """h is held while as many whole coherence times have passed: floor(t / T_c) at one speed.

        What comes late, with a time before the anchor's, meets the block of the anchor.
        """
        whole, part = divmod(anchor.travel.blocks, ONE)
        numbers = np.full(len(times_ns), whole, dtype=np.uint64)
        coherence_ns = self._config.coherence_ns
        if coherence_ns is not None:
            since_ns = np.maximum(times_ns, np.uint64(anchor.time_ns)) - np.uint64(anchor.time_ns)
            since_ns += np.uint64(part * coherence_ns // ONE)
            numbers += since_ns // np.uint64(coherence_ns)
        blocks, of_token = np.unique(numbers, return_inverse=True)
        h = [self._draw(Purpose.BLOCK_FADING, 0, int(block), 0, 1) for block in blocks]
        return np.stack(h)[of_token]

    def _copula(self, times_ns: Instants, anchor: Anchor) -> Floats:
        r = GaussianProcess.of(self._draws, 1, self._config.doppler_hz).at(times_ns, anchor)
        power = np.square(r.real) + np.square(r.imag)
        h = nakagami_of_rayleigh(power, self._config.m, self._config.omega)
        return h.astype(np.float32)

    def _sum_of_squares(self, times_ns: Instants, anchor: Anchor) -> Floats:
        """Real and imaginary parts are processes of their own, each of variance 1/2."""
        parts = round(2 * self._config.m)
        process = GaussianProcess.of(self._draws, (parts + 1) // 2, self._config.doppler_hz)
        g = process.at(times_ns, anchor).view(np.float64)[:, :parts]
        power = np.square(g).sum(axis=1, keepdims=True)
        h: Floats = np.sqrt(power * (self._config.omega / self._config.m)).astype(np.float32)
        return h

    def _draw(
        self, purpose: Purpose, window: int, position: int, attempt: int, size: int
    ) -> Floats:
        generator = self._draws.at(purpose, window, position, attempt)
        return nakagami(generator, self._config.m, self._config.omega, size)
