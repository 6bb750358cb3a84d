"""Frames on the wire, and the rules of a session over every state and every event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airsplit import errors
from airsplit.frames import ITEM_BYTES, Frame, Task
from airsplit.layer_range import LayerRange
from airsplit.session_protocol import (
    TRANSITIONS,
    Commitment,
    Event,
    SessionLimits,
    SessionProtocol,
    State,
)
from airsplit.v1 import channel_pb2, edge_pb2

HIDDEN, VOCAB, CONTEXT, PAYLOAD = 3, 50, 40, 200
LIMITS = SessionLimits("s" * 32, LayerRange(2, 9), HIDDEN, VOCAB, CONTEXT, PAYLOAD)

u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """Any frame that agrees with itself."""
    tokens, hidden = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    dtype = draw(st.sampled_from(sorted(ITEM_BYTES)))
    task = draw(st.sampled_from([Task.TASK_PREFILL, Task.TASK_SAMPLE, Task.TASK_SCORE]))
    size = tokens * hidden * ITEM_BYTES[dtype]
    targets = draw(st.integers(tokens - 1, tokens)) if task == Task.TASK_SCORE else 0
    report = channel_pb2.ChannelReport(airtime_ns=draw(u64), transmissions=draw(u32))
    mask_bytes = draw(st.sampled_from([0, (tokens * hidden + 7) // 8]))
    return Frame(
        session_id=draw(st.text(max_size=4)),
        split_version=draw(u64),
        sequence=draw(u64),
        split=draw(u32),
        window=draw(u32),
        position=draw(u32),
        token_count=tokens,
        task=task,
        dtype=dtype,
        shape=(tokens, hidden),
        payload=draw(st.binary(min_size=size, max_size=size)),
        targets=tuple(draw(st.lists(u32, min_size=targets, max_size=targets))),
        stream_offset=draw(u64),
        erasure_mask=draw(st.binary(min_size=mask_bytes, max_size=mask_bytes)),
        channel=draw(st.sampled_from([None, report])),
    )


@given(frames())
def test_a_frame_survives_the_wire(frame: Frame) -> None:
    data = frame.to_proto().SerializeToString()
    assert Frame.from_proto(edge_pb2.ActivationFrame.FromString(data)) == frame


def opened(split: int = 2) -> SessionProtocol:
    protocol = SessionProtocol()
    protocol.open(LIMITS, split)
    return protocol


def next_frame(at: Commitment, tokens: int = 1, **fields: Any) -> Frame:
    """A frame that continues `at`."""
    frame = Frame(
        session_id=LIMITS.session_id,
        split_version=at.split_version,
        sequence=at.sequence,
        split=at.split,
        window=at.window,
        position=at.position,
        token_count=tokens,
        task=Task.TASK_PREFILL,
        dtype=edge_pb2.DTYPE_FLOAT32,
        shape=(tokens, HIDDEN),
        payload=bytes(4 * HIDDEN * tokens),
        stream_offset=at.stream_offset,
    )
    return replace(frame, **fields)


def snapshot(protocol: SessionProtocol) -> tuple[Any, ...]:
    return protocol.state, protocol._committed, protocol._limits


def in_state(state: State) -> SessionProtocol:
    protocol = SessionProtocol() if state is State.AWAIT_OPEN else opened()
    if state in (State.FILLED, State.CLOSED):
        frame = next_frame(protocol.committed)
        protocol.check(frame)
        protocol.accept(frame)
    if state is State.CLOSED:
        protocol.close()
    assert protocol.state is state
    return protocol


def fire(protocol: SessionProtocol, event: Event) -> None:
    if event is Event.OPEN:
        protocol.open(LIMITS, 2)
    elif event is Event.CLOSE:
        protocol.close()
    else:
        at = protocol.committed
        fresh = {} if event is Event.NEXT else {"window": at.window + 1, "position": 0}
        frame = next_frame(at, **fresh)
        protocol.check(frame)
        protocol.accept(frame)


ALLOWED = {
    (State.AWAIT_OPEN, Event.OPEN): State.EMPTY,
    (State.AWAIT_OPEN, Event.CLOSE): State.CLOSED,
    (State.EMPTY, Event.NEXT): State.FILLED,
    (State.EMPTY, Event.CLOSE): State.CLOSED,
    (State.FILLED, Event.NEXT): State.FILLED,
    (State.FILLED, Event.WINDOW): State.FILLED,
    (State.FILLED, Event.CLOSE): State.CLOSED,
}
"""Written down a second time: opened once, frames only while open, no window after an empty one."""


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_every_event_in_every_state(state: State, event: Event) -> None:
    protocol = in_state(state)
    before = snapshot(protocol)
    if (state, event) in ALLOWED:
        fire(protocol, event)
        assert protocol.state is ALLOWED[state, event]
    else:
        with pytest.raises(errors.TransitionError):
            fire(protocol, event)
        assert snapshot(protocol) == before
    assert TRANSITIONS == ALLOWED


@st.composite
def steps(draw: st.DrawFn) -> tuple[int, bool, int | None]:
    """Tokens of a frame, whether it begins a window, and the split that it commits."""
    split = st.none() | st.integers(LIMITS.splits.start, LIMITS.splits.stop - 1)
    return draw(st.integers(1, 5)), draw(st.booleans()), draw(split)


@given(st.integers(2, 8), st.lists(steps(), max_size=15))
def test_what_follows_the_rules_is_accepted_and_counted(
    first: int, wanted: list[tuple[int, bool, int | None]]
) -> None:
    protocol = opened(first)
    sent, windows, moves, position, split = 0, 0, 0, 0, first
    for number, (tokens, new_window, move) in enumerate(wanted):
        if position and (new_window or position + tokens > CONTEXT):
            windows, position = windows + 1, 0
        if move is not None:
            moves, split = moves + 1, move
        frame = next_frame(
            protocol.committed,
            tokens,
            window=windows,
            position=position,
            split_version=1 + moves,
            split=split,
        )
        before = snapshot(protocol)
        assert protocol.check(frame) is (move is not None)
        assert snapshot(protocol) == before, "check changes nothing"
        protocol.accept(frame)
        position, sent = position + tokens, sent + tokens
        assert protocol.committed == Commitment(
            1 + moves, split, number + 1, windows, position, sent
        )
        assert protocol.state is State.FILLED


WRONG: dict[str, tuple[type[errors.FrameError], Callable[[Frame, int], dict[str, Any]]]] = {
    "session_id": (errors.SessionIdError, lambda f, n: {"session_id": f.session_id + "0" * n}),
    "sequence late": (errors.SequenceError, lambda f, n: {"sequence": f.sequence + n}),
    "sequence early": (errors.SequenceError, lambda f, n: {"sequence": f.sequence - n}),
    "window skipped": (errors.WindowError, lambda f, n: {"window": f.window + 1 + n}),
    "window before": (errors.WindowError, lambda f, n: {"window": f.window - n}),
    "position late": (errors.PositionError, lambda f, n: {"position": f.position + n}),
    "position early": (errors.PositionError, lambda f, n: {"position": f.position - n}),
    "new window not at 0": (
        errors.PositionError,
        lambda f, n: {"window": f.window + 1, "position": n},
    ),
    "stream_offset": (errors.PositionError, lambda f, n: {"stream_offset": f.stream_offset + n}),
    "hidden_size": (errors.TensorError, lambda f, n: {"shape": (f.token_count, HIDDEN + n)}),
    "past the context": (errors.ContextOverflowError, lambda f, n: {"token_count": CONTEXT + n}),
    "payload": (errors.TensorError, lambda f, n: {"payload": bytes(PAYLOAD + n)}),
    "targets": (errors.TargetError, lambda f, n: {"targets": (VOCAB - 1 + n,)}),
    "split without version": (errors.SplitError, lambda f, n: {"split": 2 + n}),
    "version skipped": (errors.SplitError, lambda f, n: {"split_version": f.split_version + 1 + n}),
    "version before": (errors.SplitError, lambda f, n: {"split_version": f.split_version - n}),
    "split above": (
        errors.SplitError,
        lambda f, n: {"split": 8 + n, "split_version": f.split_version + 1},
    ),
    "split below": (
        errors.SplitError,
        lambda f, n: {"split": 2 - n, "split_version": f.split_version + 1},
    ),
}


@pytest.mark.parametrize("name", WRONG)
@given(st.integers(1, 4), st.integers(1, 30))
def test_one_wrong_field_is_refused_by_name_and_nothing_happens(
    name: str, history: int, wrong_by: int
) -> None:
    protocol = opened()
    for _ in range(history):
        frame = next_frame(protocol.committed, tokens=3)
        protocol.check(frame)
        protocol.accept(frame)
    good = next_frame(protocol.committed)
    error, change = WRONG[name]
    before = snapshot(protocol)
    with pytest.raises(errors.FrameError) as raised:
        protocol.check(replace(good, **change(good, wrong_by)))
    assert type(raised.value) is error
    assert snapshot(protocol) == before
    protocol.check(good)
    protocol.accept(good)


@pytest.mark.parametrize("split", [-1, 0, 1, 9, 100])
def test_a_session_is_not_opened_at_a_split_that_an_end_lacks(split: int) -> None:
    protocol = SessionProtocol()
    with pytest.raises(errors.SplitError, match=f"split: {split}; allowed: 2-8"):
        protocol.open(LIMITS, split)
    assert snapshot(protocol) == (State.AWAIT_OPEN, None, None)
    with pytest.raises(errors.TransitionError, match="not open"):
        _ = protocol.committed
    protocol.open(LIMITS, 8)
