"""Who is admitted to the edge, what is reserved, and what is refused by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from airsplit import errors
from airsplit.checkpoint import Checkpoint
from airsplit.identity import identity_of
from airsplit.layer_range import LayerRange
from airsplit.partition import ModelPartition
from airsplit.session_protocol import State
from airsplit.v1 import edge_pb2
from edge_server.config import EdgeConfig
from edge_server.sessions import SessionTable
from tests import families

ROW = 2 * 2 * 8 * 4
"""Bytes: key and value, 2 K/V heads of 8 elements, fp32."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("llama")
    families.make("llama", folder)
    return Checkpoint(folder)


@pytest.fixture(scope="module")
def edge(checkpoint: Checkpoint) -> ModelPartition:
    """Layers [1, 4): p may be 1, 2, ..."""
    return ModelPartition(checkpoint, LayerRange(1, 4), embedding=False)


def table(edge: ModelPartition, **config: object) -> SessionTable:
    return SessionTable(edge, identity_of("ours", edge), EdgeConfig(**config))  # type: ignore[arg-type]


def request(edge: ModelPartition, number: int = 0, context: int = 10) -> edge_pb2.OpenSession:
    return edge_pb2.OpenSession(
        session_id=f"{number:032x}",
        ue_id="phone",
        model=identity_of("theirs", edge),
        split=2,
        max_context=context,
        ue_layers=edge_pb2.Layers(start=0, stop=3),
    )


def test_an_admitted_session_has_what_it_asked_for(edge: ModelPartition) -> None:
    sessions = table(edge)
    wanted = request(edge)
    wanted.sampling.temperature, wanted.sampling.top_p = 0.5, 1.0
    session = sessions.admit(wanted)
    assert session.id == "0" * 32
    assert session.ue_id == "phone"
    assert session.protocol.state is State.EMPTY
    assert session.protocol.committed.split == 2
    assert session.protocol.limits.splits == LayerRange(1, 4), "p is 1, 2 or 3"
    assert session.cache.max_context == 10
    assert session.cache.layers == LayerRange(1, 4)
    assert session.sampling.temperature == 0.5
    assert session.kv_bytes == 3 * 10 * ROW
    assert sessions.get(session.id) is session
    assert sessions.find("1" * 32) is None
    with pytest.raises(errors.UnknownSessionError, match="1111"):
        sessions.get("1" * 32)


def test_the_last_session_that_fits_and_the_first_that_does_not(edge: ModelPartition) -> None:
    sessions = table(edge, max_sessions=2)
    first, _ = sessions.admit(request(edge, 0)), sessions.admit(request(edge, 1))
    with pytest.raises(errors.SessionLimitError, match="2 are open; allowed: 2"):
        sessions.admit(request(edge, 2))
    sessions.release(first)
    sessions.admit(request(edge, 2))
    assert len(sessions) == 2


def test_the_budget_is_exact_to_the_byte(edge: ModelPartition) -> None:
    exact = 3 * (10 + 7) * ROW
    sessions = table(edge, kv_budget_mib=exact / 2**20)
    assert sessions.config.kv_budget_bytes == exact
    sessions.admit(request(edge, 0, context=10))
    with pytest.raises(errors.KvBudgetError) as raised:
        sessions.admit(request(edge, 1, context=8))
    assert str(raised.value) == (
        f"K/V: {3 * 8 * ROW} bytes wanted, {3 * 10 * ROW} reserved; "
        f"allowed: {exact} (--kv-budget-mib)"
    )
    second = sessions.admit(request(edge, 1, context=7))
    assert sessions.kv_reserved_bytes == exact
    sessions.release(second)
    assert sessions.kv_reserved_bytes == 3 * 10 * ROW


def test_what_is_reserved_is_what_is_allocated(edge: ModelPartition) -> None:
    session = table(edge).admit(request(edge))
    tensors = [*session.cache._keys.values(), *session.cache._values.values()]
    assert sum(tensor.nbytes for tensor in tensors) == session.kv_bytes


def test_an_open_id_is_taken_and_a_closed_one_is_free(edge: ModelPartition) -> None:
    sessions = table(edge)
    session = sessions.admit(request(edge))
    with pytest.raises(errors.SessionExistsError):
        sessions.admit(request(edge))
    sessions.release(session)
    sessions.release(session)
    sessions.admit(request(edge))


Change = Callable[[edge_pb2.OpenSession], object]


def set_field(name: str, value: object) -> Change:
    return lambda message: setattr(message, name, value)


def set_model(name: str, value: object) -> Change:
    return lambda message: setattr(message.model, name, value)


