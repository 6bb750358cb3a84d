"""Measured perplexity of one model over (sigma, m, p), and what lies between the cells. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from airsplit.errors import InputError
from controller.features import inverse_m
from controller.learning.space import ChannelSpace, Floats, Ints, noise_coordinate, require_splits
from controller.policy import ModelId
from controller.stored import read_record

FORMAT = "airsplit-table/1"


@dataclass(frozen=True)
class PerplexityTable:
    """Mean negative log-likelihood per token, in nats; perplexity is its exponential (Eq. 7).

    Between the cells it is linear in log(1 + sigma / SIGMA_SCALE) and in 1/m, exact at the cells,
    and never interpolated in p. Beyond them it refuses to answer.

    Raises:
        InputError: the axes or the shapes do not fit, or a value is not finite.
    """

    model: ModelId
    sigma: tuple[float, ...]
    """Ascending, from 0."""

    m: tuple[float, ...]
    """Descending, from infinity (no fading)."""

    nll: np.ndarray
    """[sigma, m, p] with p = 0..L."""

    nll_se: np.ndarray
    """Standard error of each cell's excess over the clean model, over windows; as `nll`."""

    clean_nll: float
    """Of the same text without a channel."""

    chance_nll: float
    """Of a uniform guess: the logarithm of the vocabulary's size. A model that knows nothing of a
    text may be worse."""

    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Seed, text, windows, channel: how it was measured."""

    def __post_init__(self) -> None:
        shape = (len(self.sigma), len(self.m), self.model.layers + 1)
        for name in ("nll", "nll_se"):
            values = getattr(self, name)
            if values.shape != shape:
                raise InputError.of(f"table: shape of {name}", values.shape, str(shape))
            if not np.isfinite(values).all():
                raise InputError(f"table: {name} has values that are not finite")
        for name, axis in (("sigma", self._x), ("m", self._y)):
            if len(axis) < 2 or axis[0] != 0 or not (np.diff(axis) > 0).all():
                start = "0, ascending" if name == "sigma" else "inf, descending"
                raise InputError.of(
                    f"table: {name}", getattr(self, name), f"2 or more, from {start}"
                )
        for name in ("clean_nll", "chance_nll"):
            if not 0 <= getattr(self, name) < inf:
                raise InputError.of(f"table: {name}", getattr(self, name), "finite, at least 0")

    @cached_property
    def space(self) -> ChannelSpace:
        """The channels that were measured, and what lies between."""
        high = (self.sigma_max, self.inverse_m_max)
        return ChannelSpace(("sigma", "inverse_m"), (0.0, 0.0), high)

    @property
    def sigma_max(self) -> float:
        return self.sigma[-1]

    @property
    def inverse_m_max(self) -> float:
        return inverse_m(self.m[-1])

    def row(self, sigma: float, m: float) -> Floats:
        """NLL for every split p at one channel: [L + 1].

        Raises:
            InputError: as `rows`.
        """
        row: Floats = self.rows(np.array([[sigma, inverse_m(m)]]))[0]
        return row

    def rows(self, channels: Floats) -> Floats:
        """NLL for every split p at channels (sigma, 1/m), [n, 2]: [n, L + 1].

        Raises:
            InputError: a channel is outside what was measured.
        """
        corners, weights = self._around(channels)
        rows: Floats = np.einsum("cn,cnp->np", weights, self._cells[corners])
        return rows

    def at(self, channels: Floats, splits: Ints) -> Floats:
        """NLL at channels (sigma, 1/m), [n, 2], and splits, [n]: [n].

        Raises:
            InputError: a channel or a split is outside what was measured.
        """
        corners, weights = self._around(channels)
        chosen = require_splits(splits, 0, self.model.layers + 1)
        values: Floats = (weights * self._cells[corners, chosen]).sum(axis=0)
        return values

    def _around(self, channels: Floats) -> tuple[Ints, Floats]:
        """The four cells around each channel, by row of `_cells`, and their weights: [4, n]."""
        sigma, share = self.space.require(channels).T
        i, u = _locate(self._x, noise_coordinate(sigma))
        j, v = _locate(self._y, share)
        corner = i * len(self.m) + j
        corners = np.stack([corner, corner + 1, corner + len(self.m), corner + len(self.m) + 1])
        return corners, np.stack([(1 - u) * (1 - v), (1 - u) * v, u * (1 - v), u * v])

    @cached_property
    def _cells(self) -> Floats:
        """[sigma * m, L + 1]"""
        return self.nll.reshape(-1, self.model.layers + 1)

    @cached_property
    def _x(self) -> Floats:
        return noise_coordinate(self.sigma)

    @cached_property
    def _y(self) -> Floats:
        return np.array([inverse_m(m) for m in self.m])

    def save(self, path: Path) -> None:
        record = {
            "format": FORMAT,
            "model": {"name": self.model.name, "layers": self.model.layers},
            "sigma": self.sigma,
            "m": ["inf" if np.isinf(m) else m for m in self.m],
            "clean_nll": round(self.clean_nll, 6),
            "chance_nll": round(self.chance_nll, 6),
            "provenance": dict(self.provenance),
            "nll": np.round(self.nll, 5).tolist(),
            "nll_se": np.round(self.nll_se, 5).tolist(),
        }
        path.write_text(json.dumps(record, allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> PerplexityTable:
        """Raises: InputError: the file cannot be read or is not such a table."""
        record = read_record(path, FORMAT)
        try:
            return cls(
                model=ModelId(str(record["model"]["name"]), int(record["model"]["layers"])),
                sigma=tuple(float(value) for value in record["sigma"]),
                m=tuple(float(value) for value in record["m"]),
                nll=np.array(record["nll"], dtype=np.float64),
                nll_se=np.array(record["nll_se"], dtype=np.float64),
                clean_nll=float(record["clean_nll"]),
                chance_nll=float(record["chance_nll"]),
                provenance=dict(record["provenance"]),
            )
        except KeyError as error:
            raise InputError(f"{path}: {error.args[0]} is missing") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{path}: {error}") from error
        except InputError as error:
            raise InputError(f"{path}: {error}") from error


def _locate(axis: Floats, values: Floats) -> tuple[Ints, Floats]:
    """The cells [i, i + 1] that hold `values`, [n], and how far into them, 0..1."""
    i = np.searchsorted(axis[1:-1], values, side="right")
    return i, (values - axis[i]) / (axis[i + 1] - axis[i])
