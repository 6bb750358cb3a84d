"""The environment's benchmark: both ways pay alike, and it says what is promised. Speeds are not
judged here."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.numpy import save_file

from benchmarks.learning import ENVIRONMENTS, TRAINED, environment_speedup, training_speedup
from tests.unit.test_learning_reward import random_tensors


@pytest.mark.parametrize("given", [False, True])
def test_the_environment_against_the_plain_way(tmp_path: Path, given: bool) -> None:
    file = tmp_path / "reward.safetensors"
    save_file(random_tensors(3), file)
    found = environment_speedup(file if given else None, steps=10, rounds=2)
    assert found["env_speedup"] == found["env_speedups"][str(TRAINED)] > 0
    assert set(found["env_step_us"]) == {"plain", *map(str, ENVIRONMENTS)}
    assert found["env_reward"] == ("reward" if given else "random weights")


def test_a_training_against_the_plain_way() -> None:
    found = training_speedup(steps=400)
    assert found["train_steps"] == {"ours": 400, "plain": 400}
    assert found["gradient_steps"] == {"ours": 40, "plain": 40}
    assert found["train_speedup"] > 0
    assert found["return_ratio"] > 0
