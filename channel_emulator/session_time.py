"""Where one session's messages are in time: radio time, channel time, the version in force.

In `replay` the stream's offset says what time it is, so that a run repeats; in `live` the wall
clock does. `_Journey` counts what h(t) passes through, so that it goes on over changes of speed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from airsplit.errors import PositionError
from channel_emulator.knobs import RadioClock
from channel_emulator.place import Times
from channel_emulator.timeline import Snapshot, Timeline
from channel_emulator.travel import ORIGIN, Anchor, Travel

_LAST_TIME_NS = 2**63 - 1
_MAX_TOKENS = 2**40
"""Of a stream: what is counted in its bits still is an int64."""


class Moment(NamedTuple):
    """One message's time."""

    channel_ns: int
    snapshot: Snapshot
    set_by_ns: int
    """By how much channel time was set, for this message and those to come."""

    anchor: Anchor = ORIGIN
    """Of the frame's fades: see `Place.anchor`."""


class SessionTime:
    """Never goes back to an earlier version."""

    def __init__(self, started_ns: int) -> None:
        """
        Args:
            started_ns: where radio time is zero with the clock `live`.
        """
        self._started_ns = started_ns
        self._timeline: Timeline | None = None
        self._snapshot: Snapshot | None = None
        self._journey = _Journey()
        self._channel_ns = 0
        self._first = (0, 0)  # an offset and its channel time, in replay

    def of_frame(self, timeline: Timeline, arrival_ns: int, offset: int, tokens: int) -> Moment:
        """The time of a frame whose first token is at `offset` of its stream.

        Raises:
            PositionError: a stream cannot be that long.
        """
        most = _MAX_TOKENS
        if timeline.clock is RadioClock.REPLAY:
            most = min(most, _LAST_TIME_NS // timeline.interval_ns)
        if offset + tokens > most:
            raise PositionError(f"stream_offset: {offset}; allowed: 0-{most - tokens}")
        return self._meet(timeline, arrival_ns, offset)

    def of_message(self, timeline: Timeline, arrival_ns: int) -> Moment:
        """The time of any other message: with the clock `replay` that of the latest frame."""
        if timeline.clock is RadioClock.LIVE:
            return self._meet(timeline, arrival_ns, None)
        begun = self._timeline is not None and self._timeline.epoch == timeline.epoch
        channel_ns = self._channel_ns if begun else 0
        return Moment(channel_ns, self._newest(timeline.at(channel_ns)), 0)

    def radio_times_ns(
        self, timeline: Timeline, arrival_ns: int, offset: int, tokens: int
    ) -> Times:
        """Radio time of each token, an interval apart; with the clock `live` from arrival on."""
        live, interval_ns = timeline.clock is RadioClock.LIVE, timeline.interval_ns
        first_ns = max(arrival_ns - self._started_ns, 0) if live else offset * interval_ns
        if tokens == 1:  # a decode frame: one array instead of three
            return np.array([first_ns], dtype=np.int64)
        return first_ns + np.arange(tokens, dtype=np.int64) * interval_ns

    def _meet(self, timeline: Timeline, arrival_ns: int, offset: int | None) -> Moment:
        before, set_by_ns, was_ns = self._timeline, 0, None
        if before is None:
            self._first = (offset or 0, 0)
        elif timeline is not before and _base(before) != _base(timeline):
            before_ns = self._elapsed_ns(before, arrival_ns, offset)
            was_ns = before_ns + self._lead_ns(before)
            same_epoch = before.epoch == timeline.epoch and before.clock is timeline.clock
            self._first = (offset or 0, before_ns if same_epoch else 0)
            set_by_ns = self._elapsed_ns(timeline, arrival_ns, offset) - before_ns
        self._timeline = timeline
        self._channel_ns = self._elapsed_ns(timeline, arrival_ns, offset)
        snapshot = self._newest(timeline.at(self._channel_ns))
        if timeline is not before or snapshot is not self._journey.snapshot:
            here = _Here(self._channel_ns, self._lead_ns(timeline), was_ns)
            self._journey.go_on(timeline, snapshot, here)
        self._journey.latest_ns = max(self._journey.latest_ns, self._channel_ns)
        return Moment(self._channel_ns, snapshot, set_by_ns, self._journey.anchor)

    def _elapsed_ns(self, timeline: Timeline, arrival_ns: int, offset: int | None) -> int:
        """Channel time by that timeline."""
        if timeline.clock is RadioClock.LIVE:
            return max(arrival_ns - self._started_ns - timeline.started_ns, 0)
        if offset is None:
            return self._channel_ns
        first, first_ns = self._first
        return max(first_ns + (offset - first) * timeline.interval_ns, 0)

    def _lead_ns(self, timeline: Timeline) -> int:
        """Radio time less channel time."""
        if timeline.clock is RadioClock.LIVE:
            return timeline.started_ns
        first, first_ns = self._first
        return first * timeline.interval_ns - first_ns

    def _newest(self, snapshot: Snapshot) -> Snapshot:
        if self._snapshot is None or snapshot.version > self._snapshot.version:
            self._snapshot = snapshot
        return self._snapshot


@dataclass(frozen=True, slots=True)
class _Here:
    """When a message comes."""

    channel_ns: int
    lead_ns: int
    """Radio time less channel time."""

    was_ns: int | None
    """Radio time by the timeline before, where that has another one."""


class _Journey:
    """How far one session's fades have come, over changes of speed and of timelines.

    A change at a stated time holds from that time on, whatever frames came before; one that a
    session only learns of later, from the frame on that meets it.
    """

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        """In force."""

        self.anchor = ORIGIN
        """Of its fades, in radio time."""

        self.latest_ns = 0
        """Channel time that the session has come to."""

        self._timeline: Timeline | None = None
        self._met = ORIGIN, ORIGIN  # one anchor: as the timeline has it, and as the session has
        self._ahead = Travel()  # of what the timeline counts

    def go_on(self, timeline: Timeline, snapshot: Snapshot, here: _Here) -> None:
        """To another version, maybe of another timeline."""
        before = self.snapshot
        if before is None:
            self._meet(timeline.snapshots[0], ORIGIN, replace(here, channel_ns=0))
        elif timeline is not self._timeline and not self._knows(timeline, here):
            now_ns = here.channel_ns + here.lead_ns
            was_ns = now_ns if here.was_ns is None else here.was_ns
            anchor = self.anchor
            if snapshot.per_ns != before.per_ns or was_ns != now_ns:
                anchor = Anchor(now_ns, anchor.at(was_ns, before.per_ns))
            self._meet(snapshot, anchor, here)
        self._timeline, self.snapshot = timeline, snapshot
        counted, self.anchor = snapshot.anchor, self._met[1]
        if counted != self._met[0]:
            travel = counted.travel.plus(self._ahead)
            self.anchor = Anchor(counted.time_ns + here.lead_ns, travel)

    def _knows(self, timeline: Timeline, here: _Here) -> bool:
        """Whether what is new in a timeline is still to come."""
        return here.was_ns is None and timeline.at(self.latest_ns) is self.snapshot

    def _meet(self, snapshot: Snapshot, anchor: Anchor, here: _Here) -> None:
        """A timeline, while `snapshot` is in force and the session's own anchor is that."""
        counted = snapshot.anchor.at(here.channel_ns, snapshot.per_ns)
        reached = anchor.at(here.channel_ns + here.lead_ns, snapshot.per_ns)
        self._met = snapshot.anchor, anchor
        self._ahead = reached.plus(counted, -1)
        self.latest_ns = here.channel_ns


def _base(timeline: Timeline) -> tuple[object, ...]:
    """Timelines with the same have the same channel time."""
    return timeline.epoch, timeline.clock, timeline.started_ns, timeline.interval_ns