def set_layers(start: int, stop: int) -> Change:
    return lambda message: message.ue_layers.CopyFrom(edge_pb2.Layers(start=start, stop=stop))


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (set_field("session_id", ""), errors.SessionIdError, "32 hexadecimal digits"),
        (set_field("session_id", "0" * 31), errors.SessionIdError, "session_id"),
        (set_field("session_id", "g" * 32), errors.SessionIdError, "session_id"),
        (set_field("session_id", "A" * 32), errors.SessionIdError, "session_id"),
        (set_model("fingerprint", "x"), errors.ModelMismatchError, "model.fingerprint"),
        (set_model("layers", 5), errors.ModelMismatchError, "model.layers"),
        (set_model("hidden_size", 64), errors.ModelMismatchError, "model.hidden_size"),
        (set_model("vocab_size", 98), errors.ModelMismatchError, "model.vocab_size"),
        (
            set_model("dtype", edge_pb2.DTYPE_BFLOAT16),
            errors.ModelMismatchError,
            "model.dtype: the UE runs 'theirs' with 'DTYPE_BFLOAT16', "
            "the edge 'ours' with 'DTYPE_FLOAT32'",
        ),
        (set_field("max_context", 0), errors.InputError, "max_context: 0"),
        (set_field("max_context", 129), errors.InputError, "allowed: 1-128 tokens"),
        (set_field("split", 0), errors.SplitError, "split: 0; allowed: 1-3"),
        (set_field("split", 4), errors.SplitError, "split: 4; allowed: 1-3"),
        (set_layers(0, 0), errors.InputError, "no gap"),
        (set_layers(1, 3), errors.InputError, "the UE from layer 0"),
        (set_layers(3, 1), errors.InputError, "start <= stop"),
        (set_field("return_logits", True), errors.InputError, "--allow-logits"),
        (lambda m: setattr(m.sampling, "top_p", 2.0), errors.InputError, "top_p: 2.0"),
        (lambda m: setattr(m.sampling, "temperature", -1.0), errors.InputError, "temperature"),
    ],
)
def test_a_refusal_names_the_field_and_reserves_nothing(
    edge: ModelPartition, change: Change, error: type[errors.AirSplitError], says: str
) -> None:
    sessions = table(edge)
    wanted = request(edge)
    change(wanted)
    with pytest.raises(errors.AirSplitError) as raised:
        sessions.admit(wanted)
    assert type(raised.value) is error
    assert says in str(raised.value)
    assert (len(sessions), sessions.kv_reserved_bytes) == (0, 0)


def test_logits_where_the_edge_allows_them(edge: ModelPartition) -> None:
    wanted = request(edge)
    wanted.return_logits = True
    assert table(edge, allow_logits=True).admit(wanted).return_logits


def test_a_configured_context_limit_is_below_the_models(edge: ModelPartition) -> None:
    sessions = table(edge, max_context=12)
    assert sessions.max_context == 12
    assert table(edge, max_context=1000).max_context == 128
    sessions.admit(request(edge, 0, context=12))
    with pytest.raises(errors.InputError, match="max_context: 13 is not allowed; allowed: 1-12"):
        sessions.admit(request(edge, 1, context=13))


def test_the_identity_says_what_the_ue_has_to_match(checkpoint: Checkpoint) -> None:
    half = ModelPartition(checkpoint, LayerRange(3, 4), embedding=False, dtype=torch.float16)
    assert identity_of("name", half) == edge_pb2.ModelIdentity(
        name="name",
        fingerprint=checkpoint.fingerprint,
        layers=4,
        hidden_size=32,
        vocab_size=97,
        dtype=edge_pb2.DTYPE_FLOAT16,
    )


@pytest.mark.parametrize(
    ("field", "flag", "values"),
    [
        ("max_sessions", "--max-sessions", (0, -1, 2**31)),
        ("credits", "--credits", (0, 2**31)),
        ("threads", "--threads", (0,)),
        ("max_context", "--max-context", (0, -5)),
        ("kv_budget_mib", "--kv-budget-mib", (0.0, -1.0, float("nan"), float("inf"))),
        ("idle_timeout_s", "--idle-timeout", (0.0, float("nan"), float("inf"))),
    ],
)
def test_a_configuration_out_of_range(field: str, flag: str, values: tuple[float, ...]) -> None:
    for value in values:
        with pytest.raises(errors.InputError, match=f"{flag}: {value} is not allowed; allowed: "):
            EdgeConfig(**{field: value})  # type: ignore[arg-type]
