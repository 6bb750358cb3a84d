"""What may follow what in one session: a table of transitions, and a checker of every field.

Pure, like `airsplit.frames`: events in, named errors out. The edge runs one `SessionProtocol` per
session.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from airsplit import errors
from airsplit.frames import Frame, require
from airsplit.layer_range import LayerRange


class State(Enum):
    """Of one session at the edge."""

    AWAIT_OPEN = "await open"
    EMPTY = "empty window"
    FILLED = "window with context"
    CLOSED = "closed"


class Event(Enum):
    """What may arrive."""

    OPEN = "open"
    NEXT = "frame that continues the window"
    WINDOW = "frame that begins the next window"
    CLOSE = "close"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.AWAIT_OPEN, Event.OPEN): State.EMPTY,
    (State.AWAIT_OPEN, Event.CLOSE): State.CLOSED,
    (State.EMPTY, Event.NEXT): State.FILLED,
    (State.EMPTY, Event.CLOSE): State.CLOSED,
    (State.FILLED, Event.NEXT): State.FILLED,
    (State.FILLED, Event.WINDOW): State.FILLED,
    (State.FILLED, Event.CLOSE): State.CLOSED,
}
"""What is not listed is an error."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What a session was admitted with."""

    session_id: str
    splits: LayerRange
    """p may be start, ..., stop - 1."""

    hidden_size: int
    vocab_size: int
    max_context: int
    max_payload_bytes: int


@dataclass(frozen=True, slots=True)
class Commitment:
    """What both ends agree on: the split in force and where the stream stands."""

    split_version: int
    split: int
    sequence: int = 0
    window: int = 0
    position: int = 0
    stream_offset: int = 0

    def after(self, frame: Frame) -> Commitment:
        return Commitment(
            split_version=frame.split_version,
            split=frame.split,
            sequence=frame.sequence + 1,
            window=frame.window,
            position=frame.end,
            stream_offset=frame.stream_offset + frame.token_count,
        )


class SessionProtocol:
    """One session's rules: checks every message against what is committed.

    `check` changes nothing, `accept` moves on; between them the edge may refuse a frame (rows of a
    new split that are missing) and nothing has happened.
    """

    def __init__(self) -> None:
        self.state = State.AWAIT_OPEN
        self._limits: SessionLimits | None = None
        self._committed: Commitment | None = None

    @property
    def committed(self) -> Commitment:
        if self._committed is None:
            raise errors.TransitionError("the session is not open")
        return self._committed

    @property
    def limits(self) -> SessionLimits:
        if self._limits is None:
            raise errors.TransitionError("the session is not open")
        return self._limits

    def open(self, limits: SessionLimits, split: int) -> None:
        """Opens the session at `split`, version 1.

        Raises:
            TransitionError: it is open or closed already.
            SplitError: the split is not one that both ends hold.
        """
        state = self._next(Event.OPEN)
        _require_split(limits, split)
        self._limits, self._committed, self.state = limits, Commitment(1, split), state

    def check(self, frame: Frame) -> bool:
        """Whether the frame commits a new split. Changes nothing.

        Raises:
            FrameError: a subclass that names the field.
        """
        limits, committed = self.limits, self.committed
        self._next(self._event(frame))
        require(errors.SessionIdError, "session_id", frame.session_id, limits.session_id)
        require(errors.SequenceError, "sequence", frame.sequence, committed.sequence)
        require(errors.TensorError, "hidden_size", frame.shape[1], limits.hidden_size)
        start = committed.position if frame.window == committed.window else 0
        require(errors.PositionError, "position", frame.position, start)
        require(errors.PositionError, "stream_offset", frame.stream_offset, committed.stream_offset)
        if frame.end > limits.max_context:
            raise errors.ContextOverflowError(
                f"position: the frame ends at {frame.end}; allowed: 1-{limits.max_context}"
            )
        if len(frame.payload) > limits.max_payload_bytes:
            raise errors.TensorError(
                f"payload: {len(frame.payload)} bytes; allowed: 1-{limits.max_payload_bytes}"
            )
        for target in frame.targets:
            if target >= limits.vocab_size:
                raise errors.TargetError(f"targets: {target}; allowed: 0-{limits.vocab_size - 1}")
        return self._check_split(frame)

    def accept(self, frame: Frame) -> None:
        """Takes a checked frame as done with."""
        self.state = self._next(self._event(frame))
        self._committed = self.committed.after(frame)

    def close(self) -> None:
        self.state = self._next(Event.CLOSE)

    def _check_split(self, frame: Frame) -> bool:
        committed = self.committed
        if frame.split_version == committed.split_version:
            require(errors.SplitError, "split", frame.split, committed.split)
            return False
        require(
            errors.SplitError, "split_version", frame.split_version, committed.split_version + 1
        )
        _require_split(self.limits, frame.split)
        return True

    def _event(self, frame: Frame) -> Event:
        window = self.committed.window
        if frame.window == window:
            return Event.NEXT
        require(errors.WindowError, "window", frame.window, window + 1)
        return Event.WINDOW

    def _next(self, event: Event) -> State:
        try:
            return TRANSITIONS[self.state, event]
        except KeyError:
            raise errors.TransitionError(
                f"{event.value} is not allowed in state {self.state.value!r}"
            ) from None


def _require_split(limits: SessionLimits, split: int) -> None:
    if split not in limits.splits:
        raise errors.SplitError(
            f"split: {split}; allowed: {limits.splits.start}-{limits.splits.stop - 1}"
        )
