"""What the demo shows: a channel that is good, then bad, then good again. Pure.

All that the demo fixes is here, in one place; config.toml of the report repeats it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from airsplit.errors import InputError


@dataclass(frozen=True, slots=True)
class Radio:
    """What changes from phase to phase: Eq. 3-5 of the paper, per element."""

    sigma: float
    """Absolute standard deviation of the noise, on the hidden states' own scale (RMS 0.4-7)."""

    m: float
    """Nakagami shape: the smaller, the deeper the fades."""

    def towards(self, other: Radio, share: float) -> Radio:
        """`share` (0-1) of the way to another radio, on logarithmic scales."""
        return Radio(
            float(f"{self.sigma * (other.sigma / self.sigma) ** share:.3g}"),
            float(f"{self.m * (other.m / self.m) ** share:.3g}"),
        )


GOOD = Radio(sigma=0.12, m=10.0)
"""An early split loses almost nothing here, and costs the UE almost nothing."""

BAD = Radio(sigma=2.5, m=3.0)
"""An early split loses the text here: perplexity in the hundreds for p < 3, below 70 for p > 12."""

LINK: dict[str, Any] = {"preset": "nakagami", "delay_ms": 2.0, "jitter_ms": 0.3, "rate_mbps": 100.0}
"""What does not change: the kind of impairment, and a link slow enough to be seen."""

RAMP_S = 1.5
"""How long the radio takes from one phase to the next, seconds; at most a quarter of a phase. A
ramp belongs to the phase that it leads to."""

MODEL = "airsplit-tiny"
POLICY = "ppo"
DATASET = "sample"

DUET: dict[str, Any] = {
    "window": 256,
    "chunk": 32,
    "story_tokens_per_frame": 1,
    "temperature": 0.8,
    "top_p": 0.95,
}
"""The UE's work: tokens of a scored window and of a frame, story tokens after each such frame."""

CONTROLLER: dict[str, Any] = {"decision_interval_ms": 250, "min_dwell_ms": 250}
"""Decisions four times a second, so that the way from one end to the other takes some seconds."""

EDGE: dict[str, Any] = {"credits": 1}
"""One frame of a session at a time: a story token never waits behind scoring frames."""

THREADS = 1
"""torch threads of UE and edge each: the demo is for two cores."""

MIN_DURATION_S, MAX_DURATION_S = 6.0, 3600.0


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of the run, [start_s, stop_s)."""

    name: str
    start_s: float
    stop_s: float
    radio: Radio


@dataclass(frozen=True, slots=True)
class Scenario:
    """Three phases of a third each.

    Raises:
        InputError: duration or seed are out of their range.
    """

    duration_s: float = 40.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not MIN_DURATION_S <= self.duration_s <= MAX_DURATION_S:
            allowed = f"{MIN_DURATION_S:g}-{MAX_DURATION_S:g} seconds"
            raise InputError.of("--duration", self.duration_s, allowed)
        if not 0 <= self.seed < 2**64:
            raise InputError.of("--seed", self.seed, "0 to 2^64 - 1")

    @property
    def phases(self) -> tuple[Phase, ...]:
        plan = (("good", GOOD), ("bad", BAD), ("good again", GOOD))
        edges = pairwise(self.duration_s * i / len(plan) for i in range(len(plan) + 1))
        return tuple(
            Phase(name, start, stop, radio)
            for (name, radio), (start, stop) in zip(plan, edges, strict=True)
        )

    @property
    def ramp_s(self) -> float:
        return min(RAMP_S, self.duration_s / len(self.phases) / 4)

    def at(self, time_s: float) -> tuple[Phase, Radio]:
        """The phase and the radio at a time since the start; the last one stays."""
        phases = self.phases
        index = max(i for i, phase in enumerate(phases) if phase.start_s <= max(time_s, 0.0))
        phase, before = phases[index], phases[max(index - 1, 0)]
        share = min(1.0, (time_s - phase.start_s) / self.ramp_s)
        return phase, before.radio.towards(phase.radio, max(share, 0.0))

    @property
    def channel(self) -> str:
        """The emulator's `--channel` at the start."""
        first = self.phases[0].radio
        knobs = {**LINK, **asdict(first)}
        preset = knobs.pop("preset")
        return ",".join([str(preset), *(f"{key}={value}" for key, value in knobs.items())])

    def to_dict(self) -> dict[str, Any]:
        """All that is fixed here, for config.toml."""
        phases = [
            {"name": p.name, "start_s": p.start_s, "stop_s": p.stop_s, **asdict(p.radio)}
            for p in self.phases
        ]
        return {
            "duration_s": self.duration_s,
            "seed": self.seed,
            "model": {"name": MODEL, "dtype": "fp32", "threads": THREADS},
            "edge": EDGE,
            "controller": {"policy": POLICY, **CONTROLLER},
            "ue": {"dataset": DATASET, **DUET},
            "channel": {**LINK, "seed": self.seed, "ramp_s": self.ramp_s},
            "phase": phases,
        }


def flags(options: dict[str, Any]) -> list[str]:
    """{"min_dwell_ms": 250} as ["--min-dwell-ms", "250"]."""
    return [
        word
        for name, value in options.items()
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
