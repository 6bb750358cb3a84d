"""The benchmark of collection: what it compares with, and that a wrong number stops it."""

from __future__ import annotations

from math import inf, nan
from pathlib import Path

import numpy as np
import pytest

from benchmarks.collect import Outcome, Plain, main
from experiments.collect import CollectConfig
from experiments.designs import fading
from experiments.prefixes import Prefixes
from experiments.scoring import Scorer
from tests.families import make

IDS = np.random.default_rng(5).integers(2, 97, (3, 24))


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
@pytest.mark.parametrize("sigma", [0.5, 1e5])  # the second is beyond fp16
def test_the_plain_way_measures_the_same(tmp_path: Path, dtype: str, sigma: float) -> None:
    make("llama", tmp_path)
    config = CollectConfig(model=str(tmp_path), dtype=dtype)
    partition = config.load("cpu")
    scorer = Scorer(partition, Prefixes.of(partition, IDS, [2, 4]))
    for split in (2, 4):
        channel = fading(sigma, inf, 3)
        expected = Plain(config).nll(IDS, channel, split)
        tolerance = 1e-5 if dtype == "fp32" else 5e-3
        assert scorer.nlls([channel], split).mean() == pytest.approx(expected, abs=tolerance)


def test_the_worst_difference_is_kept() -> None:
    outcome = Outcome()
    for nll in (5.0, 5.002, 4.999):
        outcome.meet((nll, 0.1), 5.0, 0.01)
    assert outcome.worst == pytest.approx(0.002)
    assert outcome.worst_in_se == pytest.approx(0.02)


@pytest.mark.parametrize("found", [5.02, inf, nan])
def test_a_number_that_is_off_or_none_stops_it(found: float) -> None:
    for nll, plain in ((found, 5.0), (5.0, found)):
        with pytest.raises(SystemExit, match="off"):
            Outcome().meet((nll, 0.1), plain, 0.01)
    with pytest.raises(SystemExit):
        Outcome().meet((5.0 + 1e-9, 0.1), 5.0, 0.0)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ("--rounds 0", "--rounds: 0"),
        ("--rounds-fp32 -1", "--rounds-fp32: -1"),
        ("--dtype int8", "--dtype: 'int8'"),
        ("--tolerance nan", "--tolerance: nan"),
        ("--tolerance -1", "--tolerance: -1.0"),
        ("--windows 1", "--windows: 1"),
        ("--seed -1", "seed: -1"),
    ],
)
def test_bad_input_is_one_line(flags: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(flags.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"collect: error: {why} is not allowed; allowed: ")
    assert error.count("\n") == 1
