"""Checkpoints: a training that goes on is the training that was never stopped."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from airsplit.errors import InputError
from controller.learning import checkpoint
from controller.learning.quality import Nearest, TableQuality
from controller.learning.reward import ObjectiveReward, Reward
from controller.learning.space import ChannelSpace
from controller.learning.supervisor import Supervisor
from controller.learning.train_policy import CHECKPOINT_FILE
from controller.registry import DEFAULT_DIRECTORY
from controller.table import PerplexityTable
from tests.unit.test_learning_agents import SHORT, equal, short, weights_of
from tests.unit.test_learning_agents import reward as reward


@pytest.mark.parametrize("algorithm", SHORT)
def test_resumed_is_as_uninterrupted(
    algorithm: str, reward: Reward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = short(reward, tmp_path / "whole", SHORT[algorithm])
    saved = Supervisor.save

    def save_and_stop(supervisor: Supervisor) -> None:
        saved(supervisor)
        raise KeyboardInterrupt

    monkeypatch.setattr(Supervisor, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        short(reward, tmp_path / "parts", SHORT[algorithm], checkpoint_every=100)
    monkeypatch.undo()
    np.random.seed(7)
    parts = short(reward, tmp_path / "parts", SHORT[algorithm], resume=True)
    assert equal(weights_of(tmp_path / "parts"), weights_of(tmp_path / "whole"))
    assert parts["curve"] == whole["curve"]


def test_an_annealed_training_resumes_where_its_rate_had_fallen_to(
    reward: Reward, tmp_path: Path
) -> None:
    config = replace(SHORT["ppo"], anneal=True)
    short(reward, tmp_path / "whole", config, checkpoint_every=80)
    done = short(reward, tmp_path / "whole", config, resume=True)
    assert done["steps"] == 240  # nothing was left to do
    again = short(reward, tmp_path / "again", config)
    assert done["curve"] == again["curve"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"seed": 1}, "seed is 1, in .* it is 0"),
        ({"config": SHORT["a2c"]}, "algorithm is a2c, in .* it is ppo"),
    ],
)
def test_another_training_is_not_gone_on_with(
    changes: dict[str, Any], why: str, reward: Reward, tmp_path: Path
) -> None:
    short(reward, tmp_path, SHORT["ppo"])
    given = {"config": SHORT["ppo"], **changes}
    with pytest.raises(InputError, match=why):
        short(reward, tmp_path, given.pop("config"), resume=True, **given)


def test_another_reward_is_not_gone_on_with(reward: Reward, tmp_path: Path) -> None:
    assert isinstance(reward, ObjectiveReward)
    table = PerplexityTable.load(DEFAULT_DIRECTORY / "table.json")
    nll = table.nll.copy()
    nll[3, 1] += 0.01
    other = replace(reward, quality=TableQuality(replace(table, nll=nll)))
    short(reward, tmp_path, SHORT["ppo"], steps=80)
    with pytest.raises(InputError, match=r"--resume: reward is \{'sha256'"):
        short(other, tmp_path, SHORT["ppo"], resume=True)
    high = (0.5 * table.sigma_max, table.inverse_m_max)
    narrow = ChannelSpace(table.space.names, table.space.low, high)
    clipped = replace(reward, quality=Nearest(TableQuality(table), narrow))
    with pytest.raises(InputError, match=r"--resume: features is \{'high'"):
        short(clipped, tmp_path, SHORT["ppo"], resume=True)
    short(reward, tmp_path, SHORT["ppo"], resume=True)


def _no_record(path: Path) -> None:
    import torch

    save_file({"x": torch.zeros(1)}, path, {checkpoint.FORMAT: "[]"})


def _no_setup(path: Path) -> None:
    import torch

    save_file({"x": torch.zeros(1)}, path, {checkpoint.FORMAT: '{"own": [1]}'})


def _deep(path: Path) -> None:
    import torch

    save_file({"x": torch.zeros(1)}, path, {checkpoint.FORMAT: "[" * 100_000})


def _pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"policy": [1.0]}))


def _other(path: Path) -> None:
    import torch

    save_file({"x": torch.zeros(1)}, path)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def _missing(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (_pickle, "is not a safetensors file"),
        (_other, "is not a checkpoint"),
        (_cut, "is not a safetensors file"),
        (_missing, "cannot be read"),
        (_no_record, "is not a checkpoint: holds a list"),
        (_no_setup, "lacks what the training was"),
        (_deep, "nested too deeply"),
    ],
)
def test_a_damaged_checkpoint_is_one_line(
    damage: Any, why: str, reward: Reward, tmp_path: Path
) -> None:
    short(reward, tmp_path, SHORT["ppo"], steps=80)
    damage(tmp_path / CHECKPOINT_FILE)
    with pytest.raises(InputError, match=why) as caught:
        short(reward, tmp_path, SHORT["ppo"], steps=80, resume=True)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_without_a_part_is_one_line(reward: Reward, tmp_path: Path) -> None:
    short(reward, tmp_path, SHORT["ppo"], steps=80)
    path = tmp_path / CHECKPOINT_FILE
    record, tensors = checkpoint.load(path)
    kept = {name: value for name, value in tensors.items() if not name.startswith("policy.")}
    save_file(kept, path, {checkpoint.FORMAT: json.dumps(record)})
    with pytest.raises(InputError, match="does not fit this training"):
        short(reward, tmp_path, SHORT["ppo"], steps=80, resume=True)


def test_patience_stops_early_and_serves_the_best(reward: Reward, tmp_path: Path) -> None:
    record = short(
        reward, tmp_path, SHORT["a2c"], steps=4000, evaluate_every=40, patience=3, seed=5
    )
    returns = [point[1] for point in record["curve"]]
    assert record["steps"] < 4000
    assert len(returns) - 1 - returns.index(max(returns)) >= 3
    assert record["scores"]["policy"] == max(returns)
