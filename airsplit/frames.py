"""Frames of the data path: frozen dataclasses, their protobuf form, and what may follow what.

No socket, no event loop and no tensor in here: bytes and events in, values and named errors out.
The edge runs one `SessionProtocol` per session; the emulator uses `check_frame` alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from math import prod

from airsplit import errors
from airsplit.layer_range import LayerRange
from airsplit.v1 import channel_pb2, edge_pb2

ITEM_BYTES = {
    edge_pb2.DTYPE_FLOAT32: 4,
    edge_pb2.DTYPE_FLOAT16: 2,
    edge_pb2.DTYPE_BFLOAT16: 2,
}
"""Bytes of one element, by the dtypes that may cross the radio."""

Task = edge_pb2.Task


@dataclass(frozen=True, slots=True)
class Frame:
    """Activations of `token_count` consecutive tokens: a protected header and a payload.

    `payload` holds [token_count, hidden_size] elements of `dtype`, little-endian, C order.
    """

    session_id: str
    split_version: int
    sequence: int
    split: int
    window: int
    position: int
    token_count: int
    task: edge_pb2.Task
    dtype: edge_pb2.DType
    shape: tuple[int, ...]
    payload: bytes
    targets: tuple[int, ...] = ()
    stream_offset: int = 0
    erasure_mask: bytes = b""
    channel: channel_pb2.ChannelReport | None = None

    @property
    def end(self) -> int:
        """Position after the frame's last token."""
        return self.position + self.token_count

    def to_proto(self) -> edge_pb2.ActivationFrame:
        header = edge_pb2.FrameHeader(
            session_id=self.session_id,
            split_version=self.split_version,
            sequence=self.sequence,
            split=self.split,
            window=self.window,
            position=self.position,
            token_count=self.token_count,
            task=self.task,
            dtype=self.dtype,
            shape=self.shape,
            targets=self.targets,
            stream_offset=self.stream_offset,
            erasure_mask=self.erasure_mask,
            channel=self.channel,
        )
        return edge_pb2.ActivationFrame(header=header, payload=self.payload)

    @classmethod
    def from_proto(cls, message: edge_pb2.ActivationFrame) -> Frame:
        """The frame, checked in itself.

        Raises:
            FrameError: a subclass that names what does not fit.
        """
        check_frame(message)
        header = message.header
        return cls(
            session_id=header.session_id,
            split_version=header.split_version,
            sequence=header.sequence,
            split=header.split,
            window=header.window,
            position=header.position,
            token_count=header.token_count,
            task=header.task,
            dtype=header.dtype,
            shape=tuple(header.shape),
            payload=message.payload,
            targets=tuple(header.targets),
            stream_offset=header.stream_offset,
            erasure_mask=header.erasure_mask,
            channel=header.channel if header.HasField("channel") else None,
        )


def check_frame(message: edge_pb2.ActivationFrame) -> None:
    """Checks that header and payload of one frame agree with each other.

    Raises:
        TensorError, TargetError, TransitionError: what does not fit.
    """
    header = message.header
    shape = header.shape
    if len(shape) != 2 or shape[0] != header.token_count or prod(shape) == 0:
        raise errors.TensorError(
            f"shape: {list(shape)} is not [token_count = {header.token_count}, hidden_size > 0]"
        )
    item_bytes = ITEM_BYTES.get(header.dtype)
    if item_bytes is None:
        raise errors.TensorError(f"dtype: {header.dtype} is not one of {sorted(ITEM_BYTES)}")
    elements = shape[0] * shape[1]
    if len(message.payload) != elements * item_bytes:
        raise errors.TensorError(
            f"payload: {len(message.payload)} bytes, but shape and dtype say "
            f"{elements * item_bytes}"
        )
    if header.erasure_mask and len(header.erasure_mask) != (elements + 7) // 8:
        raise errors.TensorError(
            f"erasure_mask: {len(header.erasure_mask)} bytes for {elements} elements"
        )
    if header.task not in (Task.TASK_PREFILL, Task.TASK_SAMPLE, Task.TASK_SCORE):
        raise errors.TransitionError(f"task: {header.task} is not PREFILL, SAMPLE or SCORE")
    allowed = (
        (header.token_count - 1, header.token_count) if header.task == Task.TASK_SCORE else (0,)
    )
    if len(header.targets) not in allowed:
        raise errors.TargetError(
            f"targets: {len(header.targets)} for a frame of {header.token_count} tokens; "
            f"allowed: {' or '.join(map(str, allowed))}"
        )


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
        _require(errors.SessionIdError, "session_id", frame.session_id, limits.session_id)
        _require(errors.SequenceError, "sequence", frame.sequence, committed.sequence)
        _require(errors.TensorError, "hidden_size", frame.shape[1], limits.hidden_size)
        start = committed.position if frame.window == committed.window else 0
        _require(errors.PositionError, "position", frame.position, start)
        _require(
            errors.PositionError, "stream_offset", frame.stream_offset, committed.stream_offset
        )
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
            _require(errors.SplitError, "split", frame.split, committed.split)
            return False
        _require(
            errors.SplitError, "split_version", frame.split_version, committed.split_version + 1
        )
        _require_split(self.limits, frame.split)
        return True

    def _event(self, frame: Frame) -> Event:
        window = self.committed.window
        if frame.window == window:
            return Event.NEXT
        _require(errors.WindowError, "window", frame.window, window + 1)
        return Event.WINDOW

    def _next(self, event: Event) -> State:
        try:
            return TRANSITIONS[self.state, event]
        except KeyError:
            raise errors.TransitionError(
                f"{event.value} is not allowed in state {self.state.value!r}"
            ) from None


def _require(error: type[errors.FrameError], field: str, value: object, allowed: object) -> None:
    if value != allowed:
        raise error(f"{field}: {value!r}; allowed: {allowed!r}")


def _require_split(limits: SessionLimits, split: int) -> None:
    if split not in limits.splits:
        raise errors.SplitError(
            f"split: {split}; allowed: {limits.splits.start}-{limits.splits.stop - 1}"
        )


def check_result(result: edge_pb2.InferenceResult, frame: Frame) -> None:
    """Checks that a result answers `frame`.

    Raises:
        FrameError: it answers something else, or lacks what was asked for.
    """
    _require(errors.SessionIdError, "session_id", result.session_id, frame.session_id)
    _require(errors.SequenceError, "sequence", result.sequence, frame.sequence)
    _require(errors.SplitError, "split_version", result.split_version, frame.split_version)
    _require(errors.WindowError, "window", result.window, frame.window)
    _require(errors.PositionError, "position", result.position, frame.position)
    _require(errors.PositionError, "token_count", result.token_count, frame.token_count)
    if frame.task == Task.TASK_SAMPLE and not result.HasField("token_id"):
        raise errors.FrameError("token_id: missing in the answer to a SAMPLE frame")
    if frame.task == Task.TASK_SCORE:
        _require(errors.TargetError, "nll", len(result.nll), len(frame.targets))


def damaged(frame: Frame, payload: bytes, mask: bytes, dtype: edge_pb2.DType) -> Frame:
    """The frame as the receiver gets it: other payload, and the mask of what was erased."""
    return replace(frame, payload=payload, erasure_mask=mask, dtype=dtype)
