"""Frames of the data path: a frozen dataclass, its protobuf form, and checks of one by itself.

No socket, no event loop and no tensor in here: bytes in, values and named errors out. What may
follow what is `airsplit.session_protocol`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from airsplit import errors
from airsplit.v1 import channel_pb2, edge_pb2

ITEM_BYTES = {
    edge_pb2.DTYPE_FLOAT32: 4,
    edge_pb2.DTYPE_FLOAT16: 2,
    edge_pb2.DTYPE_BFLOAT16: 2,
}
"""Bytes of one element, by the dtypes that may cross the radio."""

Task = edge_pb2.Task
_TASK_SCORE = edge_pb2.TASK_SCORE
_TASKS = (edge_pb2.TASK_PREFILL, edge_pb2.TASK_SAMPLE, _TASK_SCORE)


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
        payload = check_frame(message)
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
            payload=payload,
            targets=tuple(header.targets),
            stream_offset=header.stream_offset,
            erasure_mask=header.erasure_mask,
            channel=header.channel if header.HasField("channel") else None,
        )


def payload_bytes(header: edge_pb2.FrameHeader) -> int:
    """Bytes of the payload of a frame that `check_frame` let pass; spares protobuf's copy of it."""
    return int(header.shape[0] * header.shape[1] * ITEM_BYTES[header.dtype])


def check_frame(message: edge_pb2.ActivationFrame) -> bytes:
    """Checks that header and payload of one frame agree with each other.

    Returns:
        The payload, of which protobuf makes a copy each time.

    Raises:
        TensorError, TargetError, TransitionError: what does not fit.
    """
    header = message.header  # each field is asked for once: protobuf takes its time
    shape, tokens, task = list(header.shape), header.token_count, header.task
    if len(shape) != 2 or shape[0] != tokens or prod(shape) == 0:
        raise errors.TensorError(f"shape: {shape} is not [token_count = {tokens}, hidden_size > 0]")
    item_bytes = ITEM_BYTES.get(header.dtype)
    if item_bytes is None:
        raise errors.TensorError(f"dtype: {header.dtype} is not one of {sorted(ITEM_BYTES)}")
    elements, payload, mask = shape[0] * shape[1], message.payload, header.erasure_mask
    if len(payload) != elements * item_bytes:
        raise errors.TensorError(
            f"payload: {len(payload)} bytes, but shape and dtype say {elements * item_bytes}"
        )
    if mask and len(mask) != (elements + 7) // 8:
        raise errors.TensorError(f"erasure_mask: {len(mask)} bytes for {elements} elements")
    if task not in _TASKS:
        raise errors.TransitionError(f"task: {task} is not PREFILL, SAMPLE or SCORE")
    allowed = (tokens - 1, tokens) if task == _TASK_SCORE else (0,)
    if len(header.targets) not in allowed:
        raise errors.TargetError(
            f"targets: {len(header.targets)} for a frame of {tokens} tokens; "
            f"allowed: {' or '.join(map(str, allowed))}"
        )
    return payload


def check_result(result: edge_pb2.InferenceResult, frame: Frame) -> None:
    """Checks that a result answers `frame`.

    Raises:
        FrameError: it answers something else, or lacks what was asked for.
    """
    require(errors.SessionIdError, "session_id", result.session_id, frame.session_id)
    require(errors.SequenceError, "sequence", result.sequence, frame.sequence)
    require(errors.SplitError, "split_version", result.split_version, frame.split_version)
    require(errors.WindowError, "window", result.window, frame.window)
    require(errors.PositionError, "position", result.position, frame.position)
    require(errors.PositionError, "token_count", result.token_count, frame.token_count)
    if frame.task == Task.TASK_SAMPLE and not result.HasField("token_id"):
        raise errors.FrameError("token_id: missing in the answer to a SAMPLE frame")
    if frame.task == Task.TASK_SCORE:
        require(errors.TargetError, "nll", len(result.nll), len(frame.targets))


def require(error: type[errors.FrameError], field: str, value: object, allowed: object) -> None:
    """Raises: `error`, naming the field, where a value is not the one that is allowed."""
    if value != allowed:
        raise error(f"{field}: {value!r}; allowed: {allowed!r}")
