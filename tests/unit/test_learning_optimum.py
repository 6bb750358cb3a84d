"""Returns against brute force, sampling, and the authors' own setting."""

from __future__ import annotations

import itertools
from math import inf, nan

import numpy as np
import pytest

from airsplit.errors import InputError, ModelMismatchError
from airsplit.layer_range import LayerRange
from controller.features import Features
from controller.learning.baselines import GreedyPolicy, OptimalPolicy, RandomPolicy
from controller.learning.cases import Case
from controller.learning.dynamics import Drift, Dynamics, Held, ReleasedDrift
from controller.learning.environment import EnvironmentConfig, SplitVectorEnv
from controller.learning.optimum import (
    Scorer,
    Scores,
    optimal_splits,
    score,
    served,
    settled_splits,
)
from controller.learning.planning import Process, best, chosen, uniform
from controller.learning.published import PublishedReward
from controller.learning.space import Floats, Ints
from controller.learning.way import MobilityDynamics
from controller.policy import FixedPolicy, ModelId, Observation, Policy, PolicyError
from tests.learning import LAYERS, published, small_reward

WALK = MobilityDynamics(ways=4, samples=32)
REWARD = small_reward(0.3)
FEATURES = Features(REWARD.space, REWARD.splits)


def held(**changes: object) -> EnvironmentConfig:
    return EnvironmentConfig(dynamics=Held(), **changes)  # type: ignore[arg-type]


def test_optimum_and_random_by_brute_force() -> None:
    toll, moves, steps = 0.05, (-1, 0, 1), 3
    channels = np.array([[0.5, 0.25], [2.0, 1.0]])
    rows = REWARD.rows(channels)
    process = Process(rows, moves, toll)
    greatest, mean = process.returns(steps, best), process.returns(steps, uniform)
    for channel, start in itertools.product(range(2), range(LAYERS + 1)):
        returns, firsts = [], []
        for way in itertools.product(moves, repeat=steps):
            split, total = start, 0.0
            for move in way:
                left, split = split, min(max(split + move, 0), LAYERS)
                total += rows[channel, split] - toll * abs(split - left)
            returns.append(total)
            firsts.append(min(max(start + way[0], 0), LAYERS))
        assert greatest[channel, start] == pytest.approx(max(returns))
        assert mean[channel, start] == pytest.approx(np.mean(returns))
        action = process.first_actions(steps)[channel, start]
        optimal = {f for f, r in zip(firsts, returns, strict=True) if r > max(returns) - 1e-12}
        assert process.reach[start, action] in optimal


def test_a_fixed_policy_goes_there_as_fast_as_it_may() -> None:
    scorer = Scorer.of(REWARD, held(max_move=1), levels=5)
    scores = scorer.score(served(FixedPolicy(2), FEATURES))
    assert scores.policy == pytest.approx(scorer.fixed[2])
    assert scores.best_fixed == scorer.fixed.max()
    assert scores.best_fixed_split == scorer.fixed.argmax()
    rows = scorer.process.rewards
    from_6 = rows[:, 5] + rows[:, 4] + rows[:, 3] + 2 * rows[:, 2]
    following = np.tile(np.full(LAYERS + 1, 2), (len(rows), 1))
    actions = np.clip(following - np.arange(LAYERS + 1), -1, 1) + 1
    np.testing.assert_allclose(scorer.process.returns(5, chosen(actions))[:, 6], from_6)


def test_the_mean_is_over_the_starts_of_the_case() -> None:
    found = {case: Scorer.of(REWARD, held(case=case), levels=15) for case in (Case.L, Case.H)}
    for case, scorer in found.items():
        starts = scorer.config.starts(REWARD)
        chance = np.random.default_rng(0)
        environment = SplitVectorEnv(REWARD, scorer.config, 20_000)
        environment.begin(starts.draw_channels(chance, 20_000), starts.draw_splits(chance, 20_000))
        total = sum(environment.step(chance.integers(0, 5, 20_000)).rewards for _ in range(5))
        assert scorer.random == pytest.approx(np.mean(total), abs=0.02), case


