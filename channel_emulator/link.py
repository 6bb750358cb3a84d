"""Time on the link: airtime, waiting for the link, delay. Pure: absolute times in and out.

A message's schedule begins at its arrival stamp, so that the time that the emulator itself took is
part of the airtime and not added to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from channel_emulator.config import ChannelConfig
from channel_emulator.draws import Draws, Purpose
from channel_emulator.radio import Received


@dataclass(frozen=True, slots=True)
class Passage:
    """One message's way over a link; its parts add up to due_ns - arrival."""

    queue_ns: int
    """Waiting for the messages before it."""

    airtime_ns: int
    """On the air, all transmissions included."""

    delay_ns: int
    """From the end of its airtime to delivery; includes waiting for a late predecessor."""

    due_ns: int
    """When it is to be delivered."""


class Link:
    """One direction of one session: a message at a time, delivered in the order of arrival."""

    def __init__(self) -> None:
        self._free_ns = 0
        self._delivered_ns = 0

    def carry(self, arrival_ns: int, airtime_ns: int, delay_ns: int) -> Passage:
        """Schedules the next message.

        Args:
            arrival_ns: when it came to the emulator, on a monotonic clock.
            airtime_ns: how long it occupies the link.
            delay_ns: how long it takes afterwards, unless its predecessor takes longer.
        """
        start_ns = max(arrival_ns, self._free_ns)
        self._free_ns = start_ns + airtime_ns
        due_ns = max(self._free_ns + delay_ns, self._delivered_ns)
        self._delivered_ns = due_ns
        return Passage(
            queue_ns=start_ns - arrival_ns,
            airtime_ns=airtime_ns,
            delay_ns=due_ns - self._free_ns,
            due_ns=due_ns,
        )


def frame_airtime_ns(config: ChannelConfig, payload_bytes: int, received: Received) -> int:
    """Σ over tokens of transmissions x bytes x 8 / rate, each token at the rate of its own fade."""
    if received.rate_bps is None and math.isinf(config.rate_mbps):
        return 0
    rate_bps = config.rate_mbps * 1e6 if received.rate_bps is None else received.rate_bps
    token_bits = payload_bytes * 8 / len(received.transmissions)
    return round(float(np.sum(received.transmissions * token_bits / rate_bps)) * 1e9)


def reliable_airtime_ns(config: ChannelConfig, message_bytes: int) -> int:
    """Airtime of a message that is delivered intact: results, K/V rows.

    Where the fade decides on the rate, they go at B log2(1 + γ̄) of the mean SNR γ̄ = Ω P/σ², with
    unit power P where σ is absolute.
    """
    if config.bandwidth_mhz is None:
        return round(message_bytes * 8e3 / config.rate_mbps)
    if config.snr_db is not None:
        snr = 10 ** (config.snr_db / 10)
    else:
        amplitude = 1 / (config.sigma or math.inf)
        snr = amplitude * amplitude  # ** would raise where this is infinite
    lowest = 10 ** ((config.outage_snr_db or 0.0) / 10)
    rate_mbps = config.bandwidth_mhz * math.log2(1 + max(config.omega * snr, lowest))
    return round(message_bytes * 8e3 / rate_mbps)


def delay_ns(
    config: ChannelConfig, draws: Draws, purpose: Purpose, window: int, position: int
) -> int:
    """Delay of the message with that key: normal(delay, jitter²), cut off below zero.

    Drawn by inversion: d - j Φ⁻¹(v Φ(d/j)) with v uniform on (0, 1].
    """
    if config.jitter_ms == 0:
        return round(config.delay_ms * 1e6)
    v = 1 - draws.at(purpose, window, position).random()
    above_zero = special.ndtr(config.delay_ms / config.jitter_ms)
    delay_ms = config.delay_ms - config.jitter_ms * float(special.ndtri(v * above_zero))
    return round(max(delay_ms, 0.0) * 1e6)
