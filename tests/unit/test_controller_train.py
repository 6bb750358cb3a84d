"""A short training: what it writes is what torch computed, reproducibly, and the flags matter."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from controller.environment import EnvironmentConfig
from controller.network import NetworkPolicy, load_policy
from controller.policy import Action, Observation, PolicyError, clamp
from controller.registry import DEFAULT_DIRECTORY
from controller.table import PerplexityTable
from controller.train import PpoConfig, _weights, main, train

TABLE = DEFAULT_DIRECTORY / "table.json"
STEPS = 800


@pytest.fixture(scope="module")
def table() -> PerplexityTable:
    return PerplexityTable.load(TABLE)


def short(table: PerplexityTable, out: Path, seed: int = 0, **changes: Any) -> dict[str, Any]:
    ppo = replace(PpoConfig(), n_epochs=2, **changes)
    return train(table, out, STEPS, seed, EnvironmentConfig(), ppo)


def test_defaults_are_table_4_of_the_paper() -> None:
    ppo = PpoConfig()
    assert (ppo.learning_rate, ppo.gamma, ppo.clip_range) == (3e-4, 0.99, 0.2)
    assert (ppo.n_steps, ppo.batch_size, ppo.gae_lambda) == (400, 100, 0.95)
    assert EnvironmentConfig().episode_steps == 5


def test_training_writes_a_policy_that_can_be_served(
    table: PerplexityTable, tmp_path: Path
) -> None:
    record = short(table, tmp_path)
    policy = load_policy(tmp_path)
    policy.check(table.model)
    action = policy.decide(Observation(1.0, 3.0, 0.0, 10.0, 4, LayerRange(0, 17)))
    assert action.split in range(2, 7)
    assert action.value is not None
    assert json.loads((tmp_path / "policy.json").read_text()) == json.loads(json.dumps(record))
    assert (record["steps"], record["seed"]) == (STEPS, 0)
    scores = record["scores"]
    assert scores["random"] < scores["optimal"]
    assert scores["policy"] <= scores["optimal"]


def test_what_torch_does_not_compute_is_refused(
    table: PerplexityTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The most probable move stays the same in both; what is served does not."""

    def flatter(model: Any) -> dict[str, np.ndarray]:
        weights = _weights(model)
        return {k: v * 0.9 if k.startswith("actor.2") else v for k, v in weights.items()}

    monkeypatch.setattr("controller.train._weights", flatter)
    with pytest.raises(PolicyError, match=r"numpy and torch differ by .* in their logits"):
        short(table, tmp_path)


def test_a_served_move_that_is_not_torchs_mean_move_is_refused(
    table: PerplexityTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def most_probable(policy: NetworkPolicy, seen: Observation) -> Action:
        logits = policy.actor(policy.features.vector(seen.sigma, seen.m, seen.split))
        return Action(clamp(seen.split + policy.actions[int(logits.argmax())], seen.splits))

    monkeypatch.setattr(NetworkPolicy, "decide", most_probable)
    with pytest.raises(PolicyError, match="what is served differs from torch's mean move"):
        short(table, tmp_path)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(
    table: PerplexityTable, tmp_path: Path
) -> None:
    weights = []
    for number, seed in enumerate((0, 0, 1)):
        short(table, tmp_path / str(number), seed)
        weights.append(load_file(tmp_path / str(number) / "policy.safetensors"))
    same, other = (
        all(np.array_equal(weights[0][key], w[key]) for key in weights[0]) for w in weights[1:]
    )
    assert same
    assert not other


@pytest.mark.parametrize("change", [{"anneal": True}, {"ent_coef": 0.5}])
def test_knobs_change_what_is_learnt(
    table: PerplexityTable, tmp_path: Path, change: dict[str, Any]
) -> None:
    short(table, tmp_path / "a")
    short(table, tmp_path / "b", **change)
    a, b = (load_file(tmp_path / name / "policy.safetensors") for name in "ab")
    assert not np.array_equal(a["actor.0.weight"], b["actor.0.weight"])


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "policy"
    flags = ["--table", str(TABLE), "--out", str(out), "--steps", "400", "--seed", "3"]
    assert main([*flags, "--lambda", "0.5", "--actions", "3", "--move-cost", "0.25"]) == 0
    scores = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert scores["random"] < scores["optimal"]
    record = json.loads((out / "policy.json").read_text())
    assert record["actions"] == [-1, 0, 1]
    assert (record["environment"]["cost_weight"], record["environment"]["move_cost"]) == (0.5, 0.25)
    assert record["seed"] == 3
    assert record["command"] == (
        "python -m controller.train --table table.json --out policy --steps 400 --seed 3 "
        "--lambda 0.5 --move-cost 0.25 --actions 3 --entropy 0.0"
    )


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--table", "/nowhere.json"], "/nowhere.json: cannot be read"),
        (["--steps", "0"], "--steps: 0 is not allowed"),
        (["--seed", "-1"], "--seed: -1 is not allowed"),
        (["--lambda", "nan"], "--lambda: nan is not allowed"),
        (["--entropy", "2"], "--entropy: 2.0 is not allowed"),
        (["--move-cost", "-1"], "--move-cost: -1.0 is not allowed"),
    ],
)
def test_bad_flags_are_one_line(
    flags: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--table", str(TABLE), "--out", str(tmp_path), *flags]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"train: error: {why}")
    assert captured.err.count("\n") == 1


def test_argparse_errors_are_one_line_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "controller.train", "--table", str(TABLE), "--actions", "4"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("python -m controller.train: error: ")
    assert done.stderr.count("\n") == 1


def test_missing_extra_is_named(
    table: PerplexityTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    with pytest.raises(InputError, match=r"stable-baselines3.*airsplit\[train\]"):
        short(table, tmp_path)


def test_the_embedded_policy_goes_later_with_noise_and_comes_back(table: PerplexityTable) -> None:
    policy = load_policy(DEFAULT_DIRECTORY)
    splits = LayerRange(0, 17)

    def settle(sigma: float, split: int) -> int:
        for _ in range(17):
            split = policy.decide(Observation(sigma, inf, 0, 0, split, splits)).split
        return split

    bad = settle(2.5, 2)
    assert bad >= 8
    assert settle(0.1, bad) <= 4
