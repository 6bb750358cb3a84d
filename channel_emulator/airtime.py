"""How many bits a message puts on the air, and how long they take where no trace says so."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from channel_emulator.config import ChannelConfig
from channel_emulator.draws import Direction
from channel_emulator.knobs import HELD, Fading
from channel_emulator.noise import mean_snr
from channel_emulator.rate import rate_bps
from channel_emulator.received import Received
from channel_emulator.theory import expected_transmissions, harq_failure_probability

MAX_COPIES = 1000.0
"""Most copies of a reliable message that are paid for, where none would ever arrive."""

MAX_AIRTIME_S = 1e6
"""Of one message, where the rate is next to nothing."""


class Load(NamedTuple):
    """What one message asks of its link."""

    n_bytes: int
    """Encoded, once: what waits in the queue."""

    bits: int
    """On the air, all copies included."""

    airtime_ns: int
    """At the rate of the configuration or of the fade."""


def frame_load(config: ChannelConfig, payload_bytes: int, received: Received) -> Load:
    """Σ over tokens of transmissions x bytes x 8 / rate, each token at the rate of its own fade."""
    if len(received.transmissions) == 1 and received.rate_bps is None:
        # A decode frame: Python's numbers are quicker than arrays of one.
        sent_bits = payload_bytes * 8 * int(received.transmissions[0])
        return Load(payload_bytes, sent_bits, _bounded_ns(sent_bits / (config.rate_mbps * 1e6)))
    token_bits = payload_bytes * 8 / len(received.transmissions) * received.transmissions
    rate = config.rate_mbps * 1e6 if received.rate_bps is None else received.rate_bps
    with np.errstate(divide="ignore", over="ignore"):
        airtime_s = float(np.sum(token_bits / rate))
    return Load(payload_bytes, round(float(token_bits.sum())), _bounded_ns(airtime_s))


def plain_load(config: ChannelConfig, n_bytes: int) -> Load:
    """Of a frame that passes a transparent channel."""
    bits = n_bytes * 8
    return Load(n_bytes, bits, _bounded_ns(bits / (config.rate_mbps * 1e6)))


class Reliable(NamedTuple):
    """What a message costs that is delivered intact: results, K/V rows.

    It is repeated until it is received, see `mean_copies`.
    """

    copies: float
    """Until one is received, in the mean."""

    rate_bps: float

    def load(self, n_bytes: int) -> Load:
        bits = n_bytes * 8 * self.copies
        airtime_s = bits / self.rate_bps if self.rate_bps else math.inf
        return Load(n_bytes, round(bits), _bounded_ns(airtime_s if bits else 0.0))


@lru_cache(maxsize=256)
def reliable(config: ChannelConfig, direction: Direction) -> Reliable:
    """What a message costs through that channel."""
    return Reliable(min(mean_copies(config), MAX_COPIES), reliable_rate_bps(config, direction))


def mean_copies(config: ChannelConfig) -> float:
    """Transmissions until one is received, in the mean: E[K] / ((1 - P_fail) (1 - loss)).

    Rounds of `harq_transmissions` copies, E[K] of them sent, follow each other until one round is
    enough. Values of power 1 where σ is absolute.
    """
    failures = [_failure(config, k) for k in range(1, config.harq_transmissions + 1)]
    received = (1 - failures[-1]) * (1 - config.loss)
    return expected_transmissions(failures) / received if received > 0 else math.inf


def _failure(config: ChannelConfig, copies: int) -> float:
    """P(that many combined copies are not enough), by the threshold and by the outage SNR."""
    least_gain = config.threshold**2
    if config.outage_snr_db is not None:
        snr = _unit_snr(config)
        least_gain = max(least_gain, 10 ** (config.outage_snr_db / 10) / snr if snr else math.inf)
    if config.fading is Fading.NONE:
        return float(copies < least_gain)
    lasts_ns = config.coherence_ns or math.inf
    held = config.fading in HELD and config.harq_rtt_ms * 1e6 * (copies - 1) < lasts_ns
    return harq_failure_probability(config.m, config.omega, least_gain, copies, same_fade=held)


def _unit_snr(config: ChannelConfig) -> float:
    """γ of values of power 1 at h = 1."""
    with np.errstate(over="ignore"):  # an infinite SNR is one
        return float(mean_snr(config, np.ones(1))[0])


def reliable_rate_bps(config: ChannelConfig, direction: Direction) -> float:
    """The configured rate; where the fade decides, that of the mean SNR γ̄ = Ω P/σ².

    P is 1 where σ is absolute.
    """
    if direction is Direction.DOWNLINK and config.downlink_rate_mbps is not None:
        return config.downlink_rate_mbps * 1e6
    if config.bandwidth_mhz is None:
        return config.rate_mbps * 1e6
    gain = 1.0 if config.fading is Fading.NONE else config.omega
    return float(rate_bps(config, np.array([gain * _unit_snr(config)]))[0])


def mean_rate_bps(bits: int, airtime_ns: int) -> float:
    """Over a message's airtime; infinite without any."""
    return bits * 1e9 / airtime_ns if airtime_ns else math.inf


def _bounded_ns(airtime_s: float) -> int:
    return round(min(airtime_s, MAX_AIRTIME_S) * 1e9)
