"""A channel in words: PRESET or FILE.toml, and KEY=VALUE pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from airsplit.errors import InputError
from channel_emulator.config import PRESETS, ChannelConfig
from channel_emulator.files import read_toml


def parse_channel(text: str) -> ChannelConfig:
    """The channel that a person asked for, e.g. `nakagami,sigma=0.5,m=1` or `cell.toml,loss=0.1`.

    A file holds the knobs by name at its top level, `preset` among them.

    Raises:
        InputError: one line that names the knob, the value and what is allowed.
    """
    start, *assignments = (part.strip() for part in text.split(","))
    if start not in PRESETS and not start.endswith(".toml"):
        allowed = "PRESET|FILE.toml with PRESET one of " + "|".join(PRESETS)
        raise InputError.of("channel", start, allowed)
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
    found = read_toml("channel", path)
    try:
        if "preset" not in found:
            raise InputError(f"preset: missing; allowed: {'|'.join(PRESETS)}")
        return ChannelConfig().changed(found)
    except InputError as error:
        raise InputError(f"channel: {path}: {error}") from None
