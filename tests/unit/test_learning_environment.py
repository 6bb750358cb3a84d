"""The decision process: rewards by hand, many episodes as one, and the checks of its users."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from math import exp, inf, nan
from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Discrete
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_of_sb3

from airsplit.errors import InputError
from controller.learning.cases import Case
from controller.learning.dynamics import Drift, Dynamics, Held, ReleasedDrift
from controller.learning.environment import EnvironmentConfig, SplitEnv, SplitVectorEnv
from controller.learning.published import PublishedReward
from controller.learning.reward import Reward
from controller.learning.way import MobilityDynamics
from tests.learning import LAYERS, published, small_reward

WALK = MobilityDynamics(ways=4, samples=64)
UP, DOWN = np.int64(4), np.int64(0)
"""By two layers."""


def rewards() -> list[Reward]:
    """One whose state is (sigma, 1/m, p), and one whose state is (loss, p) where it is at hand."""
    try:
        return [small_reward(), PublishedReward.load(published(".safetensors"))]
    except pytest.skip.Exception:
        return [small_reward()]


@pytest.mark.parametrize("dynamics", [Held(), Drift(), ReleasedDrift(), WALK])
def test_the_checks_of_gymnasium_and_of_stable_baselines3(dynamics: Dynamics) -> None:
    for reward in rewards():
        environment = SplitEnv(reward, EnvironmentConfig(dynamics=dynamics))
        check_env(environment, skip_render_check=True)
        check_env_of_sb3(environment)


def test_reward_by_hand() -> None:
    environment = SplitEnv(small_reward(0.3), EnvironmentConfig(dynamics=Held()))
    environment.reset(seed=0, options={"sigma": 2.0, "inverse_m": 1.0, "split": 2})
    observation, reward, terminated, truncated, info = environment.step(UP)
    excess = 2.0 * (1 + 1.0) * exp(-4)
    assert reward == pytest.approx(-(1 - exp(-excess) + 0.3 * 4 / LAYERS))
    assert info == {"sigma": 2.0, "inverse_m": 1.0, "split": 4}
    assert observation == pytest.approx([1, 1, 2 * 4 / 6 - 1])
    assert (terminated, truncated) == (False, False)


def test_a_step_is_paid_under_the_channel_that_the_agent_saw() -> None:
    reward = small_reward()
    environment = SplitVectorEnv(reward, EnvironmentConfig(dynamics=Drift(0.5)), n=100)
    seen = environment.channels.copy()
    moved = environment.step(np.full(100, 2))
    assert (seen[:, 0] != environment.channels[:, 0]).any()
    np.testing.assert_array_equal(moved.rewards, reward(seen, environment.splits))


def test_moving_costs_what_is_configured() -> None:
    paid = []
    for move_cost in (0.0, 0.25):
        environment = SplitEnv(small_reward(), EnvironmentConfig(move_cost=move_cost))
        environment.reset(seed=0, options={"sigma": 1.0, "inverse_m": 0.0, "split": 1})
        paid.append(environment.step(DOWN)[1])  # two layers down, but one is all there is
    assert paid[0] - paid[1] == pytest.approx(0.25)


def test_moves_stop_at_the_ends_and_episodes_at_their_length() -> None:
    for steps in (5, 3):
        environment = SplitEnv(small_reward(), EnvironmentConfig(episode_steps=steps))
        environment.reset(seed=0, options={"split": 1})
        found = [environment.step(DOWN) for _ in range(steps)]
        assert [step[4]["split"] for step in found] == [0] * steps
        assert [step[3] for step in found] == [False] * (steps - 1) + [True]


@pytest.mark.parametrize("dynamics", [Drift(), WALK])
def test_the_same_seed_the_same_episodes(dynamics: Dynamics) -> None:
    config = EnvironmentConfig(dynamics=dynamics)

    def walk(seed: int) -> list[np.ndarray]:
        environment = SplitVectorEnv(small_reward(), config, n=7, seed=seed)
        actions = np.random.default_rng(5).integers(0, 5, (12, 7))
        found = [environment.step(row) for row in actions]
        return [np.concatenate([f.observations, f.final, f.rewards[:, None]], 1) for f in found]

    np.testing.assert_array_equal(walk(3), walk(3))
    assert not np.array_equal(walk(3), walk(4))
    environment = SplitVectorEnv(small_reward(), config, n=7, seed=3)
    first = environment.reset(seed=9)
    environment.step(np.zeros(7, dtype=int))
    np.testing.assert_array_equal(environment.reset(seed=9), first)


def test_many_episodes_are_as_one_at_a_time() -> None:
    for reward in rewards():
        config = EnvironmentConfig(dynamics=ReleasedDrift(0.01), max_move=3, move_cost=0.01)
        many = SplitVectorEnv(reward, config, n=20, seed=1)
        channels, splits = many.channels.copy(), many.splits.copy()
        actions = np.random.default_rng(2).integers(0, 7, (5, 20))
        together = [many.step(row) for row in actions]
        for i in range(20):
            alone = SplitVectorEnv(reward, config)
            alone.begin(channels[i : i + 1], splits[i : i + 1])
            for row, expected in zip(actions, together, strict=True):
                found = alone.step(row[i : i + 1])
                np.testing.assert_allclose(found.rewards[0], expected.rewards[i], rtol=1e-12)
                np.testing.assert_allclose(found.final[0], expected.final[i], rtol=1e-6)
                assert found.truncated == expected.truncated


def test_an_episode_that_is_over_begins_anew() -> None:
    environment = SplitVectorEnv(small_reward(), EnvironmentConfig(episode_steps=2), n=3)
    first = environment.step(np.full(3, 2))
    np.testing.assert_array_equal(first.observations, first.final)
    second = environment.step(np.full(3, 2))
    assert second.truncated
    assert not np.array_equal(second.observations, second.final)
    assert not environment.step(np.full(3, 2)).truncated


def test_the_reward_may_be_exchanged() -> None:
    environment = SplitVectorEnv(small_reward(0.0), EnvironmentConfig(dynamics=Held()))
    environment.begin([[0.0, 0.0]], [6])
    before = environment.step([2]).rewards[0]
    environment.reward = small_reward(0.5)
    assert (before, environment.step([2]).rewards[0]) == (0, pytest.approx(-0.5))


def test_the_case_says_where_episodes_begin() -> None:
    for case, splits in ((Case.L, {0, 1, 2}), (Case.H, {3, 4, 5, 6}), (Case.A, {*range(7)})):
        environment = SplitVectorEnv(small_reward(), EnvironmentConfig(case=case), n=300)
        assert {*environment.splits.tolist()} == splits
    faded = [
        (SplitVectorEnv(small_reward(), EnvironmentConfig(fading_share=x), 500).channels[:, 1] > 0)
        for x in (0.0, 0.5, 1.0)
    ]
    assert [f.mean() for f in faded] == pytest.approx([0, 0.5, 1], abs=0.07)


def test_actions_are_moves_in_ascending_order() -> None:
    config = EnvironmentConfig(max_move=3, dynamics=Held())
    environment = SplitVectorEnv(small_reward(), config)
    assert SplitEnv(small_reward(), config).action_space == Discrete(7)
    assert config.moves == (-3, -2, -1, 0, 1, 2, 3)
    for action, split in enumerate(range(7)):
        environment.begin([[1.0, 0.0]], [3])
        environment.step([action])
        assert environment.splits[0] == split


def test_a_configuration_in_json() -> None:
    config = EnvironmentConfig(Case.H, 1, 7, 0.5, 0.25, ReleasedDrift(0.001))
    assert config.to_dict() == {
        "case": "H",
        "max_move": 1,
        "episode_steps": 7,
        "move_cost": 0.5,
        "fading_share": 0.25,
        "dynamics": "released",
        "rate": 0.001,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("move_cost", -0.1),
        ("move_cost", nan),
        ("move_cost", inf),
        ("max_move", 0),
        ("episode_steps", 0),
        ("fading_share", 1.5),
        ("fading_share", nan),
    ],
)
def test_the_configuration_is_checked(name: str, value: float) -> None:
    with pytest.raises(InputError):
        replace(EnvironmentConfig(), **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"sigma": 3.0}, "sigma: 3.0"),
        ({"sigma": nan}, "sigma: nan"),
        ({"split": 7}, "split: 7 is not allowed; allowed: 0-6"),
        ({"split": 2.5}, "split"),
        ({"m": 1.0}, "options: 'm'"),
        ({"sigma": "loud"}, "options: could not"),
    ],
)
def test_options_outside_of_the_process_are_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        SplitEnv(small_reward()).reset(options=options)


@pytest.mark.parametrize(
    ("actions", "why"),
    [([5], "action: 5 is not allowed; allowed: 0-4"), ([-1], "action: -1"), ([1.0], "integers")],
)
def test_actions_are_checked(actions: list[float], why: str) -> None:
    with pytest.raises(InputError, match=why):
        SplitVectorEnv(small_reward()).step(actions)


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(InputError, match="environments"):
        SplitVectorEnv(small_reward(), n=0)
    with pytest.raises(InputError, match="--seed"):
        SplitVectorEnv(small_reward(), seed=-1)
    with pytest.raises(InputError, match="one a channel"):
        SplitVectorEnv(small_reward()).begin([[1.0, 0.0]], [1, 2])
    with pytest.raises(InputError, match="follows the UE's way"):
        SplitVectorEnv(small_reward(), EnvironmentConfig(dynamics=WALK)).begin([[1.0, 0.0]], [1])


def test_nothing_here_needs_torch() -> None:
    modules = "environment, optimum, baselines, way, published"
    code = f"import sys\nfrom controller.learning import {modules}\nexit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("dynamics", [Held(), Drift(), ReleasedDrift(), WALK])
def test_every_configuration_is_json(dynamics: Dynamics) -> None:
    record = EnvironmentConfig(dynamics=dynamics).to_dict()
    assert json.loads(json.dumps(record, allow_nan=False))["dynamics"] == record["dynamics"]
