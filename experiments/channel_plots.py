"""One picture of a channel: what it does over time, and its distributions beside closed forms."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from itertools import pairwise

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure

from airsplit.errors import InputError
from channel_emulator.config import ChannelConfig
from channel_emulator.knobs import Fading
from channel_emulator.timeline import Timeline
from experiments.channel_samples import PROCESSES, Course, Reals, Statistics
from experiments.channel_theory_plots import MARK, MEASURED, THEORY, Panel, panels
from experiments.plots import STYLE

_PHASES = ("#8a94a3", "#ffffff")
_MOST_TURNS = 200
"""What turns more often is drawn pale, with its mean over 1/100 of the time."""

_MOST_BARS = 400
"""Of more tokens, the mean loss over 1/100 of the time is shown."""


def draw(
    timeline: Timeline,
    course: Course,
    fine: Course | None,
    statistics: Statistics | None,
) -> bytes:
    """`figure_of` as a PNG."""
    with mpl.rc_context(STYLE):
        buffer = io.BytesIO()
        figure_of(timeline, course, fine, statistics).savefig(buffer, format="png")
    return buffer.getvalue()


def figure_of(
    timeline: Timeline,
    course: Course,
    fine: Course | None,
    statistics: Statistics | None,
) -> Figure:
    """To the left what varies over time, to the right measured against theory.

    Args:
        fine: h and SNR between the tokens, where they are functions of time.
        statistics: of the channel where it is one; None: only what varies over time.

    Raises:
        InputError: the channel has nothing that could be drawn.
    """
    config = timeline.snapshots[0].config
    left = _over_time(timeline, course, fine)
    right = [] if statistics is None else panels(config, statistics)
    if not left:
        allowed = "with fading, noise, loss or a rate"
        raise InputError(f"channel: {config.preset} has nothing to draw; allowed: {allowed}")
    rows = max(len(left), len(right))
    with mpl.rc_context(STYLE):
        width = 13.0 if right else 9.6
        figure = Figure(figsize=(width, 1.1 + 2.1 * rows), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        lines = textwrap.wrap(_title(timeline), 118 if right else 90)
        figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=10.5, color=THEORY)
        if right:
            beside = figure.add_gridspec(1, 2, width_ratios=(1.45, 1), wspace=0.03)
            _fill(figure.add_subfigure(beside[1]), right)
            _fill(figure.add_subfigure(beside[0]), left, sharex=True)
        else:
            _fill(figure, left, sharex=True)
    return figure


def describe(config: ChannelConfig) -> str:
    """The channel in words: preset, the knobs that say something, and the seed."""
    shown = {
        name: value
        for name, value in config.to_dict().items()
        if name != "preset" and not _is_idle(config, name)
    }
    knobs = ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in shown.items()
    )
    return f"{config.preset}: {knobs}"


def _title(timeline: Timeline) -> str:
    config = timeline.snapshots[0].config
    if not timeline.scenario:
        return describe(config)
    return f"{timeline.scenario}, {timeline.duration_ns / 1e9:g} s, seed={config.seed}"


def _is_idle(config: ChannelConfig, name: str) -> bool:
    """Whether a knob is at its default and says nothing that a reader would miss."""
    if name == "h_th" and config.target_loss is not None:
        return True
    told = {"m", "omega"} if config.fading is not Fading.NONE else set()
    if config.fading in (*PROCESSES, Fading.BLOCK) and config.coherence_ms is None:
        told |= {"speed_mps", "carrier_ghz"}
    same = getattr(config, name) == getattr(ChannelConfig(), name)
    return same and name not in (*told, "seed")


def _fill(figure: Figure | SubFigure, panels: Sequence[Panel], sharex: bool = False) -> None:
    column = figure.subplots(len(panels), 1, sharex=sharex, squeeze=False)[:, 0]
    for panel, axes in zip(panels, column, strict=True):
        panel(axes)
        if sharex:
            axes.margins(x=0)
    if sharex:
        column[-1].set_xlabel("channel time, s")
    figure.align_ylabels(column)


def _over_time(timeline: Timeline, course: Course, fine: Course | None) -> list[Panel]:
    configs = [snapshot.config for snapshot in timeline.snapshots]
    found: list[Panel] = []
    smooth = course if fine is None else fine

    def add(label: str, values: Reals, of: Course, **marks: float) -> None:
        def panel(axes: Axes) -> None:
            _phases(axes, timeline, course)
            _line(axes, of.time_s, values, joined=of is not course)
            for index, (name, level) in enumerate(marks.items()):
                axes.axhline(level, color=MARK, lw=1, ls=("--", ":")[index % 2], label=name)
            axes.set_ylabel(label)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=3, borderpad=0)

        found.append(panel)

    unit = " (unit power)" if any(config.sigma for config in configs) else ""
    faded = any(config.fading is not Fading.NONE for config in configs)
    same = configs[0] if len(configs) == 1 else None
    if faded:
        one = same is not None and same.fading is Fading.ELEMENT
        marks = {}
        if same is not None and same.threshold > 0:
            marks[f"threshold {same.threshold:.3g}"] = same.threshold
        add("h of the first element" if one else "amplitude h", smooth.h, smooth, **marks)
    if _varies(smooth.snr_db):
        marks = {}
        if same is not None and same.outage_snr_db is not None:
            marks[f"outage below {same.outage_snr_db:g} dB"] = same.outage_snr_db
        add(f"SNR h²P/σ²{unit}, dB", smooth.snr_db, smooth, **marks)
    if course.loss.any():
        mean = float(course.loss.mean())
        found.append(lambda axes: _loss(axes, timeline, course, mean))
    if _varies(course.rate_mbps):
        found.append(lambda axes: _rate(axes, timeline, course))
    if found:  # one number is no panel beside others: the title says it
        return found
    if np.isfinite(smooth.snr_db).any():
        add(f"SNR P/σ²{unit}, dB", smooth.snr_db, smooth)
    if np.isfinite(course.rate_mbps).any():
        found.append(lambda axes: _rate(axes, timeline, course))
    return found


def _varies(values: Reals) -> bool:
    finite = values[np.isfinite(values)]
    return finite.size > 0 and (finite.size < len(values) or bool(np.ptp(finite) > 0))


def _line(axes: Axes, time_s: Reals, values: Reals, joined: bool) -> None:
    """Each value, and where there are too many to follow their mean too."""
    shown = np.where(np.isfinite(values), values, np.nan)
    pale = _is_crowded(values)
    if joined:
        axes.plot(time_s, shown, color=MEASURED, lw=0.5 if pale else 1.3, alpha=0.35 if pale else 1)
    else:
        axes.plot(time_s, shown, ".", color=MEASURED, ms=3, alpha=0.35 if pale else 0.9)
    if pale and joined:
        at, means = _means(time_s, values)
        axes.plot(at, means, color=MEASURED, lw=1.8, label=f"mean of {at[1] - at[0]:.2g} s")


def _is_crowded(values: Reals) -> bool:
    """Whether a line goes up and down more often than an eye can follow."""
    slope = np.sign(np.diff(values))
    return int(np.count_nonzero(slope[1:] * slope[:-1] < 0)) > _MOST_TURNS


def _means(time_s: Reals, values: Reals) -> tuple[Reals, Reals]:
    parts = np.array_split(np.arange(len(values)), min(100, len(values)))
    at = np.array([time_s[part].mean() for part in parts])
    return at, np.array([values[part].mean() for part in parts])


def _loss(axes: Axes, timeline: Timeline, course: Course, mean: float) -> None:
    """Share of each token that is erased, filled; its mean."""
    _phases(axes, timeline, course)
    if len(course.loss) > _MOST_BARS:
        at, share = _means(course.time_s, course.loss)
        axes.set_ylabel(f"lost, % of {at[1] - at[0]:.2g} s")
    else:
        at, share = course.time_s, course.loss
        axes.set_ylabel("lost, % of each token")
    axes.fill_between(at, 100 * share, step="mid", color=MEASURED, alpha=0.35, lw=0)
    axes.step(at, 100 * share, where="mid", color=MEASURED, lw=0.8)
    axes.axhline(100 * mean, color=MARK, lw=1, ls="--", label=f"mean {100 * mean:.3g} %")
    axes.set_ylim(0, None)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=3, borderpad=0)


def _rate(axes: Axes, timeline: Timeline, course: Course) -> None:
    _phases(axes, timeline, course)
    shown = np.where(np.isfinite(course.rate_mbps), course.rate_mbps, np.nan)
    pale = _is_crowded(shown)
    width, alpha = (0.5, 0.35) if pale else (1.0, 1.0)
    axes.step(course.time_s, shown, where="post", color=MEASURED, lw=width, alpha=alpha)
    if pale:
        at, means = _means(course.time_s, course.rate_mbps)
        axes.plot(at, means, color=MEASURED, lw=1.8)
    axes.set_ylim(0, None)
    axes.set_ylabel("uplink rate, Mbit/s")


def _phases(axes: Axes, timeline: Timeline, course: Course) -> None:
    """Versions of the configuration, shaded by turns."""
    starts = np.flatnonzero(np.diff(course.version, prepend=-1))
    if len(starts) < 2 or len(starts) > 40:  # mobility changes the channel all the time
        return
    edges = [*course.time_s[starts], course.time_s[-1]]
    for index, (start, stop) in enumerate(pairwise(edges)):
        axes.axvspan(start, stop, color=_PHASES[index % 2], alpha=0.13, lw=0, zorder=0)
