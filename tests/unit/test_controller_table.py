"""Measured tables: exact at the cells, linear between them, closed beyond, and read from a file."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from math import inf, log1p
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airsplit.errors import InputError
from controller.learning.space import sigma_at
from controller.policy import ModelId
from controller.registry import DEFAULT_DIRECTORY
from controller.table import PerplexityTable
from tests.learning import LAYERS, SIGMA, M, small_table


def test_table_is_exact_at_the_cells() -> None:
    table = small_table()
    for (i, sigma), (j, m) in itertools.product(enumerate(SIGMA), enumerate(M)):
        np.testing.assert_allclose(table.row(sigma, m), table.nll[i, j], rtol=1e-12)


def test_table_is_linear_in_log_sigma_and_in_one_over_m() -> None:
    table = small_table()
    halfway = float(sigma_at((log1p(0.5 / 0.25) + log1p(2.0 / 0.25)) / 2))
    between = table.row(halfway, 1 / 0.125)  # 1/m halfway between 0 and 1/4
    np.testing.assert_allclose(between, table.nll[1:3, 0:2].mean(axis=(0, 1)), rtol=1e-9)


def test_many_channels_at_once_are_as_one_at_a_time() -> None:
    table, chance = small_table(), np.random.default_rng(0)
    channels = table.space.from_unit(chance.random((50, 2)))
    splits = chance.integers(0, LAYERS + 1, 50)
    rows = table.rows(channels)
    for channel, row in zip(channels, rows, strict=True):
        np.testing.assert_allclose(row, table.row(channel[0], 1 / channel[1]), rtol=1e-12)
    np.testing.assert_allclose(table.at(channels, splits), rows[np.arange(50), splits], rtol=1e-12)


@pytest.mark.parametrize(
    ("sigma", "m", "why"),
    [
        (2.01, inf, "sigma: 2.01 is not allowed; allowed: 0-2"),
        (-0.1, inf, "sigma: -0.1"),
        (1.0, 0.9, "inverse_m: 1.1"),
        (float("nan"), 1, "sigma: nan"),
    ],
)
def test_table_refuses_to_extrapolate(sigma: float, m: float, why: str) -> None:
    with pytest.raises(InputError, match=why):
        small_table().row(sigma, m)


@pytest.mark.parametrize("split", [-1, LAYERS + 1])
def test_table_refuses_splits_that_the_model_does_not_have(split: int) -> None:
    with pytest.raises(InputError, match=f"split: {split} is not allowed; allowed: 0-6"):
        small_table().at(np.zeros((1, 2)), np.array([split]))


def test_table_survives_its_file(tmp_path: Path) -> None:
    table, path = small_table(), tmp_path / "table.json"
    table.save(path)
    again = PerplexityTable.load(path)
    assert (again.model, again.sigma, again.m) == (table.model, table.sigma, table.m)
    np.testing.assert_allclose(again.nll, table.nll, atol=1e-5)
    assert again.provenance == {"seed": 0}


def _pop(key: str) -> Callable[[dict[str, Any]], object]:
    return lambda record: record.pop(key)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (_pop("nll"), "nll is missing"),
        (lambda r: r["model"].update(layers=inf), "cannot convert float infinity"),
        (_pop("format"), "format: None is not allowed"),
        (lambda r: r.update(sigma=[0.0, 2.0, 0.5]), "sigma"),
        (lambda r: r.update(m=[4.0, 1.0]), "shape of nll"),
        (lambda r: r.update(m=[8.0, 4.0, 1.0]), "table: m"),
        (lambda r: r["nll"][0][0].__setitem__(0, None), "not finite"),
        (lambda r: r["nll"][0][0].__setitem__(0, "x"), "could not convert"),
        (lambda r: r.update(clean_nll=-0.1), "clean_nll"),
        (lambda r: r.update(chance_nll=inf), "chance_nll"),
    ],
)
def test_damaged_tables_are_named(
    tmp_path: Path, damage: Callable[[dict[str, Any]], object], why: str
) -> None:
    path = tmp_path / "table.json"
    small_table().save(path)
    record = json.loads(path.read_text())
    damage(record)
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match=why) as caught:
        PerplexityTable.load(path)
    assert "\n" not in str(caught.value)


def test_embedded_table_says_that_noise_hurts_early_splits_more() -> None:
    table = PerplexityTable.load(DEFAULT_DIRECTORY / "table.json")
    assert (table.model, table.clean_nll < table.chance_nll) == (ModelId("airsplit-tiny", 16), True)
    for sigma in (0.5, 1.0, 2.0, 5.0):
        row = table.row(sigma, inf)
        assert row[0] > row[4] > row[14] > table.clean_nll
    np.testing.assert_allclose(table.row(0.0, inf), table.clean_nll, atol=1e-4)
