"""What `--channel` asks for: a preset, a file of knobs, or a scenario, and knobs on top of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from airsplit.errors import InputError
from channel_emulator.config import PRESETS, ChannelConfig
from channel_emulator.files import read_toml
from channel_emulator.scenario import SCENARIOS, Scenario, load_scenario
from channel_emulator.spec import parse_assignments, parse_channel
from channel_emulator.timeline import Timeline, played

SYNTAX = "PRESET|SCENARIO|FILE.toml[,KEY=VALUE...]"


@dataclass(frozen=True, slots=True)
class Start:
    """The channel that an emulator begins with."""

    config: ChannelConfig
    """At first; `scenario` says what becomes of it."""

    scenario: Scenario | None = None

    @classmethod
    def of(cls, scenario: Scenario) -> Start:
        """A scenario on a channel that is ideal otherwise.

        Raises:
            InputError: its changes do not fit together.
        """
        first = played(scenario, ChannelConfig()).at(0).config
        later = tuple(change for change in scenario.changes if change[0] > 0)
        return cls(first, replace(scenario, changes=later))

    def changed(self, knobs: Mapping[str, object]) -> Start:
        """Some knobs set at its beginning; they hold until the scenario says otherwise.

        Raises:
            InputError: as `ChannelConfig.changed`, or the scenario no longer goes with them.
        """
        start = replace(self, config=self.config.changed(knobs))
        start.timeline()
        return start

    def timeline(self) -> Timeline:
        """From version 1 on.

        Raises:
            InputError: the scenario does not go with the configuration.
        """
        if self.scenario is None:
            return Timeline.of(self.config)
        return played(self.scenario, self.config)


def parse_start(text: str) -> Start:
    """E.g. `nakagami,sigma=0.5`, `cell.toml,loss=0.1`, `pedestrian,delay_ms=5`.

    Raises:
        InputError: one line that names the knob, the value and what is allowed.
    """
    name, *assignments = (part.strip() for part in text.split(","))
    if not (name in PRESETS or name in SCENARIOS or name.endswith(".toml")):
        presets, scenarios = "|".join(PRESETS), "|".join(SCENARIOS)
        allowed = f"{SYNTAX} with PRESET one of {presets}, SCENARIO one of {scenarios}"
        raise InputError.of("channel", name, allowed)
    if name in PRESETS or (name not in SCENARIOS and not _has_phases(Path(name))):
        return Start(parse_channel(text))
    start = Start.of(load_scenario(name))
    changes = parse_assignments(assignments)
    if "preset" in changes:
        raise InputError.of("channel: preset", changes["preset"], "none after a scenario")
    return start.changed(changes)


def _has_phases(path: Path) -> bool:
    """Whether a file holds more than knobs: tables or lists."""
    return any(isinstance(value, dict | list) for value in read_toml("channel", path).values())
