"""Statistics by hand, and a page that cannot be broken by what the model writes."""

from __future__ import annotations

import math
from html.parser import HTMLParser
from typing import Any

import pytest

from airsplit.telemetry import STAGES
from experiments import plots
from experiments.plots import Span
from experiments.report import Statistics, by_phase, comparison, page, statistics, table

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def frame(
    time_s: float = 0.0, phase: str = "good", split: int = 4, **fields: Any
) -> dict[str, Any]:
    """A row as traces.jsonl has it."""
    stages = {f"{stage}_ms": 1.0 for stage in STAGES}
    return {
        "time_s": time_s,
        "session": "score",
        "phase": phase,
        "task": "score",
        "split": split,
        "total_ms": 6.0,
        **stages,
        "uplink_bytes": 100,
        "switch": None,
        "channel": {"estimate": {"sigma": 0.5, "m": "inf"}},
        "configured": {"sigma": 0.5, "m": 3.0},
        **fields,
    }


def scored(tokens: int, nll: float, unsplit: float, **fields: Any) -> dict[str, Any]:
    return frame(scored_tokens=tokens, nll_sum=nll, unsplit_nll_sum=unsplit, **fields)


def told(total_ms: float, **fields: Any) -> dict[str, Any]:
    return frame(session="story", task="sample", total_ms=total_ms, **fields)


ROWS = [
    scored(3, 3 * math.log(8), 3 * math.log(4), split=2),
    scored(1, math.log(8), math.log(4), split=6, time_s=1.0),
    told(10.0, ue_ms=4.0, time_s=1.5),
    told(30.0, ue_ms=6.0, time_s=2.0, switch={"bytes": 700, "gap_ms": 5.0}),
    scored(2, 2 * math.log(3), 2 * math.log(4), phase="bad", time_s=3.0),
]


def test_statistics_are_those_by_hand() -> None:
    good, bad, nothing = by_phase(ROWS, ["good", "bad", "never"])
    assert good.mean_split == (3 * 2 + 1 * 6) / 4
    assert good.perplexity == pytest.approx(8)
    assert good.unsplit_perplexity == pytest.approx(4)
    assert good.excess == pytest.approx(1.0)
    assert (good.scored_tokens, good.story_tokens) == (4, 2)
    assert good.latency_ms["p50"] == 20.0
    assert good.latency_ms["p95"] == pytest.approx(29.0)
    assert good.latency_ms["ue"] == 5.0
    assert (good.uplink_bytes, good.handoff_bytes) == (400, 700)
    assert (good.switches, good.gaps_ms) == (1, (5.0,))
    assert bad.excess == pytest.approx(-0.25)
    assert math.isnan(nothing.perplexity)
    assert statistics("all", ROWS).scored_tokens == 6


def test_both_signs_are_told() -> None:
    good, bad, nothing = by_phase(ROWS, ["good", "bad", "never"])
    assert comparison(good).endswith("4 tokens: 100.0 % worse.")
    assert comparison(bad).endswith("2 tokens: 25.0 % better.")
    assert "too little was scored" in comparison(nothing)
    even = Statistics("even", 1.0, 4.001, 4.0, 9, 0, {}, 0, 0, ())
    assert comparison(even).endswith("the same, to 0.05 %.")


def test_table_has_a_column_per_part_and_dashes_for_what_is_not_known() -> None:
    heading, *lines = table(by_phase(ROWS, ["good", "bad", "never"]))
    assert heading == ["", "good", "bad", "never"]
    cells = {label.strip(): values for label, *values in lines}
    assert cells["difference, %"] == ["+100.0", "-25.0", "-"]
    assert cells["ms per story token, p50 / p95"] == ["20.0 / 29.0", "- / -", "- / -"]
    assert cells["switches"] == ["1", "0", "0"]
    assert set(STAGES[1:]) < set(cells)


class Collector(HTMLParser):
    """Elements and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_page_shows_text_as_text_and_needs_nothing_beside_it() -> None:
    evil = "<script>alert('a & b')</script> $title ${x} costs $5"
    parts = by_phase(ROWS, ["good", "bad"])
    text = page(evil, [evil], parts, [("Split", b"png", evil)], evil, [evil])
    found = Collector()
    found.feed(text)
    assert "script" not in found.tags
    assert found.text.count(evil) == 6  # title twice, what is seen, caption, configuration, story
    assert [source.split(",")[0] for source in found.sources] == ["data:image/png;base64"]
    assert "http" not in text
    assert "prefers-color-scheme: dark" in text


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], ROWS[2:3]], ids=["all", "scored", "told"])
def test_every_plot_draws_what_there_is(rows: list[dict[str, Any]]) -> None:
    spans = [Span("good", 0, 2, "#228866"), Span("bad", 2, 4, "#cc5544")]
    for plot, more in (
        (plots.channel, {}),
        (plots.split, {"layers": 16}),
        (plots.perplexity, {}),
        (plots.latency, {}),
    ):
        assert plots.draw(plot, rows, spans, **more).startswith(PNG_MAGIC)
