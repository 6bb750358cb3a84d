"""What a person writes about a channel that changes: a TOML file, compiled to changes in time.

    name = "corridor"                       # default: the file's name
    description = "From the desk to the street"
    seed = 1                                # of draw and mobility; default 0
    repeat = 2                              # the whole, so many times; default 1
    uplink = { file = "up.mahimahi" }       # rate of the link instead of rate_mbps; downlink too

    [channel]                               # what every round begins with
    preset = "physical"
    delay_ms = 5

    [[phase]]
    name = "walk"
    duration_s = 20                         # default: the length of its one trace
    channel = { loss = 0.01 }               # holds on until it is changed
    ramp = { snr_db = [20, 5] }             # linear, in steps of step_s
    draw = { delay_ms = [4, 9] }            # uniform, anew each step_s
    step_s = 0.5

    [[phase]]
    name = "drive"
    trace = { file = "log.csv", column = "SNR", drives = "snr_db" }

    [[phase]]
    name = "ride"
    duration_s = 60
    mobility = { model = "uma", speed_mps = 14, start_m = [200, 0] }

Instead of one `trace` there may be a list of them. `mobility` holds fields of `Mobility` and drives
snr_db, m and speed_mps, or those in its list `drives`. Files are sought beside this one. A file
with `[[phase]]` is a scenario; one without is a plain channel (`spec.parse_channel`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airsplit.errors import InputError
from channel_emulator.config import PRESETS, ChannelConfig
from channel_emulator.files import parse_toml, read_text
from channel_emulator.knobs import Range
from channel_emulator.phase import Change, Phase, require_few, require_keys, trace_file
from channel_emulator.rate_trace import RateTrace
from channel_emulator.rules import REPLACES
from channel_emulator.timeline import MAX_CHANGES, TIMELESS
from channel_emulator.traces import read_rate_trace

SCENARIOS = (
    *("pedestrian", "vehicle", "indoor-outdoor", "cell-edge"),
    *("case-l", "case-h", "case-a"),
)
"""Those that are shipped, by name."""

MAX_DURATION_NS = 10**17
"""Three years: an int64 of nanoseconds with room for radio time before it."""

MAX_TEXT = 100
"""Characters of a name or a description."""

_FOLDER = Path(__file__).parent / "scenarios"
_KEYS = (
    *("name", "description", "seed", "repeat", "uplink", "downlink"),
    *("channel", "phase"),
)
_SEED = Range(0, 2**64 - 1, integer=True)
_REPEAT = Range(1, MAX_CHANGES, integer=True)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Changes of a channel in the order of channel time; what came last holds on at its end."""

    name: str
    duration_ns: int
    changes: tuple[Change, ...]
    description: str = ""
    uplink: RateTrace | None = None
    """Rate of the link in place of `rate_mbps`."""

    downlink: RateTrace | None = None


def load_scenario(name_or_path: str | Path, seed: int | None = None) -> Scenario:
    """A shipped scenario by its name, or one from a TOML file.

    Args:
        seed: in place of the file's own.

    Raises:
        InputError: one line that names the file, the phase, the knob, the value and what is
            allowed.
    """
    path = Path(name_or_path)
    if str(name_or_path) in SCENARIOS:
        path = _FOLDER / f"{name_or_path}.toml"
    elif path.suffix != ".toml":
        raise InputError.of("scenario", str(name_or_path), "|".join(SCENARIOS) + "|FILE.toml")
    return parse_scenario(path.stem, read_text("scenario", path), path.parent, seed)


def parse_scenario(
    file: str, text: str, folder: Path = Path(), seed: int | None = None
) -> Scenario:
    """As `load_scenario`, from the text of a file; traces are read from `folder`.

    Raises:
        InputError: as `load_scenario`.
    """
    found = parse_toml(f"scenario {file}", text)
    try:
        return _compiled(file, found, folder, seed)
    except InputError as error:
        raise InputError(f"scenario {file}: {error}") from None


