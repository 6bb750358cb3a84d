"""One phase of a scenario: what it sets, and what drives knobs while it lasts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airsplit.errors import InputError
from channel_emulator.config import ALLOWED, ChannelConfig
from channel_emulator.knobs import Range
from channel_emulator.mobility import Mobility, keyed_generator, trajectory
from channel_emulator.timeline import MAX_CHANGES, TIMELESS
from channel_emulator.traces import Samples, read_samples

MAX_PHASE_S = 1e6
DEFAULT_STEP_S = 0.5

_KEYS = ("name", "duration_s", "step_s", "channel", "ramp", "draw", "mobility", "trace")
_TRACE_KEYS = ("file", "column", "drives")
_FOLLOWS = ("snr_db", "m", "speed_mps")
"""What a trajectory drives."""

_RATES = ("rate_mbps", "downlink_rate_mbps")
_LEAST_RATE_MBPS = 0.001

_FROM_CHANNEL = ("carrier_ghz",)
"""Fields of `Mobility` that are the channel's to say."""

Change = tuple[int, Mapping[str, object]]
"""Nanoseconds from the beginning, and knobs by name."""


@dataclass(frozen=True, slots=True)
class Series:
    """The course of one knob: each value holds from its time on."""

    knob: str
    times_ns: NDArray[np.int64]
    values: NDArray[np.float64]

    def __iter__(self) -> Iterator[tuple[int, float]]:
        """What changes, and when."""
        is_new = np.diff(self.values, prepend=np.nan) != 0
        times_ns, values = self.times_ns[is_new], self.values[is_new]
        return zip(times_ns.tolist(), values.tolist(), strict=True)


