"""Recorded frames as pictures over time: channel, split, perplexity, latency. PNG files.

Rows are those of `experiments.report`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from airsplit.telemetry import STAGES
from experiments.report import STAGE_COLORS, Row, stage_name

BIN_S = 1.0
"""Latency is taken over bins of at least this length, seconds."""

MOST_BINS = 120

SESSION_COLORS = ("#2a6fb0", "#ee8833", "#228866", "#aa6699")

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a94a3",
    "axes.labelcolor": "#333b47",
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e3e7ec",
    "grid.linewidth": 0.7,
    "xtick.color": "#5b6675",
    "ytick.color": "#5b6675",
    "legend.frameon": False,
    "legend.fontsize": 9,
}


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the time axis with a name, shaded in every plot."""

    name: str
    start_s: float
    stop_s: float
    color: str


def draw(
    plot: Callable[..., None], rows: Sequence[Row], spans: Sequence[Span], **args: Any
) -> bytes:
    """A PNG of one of the plots below; `args` are its own."""
    height = 4.6 if plot is channel else 3.6
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.6, height), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        plot(figure, rows, **args)
        for index, axes in enumerate(figure.axes):
            _shade(axes, spans, named=index == 0)
        figure.axes[-1].set_xlabel("time, s")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def channel(figure: Figure, rows: Sequence[Row]) -> None:
    """Noise and fading: what the radio was set to, and what the receiver estimated per frame."""
    seen = [row for row in rows if row["channel"] and row.get("configured")]
    time = [row["time_s"] for row in seen]
    noise, fading = figure.subplots(2, 1, sharex=True)
    for axes, key, label in ((noise, "sigma", "noise σ"), (fading, "m", "Nakagami m")):
        for session, color in _sessions(seen).items():
            mine = [row for row in seen if row["session"] == session]
            estimated = [_number(row["channel"]["estimate"][key]) for row in mine]
            name = f"estimated, {session}"
            at = [row["time_s"] for row in mine]
            axes.plot(at, estimated, ".", color=color, ms=3, alpha=0.5, label=name)
        set_ = [row["configured"].get(key, np.nan) for row in seen]
        axes.plot(time, set_, color="#1c2430", lw=1.6, label="set")
        _logarithmic(axes)
        axes.set_ylabel(label)
    _legend(figure, noise)


def split(figure: Figure, rows: Sequence[Row], layers: int) -> None:
    """p of every session, and where it moved."""
    axes = figure.subplots()
    for index, (session, color) in enumerate(_sessions(rows).items()):
        mine = [row for row in rows if row["session"] == session]
        time, at = [row["time_s"] for row in mine], [row["split"] for row in mine]
        width = max(4.0 - 2.4 * index, 1.0)  # where lines lie on each other both are seen
        axes.step(time, at, where="post", color=color, lw=width, alpha=0.8, label=session)
        moved = [row for row in mine if row["switch"]]
        axes.plot([r["time_s"] for r in moved], [r["split"] for r in moved], ".", color=color, ms=7)
    axes.set_ylim(-0.5, layers + 0.5)
    axes.set_yticks(range(0, layers + 1, max(1, layers // 8)))
    axes.set_ylabel(f"split p: layers at the UE, of {layers}")
    _legend(figure, axes)


def perplexity(figure: Figure, rows: Sequence[Row], window_s: float = 2.0) -> None:
    """Of the tokens scored in the `window_s` seconds before, against the unsplit model's."""
    scored = [row for row in rows if row.get("scored_tokens")]
    time = np.array([row["time_s"] for row in scored])
    tokens = _sums(scored, "scored_tokens")
    first = np.searchsorted(time, time - window_s)
    settled = time >= window_s / 2
    axes = figure.subplots()
    shown = []
    for key, color, label in (
        ("unsplit_nll_sum", "#8a94a3", "unsplit model, same tokens"),
        ("nll_sum", "#cc5544", "split over the radio"),
    ):
        sums = _sums(scored, key)
        count = tokens[1:] - tokens[first]
        shown.append(np.exp((sums[1:] - sums[first]) / np.maximum(count, 1))[settled])
        axes.plot(time[settled], shown[-1], color=color, lw=1.8, label=label)
    if settled.any() and np.max(shown) > 4 * np.min(shown):
        _logarithmic(axes)
    axes.set_ylabel(f"perplexity of the last {window_s:g} s")
    _legend(figure, axes)


def latency(figure: Figure, rows: Sequence[Row]) -> None:
    """Of generated tokens: median of each stage, stacked, and p95 of the whole."""
    told = [row for row in rows if row["task"] == "sample"]
    axes = figure.subplots()
    axes.set_ylabel("ms per story token")
    if not told:
        return
    time = np.array([row["time_s"] for row in told])
    bins = int(np.clip(np.ceil(time[-1] / BIN_S), 1, MOST_BINS))
    edges = np.linspace(0, max(time[-1], BIN_S), bins + 1)
    groups = np.clip(np.digitize(time, edges) - 1, 0, bins - 1)
    used = [index for index in range(bins) if np.any(groups == index)]
    at = (edges[used] + edges[np.array(used) + 1]) / 2

    def per_bin(key: str, measure: Callable[..., Any]) -> list[float]:
        values = np.array([row[key] for row in told])
        return [float(measure(values[groups == index])) for index in used]

    medians = [per_bin(f"{stage}_ms", np.median) for stage in STAGES]
    colors = [STAGE_COLORS[stage] for stage in STAGES]
    names = [stage_name(stage) for stage in STAGES]
    axes.stackplot(at, medians, labels=names, colors=colors)
    p95 = per_bin("total_ms", lambda values: np.percentile(values, 95))
    axes.plot(at, p95, color="#1c2430", lw=1, ls="--", label="p95 of all")
    # A few slow tokens must not flatten the rest: the highest p95 may leave the picture.
    axes.set_ylim(0, max(1.2 * float(np.median(p95)), 1.8 * float(np.sum(medians, axis=0).max())))
    _legend(figure, axes)


def _sessions(rows: Sequence[Row]) -> dict[str, str]:
    """A colour for each session."""
    names = sorted({row["session"] for row in rows})
    return {name: SESSION_COLORS[i % len(SESSION_COLORS)] for i, name in enumerate(names)}


def _legend(figure: Figure, axes: Axes) -> None:
    """Above the axes, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper right", ncols=7, markerscale=3, columnspacing=1.2
    )


def _logarithmic(axes: Axes) -> None:
    """With ticks at 1, 2, 5 of every decade, written as plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(lambda value, _: "")


def _sums(rows: Sequence[Row], key: str) -> np.ndarray:
    """Running sums, one more than rows, from 0."""
    return np.concatenate([[0.0], np.cumsum([row[key] for row in rows])])


def _number(value: float | str | None) -> float:
    """Infinity and the unknown are not drawn."""
    return float(value) if isinstance(value, int | float) else np.nan


def _shade(axes: Axes, spans: Sequence[Span], named: bool) -> None:
    for span in spans:
        axes.axvspan(span.start_s, span.stop_s, color=span.color, alpha=0.09, lw=0, zorder=0)
        if named:
            axes.annotate(
                span.name,
                ((span.start_s + span.stop_s) / 2, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 4),
                textcoords="offset points",
                ha="center",
                color=span.color,
                fontweight="bold",
            )
    if spans:
        axes.set_xlim(spans[0].start_s, spans[-1].stop_s)
    axes.margins(x=0)
