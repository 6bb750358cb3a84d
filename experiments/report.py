"""From recorded frames to statistics, and from statistics to a page. Pure.

A row is one frame as `traces.jsonl` has it: the fields of `TokenTrace`, and

- `time_s` since the start, `session`, `phase`
- `switch`: null, or the move that the frame committed, with `bytes` and `gap_ms`
- where text was scored: `nll_sum`, `scored_tokens`, `unsplit_nll_sum` (of the same tokens)
- where known, `configured`: what the radio was set to, e.g. {"sigma": 0.5, "m": 3}
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from string import Template
from typing import Any

import numpy as np

from airsplit.perplexity import Perplexity
from airsplit.telemetry import STAGES, percentiles
from experiments.page import PAGE

Row = Mapping[str, Any]

STAGE_COLORS = dict(
    zip(STAGES, ("#4477aa", "#ee8833", "#bbbbbb", "#228866", "#ddbb33", "#aa6699"), strict=True)
)
"""One colour per stage of the data path, in the terminal and in plots."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """What happened in one part of a run. NaN where nothing was measured."""

    name: str
    mean_split: float
    """Mean p over scored tokens."""

    perplexity: float
    unsplit_perplexity: float
    """Of the unsplit model on exactly the tokens that were scored."""

    scored_tokens: int
    story_tokens: int
    latency_ms: Mapping[str, float]
    """Of generated tokens: p50 and p95 of the whole, and the median of each stage."""

    uplink_bytes: int
    """Encoded hidden states, all sessions."""

    handoff_bytes: int
    """K/V rows that moved with the split, all sessions."""

    gaps_ms: tuple[float, ...]
    """How long decoding stood still, for each switch."""

    @property
    def excess(self) -> float:
        """Perplexity over the unsplit one, less 1: positive is worse."""
        return self.perplexity / self.unsplit_perplexity - 1

    @property
    def switches(self) -> int:
        return len(self.gaps_ms)


def statistics(name: str, rows: Iterable[Row]) -> Statistics:
    """Of some frames, e.g. those of a phase."""
    rows = list(rows)
    scored = [row for row in rows if row.get("scored_tokens")]
    told = [row for row in rows if row["task"] == "sample"]
    moves = [row["switch"] for row in rows if row["switch"]]
    tokens = sum(row["scored_tokens"] for row in scored)
    weighted = sum(row["split"] * row["scored_tokens"] for row in scored)
    latency = percentiles([row["total_ms"] for row in told])
    for stage in STAGES if told else ():
        of_stage = percentiles([row[f"{stage}_ms"] for row in told])
        latency[stage], latency[f"{stage}_p95"] = of_stage["p50"], of_stage["p95"]
    return Statistics(
        name=name,
        mean_split=weighted / tokens if tokens else nan,
        perplexity=_perplexity(scored, "nll_sum"),
        unsplit_perplexity=_perplexity(scored, "unsplit_nll_sum"),
        scored_tokens=tokens,
        story_tokens=len(told),
        latency_ms=latency,
        uplink_bytes=sum(row["uplink_bytes"] for row in rows),
        handoff_bytes=sum(move["bytes"] for move in moves),
        gaps_ms=tuple(move["gap_ms"] for move in moves),
    )


def by_phase(rows: Sequence[Row], phases: Iterable[str]) -> list[Statistics]:
    """Statistics of each phase."""
    return [statistics(name, (row for row in rows if row["phase"] == name)) for name in phases]


def _perplexity(scored: Iterable[Row], key: str) -> float:
    rows = list(scored)
    total = Perplexity(sum(row[key] for row in rows), sum(row["scored_tokens"] for row in rows))
    return total.value


def table(parts: Sequence[Statistics]) -> list[list[str]]:
    """As text: a heading, then one line per quantity, one column per part."""

    def latency(label: str, p50: str, p95: str) -> tuple[str, str, list[str]]:
        cells = [[s.latency_ms.get(key, nan) for key in (p50, p95)] for s in parts]
        both = [" / ".join(_cell("{:.1f}", value) for value in pair) for pair in cells]
        return label, "{}", both

    lines: list[tuple[str, str, Sequence[float | str]]] = [
        ("mean split p", "{:.1f}", [s.mean_split for s in parts]),
        ("perplexity, split over the radio", "{:.2f}", [s.perplexity for s in parts]),
        ("perplexity, unsplit, same tokens", "{:.2f}", [s.unsplit_perplexity for s in parts]),
        ("difference, %", "{:+.1f}", [100 * s.excess for s in parts]),
        ("tokens scored", "{:,}", [s.scored_tokens for s in parts]),
        ("story tokens", "{:,}", [s.story_tokens for s in parts]),
        latency("ms per story token, p50 / p95", "p50", "p95"),
        *(latency(f"  {stage_name(stage)}", stage, f"{stage}_p95") for stage in STAGES),
        ("uplink, MB", "{:.2f}", [s.uplink_bytes / 1e6 for s in parts]),
        ("switches", "{:,}", [s.switches for s in parts]),
        ("K/V handed over, MB", "{:.2f}", [s.handoff_bytes / 1e6 for s in parts]),
        ("ms of pause per switch, p50", "{:.1f}", [_median(s.gaps_ms) for s in parts]),
    ]
    heading = ["", *(s.name for s in parts)]
    return [heading, *([label, *(_cell(f, v) for v in values)] for label, f, values in lines)]


def stage_name(stage: str) -> str:
    """A stage of the data path as people read it."""
    return "UE" if stage == "ue" else stage


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else nan


def _cell(form: str, value: float | str) -> str:
    if isinstance(value, str):
        return value
    return form.format(value) if isfinite(value) else "-"


def comparison(part: Statistics) -> str:
    """One sentence: how the split model's perplexity compares with the unsplit one, by its sign."""
    if not isfinite(part.excess):
        return f"In phase “{part.name}” too little was scored for a perplexity."
    percent = 100 * part.excess
    word = "worse" if percent > 0 else "better"
    how = "the same, to 0.05 %" if abs(percent) < 0.05 else f"{abs(percent):.1f} % {word}"
    return (
        f"In phase “{part.name}” the split stood at {part.mean_split:.1f} on average and the "
        f"perplexity was {part.perplexity:.2f}, against {part.unsplit_perplexity:.2f} of the "
        f"unsplit model on the same {part.scored_tokens:,} tokens: {how}."
    )