@dataclass(frozen=True, slots=True)
class Trace:
    """A recorded quantity and the knob that it drives."""

    samples: Samples
    knob: str


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of a scenario. At most one of its parts says what a knob is."""

    duration_ns: int
    step_ns: int
    """From one value to the next of ramp, draw and mobility."""

    channel: Mapping[str, object]
    """Knobs that are set at its beginning."""

    ramp: Mapping[str, tuple[float, float]]
    """Knobs that go from the one value to the other in equal steps."""

    draw: Mapping[str, tuple[float, float]]
    """Knobs that are drawn anew at each step, uniformly between two values."""

    mobility: Mapping[str, Any] | None
    """Fields of `Mobility`, and `drives`: the knobs that follow the UE's way."""

    traces: tuple[Trace, ...]

    @classmethod
    def of(cls, table: Mapping[str, Any], folder: Path) -> Phase:
        """A `[[phase]]` of a file; its traces are read from `folder`.

        Raises:
            InputError: names the key, the value and what is allowed.
        """
        require_keys(table, _KEYS)
        traces = _traces(table.get("trace", []), folder)
        if "duration_s" not in table and len(traces) != 1:
            raise InputError("duration_s: missing; allowed: its length, or that of its one trace")
        duration_s = table["duration_s"] if "duration_s" in table else traces[0].samples.period_s
        phase = cls(
            duration_ns=_nanoseconds("duration_s", duration_s),
            step_ns=_nanoseconds("step_s", table.get("step_s", DEFAULT_STEP_S)),
            channel=_table(table, "channel"),
            ramp=_intervals(_table(table, "ramp"), "ramp"),
            draw=_intervals(_table(table, "draw"), "draw"),
            mobility=_table(table, "mobility") if "mobility" in table else None,
            traces=traces,
        )
        phase._check()
        return phase

    def _check(self) -> None:
        driven = [*self.ramp, *self.draw, *(trace.knob for trace in self.traces)]
        if self.ramp or self.draw or self.mobility is not None:
            require_few(-(-self.duration_ns // self.step_ns))
        if self.mobility is not None:
            allowed = [f.name for f in fields(Mobility) if f.name not in _FROM_CHANNEL]
            require_keys(self.mobility, (*allowed, "drives"), "mobility: ")
            driven += self._follows
        for name in (*self.channel, *driven):
            if name in TIMELESS:
                raise InputError.of(name, "set in a phase", "in [channel]: it holds throughout")
        both = sorted({k for k in driven if driven.count(k) > 1 or k in self.channel})
        if both:
            raise InputError(f"{both[0]}: more than one part sets it; allowed: one of them")
        for name in self.ramp:
            if self.duration_ns <= self.step_ns:
                raise InputError.of(f"ramp: {name}", "one step", "a duration_s above step_s")

    @property
    def _follows(self) -> Sequence[str]:
        names = (self.mobility or {}).get("drives", list(_FOLLOWS))
        found = [name for name in names if name in _FOLLOWS] if isinstance(names, list) else []
        if not found or found != names:
            raise InputError.of("mobility: drives", names, f"some of {', '.join(_FOLLOWS)}")
        return found

    def changes(self, before: ChannelConfig, seed: str) -> list[Change]:
        """What it comes to, in the order of time from its beginning.

        Args:
            before: the channel that it begins with.
            seed: of its draws and its mobility.

        Raises:
            InputError: as `ChannelConfig.changed` and `Mobility`, or it makes too many changes.
        """
        found: dict[int, dict[str, object]] = {0: dict(self.channel)}
        config = before.changed(self.channel)
        for series in self._series(config, seed):
            for time_ns, value in series:
                found.setdefault(time_ns, {})[series.knob] = value
        require_few(len(found))
        return [(time_ns, found[time_ns]) for time_ns in sorted(found) if found[time_ns]]

    def _series(self, config: ChannelConfig, seed: str) -> Iterator[Series]:
        steps_ns = np.arange(0, self.duration_ns, self.step_ns, dtype=np.int64)
        for knob, (first, last) in self.ramp.items():
            yield Series(knob, steps_ns, np.linspace(first, last, len(steps_ns)))
        for knob, (low, high) in self.draw.items():
            drawn = keyed_generator(f"airsplit scenario 1|{seed}|{knob}").random(len(steps_ns))
            yield Series(knob, steps_ns, low + (high - low) * drawn)
        for trace in self.traces:
            yield self._traced(trace)
        if self.mobility is not None:
            yield from self._way(self.mobility, config, seed, steps_ns)

    def _way(
        self,
        table: Mapping[str, Any],
        config: ChannelConfig,
        seed: str,
        steps_ns: NDArray[np.int64],
    ) -> Iterator[Series]:
        given = {name: value for name, value in table.items() if name != "drives"}
        if config.bandwidth_mhz is not None:
            given.setdefault("bandwidth_mhz", config.bandwidth_mhz)
        mobility = Mobility(**given, carrier_ghz=config.carrier_ghz)
        way = trajectory(mobility, seed, len(steps_ns), self.step_ns / 1e9)
        for knob in self._follows:
            yield Series(knob, steps_ns, np.round(getattr(way, knob), 3))

    def _traced(self, trace: Trace) -> Series:
        """From its beginning, and over again until the phase ends."""
        starts_ns = np.rint(trace.samples.time_s * 1e9).astype(np.int64)
        period_ns = int(starts_ns[-1])
        rounds = -(-self.duration_ns // period_ns)
        require_few((rounds - 1) * len(trace.samples.values))
        round_ns = np.arange(rounds, dtype=np.int64)[:, None] * period_ns
        times_ns = (round_ns + starts_ns[:-1]).ravel()
        values = np.tile(trace.samples.values, rounds)
        if trace.knob in _RATES:
            values = np.maximum(values, _LEAST_RATE_MBPS)  # the link never stands still for ever
        within = times_ns < self.duration_ns
        return Series(trace.knob, times_ns[within], values[within])


def require_keys(table: Mapping[str, Any], allowed: Sequence[str], where: str = "") -> None:
    """Raises: InputError: a key that is none of these."""
    for name in table:
        if name not in allowed:
            raise InputError.of(f"{where}key", name, ", ".join(allowed))


def require_few(changes: int) -> None:
    """Raises: InputError: more changes than a timeline holds."""
    if changes > MAX_CHANGES:
        raise InputError.of("changes", changes, f"at most {MAX_CHANGES}")


def _table(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = table.get(name, {})
    if not isinstance(found, dict):
        raise InputError.of(name, found, "a table")
    return found


def _nanoseconds(name: str, value: object) -> int:
    return round(Range(0.001, MAX_PHASE_S).read(name, value) * 1e9)


def _intervals(table: Mapping[str, Any], part: str) -> dict[str, tuple[float, float]]:
    return {knob: _interval(f"{part}: {knob}", knob, value) for knob, value in table.items()}


def _interval(where: str, knob: str, value: Any) -> tuple[float, float]:
    allowed = ALLOWED.get(knob)
    if not isinstance(allowed, Range):
        numbers = ", ".join(name for name, kind in ALLOWED.items() if isinstance(kind, Range))
        raise InputError.of(where, value, f"numbers alone go from one to another: {numbers}")
    if not isinstance(value, list) or len(value) != 2:
        raise InputError.of(where, value, f"two numbers in {allowed}")
    first, last = (allowed.read(where, number) for number in value)
    if not np.isfinite([first, last]).all():
        raise InputError.of(where, value, "two finite numbers")
    return first, last


def _traces(found: Any, folder: Path) -> tuple[Trace, ...]:
    tables = found if isinstance(found, list) else [found]
    return tuple(_trace(table, folder) for table in tables)


def _trace(table: Any, folder: Path) -> Trace:
    file, column = trace_file("trace", table, folder, _TRACE_KEYS)
    samples = read_samples(file, column)
    knob = table.get("drives", samples.knob)
    if not isinstance(knob, str) or not isinstance(ALLOWED.get(knob), Range):
        raise InputError.of("trace: drives", knob, "a knob that is a number")
    return Trace(samples, knob)


def trace_file(
    where: str, table: Any, folder: Path, keys: Sequence[str]
) -> tuple[Path, str | None]:
    """`file` and `column` of a table that says where a trace is.

    Raises:
        InputError: it does not say so, or says more than `keys`; names `where`.
    """
    if not isinstance(table, dict):
        raise InputError.of(where, table, '{ file = "..." }')
    require_keys(table, keys, f"{where}: ")
    file, column = table.get("file"), table.get("column")
    if not isinstance(file, str) or not file or not file.isprintable():
        raise InputError.of(f"{where}: file", file, "a file's name")
    if not isinstance(column, str | None):
        raise InputError.of(f"{where}: column", column, "a column's name")
    return folder / file, column
