"""What there was to gain: dynamic programming beside enumeration, and what the table covers."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controller.learning.reward import RewardForm
from controller.registry import DEFAULT_TABLE
from controller.table import PerplexityTable
from experiments.live_headroom import Valuation, headrooms, to_markdown
from experiments.live_plan import CLEAN, Plan

LAYERS, FRAMES = 16, 256
TABLE = PerplexityTable.load(DEFAULT_TABLE)


def plan(**changes: Any) -> Plan:
    values: dict[str, Any] = {
        "policies": ("threshold", "fixed:2"),
        "scenarios": ("burst", "swell", "flicker"),
        "seeds": (0,),
        "reference": "threshold",
    }
    return Plan(**{**values, **changes})


def record(scenario: str, policy: str, split: int) -> dict[str, Any]:
    course = [{"tokens": 8, "split": split} for _ in range(FRAMES)]
    return {"scenario": scenario, "policy": policy, "seed": 0, "course": course}


def records(chosen: Plan, split: int = 8) -> list[dict[str, Any]]:
    runs = [(CLEAN, "fixed:0"), *product(chosen.scenarios, chosen.policies)]
    return [record(scenario, policy, split) for scenario, policy in runs]


@pytest.mark.parametrize("form", [RewardForm.SHARE, RewardForm.LOG])
@pytest.mark.parametrize("max_move", [1, 3])
def test_the_known_channel_is_the_least_of_all_ways(form: RewardForm, max_move: int) -> None:
    rng = np.random.default_rng(3)
    chosen = plan(form=form, cost_weight=0.7, decision_interval_tokens=4)
    tokens = np.full(10, 2)  # five looks, each after two frames
    value = Valuation(chosen, 1.0, tokens, 1.0 + 2 * rng.random((10, 4)))
    least = min(
        value.objective(np.repeat([2, *way], 2))
        for way in product(range(4), repeat=4)
        if max(np.abs(np.diff([2, *way]))) <= max_move
    )
    assert value.known(2, max_move) == pytest.approx(least, abs=1e-12)


def test_an_objective_by_hand() -> None:
    value = Valuation(plan(), 1.0, np.array([1, 3]), np.array([[1.0, 9.0], [9.0, 2.0]]))
    expected = 1 - np.exp(1.0 - (1 * 1.0 + 3 * 2.0) / 4) + 0.1 * 3 / 4
    assert value.objective(np.array([0, 1])) == pytest.approx(expected)


def test_the_bounds_are_in_order_and_a_held_split_is_worth_what_it_is() -> None:
    found = headrooms(plan(), records(plan()))
    assert [one.scenario for one in found] == ["burst", "swell", "flicker"]
    for one in found:
        assert one.free <= one.bound < one.fixed <= one.policies["threshold"]
    assert [one.fixed_split for one in found[1:]] == [14, 6]
    best = headrooms(plan(scenarios=("swell",)), records(plan(scenarios=("swell",)), 14))
    assert best[0].policies["threshold"] == best[0].fixed == found[1].fixed


def test_frames_meet_the_channel_as_configured() -> None:
    """The first half of flicker's phases is at 0.25, the other at 2, with no fading."""
    short = plan(scenarios=("flicker",), max_tokens=8 * FRAMES)
    (one,) = headrooms(short, records(short, 5))
    calm, noise = (TABLE.row(sigma, np.inf)[5] for sigma in (0.25, 2.0))
    nll = np.mean([calm, noise])
    expected = 1 - np.exp(TABLE.clean_nll - nll) + 0.1 * 5 / LAYERS
    assert one.policies["threshold"] == pytest.approx(expected, abs=2e-3)


def test_what_the_table_does_not_cover_is_left_out(tmp_path: Path) -> None:
    loud = tmp_path / "loud.toml"
    loud.write_text('[channel]\npreset = "awgn"\nsigma = 9\n[[phase]]\nduration_s = 5\n')
    chosen = plan(scenarios=("pedestrian", str(loud), "swell"))
    assert [one.scenario for one in headrooms(chosen, records(chosen))] == ["swell"]
    held = plan(policies=("fixed:2",), reference="fixed:2")
    assert headrooms(held, records(held)) == []


def test_another_model_has_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.live_headroom.Checkpoint.fingerprint", "another")
    assert headrooms(plan(), records(plan())) == []


def test_the_section_says_that_it_was_calculated() -> None:
    page = to_markdown(headrooms(plan(), records(plan())))
    assert "Calculated, not run" in page
    assert "| burst |" in page
    assert "(p = 14)" in page
    assert to_markdown([]) == ""
