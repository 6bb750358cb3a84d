"""Fixed and threshold policies, the governor, and the values of --policy, with exact numbers."""

from __future__ import annotations

import json
from math import inf, nan
from pathlib import Path

import pytest

from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from controller.policy import FixedPolicy, Observation, ThresholdPolicy, clamp
from controller.registry import parse_policy

ALL = LayerRange(0, 17)


def seen(
    sigma: float = 0.0,
    m: float = inf,
    snr_db: float = inf,
    split: int = 4,
    splits: LayerRange = ALL,
) -> Observation:
    return Observation(sigma, m, 0.0, snr_db, split, splits)


def test_clamp_keeps_within_the_half_open_range() -> None:
    assert [clamp(p, LayerRange(2, 9)) for p in (0, 2, 5, 8, 9)] == [2, 2, 5, 8, 8]


def test_fixed_policy_is_clamped() -> None:
    assert FixedPolicy(3).decide(seen()).split == 3
    assert FixedPolicy(30).decide(seen(splits=LayerRange(1, 9))).split == 8


@pytest.mark.parametrize(
    ("sigma", "split"), [(0, 1), (0.49, 1), (0.5, 6), (1.99, 6), (2, 11), (1e9, 11)]
)
def test_threshold_policy_is_a_staircase(sigma: float, split: int) -> None:
    policy = ThresholdPolicy("sigma", (0.5, 2.0), (1, 6, 11))
    assert policy.decide(seen(sigma)).split == split


def test_threshold_policy_on_snr_falls() -> None:
    policy = ThresholdPolicy("snr_db", (0.0, 10.0), (12, 6, 2))
    found = [policy.decide(seen(snr_db=snr)).split for snr in (-5, 0, 9.9, 10, inf)]
    assert found == [12, 6, 6, 2, 2]


@pytest.mark.parametrize("measure", ["sigma", "snr_db"])
def test_threshold_policy_holds_where_nothing_is_known(measure: str) -> None:
    policy = ThresholdPolicy(measure, (1.0,), (5, 5))
    action = policy.decide(seen(sigma=nan, snr_db=nan, split=7))
    assert (action.split, action.hold, action.reason) == (7, True, f"held: {measure} is not known")


@pytest.mark.parametrize(
    ("measure", "thresholds", "splits", "field"),
    [
        ("loss", (1.0,), (1, 2), "measure"),
        ("sigma", (1.0, 1.0), (1, 2, 3), "thresholds"),
        ("sigma", (nan,), (1, 2), "thresholds"),
        ("sigma", (1.0,), (1,), "splits"),
        ("sigma", (1.0,), (2, 1), "splits"),
        ("sigma", (1.0,), (-1, 1), "splits"),
        ("snr_db", (1.0,), (1, 2), "splits"),
    ],
)
def test_threshold_table_has_to_be_monotone(
    measure: str, thresholds: tuple[float, ...], splits: tuple[int, ...], field: str
) -> None:
    with pytest.raises(InputError, match=f"^{field}: "):
        ThresholdPolicy(measure, thresholds, splits)


def test_policy_values(tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    record = {"measure": "sigma", "thresholds": [0.5, 2], "splits": [2, 6, 10]}
    table.write_text(json.dumps(record))
    assert parse_policy("fixed:5") == FixedPolicy(5)
    assert parse_policy("threshold") == ThresholdPolicy()
    assert parse_policy(f"threshold:{table}") == ThresholdPolicy("sigma", (0.5, 2.0), (2, 6, 10))
    assert parse_policy("ppo").name == "ppo"


@pytest.mark.parametrize(
    "text", ["", "fixed", "fixed:", "fixed:-1", "fixed:x", "threshold:", "ppo:", "dqn", "Fixed:1"]
)
def test_unknown_policy_values_name_what_is_allowed(text: str) -> None:
    with pytest.raises(InputError, match=r"^--policy: .* allowed: fixed:P, threshold"):
        parse_policy(text)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read"),
        ("{", "is not JSON"),
        ("[]", "keys"),
        ('{"measure": "sigma", "splits": [1]}', "keys"),
        ('{"measure": "sigma", "thresholds": ["x"], "splits": [1, 2]}', "could not convert"),
        ('{"measure": "sigma", "thresholds": [1], "splits": [2, 1]}', "splits"),
    ],
)
def test_bad_threshold_files_are_named(tmp_path: Path, content: str | None, why: str) -> None:
    path = tmp_path / "table.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=why) as caught:
        parse_policy(f"threshold:{path}")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
