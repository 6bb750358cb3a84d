"""One session's way through the radio: damages its frames, schedules all its messages.

No socket and no event loop: messages in, the time of their delivery out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from airsplit.clock import Clock
from airsplit.errors import PositionError
from airsplit.frames import check_frame
from airsplit.v1 import channel_pb2, edge_pb2
from channel_emulator import codec, link
from channel_emulator.config import ChannelConfig
from channel_emulator.draws import Direction, Draws, Purpose
from channel_emulator.fading import Times
from channel_emulator.knobs import RadioClock
from channel_emulator.pilots import PERFECT, Estimator, sound, sound_tokens
from channel_emulator.radio import Radio
from channel_emulator.truth import TRANSPARENT

_LAST_TIME_NS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of the configuration. A frame is served by one snapshot from end to end."""

    config: ChannelConfig
    version: int
    is_transparent: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_transparent", self.config.is_transparent)


class Session:
    """The links, the radio and the receiver's knowledge of one session.

    `impair` may run on a thread of its own, one frame at a time; all else belongs to one thread.
    """

    def __init__(self, opened: edge_pb2.OpenSession, clock: Clock) -> None:
        self.id = opened.session_id
        self.ue_id = opened.ue_id
        self.frames = 0
        self.last = channel_pb2.ChannelReport()
        self.split = opened.split
        self.split_version = 1
        self.position = 0
        self._stream = opened.stream
        self._clock = clock
        self._radio = Radio(ChannelConfig())
        self._estimator = Estimator()
        self._links = {direction: link.Link() for direction in Direction}
        self._jitter: dict[tuple[int, Direction], Draws] = {}
        self._messages = 0

    def impair(self, frame: edge_pb2.ActivationFrame, snapshot: Snapshot, arrival_ns: int) -> int:
        """The frame's payload, mask and report become what the receiver has. Returns its airtime.

        Raises:
            FrameError: header and payload do not fit, or the radio cannot carry the payload; the
                payload is as it was.
        """
        check_frame(frame)
        config, header = snapshot.config, frame.header
        report = header.channel
        report.Clear()
        report.config_version = snapshot.version
        report.radio_time_ns = _radio_time_ns(config, header, arrival_ns)
        report.payload_bytes = len(frame.payload)
        if not snapshot.is_transparent:
            return self._transmit(config, frame)
        header.erasure_mask = b""
        report.transmissions = 1
        report.estimate.CopyFrom(PERFECT)
        report.truth.CopyFrom(TRANSPARENT)
        self._estimator.reset()
        return link.reliable_airtime_ns(config, len(frame.payload))

    def schedule(
        self,
        frame: edge_pb2.ActivationFrame,
        snapshot: Snapshot,
        arrival_ns: int,
        airtime_ns: int,
    ) -> int:
        """Puts an impaired frame on the uplink. Returns when it is due at the edge."""
        header, direction = frame.header, Direction.UPLINK
        report = header.channel
        delay_ns = self._delay_ns(
            snapshot, direction, Purpose.JITTER, header.window, header.position
        )
        due_ns = self._pass(direction, arrival_ns, airtime_ns, delay_ns, report)
        self.frames += 1
        self.split, self.split_version = header.split, header.split_version
        self.position = header.position + header.token_count
        self.last.CopyFrom(report)
        return due_ns

    def carry_result(
        self, result: edge_pb2.InferenceResult, snapshot: Snapshot, arrival_ns: int
    ) -> int:
        """Sends a result down, intact; writes its `downlink` report. Returns when it is due."""
        direction = Direction.DOWNLINK
        result_bytes = result.ByteSize()
        report = result.downlink
        report.Clear()
        report.config_version = snapshot.version
        report.payload_bytes = result_bytes
        report.transmissions = 1
        airtime_ns = link.reliable_airtime_ns(snapshot.config, result_bytes)
        delay_ns = self._delay_ns(
            snapshot, direction, Purpose.JITTER, result.window, result.position
        )
        return self._pass(direction, arrival_ns, airtime_ns, delay_ns, report)

    def carry_reliable(
        self, direction: Direction, message_bytes: int, snapshot: Snapshot, arrival_ns: int
    ) -> int:
        """Sends a message that is never damaged; control messages have no bytes to speak of.

        Returns:
            When it is due.
        """
        airtime_ns = link.reliable_airtime_ns(snapshot.config, message_bytes)
        delay_ns = self._delay_ns(snapshot, direction, Purpose.RELIABLE_JITTER, 0, self._messages)
        self._messages += 1
        return self._links[direction].carry(arrival_ns, airtime_ns, delay_ns).due_ns

    def _transmit(self, config: ChannelConfig, frame: edge_pb2.ActivationFrame) -> int:
        """Through the radio, with pilots. Returns the airtime."""
        if self._radio.config is not config:
            self._radio = Radio(config)
        header, report, radio = frame.header, frame.header.channel, self._radio
        received = radio.transmit(
            codec.decode(frame.payload, header.dtype, (header.shape[0], header.shape[1])),
            stream=self._stream,
            window=header.window,
            position=header.position,
            times_ns=_token_times_ns(radio, header),
        )
        draws, at = radio.draws(self._stream), (header.window, header.position)
        pilots = sound(config, draws, *at, report.radio_time_ns)
        token_pilots = sound_tokens(config, draws, *at, received)
        airtime_ns = link.frame_airtime_ns(config, len(frame.payload), received)
        frame.payload = codec.encode(received.values, header.dtype)
        header.erasure_mask = codec.encode_mask(received.erased)
        report.transmissions = int(received.transmissions.max())
        report.truth.CopyFrom(received.truth)
        estimate = self._estimator.observe(config, pilots, token_pilots, received)
        report.estimate.CopyFrom(estimate)
        return airtime_ns

    def _delay_ns(
        self,
        snapshot: Snapshot,
        direction: Direction,
        purpose: Purpose,
        window: int,
        position: int,
    ) -> int:
        key = snapshot.config.seed, direction
        if key not in self._jitter:
            self._jitter[key] = Draws(snapshot.config.seed, self._stream, direction)
        return link.delay_ns(snapshot.config, self._jitter[key], purpose, window, position)

    def _pass(
        self,
        direction: Direction,
        arrival_ns: int,
        airtime_ns: int,
        delay_ns: int,
        report: channel_pb2.ChannelReport,
    ) -> int:
        """Puts a message on its link and the times in its report. Returns when it is due."""
        report.proxy_ns = max(self._clock.now_ns() - arrival_ns, 0)
        passage = self._links[direction].carry(arrival_ns, airtime_ns, delay_ns)
        report.airtime_ns = passage.airtime_ns
        report.queue_ns = passage.queue_ns
        report.delay_ns = passage.delay_ns
        return passage.due_ns


def _radio_time_ns(config: ChannelConfig, header: edge_pb2.FrameHeader, arrival_ns: int) -> int:
    """t of the frame's first token.

    Raises:
        PositionError: the schedule ends before it.
    """
    if config.clock is RadioClock.LIVE:
        return arrival_ns
    interval_ns = round(config.token_interval_ms * 1e6)
    latest = _LAST_TIME_NS // interval_ns
    if header.stream_offset + header.token_count > latest:
        raise PositionError(f"stream_offset: {header.stream_offset}; allowed: 0-{latest}")
    return header.stream_offset * interval_ns


def _token_times_ns(radio: Radio, header: edge_pb2.FrameHeader) -> Times:
    """Radio time of each token; in `live` all of a frame came at once."""
    if radio.config.clock is RadioClock.LIVE:
        return np.full(header.token_count, header.channel.radio_time_ns, dtype=np.int64)
    return radio.replay_times_ns(header.stream_offset, header.token_count)
