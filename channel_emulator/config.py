"""What one channel is: every knob with its unit and range, the presets, and how text sets them.

A knob that would change nothing is refused, never ignored: `m` without fading, `sigma` in the ideal
channel. `sigma` and `snr_db` replace each other, and so do `rate_mbps` and `bandwidth_mhz`, `h_th`
and `target_loss`, `coherence_ms` and the `speed_mps` that it else follows from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

from airsplit.errors import InputError
from channel_emulator import rules
from channel_emulator.knobs import (
    Choice,
    Equalizer,
    Fading,
    JitterDistribution,
    LossModel,
    LossUnit,
    PowerReference,
    QueuePolicy,
    RadioClock,
    Range,
)
from channel_emulator.rules import COMMON, MEANINGFUL, REPLACES
from channel_emulator.theory import coherence_time_s, doppler_shift_hz, threshold_of_outage


def _of(allowed: Range | Choice) -> Mapping[str, Range | Choice]:
    return {"allowed": allowed}


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """One radio. Amplitudes are those of decoded float values, on the payload's own scale.

    Raises:
        InputError: a value is out of its range, or two do not fit together.
    """

    preset: str = "ideal"
    """Where the impairment started from, and which of its knobs mean something."""

    fading: Fading = field(default=Fading.NONE, metadata=_of(Choice(Fading)))
    """How h is held: not at all, one draw per element, token, frame or coherence time, or h(t)."""

    m: float = field(default=1.0, metadata=_of(Range(0.5, 10_000)))
    """Nakagami shape: 0.5 is half-normal, 1 Rayleigh, towards infinity no fading."""

    omega: float = field(default=1.0, metadata=_of(Range(0, 1e6, low_open=True)))
    """Nakagami spread Ω = E[h²]."""

    speed_mps: float = field(default=1.4, metadata=_of(Range(0, 1000)))
    """Speed of the UE in m/s. 1.4: walking. 0: h never changes."""

    carrier_ghz: float = field(default=3.5, metadata=_of(Range(0.01, 300)))
    """Carrier frequency."""

    coherence_ms: float | None = field(default=None, metadata=_of(Range(0.001, 1e6)))
    """Length of a fading block in radio time. None: 0.423/f_D of speed and carrier."""

    h_th: float = field(default=0.0, metadata=_of(Range(0, 1000)))
    """Fading amplitude below which reception fails (Eq. 5)."""

    target_loss: float | None = field(
        default=None, metadata=_of(Range(0, 1, low_open=True, high_open=True))
    )
    """Share of fades below the threshold: sets it in place of `h_th`."""

    sigma: float | None = field(default=None, metadata=_of(Range(0, 1e6)))
    """Standard deviation of the noise, absolute (Eq. 3). None: no noise, or `snr_db` says."""

    snr_db: float | None = field(default=None, metadata=_of(Range(-100, 200)))
    """Mean square of the values over the noise variance, in dB, before fading."""

    power_reference: PowerReference = field(
        default=PowerReference.TOKEN, metadata=_of(Choice(PowerReference))
    )
    """Which values' mean square `snr_db` refers to: token, tensor, inliers."""

    loss: float = field(default=0.0, metadata=_of(Range(0, 1, high_open=True)))
    """Mean probability that a unit is lost, besides any fade."""

    loss_unit: LossUnit = field(default=LossUnit.ELEMENT, metadata=_of(Choice(LossUnit)))
    """What is lost as a whole."""

    packet_bytes: int = field(default=1500, metadata=_of(Range(8, 1 << 20, integer=True)))
    """Bytes of a packet, counted over the whole stream."""

    loss_model: LossModel = field(default=LossModel.IID, metadata=_of(Choice(LossModel)))
    """Whether units are lost each by itself or in bursts."""

    burst_length: float = field(default=10.0, metadata=_of(Range(1, 1e6)))
    """Mean length of a bad spell, in units."""

    loss_good: float = field(default=0.0, metadata=_of(Range(0, 1, high_open=True)))
    """Probability of loss in the good state."""

    loss_bad: float = field(default=1.0, metadata=_of(Range(0, 1, low_open=True)))
    """Probability of loss in a bad spell."""

    equalizer: Equalizer = field(default=Equalizer.NONE, metadata=_of(Choice(Equalizer)))
    """none leaves h on the values; zero_forcing divides by it (threshold >= 0.001)."""

    outage_snr_db: float | None = field(default=None, metadata=_of(Range(-100, 100)))
    """Instantaneous SNR, in dB, below which a transmission fails. `physical` only."""

    harq_transmissions: int = field(default=1, metadata=_of(Range(1, 16, integer=True)))
    """Most transmissions of one token, chase combined; then it is lost. `physical` only."""

    harq_rtt_ms: float = field(default=8.0, metadata=_of(Range(0, 10_000)))
    """From one transmission of a token to the next, which meets the h of that time."""

    bandwidth_mhz: float | None = field(default=None, metadata=_of(Range(0.001, 1e5)))
    """The fade's SNR γ sets the rate in place of rate_mbps: B min(max_efficiency,
    bandwidth_efficiency log2(1 + γ/gap)). `physical` only."""

    snr_gap_db: float = field(default=0.0, metadata=_of(Range(0, 100)))
    """How far in dB a real code is from Shannon's limit."""

    bandwidth_efficiency: float = field(default=1.0, metadata=_of(Range(0, 1, low_open=True)))
    """Share of Shannon's rate that is reached."""

    max_efficiency: float = field(default=math.inf, metadata=_of(Range(0, math.inf, low_open=True)))
    """Most bits per second and hertz."""

    delay_ms: float = field(default=0.0, metadata=_of(Range(0, 60_000)))
    """One-way delay of propagation and processing."""

    downlink_delay_ms: float | None = field(default=None, metadata=_of(Range(0, 60_000)))
    """The same downwards. None: as upwards."""

    jitter_ms: float = field(default=0.0, metadata=_of(Range(0, 60_000)))
    """Standard deviation of the delay."""

    jitter_distribution: JitterDistribution = field(
        default=JitterDistribution.NORMAL, metadata=_of(Choice(JitterDistribution))
    )
    """Of the delay."""

    rate_mbps: float = field(default=math.inf, metadata=_of(Range(0.001, math.inf)))
    """Link rate of each session; inf: no airtime."""

    downlink_rate_mbps: float | None = field(default=None, metadata=_of(Range(0.001, math.inf)))
    """The same downwards. None: as upwards."""

    queue_kib: float = field(default=math.inf, metadata=_of(Range(1, math.inf)))
    """Most KiB that wait for the uplink."""

    queue_policy: QueuePolicy = field(default=QueuePolicy.BLOCK, metadata=_of(Choice(QueuePolicy)))
    """What becomes of a frame that finds the queue full."""

    token_interval_ms: float = field(default=10.0, metadata=_of(Range(0.001, 10_000)))
    """Radio time from one token to the next; with clock=live within a frame."""

    clock: RadioClock = field(default=RadioClock.REPLAY, metadata=_of(Choice(RadioClock)))
    """replay: radio time is a schedule and a run repeats bit for bit; live: the wall clock."""

    seed: int = field(default=0, metadata=_of(Range(0, 2**64 - 1, integer=True)))
    """Of every random draw."""

    def __post_init__(self) -> None:
        if self.preset not in MEANINGFUL:
            raise InputError.of("preset", self.preset, "|".join(MEANINGFUL))
        for name, allowed in ALLOWED.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, allowed.read(name, value))
        if self.preset == "physical" and self.outage_snr_db is None:
            raise InputError.of("outage_snr_db", None, str(ALLOWED["outage_snr_db"]))
        rules.check(self)

    @property
    def threshold(self) -> float:
        """The amplitude below which reception fails: h_th, or √(Ω/m P⁻¹(m, target_loss)).

        0 without fading: nothing falls below it.
        """
        if self.fading is Fading.NONE:
            return 0.0
        if self.target_loss is None:
            return self.h_th
        return threshold_of_outage(self.m, self.omega, self.target_loss)

    @property
    def doppler_hz(self) -> float:
        """Largest Doppler shift f_D = v f_c / c."""
        return doppler_shift_hz(self.speed_mps, self.carrier_ghz * 1e9)

    @property
    def coherence_ns(self) -> int | None:
        """Length of a fading block; None: h never changes."""
        if self.coherence_ms is not None:
            return round(self.coherence_ms * 1e6)
        if self.doppler_hz < _LEAST_DOPPLER_HZ:
            return None
        return max(round(coherence_time_s(self.doppler_hz) * 1e9), 1)

    @property
    def interval_ns(self) -> int:
        """Radio time from one token to the next."""
        return round(self.token_interval_ms * 1e6)

    @property
    def has_noise(self) -> bool:
        return self.snr_db is not None or bool(self.sigma)

    @property
    def is_transparent(self) -> bool:
        """Whether values pass bit for bit: time is all that the channel costs."""
        return self.fading is Fading.NONE and not self.has_noise and self.loss == 0

    def changed(self, changes: Mapping[str, object]) -> ChannelConfig:
        """This channel with some knobs set: by name, to numbers, names, or their text.

        A `preset` among them sets the impairment to that preset's before the others apply; delay,
        jitter, rate, clock, interval and seed stay as they are.

        Raises:
            InputError: an unknown name, a value out of range, or a knob that would change nothing.
        """
        rest = dict(changes)
        base = self._on_preset(str(rest.pop("preset"))) if "preset" in rest else self
        values = {name: _read(name, value, base.preset) for name, value in rest.items()}
        for name, (other, unset) in REPLACES.items():
            if name in rest and other in rest:
                raise InputError(f"{name}, {other}: both are set; allowed: one of them")
            if name in rest:
                values[other] = unset
        result = replace(base, **values)
        for name in rest:
            rules.require_effect(result, name)
        return result

    def _on_preset(self, preset: str) -> ChannelConfig:
        if preset not in PRESETS:
            raise InputError.of("preset", preset, "|".join(PRESETS))
        kept = {name: getattr(self, name) for name in COMMON}
        base = PRESETS[preset]
        if base.bandwidth_mhz is not None:
            del kept["rate_mbps"]
        return replace(base, **kept)

    def to_dict(self) -> dict[str, str | int | float]:
        """The knobs that mean something, for reports and TOML; infinity as "inf". JSON safe."""
        found: dict[str, str | int | float] = {"preset": self.preset}
        for name in MEANINGFUL[self.preset]:
            value = getattr(self, name)
            if value is not None:
                found[name] = str(value) if value == math.inf else value
        return found


