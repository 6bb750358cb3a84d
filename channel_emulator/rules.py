"""Which knobs mean something in a preset or beside others, replace each other, go together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

from airsplit.errors import InputError
from channel_emulator.knobs import Equalizer, Fading, LossModel, LossUnit

if TYPE_CHECKING:
    from channel_emulator.config import ChannelConfig

_PROCESSES = (Fading.COPULA, Fading.SUM_OF_SQUARES)
"""Fading that follows a Doppler spectrum."""

NEEDS: tuple[tuple[tuple[str, ...], Callable[[ChannelConfig], bool], str], ...] = (
    (
        ("m", "omega", "h_th", "target_loss", "equalizer"),
        lambda c: c.fading is not Fading.NONE,
        "fading other than none",
    ),
    (
        ("speed_mps", "carrier_ghz"),
        lambda c: c.fading in _PROCESSES or (c.fading is Fading.BLOCK and c.coherence_ms is None),
        "fading=copula|sum_of_squares|block",
    ),
    (("coherence_ms",), lambda c: c.fading is Fading.BLOCK, "fading=block"),
    (("power_reference",), lambda c: c.snr_db is not None, "snr_db"),
    (("loss_unit", "loss_model"), lambda c: c.loss > 0, "loss above 0"),
    (("packet_bytes",), lambda c: c.loss_unit is LossUnit.PACKET, "loss_unit=packet"),
    (
        ("burst_length", "loss_good", "loss_bad"),
        lambda c: c.loss_model is LossModel.GILBERT_ELLIOTT,
        "loss_model=gilbert_elliott",
    ),
    (("harq_rtt_ms",), lambda c: c.harq_transmissions > 1, "harq_transmissions above 1"),
    (
        ("snr_gap_db", "bandwidth_efficiency", "max_efficiency"),
        lambda c: c.bandwidth_mhz is not None,
        "bandwidth_mhz",
    ),
    (("jitter_distribution",), lambda c: c.jitter_ms > 0, "jitter_ms above 0"),
    (("queue_policy",), lambda c: math.isfinite(c.queue_kib), "a finite queue_kib"),
)
"""Knobs that have an effect only beside others."""

COMMON = (
    "delay_ms",
    "downlink_delay_ms",
    "jitter_ms",
    "jitter_distribution",
    "rate_mbps",
    "downlink_rate_mbps",
    "queue_kib",
    "queue_policy",
    "token_interval_ms",
    "clock",
    "seed",
)
"""Knobs of every preset; setting another preset leaves them."""

_LOSS = (
    "loss",
    "loss_unit",
    "packet_bytes",
    "loss_model",
    "burst_length",
    "loss_good",
    "loss_bad",
)
_NOISE = ("sigma", "snr_db", "power_reference", *_LOSS)
_FADE = (
    "fading",
    "m",
    "omega",
    "speed_mps",
    "carrier_ghz",
    "coherence_ms",
    "h_th",
    "target_loss",
    "equalizer",
)

MEANINGFUL: Mapping[str, tuple[str, ...]] = {
    "ideal": COMMON,
    "awgn": (*_NOISE, *COMMON),
    "nakagami": (*_FADE, *_NOISE, *COMMON),
    "erasure": (*_LOSS, *COMMON),
    "physical": (
        *_FADE,
        *_NOISE,
        "outage_snr_db",
        "harq_transmissions",
        "harq_rtt_ms",
        "bandwidth_mhz",
        "snr_gap_db",
        "bandwidth_efficiency",
        "max_efficiency",
        *COMMON,
    ),
}
"""Knobs that mean something in a preset; the others stay at their defaults."""

REPLACES: Mapping[str, tuple[str, float | None]] = {
    "sigma": ("snr_db", None),
    "snr_db": ("sigma", None),
    "rate_mbps": ("bandwidth_mhz", None),
    "bandwidth_mhz": ("rate_mbps", math.inf),
    "h_th": ("target_loss", None),
    "target_loss": ("h_th", 0.0),
    "coherence_ms": ("speed_mps", 1.4),
    "speed_mps": ("coherence_ms", None),
}
"""Setting the one knob puts the other to this."""


def meaningless(name: str, value: object, preset: str) -> InputError:
    """A knob that a preset does not have."""
    allowed = ", ".join(MEANINGFUL[preset])
    return InputError(f"{name}: {value} has no effect in preset {preset!r}; allowed: {allowed}")


def require_effect(config: ChannelConfig, name: str) -> None:
    """Raises: InputError: a knob that changes nothing beside the others."""
    for names, holds, needs in NEEDS:
        if name in names and not holds(config):
            value = getattr(config, name)
            raise InputError(f"{name}: {value} has no effect here; allowed: with {needs}")


_MOST_SQUARES = 100
"""Each is a process of its own, for each stream."""


def check(config: ChannelConfig) -> None:
    """Raises: InputError: values that are right one by one do not go together."""
    for one in fields(config):
        value = getattr(config, one.name)
        has_meaning = not one.metadata or one.name in MEANINGFUL[config.preset]
        if not has_meaning and value != one.default:
            raise meaningless(one.name, value, config.preset)
    for name, other in (("sigma", "snr_db"), ("h_th", "target_loss")):
        if getattr(config, name) and getattr(config, other) is not None:
            raise InputError(f"{name}, {other}: both are set; allowed: one of them")
    if config.fading is Fading.SUM_OF_SQUARES and not (
        float(2 * config.m).is_integer() and config.m <= _MOST_SQUARES / 2
    ):
        allowed = f"0.5, 1, 1.5, ..., {_MOST_SQUARES / 2:g} with fading=sum_of_squares"
        raise InputError.of("m", config.m, allowed)
    divides = config.equalizer is Equalizer.ZERO_FORCING and config.fading is not Fading.NONE
    if divides and config.threshold < 0.001:
        # E[1/h²] is infinite for m <= 1 unless it is cut off.
        knob = "h_th" if config.target_loss is None else "target_loss"
        allowed = "a threshold in [0.001, 1000] with equalizer=zero_forcing"
        raise InputError.of(knob, getattr(config, knob), allowed)
    if config.loss_model is LossModel.GILBERT_ELLIOTT:
        _check_chain(config)
    if config.outage_snr_db is None:
        return
    if config.fading is Fading.ELEMENT:
        raise InputError.of("fading", str(config.fading), "any but element with HARQ")
    if not config.has_noise:
        raise InputError.of("sigma", config.sigma, "(0, 1e+06] where an SNR decides on outage")


def _check_chain(config: ChannelConfig) -> None:
    """Bad spells of that mean length have to be able to make up the mean loss."""
    good, bad = config.loss_good, config.loss_bad
    if bad <= good:
        raise InputError.of("loss_bad", bad, f"above loss_good ({good:g})")
    if config.loss == 0:
        return
    most_bad = config.burst_length / (1 + config.burst_length)  # a good spell is a unit or longer
    most = good + (bad - good) * most_bad
    if not good <= config.loss <= most:
        raise InputError.of("loss", config.loss, f"[{good:g}, {most:g}] with these bursts")
