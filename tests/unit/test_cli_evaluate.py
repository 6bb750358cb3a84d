"""What `airsplit evaluate` refuses, and what its optimum is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from cli.main import main
from controller.learning.cases import Case
from controller.learning.dynamics import Held, ReleasedDrift
from controller.learning.environment import EnvironmentConfig
from controller.learning.optimum import Scorer
from controller.learning.quality import TableQuality
from controller.learning.reward import ObjectiveReward, Reward
from controller.learning.rollout import optimal, play
from controller.registry import DEFAULT_DIRECTORY
from controller.table import PerplexityTable

TABLE = str(DEFAULT_DIRECTORY / "table.json")


@pytest.fixture(scope="module")
def reward() -> Reward:
    return ObjectiveReward(TableQuality(PerplexityTable.load(Path(TABLE))))


def _published(path: Path) -> str:
    chance = np.random.default_rng(0)
    sizes = {"fc.0": (128, 2), "fc.2": (128, 128), "fc.4": (1, 128)}
    tensors = {f"{n}.weight": chance.normal(size=shape) / 8 for n, shape in sizes.items()}
    tensors |= {f"{name}.bias": np.zeros(shape[0]) for name, shape in sizes.items()}
    save_file({n: v.astype(np.float32) for n, v in tensors.items()}, path / "r.safetensors")
    return str(path / "r.safetensors")


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--policy", "fixed:0"], "--policy: 'fixed:0' is not allowed; allowed: fixed:1 to"),
        (["--policy", "threshold"], "'threshold over sigma' is not allowed; allowed: a threshold "
         "over loss"),
        (["--policy", "random", "--fading-share", "0.2"], "--fading-share: 0.2 is not allowed"),
        (["--policy", "random", "--drift", "mobility", "--rms", "2"], "--rms: 2.0 is not allowed"),
    ],
)  # fmt: skip
def test_what_cannot_be_on_a_loss_is_refused(
    flags: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--reward", _published(tmp_path), *flags]) == 2
    error = capsys.readouterr().err
    assert why in error
    assert error.count("\n") == 1


def test_where_all_is_alike_everything_is_the_optimum(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = PerplexityTable.load(Path(TABLE))
    replace(table, nll=np.full_like(table.nll, table.clean_nll)).save(tmp_path / "flat.json")
    flags = ["--reward", str(tmp_path / "flat.json"), "--lambda", "0", "--form", "log", "--json"]
    assert main(["evaluate", "--policy", "random", "greedy", *flags, "--levels", "3"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["fraction_of_optimum"] for row in found["policies"]] == [1, 1]


def evaluated(capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, Any]:
    words = ["evaluate", "--reward", TABLE, "--episodes", "20", "--json", *flags]
    assert main(words) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("flags", [["--speed", "20"], ["--extra-loss", "30"], ["--rms", "0.5"]])
def test_every_knob_of_a_way_changes_the_return(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    way = ("--policy", "greedy", "--drift", "mobility")
    plain, changed = evaluated(capsys, *way), evaluated(capsys, *way, *flags)
    for name in ("exact_return", "optimal_return", "random_return", "environment"):
        assert changed[name] != plain[name]
    assert "upper bound" in plain["optimum"]


def test_the_optimal_policy_is_scored_as_it_is_played(
    reward: Reward, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the released drift the channel follows the split, which one that plans for a channel
    that stays does not see; and it counts the steps, as no enumerated policy does."""
    config = EnvironmentConfig(case=Case.A, dynamics=ReleasedDrift(0.1))
    scorer = Scorer.of(reward, config, 12)
    exact = scorer.held_return()
    assert scorer.random < exact < scorer.optimal
    played = play(optimal(reward, config), reward, config, 4000, seed=0)
    assert played.mean == pytest.approx(exact, abs=3 * played.margin)
    held = replace(config, dynamics=Held())
    still = Scorer.of(reward, held, 5)
    assert still.held_return() == pytest.approx(still.optimal)
    found = evaluated(capsys, "--policy", "optimal", "--drift", "released", "--levels", "5")
    known = Scorer.of(reward, EnvironmentConfig(dynamics=ReleasedDrift()), 5)
    assert found["exact_return"] == round(known.held_return(), 5)
