"""The tables of docs/channel.md, rendered from the code that they describe.

    python -m tests.channel_docs

writes them anew between their marks.
"""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path

from channel_emulator.config import ALLOWED, PRESETS, ChannelConfig
from channel_emulator.help import UNITS
from channel_emulator.knobs import Choice
from channel_emulator.rules import MEANINGFUL
from tests.channel_replay import CUTS, ORDER, ROWS, SESSIONS

PAGE = Path(__file__).parents[1] / "docs" / "channel.md"


def knobs() -> str:
    """Every knob: unit, range, default, meaning (its docstring)."""
    meanings = _docstrings()
    default = {knob.name: knob.default for knob in fields(ChannelConfig)}
    rows = []
    for name, allowed in ALLOWED.items():
        unit = next((unit for end, unit in UNITS.items() if name.endswith(end)), "")
        range_ = ", ".join(allowed.kind) if isinstance(allowed, Choice) else str(allowed)
        rows.append([f"`{name}`", unit, range_, _text(default[name]), meanings[name]])
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


TABLES: dict[str, Callable[[], str]] = {"knobs": knobs, "presets": presets, "replay": replay}


def rendered(page: str) -> str:
    """The page with its tables as they should be."""
    for name, table in TABLES.items():
        begin, end = f"<!-- table: {name} -->", "<!-- end -->"
        pattern = f"({re.escape(begin)}\n).*?({re.escape(end)})"
        page, count = re.subn(
            pattern, lambda m, t=table: m[1] + t() + m[2], page, count=1, flags=re.DOTALL
        )
        if count == 0:
            raise ValueError(f"{PAGE.name}: no {begin} ... {end}")
    return page


def _cell(preset: str, said: dict[str, str | int | float], name: str) -> str:
    value = getattr(PRESETS[preset], name)
    means_something = name in said or (value is None and name in MEANINGFUL[preset])
    return _text(value) if means_something else ""


def _docstrings() -> dict[str, str]:
    """What stands beneath each field of `ChannelConfig`."""
    (tree,) = ast.parse(inspect.getsource(ChannelConfig)).body
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
    PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
