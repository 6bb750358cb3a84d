"""Learning curves of several seeds: as a band in a picture, as CSV, and as single numbers."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import stats

from controller.learning.space import Floats
from experiments.live_summary import CONFIDENCE, Interval
from experiments.plots import STYLE
from experiments.reproduce.trainings import Trained

COLORS = ("#2a6fb0", "#cc5544", "#228866", "#aa6699", "#ee8833")
REFERENCE = "#5b6675"
DPI = 100

SETTLED = 0.9
"""Of its own gain over chance, from where on a curve counts as converged."""

CURVE_FIELDS = ("panel", "line", "steps", "mean_return", "low", "high", "seeds")


def picture(rows: int, columns: int, draw: Callable[[Any], None], height: float = 3.6) -> bytes:
    """A PNG of rows x columns axes; `draw` is given them as an array [rows, columns]."""
    with mpl.rc_context(STYLE):
        size = (min(4.2 * columns, 12.6) if columns > 1 else 6.4, height * rows)
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure.subplots(rows, columns, squeeze=False))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def curves(group: Sequence[Trained]) -> tuple[Floats, Floats]:
    """Steps [k] and returns [seeds, k]."""
    return group[0].steps, np.stack([one.returns for one in group])


def band(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Mean over seeds of [seeds, k], and both ends of its 95 % interval (Student's t): [k] each."""
    n, mean = len(values), values.mean(axis=0)
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1))
    half = quantile * values.std(axis=0, ddof=1) / np.sqrt(n)
    return mean, mean - half, mean + half


def plot(axes: Axes, group: Sequence[Trained], color: str, label: str, width: float = 1.7) -> None:
    """A line with its band."""
    steps, returns = curves(group)
    mean, low, high = band(returns)
    marker = "o" if len(steps) == 1 else ""
    axes.plot(steps, mean, color=color, lw=width, label=label, marker=marker)
    axes.fill_between(steps, low, high, color=color, alpha=0.16, lw=0)


def references(axes: Axes, group: Sequence[Trained], color: str = REFERENCE) -> None:
    """The optimum's return and chance's."""
    scores = group[0].scores
    axes.axhline(scores["optimal"], color=color, ls="--", lw=1.2, label="optimum")
    axes.axhline(scores["random"], color=color, ls=":", lw=1.2, label="random")


def finish(axes: Axes, title: str, groups: Sequence[Sequence[Trained]]) -> None:
    """Labels; the axis follows the lines and their references, not the widest band."""
    means = np.concatenate([curves(group)[1].mean(axis=0) for group in groups])
    scores = [group[0].scores for group in groups]
    lows = [score["random"] for score in scores]
    highs = [score["optimal"] for score in scores]
    low, high = min(*lows, float(means.min())), max(highs)
    pad = 0.08 * (high - low)
    axes.set_ylim(low - pad, high + pad)
    axes.set(title=title, xlabel="environment steps", ylabel="mean return of an episode")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value else "0")


def legend(axes: Axes, columns: int) -> None:
    """Below the picture, where it hides nothing; of one of its axes for all."""
    handles, labels = axes.get_legend_handles_labels()
    figure = axes.get_figure(root=True)
    if figure is not None:
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def curve_rows(panel: str, line: str, group: Sequence[Trained]) -> list[list[object]]:
    """For `CURVE_FIELDS`."""
    steps, returns = curves(group)
    mean, low, high = (values.tolist() for values in band(returns))
    cells = zip(steps.tolist(), mean, low, high, strict=True)
    return [[panel, line, int(n), *found, len(group)] for n, *found in cells]


def reference_rows(panel: str, group: Sequence[Trained], of: str = "") -> list[list[object]]:
    """The optimum's and chance's return, at any number of steps; for `CURVE_FIELDS`."""
    scores = group[0].scores
    names = (("optimum", "optimal"), ("random", "random"))
    return [[panel, name + of, "", float(scores[key]), "", "", ""] for name, key in names]


def fractions(group: Sequence[Trained]) -> list[float]:
    """x of each seed, at the end."""
    return [one.fraction for one in group]


def finals(group: Sequence[Trained]) -> list[float]:
    """J of each seed, at the end."""
    return [one.scores["policy"] for one in group]


def settled_after(group: Sequence[Trained]) -> list[float]:
    """Steps of each seed until its curve first has 90 % of what it gains over chance in the end."""
    found = []
    for one in group:
        random = one.scores["random"]
        wanted = random + SETTLED * (one.returns[-1] - random)
        there = one.returns >= wanted if one.returns[-1] > random else one.returns >= random
        found.append(float(one.steps[np.argmax(there)]) if there.any() else float(one.steps[-1]))
    return found


def early(group: Sequence[Trained]) -> list[float]:
    """Mean x over the first quarter of each seed's training."""
    return [_x(one, one.steps <= one.steps[-1] / 4) for one in group]


def jitter(group: Sequence[Trained]) -> list[float]:
    """Mean change of x from one evaluation to the next, in the second half of each training."""
    found = []
    for one in group:
        late = one.returns[one.steps >= one.steps[-1] / 2]
        found.append(float(np.abs(np.diff(late)).mean()) / _gap(one) if len(late) > 1 else 0.0)
    return found


def _x(one: Trained, which: np.ndarray) -> float:
    chosen = one.returns[which] if which.any() else one.returns[:1]
    return float((chosen.mean() - one.scores["random"]) / _gap(one))


def _gap(one: Trained) -> float:
    return (one.scores["optimal"] - one.scores["random"]) or 1.0


def return_text(group: Sequence[Trained]) -> str:
    """J with its interval, and x."""
    x = Interval.of(fractions(group)).text("{:.3f}")
    return f"J {Interval.of(finals(group)).text('{:.4f}')}; x {x}"


def least_text(group: Sequence[Trained]) -> str:
    """The worst seed's x."""
    return f"x ≥ {min(fractions(group)):.3f} of {len(group)} seeds"


def optimum_text(group: Sequence[Trained]) -> str:
    """J* and what chance gets."""
    scores = group[0].scores
    return f"J* {scores['optimal']:.4f} (random {scores['random']:.4f})"
