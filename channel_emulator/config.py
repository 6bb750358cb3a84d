"""What one channel is: every knob with its unit and range, the presets, and how text sets them.

A knob that would change nothing is refused, never ignored: `m` without fading, `sigma` in the ideal
channel. `sigma` and `snr_db` replace each other, and so do `rate_mbps` and `bandwidth_mhz`.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from airsplit.errors import InputError
from channel_emulator.knobs import Choice, Equalizer, Fading, RadioClock, Range


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
    """How h is held: none, or one draw per element, token, or block of coherence_ms."""

    m: float = field(default=1.0, metadata=_of(Range(0.5, 10_000)))
    """Nakagami shape: 0.5 is half-normal, 1 Rayleigh, towards infinity no fading."""

    omega: float = field(default=1.0, metadata=_of(Range(0, 1e6, low_open=True)))
    """Nakagami spread Ω = E[h²]."""

    h_th: float = field(default=0.0, metadata=_of(Range(0, 1000)))
    """Fading amplitude below which reception fails (Eq. 5)."""

    sigma: float | None = field(default=None, metadata=_of(Range(0, 1e6)))
    """Standard deviation of the noise, absolute (Eq. 3). None: no noise, or `snr_db` says."""

    snr_db: float | None = field(default=None, metadata=_of(Range(-100, 200)))
    """Mean square of each token's values over the noise variance, in dB, before fading."""

    loss: float = field(default=0.0, metadata=_of(Range(0, 1, high_open=True)))
    """Probability that an element is erased, each by itself."""

    coherence_ms: float = field(default=26.0, metadata=_of(Range(0.001, 1e6)))
    """Length of a fading block in radio time. 26 ms: walking (1.4 m/s) at 3.5 GHz."""

    equalizer: Equalizer = field(default=Equalizer.NONE, metadata=_of(Choice(Equalizer)))
    """none leaves h on the values; zero_forcing divides by it (h_th >= 0.001)."""

    outage_snr_db: float | None = field(default=None, metadata=_of(Range(-100, 100)))
    """Instantaneous SNR, in dB, below which a transmission fails. `physical` only."""

    harq_transmissions: int = field(default=1, metadata=_of(Range(1, 16, integer=True)))
    """Most transmissions of one token, chase combined; then it is lost. `physical` only."""

    bandwidth_mhz: float | None = field(default=None, metadata=_of(Range(0.001, 1e5)))
    """The rate is B log2(1 + SNR) of the fade instead of rate_mbps. `physical` only."""

    delay_ms: float = field(default=0.0, metadata=_of(Range(0, 60_000)))
    """One-way delay of propagation and processing."""

    jitter_ms: float = field(default=0.0, metadata=_of(Range(0, 60_000)))
    """Standard deviation of the delay, a normal distribution cut off below zero."""

    rate_mbps: float = field(default=math.inf, metadata=_of(Range(0.001, math.inf)))
    """Link rate of each session and direction; inf: no airtime."""

    token_interval_ms: float = field(default=10.0, metadata=_of(Range(0.001, 10_000)))
    """Radio time from one token to the next in replay."""

    clock: RadioClock = field(default=RadioClock.REPLAY, metadata=_of(Choice(RadioClock)))
    """replay: radio time is a schedule and a run repeats bit for bit; live: the wall clock."""

    seed: int = field(default=0, metadata=_of(Range(0, 2**64 - 1, integer=True)))
    """Of every random draw."""

    def __post_init__(self) -> None:
        if self.preset not in _MEANINGFUL:
            raise InputError.of("preset", self.preset, "|".join(_MEANINGFUL))
        for name, allowed in ALLOWED.items():
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, allowed.read(name, value))
        self._check_together()

    def _check_together(self) -> None:
        for knob in fields(self):
            value = getattr(self, knob.name)
            meaningful = not knob.metadata or knob.name in _MEANINGFUL[self.preset]
            if not meaningful and value != knob.default:
                raise _meaningless(knob.name, value, self.preset)
        if self.preset == "physical" and self.outage_snr_db is None:
            raise InputError.of("outage_snr_db", None, str(ALLOWED["outage_snr_db"]))
        if self.sigma is not None and self.snr_db is not None:
            raise InputError("sigma, snr_db: both are set; allowed: one of them")
        if self.equalizer is Equalizer.ZERO_FORCING and self.h_th < 0.001:
            # E[1/h²] is infinite for m <= 1 unless it is cut off.
            raise InputError.of("h_th", self.h_th, "[0.001, 1000] with equalizer=zero_forcing")
        if self.outage_snr_db is None:
            return
        if self.fading is Fading.ELEMENT:
            raise InputError.of("fading", str(self.fading), "none|token|block with HARQ")
        if not self.has_noise:
            raise InputError.of("sigma", self.sigma, "(0, 1e+06] where an SNR decides on outage")

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
        for name, (other, unset) in _REPLACES.items():
            if name in rest and other in rest:
                raise InputError(f"{name}, {other}: both are set; allowed: one of them")
            if name in rest:
                values[other] = unset
        result = replace(base, **values)
        for name in rest:
            result._require_effect(name)
        return result

    def _on_preset(self, preset: str) -> ChannelConfig:
        if preset not in PRESETS:
            raise InputError.of("preset", preset, "|".join(PRESETS))
        kept = {name: getattr(self, name) for name in _COMMON}
        base = PRESETS[preset]
        if base.bandwidth_mhz is not None:
            del kept["rate_mbps"]
        return replace(base, **kept)

    def _require_effect(self, name: str) -> None:
        """Refuses a knob that changes nothing beside the others."""
        if name in ("m", "omega", "h_th", "equalizer") and self.fading is Fading.NONE:
            needs = "fading=element|token|block"
        elif name == "coherence_ms" and self.fading is not Fading.BLOCK:
            needs = "fading=block"
        elif name == "token_interval_ms" and self.clock is RadioClock.LIVE:
            needs = "clock=replay"
        else:
            return
        raise InputError(f"{name}: {getattr(self, name)} has no effect here; allowed: with {needs}")

    def to_dict(self) -> dict[str, str | int | float]:
        """The knobs that mean something, for reports and TOML; infinity as "inf". JSON safe."""
        found: dict[str, str | int | float] = {"preset": self.preset}
        for name in _MEANINGFUL[self.preset]:
            value = getattr(self, name)
            if value is not None:
                found[name] = str(value) if value == math.inf else value
        return found


