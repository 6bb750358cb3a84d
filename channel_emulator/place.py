"""Where tokens are in their stream: all that radio time and random draws depend on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from channel_emulator.config import ChannelConfig
from channel_emulator.draws import Direction
from channel_emulator.travel import ORIGIN, Anchor

Times = NDArray[np.int64]
"""Radio time of each token in nanoseconds, [tokens]."""


class Place(NamedTuple):
    """The consecutive tokens of one frame."""

    stream: int
    """Key of the session's draws, chosen by the client."""

    window: int
    """Number of the context within the session."""

    position: int
    """Absolute index of the first token in its context."""

    offset: int
    """Tokens of the stream before the first one."""

    sequence: int
    """Frames of the stream before this one."""

    times_ns: Times
    """Radio time of each token."""

    direction: Direction = Direction.UPLINK
    anchor: Anchor = ORIGIN
    """Radio time from which the configuration's speed holds, and how far h had come by then."""

    @classmethod
    def replay(
        cls,
        config: ChannelConfig,
        tokens: int,
        *,
        stream: int = 0,
        window: int = 0,
        position: int = 0,
        offset: int | None = None,
        sequence: int = 0,
        direction: Direction = Direction.UPLINK,
    ) -> Place:
        """The place of `tokens` tokens in replay, where offset times interval is the time.

        `offset` is `position` unless given: right in a stream's first window.
        """
        first = position if offset is None else offset
        times_ns = np.arange(first, first + tokens, dtype=np.int64) * config.interval_ns
        return cls(stream, window, position, first, sequence, times_ns, direction)

    def next(self, config: ChannelConfig, tokens: int = 1) -> Place:
        """The place of `tokens` tokens right behind these; its times are those of replay."""
        times_ns = self.times_ns[-1] + config.interval_ns * np.arange(1, tokens + 1)
        return self._later(len(self.times_ns), 1, times_ns)

    def each(self) -> list[Place]:
        """The places of these tokens, were each a frame by itself."""
        return [self._later(i, i, self.times_ns[i : i + 1]) for i in range(len(self.times_ns))]

    def _later(self, tokens: int, frames: int, times_ns: Times) -> Place:
        return Place(  # several times as quick as `_replace`
            self.stream,
            self.window,
            self.position + tokens,
            self.offset + tokens,
            self.sequence + frames,
            times_ns,
            self.direction,
            self.anchor,
        )
