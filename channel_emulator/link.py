"""Time on the link: waiting for it, airtime, delay. Pure: absolute times in and out.

A link keeps two schedules of the same messages. The one on channel time decides: what a trace has
to give, and whether a full queue drops a frame. In `replay` it is known in advance and repeats. The
other one, on the wall clock, paces. It begins at a message's arrival stamp, so that the time that
the emulator itself took is part of the airtime and not added to it. In `live` both are the same.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from channel_emulator.airtime import MAX_AIRTIME_S, Load
from channel_emulator.rate_trace import RateTrace

_MAX_WAITING = 4096
"""Messages that wait one by one; beyond, the newest ones are counted together."""


class Instant(NamedTuple):
    """When a message comes to a link."""

    wall_ns: int
    """On the monotonic clock."""

    channel_ns: int
    """Channel time."""


class Passage(NamedTuple):
    """One message's way over a link; its parts add up to due_ns - arrival."""

    queue_ns: int
    """Waiting for the messages before it."""

    airtime_ns: int
    """On the air, all transmissions included."""

    delay_ns: int
    """From the end of its airtime to delivery; includes waiting for a late predecessor."""

    due_ns: int
    """When it is to be delivered, on the wall clock."""


class Airway:
    """One message on the air at a time, the others waiting. On any one clock."""

    def __init__(self) -> None:
        self.free_ns = 0
        """When the last message's airtime ends."""

        self._waiting: deque[tuple[int, int]] = deque()  # end of airtime, bytes
        self._waiting_bytes = 0

    def waiting_bytes(self, now_ns: int) -> int:
        """Of messages whose airtime has not ended. `now_ns` may not go back."""
        while self._waiting and self._waiting[0][0] <= now_ns:
            self._waiting_bytes -= self._waiting.popleft()[1]
        return self._waiting_bytes

    def room_ns(self, now_ns: int, n_bytes: int, limit_bytes: float) -> int:
        """When so many bytes more are within the limit. A message alone always is."""
        excess = self.waiting_bytes(now_ns) + n_bytes - limit_bytes
        room_ns = now_ns
        for end_ns, waiting_bytes in self._waiting:
            if excess <= 0:
                break
            room_ns, excess = end_ns, excess - waiting_bytes
        return room_ns

    def occupy(self, now_ns: int, airtime_ns: int, n_bytes: int) -> int:
        """Puts a message behind the others. Returns when its airtime begins."""
        start_ns = max(now_ns, self.free_ns)
        self.free_ns = start_ns + airtime_ns
        if self.free_ns == now_ns:  # nobody waits for it
            return start_ns
        self.waiting_bytes(now_ns)
        self._waiting_bytes += n_bytes
        if len(self._waiting) == _MAX_WAITING:
            n_bytes += self._waiting.pop()[1]
        self._waiting.append((self.free_ns, n_bytes))
        return start_ns

    def shift(self, by_ns: int) -> None:
        """The clock has been set by so much."""
        self.free_ns += by_ns
        self._waiting = deque((end_ns + by_ns, n_bytes) for end_ns, n_bytes in self._waiting)


class Link:
    """One direction of one session: delivers in the order of arrival."""

    def __init__(self) -> None:
        self._schedule = Airway()
        self._pace = Airway()
        self._delivered_ns = 0
        self._trace: RateTrace | None = None
        self._trace_bits = 0

    def is_full(self, arrival: Instant, n_bytes: int, limit_bytes: float) -> bool:
        """Whether a message finds no room on the schedule."""
        now_ns = arrival.channel_ns
        return self._schedule.room_ns(now_ns, n_bytes, limit_bytes) > now_ns

    def room_ns(self, wall_ns: int, n_bytes: int, limit_bytes: float) -> int:
        """Wall time at which a message finds room."""
        return self._pace.room_ns(wall_ns, n_bytes, limit_bytes)

    def carry(
        self,
        arrival: Instant,
        load: Load,
        delay_ns: int,
        trace: RateTrace | None = None,
        scheduled: bool = True,
    ) -> Passage:
        """Puts the next message on the link.

        Args:
            delay_ns: how long it takes after its airtime, unless its predecessor takes longer.
            trace: says how long the airtime is, in place of the load.
            scheduled: whether it is part of the schedule; else it is only paced.
        """
        airtime_ns, trace_bits = self._airtime(arrival.channel_ns, load, trace)
        if scheduled:
            self._schedule.occupy(arrival.channel_ns, airtime_ns, load.n_bytes)
            self._trace, self._trace_bits = trace, trace_bits
        start_ns = self._pace.occupy(arrival.wall_ns, airtime_ns, load.n_bytes)
        end_ns = start_ns + airtime_ns
        due_ns = self._deliver(end_ns + delay_ns)
        return Passage(start_ns - arrival.wall_ns, airtime_ns, due_ns - end_ns, due_ns)

    def skip(self, wall_ns: int, delay_ns: int) -> Passage:
        """A message that never was on the air is noticed behind those before it."""
        due_ns = self._deliver(wall_ns + delay_ns)
        return Passage(0, 0, due_ns - wall_ns, due_ns)

    def shift_schedule(self, by_ns: int) -> None:
        """Channel time has been set by so much."""
        self._schedule.shift(by_ns)
        self._trace = None

    def _deliver(self, due_ns: int) -> int:
        self._delivered_ns = max(due_ns, self._delivered_ns)
        return self._delivered_ns

    def _airtime(self, now_ns: int, load: Load, trace: RateTrace | None) -> tuple[int, int]:
        """Its length, and where in the trace the message ends."""
        if trace is None:
            return load.airtime_ns, 0
        start_ns = max(now_ns, self._schedule.free_ns)
        position = self._trace_bits if trace is self._trace else 0
        end_ns, position = trace.serve(start_ns, position, load.bits)
        return min(end_ns - start_ns, round(MAX_AIRTIME_S * 1e9)), position