def _compiled(file: str, found: dict[str, Any], folder: Path, seed: int | None) -> Scenario:
    phases = found.get("phase")
    if not isinstance(phases, list) or not phases or not all(isinstance(p, dict) for p in phases):
        raise InputError("phase: missing; allowed: one or more [[phase]]")
    require_keys(found, _KEYS)
    channel = found.get("channel")
    if not isinstance(channel, dict) or "preset" not in channel:
        raise InputError(f"[channel] preset: missing; allowed: {'|'.join(PRESETS)}")
    own_seed = int(_SEED.read("seed", found.get("seed", 0) if seed is None else seed))
    repeat = int(_REPEAT.read("repeat", found.get("repeat", 1)))
    changes, period_ns = _round(channel, phases, folder, own_seed)
    require_few(repeat * len(changes))
    if repeat * period_ns > MAX_DURATION_NS:
        raise InputError.of(
            "duration_s", repeat * period_ns / 1e9, f"at most {MAX_DURATION_NS / 1e9:g}"
        )
    return Scenario(
        name=_string(found, "name", file),
        duration_ns=repeat * period_ns,
        changes=tuple(_repeated(changes, period_ns, repeat)),
        description=_string(found, "description", "", least=0),
        uplink=_rate_trace(found, "uplink", folder),
        downlink=_rate_trace(found, "downlink", folder),
    )


def _round(
    channel: Mapping[str, object],
    phases: list[dict[str, Any]],
    folder: Path,
    seed: int,
) -> tuple[list[Change], int]:
    """The changes of one round, every one a channel that stands, and its length."""
    try:
        config = ChannelConfig().changed(channel)
    except InputError as error:
        raise InputError(f"[channel]: {error}") from None
    changes: list[Change] = []
    names: set[str] = set()
    start_ns = 0
    for number, table in enumerate(phases, 1):
        name = _string(table, "name", f"phase {number}")
        try:
            if name in names:
                raise InputError.of("name", name, "each name once")
            names.add(name)
            phase = Phase.of(table, folder)
            if number == 1 and "preset" in phase.channel:
                raise InputError.of("preset", phase.channel["preset"], "in [channel], or later")
            own = phase.changes(config, f"{seed}|{name}")
            config = _applied(config, own)
            changes += [(start_ns + time_ns, knobs) for time_ns, knobs in own]
            start_ns += phase.duration_ns
            require_few(len(changes))
        except InputError as error:
            raise InputError(f"phase {name!r}: {error}") from None
    return _opened(channel, changes), start_ns


def _applied(config: ChannelConfig, changes: list[Change]) -> ChannelConfig:
    """Raises: InputError: the first change that cannot be, and when."""
    for time_ns, knobs in changes:
        try:
            config = config.changed(knobs)
        except InputError as error:
            raise InputError(f"at {time_ns / 1e9:g} s: {error}") from None
    return config


def _opened(channel: Mapping[str, object], changes: list[Change]) -> list[Change]:
    """`changes` with what a round begins with: one change at each time."""
    first = changes.pop(0)[1] if changes and changes[0][0] == 0 else {}
    replaced = {REPLACES[name][0] for name in first if name in REPLACES}
    kept = {name: value for name, value in channel.items() if name not in replaced}
    return [(0, {**kept, **first}), *changes]


def _repeated(changes: list[Change], period_ns: int, repeat: int) -> Iterator[Change]:
    for number in range(repeat):
        for time_ns, knobs in changes:
            timed = {k: v for k, v in knobs.items() if number == 0 or k not in TIMELESS}
            yield number * period_ns + time_ns, timed


def _rate_trace(found: Mapping[str, Any], key: str, folder: Path) -> RateTrace | None:
    if key not in found:
        return None
    path, column = trace_file(key, found[key], folder, ("file", "column"))
    return read_rate_trace(path, column)


def _string(table: Mapping[str, Any], key: str, default: str, least: int = 1) -> str:
    value = table.get(key, default)
    fits = isinstance(value, str) and least <= len(value) <= MAX_TEXT and value.isprintable()
    if not fits:
        raise InputError.of(key, value, f"{least}-{MAX_TEXT} printable characters")
    return str(value)
