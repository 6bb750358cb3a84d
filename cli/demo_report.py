"""The demo's report folder and its table at the end."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from math import exp, isnan
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table

from airsplit.telemetry import write_lines
from cli.demo_recording import Recording
from cli.demo_scenario import BAD, DUET, GOOD, POLICY, Scenario
from cli.demo_view import PHASE_COLORS
from controller.network import CONFIG_FILE
from controller.registry import DEFAULT_DIRECTORY
from controller.table import PerplexityTable
from experiments import plots
from experiments.plots import Span
from experiments.report import Statistics, by_phase, comparison, page, statistics, table

TITLE = "AirSplit demo: the split follows the radio"


def parts_of(scenario: Scenario, recording: Recording) -> list[Statistics]:
    """Statistics of each phase, then of the whole run."""
    phases = by_phase(recording.rows, [phase.name for phase in scenario.phases])
    return [*phases, statistics("whole run", recording.rows)]


def final_table(scenario: Scenario, recording: Recording) -> Table:
    """Phases as columns: sixteen quantities fit a terminal better as lines."""
    heading, *lines = table(parts_of(scenario, recording))
    result = Table(title=TITLE, box=box.SIMPLE_HEAD)
    result.add_column("")
    for name in heading[1:]:
        color = PHASE_COLORS.get(name, "default")
        result.add_column(name, justify="right", header_style=f"bold {color}")
    for label, *cells in lines:
        result.add_row(label, *cells)
    return result


def write_report(folder: Path, scenario: Scenario, recording: Recording) -> None:
    """Writes report.html, four PNGs, traces.jsonl and config.toml.

    Raises:
        OSError: the folder cannot be written any more.
    """
    rows = recording.rows
    layers = int((recording.started or {})["layers"])
    spans = [Span(p.name, p.start_s, p.stop_s, PHASE_COLORS[p.name]) for p in scenario.phases]
    pictures = [
        ("channel", "Channel", plots.draw(plots.channel, rows, spans), CHANNEL_CAPTION),
        ("split", "Split", plots.draw(plots.split, rows, spans, layers=layers), SPLIT_CAPTION),
        ("perplexity", "Perplexity", plots.draw(plots.perplexity, rows, spans), PPL_CAPTION),
        ("latency", "Latency", plots.draw(plots.latency, rows, spans), LATENCY_CAPTION),
    ]
    for name, _, png, _ in pictures:
        (folder / f"{name}.png").write_bytes(png)
    configuration = toml(configuration_of(scenario))
    (folder / "config.toml").write_text(configuration, encoding="utf-8")
    with (folder / "traces.jsonl").open("w", encoding="utf-8") as file:
        write_lines(file, rows)
    text = page(
        TITLE,
        what_is_seen(scenario, recording),
        parts_of(scenario, recording),
        [(title, png, caption) for _, title, png, caption in pictures],
        configuration,
        recording.stories,
    )
    (folder / "report.html").write_text(text, encoding="utf-8")


CHANNEL_CAPTION = (
    "Standard deviation of the noise and shape of the fading: as set (line), and as the receiver "
    "estimates them from the pilots of its latest frames (dots; none where fading cannot be told "
    "from noise, which is m = ∞). The policy sees the estimates only."
)
SPLIT_CAPTION = (
    "Layers below p run on the UE, the others on the edge. Each dot is a switch; both sessions "
    "are steered by the same policy, each by itself."
)
PPL_CAPTION = (
    "Perplexity of the text scored in the two seconds before, beside that of the unsplit model on "
    "the same tokens: what is easy or hard about the text shows in both lines, the radio only in "
    "one."
)
LATENCY_CAPTION = (
    "Where the time of a story token goes: the median of each stage, bin by bin. Pauses for a "
    "switch come between two tokens and are in the table."
)


def what_is_seen(scenario: Scenario, recording: Recording) -> list[str]:
    """The report's words, from what was measured."""
    *phases, whole = parts_of(scenario, recording)
    bad = scenario.phases[1]
    half = (bad.start_s + bad.stop_s) / 2
    settled = [r for r in recording.rows if r["phase"] == bad.name and r["time_s"] >= half]
    splits = ", then ".join(f"{part.mean_split:.1f}" for part in phases)
    return [
        f"One language model ran in two processes, UE and edge, with an emulated radio between "
        f"them, for {scenario.duration_s:g} seconds. A fourth process, the controller, watched "
        f"the estimated channel and moved the split while the UE told stories and scored a text. "
        f"The radio was set to σ = {GOOD.sigma:g}, m = {GOOD.m:g} (good), σ = {BAD.sigma:g}, "
        f"m = {BAD.m:g} (bad), and back; each change took {scenario.ramp_s:g} s and counts to the "
        f"phase that it leads to.",
        f"The mean split was {splits}. The split moved {whole.switches} times; "
        f"{whole.handoff_bytes / 1e6:.2f} MB of K/V rows changed hosts, beside "
        f"{whole.uplink_bytes / 1e6:.2f} MB of hidden states.",
        *(comparison(part) for part in phases),
        comparison(statistics(f"{bad.name}, second half", settled)),
        what_if(phases[0], phases[1]),
        f"Text: windows of {DUET['window']} tokens of the embedded sample, over and over. A window "
        f"that a change of phase cuts in two is scored in both, and keys and values that were "
        f"computed from noisy hidden states stay in its context.",
        "The policy reacts to time as it passes, so another run with this seed meets the same "
        "radio draws and the same words of the text but moves at slightly different tokens; its "
        "numbers will be close, not equal.",
    ]


