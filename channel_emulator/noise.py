"""Additive white Gaussian noise: how strong, and the draws. σ is per real dimension."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from channel_emulator.config import ChannelConfig
from channel_emulator.draws import Draws, Purpose
from channel_emulator.fading import Floats

_MAX_STD = 1e37
"""σ times any normal draw still is a float32."""


def token_power(values: Floats) -> NDArray[np.float64]:
    """P_x of each token: the mean square of `values` [tokens, hidden] over its elements."""
    power: NDArray[np.float64] = np.square(values, dtype=np.float64).mean(axis=1)
    return power


def noise_std(config: ChannelConfig, power: NDArray[np.float64]) -> NDArray[np.float64]:
    """σ of each token, absolute: the configured one, or sqrt(P_x 10^(-SNR/10)).

    A token that is all zero has no power, and with an SNR no noise.
    """
    if config.snr_db is not None:
        std: NDArray[np.float64] = np.sqrt(power * 10 ** (-config.snr_db / 10))
        return np.minimum(std, _MAX_STD)
    return np.full(len(power), config.sigma or 0.0)


def mean_snr(config: ChannelConfig, power: NDArray[np.float64]) -> NDArray[np.float64]:
    """γ of each token at h = 1, as a ratio: P_x / σ²; infinite without noise."""
    if config.snr_db is not None:
        return np.full(len(power), 10 ** (config.snr_db / 10))
    if not config.sigma:
        return np.full(len(power), np.inf)
    # Not power / σ²: the square of a small σ is zero.
    snr: NDArray[np.float64] = (np.sqrt(power) / config.sigma) ** 2
    return snr


def standard_normal(draws: Draws, window: int, position: int, shape: tuple[int, int]) -> Floats:
    """Unit noise for `shape` = [tokens, hidden], float32: each token from its own draws."""
    noise = np.empty(shape, dtype=np.float32)
    for token, row in enumerate(noise):
        generator = draws.at(Purpose.NOISE, window, position + token)
        generator.standard_normal(dtype=np.float32, out=row)
    return noise
