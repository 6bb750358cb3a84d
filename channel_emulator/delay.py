"""Delay after the airtime: propagation, jitter, waiting for further transmissions.

Jitter is drawn by inversion from one uniform draw of the message's own key.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from channel_emulator.config import ChannelConfig
from channel_emulator.draws import Direction, Draws, Purpose
from channel_emulator.knobs import JitterDistribution
from channel_emulator.received import Received


def delay_ns(
    config: ChannelConfig,
    draws: Draws,
    direction: Direction,
    purpose: Purpose,
    window: int,
    position: int,
) -> int:
    """Propagation and jitter of the message with that key."""
    mean_ms = config.delay_ms
    if direction is Direction.DOWNLINK and config.downlink_delay_ms is not None:
        mean_ms = config.downlink_delay_ms
    if config.jitter_ms == 0:
        return round(mean_ms * 1e6)
    v = 1 - draws.at(purpose, window, position).random()
    return round(jittered_ms(config.jitter_distribution, mean_ms, config.jitter_ms, v) * 1e6)


def jittered_ms(
    distribution: JitterDistribution, mean_ms: float, jitter_ms: float, v: float
) -> float:
    """The delay of which a share 1 - v of all delays is shorter.

    Around d with standard deviation j, on condition that it is not negative: normal
    d - j Φ⁻¹(v Φ(d/j)), uniform on [max(0, d - √3 j), d + √3 j]. On top of d: exponential
    d - j ln v, whose standard deviation is j too.

    Args:
        v: on (0, 1].
    """
    match distribution:
        case JitterDistribution.NORMAL:
            above_zero = special.ndtr(mean_ms / jitter_ms)
            delay_ms = mean_ms - jitter_ms * float(special.ndtri(v * above_zero))
            return max(delay_ms, 0.0)
        case JitterDistribution.UNIFORM:
            half_width_ms = math.sqrt(3) * jitter_ms
            shortest_ms = max(mean_ms - half_width_ms, 0.0)
            return shortest_ms + (1 - v) * (mean_ms + half_width_ms - shortest_ms)
        case JitterDistribution.EXPONENTIAL:
            return mean_ms - jitter_ms * math.log(v)


def harq_ns(config: ChannelConfig, received: Received) -> int:
    """(k - 1) round-trip times for the k transmissions of the slowest token."""
    return (int(np.max(received.transmissions)) - 1) * round(config.harq_rtt_ms * 1e6)