ALLOWED: Mapping[str, Range | Choice] = MappingProxyType(
    {knob.name: knob.metadata["allowed"] for knob in fields(ChannelConfig) if knob.metadata}
)
"""What each knob may be set to, in the order of the fields."""

_COMMON = ("delay_ms", "jitter_ms", "rate_mbps", "token_interval_ms", "clock", "seed")
_NOISE = ("sigma", "snr_db", "loss")
_FADE = ("fading", "m", "omega", "h_th", "coherence_ms", "equalizer")

_MEANINGFUL: Mapping[str, tuple[str, ...]] = {
    "ideal": _COMMON,
    "awgn": (*_NOISE, *_COMMON),
    "nakagami": (*_FADE, *_NOISE, *_COMMON),
    "erasure": ("loss", *_COMMON),
    "physical": tuple(ALLOWED),
}
"""Knobs that mean something in a preset; the others stay at their defaults."""

_REPLACES: Mapping[str, tuple[str, float | None]] = {
    "sigma": ("snr_db", None),
    "snr_db": ("sigma", None),
    "rate_mbps": ("bandwidth_mhz", None),
    "bandwidth_mhz": ("rate_mbps", math.inf),
}
"""Setting the one knob puts the other to this."""

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
            fading=Fading.BLOCK,
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
equaliser; `erasure` zeroes elements as the authors' code does; `physical` lets one block fade per
token decide on noise, outage, HARQ rounds and rate."""


SYNTAX = "PRESET|FILE.toml[,KEY=VALUE...] with PRESET one of " + "|".join(PRESETS)


def parse_channel(text: str) -> ChannelConfig:
    """The channel that a person asked for, e.g. `nakagami,sigma=0.5,m=1` or `cell.toml,loss=0.1`.

    A file holds the knobs by name at its top level, `preset` among them.

    Raises:
        InputError: one line that names the knob, the value and what is allowed.
    """
    start, *assignments = (part.strip() for part in text.split(","))
    if start not in PRESETS and not start.endswith(".toml"):
        raise InputError.of("channel", start, SYNTAX)
    base = PRESETS[start] if start in PRESETS else _from_file(Path(start))
    changes = parse_assignments(assignments)
    if "preset" in changes:
        raise InputError.of("channel: preset", changes["preset"], "in front of the other knobs")
    return base.changed(changes)


def parse_assignments(assignments: Sequence[str]) -> dict[str, object]:
    """`KEY=VALUE` pairs by key, the values still text.

    Raises:
        InputError: not of that form, or a key is given twice.
    """
    changes: dict[str, object] = {}
    for assignment in assignments:
        key, separator, value = (part.strip() for part in assignment.partition("="))
        if not separator or not value:
            raise InputError.of("channel", assignment, "KEY=VALUE")
        if key in changes:
            raise InputError.of(f"channel: {key}", value, "each key once")
        changes[key] = value
    return changes


def _from_file(path: Path) -> ChannelConfig:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
        if "preset" not in found:
            raise InputError(f"preset: missing; allowed: {'|'.join(PRESETS)}")
        return ChannelConfig().changed(found)
    except OSError as error:
        raise InputError(f"channel: {path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # not UTF-8, or not TOML
        raise InputError(f"channel: {path} is not TOML: {error}") from error
    except InputError as error:
        raise InputError(f"channel: {path}: {error}") from None


def _read(name: str, value: object, preset: str) -> Any:
    if name not in ALLOWED:
        raise InputError.of("channel", name, ", ".join(ALLOWED))
    if name not in _MEANINGFUL[preset]:
        raise _meaningless(name, value, preset)
    return ALLOWED[name].read(name, value)


def _meaningless(name: str, value: object, preset: str) -> InputError:
    allowed = ", ".join(_MEANINGFUL[preset])
    return InputError(f"{name}: {value} has no effect in preset {preset!r}; allowed: {allowed}")
