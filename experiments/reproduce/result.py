"""What a target comes to: numbers, pictures with their data, and claims that were judged."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from airsplit.errors import InputError
from experiments.reproduce.statistics import Claim

NOT_GIVEN = "not given"
"""By the paper, which shows a curve without its numbers."""


@dataclass(frozen=True, slots=True)
class Row:
    """One number beside the paper's and the best possible one; text, as people read it."""

    what: str
    paper: str
    ours: str
    optimum: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure and all that it shows."""

    name: str
    """Of its files, without an ending."""

    title: str
    png: bytes
    csv: str
    caption: str
    """What is drawn, of which configuration, over which seeds."""

    def write(self, out: Path) -> None:
        """`NAME.png` and `NAME.csv`.

        Raises:
            InputError: they cannot be written.
        """
        try:
            (out / f"{self.name}.png").write_bytes(self.png)
            (out / f"{self.name}.csv").write_text(self.csv, encoding="utf-8")
        except OSError as error:
            raise InputError(f"--out: {out} cannot be written: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Result:
    """Of one target."""

    target: str
    title: str
    claims: tuple[Claim, ...]
    rows: tuple[Row, ...] = ()
    pictures: tuple[Picture, ...] = ()


def csv_text(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV with a heading; floats to six significant digits."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow(f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row)
    return text.getvalue()
