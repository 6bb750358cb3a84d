"""A partition holds what it was asked for and computes what transformers computes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from airsplit.checkpoint import Checkpoint
from airsplit.errors import ContextOverflowError, InputError, StaleCacheError
from airsplit.layer_range import LayerRange
from airsplit.partition import SCORE_SLICE_TOKENS, ModelPartition, parse_device
from tests import families

TOKENS = 40  # several times every case's sliding window


def ids_of(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(2, 97, (count,), generator=torch.Generator().manual_seed(seed))


def hidden_of(partition: ModelPartition, ids: torch.Tensor) -> torch.Tensor:
    layers = LayerRange(0, partition.facts.layers)
    return partition.run(partition.embed(ids), layers, partition.new_cache(len(ids)), 0)


@torch.no_grad()
@pytest.mark.parametrize("name", sorted(families.CASES))
def test_a_prefill_is_transformers_bit_for_bit(name: str, tmp_path: Path) -> None:
    model = families.make(name, tmp_path)
    partition = ModelPartition(Checkpoint(tmp_path))
    ids = ids_of(TOKENS)
    ours = partition.logits(hidden_of(partition, ids))
    assert torch.equal(ours, model(ids[None]).logits[0])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("llama")
    families.make("llama", folder)
    return Checkpoint(folder)


@pytest.fixture(scope="module")
def partition(checkpoint: Checkpoint) -> ModelPartition:
    return ModelPartition(checkpoint)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_half_precision(checkpoint: Checkpoint, dtype: torch.dtype) -> None:
    model = AutoModelForCausalLM.from_pretrained(checkpoint.path, dtype=dtype).eval()
    partition = ModelPartition(checkpoint, dtype=dtype)
    ids = ids_of(TOKENS)
    ours = partition.logits(hidden_of(partition, ids))
    assert ours.dtype == torch.float32
    assert torch.equal(ours, model(ids[None]).logits[0].float())
    assert partition.kv_shape.row_bytes == 2 * 2 * 8 * 2
    assert partition.layer_bytes * 2 == ModelPartition(checkpoint).layer_bytes


def test_nll_is_that_of_the_softmax_across_slices(partition: ModelPartition) -> None:
    count = 90 + SCORE_SLICE_TOKENS // 4
    ids = ids_of(count)
    hidden = hidden_of(partition, ids)
    probabilities = partition.logits(hidden).double().softmax(dim=-1)
    expected = -probabilities[torch.arange(count - 1), ids[1:]].log()
    torch.testing.assert_close(
        partition.nll(hidden, ids[1:]).double(), expected, atol=1e-5, rtol=1e-5
    )
    assert partition.nll(hidden, ids[:0]).shape == (0,)


def test_slicing_changes_no_bit(partition: ModelPartition, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, targets = hidden_of(partition, ids_of(64)), ids_of(64, seed=1)
    whole = partition.nll(hidden, targets)
    monkeypatch.setattr("airsplit.partition.SCORE_SLICE_LOGITS", 1)
    monkeypatch.setattr("airsplit.partition.SCORE_SLICE_TOKENS", 32)
    torch.testing.assert_close(partition.nll(hidden, targets), whole, atol=1e-6, rtol=1e-6)


# What is held ----------------------------------------------------------------------------------

LAYER_WEIGHTS = 192 * (2 * 192 + 2 * 96) + 3 * 192 * 512 + 2 * 192
"""Of the embedded model: q, o; k, v; gate, up, down; two norms."""


def test_a_ue_with_two_layers_holds_and_reads_two_sixteenths(
    embedded: Checkpoint, whole: ModelPartition, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, seen = Checkpoint.read, []

    def counting(
        self: Checkpoint, name: str, dtype: torch.dtype, device: torch.device
    ) -> torch.Tensor:
        tensor = honest(self, name, dtype, device)
        seen.append((name, tensor.nbytes))
        return tensor

    monkeypatch.setattr(Checkpoint, "read", counting)
    ue = ModelPartition(embedded, LayerRange(0, 2), head=False)
    assert whole.layer_bytes == 16 * 4 * LAYER_WEIGHTS
    assert ue.layer_bytes == 2 * 4 * LAYER_WEIGHTS
    table = 4 * 4096 * 192
    assert ue.weight_bytes == ue.layer_bytes + table
    assert whole.weight_bytes == whole.layer_bytes + 2 * table + 4 * 192
    assert sum(size for _, size in seen) == ue.weight_bytes
    assert {name.split(".")[2] for name, _ in seen if ".layers." in name} == {"0", "1"}


MEASURE = """
import json, sys
from airsplit.checkpoint import EMBEDDED, Checkpoint, locate
from airsplit.layer_range import LayerRange
from airsplit.partition import ModelPartition
def anonymous():
    with open("/proc/self/status") as file:
        return next(1024 * int(line.split()[1]) for line in file if line.startswith("RssAnon"))
