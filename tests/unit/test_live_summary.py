"""From runs to a comparison: numbers that can be worked out by hand."""

from __future__ import annotations

import csv
import io
from math import e, exp, inf, isnan, log
from typing import Any

import pytest

from controller.learning.reward import RewardForm
from experiments import live_plots, live_summary
from experiments.live_plan import CLEAN, Plan
from experiments.live_summary import (
    Interval,
    best_fixed,
    course_csv,
    quality_cost,
    summarise,
    to_csv,
)

PLAN = Plan(
    policies=("threshold", "fixed:2", "fixed:8"),
    scenarios=("burst",),
    seeds=(0, 1),
    reference="threshold",
    cost_weight=0.5,
    form=RewardForm.LOG,
)


def record(scenario: str, policy: str, seed: int, nll: float, split: float) -> dict[str, Any]:
    frame = {"tokens": 10, "split": split, "scored": 10, "nll_sum": nll, "sigma": 0.5, "loss": 0.0}
    return {
        "scenario": scenario,
        "policy": policy,
        "seed": seed,
        "layers": 16,
        "tokens": 100,
        "nll_sum": 100 * nll,
        "mean_split": split,
        "ue_flops": 1e9 * split,
        "ue_flops_counted": 3e9 * split,
        "ms_per_token": {"p50": 2.0, "p95": 3.0},
        "air_ms_per_token": {"p50": 0.5, "p95": 0.5},
        "switches": 3 + seed,
        "handoff_bytes": 1_000_000,
        "course": [frame, frame],
    }


RECORDS = [
    record(CLEAN, "fixed:0", 0, 4.0, 0),
    *(record("burst", "threshold", seed, 4.2 + 0.2 * seed, 4) for seed in (0, 1)),
    *(record("burst", "fixed:2", seed, 4.5 + 0.2 * seed, 2) for seed in (0, 1)),
    *(record("burst", "fixed:8", seed, 4.1 + 0.2 * seed, 8) for seed in (0, 1)),
]


def test_an_interval_is_students() -> None:
    found = Interval.of([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.half_width == pytest.approx(4.302653 * 1 / 3**0.5, rel=1e-6)
    assert found.text("{:.1f}") == "2.0 ± 2.5"
    one = Interval.of([1.0])
    assert isnan(one.half_width)
    assert one.text("{:.1f}") == "1.0"


@pytest.mark.parametrize(
    ("form", "cost"),
    [
        (RewardForm.SHARE, 1 - 1 / e),
        (RewardForm.LOG, 1.0),
        (RewardForm.PERPLEXITY, e**3 - e**2),
    ],
)
def test_costs_of_a_nat_more(form: RewardForm, cost: float) -> None:
    assert quality_cost(form, 3.0, 2.0) == pytest.approx(cost)
    assert quality_cost(form, 2.0, 2.0) == 0


def test_objectives_and_paired_differences() -> None:
    threshold, early, late = summarise(PLAN, RECORDS)
    # LOG: the nats above clean, and lambda p/L.
    assert threshold.values["objective"].mean == pytest.approx(0.3 + 0.5 * 4 / 16)
    assert early.values["objective"].mean == pytest.approx(0.6 + 0.5 * 2 / 16)
    assert threshold.values["objective"].half_width > 1, "seeds differ by 0.2"
    assert early.differences["objective"].mean == pytest.approx(0.3 - 0.5 * 2 / 16)
    assert early.differences["objective"].half_width == pytest.approx(0, abs=1e-9)
    assert threshold.values["switches"].mean == 3.5
    assert late.values["perplexity"].mean == pytest.approx((exp(4.1) + exp(4.3)) / 2)
    assert late.values["ue_gflops"].mean == 8.0
    assert late.values["ue_gflops_counted"].mean == 24.0


def test_lambda_and_form_change_the_objective() -> None:
    def objective(**changes: Any) -> float:
        values = {name: getattr(PLAN, name) for name in PLAN.__dataclass_fields__}
        rows = summarise(Plan(**{**values, **changes}), RECORDS)
        return rows[0].values["objective"].mean

    assert objective(cost_weight=1.0) - objective() == pytest.approx(0.5 * 4 / 16)
    assert objective(form=RewardForm.SHARE) < objective() < objective(form=RewardForm.PERPLEXITY)


def test_the_best_fixed_split_is_that_of_the_least_mean_objective() -> None:
    assert best_fixed({"ppo": [0.0], "fixed:2": [1, 3], "fixed:8": [2.5, 1]}) == "fixed:8"
    assert best_fixed({"ppo": [0.0]}) is None
    labels = [row.label for row in summarise(PLAN, RECORDS)]
    assert labels == ["threshold", "fixed:2", "fixed:8 (best fixed)"]


def test_another_reference_turns_the_sign() -> None:
    values = {name: getattr(PLAN, name) for name in PLAN.__dataclass_fields__}
    rows = summarise(Plan(**{**values, "reference": "fixed:2"}), RECORDS)
    assert rows[0].differences["objective"].mean == pytest.approx(-0.3 + 0.5 * 2 / 16)


def test_the_csv_has_every_number() -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(summarise(PLAN, RECORDS)))))
    assert [line["policy"] for line in lines] == ["threshold", "fixed:2", "fixed:8"]
    assert float(lines[2]["objective"]) == pytest.approx(0.2 + 0.25)
    assert (lines[2]["best_fixed"], lines[2]["seeds"]) == ("1", "2")
    assert all(inf > float(value) for key, value in lines[0].items() if key.endswith("_ci"))


def test_the_page_says_what_it_rests_on() -> None:
    rows = summarise(PLAN, RECORDS)
    page = live_summary.to_markdown(PLAN, rows, log(50.0))
    for words in ("NLL - NLL_clean + 0.5 p/L", "50.00", "seeds 0, 1", "fixed:8 (best fixed)"):
        assert words in page
    first, *_ = [line for line in page.splitlines() if line.startswith("| ") and "±" in line]
    assert first.startswith("| threshold "), "the least objective comes first"


def test_the_courses_of_the_first_seed_are_written_down() -> None:
    lines = list(csv.DictReader(io.StringIO(course_csv(PLAN, RECORDS))))
    first = {"scenario": "burst", "seed": "0", "tokens": "10", "sigma": "0.5", "loss": "0.0"}
    assert lines == [{**first, "p threshold": "4"}, {**first, "tokens": "20", "p threshold": "4"}]
    held = Plan(
        policies=("fixed:2", "fixed:8"), scenarios=("burst",), seeds=(1,), reference="fixed:2"
    )
    assert course_csv(held, RECORDS).splitlines()[0].endswith(",p fixed:2,p fixed:8")


def test_the_picture_is_a_png() -> None:
    png = live_plots.draw(PLAN, summarise(PLAN, RECORDS), RECORDS)
    assert png.startswith(b"\x89PNG")
