"""Additive white Gaussian noise: how strong, and the draws. σ is per real dimension.

Noise is drawn and added in float32, also to payloads of 16 bits: rounding is noise as well, and
alone caps the SNR at 55.6 dB (bfloat16) or 73.7 dB (float16).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from channel_emulator.config import ChannelConfig
from channel_emulator.fading import Floats
from channel_emulator.kernels import sums
from channel_emulator.knobs import PowerReference

Powers = NDArray[np.float64]
"""One per token: [tokens]."""

MAX_STD = 1e37
"""σ times any normal draw still is a float32."""

_OUTLIER = 20.0
"""Magnitudes of a token's median from which on an element is an outlier. A median is not moved by
them. Of normal values, whose median magnitude is 0.67 σ, none is beyond; of Laplacian ones, one in
10^6. Massive activations are at 1000 medians and more (Sun et al. 2024, arXiv 2402.17762), single
elements with most of a token's power: an SNR relative to all of it drowns the other elements."""

_SAMPLE = 256
"""Elements that a median is estimated from, evenly spaced, to a standard error of 9 % or less."""


def token_power(values: Floats) -> Powers:
    """Mean square of each token of `values` [tokens, hidden]; not finite where they are not."""
    power: Powers = np.empty(len(values))
    sums.mean_square(np.ascontiguousarray(values), power)
    return power


def reference_power(config: ChannelConfig, values: Floats, power: Powers) -> Powers:
    """P_x of each token, to which an SNR is relative; `power` is from `token_power`."""
    match config.power_reference:
        case PowerReference.TOKEN:
            return power
        case PowerReference.TENSOR:
            return np.full(len(power), power.mean())
        case PowerReference.INLIERS:
            return _inlier_power(values, power)


def _inlier_power(values: Floats, power: Powers) -> Powers:
    """Without elements of more than _OUTLIER medians; all of it where the median is 0."""
    step = values.shape[1] // _SAMPLE | 1  # odd: no multiple of a period in the elements
    sample = np.abs(values[:, ::step])
    middle = sample.shape[1] // 2
    with np.errstate(over="ignore"):  # an infinite limit is none
        limit = _OUTLIER * np.partition(sample, middle, axis=1)[:, middle]
    largest = np.maximum(values.max(axis=1), -values.min(axis=1))
    (tokens,) = np.nonzero((largest > limit) & (limit > 0))
    if not tokens.size:
        return power
    inlier = np.abs(values[tokens]) <= limit[tokens, None]
    squares = np.square(values[tokens], dtype=np.float64)
    power = power.copy()
    power[tokens] = np.where(inlier, squares, 0).sum(axis=1) / inlier.sum(axis=1)
    return power


def noise_std(config: ChannelConfig, power: Powers) -> Floats:
    """σ of each token, absolute: the configured one, or sqrt(P_x 10^(-SNR/10)). [tokens, 1].

    Where P_x is 0, an SNR means no noise.
    """
    if config.snr_db is None:
        return np.full((len(power), 1), config.sigma or 0.0, dtype=np.float32)
    std = np.empty((len(power), 1), dtype=np.float32)
    sums.root(power, 10 ** (-config.snr_db / 10), MAX_STD, std)
    return std


def mean_snr(config: ChannelConfig, power: Powers) -> Powers:
    """γ of each token at h = 1, as a ratio: P_x / σ²; infinite without noise."""
    if config.snr_db is not None:
        return np.full(len(power), 10 ** (config.snr_db / 10))
    if not config.sigma:
        return np.full(len(power), np.inf)
    # Not power / σ²: the square of a small σ is zero.
    with np.errstate(over="ignore"):  # an infinite SNR is one
        snr: Powers = (np.sqrt(power) / config.sigma) ** 2
    return snr
