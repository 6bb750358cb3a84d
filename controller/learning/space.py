"""What a learner calls a channel: a few numbers, each within a range. Pure numpy.

A batch of channels is float64 [n, k] in *state coordinates*: (sigma, inverse_m) or (loss,). 1/m in
place of m has a number for a channel that does not fade: 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from airsplit.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SIGMA_SCALE = 0.25
"""Noise below which sigma's own scale is about linear, above which about logarithmic."""

LIMITS = {"sigma": 1e6, "inverse_m": 2.0, "loss": 1.0}
"""The coordinates there are, all from 0, and the greatest value that each can have. sigma: absolute
standard deviation of the noise; inverse_m: 1/m of Nakagami fading; loss: share of elements."""


def noise_coordinate(sigma: ArrayLike) -> Floats:
    """log(1 + sigma / SIGMA_SCALE): a logarithmic scale that has a place for sigma = 0."""
    return np.log1p(np.asarray(sigma, dtype=np.float64) / SIGMA_SCALE)


def sigma_at(coordinate: ArrayLike) -> Floats:
    """The inverse of `noise_coordinate`."""
    return SIGMA_SCALE * np.expm1(np.asarray(coordinate, dtype=np.float64))


@dataclass(frozen=True)
class ChannelSpace:
    """The channels that something is defined for: a box in state coordinates, edges included.

    Raises:
        InputError: a name is not known or comes twice, or a range is empty or impossible.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.names or len(set(self.names)) < len(self.names) or set(self.names) - {*LIMITS}:
            raise InputError.of("channel: names", list(self.names), f"some of {', '.join(LIMITS)}")
        if not len(self.names) == len(self.low) == len(self.high):
            sizes = f"{len(self.low)} and {len(self.high)} values"
            raise InputError.of("channel: low, high", sizes, f"{len(self.names)}, one a name")
        for name, low, high in zip(self.names, self.low, self.high, strict=True):
            if not (isfinite(low) and isfinite(high) and 0 <= low < high <= LIMITS[name]):
                allowed = f"least and greatest within 0-{LIMITS[name]:g}"
                raise InputError.of(f"channel: {name}", (low, high), allowed)

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> ChannelSpace:
        """From JSON, {"names", "low", "high"}.

        Raises:
            InputError: a part is missing or is not what it should be.
        """
        try:
            names = tuple(str(name) for name in record["names"])
            low, high = (tuple(float(x) for x in record[part]) for part in ("low", "high"))
        except KeyError as error:
            raise InputError(f"channel: {error.args[0]} is missing") from error
        except (TypeError, ValueError) as error:
            raise InputError(f"channel: {error}") from error
        return cls(names, low, high)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"names": list(self.names), "low": list(self.low), "high": list(self.high)}

    def contains(self, channels: Floats) -> NDArray[np.bool_]:
        """Whether each channel is in the box: bool [n]. NaN is not."""
        low, high = self._edges
        inside = (channels >= low) & (channels <= high)
        return np.asarray(inside.all(axis=1))

    def require(self, channels: ArrayLike) -> Floats:
        """`channels` as float64 [n, k].

        Raises:
            InputError: the shape is another, or a value is NaN or outside; names the first.
        """
        found = np.asarray(channels, dtype=np.float64)
        if found.ndim != 2 or found.shape[1] != len(self.names):
            raise InputError.of("channels: shape", found.shape, f"(n, {len(self.names)})")
        low, high = self._edges
        inside = (found >= low) & (found <= high)
        if not inside.all():
            row, i = np.argwhere(~inside)[0]
            allowed = f"{self.low[i]:g}-{self.high[i]:g}"
            raise InputError.of(self.names[i], float(found[row, i]), allowed)
        return found

    def clip(self, channels: Floats) -> Floats:
        """The nearest channels of the box: [n, k]."""
        low, high = self._edges
        return np.asarray(np.minimum(np.maximum(channels, low), high))

    def to_unit(self, channels: Floats) -> Floats:
        """Where in its range each value is: [n, k], 0-1 in the box; sigma on its own scale."""
        low, width = self._span
        return np.asarray((self._scaled(channels) - low) / width)

    def from_unit(self, unit: Floats) -> Floats:
        """The inverse of `to_unit`, clipped to the box: [n, k]."""
        low, width = self._span
        channels = low + unit * width
        for i in self._logarithmic:
            channels[:, i] = sigma_at(channels[:, i])
        return self.clip(channels)

    def grid(self, levels: Sequence[int]) -> Floats:
        """Every combination of `levels[i]` equal steps along coordinate i: [prod(levels), k]."""
        axes = [np.linspace(0, 1, count) for count in levels]
        unit = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
        return self.from_unit(unit)

    @cached_property
    def _edges(self) -> Floats:
        return np.array([self.low, self.high])

    @cached_property
    def _span(self) -> tuple[Floats, Floats]:
        """Least value and width of each range, on its own scale: [k]."""
        low, high = self._scaled(self._edges)
        return low, high - low

    @cached_property
    def _logarithmic(self) -> list[int]:
        return [i for i, name in enumerate(self.names) if name == "sigma"]

    def _scaled(self, channels: Floats) -> Floats:
        scaled = np.array(channels, dtype=np.float64)
        for i in self._logarithmic:
            scaled[:, i] = noise_coordinate(scaled[:, i])
        return scaled


def require_splits(splits: ArrayLike, low: int, stop: int) -> Ints:
    """`splits` as int64 [n], each in low..stop - 1.

    Raises:
        InputError: they are no integers, or one is outside; names it.
    """
    found = np.asarray(splits)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise InputError.of("split", f"{found.dtype} {found.shape}", "integers [n]")
    outside = found[(found < low) | (found >= stop)]
    if len(outside):
        raise InputError.of("split", int(outside[0]), f"{low}-{stop - 1}")
    return found.astype(np.int64, copy=False)
