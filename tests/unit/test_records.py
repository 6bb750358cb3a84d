"""Records: one line each, whatever stops the program."""

from __future__ import annotations

import json
from dataclasses import replace
from math import exp
from pathlib import Path

import pytest

from airsplit.errors import InputError
from channel_emulator.config import ChannelConfig
from controller.learning.rounding import nll_rounding
from experiments.designs import erasure, fading, snr
from experiments.records import FORMAT, Record, RecordFile, Subject, key_of

SUBJECT = Subject("tiny", 4, "abc", "sample", 16, 3, 4.0)


def record(split: int = 1, channel: ChannelConfig | None = None) -> Record:
    return Record(SUBJECT, channel or fading(1.0, 2.0, 7), split, 4.5, 0.1, 0.25, 0.01)


def test_a_line_says_what_was_measured() -> None:
    line = record().to_dict()
    assert line["format"] == FORMAT
    assert line["model"] == {"name": "tiny", "layers": 4, "fingerprint": "abc"}
    assert (line["sigma"], line["m"], line["loss"]) == (1.0, 2.0, 0.0)
    assert (line["split"], line["seed"], line["tokens"]) == (1, 7, 45)
    assert line["perplexity"] == pytest.approx(exp(4.5), abs=1e-4)
    assert line["perplexity_low"] == pytest.approx(exp(4.25), abs=1e-4)
    assert line["perplexity_high"] == pytest.approx(exp(4.75), abs=1e-4)
    assert line["channel"] == fading(1.0, 2.0, 7).to_dict()


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        (fading(0.5, float("inf"), 0), (0.5, "inf", 0.0)),
        (erasure(0.25, 0), (0.0, "inf", 0.25)),
        (snr(10.0, 0), (None, "inf", 0.0)),
    ],
)
def test_coordinates(channel: ChannelConfig, expected: tuple[object, ...]) -> None:
    line = record(channel=channel).to_dict()
    assert (line["sigma"], line["m"], line["loss"]) == expected


def test_what_is_there_is_known(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with RecordFile(path, SUBJECT) as file:
        file.append(record(1))
    with RecordFile(path, SUBJECT) as file:
        assert file.keys == {key_of(fading(1.0, 2.0, 7), 1)}
        file.append(record(2))
    assert [json.loads(line)["split"] for line in path.read_text().splitlines()] == [1, 2]


@pytest.mark.parametrize("torn", [1, 30, 200, -1])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, torn: int) -> None:
    path = tmp_path / "a.jsonl"
    with RecordFile(path, SUBJECT) as file:
        file.append(record(1))
        file.append(record(2))
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:torn])
    with RecordFile(path, SUBJECT) as file:
        assert {split for _, split in file.keys} == {1}
        file.append(record(2))
    assert path.read_bytes() == first + second


def test_a_file_whose_first_line_is_torn(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(json.dumps(record().to_dict()).encode()[:50])
    with RecordFile(path, SUBJECT) as file:
        file.append(record())
    assert path.read_text().count("\n") == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"fingerprint": "def"}, "model"),
        ({"dataset": "other.txt"}, "dataset"),
        ({"window": 32}, "window"),
        ({"windows": 4}, "windows"),
        ({"dtype": "bf16"}, "dtype"),
        ({"clean_nll": 4.1}, "clean_nll"),
    ],
)
def test_records_of_another_subject_are_refused(
    tmp_path: Path, change: dict[str, object], field: str
) -> None:
    path = tmp_path / "a.jsonl"
    with RecordFile(path, SUBJECT) as file:
        file.append(record())
    before = path.read_bytes()
    with pytest.raises(InputError, match=f"line 1: {field}: .* is not allowed"):
        RecordFile(path, replace(SUBJECT, **change))  # type: ignore[arg-type]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("dtype", "window", "windows", "off"),
    [  # nats between oneDNN's kernels and others, measured on the embedded model
        ("bf16", 16, 2, 0.00114),
        ("bf16", 64, 4, 0.00101),
        ("bf16", 1024, 3, 0.00028),
        ("fp16", 32, 2, 0.00028),
    ],
)
def test_a_file_is_continued_on_another_machine(
    tmp_path: Path, dtype: str, window: int, windows: int, off: float
) -> None:
    path = tmp_path / "a.jsonl"
    here = replace(SUBJECT, dtype=dtype, window=window, windows=windows)
    with RecordFile(path, here) as file:
        file.append(replace(record(), subject=here))
    within = nll_rounding(dtype, windows * (window - 1))
    assert 2 * off < within
    with RecordFile(path, replace(here, clean_nll=here.clean_nll + off)) as file:
        assert len(file.keys) == 1
    with pytest.raises(InputError, match="line 1: clean_nll"):
        RecordFile(path, replace(here, clean_nll=here.clean_nll + 1.01 * within))


def test_rounding_falls_with_the_square_root_of_the_tokens() -> None:
    for dtype in ("fp32", "fp16", "bf16"):
        assert nll_rounding(dtype, 64) == 8 * nll_rounding(dtype, 4096)
        assert nll_rounding(dtype, 9) <= nll_rounding("unknown", 9) == nll_rounding("bf16", 9)
    assert nll_rounding("fp32", 1000) < nll_rounding("fp16", 1000) < nll_rounding("bf16", 1000)


@pytest.mark.parametrize("text", ["hello", "hello\n", "[1]\n", "{}\n", "[" * 100_000 + "\n"])
def test_other_files_are_left_as_they_are(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match="--out"):
        RecordFile(path, SUBJECT)
    assert path.read_text() == text


def test_a_number_beyond_a_float_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with RecordFile(path, SUBJECT) as file:
        file.append(record())
    line = json.loads(path.read_text())
    path.write_text(json.dumps({**line, "clean_nll": 10**400}) + "\n")
    with pytest.raises(InputError, match="line 1: clean_nll"):
        RecordFile(path, SUBJECT)
