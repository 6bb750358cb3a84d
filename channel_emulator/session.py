"""One session's way through the radio: damages its frames, schedules all its messages.

No socket and no event loop: messages in, the time of their delivery out.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from airsplit.clock import Clock
from airsplit.errors import SequenceError
from airsplit.frames import check_frame
from airsplit.v1 import channel_pb2, edge_pb2
from channel_emulator import airtime, delay
from channel_emulator.airtime import Load, Reliable
from channel_emulator.config import ChannelConfig
from channel_emulator.draws import Direction, Draws, Purpose
from channel_emulator.drop import erase
from channel_emulator.knobs import QueuePolicy, RadioClock
from channel_emulator.link import Instant, Link, Passage
from channel_emulator.physical import Impaired, PhysicalLayer
from channel_emulator.pilots import PERFECT
from channel_emulator.place import Place
from channel_emulator.rate_trace import RateTrace
from channel_emulator.session_time import Moment, SessionTime
from channel_emulator.timeline import Snapshot, Timeline
from channel_emulator.truth import TRANSPARENT

_MAX_FRAMES = 2**48


class Admission(NamedTuple):
    """Where and by which version a frame is served, all decided before it is touched."""

    payload: bytes
    snapshot: Snapshot
    place: Place
    arrival: Instant
    trace: RateTrace | None

    room_ns: int
    """When there is room for it: after its arrival only where a full queue blocks."""

    dropped: bool
    """A full queue drops it."""


class Session:
    """The links, the radio and the receiver's knowledge of one session.

    `impair` may run on a thread of its own, one frame at a time and not beside `draw_ahead`; all
    else belongs to one thread.
    """

    def __init__(
        self,
        opened: edge_pb2.OpenSession,
        clock: Clock,
        started_ns: int = 0,
        transport_ns: int = 0,
    ) -> None:
        """
        Args:
            started_ns: where radio time is zero with the clock `live`.
            transport_ns: what a message takes one way besides the channel. It is part of the
                channel's time: messages leave so much before they are due.
        """
        self.id = opened.session_id
        self.ue_id = opened.ue_id
        self.frames = 0
        self.dropped_frames = 0
        self.last = channel_pb2.ChannelReport()
        self.split = opened.split
        self.split_version = 1
        self.position = 0
        self._stream = opened.stream
        self._clock = clock
        self._time = SessionTime(started_ns)
        self._transport_ns = transport_ns
        self._physical = PhysicalLayer()
        self._links = {direction: Link() for direction in Direction}
        self._jitter: dict[tuple[int, Direction], Draws] = {}
        self._reliable: dict[Direction, tuple[ChannelConfig, Reliable]] = {}
        self._messages = 0

    def carry_frame(
        self, frame: edge_pb2.ActivationFrame, timeline: Timeline, arrival_ns: int
    ) -> int:
        """Sends a frame up, as the proxy does. Returns when it leaves for the edge.

        Raises:
            FrameError: as `admit` and `impair`.
        """
        admission = self.admit(frame, timeline, arrival_ns)
        while admission.room_ns > arrival_ns:
            arrival_ns = admission.room_ns
            admission = self.admit(frame, timeline, arrival_ns)
        return self.schedule(frame, admission, self.impair(frame, admission))

    def admit(
        self, frame: edge_pb2.ActivationFrame, timeline: Timeline, arrival_ns: int
    ) -> Admission:
        """Finds the frame's place, its version and whether there is room. Changes nothing of it.

        A frame that has to wait for room (`Admission.room_ns`) is to be admitted again then.

        Raises:
            FrameError: header and payload do not fit, or no stream is that long.
        """
        payload = check_frame(frame)
        header = frame.header
        if header.sequence >= _MAX_FRAMES:
            raise SequenceError(f"sequence: {header.sequence}; allowed: 0-{_MAX_FRAMES - 1}")
        offset, tokens = header.stream_offset, header.token_count
        moment = self._time.of_frame(timeline, arrival_ns, offset, tokens)
        self._set_schedules(moment)
        arrival = Instant(arrival_ns, moment.channel_ns)
        place = Place(
            stream=self._stream,
            window=header.window,
            position=header.position,
            offset=offset,
            sequence=header.sequence,
            times_ns=self._time.radio_times_ns(timeline, arrival_ns, offset, tokens),
            anchor=moment.anchor,
        )
        room_ns, dropped = arrival_ns, False
        config, link = moment.snapshot.config, self._links[Direction.UPLINK]
        if math.isfinite(config.queue_kib):
            size = len(payload), config.queue_kib * 1024
            if config.queue_policy is QueuePolicy.DROP:
                dropped = link.is_full(arrival, *size)
            else:
                room_ns = link.room_ns(arrival_ns, *size)
        trace = timeline.rate_trace(Direction.UPLINK, moment.channel_ns)
        return Admission(payload, moment.snapshot, place, arrival, trace, room_ns, dropped)

    def impair(self, frame: edge_pb2.ActivationFrame, admission: Admission) -> Impaired:
        """The frame's payload, mask and report become what the receiver has.

        Raises:
            FrameError: the radio cannot carry the payload, which is as it was.
        """
        header, snapshot = frame.header, admission.snapshot
        report = header.channel
        report.Clear()
        report.config_version = snapshot.version
        report.radio_time_ns = int(admission.place.times_ns[0])
        report.channel_time_ns = admission.arrival.channel_ns
        if admission.dropped:
            erase(frame, self.last.estimate if self.frames else None)
            return Impaired(Load(0, 0, 0), 0)
        payload = admission.payload
        report.payload_bytes = len(payload)
        if not snapshot.is_transparent:
            return self._physical.transmit(frame, payload, snapshot.config, admission.place)
        header.erasure_mask = b""
        report.transmissions = 1
        report.estimate.CopyFrom(PERFECT)
        report.truth.CopyFrom(TRANSPARENT)
        self._physical.reset()
        return Impaired(airtime.plain_load(snapshot.config, len(payload)), 0)

    def schedule(
        self, frame: edge_pb2.ActivationFrame, admission: Admission, impaired: Impaired
    ) -> int:
        """Puts an impaired frame on the uplink. Returns when it leaves for the edge."""
        header, direction = frame.header, Direction.UPLINK
        report, link = header.channel, self._links[direction]
        key = Purpose.JITTER, header.window, header.position
        delay_ns = self._delay_ns(admission.snapshot.config, direction, *key)
        arrival, load = admission.arrival, impaired.load
        report.proxy_ns = max(self._clock.now_ns() - arrival.wall_ns, 0)
        if admission.dropped:
            passage = link.skip(arrival.wall_ns, delay_ns)
            self.dropped_frames += 1
        else:
            delay_ns += impaired.harq_ns
            passage = link.carry(arrival, load, delay_ns, admission.trace)
        report.harq_ns = impaired.harq_ns
        _write(report, passage, load.bits)
        self.frames += 1
        self.split, self.split_version = header.split, header.split_version
        self.position = header.position + header.token_count
        self.last.CopyFrom(report)
        return self._leaves_ns(passage, arrival.wall_ns)

    def draw_ahead(self) -> None:
        """Makes the draws of the frames that are likely next: while nothing else is to be done.

        Not while a thread of its own runs `impair`.
        """
        self._physical.draw_ahead()

    def carry_result(
        self, result: edge_pb2.InferenceResult, timeline: Timeline, arrival_ns: int
    ) -> int:
        """Sends a result down, intact; writes its `downlink` report. Returns when it leaves."""
        moment = self._time.of_message(timeline, arrival_ns)
        result_bytes = result.ByteSize()
        report = result.downlink
        report.Clear()
        report.config_version = moment.snapshot.version
        report.channel_time_ns = moment.channel_ns
        report.payload_bytes = result_bytes
        report.transmissions = 1
        report.proxy_ns = max(self._clock.now_ns() - arrival_ns, 0)
        key = Purpose.JITTER, result.window, result.position
        passage, load = self._carry(
            Direction.DOWNLINK, result_bytes, moment, timeline, arrival_ns, key
        )
        _write(report, passage, load.bits)
        return self._leaves_ns(passage, arrival_ns)

    def carry_reliable(
        self, direction: Direction, message_bytes: int, timeline: Timeline, arrival_ns: int
    ) -> int:
        """Sends a message that is never damaged; control messages have no bytes to speak of.

        Returns:
            When it leaves.
        """
        moment = self._time.of_message(timeline, arrival_ns)
        key = Purpose.RELIABLE_JITTER, 0, self._messages
        self._messages += 1
        passage, _ = self._carry(direction, message_bytes, moment, timeline, arrival_ns, key)
        return self._leaves_ns(passage, arrival_ns)

    def _carry(
        self,
        direction: Direction,
        message_bytes: int,
        moment: Moment,
        timeline: Timeline,
        arrival_ns: int,
        key: tuple[Purpose, int, int],
    ) -> tuple[Passage, Load]:
        """Puts a message on its link, intact.

        In `replay` only results are on the schedule: K/V rows travel beside frames, in no order
        that would repeat.
        """
        self._set_schedules(moment)
        config = moment.snapshot.config
        load = self._reliably(config, direction).load(message_bytes)
        passage = self._links[direction].carry(
            Instant(arrival_ns, moment.channel_ns),
            load,
            self._delay_ns(config, direction, *key),
            timeline.rate_trace(direction, moment.channel_ns),
            scheduled=key[0] is Purpose.JITTER or config.clock is RadioClock.LIVE,
        )
        return passage, load

    def _leaves_ns(self, passage: Passage, arrival_ns: int) -> int:
        """So early that it is there when it is due, but not before it has come."""
        return max(passage.due_ns - self._transport_ns, arrival_ns)

    def _set_schedules(self, moment: Moment) -> None:
        if moment.set_by_ns:
            for link in self._links.values():
                link.shift_schedule(moment.set_by_ns)

    def _reliably(self, config: ChannelConfig, direction: Direction) -> Reliable:
        """Kept here too: to find a configuration by its value takes as long as all else."""
        known = self._reliable.get(direction)
        if known is None or known[0] is not config:
            known = self._reliable[direction] = config, airtime.reliable(config, direction)
        return known[1]

    def _delay_ns(
        self,
        config: ChannelConfig,
        direction: Direction,
        purpose: Purpose,
        window: int,
        position: int,
    ) -> int:
        key = config.seed, direction
        if key not in self._jitter:
            self._jitter[key] = Draws(config.seed, self._stream, direction)
        return delay.delay_ns(config, self._jitter[key], direction, purpose, window, position)


def _write(report: channel_pb2.ChannelReport, passage: Passage, bits: int) -> None:
    report.airtime_ns = passage.airtime_ns
    report.queue_ns = passage.queue_ns
    report.delay_ns = passage.delay_ns
    report.rate_bps = airtime.mean_rate_bps(bits, passage.airtime_ns)
