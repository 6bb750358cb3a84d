"""Short trainings of each algorithm: what is written is what torch computed, and knobs matter."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from controller.learning.agents import networks, random_states, reward_scale
from controller.learning.cases import Case
from controller.learning.environment import EnvironmentConfig, SplitVectorEnv
from controller.learning.hyperparameters import (
    PRESETS,
    A2cConfig,
    AgentConfig,
    DqnConfig,
    PpoConfig,
    agent_config,
)
from controller.learning.optimum import score
from controller.learning.quality import TableQuality
from controller.learning.reward import ObjectiveReward, Reward
from controller.learning.train_policy import train
from controller.learning.training_config import TrainingConfig
from controller.network import NetworkPolicy, load_policy
from controller.policy import Observation, PolicyError
from controller.registry import DEFAULT_DIRECTORY
from controller.table import PerplexityTable

SHORT: dict[str, AgentConfig] = {
    "ppo": PpoConfig(n_steps=80, batch_size=40, epochs=2, hidden=(8,)),
    "a2c": A2cConfig(hidden=(8,)),
    "dqn": DqnConfig(learning_starts=40, target_update=40, batch_size=16, hidden=(8,)),
}
STEPS = 240
ENVIRONMENT = EnvironmentConfig(case=Case.A)


@pytest.fixture(scope="module")
def reward() -> Reward:
    return ObjectiveReward(TableQuality(PerplexityTable.load(DEFAULT_DIRECTORY / "table.json")))


def short(
    reward: Reward,
    out: Path,
    config: AgentConfig,
    *,
    environment: EnvironmentConfig = ENVIRONMENT,
    resume: bool = False,
    **training: Any,
) -> dict[str, Any]:
    settings = TrainingConfig(**{"steps": STEPS, "evaluate_every": 80, "levels": 3, **training})
    return train(reward, environment, config, settings, out, resume=resume)


def weights_of(out: Path) -> dict[str, np.ndarray]:
    return load_file(out / "policy.safetensors")


def equal(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


def test_the_fields_defaults_are_table_4_of_the_paper() -> None:
    ppo = PRESETS["table4"]["ppo"]
    assert isinstance(ppo, PpoConfig)
    assert (ppo.learning_rate, ppo.gamma, ppo.clip_range) == (3e-4, 0.99, 0.2)
    assert (ppo.n_steps, ppo.batch_size, ppo.gae_lambda) == (400, 100, 0.95)
    assert EnvironmentConfig().episode_steps == 5


@pytest.mark.parametrize("algorithm", SHORT)
def test_a_training_writes_a_policy_that_can_be_served(
    algorithm: str, reward: Reward, tmp_path: Path
) -> None:
    record = short(reward, tmp_path, SHORT[algorithm])
    policy = load_policy(tmp_path)
    policy.check(reward.model)
    action = policy.decide(Observation(1.0, 3.0, 0.0, 10.0, 4, LayerRange(0, 17)))
    assert action.split in range(2, 7)
    assert action.value is not None
    assert json.loads((tmp_path / "policy.json").read_text()) == json.loads(json.dumps(record))
    assert (record["algorithm"], record["steps"], record["seed"]) == (algorithm, STEPS, 0)
    assert [point[0] for point in record["curve"]] == [80, 160, 240]
    scores = record["scores"]
    assert scores["random"] < scores["optimal"]
    assert scores["policy"] <= scores["optimal"]
    assert record["curve"][-1][1] == scores["policy"]
    exact = score(policy.next_splits, reward, ENVIRONMENT, levels=3)
    assert exact.policy == pytest.approx(scores["policy"], abs=1e-5)


@pytest.mark.parametrize("algorithm", SHORT)
def test_what_torch_does_not_compute_is_refused(
    algorithm: str, reward: Reward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flatter(agent: Any) -> dict[str, np.ndarray]:
        return {key: value * 0.9 for key, value in networks(agent).items()}

    monkeypatch.setattr("controller.learning.train_policy.networks", flatter)
    with pytest.raises(PolicyError, match="numpy and torch differ by"):
        short(reward, tmp_path, SHORT[algorithm])


def test_a_served_move_that_is_not_torchs_best_is_refused(
    reward: Reward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NetworkPolicy, "next_splits", lambda policy, channels, splits: splits)
    with pytest.raises(PolicyError, match="what is served differs from torch's best move in"):
        short(reward, tmp_path, SHORT["ppo"])


def test_the_same_seed_gives_the_same_weights_and_another_does_not(
    reward: Reward, tmp_path: Path
) -> None:
    for number, seed in enumerate((0, 0, 1)):
        short(reward, tmp_path / str(number), SHORT["ppo"], seed=seed)
    first, same, other = (weights_of(tmp_path / name) for name in "012")
    assert equal(first, same)
    assert not equal(first, other)


KNOBS: list[tuple[str, dict[str, Any]]] = [
    *[
        ("ppo", change)
        for change in (
            {"learning_rate": 1e-3},
            {"gamma": 0.5},
            {"environments": 4},
            {"anneal": True},
            {"bootstrap": False},
            {"standardise": True},
            {"n_steps": 120},
            {"gae_lambda": 0.5},
            {"entropy": 0.5},
            {"clip_range": 0.001},
            {"batch_size": 20},
            {"epochs": 3},
        )
    ],
    *[("a2c", change) for change in ({"n_steps": 80}, {"gae_lambda": 0.5}, {"entropy": 0.5})],
    *[
        ("dqn", change)
        for change in (
            {"gamma": 0.5},
            {"batch_size": 8},
            {"buffer_size": 24},
            {"learning_starts": 80},
            {"gradient_steps": 2},
            {"target_update": 8},
            {"exploration_fraction": 1.0},
            {"exploration_final": 0.5},
        )
    ],
]


@pytest.fixture(scope="module")
def plain(reward: Reward, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    outs = {name: tmp_path_factory.mktemp(name) for name in SHORT}
    for name, out in outs.items():
        short(reward, out, SHORT[name], evaluate_every=0)
    return {name: weights_of(out) for name, out in outs.items()}


@pytest.mark.parametrize(("algorithm", "change"), KNOBS)
def test_knobs_change_what_is_learnt(
    algorithm: str,
    change: dict[str, Any],
    plain: dict[str, Any],
    reward: Reward,
    tmp_path: Path,
) -> None:
    short(reward, tmp_path, replace(SHORT[algorithm], **change), evaluate_every=0)
    assert not equal(weights_of(tmp_path), plain[algorithm])


def test_hidden_sizes_are_those_of_the_networks(reward: Reward, tmp_path: Path) -> None:
    record = short(reward, tmp_path, agent_config("a2c", "best", {"hidden": (6, 7)}), steps=40)
    assert record["network"]["hidden"] == [6, 7]
    assert weights_of(tmp_path)["critic.1.weight"].shape == (7, 6)


def test_standardised_rewards_have_mean_0_and_deviation_1(reward: Reward) -> None:
    core = SplitVectorEnv(reward, ENVIRONMENT)
    shift, unit = reward_scale(core)
    rewards = reward(*random_states(core.features, 256))
    assert ((rewards - shift) / unit).mean() == pytest.approx(0, abs=1e-12)
    assert ((rewards - shift) / unit).std() == pytest.approx(1)


@pytest.mark.parametrize(
    ("algorithm", "preset", "changes", "why"),
    [
        ("sarsa", "best", {}, "--algorithm: 'sarsa'"),
        ("ppo", "worst", {}, "--preset: 'worst'"),
        ("dqn", "best", {"clip_range": 0.1}, "--clip-range: 0.1 .* with --algorithm ppo only"),
        ("ppo", "best", {"buffer_size": 9}, "--buffer-size: 9 .* with --algorithm dqn only"),
        ("ppo", "best", {"learning_rate": float("nan")}, "--learning-rate: nan"),
        ("ppo", "best", {"gamma": 1.1}, "--gamma: 1.1"),
        ("ppo", "best", {"n_steps": 401}, "--n-steps: 401 .* multiple of --environments, 8"),
        ("ppo", "best", {"batch_size": 300}, "--batch-size: 300 .* divisor of --n-steps, 400"),
        ("ppo", "best", {"hidden": ()}, "--hidden"),
        ("ppo", "best", {"epochs": 0}, "--epochs"),
        ("ppo", "best", {"entropy": -1.0}, "--entropy"),
        ("a2c", "best", {"gae_lambda": 2.0}, "--gae-lambda"),
        ("dqn", "best", {"buffer_size": 1}, "--buffer-size"),
        ("dqn", "best", {"exploration_final": 2.0}, "--exploration-final"),
    ],
)
def test_a_bad_hyperparameter_is_one_line(
    algorithm: str, preset: str, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(InputError, match=why) as caught:
        agent_config(algorithm, preset, changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"steps": 0}, "--steps: 0"),
        ({"seed": -1}, "--seed: -1"),
        ({"levels": 1}, "--levels: 1"),
        ({"patience": 2, "evaluate_every": 0}, "--patience: 2"),
    ],
)
def test_a_bad_length_is_one_line(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        TrainingConfig(**changes)


def test_nothing_is_left_in_the_temporary_directory(
    reward: Reward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    short(reward, tmp_path / "out", SHORT["dqn"])
    assert list(spare.iterdir()) == []


def test_tensorboard_files_tell_of_the_evaluation(reward: Reward, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    record = short(reward, tmp_path / "out", SHORT["ppo"], tensorboard=tmp_path / "events")
    events = accumulator.EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    found = [event.value for event in events.Scalars("evaluation/return")]
    assert found == pytest.approx([point[1] for point in record["curve"]][: len(found)], abs=1e-4)
    assert len(events.Scalars("rollout/episode_return")) >= 2
