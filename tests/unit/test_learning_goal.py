"""What PPO makes of the authors' setting: one of the trainings that docs/policy.md reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.learning.cases import Case
from controller.learning.dynamics import ReleasedDrift
from controller.learning.environment import EnvironmentConfig
from controller.learning.hyperparameters import agent_config
from controller.learning.published import PublishedReward
from controller.learning.train_policy import train
from controller.learning.training_config import TrainingConfig
from tests.learning import published


@pytest.mark.parametrize(("max_move", "least"), [(1, 0.95), (2, 0.9), (3, 0.9)])
def test_ppo_solves_the_authors_setting(tmp_path: Path, max_move: int, least: float) -> None:
    """3, 5 and 7 actions; the exact return of the greedy policy, 0 is random and 1 the optimum."""
    reward = PublishedReward.load(published(".safetensors"))
    environment = EnvironmentConfig(case=Case.RELEASED, max_move=max_move, dynamics=ReleasedDrift())
    training = TrainingConfig(steps=24_000, seed=0, evaluate_every=0)
    record = train(reward, environment, agent_config("ppo", "best", {}), training, tmp_path)
    assert record["scores"]["fraction_of_optimum"] >= least
