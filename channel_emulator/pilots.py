"""What the receiver knows: pilots through the same radio, and estimates from them.

Each frame carries BLOCKS blocks of PILOTS unit pilots, y = h + σ n with one h per block. Where
elements or tokens fade alone, so does each block of pilots; where h is held for a coherence time,
all blocks of a frame meet the h of that time. The receiver sees the amplitude of a pilot also below
h_th: that is how it knows to erase the data.

Where a receiver divides by h, it has to know it: each token has PILOTS pilots of its own, repeated
and combined with every copy of it. They meet the token's combined amplitude H under the same noise.
With which tokens it gave up, that tells the noise on the values that it delivers: σ̂² <1/Ĥ²>.

Of a block, ĥ = mean(y) has noise of variance s = σ̂²/PILOTS, σ̂² the variance within blocks. Moments
of h without that noise: Ω̂ = <ĥ²> - s, μ̂₄ = <ĥ⁴> - 6 s Ω̂ - 3 s²; then m̂ = Ω̂² / (μ̂₄ - Ω̂²), the
inverse normalised variance estimator of Nakagami. Without the correction noise looks like fading.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from airsplit.v1 import channel_pb2
from channel_emulator.config import ChannelConfig
from channel_emulator.draws import Draws, Purpose
from channel_emulator.fading import FadingSource, nakagami
from channel_emulator.knobs import Equalizer, Fading
from channel_emulator.radio import Received
from channel_emulator.truth import energy, ratio_db

BLOCKS = 16
"""Blocks of pilots in a frame."""

PILOTS = 8
"""Unit pilots in a block."""

FRAMES = 64
"""Recent frames that estimates of h and of loss are made of: they need many draws."""

NOISE_FRAMES = 8
"""Newest frames that σ and SNR are made of, of those that tell of them: after a change of the
channel they are right again within as many. A frame has BLOCKS (PILOTS - 1) = 112 degrees of
freedom, so eight give σ to 2.4 % (1/√(2 · 896)). SNR also needs the received power, which values
that vary and fade give less well: single tokens of 192 normal values that fade alone to 0.3 dB."""

_SURE = 3.0
"""Standard errors by which a moment has to stand out to be believed."""

PERFECT = channel_pb2.ChannelEstimate(sigma=0.0, m=math.inf, omega=1.0, loss=0.0, snr_db=math.inf)
"""Of a channel that does nothing to values."""


def sound(
    config: ChannelConfig, draws: Draws, window: int, position: int, time_ns: int
) -> NDArray[np.float64]:
    """The pilots of the frame at `position` and radio time `time_ns` as received.

    [BLOCKS, PILOTS], in units of the pilots' amplitude. With an SNR pilots have the power of the
    payload, so that their noise is 10^(-SNR/20); else their amplitude is 1.
    """
    if config.fading in (Fading.NONE, Fading.BLOCK):
        source = FadingSource(config, draws)
        h = source.amplitudes(window, position, np.array([time_ns]), hidden=1)
    else:
        generator = draws.at(Purpose.PILOT_FADING, window, position)
        h = nakagami(generator, config.m, config.omega, BLOCKS)[:, None]
    noise = draws.at(Purpose.PILOT_NOISE, window, position).standard_normal((BLOCKS, PILOTS))
    return h + _pilot_std(config) * noise


def sound_tokens(
    config: ChannelConfig, draws: Draws, window: int, position: int, received: Received
) -> NDArray[np.float64] | None:
    """Ĥ of each token of a frame, [tokens]: its combined amplitude as its own pilots tell it.

    None where no receiver needs it (nothing is equalised), or where elements fade alone.
    """
    if config.equalizer is not Equalizer.ZERO_FORCING or config.fading is Fading.ELEMENT:
        return None
    generator = draws.at(Purpose.TOKEN_PILOT_NOISE, window, position)
    noise = generator.standard_normal(len(received.h)) / math.sqrt(PILOTS)
    return received.h[:, 0] + _pilot_std(config) * noise


def _pilot_std(config: ChannelConfig) -> float:
    """Noise of one pilot, in units of the pilots' amplitude."""
    return 10 ** (-config.snr_db / 20) if config.snr_db is not None else config.sigma or 0.0


