"""Model folders, good and bad; corpora and tokenisers: what cannot be used is one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from airsplit.checkpoint import ASSETS, EMBEDDED, Checkpoint, locate
from airsplit.errors import InputError, UnsupportedModelError
from airsplit.families import FAMILIES
from airsplit.layer_range import LayerRange
from airsplit.partition import ModelPartition
from airsplit.text import load_text, load_tokenizer
from tests import families

IDS = torch.tensor([3, 14, 15, 92, 65, 35])


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    families.make("llama", folder)
    return folder


@pytest.fixture
def copy(llama: Path, tmp_path: Path) -> Path:
    """The same model in a folder that a test may damage."""
    return Path(shutil.copytree(llama, tmp_path / "copy"))


def logits_of(folder: Path) -> torch.Tensor:
    partition = ModelPartition(Checkpoint(folder))
    layers = LayerRange(0, partition.facts.layers)
    cache = partition.new_cache(len(IDS))
    return partition.logits(partition.run(partition.embed(IDS), layers, cache, 0))


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def one_line(action: Callable[[], object], kind: type[Exception] = InputError) -> str:
    with pytest.raises(kind) as raised:
        action()
    text = str(raised.value)
    assert "\n" not in text
    return text


# Where a model is ------------------------------------------------------------------------------


def test_a_model_is_embedded_or_a_folder(llama: Path) -> None:
    assert locate(EMBEDDED) == ASSETS / EMBEDDED
    assert locate(str(llama)) == llama


@pytest.mark.parametrize("model", ["/no/such/folder", "./nowhere", "a/b/c", "no-such-model-x"])
def test_a_model_that_is_not_there(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert f"--model: {model!r}" in one_line(lambda: locate(model))


# Damaged folders -------------------------------------------------------------------------------


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "has no config.json" in one_line(lambda: ModelPartition(Checkpoint(tmp_path)))


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"model_type": "no-such-type"}'])
def test_a_config_that_says_nothing(copy: Path, text: str) -> None:
    (copy / "config.json").write_text(text)
    assert str(copy) in one_line(lambda: Checkpoint(copy).config)


def test_a_pickled_model_is_not_read(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    torch.save(weights, copy / "pytorch_model.bin")
    said = one_line(lambda: ModelPartition(Checkpoint(copy)))
    assert "lacks model.safetensors (only safetensors are read)" in said


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:4],
        lambda data: b"",
        lambda data: b"\xff" * 8 + data[8:],
        lambda data: data[:8] + b"#" + data[9:],
    ],
)
def test_a_damaged_file(copy: Path, damage: Callable[[bytes], bytes]) -> None:
    path = copy / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    assert f"{path} is damaged" in one_line(lambda: ModelPartition(Checkpoint(copy)))


def test_a_missing_tensor_and_one_of_another_shape(copy: Path) -> None:
    path = copy / "model.safetensors"
    weights = load_file(path)
    name = "model.layers.1.mlp.up_proj.weight"
    weight = weights.pop(name)
    save_file(weights, path)
    said = one_line(lambda: ModelPartition(Checkpoint(copy)))
    assert f"lacks the tensor {name}" in said
    ModelPartition(Checkpoint(copy), LayerRange(2, 4))  # its layers are whole
    save_file({**weights, name: weight[:-1].contiguous()}, path)
    said = one_line(lambda: ModelPartition(Checkpoint(copy)))
    assert f"{name} is [47, 32], the configuration says [48, 32]" in said


@pytest.mark.parametrize("index", ["{", "[]", '{"weight_map": 3}', "{}"])
def test_a_damaged_index(copy: Path, index: str) -> None:
    (copy / "model.safetensors.index.json").write_text(index)
    said = one_line(lambda: ModelPartition(Checkpoint(copy)))
    assert "model.safetensors.index.json is damaged" in said


# Shards and names ------------------------------------------------------------------------------


def test_a_sharded_checkpoint_is_the_same_model(llama: Path, tmp_path: Path) -> None:
    families.make("llama", llama).save_pretrained(tmp_path, max_shard_size="30KB")
    shards = sorted(tmp_path.glob("*.safetensors"))
    assert len(shards) > 2
    assert torch.equal(logits_of(tmp_path), logits_of(llama))
    shards[1].unlink()
    said = one_line(lambda: ModelPartition(Checkpoint(tmp_path)))
    assert f"lacks {shards[1].name}" in said


@pytest.mark.parametrize(
    "rename",
    [
        lambda key: key.replace("model.", "model.language_model.", 1),
        lambda key: f"language_model.{key}",
    ],
    ids=["new", "old"],
)
def test_a_multimodal_gemma_3_is_its_language_model(
    tmp_path: Path, rename: Callable[[str], str]
) -> None:
    plain, full = tmp_path / "plain", tmp_path / "full"
    families.make("gemma3", plain)
    full.mkdir()
    tensors = {rename(k): t for k, t in load_file(plain / "model.safetensors").items()}
    tensors["model.vision_tower.encoder.layers.0.weight"] = torch.zeros(2)
    save_file(tensors, full / "model.safetensors")
    text = json.loads((plain / "config.json").read_text())
    config = {"model_type": "gemma3", "text_config": text, "vision_config": {}}
    (full / "config.json").write_text(json.dumps(config))
    assert torch.equal(logits_of(full), logits_of(plain))


# Tied heads ------------------------------------------------------------------------------------


def test_a_tied_head_is_stored_once_and_held_by_both_ends(tmp_path: Path) -> None:
    families.make("llama-tied-mqa", tmp_path)
    checkpoint = Checkpoint(tmp_path)
    assert "lm_head.weight" not in checkpoint.files
    table = 97 * 32 * 4
    nothing = LayerRange(4, 4)
    ue = ModelPartition(checkpoint, nothing, head=False)
    edge = ModelPartition(checkpoint, nothing, embedding=False)
    both = ModelPartition(checkpoint, nothing)
    norm = 32 * 4
    assert (ue.weight_bytes, edge.weight_bytes) == (table, table + norm)
    assert both.weight_bytes == table + norm
    hidden = ue.embed(IDS)
    assert torch.equal(edge.logits(hidden), both.logits(both.embed(IDS)))


# What is refused by name -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gpt2", "mixtral", "clip"])
def test_an_unsupported_family_is_named_beside_those_that_are(tmp_path: Path, kind: str) -> None:
    AutoConfig.for_model(kind).save_pretrained(tmp_path)
    said = one_line(lambda: ModelPartition(Checkpoint(tmp_path)), UnsupportedModelError)
    assert f"type {kind!r} is not supported; supported: " in said
    assert said.rpartition(": ")[2].split(", ") == sorted(FAMILIES)


def test_the_list_covers_what_we_promise() -> None:
    tested = {config["model_type"] for config in families.CASES.values()}
    assert tested == set(FAMILIES)


def test_quantized_weights_are_refused(copy: Path) -> None:
    edit_config(copy, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    said = one_line(lambda: ModelPartition(Checkpoint(copy)), UnsupportedModelError)
    assert "quantized checkpoints are not supported" in said


def test_bidirectional_attention_is_refused(tmp_path: Path) -> None:
    families.make("gemma3", tmp_path)
    edit_config(tmp_path, use_bidirectional_attention=True)
    said = one_line(lambda: ModelPartition(Checkpoint(tmp_path)), UnsupportedModelError)
    assert "bidirectional attention" in said


# The fingerprint -------------------------------------------------------------------------------


def fingerprint(folder: Path) -> str:
    return Checkpoint(folder).fingerprint


def test_a_copy_has_the_same_fingerprint(llama: Path, copy: Path) -> None:
    edit_config(copy, transformers_version="0.0.1", use_cache=False)
    save_file(load_file(copy / "model.safetensors"), copy / "model.safetensors", {"by": "me"})
    assert fingerprint(copy) == fingerprint(llama)


@pytest.mark.parametrize("name", ["lm_head.weight", "model.layers.3.self_attn.k_proj.weight"])
@pytest.mark.parametrize("element", ["first", "middle"])
def test_one_other_weight_is_another_fingerprint(
    llama: Path, copy: Path, name: str, element: str
) -> None:
    weights = load_file(copy / "model.safetensors")
    flat = weights[name].view(-1)
    flat.view(torch.int32)[0 if element == "first" else len(flat) // 2] ^= 1  # lowest bit
    save_file(weights, copy / "model.safetensors")
    assert fingerprint(copy) != fingerprint(llama)


@pytest.mark.parametrize("change", [{"rms_norm_eps": 1e-5}, {"num_key_value_heads": 4}])
def test_another_configuration_is_another_fingerprint(
    llama: Path, copy: Path, change: dict[str, Any]
) -> None:
    edit_config(copy, **change)
    assert fingerprint(copy) != fingerprint(llama)


# Texts and tokenisers --------------------------------------------------------------------------


def test_corpora(tmp_path: Path) -> None:
    (tmp_path / "test.txt").write_text("naïve\n", encoding="utf-8")
    assert load_text(str(tmp_path)) == load_text(str(tmp_path / "test.txt")) == "naïve\n"
    assert len(load_text("sample").split()) >= 6000


def test_corpora_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "latin.txt").write_bytes(b"na\xefve")
    for dataset, says in (
        ("no-such-corpus", "'no-such-corpus' is not allowed; allowed: sample, wikitext-2"),
        (str(tmp_path), "cannot be read"),
        (str(tmp_path / "empty.txt"), "is empty"),
        (str(tmp_path / "latin.txt"), "cannot be read"),
    ):
        said = one_line(lambda dataset=dataset: load_text(dataset))  # type: ignore[misc]
        assert said.startswith("--dataset: ")
        assert says in said


def test_the_embedded_tokenizer_reads_back_what_it_wrote() -> None:
    tokenizer = load_tokenizer(locate(EMBEDDED))
    text = "The lighthouse stood, 12 feet high; naïve?"
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == text
    assert max(ids) < 4096


def test_a_folder_without_a_tokenizer(llama: Path) -> None:
    assert "has no usable tokenizer" in one_line(lambda: load_tokenizer(llama))