checkpoint = Checkpoint(locate(EMBEDDED))
warm = ModelPartition(checkpoint, LayerRange(0, 0), head=False)
before = anonymous()
part = ModelPartition(checkpoint, LayerRange(0, 2), head=False)
between = anonymous()
whole = ModelPartition(checkpoint, head=False)
print(json.dumps([between - before, anonymous() - between]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells resident memory")
def test_resident_memory_is_that_of_the_held_layers() -> None:
    out = subprocess.run(
        [sys.executable, "-c", MEASURE], check=True, capture_output=True, timeout=120
    ).stdout
    part, whole = json.loads(out)
    table, slack = 4 * 4096 * 192, 3 * 2**20
    assert part < 2 * 4 * LAYER_WEIGHTS + table + slack
    assert whole > 16 * 4 * LAYER_WEIGHTS


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (4, 4), (2, 2)])
def test_an_end_may_hold_no_layer_at_all(checkpoint: Checkpoint, start: int, stop: int) -> None:
    empty = ModelPartition(checkpoint, LayerRange(start, stop))
    assert empty.held == LayerRange(start, stop)
    assert empty.layer_bytes == 0
    hidden = empty.embed(ids_of(3))
    assert torch.equal(empty.run(hidden, LayerRange(2, 2), empty.new_cache(3), 0), hidden)


def test_what_is_not_held_is_refused(checkpoint: Checkpoint) -> None:
    middle = ModelPartition(checkpoint, LayerRange(1, 3), head=False)
    hidden, cache = middle.embed(ids_of(3)), middle.new_cache(8)
    with pytest.raises(InputError, match=r"within \[1, 3\)"):
        middle.run(hidden, LayerRange(0, 3), cache, 0)
    with pytest.raises(StaleCacheError, match="layer 1: rows are valid up to 0, needed 2"):
        middle.run(hidden, LayerRange(1, 3), cache, 2)
    with pytest.raises(ContextOverflowError, match="9 positions; allowed: 1-8"):
        middle.run(hidden, LayerRange(1, 3), cache, 6)
    with pytest.raises(InputError, match=r"'\[0, 5\)'.*within \[0, 4\)"):
        ModelPartition(checkpoint, LayerRange(0, 5))


@pytest.mark.parametrize("device", ["tpu", "meta", "cuda:99", "", "cuda:x"])
def test_a_device_that_is_not_here(device: str) -> None:
    with pytest.raises(InputError, match=f"--device: {device!r}.*cpu, cuda, cuda:N"):
        parse_device("--device", device)
    assert parse_device("--device", "cpu") == torch.device("cpu")


# How far a context may go ----------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, -1, 129])
def test_a_context_beyond_the_model(partition: ModelPartition, length: int) -> None:
    with pytest.raises(InputError, match=f"max_context: {length} is not allowed; allowed: 1-128"):
        partition.new_cache(length)


@torch.no_grad()
def test_dynamic_rope_is_exact_up_to_the_original_length_and_refused_beyond(
    tmp_path: Path,
) -> None:
    rope = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}
    model = families.make("llama", tmp_path, rope_parameters=rope)
    partition = ModelPartition(Checkpoint(tmp_path))
    ids = ids_of(128)
    assert torch.equal(partition.logits(hidden_of(partition, ids)), model(ids[None]).logits[0])
    with pytest.raises(InputError, match="max_context: 129 is not allowed; allowed: 1-128"):
        partition.new_cache(129)


@torch.no_grad()
@pytest.mark.parametrize("style", ["new", "as published"])
def test_long_rope_is_exact_up_to_the_original_length_and_refused_beyond(
    tmp_path: Path, style: str
) -> None:
    model = families.make("phi3-longrope", tmp_path)
    if style == "as published":  # Phi-3's own config.json
        path = tmp_path / "config.json"
        config = json.loads(path.read_text())
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope["rope_theta"]
        config["original_max_position_embeddings"] = 64
        config["rope_scaling"] = {
            "type": "longrope",
            "short_factor": rope["short_factor"],
            "long_factor": rope["long_factor"],
        }
        path.write_text(json.dumps(config))
    partition = ModelPartition(Checkpoint(tmp_path))
    ids = ids_of(64)
    assert torch.equal(partition.logits(hidden_of(partition, ids)), model(ids[None]).logits[0])
    with pytest.raises(InputError, match="max_context: 65 is not allowed; allowed: 1-64"):
        partition.new_cache(65)
