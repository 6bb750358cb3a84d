"""Table, environment and evaluation: exact at the cells, rewards and returns re-derived by hand."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from math import exp, inf, log, log1p
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from airsplit.errors import InputError
from controller.environment import EnvironmentConfig, Objective, SplitEnvironment
from controller.evaluation import channels_of, evaluate, optimal_split, settled_splits
from controller.features import sigma_at
from controller.policy import Action, FixedPolicy, ModelId, Observation
from controller.registry import DEFAULT_DIRECTORY
from controller.table import PerplexityTable

LAYERS = 6
SIGMA = (0.0, 0.5, 2.0)
M = (inf, 4.0, 1.0)
CLEAN = 2.0


def small_table() -> PerplexityTable:
    """Excess NLL = sigma * (1 + 1/m) * exp(-p): an earlier split suffers more."""
    sigma = np.array(SIGMA)[:, None, None]
    fading = np.array([0.0, 0.25, 1.0])[None, :, None]
    nll = CLEAN + sigma * (1 + fading) * np.exp(-np.arange(LAYERS + 1.0))
    return PerplexityTable(
        ModelId("small", LAYERS), SIGMA, M, nll, np.zeros_like(nll), CLEAN, log(4096), {"seed": 0}
    )


def test_table_is_exact_at_the_cells() -> None:
    table = small_table()
    for (i, sigma), (j, m) in itertools.product(enumerate(SIGMA), enumerate(M)):
        np.testing.assert_allclose(table.row(sigma, m), table.nll[i, j], rtol=1e-12)


def test_table_is_linear_in_log_sigma_and_in_one_over_m() -> None:
    table = small_table()
    halfway = sigma_at((log1p(0.5 / 0.25) + log1p(2.0 / 0.25)) / 2)
    between = table.row(halfway, 1 / 0.125)  # 1/m halfway between 0 and 1/4
    np.testing.assert_allclose(between, table.nll[1:3, 0:2].mean(axis=(0, 1)), rtol=1e-9)


@pytest.mark.parametrize(("sigma", "m"), [(2.01, inf), (-0.1, inf), (1.0, 0.9), (float("nan"), 1)])
def test_table_refuses_to_extrapolate(sigma: float, m: float) -> None:
    with pytest.raises(InputError, match="what the table covers"):
        small_table().row(sigma, m)


def test_table_survives_its_file(tmp_path: Path) -> None:
    table, path = small_table(), tmp_path / "table.json"
    table.save(path)
    again = PerplexityTable.load(path)
    assert (again.model, again.sigma, again.m) == (table.model, table.sigma, table.m)
    np.testing.assert_allclose(again.nll, table.nll, atol=1e-5)
    assert again.provenance == {"seed": 0}


def _pop(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda record: record.pop(key)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (_pop("nll"), "nll is missing"),
        (_pop("format"), "is not a table"),
        (lambda r: r.update(sigma=[0.0, 2.0, 0.5]), "sigma"),
        (lambda r: r.update(m=[4.0, 1.0]), "shape of nll"),
        (lambda r: r.update(m=[8.0, 4.0, 1.0]), "table: m"),
        (lambda r: r["nll"][0][0].__setitem__(0, None), "not finite"),
        (lambda r: r["nll"][0][0].__setitem__(0, "x"), "could not convert"),
        (lambda r: r.update(clean_nll=9.0), "clean_nll"),
    ],
)
def test_damaged_tables_are_named(
    tmp_path: Path, damage: Callable[[dict[str, Any]], object], why: str
) -> None:
    path = tmp_path / "table.json"
    small_table().save(path)
    record = json.loads(path.read_text())
    damage(record)
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=why) as caught:
        PerplexityTable.load(path)
    assert "\n" not in str(caught.value)


def test_environment_passes_gymnasiums_checks() -> None:
    check_env(SplitEnvironment(small_table()), skip_render_check=True)


def test_reward_by_hand() -> None:
    environment = SplitEnvironment(small_table(), EnvironmentConfig(cost_weight=0.3, drift=0.0))
    environment.reset(seed=0, options={"sigma": 2.0, "m": 1.0, "split": 2})
    _, reward, terminated, truncated, info = environment.step(np.int64(4))  # two layers up
    excess = 2.0 * (1 + 1.0) * exp(-4)
    assert reward == pytest.approx(-(1 - exp(-excess) + 0.3 * 4 / LAYERS))
    assert (info["split"], terminated, truncated) == (4, False, False)


def test_moving_costs_what_is_configured() -> None:
    rewards = []
    for move_cost in (0.0, 0.25):
        environment = SplitEnvironment(small_table(), EnvironmentConfig(move_cost=move_cost))
        environment.reset(seed=0, options={"sigma": 1.0, "m": inf, "split": 1})
        rewards += [environment.step(np.int64(0))[1]]  # two layers down, but one is all there is
    assert rewards[0] - rewards[1] == pytest.approx(0.25)


def test_moves_stop_at_the_ends_and_episodes_at_five_steps() -> None:
    environment = SplitEnvironment(small_table())
    environment.reset(seed=0, options={"split": 1})
    steps = [environment.step(np.int64(0)) for _ in range(5)]
    assert [step[4]["split"] for step in steps] == [0, 0, 0, 0, 0]
    assert [step[3] for step in steps] == [False] * 4 + [True]


def test_channels_are_drawn_within_the_table_and_drift() -> None:
    environment = SplitEnvironment(small_table(), EnvironmentConfig(drift=0.5))
    observations, changes, faded = [], 0, 0
    for seed in range(200):
        _, before = environment.reset(seed=seed)
        for _ in range(5):
            observation, *_, info = environment.step(np.int64(2))
            observations.append(observation)
        changes += info["sigma"] != before["sigma"]
        faded += info["inverse_m"] > 0
    assert changes == 200
    assert 70 < faded < 130
    assert np.abs(observations).max() <= 1


def test_action_space_follows_the_configuration() -> None:
    assert SplitEnvironment(small_table(), EnvironmentConfig(max_move=3)).action_space.n == 7
    assert EnvironmentConfig(max_move=1).moves == (-1, 0, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cost_weight", -0.1),
        ("cost_weight", float("nan")),
        ("max_move", 0),
        ("episode_steps", 0),
        ("drift", -1.0),
        ("fading_share", 1.5),
    ],
)
def test_environment_configuration_is_checked(name: str, value: float) -> None:
    with pytest.raises(InputError):
        replace(EnvironmentConfig(), **{name: value})  # type: ignore[arg-type]


def test_options_outside_the_table_are_refused() -> None:
    with pytest.raises(InputError, match="what the table covers"):
        SplitEnvironment(small_table()).reset(options={"sigma": 3.0})


class Greedy:
    """The best neighbour by the objective: optimal where the objective has one valley."""

    name = "greedy"

    def __init__(self, objective: Objective, reach: int) -> None:
        self.objective, self.reach = objective, reach

    def check(self, model: ModelId) -> None: ...

    def decide(self, observation: Observation) -> Action:
        cost = self.objective.row(observation.sigma, observation.m)
        low = max(observation.split - self.reach, 0)
        return Action(low + int(cost[low : observation.split + self.reach + 1].argmin()))


def test_optimum_and_random_by_brute_force() -> None:
    toll = 0.05
    objective = Objective(small_table(), cost_weight=0.3, move_cost=toll)
    moves, steps, channel = (-1, 0, 1), 3, (0.5, 4.0)
    reward = -objective.row(*channel)
    best, mean = [], []
    for start in range(LAYERS + 1):
        returns = []
        for way in itertools.product(moves, repeat=steps):
            split, total = start, 0.0
            for move in way:
                left, split = split, min(max(split + move, 0), LAYERS)
                total += reward[split] - toll * abs(split - left)
            returns.append(total)
        best.append(max(returns))
        mean.append(np.mean(returns))
    scores = evaluate(FixedPolicy(2), objective, moves, steps, [channel])
    assert scores.optimal == pytest.approx(np.mean(best))
    assert scores.random == pytest.approx(np.mean(mean))
    way_to_2 = np.abs(np.arange(LAYERS + 1) - 2).mean()  # FixedPolicy jumps there
    assert scores.policy == pytest.approx(steps * reward[2] - toll * way_to_2)
    assert scores.best_fixed == pytest.approx(steps * reward.max())
    assert scores.best_fixed_split == reward.argmax()


def test_the_optimal_policy_scores_one() -> None:
    objective = Objective(small_table(), cost_weight=0.3)
    scores = evaluate(Greedy(objective, 2), objective, (-2, -1, 0, 1, 2))
    assert scores.fraction_of_optimum == pytest.approx(1.0)
    assert scores.random < scores.best_fixed < scores.optimal


def test_settled_splits() -> None:
    objective = Objective(small_table(), cost_weight=0.3)
    for sigma, m in channels_of(objective, noise_levels=5):
        best = optimal_split(objective, sigma, m)
        assert settled_splits(Greedy(objective, 1), sigma, m, LAYERS) == (best,)
    assert settled_splits(FixedPolicy(3), 1.0, 1.0, LAYERS) == (3,)


def test_embedded_table_says_that_noise_hurts_early_splits_more() -> None:
    table = PerplexityTable.load(DEFAULT_DIRECTORY / "table.json")
    assert (table.model, table.clean_nll < table.chance_nll) == (ModelId("airsplit-tiny", 16), True)
    for sigma in (0.5, 1.0, 2.0, 5.0):
        row = table.row(sigma, inf)
        assert row[0] > row[4] > row[14] > table.clean_nll
    np.testing.assert_allclose(table.row(0.0, inf), table.clean_nll, atol=1e-4)