class Estimator:
    """Estimates of one session's channel, from its last FRAMES frames."""

    def __init__(self) -> None:
        # A row is a frame: see `observe`.
        self._rows = np.zeros((FRAMES, 8))
        self._count = 0

    def reset(self) -> None:
        """Forgets: nothing was learnt from frames that met no radio."""
        self._count = 0

    def observe(
        self,
        config: ChannelConfig,
        pilots: NDArray[np.float64],
        token_pilots: NDArray[np.float64] | None,
        received: Received,
    ) -> channel_pb2.ChannelEstimate:
        """Takes in one frame; what is known of the channel now.

        Args:
            pilots: from `sound`.
            token_pilots: from `sound_tokens`.
            received: what is used of it is what the receiver has: values, mask, which tokens it
                gave up, and the power that they were sent with.
        """
        mean = pilots.sum(axis=1) / PILOTS
        gain = mean * mean
        total = float(gain.sum())
        # Σ(y - ĥ)² of all blocks; rounding must not make it negative.
        spread = max(float(np.vdot(pilots, pilots)) - PILOTS * total, 0.0)
        within = spread / (BLOCKS * (PILOTS - 1))
        noise = _noise_of_tokens(config, within, gain, token_pilots, received)
        erased = 0 if received.erased is None else np.count_nonzero(received.erased)
        self._rows[self._count % FRAMES] = (
            total / BLOCKS,
            float(np.vdot(gain, gain)) / BLOCKS,
            within,
            noise.sum(),
            noise.size,
            energy(received.values),
            received.values.size - erased,
            received.values.size,
        )
        self._count += 1
        return self._estimate()

    def _estimate(self) -> channel_pb2.ChannelEstimate:
        frames = min(self._count, FRAMES)
        rows = self._rows[np.arange(self._count - frames, self._count) % FRAMES]
        mean_gain, mean_gain_squared, within = rows[:, :3].sum(axis=0) / frames
        all_arrived, all_sent = rows[:, 6:].sum(axis=0)
        telling = rows[rows[:, 4] > 0][-NOISE_FRAMES:, 3:7]
        variance, tokens, received, arrived = telling.sum(axis=0)
        noise = variance / tokens if tokens else math.nan
        power = received / arrived - noise if arrived else math.nan
        omega, m = _moments(mean_gain, mean_gain_squared, within / PILOTS, frames * BLOCKS)
        return channel_pb2.ChannelEstimate(
            sigma=math.sqrt(noise),
            m=m,
            omega=omega,
            loss=1 - all_arrived / all_sent,
            snr_db=ratio_db(power, noise) if power > 0 else math.nan,
        )


def _noise_of_tokens(
    config: ChannelConfig,
    within: float,
    gain: NDArray[np.float64],
    token_pilots: NDArray[np.float64] | None,
    received: Received,
) -> NDArray[np.float64]:
    """Variance of the noise on each token as the receiver delivers it; none that is given up.

    Args:
        within: variance of the noise of a pilot.
        gain: ĥ² of the frame's blocks of pilots.
    """
    variance = within * received.power if config.snr_db is not None else within
    each = np.broadcast_to(variance, len(received.h))
    if config.equalizer is not Equalizer.ZERO_FORCING:
        return each
    if token_pilots is not None:
        delivered = ~received.failed[:, 0]
        return each[delivered] * _inverse(np.square(token_pilots[delivered]), within)
    strong = gain[gain >= config.h_th**2]
    return each * _inverse(strong, within).mean() if strong.size else each[:0]


def _inverse(gain: NDArray[np.float64], variance: float) -> NDArray[np.float64]:
    """1/H² of ĥ² with ĥ = H + e, e of variance s: <1/ĥ²> = (1 + 3 s/H²)/H² to first order in s."""
    inverse: NDArray[np.float64] = 1 / (gain + 3 * variance / PILOTS)
    return inverse


def _moments(x: float, x_squared: float, s: float, blocks: int) -> tuple[float, float]:
    """Ω̂ and m̂ of <ĥ²>, <ĥ⁴>, the noise variance s of ĥ, and the number of blocks.

    m̂ is infinite where ĥ² varies no more than its noise makes it, and NaN where Ω̂ itself cannot be
    told from zero.
    """
    omega = x - s
    spread = max(x_squared - x**2, 0.0)
    if omega <= _SURE * math.sqrt(spread / blocks):
        return omega, math.nan
    of_noise = 4 * s * omega + 2 * s**2
    of_fading = spread - of_noise
    least = _SURE * of_noise * math.sqrt(2 / blocks) + 1e-9 * omega**2
    return omega, omega**2 / of_fading if of_fading > least else math.inf