def what_if(good: Statistics, bad: Statistics) -> str:
    """What the bad radio does where the split stays as the good phase had it: not of this run."""
    if isnan(good.mean_split + bad.mean_split):
        return "Too little was scored to say where the split stood."
    measured = PerplexityTable.load(DEFAULT_DIRECTORY / "table.json")
    early, late = round(good.mean_split), round(bad.mean_split)
    perplexity = np.exp(measured.row(BAD.sigma, BAD.m))
    return (
        f"For comparison, not from this run: the table that the policy was trained on, measured "
        f"beforehand on the same text with the channel held still, has a perplexity of "
        f"{perplexity[early]:.0f} for the bad radio at p = {early}, where the good phase had the "
        f"split, {perplexity[late]:.0f} at p = {late}, and {exp(measured.clean_nll):.0f} without "
        f"a radio."
    )


def configuration_of(scenario: Scenario) -> dict[str, Any]:
    """Everything that is needed to run it again."""
    policy = json.loads((DEFAULT_DIRECTORY / CONFIG_FILE).read_text(encoding="utf-8"))
    command = f"airsplit demo --duration {scenario.duration_s:g} --seed {scenario.seed}"
    packages = ("airsplit", "torch", "transformers", "grpcio", "numpy")
    return {
        "command": command,
        **scenario.to_dict(),
        "policy": {
            "name": POLICY,
            **{key: policy[key] for key in ("algorithm", "fingerprint", "steps", "seed")},
        },
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
        },
    }


def toml(record: Mapping[str, Any]) -> str:
    """A record of numbers, strings, tables of them and lists of such tables, as TOML."""
    lines, tables = [], []
    for key, value in record.items():
        if isinstance(value, Mapping):
            tables.append(f"\n[{key}]\n{_pairs(value)}")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            tables.extend(f"\n[[{key}]]\n{_pairs(item)}" for item in value)
        else:
            lines.append(_pairs({key: value}))
    return "".join([*lines, *tables])


def _pairs(values: Mapping[str, Any]) -> str:
    # JSON's strings and finite numbers are TOML's too.
    return "".join(
        f"{key} = {json.dumps(value, ensure_ascii=False, allow_nan=False)}\n"
        for key, value in values.items()
    )
