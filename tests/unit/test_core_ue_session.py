"""The UE's session against an edge server in this process: refusals, credits, what is freed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from airsplit import errors
from airsplit.checkpoint import Checkpoint
from airsplit.frames import Task
from airsplit.layer_range import LayerRange
from airsplit.partition import ModelPartition
from airsplit.v1 import edge_pb2
from edge_server.config import EdgeConfig
from edge_server.service import EdgeServicer
from tests import families
from tests.equivalence.harness import Reference, reference_of
from tests.serving import edge_serving
from ue_client.generate import generate
from ue_client.link import Link, Stream
from ue_client.records import SessionRequest
from ue_client.session import UeSession
from ue_client.steering import Schedule

PROMPT, NEW, LAYERS = 7, 10, 4
ROW = 2 * 2 * 8 * 4


@dataclass(frozen=True)
class Ends:
    reference: Reference
    ue: ModelPartition
    link: Link
    servicer: EdgeServicer

    def open(self, split: int, **fields: object) -> UeSession:
        return UeSession(self.ue, self.link, SessionRequest("test", split, 32, **fields))  # type: ignore[arg-type]

    def edge_rows(self, session: UeSession) -> dict[int, int]:
        """What the edge has of each layer; may be written to, to damage it."""
        return self.servicer.sessions.get(session.id).cache._valid


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ends]:
    folder: Path = tmp_path_factory.mktemp("llama")
    model = families.make("llama", folder)
    prompt = np.random.default_rng(2).integers(2, 97, PROMPT).tolist()
    reference = reference_of(model, prompt, NEW)
    checkpoint = Checkpoint(folder)
    config = EdgeConfig(allow_logits=True, credits=3)
    ue = ModelPartition(checkpoint, head=False)
    edge = ModelPartition(checkpoint, embedding=False)
    with edge_serving(edge, config) as (address, servicer), Link(address) as link:
        yield Ends(reference, ue, link, servicer)


@pytest.fixture
def session(ends: Ends) -> Iterator[UeSession]:
    opened = ends.open(3)
    yield opened
    opened.close()


def until(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


class Behind(Schedule):
    """Moves by a schedule; at one index the edge loses rows after they were handed over."""

    def __init__(self, ends: Ends, moves: dict[int, int], damaged: int) -> None:
        super().__init__(moves)
        self.ends, self.damaged = ends, damaged
        self.refused: list[tuple[int, str]] = []

    def rejected(self, session: UeSession, split: int, reason: str) -> None:
        self.refused.append((split, reason))

    def target(self, session: UeSession, index: int) -> int | None:
        split = super().target(session, index)
        if index == self.damaged and split is not None:
            session.switch(split)
            self.ends.edge_rows(session)[split] = 0
            return None
        return split


@pytest.mark.parametrize("damaged", [0, 4])
def test_a_refused_switch_leaves_the_old_split_and_the_tokens(
    ends: Ends, session: UeSession, damaged: int
) -> None:
    if damaged == 0:
        session.step(ends.reference.prompt[:3], Task.TASK_PREFILL)
    left = ends.reference.prompt[3:] if damaged == 0 else ends.reference.prompt
    steering = Behind(ends, {damaged: 1, 7: 1}, damaged)
    tokens = list(generate(session, left, NEW, steering=steering))
    assert [token.token_id for token in tokens] == ends.reference.tokens
    assert [token.split for token in tokens] == [3] * 7 + [1] * 3
    switches = [token.switch for token in tokens]
    assert switches[damaged] is None, "what was refused is no switch"
    again = switches[7]
    assert again is not None
    assert (again.split_from, again.split_to) == (3, 1)
    assert again.bytes == 2 * (PROMPT + 6) * ROW, "all rows travel again: the edge's word is gone"
    assert session.split_version == 2
    ((split, reason),) = steering.refused
    assert split == 1
    assert "layer 1" in reason


def test_the_edge_lacks_rows_of_the_split_in_force(ends: Ends, session: UeSession) -> None:
    session.step(ends.reference.prompt, Task.TASK_SAMPLE)
    ends.edge_rows(session)[3] = 2
    with pytest.raises(errors.StaleCacheError, match="layer 3: rows are valid up to 2, needed 7"):
        session.step([5], Task.TASK_SAMPLE)
    assert (session.position, session.sequence, session.in_flight) == (PROMPT, 1, 0)


def test_rows_of_a_refused_frame_do_not_count(ends: Ends) -> None:
    """Layers 1 and 2 ran at the UE for a frame that never was: their row has to come from the
    edge, which ran them on what really crossed."""
    session = ends.open(1)
    token = session.step(ends.reference.prompt, Task.TASK_SAMPLE).token_id
    assert token == ends.reference.tokens[0]
    session.switch(3)
    rows = ends.edge_rows(session)
    rows[3] = 2
    with pytest.raises(errors.StaleCacheError):
        session.step([token], Task.TASK_SAMPLE)
    rows[3] = PROMPT
    assert session.split == 1
    assert session.step([token], Task.TASK_SAMPLE).token_id == ends.reference.tokens[1]
    assert session.plan(3).bytes == 2 * 1 * ROW
    session.close()


def test_a_pull_that_the_edge_cannot_serve_leaves_the_old_split(
    ends: Ends, session: UeSession
) -> None:
    token = session.step(ends.reference.prompt, Task.TASK_SAMPLE).token_id
    rows = ends.edge_rows(session)
    rows[3] = 2
    with pytest.raises(errors.StaleCacheError, match="layer 3: rows 0-7 asked for"):
        session.switch(4)
    rows[3] = PROMPT
    assert (session.split, session.uncommitted) == (3, False)
    assert token == ends.reference.tokens[0]
    assert session.step([token], Task.TASK_SAMPLE).token_id == ends.reference.tokens[1]


def test_credits_bound_what_is_in_flight(ends: Ends, session: UeSession) -> None:
    assert session.credits == 3
    for token in ends.reference.prompt[:3]:
        session.submit([token], Task.TASK_PREFILL)
    with pytest.raises(errors.CreditError, match="frames: 3 unanswered; collect one first"):
        session.submit([1], Task.TASK_PREFILL)
    assert (session.in_flight, session.position) == (3, 3)
    for action in (lambda: session.switch(1), session.begin_window):
        with pytest.raises(errors.TransitionError, match="3 frames wait for an answer"):
            action()
    assert session.collect().frame.position == 0
    session.submit(ends.reference.prompt[3:-1], Task.TASK_PREFILL)
    while session.in_flight:
        session.collect()
    last = session.step(ends.reference.prompt[-1:], Task.TASK_SAMPLE)
    assert last.token_id == ends.reference.tokens[0]


def test_the_frame_that_commits_travels_alone(ends: Ends, session: UeSession) -> None:
    session.step(ends.reference.prompt[:3], Task.TASK_PREFILL)
    session.switch(1)
    session.submit(ends.reference.prompt[3:4], Task.TASK_PREFILL)
    with pytest.raises(errors.CreditError, match="1 unanswered"):
        session.submit(ends.reference.prompt[4:5], Task.TASK_PREFILL)
    switch = session.collect().switch
    assert switch is not None
    assert (switch.split_from, switch.split_to, switch.position) == (3, 1, 3)
    assert switch.bytes == 2 * 3 * ROW


@pytest.mark.parametrize("split", [-1, LAYERS + 1])
def test_a_switch_beyond_what_both_hold(session: UeSession, split: int) -> None:
    with pytest.raises(errors.SplitError, match=f"split: {split}; allowed: 0-4"):
        session.switch(split)


def test_there_and_back_before_a_commit_is_no_switch(ends: Ends, session: UeSession) -> None:
    token = session.step(ends.reference.prompt, Task.TASK_SAMPLE).token_id
    session.switch(0)
    session.switch(3)
    assert not session.uncommitted
    answer = session.step([token or 0], Task.TASK_SAMPLE)
    assert (answer.switch, answer.token_id) == (None, ends.reference.tokens[1])


def test_a_new_window_forgets_the_old_one(ends: Ends, session: UeSession) -> None:
    session.step([9, 8, 7], Task.TASK_SAMPLE)
    session.switch(1)
    session.begin_window()
    tokens = [t.token_id for t in generate(session, ends.reference.prompt, NEW)]
    assert tokens == ends.reference.tokens
    assert (session.window, session.split) == (1, 1)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"top_p": 1.5}, errors.InputError),
        ({"temperature": -1.0}, errors.InputError),
        ({"split": 9}, errors.SplitError),
    ],
)
def test_a_refused_opening_arrives_by_name(
    ends: Ends, fields: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(errors.AirSplitError) as raised:
        ends.open(**{"split": 1, **fields})  # type: ignore[arg-type]
    assert type(raised.value) is error
    assert len(ends.servicer.sessions) == 0


def test_sampling_repeats_itself_across_sessions_and_splits(ends: Ends) -> None:
    def drawn(split: int, seed: int) -> list[int]:
        session = ends.open(split, temperature=2.0, top_p=0.9, top_k=50, seed=seed)
        try:
            return [t.token_id for t in generate(session, ends.reference.prompt, NEW)]
        finally:
            session.close()

    assert drawn(0, 1) == drawn(4, 1)
    assert drawn(2, 1) != drawn(2, 2)


def test_closing_frees_the_edge(ends: Ends) -> None:
    session = ends.open(2)
    assert ends.servicer.sessions.kv_reserved_bytes == LAYERS * 32 * ROW
    session.close()
    assert until(lambda: ends.servicer.sessions.kv_reserved_bytes == 0)


def test_a_ue_that_vanishes_frees_the_edge(ends: Ends) -> None:
    with Link(ends.link.address) as link:
        session = UeSession(ends.ue, link, SessionRequest("test", 2, 32))
        session.step(ends.reference.prompt, Task.TASK_SAMPLE)
        assert len(ends.servicer.sessions) == 1
        session._stream._closed.set()  # its watchdog goes with it
    assert until(lambda: len(ends.servicer.sessions) == 0)


def test_the_first_message_opens_and_no_other_does(ends: Ends, session: UeSession) -> None:
    opening = session._open_message()
    opening.session_id = "e" * 32
    open_ = edge_pb2.InferRequest(open=opening)
    for messages in ([edge_pb2.InferRequest()], [open_, open_]):
        stream = Stream(ends.link)
        for message in messages:
            stream.send(message)
        if len(messages) == 2:
            assert stream.receive().HasField("opened")
        with pytest.raises(errors.TransitionError):
            stream.receive()
        stream.close()
    assert until(lambda: len(ends.servicer.sessions) == 1), "only the fixture's own is left"


def test_rows_beyond_what_is_computed_are_not_taken(ends: Ends, session: UeSession) -> None:
    session.step(ends.reference.prompt, Task.TASK_SAMPLE)

    def rows(**changes: object) -> edge_pb2.CacheRows:
        fields: dict[str, object] = {
            "session_id": session.id,
            "layer": 0,
            "stop": 1,
            "dtype": edge_pb2.DTYPE_FLOAT32,
            "kv_heads": 2,
            "head_dim": 8,
            "key": bytes(64),
            "value": bytes(64),
        }
        return edge_pb2.CacheRows(**{**fields, **changes})

    assert ends.link.push([rows()], 128).bytes == 128
    for changes, error in (
        ({"session_id": "f" * 32}, errors.UnknownSessionError),
        ({"window": 1}, errors.WindowError),
        ({"start": PROMPT, "stop": PROMPT + 1}, errors.PositionError),
        ({"layer": 9}, errors.StaleCacheError),
        ({"start": 3, "stop": 4}, errors.StaleCacheError),
        ({"dtype": edge_pb2.DTYPE_FLOAT16}, errors.TensorError),
    ):
        with pytest.raises(errors.AirSplitError) as raised:
            ends.link.push([rows(**changes)], 128)
        assert type(raised.value) is error
    assert ends.edge_rows(session)[0] == 1


def test_an_edge_with_fewer_layers_bounds_the_splits(ends: Ends, tmp_path: Path) -> None:
    families.make("llama", tmp_path)
    checkpoint = Checkpoint(tmp_path)
    edge = ModelPartition(checkpoint, LayerRange(2, LAYERS), embedding=False)
    ue = ModelPartition(checkpoint, LayerRange(0, 3), head=False)
    with edge_serving(edge) as (address, _), Link(address) as link:
        session = UeSession(ue, link, SessionRequest("test", 2, 32))
        assert list(session.splits) == [2, 3]
        tokens = list(
            generate(session, ends.reference.prompt, NEW, steering=Schedule({2: 3, 5: 2}))
        )
        session.close()
    assert [token.token_id for token in tokens] == ends.reference.tokens
