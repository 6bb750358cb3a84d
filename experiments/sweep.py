"""Perplexity against the split under each impairment: Fig. 3 of the paper, as PNG and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from airsplit.errors import InputError
from channel_emulator.config import PRESETS, ChannelConfig
from experiments.designs import erasure, fading, snr
from experiments.plots import STYLE
from experiments.records import Key, key_of, line_key

COLORS = ("#2a6fb0", "#cc5544", "#228866", "#aa6699", "#ee8833", "#5b6675")
CLEAN = "#8a94a3"


@dataclass(frozen=True, slots=True)
class SweepConfig:
    """The levels of each impairment; one that is empty is left out.

    Raises:
        InputError: all are empty, or a value is out of its range.
    """

    sigmas: tuple[float, ...] = (0.5, 2.0)
    """AWGN of absolute standard deviation (Eq. 3 with h = 1): high SNR, low SNR."""

    snrs: tuple[float, ...] = (15.0, 5.0)
    """AWGN relative to each token's own power, dB."""

    losses: tuple[float, ...] = (0.1, 0.3)
    """Elements erased, each by itself, as the authors' code does."""

    outages: tuple[float, ...] = (0.1, 0.3)
    """Nakagami fading per element, without noise: share of elements below h_th (Eq. 5)."""

    m: float = 1.0
    """Nakagami shape of `outages`."""

    seed: int = 0

    panels: tuple[Panel, ...] = field(init=False)

    def __post_init__(self) -> None:
        panels = (
            Panel("awgn-sigma", "AWGN, absolute σ", "σ = {:g}", self.sigmas,
                  tuple(fading(s, float("inf"), self.seed) for s in self.sigmas)),
            Panel("awgn-snr", "AWGN, SNR of each token", "{:g} dB", self.snrs,
                  tuple(snr(s, self.seed) for s in self.snrs)),
            Panel("erasure", "erased elements", "loss {:g}", self.losses,
                  tuple(erasure(p, self.seed) for p in self.losses)),
            Panel("nakagami", f"Nakagami m = {self.m:g}, lost where h < h_th", "loss {:g}",
                  self.outages, tuple(map(self._outage, self.outages))),
        )  # fmt: skip
        kept = tuple(panel for panel in panels if panel.channels)
        if not kept:
            raise InputError("--sigma, --snr, --loss, --nakagami: all are empty; allowed: one")
        object.__setattr__(self, "panels", kept)

    def _outage(self, loss: float) -> ChannelConfig:
        knobs = {"m": self.m, "target_loss": loss, "sigma": 0.0, "seed": self.seed}
        return PRESETS["nakagami"].changed(knobs)

    @property
    def channels(self) -> list[ChannelConfig]:
        return [channel for panel in self.panels for channel in panel.channels]


@dataclass(frozen=True, slots=True)
class Panel:
    """One impairment at its levels."""

    name: str
    title: str
    label: str
    levels: tuple[float, ...]
    channels: tuple[ChannelConfig, ...]


Lines = Mapping[Key, Mapping[str, Any]]
"""Records as in a file, by key."""


def by_key(records: Sequence[Mapping[str, Any]], config: SweepConfig) -> Lines:
    """The records that this sweep is made of; a file may hold others."""
    wanted = {key_of(channel, 0)[0] for channel in config.channels}
    keys = ((line_key(record), record) for record in records)
    return {key: record for key, record in keys if key[0] in wanted}


def write(out: Path, config: SweepConfig, lines: Lines) -> list[Path]:
    """A CSV and a PNG of each panel, and one PNG of all, in `out`; returns their paths.

    Raises:
        InputError: one cannot be written.
    """
    written: dict[str, bytes] = {}
    for panel in config.panels:
        written[f"sweep-{panel.name}.csv"] = _csv(panel, lines)
        written[f"sweep-{panel.name}.png"] = draw([panel], lines)
    written["sweep.png"] = draw(config.panels, lines)
    try:
        for name, data in written.items():
            (out / name).write_bytes(data)
    except OSError as error:
        raise InputError(f"--out: {out} cannot be written: {error.strerror}") from error
    return [out / name for name in written]


def draw(panels: Sequence[Panel], lines: Lines) -> bytes:
    """A PNG: perplexity against p, a line for each level, a band for its 95 % interval."""
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6 * columns, 3.8 * rows), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid[len(panels) :]:
            axes.remove()
        for axes, panel in zip(grid, panels, strict=False):
            _plot(axes, panel, lines)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _plot(axes: Any, panel: Panel, lines: Lines) -> None:
    highest = 0.0
    clean, dtype = 1.0, ""
    for index, (level, channel) in enumerate(zip(panel.levels, panel.channels, strict=True)):
        rows = _rows(channel, lines)
        at, color = [row["split"] for row in rows], COLORS[index % len(COLORS)]
        axes.plot(at, [row["perplexity"] for row in rows], "o-", ms=3.5, color=color,
                  label=panel.label.format(level))  # fmt: skip
        low, high = ([row[f"perplexity_{end}"] for row in rows] for end in ("low", "high"))
        axes.fill_between(at, low, high, color=color, alpha=0.18, lw=0)
        clean, dtype = exp(rows[0]["clean_nll"]), rows[0]["dtype"]
        highest = max(highest, *(row["perplexity"] for row in rows))
    axes.axhline(clean, color=CLEAN, ls="--", lw=1.2, label="no channel")
    if highest > 4 * clean:
        axes.set_yscale("log")
    axes.set(title=panel.title, xlabel="split p: layers at the UE", ylabel=f"perplexity, {dtype}")
    axes.legend()


def _csv(panel: Panel, lines: Lines) -> bytes:
    names = ("split", "perplexity", "perplexity_low", "perplexity_high", "nll", "nll_se",
             "clean_nll", "seed", "dtype")  # fmt: skip
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("impairment", "level", *names))
    for level, channel in zip(panel.levels, panel.channels, strict=True):
        for row in _rows(channel, lines):
            writer.writerow((panel.name, level, *(row[name] for name in names)))
    return text.getvalue().encode()


def _rows(channel: ChannelConfig, lines: Lines) -> list[Mapping[str, Any]]:
    """The records of one channel, by split."""
    found = [line for (name, _), line in lines.items() if name == key_of(channel, 0)[0]]
    return sorted(found, key=lambda line: line["split"])
