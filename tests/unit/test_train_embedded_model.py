"""Training a tiny model as a user would, and what the script says to bad input."""

from __future__ import annotations

import importlib.util
import json
import lzma
import math
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from airsplit.checkpoint import ASSETS, Checkpoint
from airsplit.partition import ModelPartition

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "train_embedded_model.py"
SAMPLE = ASSETS / "sample.txt"
VOCABULARY = 300
SIZE = [
    *("--layers", "2", "--hidden-size", "32", "--heads", "2", "--kv-heads", "1"),
    *("--ffn-size", "64", "--vocab-size", str(VOCABULARY), "--max-context", "128"),
    *("--batch", "4", "--context", "64", "--warm-up", "5", "--threads", "1"),
]


@pytest.fixture(scope="module")
def script() -> Any:
    """The script as a module."""
    sys.path.insert(0, str(SCRIPT.parent))  # as Python does for a script
    spec = importlib.util.spec_from_file_location("train_embedded_model", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class Trained:
    """One run of the script: where it wrote, and the loss of every step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        done = run(
            *("--text", str(SAMPLE), "--out", str(folder), "--steps", "30", "--log-every", "1"),
            *SIZE,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        self.output = done.stdout
        self.losses = [float(loss) for loss in re.findall(r"loss (\d+\.\d+)", done.stdout)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("trained") / "model")


def test_loss_begins_at_chance_and_falls(trained: Trained) -> None:
    assert len(trained.losses) == 30
    # The blocks add nothing yet and the head is small: every token is as likely as any other.
    assert trained.losses[0] == pytest.approx(math.log(VOCABULARY), abs=0.05)
    assert sum(trained.losses[-5:]) / 5 < trained.losses[0] - 1
    assert len(re.findall(r"\d+ tokens/s", trained.output)) == 30


def test_saved_weights_are_the_trained_ones(trained: Trained) -> None:
    model = AutoModelForCausalLM.from_pretrained(trained.folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(trained.folder)
    ids = tokenizer(SAMPLE.read_text(encoding="utf-8"), return_tensors="pt").input_ids
    rows = ids[0, : 8 * 64].view(8, 64)
    with torch.inference_mode():
        loss = float(model(input_ids=rows, labels=rows).loss)
    assert loss == pytest.approx(sum(trained.losses[-5:]) / 5, abs=0.3)


def test_files_say_what_was_asked_for(trained: Trained) -> None:
    config = json.loads((trained.folder / "config.json").read_text())
    expected = {
        "model_type": "llama",
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "intermediate_size": 64,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 128,
        "tie_word_embeddings": False,
        "dtype": "bfloat16",
    }
    assert {key: config[key] for key in expected} == expected
    checkpoint = Checkpoint(trained.folder)
    assert "lm_head.weight" in checkpoint.files
    weights = (trained.folder / "model.safetensors").read_bytes()
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
    header.pop("__metadata__", None)
    assert {entry["dtype"] for entry in header.values()} == {"BF16"}


def test_tokenizer_begins_with_bos_and_loses_nothing(trained: Trained) -> None:
    tokenizer = AutoTokenizer.from_pretrained(trained.folder)
    text = "Where the river bends, 3 × 7 = 21 — naïve Привет 🙂\n\tend"
    ids = tokenizer(text).input_ids
    assert len(tokenizer) == VOCABULARY
    assert ids[0] == tokenizer.bos_token_id == 0
    assert tokenizer.eos_token_id == tokenizer.pad_token_id == 1
    assert tokenizer.decode(ids[1:]) == text


def test_partition_computes_what_transformers_computes(trained: Trained) -> None:
    partition = ModelPartition(Checkpoint(trained.folder))
    tokenizer = AutoTokenizer.from_pretrained(trained.folder)
    ids = tokenizer("The mountain stood above the town.", return_tensors="pt").input_ids[0]
    cache = partition.new_cache(128)
    hidden = partition.run(partition.embed(ids), partition.held, cache, 0)
    model = AutoModelForCausalLM.from_pretrained(trained.folder, dtype=torch.float32)
    with torch.inference_mode():
        expected = model(input_ids=ids[None]).logits[0]
    torch.testing.assert_close(partition.logits(hidden), expected, atol=1e-4, rtol=1e-4)


def test_recipe_defaults_are_the_embedded_model(script: Any) -> None:
    recipe = script.parse(["--text", "x", "--out", "y"])
    config = Checkpoint(ASSETS / "airsplit-tiny").config
    assert recipe.layers == config.num_hidden_layers
    assert recipe.hidden_size == config.hidden_size
    assert recipe.heads == config.num_attention_heads
    assert recipe.kv_heads == config.num_key_value_heads
    assert recipe.ffn_size == config.intermediate_size
    assert recipe.vocab_size == config.vocab_size
    assert recipe.max_context == config.max_position_embeddings


def test_learning_rate_rises_stays_and_falls(script: Any) -> None:
    recipe = script.parse(
        ["--text", "x", "--out", "y", "--steps", "1000", "--learning-rate", "0.01"]
    )
    rates = {step: script.learning_rate(step, recipe) for step in (1, 50, 100, 700, 850, 1000)}
    expected = {1: 1e-4, 50: 5e-3, 100: 1e-2, 700: 1e-2, 850: 5.1e-3, 1000: 2e-4}
    assert rates == pytest.approx(expected)


def test_fresh_blocks_add_nothing_to_the_residual_stream(script: Any, trained: Trained) -> None:
    recipe = script.parse(["--text", "x", "--out", "y", *SIZE])
    tokenizer = AutoTokenizer.from_pretrained(trained.folder).backend_tokenizer
    model = script.build_model(recipe, tokenizer)
    with torch.inference_mode():
        states = model.model(torch.arange(64)[None], output_hidden_states=True).hidden_states
    assert torch.equal(states[1], states[0])
    assert float(model.model.embed_tokens.weight.detach().std()) == pytest.approx(0.5, rel=0.05)
    assert float(model.lm_head.weight.detach().std()) == pytest.approx(0.02, rel=0.05)


def test_only_matrices_decay(script: Any) -> None:
    module = torch.nn.Linear(3, 2)
    matrices, vectors = script.build_optimizer(module).param_groups
    assert [p.dim() for p in matrices["params"]] == [2]
    assert [p.dim() for p in vectors["params"]] == [1]
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.1, 0.0)
    assert matrices["betas"] == (0.9, 0.95)


def test_corpus_cuts_repeats_and_unpacks(script: Any, tmp_path: Path) -> None:
    plain, packed = tmp_path / "plain.txt", tmp_path / "packed.txt.xz"
    plain.write_text("a" * 8192 + "bc", encoding="utf-8")
    packed.write_bytes(lzma.compress("Größe".encode()))
    corpus = script.read_corpus([str(plain), f"{packed}:3"])
    assert corpus.texts == ["a" * 8192 + "bc", "Größe"]
    assert corpus.pieces == ["a" * 8192, "bc", "Größe", "Größe", "Größe"]


def test_batches_are_one_stream_in_an_order_by_seed(script: Any) -> None:
    pieces = [f"piece {n}. " * 20 for n in range(40)]
    tokenizer = script.train_tokenizer(pieces, 260)

    def take(seed: int, count: int) -> list[Any]:
        return list(islice(script.batches(pieces, tokenizer, 2, 8, seed), count))

    once, again, other = take(0, 5), take(0, 5), take(1, 5)
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(once, again, strict=True))
    assert not all(torch.equal(a.inputs, b.inputs) for a, b in zip(once, other, strict=True))
    inputs = torch.cat([batch.inputs.flatten() for batch in once])
    targets = torch.cat([batch.targets.flatten() for batch in once])
    assert torch.equal(inputs[1:], targets[:-1])
    assert inputs[0] == tokenizer.token_to_id("<s>")
    # A pass holds every piece exactly once.
    tokens = sum(len(encoding.ids) for encoding in tokenizer.encode_batch(pieces))
    passes = [batch.passes for batch in take(0, tokens // 16 + 2)]
    first = next(n for n, value in enumerate(passes) if value == 2)
    assert first == pytest.approx(tokens / 16, abs=1)
    first_pass = tokenizer.decode_batch(
        [torch.cat([b.inputs.flatten() for b in take(0, tokens // 16)]).tolist()]
    )[0]
    assert sum(f"piece {n}. " * 20 in first_pass for n in range(40)) >= 38


def test_missing_file_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    out = tmp_path / "model"
    done = run("--text", str(tmp_path / "nowhere.txt"), "--out", str(out))
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "--text" in done.stderr
    assert "nowhere.txt" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--steps", "0"], ["--steps", "0", ">= 1"]),
        (["--steps", "many"], ["--steps", "many"]),
        (["--heads", "5"], ["--hidden-size", "192", "10"]),
        (["--kv-heads", "4"], ["--kv-heads", "4", "6"]),
        (["--context", "2048"], ["--max-context", "1024", "2048"]),
        (["--vocab-size", "257"], ["--vocab-size", "257", "258"]),
        (["--learning-rate", "nan"], ["--learning-rate", "nan"]),
        (["--seed", "-1"], ["--seed", "-1"]),
        (["--threads", "0"], ["--threads", "0", ">= 1"]),
        (["--text", "{sample}:0"], ["--text", ":0", "1-1000"]),
        (["--text", "{folder}/empty.txt"], ["--text", "empty.txt", "is empty"]),
        (["--text", "{folder}/binary.txt"], ["--text", "binary.txt", "UTF-8"]),
        (["--text", "{folder}/damaged.xz"], ["--text", "damaged.xz"]),
        (["--text", "{folder}"], ["--text", "directory"]),
        (["--out", "{folder}"], ["--out", "not empty"]),
        (["--out", "{folder}/empty.txt"], ["--out", "empty.txt"]),
        (["--vocab-size", "60000"], ["--vocab-size", "60000", "up to"]),
        (["--speed", "3"], ["--speed"]),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    script: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    named: list[str],
) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "damaged.xz").write_bytes(lzma.compress(b"text" * 99)[:-8])
    before = sorted(tmp_path.iterdir())
    given = [a.format(sample=SAMPLE, folder=tmp_path) for a in arguments]
    defaults = ["--text", str(SAMPLE), "--out", str(tmp_path / "new")]
    try:
        code = script.main([*defaults, *given])
    except SystemExit as stop:  # argparse's own
        code = stop.code
    assert code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert all(name in lines[0] for name in named), lines[0]
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "new"] == before


def test_a_loss_that_is_no_number_ends_it(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build = script.build_model

    def broken(*arguments: Any) -> Any:
        model = build(*arguments)
        with torch.no_grad():
            model.lm_head.weight.fill_(math.inf)
        return model

    monkeypatch.setattr(script, "build_model", broken)
    out = tmp_path / "model"
    assert script.main(["--text", str(SAMPLE), "--out", str(out), "--steps", "3", *SIZE]) == 1
    assert "step 1" in capsys.readouterr().err
    assert not list(out.iterdir())
