"""Fig. 3: perplexity against the split under noise, erasure and fading, as `airsplit sweep` has it.

Both signs are expected of a small model: absolute noise hurts an early split, whose residual stream
is small, far more; erasure and noise relative to the signal do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp
from typing import Any

import numpy as np

from controller.learning.space import Floats
from experiments.collect import model_name
from experiments.reproduce.config import Context, ReproduceConfig
from experiments.reproduce.measured import FIG3_WINDOWS, collected
from experiments.reproduce.result import NOT_GIVEN, Picture, Result, Row, csv_text
from experiments.reproduce.statistics import Claim, Finding, difference_of_two
from experiments.sweep import Panel, SweepConfig, by_key, draw

Line = Mapping[str, Any]
Levels = dict[float, list[Line]]
"""Records of one impairment by its level, mild first, each by split."""

FIELDS = ("split", "perplexity", "perplexity_low", "perplexity_high", "nll", "nll_se", "clean_nll")


def make(context: Context) -> Result:
    """Empty where the measured model is left out: the authors' file has no perplexities."""
    title = "Fig. 3: perplexity against the split"
    if not context.config.embedded:
        return Result("fig3", title, ())
    sweep = SweepConfig()
    windows = context.config.window_count * FIG3_WINDOWS
    name = "sweep.jsonl"
    lines, _ = collected(context.config, sweep.channels, name, windows, context.progress)
    found = by_key(lines, sweep)
    panels = {panel: _levels(panel, lines) for panel in sweep.panels}
    setting = model_name(context.config.model)
    claims = tuple(claim for panel, levels in panels.items()
                   for claim in _claims(setting, panel, levels, windows))  # fmt: skip
    rows = tuple(_row(panel, level, records) for panel, levels in panels.items()
                 for level, records in levels.items())  # fmt: skip
    data = csv_text(
        ("impairment", "level", *FIELDS),
        ((panel.name, level, *(record[field] for field in FIELDS))
         for panel, levels in panels.items()
         for level, records in levels.items() for record in records),
    )  # fmt: skip
    caption = _caption(context.config, setting, windows)
    picture = Picture("fig3", f"Fig. 3, {setting}", draw(sweep.panels, found), data, caption)
    return Result("fig3", title, claims, rows, (picture,))


def _levels(panel: Panel, lines: Sequence[Line]) -> Levels:
    found: Levels = {}
    for level, channel in zip(panel.levels, panel.channels, strict=True):
        mine = [line for line in lines if line["channel"] == channel.to_dict()]
        found[level] = sorted(mine, key=lambda line: line["split"])
    return found


def _claims(setting: str, panel: Panel, levels: Levels, windows: int) -> list[Claim]:
    mild, harsh = levels.values()
    worse = Finding(
        f"NLL, {panel.label.format(panel.levels[1])} less {panel.label.format(panel.levels[0])}, "
        "mean over splits",
        difference_of_two(*_mean(_inner(harsh)), *_mean(_inner(mild)), windows),
    )
    earlier = tuple(
        Finding(
            f"NLL at {panel.label.format(level)}, earliest third of splits less latest",
            difference_of_two(*_mean(_thirds(records)[0]), *_mean(_thirds(records)[1]), windows),
        )
        for level, records in levels.items()
    )
    return [
        Claim(setting, f"{panel.title}: a worse channel gives a greater perplexity", (worse,)),
        Claim(setting, f"{panel.title}: an earlier split gives a greater perplexity", earlier,
              _NOTES[panel.name]),
    ]  # fmt: skip


_NOTES = {
    "awgn-sigma": "The same σ is more beside the smaller hidden states of early layers.",
    "awgn-snr": "Here the noise grows with the hidden states, which takes that reason away.",
    "erasure": "Erased elements are a share of the hidden state, whatever its size.",
    "nakagami": "Fading and its losses scale with the hidden state, whatever its size.",
}


def _inner(records: Sequence[Line]) -> list[Line]:
    """Splits that leave a layer on either side."""
    return list(records[1:-1]) or list(records)


def _thirds(records: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    inner = _inner(records)
    count = max(1, len(inner) // 3)
    return inner[:count], inner[-count:]


def _mean(records: Sequence[Line]) -> tuple[float, float]:
    """Mean NLL of some splits, and its standard error: at most the mean of theirs."""
    nll: Floats = np.array([record["nll"] for record in records])
    error: Floats = np.array([record["nll_se"] for record in records])
    return float(nll.mean()), float(error.mean())


def _row(panel: Panel, level: float, records: Sequence[Line]) -> Row:
    early, late = (exp(_mean(part)[0]) for part in _thirds(records))
    best = min(records, key=lambda record: float(record["nll"]))
    what = f"{panel.title}, {panel.label.format(level)}: perplexity of early and late splits"
    ours = f"{early:.1f}; {late:.1f} (without a channel {exp(best['clean_nll']):.1f})"
    return Row(what, NOT_GIVEN, ours, f"{best['perplexity']:.1f} at p = {best['split']}")


def _caption(config: ReproduceConfig, setting: str, windows: int) -> str:
    return (
        f"{setting} on {windows} windows of {config.window} tokens of {config.dataset}, fp32; the "
        "emulator's radio on every element of the hidden states before layer p, channel seed 0. "
        "Bands: 95 % over windows of the excess over the model without a channel (Student's t)."
    )
