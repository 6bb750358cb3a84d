"""`airsplit train policy` and `airsplit evaluate` as they are typed."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from cli.main import main
from controller.learning.cases import Case
from controller.learning.dynamics import Drift
from controller.learning.environment import EnvironmentConfig
from controller.learning.optimum import Scorer
from controller.learning.quality import TableQuality
from controller.learning.reward import ObjectiveReward, Reward
from controller.learning.rollout import greedy, optimal, play, steady, uniform
from controller.registry import DEFAULT_DIRECTORY
from controller.table import PerplexityTable

TABLE = str(DEFAULT_DIRECTORY / "table.json")
SHORT = ["--steps", "80", "--n-steps", "80", "--batch-size", "40", "--levels", "3"]


def train(out: Path, *flags: str) -> int:
    return main(["train", "policy", "--reward", TABLE, "--out", str(out), *SHORT, *flags])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("policy")
    flags = ["--lambda", "0.5", "--case", "H", "--actions", "3", "--move-cost", "0.01"]
    assert train(out, *flags, "--anneal", "--seed", "3") == 0
    return out


@pytest.fixture(scope="module")
def reward() -> Reward:
    return ObjectiveReward(TableQuality(PerplexityTable.load(Path(TABLE))))


def test_flags_reach_the_policy_and_its_command_repeats_it(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads((trained / "policy.json").read_text())
    assert record["actions"] == [-1, 0, 1]
    assert record["reward"]["lambda"] == 0.5
    assert (record["environment"]["case"], record["environment"]["move_cost"]) == ("H", 0.01)
    assert (record["agent"]["anneal"], record["seed"]) == (True, 3)
    words = record["command"].split()
    assert words[:3] == ["airsplit", "train", "policy"]
    words[words.index("--out") + 1] = str(tmp_path)
    assert main([*words[1:], "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["fraction_of_optimum"] == record["scores"]["fraction_of_optimum"]
    ours, again = (load_file(out / "policy.safetensors") for out in (trained, tmp_path))
    assert all(np.array_equal(ours[key], again[key]) for key in ours)


def test_evaluate_says_what_the_training_said(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    policies = [str(trained), "random", "untrained", "fixed:8", "threshold", "greedy", "optimal"]
    flags = ["--episodes", "300", "--levels", "3", "--json"]
    assert main(["evaluate", "--policy", *policies, *flags]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    scores = json.loads((trained / "policy.json").read_text())["scores"]
    assert found["exact_return"] == scores["policy"]
    assert found["fraction_of_optimum"] == scores["fraction_of_optimum"]
    assert found["optimal_return"] == scores["optimal"]
    assert (found["episodes"], found["environment"]["case"]) == (300, "H")
    assert found["seconds"] > 0
    rows = {row["policy"]: row for row in found["policies"]}
    assert set(rows) == set(policies)
    assert rows["random"]["fraction_of_optimum"] == 0
    assert rows["optimal"]["fraction_of_optimum"] == 1
    assert all(row["fraction_of_optimum"] <= 1 for row in rows.values())
    assert rows["greedy"]["mean_return"] > rows["random"]["mean_return"]
    assert main(["evaluate", "--policy", *policies, *flags[:-1]]) == 0
    assert "optimum" in capsys.readouterr().out


def test_sampled_returns_agree_with_enumerated_ones(reward: Reward) -> None:
    """Within the interval, widened: the enumeration's grid of channels has an error of its own."""
    config = EnvironmentConfig(case=Case.A, dynamics=Drift())
    scorer = Scorer.of(reward, config)
    follow = greedy(reward, config)
    for player, exact in (
        (uniform(config, 1), scorer.random),
        (steady(follow), scorer.score(follow).policy),
        (optimal(reward, config), scorer.optimal),
    ):
        played = play(player, reward, config, 4000, seed=0)
        assert played.mean == pytest.approx(exact, abs=3 * played.margin)
        assert 0 < played.margin < 0.05


def test_an_interval_covers_as_often_as_it_says(reward: Reward) -> None:
    config = EnvironmentConfig(case=Case.A)
    runs = [play(uniform(config, n), reward, config, 50, seed=n) for n in range(100)]
    mean = np.mean([run.mean for run in runs])
    assert 88 <= sum(abs(run.mean - mean) <= run.margin for run in runs) <= 100


