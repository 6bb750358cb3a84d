"""`--reward model` as it is typed: the model itself, a tiny one, is what is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airsplit.checkpoint import locate
from cli.main import main
from tests.families import make

BASE = {"policy": "random", "reward": "model", "cells": "2", "windows": "2", "levels": "2",
        "episodes": "5"}  # fmt: skip


def _model(folder: Path, seed: int) -> Path:
    """Random weights, and the tokenizer of the embedded model."""
    make("llama", folder, seed, vocab_size=4096, max_position_embeddings=256)
    for source in locate("airsplit-tiny").glob("tokenizer*"):
        (folder / source.name).write_bytes(source.read_bytes())
    return folder


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What words of a test stand for."""
    folder = tmp_path_factory.mktemp("models")
    text = folder / "text.txt"
    text.write_text("The sea was calm, and nobody on the pier could say for how long. " * 60)
    return {
        "MODEL": str(_model(folder / "model", 0)),
        "OTHER": str(_model(folder / "other", 1)),
        "TEXT": str(text),
    }


def evaluated(
    capsys: pytest.CaptureFixture[str], places: dict[str, str], **changes: str
) -> dict[str, Any]:
    flags = {**BASE, "model": "MODEL", **changes}
    words = [word for name, value in flags.items() for word in (f"--{name}", value)]
    assert main(["evaluate", *(places.get(word, word) for word in words), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("state", "loss"),
        ("cells", "3"),
        ("windows", "3"),
        ("dataset", "TEXT"),
        ("model", "OTHER"),
        ("lambda", "0.2"),
        ("form", "log"),
    ],
)
def test_every_flag_changes_the_return(
    flag: str, value: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    plain, changed = (evaluated(capsys, places, **flags) for flags in ({}, {flag: value}))
    assert plain == {**evaluated(capsys, places), "seconds": plain["seconds"]}
    for name in ("exact_return", "optimal_return", "mean_return"):
        assert changed[name] != plain[name]


def test_a_training_takes_the_same_flags_and_evaluate_takes_them_over(
    places: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["--model", places["MODEL"], "--state", "loss", "--cells", "3", "--windows", "3",
           "--dataset", places["TEXT"], "--reward", "model"]  # fmt: skip
    short = ["--steps", "80", "--n-steps", "80", "--batch-size", "40", "--levels", "2", "--json"]
    assert main(["train", "policy", *own, *short, "--out", str(tmp_path)]) == 0
    trained = json.loads(capsys.readouterr().out.splitlines()[-1])
    again = ["--policy", str(tmp_path), "--levels", "2", "--episodes", "5", "--json"]
    assert main(["evaluate", *again]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["exact_return"] == trained["return"]
    assert found["optimal_return"] == trained["optimal_return"]
    assert main(["evaluate", *again, "--cells", "2"]) == 0
    other = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert other["optimal_return"] != found["optimal_return"]


@pytest.mark.parametrize(
    ("flag", "value", "why"),
    [
        ("cells", "1", "--cells: 1 is not allowed"),
        ("windows", "1", "--windows: 1 is not allowed"),
        ("dataset", "/nowhere.txt", "--dataset"),
        ("model", "/nowhere", "/nowhere"),
    ],
)
def test_bad_flags_are_one_line(
    flag: str, value: str, why: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = {**BASE, "model": places["MODEL"], flag: value}
    words = [word for name, given in flags.items() for word in (f"--{name}", given)]
    assert main(["evaluate", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("airsplit evaluate: error: ")
    assert why in error
    assert error.count("\n") == 1
