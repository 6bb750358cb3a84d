"""The physical layer of one session's uplink: payloads through the radio, with pilots and mask."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from airsplit.frames import ITEM_BYTES
from airsplit.v1 import edge_pb2
from channel_emulator import airtime, codec, delay
from channel_emulator.airtime import Load
from channel_emulator.config import ChannelConfig
from channel_emulator.knobs import HELD, Fading, RadioClock
from channel_emulator.pilots import Estimator, Pilots, sound, sound_tokens
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from channel_emulator.received import Drawn, Received, spread

FRAMES_AHEAD = 8
"""Decode frames that are drawn at once. Code and tables have left the processor's caches since the
last time: of 4096 elements with fading, noise and loss by 5 % the first frame takes 140 µs of a
Xeon, each further one 27."""

_MOST_AHEAD = 1 << 15
"""Elements that are drawn at once: more would take too long from other sessions."""

_ALONE = 4
"""By how much longer an element takes that fades alone."""


class Impaired(NamedTuple):
    """What a frame asks of the link, once it is damaged."""

    load: Load
    harq_ns: int


class Ahead(NamedTuple):
    """What is known of a frame before it comes."""

    key: tuple[object, ...]
    """Of the frame: see `_key`."""

    drawn: Drawn
    pilots: Pilots
    mask: bytes


class PhysicalLayer:
    """Of one stream. Not for two threads at a time.

    What a frame meets depends on its place and not on what it carries, and of a decode frame it is
    known where the next ones will be: that is drawn while the UE computes.
    """

    def __init__(self) -> None:
        self._radio = Radio(ChannelConfig())
        self._estimator = Estimator()
        self._last: tuple[Place, int, int] | None = None
        self._ahead: deque[Ahead] = deque()

    def reset(self) -> None:
        """Forgets the channel: a frame has met no radio."""
        self._estimator.reset()
        self._last = None
        self._ahead.clear()

    def transmit(
        self,
        frame: edge_pb2.ActivationFrame,
        payload: bytes,
        config: ChannelConfig,
        place: Place,
    ) -> Impaired:
        """A frame's payload and mask become what the receiver has; its report says so.

        Args:
            payload: the frame's.

        Raises:
            TensorError: values are not finite, or of a dtype that does not cross the radio.
        """
        if self._radio.config is not config:
            self._radio = Radio(config)
            self._ahead.clear()
        header, report = frame.header, frame.header.channel
        dtype, hidden = header.dtype, header.shape[1]
        item_bytes = ITEM_BYTES[dtype]
        ahead = self._ahead.popleft() if self._ahead else None
        if ahead is not None and ahead.key != _key(config, place, hidden, item_bytes):
            self._ahead.clear()
            ahead = None
        shape, drawn = (header.token_count, hidden), ahead.drawn if ahead else None
        received, arrived = self._transmit(payload, dtype, shape, place, drawn)
        draws = self._radio.draws(place.stream)
        pilots = ahead.pilots if ahead else sound(config, draws, place, received.first)
        token_pilots = sound_tokens(config, draws, place, received)
        load = airtime.frame_load(config, len(payload), received)
        frame.payload = arrived
        header.erasure_mask = ahead.mask if ahead else codec.encode_mask(received.erased)
        several = config.harq_transmissions > 1
        harq_ns = delay.harq_ns(config, received) if several else 0
        report.transmissions = int(np.maximum.reduce(received.transmissions)) if several else 1
        report.truth.CopyFrom(received.truth)
        estimate = self._estimator.observe(config, pilots, token_pilots, received)
        report.estimate.CopyFrom(estimate)
        self._last = place, hidden, item_bytes
        return Impaired(load, harq_ns)

    def _transmit(
        self,
        payload: bytes,
        dtype: edge_pb2.DType,
        shape: tuple[int, int],
        place: Place,
        drawn: Drawn | None,
    ) -> tuple[Received, bytes]:
        """And the payload that arrives."""
        radio = self._radio
        if dtype in codec.HALVES and radio.takes_halves:
            halves = np.frombuffer(payload, dtype=np.uint16).reshape(shape)
            received = radio.transmit_halves(halves, codec.HALVES[dtype], place, drawn)
            return received, received.values.tobytes()
        values = codec.decode(payload, dtype, shape)
        received = radio.transmit(values, place, ITEM_BYTES[dtype], out=values, drawn=drawn)
        return received, codec.encode(values, dtype)

    def draw_ahead(self) -> None:
        """Draws what the next frames meet, where the last one was a decode frame."""
        last, radio, config = self._last, self._radio, self._radio.config
        if last is None or self._ahead or len(last[0].times_ns) > 1 or not radio.is_blind:
            return
        if config.clock is RadioClock.LIVE and not _is_timeless(config):
            return
        before, hidden, item_bytes = last
        slower = _ALONE if config.fading is Fading.ELEMENT else 1
        frames = min(FRAMES_AHEAD, _MOST_AHEAD // (slower * hidden))
        if not frames:
            return
        draws, places = radio.draws(before.stream), before.next(config, frames)
        each = radio.draw_each(places, hidden, item_bytes)
        for place, drawn in zip(places.each(), each, strict=True):
            pilots = sound(config, draws, place, drawn.faded.first)
            mask = codec.encode_mask(spread(drawn.erased, (1, hidden)))
            key = _key(config, place, hidden, item_bytes)
            self._ahead.append(Ahead(key, drawn, pilots, mask))


def _is_timeless(config: ChannelConfig) -> bool:
    """Whether no draw depends on `Place.times_ns`, which nobody knows before with `clock=live`."""
    return config.fading not in HELD


def _key(config: ChannelConfig, place: Place, hidden: int, item_bytes: int) -> tuple[object, ...]:
    """All of a frame that decides what it meets."""
    time = None if _is_timeless(config) else (place.times_ns[0], place.anchor)
    tokens, window = len(place.times_ns), place.window
    return tokens, window, place.position, place.offset, place.sequence, time, hidden, item_bytes