def test_without_torch_policies_are_evaluated_all_the_same(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    monkeypatch.delitem(sys.modules, "controller.learning.agents", raising=False)
    flags = ["--episodes", "10", "--levels", "2"]
    assert main(["evaluate", "--policy", str(trained), "optimal", *flags]) == 0
    assert main(["evaluate", "--policy", "untrained", "--reward", TABLE, *flags]) == 2
    assert "airsplit[train]" in capsys.readouterr().err


def test_training_without_its_extra_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    for name in ("agents", "checkpoint", "supervisor", "train_policy"):
        monkeypatch.delitem(sys.modules, f"controller.learning.{name}", raising=False)
    assert train(tmp_path) == 2
    assert "stable-baselines3 is not installed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--reward", "/nowhere.json"], "/nowhere.json: cannot be read"),
        (["--steps", "0"], "--steps: 0 is not allowed"),
        (["--lambda", "nan"], "--lambda: nan is not allowed"),
        (["--move-cost", "-1"], "--move-cost: -1.0 is not allowed"),
        (["--entropy", "2"], "--entropy: 2.0 is not allowed"),
        (["--cells", "8"], "--cells: 8 is not allowed; allowed: with --reward model only"),
        (["--case", "released"], "--case: 'released' is not allowed"),
        (["--resume"], "checkpoint.safetensors: cannot be read"),
        (["--algorithm", "dqn", "--epochs", "3"], "--n-steps: 80 is not allowed"),
        (["--surrogate-after", "80"], "--surrogate-after: 80 is not allowed; allowed: below"),
        (["--tensorboard", "/dev/null/events"], "--tensorboard: /dev/null/events cannot be made"),
        (["--tensorboard", TABLE], "cannot be made: File exists"),
        (["--drift", "mobility"], "--levels: 3 is not allowed; allowed: not with --drift mobility"),
        (["--drift", "mobility", "--fading-share", "0.3"], "--fading-share: 0.3 is not allowed"),
        (["--speed", "3"], "--speed: 3.0 is not allowed; allowed: with --drift mobility"),
        (["--extra-loss", "3"], "--extra-loss: 3.0 is not allowed; allowed: with --drift mobility"),
        (["--rms", "3", "--drift", "held"], "--rms: 3.0 is not allowed"),
        (["--drift", "mobility", "--speed", "-1"], "speed_mps: -1.0 is not allowed"),
        (["--drift", "mobility", "--rms", "0"], "rms: 0.0 is not allowed"),
    ],
)
def test_bad_flags_are_one_line(
    flags: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(tmp_path, *flags) == 2
    error = capsys.readouterr().err
    assert error.startswith("airsplit train: error: ")
    assert why in error
    assert error.count("\n") == 1


def _nan(path: Path) -> None:
    weights = load_file(path / "policy.safetensors")
    weights["actor.0.bias"][0] = np.nan
    save_file(weights, path / "policy.safetensors")


def _pickle(path: Path) -> None:
    (path / "policy.safetensors").write_bytes(pickle.dumps({"a": 1}))


def _other_model(path: Path) -> None:
    record = json.loads((path / "policy.json").read_text())
    record["model"]["name"] = "llama"
    (path / "policy.json").write_text(json.dumps(record))


def _flags(flags: object) -> Any:
    def damage(path: Path) -> None:
        record = json.loads((path / "policy.json").read_text())
        record["flags"] = flags
        (path / "policy.json").write_text(json.dumps(record))

    return damage


def _no_source(path: Path) -> None:
    record = json.loads((path / "policy.json").read_text())
    del record["source"]
    (path / "policy.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (_nan, "actor.0.bias has values that are not finite numbers"),
        (_pickle, "is not a safetensors file"),
        (_other_model, "trained for llama with 16 layers, not for airsplit-tiny with 16"),
        (_no_source, "--reward: is missing"),
        (_flags([1]), "policy.json: flags: [1] is not allowed"),
        (_flags({"policy": "x"}), "policy.json: flags: {'policy': 'x'} is not allowed"),
        (_flags({"case": "Z"}), "policy.json: flags: argument --case"),
        (_flags({"episode_steps": [1]}), "policy.json: flags: argument --episode-steps"),
    ],
)
def test_a_bad_policy_is_one_line(
    damage: Any, why: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("policy.json", "policy.safetensors"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    damage(tmp_path)
    assert main(["evaluate", "--policy", str(tmp_path), "--levels", "2"]) == 2
    error = capsys.readouterr().err
    assert why in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--policy", "nowhere"], "--policy: 'nowhere' is not allowed"),
        (["--policy", "fixed:x", "--reward", TABLE], "'fixed:x' is not allowed"),
        (["--policy", "greedy:x", "--reward", TABLE], "--policy: 'greedy:x' is not allowed"),
        (["--policy", "random", "--reward", TABLE, "--episodes", "1"], "--episodes: 1"),
        (["--policy", "random", "--reward", TABLE, "--levels", "1"], "--levels: 1"),
        (["--policy", "random"], "--reward: is missing"),
        (["--policy", "random", "--reward", TABLE, "--seed", "-2"], "--seed: -2 is not allowed"),
        (["--policy", "fixed:17", "--reward", TABLE], "allowed: fixed:0 to fixed:16"),
        (
            ["--policy", "random", "--reward", TABLE, "--drift", "mobility", "--levels", "3"],
            "--levels: 3 is not allowed",
        ),
    ],
)
def test_bad_flags_of_evaluate_are_one_line(
    flags: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *flags]) == 2
    error = capsys.readouterr().err
    assert why in error
    assert error.count("\n") == 1


def test_a_policy_of_one_drift_is_evaluated_under_another(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("policy.json", "policy.safetensors"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    record = json.loads((tmp_path / "policy.json").read_text())
    record["flags"]["fading_share"] = 0.25
    (tmp_path / "policy.json").write_text(json.dumps(record))
    flags = ["--policy", str(tmp_path), "--episodes", "10", "--json"]
    for drift, share in (([], 0.25), (["--drift", "mobility"], 0.5)):
        assert main(["evaluate", *flags, *drift]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["environment"]["fading_share"] == share
        assert found["environment"]["case"] == "H"
