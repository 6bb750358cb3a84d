"""What really happened to a frame, for debugging and for judging estimators."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from airsplit.v1 import channel_pb2
from channel_emulator.config import ChannelConfig
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
    config: ChannelConfig,
    power: NDArray[np.float64],
    size: int,
    energies: tuple[float, float, float],
    loss: float,
    mean_gain: float,
) -> channel_pb2.ChannelTruth:
    """The truth of one frame.

    Args:
        power: of each token, that an SNR is relative to: [tokens].
        size: number of elements.
        energies: of the values that were sent, of what was received less that, and of the noise on
            the elements that arrived, after equalisation.
        loss: share of the elements that were erased.
        mean_gain: of the first copy's amplitudes.
    """
    signal, error, noise = energies
    sigma, snr_db = configured(config, power)
    return channel_pb2.ChannelTruth(
        sigma=math.sqrt(noise / (size * (1 - loss))) if loss < 1 else math.nan,
        mean_gain=mean_gain,
        loss=loss,
        snr_db=ratio_db(signal, error),
        configured_sigma=sigma,
        configured_snr_db=snr_db,
    )


def configured(config: ChannelConfig, power: NDArray[np.float64]) -> tuple[float, float]:
    """σ of n in y = h·x + n, root mean square over the tokens, and SNR in dB at h = 1.

    One of them is set; the other follows from the mean of the tokens' `power`, [tokens], that an
    SNR is relative to. Where a token's σ is at its limit, the SNR is what it came to.
    """
    if not config.has_noise:
        return 0.0, math.inf
    # A decode frame has one: Python's numbers are quicker than arrays of one.
    total = power.item() if len(power) == 1 else float(np.add.reduce(power))
    amplitude = math.sqrt(total / len(power))
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
