"""What a person can ask for: presets, scenarios and knobs, as text for --help."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from importlib import resources
from typing import Any

from channel_emulator.config import ALLOWED, PRESETS, ChannelConfig
from channel_emulator.scenario import SCENARIOS

UNITS = {
    "_ms": "ms",
    "_db": "dB",
    "_mbps": "Mbit/s",
    "_mhz": "MHz",
    "_ghz": "GHz",
    "_mps": "m/s",
    "_kib": "KiB",
    "_bytes": "bytes",
    "burst_length": "units",
    "max_efficiency": "bit/s/Hz",
}
"""By the end of a knob's name."""

_DEFAULTS: dict[str, Any] = {knob.name: knob.default for knob in fields(ChannelConfig)}


def presets() -> str:
    """A line for each preset, with what it sets."""
    lines = ["presets, and what they set:"]
    for name, config in PRESETS.items():
        values = {knob: getattr(config, knob) for knob in ALLOWED}
        said = (f"{knob}={value}" for knob, value in values.items() if value != _DEFAULTS[knob])
        lines.append(f"  {name:9} {', '.join(said) or 'nothing'}")
    return "\n".join(lines)


def knobs() -> str:
    """A line for each knob: range, unit and default."""
    lines = ["knobs, their ranges and units, and what they are unless a preset sets them:"]
    for name, allowed in ALLOWED.items():
        unit = next((f" {unit}" for end, unit in UNITS.items() if name.endswith(end)), "")
        default = "" if _DEFAULTS[name] is None else f"; {_DEFAULTS[name]}"
        lines.append(f"  {name:21} {allowed}{unit}{default}")
    return "\n".join(lines)


def scenarios() -> str:
    """A line for each scenario that is shipped."""
    lines = ["scenarios:"]
    for name in SCENARIOS:  # to compile them would take a good part of a second
        file = resources.files("channel_emulator") / "scenarios" / f"{name}.toml"
        found = tomllib.loads(file.read_text(encoding="utf-8"))
        lines.append(f"  {name:15} {found['description']}")
    return "\n".join(lines)
