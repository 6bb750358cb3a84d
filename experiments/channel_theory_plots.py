"""Panels of `experiments.channel_plots` that show a channel's h beside its closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator

from channel_emulator import theory
from channel_emulator.config import ChannelConfig
from experiments.channel_samples import Reals, Statistics, crossing_rate, power_correlation

MEASURED = "#2a6fb0"
THEORY = "#1c2430"
MARK = "#cc5544"

Panel = Callable[[Axes], None]
Corner = Literal["upper right", "lower right", "lower center"]


def panels(config: ChannelConfig, statistics: Statistics) -> list[Panel]:
    """Density; of a process autocorrelation, crossings and fades; else the lower tail."""
    density: Panel = lambda axes: _density(axes, config, statistics.h)  # noqa: E731
    if not statistics.lag_s.size:
        return [density, lambda axes: _distribution(axes, config, statistics.h)]
    process: list[Panel] = [density, lambda axes: _correlation(axes, config, statistics)]
    if statistics.level.size:
        process.append(lambda axes: _crossings(axes, config, statistics))
        process.append(lambda axes: _fades(axes, config, statistics))
    return process


def _density(axes: Axes, config: ChannelConfig, h: Reals) -> None:
    top = float(np.quantile(h, 0.9995)) * 1.1
    bottom = float(h.min()) * 0.9 if float(h.min()) > 0.3 * top else 0.0
    name = f"measured, {len(h)} samples"
    bins = np.linspace(bottom, top, 61)
    width = bins[1] - bins[0]
    share = np.histogram(h, bins)[0] / (len(h) * width)
    axes.bar(bins[:-1], share, width, align="edge", color=MEASURED, alpha=0.4, lw=0, label=name)
    at = np.linspace(max(bottom, top / 1000), top, 400)
    density = theory.nakagami_pdf(at, config.m, config.omega)
    axes.plot(at, density, color=THEORY, lw=1.4, label=f"Nakagami, m={config.m:g}")
    _labels(axes, "amplitude h", "density", "upper right")
    axes.margins(x=0)


def _distribution(axes: Axes, config: ChannelConfig, h: Reals) -> None:
    """The lower tail, where outage is decided."""
    ordered = np.sort(h)
    ranks = np.unique(np.geomspace(1, len(h), 60).astype(int))
    axes.plot(ordered[ranks - 1], ranks / len(h), "o", color=MEASURED, ms=3.5, label="measured")
    at = np.geomspace(ordered[0], ordered[-1], 300)
    outage = theory.nakagami_cdf(at, config.m, config.omega)
    axes.plot(at, outage, color=THEORY, lw=1.4, label="theory")
    if config.threshold > ordered[0]:
        name = f"threshold {config.threshold:.3g}"
        axes.axvline(config.threshold, color=MARK, lw=1, ls="--", label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    _labels(axes, "level, amplitude", "P(h < level)", "lower right")


def _correlation(axes: Axes, config: ChannelConfig, statistics: Statistics) -> None:
    lag_ms = statistics.lag_s * 1e3
    at_s = np.linspace(0, statistics.lag_s[-1], 300)
    measured = statistics.power_correlation
    axes.plot(lag_ms[::2], measured[::2], "o", color=MEASURED, ms=3.5, label="measured")
    axes.plot(at_s * 1e3, power_correlation(config, at_s), color=THEORY, lw=1.4, label="theory")
    _labels(axes, "lag, ms", "autocorrelation of h²", "upper right")


def _crossings(axes: Axes, config: ChannelConfig, statistics: Statistics) -> None:
    level_db = _db(statistics.level, config)
    axes.plot(level_db, statistics.crossings_hz, "o", color=MEASURED, ms=3.5, label="measured")
    at = _levels(statistics.level)
    axes.plot(_db(at, config), crossing_rate(config, at), color=THEORY, lw=1.4, label="theory")
    _logarithmic(axes)
    _labels(axes, "level over √Ω, dB", "level crossings, 1/s", "lower center")


def _fades(axes: Axes, config: ChannelConfig, statistics: Statistics) -> None:
    level_db = _db(statistics.level, config)
    axes.plot(level_db, 1e3 * statistics.fade_s, "o", color=MEASURED, ms=3.5, label="measured")
    at = _levels(statistics.level)
    fade_s = theory.fade_duration_s(at, config.m, config.omega, crossing_rate(config, at))
    axes.plot(_db(at, config), 1e3 * fade_s, color=THEORY, lw=1.4, label="theory")
    _logarithmic(axes)
    _labels(axes, "level over √Ω, dB", "mean fade, ms", "lower right")


def _levels(measured: Reals) -> Reals:
    return np.geomspace(measured[0], measured[-1], 200)


def _db(level: Reals, config: ChannelConfig) -> Reals:
    found: Reals = 20 * np.log10(level / math.sqrt(config.omega))
    return found


def _logarithmic(axes: Axes) -> None:
    """With ticks at 1, 2, 5 of every decade, or fewer, written as plain numbers."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 200 * low else (1,)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(lambda value, _: "")


def _labels(axes: Axes, x: str, y: str, legend: Corner) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(loc=legend)
