"""Fig. 3: what is drawn is what was measured."""

from __future__ import annotations

import csv
import json
from math import inf
from pathlib import Path

import pytest

from airsplit.errors import InputError
from cli.main import main
from experiments.designs import fading
from experiments.records import Record, Subject
from experiments.sweep import SweepConfig, by_key, draw, write

SUBJECT = Subject("tiny", 2, "abc", "sample", 16, 3, 4.0)


def lines_of(config: SweepConfig, scale: float = 1.0) -> list[dict[str, object]]:
    return [
        Record(SUBJECT, channel, p, 4.2 + scale * (i + p) / 10, 0.1, 0.2, 0.0).to_dict()
        for i, channel in enumerate(config.channels)
        for p in (2, 0, 1)
    ]


def test_panels_are_the_papers_impairments() -> None:
    config = SweepConfig()
    assert [panel.name for panel in config.panels] == [
        "awgn-sigma", "awgn-snr", "erasure", "nakagami",
    ]  # fmt: skip
    assert len({json.dumps(channel.to_dict()) for channel in config.channels}) == 8
    assert config.panels[3].channels[1].threshold > config.panels[3].channels[0].threshold > 0
    assert SweepConfig(m=2.0).channels[6] != config.channels[6]
    assert {channel.seed for channel in SweepConfig(seed=5).channels} == {5}


def test_files_hold_every_level_and_split(tmp_path: Path) -> None:
    config = SweepConfig(snrs=(), losses=())
    other = Record(SUBJECT, fading(9.0, inf, 0), 0, 5.0, 0.1, 0.2, 0.0).to_dict()
    written = write(tmp_path, config, by_key([*lines_of(config), other], config))
    assert sorted(path.name for path in written) == [
        "sweep-awgn-sigma.csv", "sweep-awgn-sigma.png",
        "sweep-nakagami.csv", "sweep-nakagami.png", "sweep.png",
    ]  # fmt: skip
    with (tmp_path / "sweep-awgn-sigma.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["level"], row["split"]) for row in rows] == [
        (level, split) for level in ("0.5", "2.0") for split in "012"
    ]
    assert [float(row["nll"]) for row in rows[:3]] == pytest.approx([4.2, 4.3, 4.4])
    assert {row["dtype"] for row in rows} == {"fp32"}
    assert all(path.read_bytes() for path in written)


def test_pictures_show_the_numbers() -> None:
    config = SweepConfig(snrs=(), losses=(), outages=())
    shown = [draw(config.panels, by_key(lines_of(config, s), config)) for s in (1.0, 1.0, 2.0)]
    assert shown[0].startswith(b"\x89PNG")
    assert shown[0] == shown[1] != shown[2]


def test_files_name_the_dtype(tmp_path: Path) -> None:
    config = SweepConfig(snrs=(), losses=(), outages=())
    files = []
    for dtype in ("fp32", "bf16"):
        lines = [{**line, "dtype": dtype} for line in lines_of(config)]
        files.append([path.read_bytes() for path in write(tmp_path, config, by_key(lines, config))])
    assert all(exact != half for exact, half in zip(*files, strict=True))


def test_nothing_to_sweep_is_refused() -> None:
    with pytest.raises(InputError, match="all are empty"):
        SweepConfig(sigmas=(), snrs=(), losses=(), outages=())


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "fig3"
    levels = ["--sigma", "1", "--snr", "--loss", "--nakagami"]
    flags = [*levels, "--window", "16", "--windows", "2", "--workers", "1", "--json"]
    assert main(["sweep", "--out", str(out), *flags]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["records"] == 17
    assert all(Path(path).is_file() for path in summary["files"])
    assert main(["sweep", "--out", str(out), "--nakagami", "1.5"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["sweep", "--out", str(out / "records.jsonl")]) == 2
