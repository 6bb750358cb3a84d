"""From runs to a comparison: means with intervals, differences seed by seed, tables. Pure.

Intervals are 95 % of Student's t over the channel's seeds. Differences are taken within a seed,
where both policies met the same channel, and only then averaged.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, isfinite, nan, sqrt
from typing import Any

import numpy as np

from controller.learning.reward import RewardForm
from experiments.live_plan import CLEAN, FIXED, Plan

CONFIDENCE = 0.95

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over seeds, and how sure it is. The half-width is NaN of one seed."""

    mean: float
    half_width: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval:
        """Raises: ValueError: no values."""
        if not values:
            raise ValueError("no values")
        mean = float(np.mean(values))
        if len(values) < 2:
            return cls(mean, nan)
        from scipy import stats

        quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
        return cls(mean, quantile * float(np.std(values, ddof=1)) / sqrt(len(values)))

    def text(self, form: str) -> str:
        """As people read it, e.g. 1.2 ± 0.3."""
        mean = form.format(self.mean)
        return f"{mean} ± {form.format(self.half_width)}" if isfinite(self.half_width) else mean


@dataclass(frozen=True, slots=True)
class Metric:
    """One column of the comparison."""

    name: str
    heading: str
    form: str


METRICS = (
    Metric("objective", "objective (Eq. 8)", "{:.4f}"),
    Metric("perplexity", "perplexity", "{:.2f}"),
    Metric("mean_split", "mean p", "{:.2f}"),
    Metric("ue_gflops", "UE GFLOPs (Eq. 2)", "{:.2f}"),
    Metric("ue_gflops_counted", "UE GFLOPs (counted)", "{:.2f}"),
    Metric("ms_p50", "ms per token, p50", "{:.2f}"),
    Metric("ms_p95", "p95", "{:.2f}"),
    Metric("air_ms_p50", "of it on the air, p50", "{:.2f}"),
    Metric("switches", "switches", "{:.1f}"),
    Metric("handoff_mb", "K/V moved, MB", "{:.3f}"),
)


def quality_cost(form: RewardForm, nll: float, clean_nll: float) -> float:
    """The first part of Eq. 8 of a whole run, 0 on a clean channel; NLLs per token, in nats."""
    match form:
        case RewardForm.SHARE:
            return 1 - exp(clean_nll - nll)
        case RewardForm.LOG:
            return nll - clean_nll
        case RewardForm.PERPLEXITY:
            return exp(nll) - exp(clean_nll)


def metrics(plan: Plan, record: Record, clean_nll: float) -> dict[str, float]:
    """The `METRICS` of one run."""
    nll = record["nll_sum"] / record["tokens"]
    compute = record["mean_split"] / record["layers"]
    return {
        "objective": quality_cost(plan.form, nll, clean_nll) + plan.cost_weight * compute,
        "perplexity": exp(nll),
        "mean_split": record["mean_split"],
        "ue_gflops": record["ue_flops"] / 1e9,
        "ue_gflops_counted": record["ue_flops_counted"] / 1e9,
        "ms_p50": record["ms_per_token"]["p50"],
        "ms_p95": record["ms_per_token"]["p95"],
        "air_ms_p50": record["air_ms_per_token"]["p50"],
        "switches": record["switches"],
        "handoff_mb": record["handoff_bytes"] / 1e6,
    }


@dataclass(frozen=True, slots=True)
class Row:
    """One policy on one scenario."""

    scenario: str
    policy: str
    seeds: int
    best_fixed: bool
    """Of the fixed splits that were run, the one of the least mean objective: picked afterwards, on
    these very runs, which no policy could."""

    values: Mapping[str, Interval]
    differences: Mapping[str, Interval]
    """To the reference, seed by seed; positive: this policy has more."""

    @property
    def label(self) -> str:
        return f"{self.policy} (best fixed)" if self.best_fixed else self.policy


def clean_nll(records: Sequence[Record]) -> float:
    """NLL per token without a channel: what the model itself says of the text."""
    (clean,) = (record for record in records if record["scenario"] == CLEAN)
    return float(clean["nll_sum"] / clean["tokens"])


