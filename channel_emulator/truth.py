"""What really happened to a frame, for debugging and for judging estimators."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from airsplit.v1 import channel_pb2
from channel_emulator.fading import Floats

TRANSPARENT = channel_pb2.ChannelTruth(sigma=0.0, mean_gain=1.0, loss=0.0, snr_db=math.inf)
"""Of a channel that does nothing to values."""


def measure(
    sent: Floats,
    received: Floats,
    erased: NDArray[np.bool_] | None,
    noise: Floats | None,
    h: Floats,
) -> channel_pb2.ChannelTruth:
    """The truth of one frame.

    Args:
        sent, received: [tokens, hidden].
        erased: [tokens, hidden], or None where nothing is.
        noise: what was added after equalisation, [tokens, hidden], or None.
        h: amplitudes of the first transmission.
    """
    loss = 0.0 if erased is None else np.count_nonzero(erased) / erased.size
    return channel_pb2.ChannelTruth(
        sigma=_noise_rms(noise, erased, loss),
        mean_gain=float(h.sum(dtype=np.float64)) / h.size,
        loss=loss,
        snr_db=ratio_db(energy(sent), energy(received - sent)),
    )


def energy(values: Floats) -> float:
    """Sum of squares, to float32's precision."""
    return float(np.vdot(values, values))


def ratio_db(signal: float, error: float) -> float:
    """Ratio of two powers in dB: infinite without an error, NaN without either."""
    if error == 0:
        return math.inf if signal > 0 else math.nan
    ratio = signal / error
    return 10 * math.log10(ratio) if ratio > 0 else -math.inf


def _noise_rms(noise: Floats | None, erased: NDArray[np.bool_] | None, loss: float) -> float:
    """Over the elements that arrived; NaN where none did."""
    if loss == 1:
        return math.nan
    if noise is None:
        return 0.0
    arrived = noise if erased is None else noise * ~erased
    return math.sqrt(energy(arrived) / (noise.size * (1 - loss)))
