"""What the channel is at each channel time: versions of its configuration in order.

*Channel time* is radio time since the timeline's epoch began: with the clock `live` since one
moment for all sessions, with `replay` since the first frame of each session under that epoch.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from airsplit.errors import InputError
from channel_emulator.config import ALLOWED, ChannelConfig
from channel_emulator.draws import Direction
from channel_emulator.knobs import RadioClock
from channel_emulator.rate_trace import RateTrace
from channel_emulator.rules import REPLACES
from channel_emulator.travel import ORIGIN, Anchor, Travel

if TYPE_CHECKING:
    from channel_emulator.scenario import Scenario
MAX_CHANGES = 100_000
"""Most versions that one timeline holds."""

MAX_TIME_NS = 2**63 - 1

TIMELESS = ("clock", "token_interval_ms", "seed")
"""Knobs that cannot change at a stated time: time itself follows from the first two, and a
scenario's draws are those of one seed."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of the configuration. A frame is served by one snapshot from end to end."""

    config: ChannelConfig
    version: int
    anchor: Anchor = ORIGIN
    """Channel time from which its speed holds, and how far h has come by then since time 0."""

    is_transparent: bool = field(init=False)
    per_ns: Travel = field(init=False)
    """How far h comes in a nanosecond."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_transparent", self.config.is_transparent)
        object.__setattr__(self, "per_ns", Travel.per_ns(self.config))

    def followed_by(self, config: ChannelConfig, version: int, time_ns: int) -> Snapshot:
        """What is in force from a channel time on: h goes on from where this one leaves it."""
        snapshot = Snapshot(config, version, self.anchor)
        if snapshot.per_ns == self.per_ns:
            return snapshot
        return replace(snapshot, anchor=Anchor(time_ns, self.anchor.at(time_ns, self.per_ns)))


@dataclass(frozen=True, slots=True)
class Timeline:
    """Snapshots with the channel times from which they hold; both ascend."""

    times_ns: tuple[int, ...]
    """The first one holds from the beginning, whatever it says."""

    snapshots: tuple[Snapshot, ...]
    """Each is `followed_by` the next."""

    epoch: int = 0
    """A new epoch begins channel time anew."""

    started_ns: int = 0
    """Radio time at which the epoch began, where the clock is `live`."""

    scenario: str = ""
    duration_ns: int = 0
    """Of the scenario, or of what a later change left of it."""

    uplink: RateTrace | None = None
    """Rate of the link in place of `rate_mbps`, over channel time."""

    downlink: RateTrace | None = None
    traced_until_ns: int = MAX_TIME_NS
    """Channel time at which the traces give way to the configuration's rates."""

    clock: RadioClock = field(init=False, repr=False, compare=False)
    """Of all snapshots, as the interval is."""

    interval_ns: int = field(init=False, repr=False, compare=False)
    """Radio time from one token to the next."""

    def __post_init__(self) -> None:
        config = self.snapshots[0].config
        object.__setattr__(self, "clock", config.clock)
        object.__setattr__(self, "interval_ns", config.interval_ns)

    @classmethod
    def of(cls, config: ChannelConfig) -> Timeline:
        """A channel that stays as it is, at version 1."""
        return cls((0,), (Snapshot(config, 1),))

    @classmethod
    def compiled(
        cls,
        changes: Sequence[tuple[int, Mapping[str, object]]],
        base: ChannelConfig,
        first_version: int = 1,
    ) -> Timeline:
        """A version for what is at first, and one for each later change.

        Args:
            changes: channel times in nanoseconds, ascending, and knobs by name: numbers, names, or
                their text. Each changes what the one before left.
            base: what those at 0 change.

        Raises:
            InputError: as `ChannelConfig.changed`, or the times do not ascend, there are too many
                changes, or a knob cannot change at a stated time.
        """
        if len(changes) > MAX_CHANGES:
            raise InputError.of("changes", len(changes), f"at most {MAX_CHANGES}")
        times_ns, configs, before_ns = [0], [base], -1
        for index, (time_ns, knobs) in enumerate(changes):
            if not before_ns < time_ns <= MAX_TIME_NS:
                allowed = f"[{before_ns + 1}, {MAX_TIME_NS}]"
                raise InputError.of(f"changes[{index}]: time_ns", time_ns, allowed)
            before_ns = time_ns
            try:
                config = merged(configs[-1], knobs)
                if time_ns == 0:
                    configs[-1] = config
                    continue
                _require_timeless(configs[-1], config)
            except InputError as error:
                where = f"changes[{index}], at {time_ns / 1e9:g} s"
                raise InputError(f"{where}: {error}") from None
            times_ns.append(time_ns)
            configs.append(config)
        snapshots = [Snapshot(configs[0], first_version)]
        for time_ns, config in zip(times_ns[1:], configs[1:], strict=True):
            snapshots.append(snapshots[-1].followed_by(config, snapshots[-1].version + 1, time_ns))
        return cls(tuple(times_ns), tuple(snapshots))

    @property
    def last_version(self) -> int:
        return self.snapshots[-1].version

    def at(self, channel_time_ns: int) -> Snapshot:
        """The version in force."""
        return self.snapshots[self._index(channel_time_ns)]

    def before(self, time_ns: int) -> Snapshot:
        """What a change at that channel time changes."""
        return self.at(time_ns - 1)

    def rate_trace(self, direction: Direction, channel_time_ns: int) -> RateTrace | None:
        """What the link's rate follows then, in place of the configuration."""
        if channel_time_ns >= self.traced_until_ns:
            return None
        return self.uplink if direction is Direction.UPLINK else self.downlink

    def changed(self, config: ChannelConfig, time_ns: int | None = None) -> Timeline:
        """`config` as the next version from a channel time, or from now, on.

        What was still to come is given up. So are a scenario and its traces, as far as they come
        after the change.

        Raises:
            InputError: the time is out of range, there are too many versions, or a knob cannot
                change at a stated time.
        """
        version = self.last_version + 1
        if time_ns is None:
            return Timeline((0,), (Snapshot(config, version),), self.epoch, self.started_ns)
        if not 0 <= time_ns <= MAX_TIME_NS:
            raise InputError.of("effective_time_ns", time_ns, f"[0, {MAX_TIME_NS}]")
        kept = self._index(time_ns - 1) + 1
        if kept >= MAX_CHANGES:
            raise InputError.of("changes", kept + 1, f"at most {MAX_CHANGES} at stated times")
        before = self.snapshots[kept - 1]
        _require_timeless(before.config, config)
        return replace(
            self,
            times_ns=(*self.times_ns[:kept], time_ns),
            snapshots=(*self.snapshots[:kept], before.followed_by(config, version, time_ns)),
            duration_ns=min(self.duration_ns, time_ns),
            traced_until_ns=min(self.traced_until_ns, time_ns),
        )

    def _index(self, channel_time_ns: int) -> int:
        return max(bisect_right(self.times_ns, channel_time_ns) - 1, 0)