@pytest.mark.parametrize("dynamics", [Held(), Drift(0.05), ReleasedDrift(0.01), WALK])
def test_returns_are_those_of_the_environment(dynamics: Dynamics) -> None:
    """Of a policy without chance, sampled in the environment itself."""
    config = EnvironmentConfig(dynamics=dynamics, move_cost=0.01)
    n = 40_000
    environment = SplitVectorEnv(REWARD, config, n, seed=1)

    def cautious(channels: Floats, splits: Ints) -> Ints:
        """One layer towards the best split."""
        return np.asarray(splits + np.sign(optimal_splits(REWARD, channels) - splits))

    total = np.zeros(n)
    for _ in range(config.episode_steps):
        wanted = cautious(environment.channels, environment.splits)
        total += environment.step(wanted - environment.splits + config.max_move).rewards
    scores = score(cautious, REWARD, config, levels=25)
    error = total.std() / n**0.5
    assert scores.policy == pytest.approx(total.mean(), abs=4 * error + 2e-3)
    assert scores.random < scores.policy <= scores.optimal


def test_the_optimum_as_a_policy_scores_one() -> None:
    for config in (held(), held(move_cost=0.02, max_move=1)):
        optimum = OptimalPolicy(REWARD, config.max_move, config.move_cost)
        scores = score(served(optimum, FEATURES), REWARD, config, levels=6)
        assert scores.fraction_of_optimum == pytest.approx(1.0, abs=0.02 if config.move_cost else 0)
        assert scores.random < scores.best_fixed < scores.optimal


def test_moves_that_a_policy_makes_are_those_that_the_channel_feels() -> None:
    """The released drift follows the layers moved, not the action that a bound cut short."""
    config = EnvironmentConfig(dynamics=ReleasedDrift(0.1), case=Case.A, max_move=2)
    scores = score(served(FixedPolicy(0), FEATURES), REWARD, config, levels=9)
    still = score(served(FixedPolicy(0), FEATURES), REWARD, held(), levels=9)
    assert scores.policy < still.policy  # each layer down makes the noise 10 % stronger


def test_where_nothing_matters_every_policy_is_optimal() -> None:
    assert Scores(0.0, 0.0, 0.0, 3, 0.0).fraction_of_optimum == 1.0


@pytest.mark.parametrize("file", [".pth", ".safetensors"])
def test_the_authors_setting(file: str) -> None:
    """J* of the released environment with 3, 5, 7 and 9 actions, and chance's return."""
    reward = PublishedReward.load(published(file))
    found = []
    for u in (1, 2, 3, 4):
        config = EnvironmentConfig(case=Case.RELEASED, max_move=u, dynamics=Held())
        found.append(Scorer.of(reward, config))
        drifting = EnvironmentConfig(Case.RELEASED, u, dynamics=ReleasedDrift())
        assert Scorer.of(reward, drifting).optimal == pytest.approx(found[-1].optimal, abs=5e-4)
    assert [f.optimal for f in found] == pytest.approx([2.992, 3.096, 3.154, 3.197], abs=1e-3)
    assert [f.random for f in found] == pytest.approx([2.695, 2.714, 2.741, 2.767], abs=1e-3)


def test_settled_splits() -> None:
    channels = REWARD.space.grid((5, 5))
    greedy = served(GreedyPolicy(REWARD, 1), FEATURES)
    for channel, split in zip(channels, optimal_splits(REWARD, channels), strict=True):
        assert settled_splits(greedy, REWARD, channel) == (split,)
    assert settled_splits(served(FixedPolicy(3), FEATURES), REWARD, channels[0]) == (3,)


def seen(
    sigma: float = 1.0, m: float = 2.0, split: int = 3, splits: LayerRange | None = None
) -> Observation:
    return Observation(sigma, m, nan, nan, split, splits or REWARD.splits)


def test_greedy_goes_where_the_reward_is_greatest() -> None:
    row = REWARD.rows(np.array([[1.0, 0.5]]))[0]
    action = GreedyPolicy(REWARD).decide(seen())
    assert (action.split, action.reason) == (row.argmax(), "policy")
    assert action.value == row.max()
    assert GreedyPolicy(REWARD, 1).decide(seen(split=6)).split == 5
    assert GreedyPolicy(REWARD, move_cost=1.0).decide(seen(split=6)).split == 6
    assert GreedyPolicy(REWARD).decide(seen(splits=LayerRange(4, 6))).split == 4
    assert GreedyPolicy(REWARD, 1).decide(seen(split=0, splits=LayerRange(4, 6))).split == 4


def test_greedy_keeps_the_split_among_equals() -> None:
    flat = small_reward(0.0)  # and no noise
    assert GreedyPolicy(flat).decide(seen(0.0, inf, split=5)).split == 5
    assert OptimalPolicy(flat).decide(seen(0.0, inf, split=5)).split == 5


