"""Records are read as they were written, and a bad one is named with its line."""

from __future__ import annotations

import json
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from controller.learning.records import read_records
from controller.learning.rounding import nll_rounding
from controller.policy import ModelId
from tests.surrogate_support import CLEAN_NLL, LAYERS, erasure, fading, record, written


def test_fading_becomes_arrays_in_state_coordinates(tmp_path: Path) -> None:
    lines = [record(0.5, 2.0, split=3), record(0.0, inf, split=8), record(4.0, 1.0, split=0)]
    found = read_records([written(tmp_path / "a.jsonl", lines)])
    assert found.model == ModelId("tiny", LAYERS)
    assert found.space.names == ("sigma", "inverse_m")
    assert (found.space.low, found.space.high) == ((0.0, 0.0), (4.0, 1.0))
    assert found.splits == LayerRange(0, 9)
    assert found.channels.tolist() == [[0.5, 0.5], [0.0, 0.0], [4.0, 1.0]]
    assert found.split.tolist() == [3, 8, 0]
    assert found.nll.tolist() == [line["nll"] for line in lines]
    assert found.nll_se.tolist() == [0.02] * 3
    assert found.clean_nll == CLEAN_NLL
    assert found.provenance["model"]["fingerprint"] == "f00d"


def test_a_loss_makes_loss_the_state(tmp_path: Path) -> None:
    found = read_records([written(tmp_path / "a.jsonl", erasure(4))])
    assert found.space.names == ("loss",)
    assert found.channels[:, 0].tolist() == np.repeat(np.linspace(0, 0.3, 4), 9).tolist()


def test_several_files_are_one_set(tmp_path: Path) -> None:
    lines = fading(4)
    whole = read_records([written(tmp_path / "all.jsonl", lines)])
    parts = [written(tmp_path / "a.jsonl", lines[:10]), written(tmp_path / "b.jsonl", lines[10:])]
    assert read_records(parts).nll.tolist() == whole.nll.tolist()


def test_draws_of_one_cell_tell_its_spread(tmp_path: Path) -> None:
    lines = [record(1.0, split=p, seed=seed) for p in (2, 3) for seed in (0, 1, 2)]
    for line, off in zip(lines, (-0.1, 0.0, 0.1, -0.2, 0.0, 0.2), strict=True):
        line["nll"] += off
    found = read_records([written(tmp_path / "a.jsonl", [*lines, record(2.0), record(3.0, 1.0)])])
    # Variances 0.01 and 0.04 with two degrees of freedom each; single draws have none.
    assert found.draw_spread() == pytest.approx(np.sqrt(0.025))
    single = read_records([written(tmp_path / "b.jsonl", fading(2))])
    assert single.draw_spread() is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "airsplit-record/2"}, "a.jsonl:2: format: 'airsplit-record/2' is not allowed"),
        ({"sigma": -0.1}, "a.jsonl:2: sigma: -0.1 is not allowed; allowed: 0-1e+06"),
        ({"sigma": None}, "a.jsonl:2: sigma: None is not allowed"),
        ({"sigma": True}, "a.jsonl:2: sigma: True is not allowed"),
        ({"sigma": "0.5"}, "a.jsonl:2: sigma: '0.5' is not allowed"),
        ({"m": 0.1}, 'a.jsonl:2: m: 0.1 is not allowed; allowed: at least 0.5, or "inf"'),
        ({"m": "many"}, "a.jsonl:2: m: 'many' is not allowed"),
        ({"m": 10**400}, 'a.jsonl:2: m: 1000'),
        ({"sigma": 10**400}, "a.jsonl:2: sigma: 1000"),
        ({"loss": 1.5}, "a.jsonl:2: loss: 1.5 is not allowed; allowed: 0-1"),
        ({"loss": 0.1}, "a.jsonl:2: loss: 0.1 is not allowed; allowed: 0 beside noise or fading"),
        ({"nll": float("nan")}, "a.jsonl:2: nll: nan is not allowed"),
        ({"nll": float("inf")}, "a.jsonl:2: nll: inf is not allowed"),
        ({"nll_se": -1}, "a.jsonl:2: nll_se: -1 is not allowed"),
        ({"split": 9}, "a.jsonl:2: split: 9 is not allowed; allowed: 0-8"),
        ({"split": 2.0}, "a.jsonl:2: split: 2.0 is not allowed"),
        ({"seed": "x"}, "a.jsonl:2: seed: 'x' is not allowed"),
        ({"model": "tiny"}, "a.jsonl:2: model: 'tiny' is not allowed"),
        ({"model": {"name": "tiny", "layers": 0}}, "a.jsonl:2: model: layers: 0 is not allowed"),
        ({"dataset": "wikitext-2"}, "a.jsonl:2: dataset: 'wikitext-2' is not allowed; allowed: "
         "'sample' as in"),
        ({"dtype": "bf16"}, "a.jsonl:2: dtype: 'bf16'"),
        ({"windows": 8}, "a.jsonl:2: windows: 8"),
        ({"clean_nll": 3.6}, "a.jsonl:2: clean_nll: 3.6 is not allowed; allowed: 3.5 within"),
        ({"channel": "awgn"}, "a.jsonl:2: channel: 'awgn' is not allowed"),
        ({"channel": {"preset": "awgn", "h_th": 0.2}}, "a.jsonl:2: channel: h_th: 0.2 is not "
         "allowed; allowed: 0.1 as in"),
        ({"tokens": 0}, "a.jsonl:2: tokens: 0 is not allowed"),
        ({"split": 0}, "a.jsonl:2: channel, split and seed of"),
    ],
)  # fmt: skip
def test_a_bad_record_is_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    second = {**record(1.0, split=1), **changes}
    path = written(tmp_path / "a.jsonl", [record(1.0, split=0), second])
    with pytest.raises(InputError) as error:
        read_records([path])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("dtype", "tokens"), [("fp32", 1020), ("bf16", 1020), ("bf16", 30)])