def played(scenario: Scenario, base: ChannelConfig, first_version: int = 1) -> Timeline:
    """A scenario on a channel that it changes.

    Raises:
        InputError: as `Timeline.compiled`.
    """
    return replace(
        Timeline.compiled(scenario.changes, base, first_version),
        scenario=scenario.name,
        duration_ns=scenario.duration_ns,
        uplink=scenario.uplink,
        downlink=scenario.downlink,
    )


def merged(config: ChannelConfig, knobs: Mapping[str, object]) -> ChannelConfig:
    """`config` with some knobs set, a `preset` among them first; the others stay.

    A knob that says what is so already changes nothing, so that the whole state of one channel can
    be given to another one as it is.

    Raises:
        InputError: as `ChannelConfig.changed`.
    """
    rest = dict(knobs)
    base = config.changed({"preset": rest.pop("preset")}) if "preset" in rest else config
    said = {name: _read(name, value) for name, value in rest.items()}
    return base.changed({name: v for name, v in said.items() if not _is_so(base, said, name)})


def _read(name: str, value: object) -> object:
    return ALLOWED[name].read(name, value) if name in ALLOWED else value


def _is_so(base: ChannelConfig, said: Mapping[str, object], name: str) -> bool:
    """Whether a knob's value follows from what is so, or from the knob that replaces it."""
    if name not in ALLOWED:
        return False
    other, unset = REPLACES.get(name, (name, None))
    if other != name and other in said:
        return said[name] in (getattr(base, name), REPLACES[other][1])
    return said[name] == getattr(base, name) and (other == name or getattr(base, other) == unset)


def _require_timeless(before: ChannelConfig, after: ChannelConfig) -> None:
    for name in TIMELESS:
        value = getattr(after, name)
        if value != getattr(before, name):
            shown = str(value) if isinstance(value, RadioClock) else value
            raise InputError.of(name, shown, "changes at once only, not at a stated time")
