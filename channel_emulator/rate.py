"""The bit rate that an SNR is good for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from channel_emulator.config import ChannelConfig


def rate_bps(config: ChannelConfig, snr: NDArray[np.float64]) -> NDArray[np.float64]:
    """B min(max_efficiency, bandwidth_efficiency log2(1 + γ/gap)), γ a ratio, of any shape.

    Shannon (1948) with the gap of a real code; truncated as in 3GPP TR 36.942, annex A. A
    transmission that is in outage was made at the rate of the outage SNR: the least.

    Raises:
        ValueError: the channel has no bandwidth.
    """
    if config.bandwidth_mhz is None:
        raise ValueError("bandwidth_mhz: not set")
    if config.outage_snr_db is not None:
        snr = np.maximum(snr, 10 ** (config.outage_snr_db / 10))
    efficiency = config.bandwidth_efficiency * np.log2(1 + snr / 10 ** (config.snr_gap_db / 10))
    rate: NDArray[np.float64] = np.minimum(efficiency, config.max_efficiency)
    return rate * (config.bandwidth_mhz * 1e6)
