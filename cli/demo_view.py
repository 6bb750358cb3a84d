"""The demo on a terminal: a live view with rich, or a plain line a second."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from math import log10
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from airsplit.telemetry import STAGES
from cli.demo_recording import Recording
from cli.demo_scenario import Scenario
from experiments.report import STAGE_COLORS, stage_name

PHASE_COLORS = {"good": "#228866", "bad": "#cc5544", "good again": "#2a6fb0"}
UE_COLOR, EDGE_COLOR = "#4477aa", "#228866"
BLOCKS = " ▁▂▃▄▅▆▇█"
PANEL_LINES = 6
MOVES_WIDTH = 37


class View(Protocol):
    """Shows a recording; used as a context, so that the terminal is left as it was."""

    def show(self, time_s: float, recording: Recording) -> None: ...

    def __enter__(self) -> View: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def view_for(console: Console, scenario: Scenario) -> View:
    """Live on a terminal, plain lines elsewhere."""
    live = console.is_terminal and not console.is_dumb_terminal
    return LiveView(console, scenario) if live else PlainView(console, scenario)


class PlainView:
    """One line a second."""

    def __init__(self, console: Console, scenario: Scenario) -> None:
        self._console = console
        self._scenario = scenario
        self._next_s = 0.0

    def show(self, time_s: float, recording: Recording) -> None:
        if time_s < self._next_s or recording.channel is None:
            return
        self._next_s = int(time_s) + 1.0
        phase, radio = self._scenario.at(time_s)
        estimate = recording.channel["estimate"]
        splits = "  ".join(f"{name} p={row['split']:<2}" for name, row in recording.last.items())
        mine, theirs = recording.perplexities.get(phase.name, (None, None))
        seen = f"{mine.value:.1f} (unsplit {theirs.value:.1f})" if mine and theirs else "-"
        self._console.print(
            f"{time_s:5.1f} s  {phase.name:10}  sigma {number(radio.sigma)} "
            f"(est. {number(estimate['sigma'])})  {splits}  perplexity {seen}  "
            f"token p50 {_p50(recording):.1f} ms  switches {len(recording.moves)}",
            highlight=False,
            soft_wrap=True,
        )

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class LiveView:
    """The whole terminal, redrawn when `show` is called."""

    def __init__(self, console: Console, scenario: Scenario) -> None:
        self._console = console
        self._scenario = scenario
        self._live = Live(console=console, screen=True, auto_refresh=False)

    def show(self, time_s: float, recording: Recording) -> None:
        self._live.update(self.render(time_s, recording), refresh=True)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def render(self, time_s: float, recording: Recording) -> RenderableType:
        """The view at one time."""
        size = self._console.size
        half = max(size.width // 2 - 4, 20)
        rest = max(size.height - 2 - 2 * (PANEL_LINES + 2), 3)
        root = Layout()
        root.split_column(
            Layout(self._title(time_s, size.width), size=2),
            Layout(name="upper", size=PANEL_LINES + 2),
            Layout(name="middle", size=PANEL_LINES + 2),
            Layout(name="lower"),
        )
        if not recording.rows or recording.started is None:
            root["lower"].update(Text("waiting for the first frame", style="dim"))
            return root
        layers = int(recording.started["layers"])
        moves = MOVES_WIDTH
        root["upper"].split_row(
            Layout(_panel("radio", radio_lines(recording, half))),
            Layout(_panel("split", split_lines(recording, half, layers))),
        )
        root["middle"].split_row(
            Layout(_panel("perplexity so far", [self._perplexities(recording, half)])),
            Layout(_panel("time per story token", latency_lines(recording, half))),
        )
        story = textwrap.wrap(recording.stories[-1], max(size.width - moves - 4, 20))
        root["lower"].split_row(
            Layout(_panel("story", [Text("\n".join(story[-(rest - 2) :]))])),
            Layout(_panel("last moves", move_lines(recording, rest - 2)), size=moves),
        )
        return root

    def _title(self, time_s: float, width: int) -> Text:
        current, _ = self._scenario.at(time_s)
        title = Text(no_wrap=True, overflow="crop")
        title.append(" AirSplit ", style="bold reverse")
        title.append("  UE ⇄ radio ⇄ edge, and a PPO policy that moves the split", style="dim")
        title.append("\n ")
        bar = max((width - 36) // len(self._scenario.phases), 4)
        for phase in self._scenario.phases:
            share = (time_s - phase.start_s) / (phase.stop_s - phase.start_s)
            done = round(bar * min(max(share, 0.0), 1.0))
            color = PHASE_COLORS[phase.name]
            title.append(f"{phase.name} ", style=f"bold {color}" if phase == current else "dim")
            title.append("━" * done, style=color)
            title.append("━" * (bar - done) + " ", style="grey30")
        shown_s = min(time_s, self._scenario.duration_s)
        title.append(f"{shown_s:.0f} of {self._scenario.duration_s:g} s", style="bold")
        return title

    def _perplexities(self, recording: Recording, width: int) -> Table:
        grid = Table(box=None, expand=True, padding=(0, 1, 0, 0), header_style="dim")
        grid.add_column("", no_wrap=True)
        headings = ("split", "unsplit", "", "tokens")
        for heading in headings if width >= 42 else headings[:-1]:
            grid.add_column(heading, justify="right", no_wrap=True)
        for phase in self._scenario.phases:
            if phase.name not in recording.perplexities:
                continue
            mine, theirs = recording.perplexities[phase.name]
            percent = 100 * (mine.value / theirs.value - 1)
            cells = (
                Text(phase.name, style=PHASE_COLORS[phase.name]),
                Text(f"{mine.value:.2f}", style="bold"),
                f"{theirs.value:.2f}",
                Text(f"{percent:+.1f} %", style="red" if percent > 5 else "green"),
                f"{mine.tokens:,}",
            )
            grid.add_row(*cells[: len(grid.columns)])
        return grid


def radio_lines(recording: Recording, width: int) -> list[Text]:
    """Noise, fading, SNR and loss: as set, and as the receiver estimates them."""
    channel = recording.channel or {}
    estimate, truth = channel["estimate"], channel["truth"]
    set_ = recording.rows[-1]["configured"]
    lines = [
        _pair("noise σ", number(set_["sigma"]), number(estimate["sigma"])),
        meter(_decades(estimate["sigma"], 0.05, 5.0), width, "#ee8833"),
        _pair("fading m", number(set_["m"]), number(estimate["m"])),
        _pair("SNR, dB", number(truth["snr_db"]), number(estimate["snr_db"])),
        _pair("loss, %", number(100 * truth["loss"]), number(_percent(estimate["loss"]))),
    ]
    decades = [_decades(value, 0.05, 5.0) for value in recording.sigma_track.resampled(width)]
    return [*lines, *(Text(row, style="#ee8833") for row in sparkline(decades))]


def split_lines(recording: Recording, width: int, layers: int) -> list[Text]:
    """Which layers are where, for each session; p over time; what the moves have cost."""
    cell = max(1, min(2, (width - 14) // layers))
    lines = []
    for name, row in recording.last.items():
        line = Text(f"{name:5} p = {row['split']:2} ", style="bold")
        line.append("█" * cell * row["split"], style=UE_COLOR)
        line.append("█" * cell * (layers - row["split"]), style=EDGE_COLOR)
        lines.append(line)
    legend = Text(" " * 13)
    legend.append("■ UE  ", style=UE_COLOR).append("■ edge", style=EDGE_COLOR)
    legend.append(f"  {layers} layers", style="dim")
    shares = [p / layers for p in recording.split_track.resampled(width)]
    track = [Text(row, style=UE_COLOR) for row in sparkline(shares, rows=2)]
    moved = sum(row["switch"]["bytes"] for row in recording.moves)
    gaps = [row["switch"]["gap_ms"] for row in recording.moves]
    cost = f"{len(gaps)} switches, {moved / 1e6:.1f} MB K/V"
    if gaps:
        cost += f", p50 {np.median(gaps):.0f} ms"
    return [*lines, legend, *track, Text(cost, style="dim")]


def latency_lines(recording: Recording, width: int) -> list[Text]:
    """The median of each stage over the newest story tokens, as one bar."""
    if not recording.recent:
        return []
    p95 = np.percentile([row["total_ms"] for row in recording.recent], 95)
    stages = {
        stage: float(np.median([row[f"{stage}_ms"] for row in recording.recent]))
        for stage in STAGES
    }
    bar = Text(no_wrap=True, overflow="crop")
    scale = width / max(sum(stages.values()), 1e-9)
    for stage, value in stages.items():
        bar.append("█" * round(value * scale), style=STAGE_COLORS[stage])
    rows = [Text.assemble(("p50 ", "dim"), (f"{_p50(recording):.1f} ms", "bold"), "   ",
                          ("p95 ", "dim"), (f"{p95:.1f} ms", "bold"))]  # fmt: skip
    rows += [bar, Text()]
    names = list(stages)
    for left, right in zip(names[:3], names[3:], strict=True):
        line = Text()
        for name in (left, right):
            line.append("■ ", style=STAGE_COLORS[name])
            line.append(f"{stage_name(name):10}{stages[name]:5.1f}  ")
        rows.append(line)
    return rows


def move_lines(recording: Recording, height: int) -> list[Text]:
    """The newest moves, the newest last."""
    lines = []
    for row in recording.moves[-max(height, 1) :]:
        move = row["switch"]
        line = Text(f"{row['time_s']:4.1f} s ", style="dim", no_wrap=True, overflow="crop")
        line.append(f"{row['session']:5} ")
        line.append(f"{move['from']:>2}→{move['to']:<2}", style="bold")
        line.append(f"{move['bytes'] / 1e3:5.0f} kB{move['gap_ms']:4.0f} ms", style="dim")
        lines.append(line)
    return lines


def sparkline(shares: Sequence[float], rows: int = 1) -> list[str]:
    """Values of 0..1 as columns of blocks, eight heights a row; 0 is still seen."""
    full = len(BLOCKS) - 1
    heights = [max(1, round(min(max(share, 0.0), 1.0) * full * rows)) for share in shares]
    floors = [full * row for row in reversed(range(rows))]
    return ["".join(BLOCKS[min(max(h - floor, 0), full)] for h in heights) for floor in floors]


def meter(share: float, width: int, color: str) -> Text:
    """A bar that is filled to a share of 0..1."""
    filled = round(min(max(share, 0.0), 1.0) * width)
    return Text("━" * filled, style=color).append("━" * (width - filled), style="grey30")


def number(value: float | str | None) -> str:
    """Three digits; what is not known as a dash."""
    if value is None:
        return "-"
    return (
        value if isinstance(value, str) else f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
    )


def _pair(name: str, truth: str, estimate: str) -> Text:
    line = Text(f"{name:9}", no_wrap=True, overflow="crop")
    line.append("true ", style="dim").append(f"{truth:>5}", style="bold")
    line.append("  estimated ", style="dim").append(f"{estimate:>5}", style="bold")
    return line


def _panel(title: str, lines: Sequence[RenderableType]) -> Panel:
    return Panel(Group(*lines), title=title, title_align="left", border_style="grey42")


def _decades(value: Any, low: float, high: float) -> float:
    """Where a value lies between two others on a logarithmic scale."""
    if not isinstance(value, int | float) or value <= 0:
        return 0.0
    return log10(value / low) / log10(high / low)


def _percent(value: Any) -> float | None:
    return 100 * value if isinstance(value, int | float) else None


def _p50(recording: Recording) -> float:
    values = [row["total_ms"] for row in recording.recent]
    return float(np.median(values)) if values else float("nan")
