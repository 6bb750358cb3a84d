"""From `--policy` to a policy that plans, learned, or rolls dice."""

from __future__ import annotations

from math import inf, nan
from pathlib import Path

import pytest

from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from controller.policy import ModelId, Observation, Policy
from controller.registry import DEFAULT_DIRECTORY, parse_policy

TABLE = DEFAULT_DIRECTORY / "table.json"


def split(policy: Policy | str, sigma: float = 2.0, at: int = 1) -> int:
    policy = parse_policy(policy) if isinstance(policy, str) else policy
    return policy.decide(Observation(sigma, inf, nan, nan, at, LayerRange(0, 17))).split


def test_greedy_goes_where_the_table_says_and_optimal_on_the_way_there() -> None:
    aim = split("greedy")
    assert aim > 8
    assert split("optimal", at=1) == 3
    assert split("optimal,moves=4", at=1) == 5
    assert split("greedy,moves=2", at=1) == 3
    assert split("optimal,moves=16", at=1) == aim


def test_the_embedded_table_is_the_default() -> None:
    assert split(f"greedy:{TABLE}") == split("greedy")
    assert parse_policy(f"greedy:{TABLE}").name == f"greedy:{TABLE}"


def test_every_option_changes_where_it_goes() -> None:
    assert split("greedy,lambda=2") < split("greedy,lambda=0.1") < split("greedy,lambda=0")
    assert split("greedy,form=share,lambda=1") < split("greedy,form=perplexity,lambda=1")
    assert split("greedy,move-cost=1") == 1 < split("greedy,move-cost=0")


def test_a_folder_is_a_trained_policy() -> None:
    for text in (str(DEFAULT_DIRECTORY), f"ppo:{DEFAULT_DIRECTORY}"):
        assert split(text) == split("ppo") == 3
        assert parse_policy(text).name == text


def test_random_repeats_by_its_seed() -> None:
    def course(text: str) -> list[int]:
        policy = parse_policy(text)
        return [split(policy, at=8) for _ in range(20)]

    assert course("random:1") == course("random:1") != course("random:2")
    assert course("random") == course("random:0")
    assert max(course("random,moves=1")) == 9
    assert max(course("random,moves=3")) == 11


def test_a_policy_that_plans_knows_its_model() -> None:
    with pytest.raises(Exception, match="airsplit-tiny"):
        parse_policy("optimal").check(ModelId("another", 16))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a2c", "'a2c' is not allowed"),
        ("", "'' is not allowed"),
        ("dqn:", "'dqn:' is not allowed"),
        ("random:x", "'random:x' is not allowed"),
        ("random,moves=0", "moves: '0'"),
        ("random,lambda=1", "option: 'lambda=1'"),
        ("greedy,moves", "option: 'moves'"),
        ("greedy,moves=1,moves=2", "option: 'moves=2'"),
        ("greedy,lambda=x", "lambda: 'x'"),
        ("greedy,lambda=-1", "--lambda"),
        ("greedy,form=nice", "form: 'nice'"),
        ("optimal,moves=1.5", "moves: '1.5'"),
        ("optimal:nowhere.json", "nowhere.json: cannot be read"),
        ("greedy:nowhere.pth,lambda=1", "a published reward has its own"),
    ],
)
def test_what_is_wrong_is_named(text: str, why: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_policy(text)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text("{}")
    with pytest.raises(InputError, match="format: "):
        parse_policy(f"greedy:{path}")