def test_the_optimum_looks_ahead() -> None:
    """Moving pays only after some steps: the more steps, the more it is worth."""
    at_once = OptimalPolicy(REWARD, 1, move_cost=0.4, steps=1).decide(seen(2.0, 1.0, split=1))
    ahead = OptimalPolicy(REWARD, 1, move_cost=0.4, steps=9).decide(seen(2.0, 1.0, split=1))
    assert (at_once.split, ahead.split) == (1, 2)
    assert OptimalPolicy(REWARD, 2).decide(seen(2.0, 1.0, split=0)).split == 2


def test_random_is_seeded_and_uniform() -> None:
    def moves(seed: int) -> list[int]:
        policy = RandomPolicy(2, seed)
        return [policy.decide(seen()).split - 3 for _ in range(2000)]

    assert moves(1) == moves(1) != moves(2)
    assert np.bincount(np.array(moves(1)) + 2) == pytest.approx([400] * 5, abs=80)
    assert RandomPolicy(1, 7).name == "random:7"


@pytest.mark.parametrize("policy", [GreedyPolicy(REWARD), OptimalPolicy(REWARD)])
def test_what_is_served_is_checked(policy: Policy) -> None:
    assert policy.decide(seen(nan)).hold
    assert policy.decide(seen(1.0, nan)) == policy.decide(seen(1.0, inf))
    assert "edge" in policy.decide(seen(9.0)).reason
    assert policy.decide(seen(9.0)).split == policy.decide(seen(2.0)).split
    policy.check(ModelId("models/small", LAYERS))
    with pytest.raises(ModelMismatchError, match="small"):
        policy.check(ModelId("other", LAYERS))
    with pytest.raises(PolicyError, match="covers splits"):
        policy.decide(seen(splits=LayerRange(9, 12)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomPolicy(0),
        lambda: RandomPolicy(1, -1),
        lambda: GreedyPolicy(REWARD, 0),
        lambda: GreedyPolicy(REWARD, move_cost=nan),
        lambda: OptimalPolicy(REWARD, 0),
        lambda: OptimalPolicy(REWARD, move_cost=-1.0),
        lambda: OptimalPolicy(REWARD, steps=0),
    ],
)
def test_parameters_are_checked(make: object) -> None:
    with pytest.raises(InputError):
        make()  # type: ignore[operator]


def test_the_endless_optimum_solves_bellmans_equation() -> None:
    gamma, moves = 0.9, (-1, 0, 1)
    rows = REWARD.rows(np.array([[0.5, 0.25], [2.0, 1.0]]))
    process = Process(rows, moves, 0.05)
    actions = process.endless_actions(gamma)
    for channel in range(2):  # values of this very policy, by linear algebra
        n = LAYERS + 1
        follow, paid = np.zeros((n, n)), np.zeros(n)
        for split in range(n):
            there = process.reach[split, actions[channel, split]]
            follow[split, there] = 1
            paid[split] = rows[channel, there] - 0.05 * abs(there - split)
        values = np.linalg.solve(np.eye(n) - gamma * follow, paid)
        for split in range(n):
            ways = [rows[channel, t] - 0.05 * abs(t - split) + gamma * values[t]
                    for t in process.reach[split]]  # fmt: skip
            assert values[split] == pytest.approx(max(ways), abs=1e-5)
    for wrong in (-0.1, 1.0):
        with pytest.raises(ValueError, match="gamma"):
            process.endless_actions(wrong)


def test_a_discount_of_nothing_is_greed() -> None:
    scorer = Scorer.of(REWARD, held(max_move=1), 5)
    channels = scorer.grid.states[:, :2]
    greedy = Process(REWARD.rows(channels), (-1, 0, 1)).first_actions(1)
    np.testing.assert_array_equal(scorer.process.endless_actions(0.0), greedy)
    assert scorer.endless_return(0.0) <= scorer.optimal


def test_the_authors_setting_does_not_pay_a_long_sight() -> None:
    """Value iteration's numbers of docs/policy.md."""
    reward = PublishedReward.load(published(".safetensors"))
    config = EnvironmentConfig(case=Case.RELEASED, max_move=1, dynamics=ReleasedDrift())
    scorer = Scorer.of(reward, config)
    span = scorer.optimal - scorer.random
    found = [(scorer.endless_return(g) - scorer.random) / span for g in (0.99, 0.9, 0.7)]
    assert found == pytest.approx([0.68, 0.865, 0.975], abs=0.01)