def test_clean_nlls_may_differ_by_rounding(tmp_path: Path, dtype: str, tokens: int) -> None:
    within = nll_rounding(dtype, tokens)
    lines = [{**record(sigma), "dtype": dtype, "tokens": tokens} for sigma in (1.0, 2.0)]
    lines[1]["m"] = 1.0
    lines[1]["clean_nll"] += 0.99 * within
    assert len(read_records([written(tmp_path / "a.jsonl", lines)])) == 2
    lines[1]["clean_nll"] += 0.02 * within
    with pytest.raises(InputError, match=r"clean_nll: .* within"):
        read_records([written(tmp_path / "a.jsonl", lines)])


def test_mixed_models_are_refused(tmp_path: Path) -> None:
    other = record(1.0, split=1)
    other["model"] = {**other["model"], "fingerprint": "beef"}
    paths = [
        written(tmp_path / "a.jsonl", [record(1.0)]),
        written(tmp_path / "b.jsonl", [other]),
    ]
    with pytest.raises(InputError, match=r"b\.jsonl:1: model: .*beef.* as in .*a\.jsonl:1"):
        read_records(paths)


@pytest.mark.parametrize("name", ["sigma", "m", "loss", "nll", "nll_se", "clean_nll", "split",
                                  "tokens"])  # fmt: skip
def test_a_missing_field_is_named(tmp_path: Path, name: str) -> None:
    line = record(1.0)
    del line[name]
    with pytest.raises(InputError, match=rf"a\.jsonl:1: {name} is missing"):
        read_records([written(tmp_path / "a.jsonl", [line])])


def test_noise_in_one_line_and_loss_in_another_are_two_states(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", [record(loss=0.1), record(sigma=1.0)])
    with pytest.raises(InputError, match=r"a\.jsonl:2: has noise or fading, .*:1 has loss"):
        read_records([path])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "there are none"),
        (b"[1]\n", "a.jsonl:1: format: 'list' is not allowed"),
        (b"nonsense\n", "a.jsonl:1: is not JSON"),
        (b"[" * 100_000 + b"\n", "a.jsonl:1: is not JSON: nested too deeply"),
        (json.dumps(record()).encode()[:-9], "a.jsonl:1: is not JSON, the line is cut off"),
        (b"\x80\x02}q\x00.", "is not text"),
    ],
)
def test_a_file_that_holds_no_records_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_records([path])
    assert said in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.jsonl: cannot be read: No such file"):
        read_records([tmp_path / "none.jsonl"])
