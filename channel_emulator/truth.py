"""What really happened to a frame, for debugging and for judging estimators."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from airsplit.v1 import channel_pb2
from channel_emulator.config import ChannelConfig
from channel_emulator.kernels import measurements
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
    if not config.has_noise:
        sigma, snr_db = 0.0, math.inf
    elif config.snr_db is not None:
        sigma, snr_db = math.nan, config.snr_db
    else:
        sigma, snr_db = config.sigma or 0.0, math.inf
    received, received_db, sigma, snr_db = measurements.truth(
        power, size, loss, *energies, sigma, snr_db, MAX_STD
    )
    return channel_pb2.ChannelTruth(
        sigma=received,
        mean_gain=mean_gain,
        loss=loss,
        snr_db=received_db,
        configured_sigma=sigma,
        configured_snr_db=snr_db,
    )