def summarise(plan: Plan, records: Sequence[Record]) -> list[Row]:
    """A row for each scenario and policy, in the plan's order."""
    clean = clean_nll(records)
    found = {(r["scenario"], r["policy"], r["seed"]): metrics(plan, r, clean) for r in records}
    rows = []
    for scenario in plan.scenarios:
        runs = {p: [found[scenario, p, seed] for seed in plan.seeds] for p in plan.policies}
        best = best_fixed({p: [run["objective"] for run in runs[p]] for p in runs})
        for policy in plan.policies:
            pairs = list(zip(runs[policy], runs[plan.reference], strict=True))
            rows.append(
                Row(
                    scenario=scenario,
                    policy=policy,
                    seeds=len(plan.seeds),
                    best_fixed=policy == best,
                    values={
                        m.name: Interval.of([run[m.name] for run in runs[policy]]) for m in METRICS
                    },
                    differences={
                        m.name: Interval.of([a[m.name] - b[m.name] for a, b in pairs])
                        for m in METRICS
                    },
                )
            )
    return rows


def best_fixed(objectives: Mapping[str, Sequence[float]]) -> str | None:
    """Of the policies that hold one split, that of the least mean objective; None without any."""
    fixed = {p: float(np.mean(v)) for p, v in objectives.items() if p.startswith(FIXED)}
    return min(fixed, key=lambda policy: fixed[policy]) if fixed else None


def to_csv(rows: Sequence[Row]) -> str:
    """One line per scenario and policy: each metric's mean and half-width, and its difference's."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = [
        column
        for m in METRICS
        for column in (m.name, f"{m.name}_ci", f"{m.name}_diff", f"{m.name}_diff_ci")
    ]
    writer.writerow(["scenario", "policy", "seeds", "best_fixed", *columns])
    for row in rows:
        cells = [
            f"{number:.6g}" if isfinite(number) else ""
            for m in METRICS
            for interval in (row.values[m.name], row.differences[m.name])
            for number in (interval.mean, interval.half_width)
        ]
        writer.writerow([row.scenario, row.policy, row.seeds, int(row.best_fixed), *cells])
    return out.getvalue()


def course_csv(plan: Plan, records: Sequence[Record]) -> str:
    """What the picture draws over the tokens: each policy's split under the first seed, and the
    channel's truth. Noise that is set by an SNR follows the split: then it is the first policy's.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    moving = [policy for policy in plan.policies if not policy.startswith(FIXED)] or plan.policies
    writer.writerow(["scenario", "seed", "tokens", "sigma", "loss", *(f"p {p}" for p in moving)])
    found = {(r["scenario"], r["policy"], r["seed"]): r["course"] for r in records}
    for scenario in plan.scenarios:
        courses = [found[scenario, policy, plan.seeds[0]] for policy in moving]
        tokens = 0
        for frames in zip(*courses, strict=True):
            tokens += frames[0]["tokens"]
            channel = (frames[0]["sigma"], frames[0]["loss"])
            splits = (frame["split"] for frame in frames)
            writer.writerow([scenario, plan.seeds[0], tokens, *channel, *splits])
    return out.getvalue()


def to_markdown(plan: Plan, rows: Sequence[Row], clean: float) -> str:
    """A page with a table for each scenario."""
    parts = [
        "# Policies side by side, live\n",
        f"{plan.model}, {plan.max_tokens} tokens of {plan.dataset} in windows of {plan.window}, "
        f"frames of {plan.chunk}; perplexity without a channel {exp(clean):.2f}. Objective: "
        f"{_objective(plan)}. A decision every {plan.decision_interval_tokens} tokens, "
        f"{plan.confirmations} look(s) in a row to move. Channel seeds "
        f"{', '.join(map(str, plan.seeds))}; ± is the half-width of a {CONFIDENCE:.0%} interval of "
        f"Student's t over them. Difference: to {plan.reference}, seed by seed; below 0 is better. "
        "Best fixed: picked afterwards among the fixed splits that were run.\n",
    ]
    for scenario in plan.scenarios:
        parts += [f"## {scenario}\n", _table([r for r in rows if r.scenario == scenario])]
    return "\n".join(parts)


def _objective(plan: Plan) -> str:
    form = {
        RewardForm.SHARE: "1 - PPL_clean/PPL",
        RewardForm.LOG: "NLL - NLL_clean",
        RewardForm.PERPLEXITY: "PPL - PPL_clean",
    }[plan.form]
    return f"{form} + {plan.cost_weight:g} p/L, of the whole run"


def _table(rows: Sequence[Row]) -> str:
    head = ["policy", METRICS[0].heading, "difference", *(m.heading for m in METRICS[1:])]
    lines = [head, ["---"] * len(head)]
    for row in sorted(rows, key=lambda row: row.values["objective"].mean):
        objective, *others = METRICS
        lines.append(
            [
                row.label,
                row.values["objective"].text(objective.form),
                row.differences["objective"].text("{:+.4f}").replace("± +", "± "),
                *(row.values[m.name].text(m.form) for m in others),
            ]
        )
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
