"""What really happened to a frame, for debugging and for judging estimators."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from airsplit.v1 import channel_pb2
from channel_emulator.config import ChannelConfig
from channel_emulator.fading import Floats
from channel_emulator.kernels import sums
from channel_emulator.noise import MAX_STD

TRANSPARENT = channel_pb2.ChannelTruth(
    sigma=0.0,
    mean_gain=1.0,
    loss=0.0,
    snr_db=math.inf,
    configured_sigma=0.0,
    configured_snr_db=math.inf,
)
"""Of a channel that does nothing to values."""


def measure(
    signal: float,
    error: float,
    noise: float,
    size: int,
    h: Floats,
    erased: NDArray[np.bool_] | None,
) -> channel_pb2.ChannelTruth:
    """The truth of one frame.

    Args:
        signal: energy of the values that were sent.
        error: energy of what was received less what was sent.
        noise: energy of the noise on the elements that arrived, after equalisation.
        size: number of elements.
        h: amplitudes of the first transmission.
        erased: [tokens or 1, hidden or 1], or None where nothing is.
    """
    loss = 0.0 if erased is None else np.count_nonzero(erased) / erased.size
    return channel_pb2.ChannelTruth(
        sigma=math.sqrt(noise / (size * (1 - loss))) if loss < 1 else math.nan,
        mean_gain=sums.mean(h),
        loss=loss,
        snr_db=ratio_db(signal, error),
    )


def configured(config: ChannelConfig, power: NDArray[np.float64]) -> tuple[float, float]:
    """σ of n in y = h·x + n, root mean square over the tokens, and SNR in dB at h = 1.

    One of them is set; the other follows from the mean of the tokens' `power`, [tokens], that an
    SNR is relative to. Where a token's σ is at its limit, the SNR is what it came to.
    """
    if not config.has_noise:
        return 0.0, math.inf
    amplitude = math.sqrt(float(np.add.reduce(power)) / len(power))
    if config.snr_db is not None:
        ratio = 10 ** (-config.snr_db / 20)
        sigma = amplitude * ratio
        if sigma * math.sqrt(len(power)) <= MAX_STD:  # no token's is above the root of their sum
            return sigma, config.snr_db
        each = np.minimum(np.sqrt(power) * ratio, MAX_STD)
        sigma = float(np.sqrt(np.mean(np.square(each))))
        return sigma, 2 * ratio_db(amplitude, sigma)
    sigma = config.sigma or 0.0
    return sigma, 2 * ratio_db(amplitude, sigma)  # not of squares: a small σ's is zero


def ratio_db(signal: float, error: float) -> float:
    """Ratio of two powers in dB: infinite without an error, NaN without either."""
    if error == 0:
        return math.inf if signal > 0 else math.nan
    ratio = signal / error
    return 10 * math.log10(ratio) if ratio > 0 else -math.inf
