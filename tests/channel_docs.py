"""The tables of docs/channel.md and docs/scenarios.md, rendered from the code that they describe.

    python -m tests.channel_docs

writes them anew between their marks.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from channel_emulator.config import ALLOWED, PRESETS, ChannelConfig
from channel_emulator.help import UNITS
from channel_emulator.knobs import Choice, Range
from channel_emulator.mobility import Mobility
from channel_emulator.propagation import PARAMETERS
from channel_emulator.rules import MEANINGFUL
from channel_emulator.traces import CQI_EFFICIENCY, cqi_to_snr_db
from tests.channel_replay import CUTS, ORDER, ROWS, SESSIONS

DOCS = Path(__file__).parents[1] / "docs"
PAGE, SCENARIOS_PAGE = DOCS / "channel.md", DOCS / "scenarios.md"


def knobs() -> str:
    """Every knob: unit, range, default, meaning (its docstring)."""
    meanings = _docstrings(ChannelConfig)
    default = {knob.name: knob.default for knob in fields(ChannelConfig)}
    rows = []
    for name, allowed in ALLOWED.items():
        cells = _unit(name), _range(allowed), _text(default[name])
        rows.append([f"`{name}`", *cells, meanings[name]])
    return _table(["knob", "unit", "range", "default", "meaning"], rows)


def presets() -> str:
    """Every knob of every preset; what means nothing there is left open."""
    said = {name: config.to_dict() for name, config in PRESETS.items()}
    rows = []
    for name in ALLOWED:
        cells = [_cell(preset, said[preset], name) for preset in PRESETS]
        rows.append([f"`{name}`", *cells])
    return _table(["knob", *(f"`{preset}`" for preset in PRESETS)], rows)


def replay() -> str:
    """What replay guarantees, per impairment."""
    rows = []
    for row in ROWS:
        cells = ["no" if cell in row.no else "yes" for cell in (CUTS, ORDER, SESSIONS)]
        rows.append([row.name, "yes", *cells, row.why])
    return _table(["impairment", "runs", CUTS, ORDER, SESSIONS, "why not"], rows)


def cell() -> str:
    """The parameters of both cells."""
    names = [f.name for f in fields(next(iter(PARAMETERS.values())))]
    rows = [
        [_PARAMETERS[name], *(_text(float(getattr(p, name))) for p in PARAMETERS.values())]
        for name in names
    ]
    return _table(["parameter", *(f"`{model}`" for model in PARAMETERS)], rows)


_PARAMETERS = {
    "base_height_m": "h_B, m",
    "sight_m": "line of sight: s, m",
    "los_correlation_m": "line of sight: correlation distance, m",
    "shadowing_los_db": "shadowing in sight: standard deviation, dB",
    "shadowing_nlos_db": "shadowing out of sight: standard deviation, dB",
    "shadowing_los_correlation_m": "shadowing in sight: d_corr, m",
    "shadowing_nlos_correlation_m": "shadowing out of sight: d_corr, m",
    "k_mean_db": "K: mean, dB",
    "k_sd_db": "K: standard deviation, dB",
    "k_correlation_m": "K: d_corr, m",
}


def cqi() -> str:
    """What a CQI stands for."""
    efficiency = [f"{value:g}" for value in CQI_EFFICIENCY]
    snr = [f"{cqi_to_snr_db(i):.2f}" for i in range(1, len(efficiency) + 1)]
    rows = [[str(i), *pair] for i, pair in enumerate(zip(efficiency, snr, strict=True), 1)]
    return _table(["CQI", "bit/s/Hz", "`snr_db`"], rows)


def mobility() -> str:
    """Every key of a phase's `mobility`, save `drives`."""
    meanings, rows = _docstrings(Mobility), []
    for key in fields(Mobility):
        if key.name == "carrier_ghz":  # the channel's to say
            continue
        allowed = key.metadata.get("allowed")
        kind = "numbers in [-10000, 10000]" if allowed is None else _range(allowed)
        default = list(key.default) if isinstance(key.default, tuple) else key.default
        cells = _unit(key.name), kind, _text(default), meanings.get(key.name, "")
        rows.append([f"`mobility.{key.name}`", *cells])
    return _table(["key", "unit", "range", "default", "meaning"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "knobs": knobs,
    "presets": presets,
    "replay": replay,
    "cell": cell,
    "cqi": cqi,
}
"""Of docs/channel.md, by name."""

SCENARIO_TABLES: dict[str, Callable[[], str]] = {"mobility": mobility}
"""Of docs/scenarios.md."""


def rendered(page: str, tables: Mapping[str, Callable[[], str]] = TABLES) -> str:
    """The page with its tables as they should be."""
    for name, table in tables.items():
        begin, end = f"<!-- table: {name} -->", "<!-- end -->"
        pattern = f"({re.escape(begin)}\n).*?({re.escape(end)})"
        page, count = re.subn(
            pattern, lambda m, t=table: m[1] + t() + m[2], page, count=1, flags=re.DOTALL
        )
        if count == 0:
            raise ValueError(f"the page has no {begin} ... {end}")
    return page


def _cell(preset: str, said: dict[str, str | int | float], name: str) -> str:
    value = getattr(PRESETS[preset], name)
    means_something = name in said or (value is None and name in MEANINGFUL[preset])
    return _text(value) if means_something else ""


def _unit(name: str) -> str:
    units = {**UNITS, "_m": "m", "_deg": "°", "_dbm": "dBm"}
    return next((unit for end, unit in units.items() if name.endswith(end)), "")


def _range(allowed: Range | Choice) -> str:
    return ", ".join(allowed.kind) if isinstance(allowed, Choice) else str(allowed)


def _docstrings(described: type) -> dict[str, str]:
    """What stands beneath each field of a dataclass."""
    (tree,) = ast.parse(inspect.getsource(described)).body
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    name = ""
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and name:
            found[name] = " ".join(str(node.value.value).split())
            name = ""
    return found


def _text(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    return str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |\n" for line in lines
    )


if __name__ == "__main__":
    for path, tables in ((PAGE, TABLES), (SCENARIOS_PAGE, SCENARIO_TABLES)):
        path.write_text(rendered(path.read_text(encoding="utf-8"), tables), encoding="utf-8")
