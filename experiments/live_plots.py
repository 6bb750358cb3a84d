"""A live comparison as a picture: the split of each policy over the channel, and its objective."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.live_plan import FIXED, Plan
from experiments.live_summary import Row
from experiments.plots import STYLE

COLORS = ("#2a6fb0", "#ee8833", "#228866", "#aa6699", "#ddbb33", "#55a0c8", "#885533")
FIXED_COLOR = "#9aa3ae"


def draw(plan: Plan, rows: Sequence[Row], records: Sequence[Mapping[str, Any]]) -> bytes:
    """A PNG: one line of pictures per scenario; splits are those of the first seed."""
    with mpl.rc_context(STYLE):
        height = 3.4 * len(plan.scenarios)
        figure = Figure(figsize=(11.0, height), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(plan.scenarios), 2, squeeze=False, width_ratios=(2, 1))
        for scenario, (course, objective) in zip(plan.scenarios, grid, strict=True):
            mine = [r for r in records if (r["scenario"], r["seed"]) == (scenario, plan.seeds[0])]
            _splits(course, plan, mine)
            course.set_title(f"{scenario}, channel seed {plan.seeds[0]}", loc="left")
            _objectives(objective, plan, [row for row in rows if row.scenario == scenario])
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def color_of(plan: Plan, policy: str) -> str:
    """One colour per policy; fixed splits share one."""
    moving = [name for name in plan.policies if not name.startswith(FIXED)]
    return COLORS[moving.index(policy) % len(COLORS)] if policy in moving else FIXED_COLOR


def _splits(axes: Axes, plan: Plan, records: Sequence[Mapping[str, Any]]) -> None:
    """p over the text, and behind it what the channel did."""
    for record in records:
        if record["policy"].startswith(FIXED):
            continue
        course = record["course"]
        ends = np.cumsum([frame["tokens"] for frame in course])
        splits = [frame["split"] for frame in course]
        label, color = record["policy"], color_of(plan, record["policy"])
        axes.step(ends, splits, where="pre", color=color, lw=1.6, alpha=0.85, label=label)
    if records:
        _channel(axes, records[0])
        axes.set_ylim(-0.5, records[0]["layers"] + 0.5)
    axes.set_ylabel("split p")
    axes.set_xlabel("tokens")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", fontsize=7)


def _channel(axes: Axes, record: Mapping[str, Any]) -> None:
    """Loss where elements are lost and there is no noise, else σ as the radio applied it.

    Noise that is set by an SNR follows the signal, and so the split: then it is this run's.
    """
    course = record["course"]
    ends = np.cumsum([frame["tokens"] for frame in course])
    noisy = any(isinstance(f["sigma"], float) and f["sigma"] > 0 for f in course)
    key, label = ("sigma", "noise σ") if noisy else ("loss", "loss")
    values = [f[key] if isinstance(f[key], int | float) else np.nan for f in course]
    behind = axes.twinx()
    behind.fill_between(ends, values, step="pre", color="#c9d2dc", alpha=0.5, lw=0)
    behind.set_ylabel(label, color="#5b6675")
    behind.set_ylim(bottom=0)
    behind.grid(visible=False)
    axes.set_zorder(behind.get_zorder() + 1)
    axes.patch.set_visible(False)


def _objectives(axes: Axes, plan: Plan, rows: Sequence[Row]) -> None:
    """Mean objective over mean p, with its interval; fixed splits in one line."""
    points = {row.policy: (row.values["mean_split"].mean, row.values["objective"]) for row in rows}
    for policy, (p, objective) in points.items():
        width, size = np.nan_to_num(objective.half_width), 3 if policy.startswith(FIXED) else 6
        color = color_of(plan, policy)
        axes.errorbar(p, objective.mean, yerr=width, fmt="o", color=color, ms=size, capsize=2)
    held = sorted((p, y.mean) for policy, (p, y) in points.items() if policy.startswith(FIXED))
    if held:
        axes.plot(*zip(*held, strict=True), color=FIXED_COLOR, lw=1, label="fixed splits")
        axes.legend(loc="upper right", fontsize=7)
    moving = [y.mean for policy, (_, y) in points.items() if not policy.startswith(FIXED)]
    if held and moving:  # under noise the least splits are worse by far, and of no interest
        least = min(y for _, y in held)
        top = max(*moving, least)
        axes.set_ylim(top=top + 0.3 * (top - min(*moving, least)))
    axes.set_xlabel("mean p")
    axes.set_ylabel("objective (Eq. 8), less is better")