def page(
    title: str,
    paragraphs: Sequence[str],
    parts: Sequence[Statistics],
    figures: Sequence[tuple[str, bytes, str]],
    configuration: str,
    stories: Sequence[str],
) -> str:
    """One HTML file that needs nothing beside it.

    Args:
        paragraphs: plain text, what is seen.
        figures: title, PNG, caption.
        configuration: as text, e.g. TOML.
        stories: plain text.
    """
    heading, *lines = table(parts)
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in heading)
    body = "".join(_table_row(line) for line in lines)
    return Template(PAGE).substitute(
        title=html.escape(title),
        seen=_paragraphs(paragraphs),
        table=f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>",
        figures="".join(_figure(*figure) for figure in figures),
        configuration=html.escape(configuration),
        stories=_paragraphs(stories),
    )


def _paragraphs(texts: Iterable[str]) -> str:
    return "\n".join(f"<p>{html.escape(text)}</p>" for text in texts)


def _table_row(line: Sequence[str]) -> str:
    label, *cells = line
    kind = ' class="part"' if label.startswith(" ") else ""
    values = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
    return f"<tr{kind}><th>{html.escape(label.strip())}</th>{values}</tr>"


def _figure(title: str, png: bytes, caption: str) -> str:
    source = "data:image/png;base64," + base64.b64encode(png).decode()
    return (
        f'<figure><h3>{html.escape(title)}</h3><img alt="{html.escape(title)} over time" '
        f'src="{source}"><figcaption>{html.escape(caption)}</figcaption></figure>'
    )