ALLOWED: Mapping[str, Range | Choice] = MappingProxyType(
    {knob.name: knob.metadata["allowed"] for knob in fields(ChannelConfig) if knob.metadata}
)
"""What each knob may be set to, in the order of the fields."""

_LEAST_DOPPLER_HZ = 1e-10  # of a coherence time, 134 years, that is an int64 of nanoseconds

PRESETS: Mapping[str, ChannelConfig] = MappingProxyType(
    {
        "ideal": ChannelConfig(),
        "awgn": ChannelConfig(preset="awgn", sigma=0.1),
        "nakagami": ChannelConfig(
            preset="nakagami", fading=Fading.ELEMENT, m=1.0, omega=1.0, h_th=0.1, sigma=0.1
        ),
        "erasure": ChannelConfig(preset="erasure", loss=0.1),
        "physical": ChannelConfig(
            preset="physical",
            fading=Fading.COPULA,
            h_th=0.05,
            snr_db=20.0,
            equalizer=Equalizer.ZERO_FORCING,
            outage_snr_db=0.0,
            harq_transmissions=4,
            bandwidth_mhz=20.0,
        ),
    }
)
"""`ideal` costs nothing; `awgn` is Eq. 3 with h = 1; `nakagami` is Eq. 3-5 per element, without an
equaliser; `erasure` zeroes elements as the authors' code does; `physical` lets one fade h(t) decide
on noise, outage, HARQ rounds and rate."""


def _read(name: str, value: object, preset: str) -> Any:
    if name not in ALLOWED:
        raise InputError.of("channel", name, ", ".join(ALLOWED))
    if name not in MEANINGFUL[preset]:
        raise rules.meaningless(name, value, preset)
    return ALLOWED[name].read(name, value)
