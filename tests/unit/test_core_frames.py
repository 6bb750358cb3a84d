"""One malformed field, one named error that says which."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airsplit import errors
from airsplit.frames import ITEM_BYTES, Frame, Task, check_frame, check_result, payload_bytes
from airsplit.v1 import edge_pb2

Change = Callable[[edge_pb2.ActivationFrame], object]


def good(task: edge_pb2.Task = Task.TASK_SAMPLE, targets: tuple[int, ...] = ()) -> Frame:
    """Two tokens of three bfloat16 elements."""
    return Frame(
        session_id="0" * 32,
        split_version=4,
        sequence=7,
        split=2,
        window=1,
        position=5,
        token_count=2,
        task=task,
        dtype=edge_pb2.DTYPE_BFLOAT16,
        shape=(2, 3),
        payload=bytes(12),
        targets=targets,
    )


def set_shape(*shape: int) -> Change:
    def change(message: edge_pb2.ActivationFrame) -> None:
        del message.header.shape[:]
        message.header.shape.extend(shape)

    return change


def set_header(field: str, value: object) -> Change:
    return lambda message: setattr(message.header, field, value)


def set_payload(size: int) -> Change:
    return lambda message: setattr(message, "payload", bytes(size))


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (set_shape(), errors.TensorError, "shape: []"),
        (set_shape(2), errors.TensorError, "shape: [2]"),
        (set_shape(2, 3, 1), errors.TensorError, "shape: [2, 3, 1]"),
        (set_shape(3, 2), errors.TensorError, "shape: [3, 2] is not [token_count = 2"),
        (set_shape(2, 0), errors.TensorError, "shape: [2, 0]"),
        (set_header("token_count", 3), errors.TensorError, "is not [token_count = 3"),
        (set_header("token_count", 0), errors.TensorError, "is not [token_count = 0"),
        (set_header("dtype", edge_pb2.DTYPE_UNSPECIFIED), errors.TensorError, "dtype: 0"),
        (set_header("dtype", 99), errors.TensorError, "dtype: 99 is not one of [1, 2, 3]"),
        (
            set_header("dtype", edge_pb2.DTYPE_FLOAT32),
            errors.TensorError,
            "payload: 12 bytes, but shape and dtype say 24",
        ),
        (set_payload(0), errors.TensorError, "payload: 0 bytes"),
        (set_payload(13), errors.TensorError, "payload: 13 bytes, but shape and dtype say 12"),
        (
            set_header("erasure_mask", bytes(2)),
            errors.TensorError,
            "erasure_mask: 2 bytes for 6 elements",
        ),
        (set_header("task", Task.TASK_UNSPECIFIED), errors.TransitionError, "task: 0"),
        (set_header("task", 17), errors.TransitionError, "task: 17"),
        (
            lambda message: message.header.targets.append(1),
            errors.TargetError,
            "targets: 1 for a frame of 2 tokens; allowed: 0",
        ),
        (
            set_header("task", Task.TASK_SCORE),
            errors.TargetError,
            "targets: 0 for a frame of 2 tokens; allowed: 1 or 2",
        ),
    ],
)
def test_a_malformed_field_is_named(
    change: Change, error: type[errors.FrameError], says: str
) -> None:
    message = good().to_proto()
    check_frame(message)
    change(message)
    with pytest.raises(errors.FrameError) as raised:
        Frame.from_proto(message)
    assert type(raised.value) is error
    assert says in str(raised.value)


@pytest.mark.parametrize(("dtype", "item_bytes"), ITEM_BYTES.items())
def test_the_header_tells_the_size_of_the_payload(dtype: edge_pb2.DType, item_bytes: int) -> None:
    message = good().to_proto()
    set_header("dtype", dtype)(message)
    message.payload = bytes(6 * item_bytes)
    assert len(check_frame(message)) == payload_bytes(message.header)


def test_a_zero_token_frame_is_refused_even_where_all_agrees() -> None:
    message = good().to_proto()
    message.header.token_count = 0
    set_shape(0, 3)(message)
    message.payload = b""
    with pytest.raises(errors.TensorError, match="shape"):
        check_frame(message)


@pytest.mark.parametrize("targets", [(1,), (1, 2)])
def test_scoring_takes_as_many_targets_as_tokens_or_one_fewer(targets: tuple[int, ...]) -> None:
    check_frame(good(Task.TASK_SCORE, targets).to_proto())


def test_too_many_targets() -> None:
    with pytest.raises(errors.TargetError, match="targets: 3"):
        check_frame(good(Task.TASK_SCORE, (1, 2, 3)).to_proto())


def result_of(frame: Frame) -> edge_pb2.InferenceResult:
    return edge_pb2.InferenceResult(
        session_id=frame.session_id,
        split_version=frame.split_version,
        sequence=frame.sequence,
        window=frame.window,
        position=frame.position,
        token_count=frame.token_count,
        token_id=0,
        nll=[0.5] * len(frame.targets),
    )


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("session_id", "1" * 32, errors.SessionIdError),
        ("sequence", 8, errors.SequenceError),
        ("split_version", 5, errors.SplitError),
        ("window", 0, errors.WindowError),
        ("position", 4, errors.PositionError),
        ("token_count", 1, errors.PositionError),
    ],
)
def test_a_result_that_answers_something_else(
    field: str, value: object, error: type[errors.FrameError]
) -> None:
    result = result_of(good())
    check_result(result, good())
    setattr(result, field, value)
    with pytest.raises(error, match=f"{field}: {value!r}"):
        check_result(result, good())


def test_a_result_that_lacks_what_was_asked_for() -> None:
    sampled, scored = good(), good(Task.TASK_SCORE, (1, 2))
    result = result_of(sampled)
    result.ClearField("token_id")
    with pytest.raises(errors.FrameError, match="token_id: missing"):
        check_result(result, sampled)
    check_result(result, good(Task.TASK_PREFILL))
    check_result(result_of(scored), scored)
    with pytest.raises(errors.TargetError, match="nll: 0; allowed: 2"):
        check_result(result_of(sampled), scored)
