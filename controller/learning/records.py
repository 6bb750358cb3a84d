"""Measured records of one model, read from JSON lines and checked one by one. Pure numpy.

A record says what perplexity a channel and a split gave, and how sure that is (docs/surrogate.md).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from controller.learning.rounding import nll_rounding
from controller.learning.space import LIMITS, ChannelSpace, Floats, Ints
from controller.policy import ModelId
from controller.stored import parse_json

FORMAT = "airsplit-record/1"

RANGES: Mapping[str, tuple[float, float]] = {
    "sigma": (0.0, LIMITS["sigma"]),
    "m": (1 / LIMITS["inverse_m"], inf),
    "loss": (0.0, LIMITS["loss"]),
    "nll": (0.0, 1e3),
    "nll_se": (0.0, 1e3),
    "clean_nll": (0.0, 1e3),
}
"""Least and greatest value of each number that is read; "inf" is written for an infinite m."""

ALIKE = ("model", "dataset", "window", "windows", "dtype")
"""What all records of a set have to share, so that they differ by channel and split alone."""

VARIED = ("sigma", "m", "loss", "seed")
"""The settings of the channel in which the records of one preset may differ."""

WANTED = {"sigma": ("sigma", "0 5"), "inverse_m": ("m", "inf 1"), "loss": ("loss", "0 0.3")}
"""By coordinate, the flag of `airsplit collect`, and values that make a range of it."""


@dataclass(frozen=True)
class Records:
    """n records, as arrays.

    Raises:
        InputError: the arrays do not fit together, or there are none.
    """

    model: ModelId
    space: ChannelSpace
    """What they span: nothing outside was measured."""

    splits: LayerRange
    """From the least to the greatest split."""

    channels: Floats
    """[n, k] in the coordinates of `space`."""

    split: Ints
    """[n]"""

    nll: Floats
    """[n], nats per token."""

    clean_nll: float
    """Of the same text without a channel."""

    nll_se: Floats
    """[n], standard error of the excess over clean; 0 where it is not known."""

    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n, k = len(self.split), len(self.space.names)
        if n == 0:
            raise InputError("records: there are none; allowed: at least 1")
        for name, shape in (("channels", (n, k)), ("nll", (n,)), ("nll_se", (n,))):
            if getattr(self, name).shape != shape:
                raise InputError.of(f"records: {name}", getattr(self, name).shape, str(shape))

    def __len__(self) -> int:
        return len(self.split)

    def chosen(self, which: NDArray[np.bool_]) -> Records:
        """Those of `which`, bool [n]; the ranges stay."""
        return replace(
            self,
            channels=self.channels[which],
            split=self.split[which],
            nll=self.nll[which],
            nll_se=self.nll_se[which],
        )

    def channel_number(self) -> Ints:
        """Which of the distinct channels each record is of: [n], from 0."""
        return _number_of(self.channels)

    def draw_spread(self) -> float | None:
        """Standard deviation of the NLL between draws of one channel and split, pooled over those
        with two draws or more, in nats; None where every one was drawn once."""
        cell = _number_of(np.column_stack([self.channels, self.split]))
        draws = np.bincount(cell)
        mean = np.bincount(cell, self.nll) / draws
        freedom = int((draws - 1).sum())
        if freedom == 0:
            return None
        return float(np.sqrt(((self.nll - mean[cell]) ** 2).sum() / freedom))


def spanned(names: tuple[str, ...], channels: Floats) -> ChannelSpace:
    """The box of channels [n, k].

    Raises:
        InputError: a coordinate does not vary, so that nothing can be learnt of it.
    """
    low, high = (tuple(map(float, end)) for end in (channels.min(axis=0), channels.max(axis=0)))
    for name, least, greatest in zip(names, low, high, strict=True):
        if least == greatest:
            flag, values = WANTED[name]
            raise InputError(
                f"records need at least two values of {flag}, and have one: "
                f"collect with --{flag} {values} too"
            )
    return ChannelSpace(names, low, high)


def _number_of(rows: Floats) -> Ints:
    return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def read_records(paths: Sequence[Path]) -> Records:
    """Reads one or more files of records.

    The state is (loss,) where any record has a loss and none has noise or fading, else
    (sigma, inverse_m).

    Raises:
        InputError: a file cannot be read, a record is not one, records of different models, texts
            or channel settings are mixed, or one record comes twice; says in which line.
    """
    reader = _Reader()
    for path in paths:
        for place, line in _lines(path):
            reader.add(place, line)
    return reader.records()


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"{path}:{number}", line
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not text: {error.reason}") from error


class _Reader:
    """Checks record after record, against its ranges and against the first of its kind."""

    def __init__(self) -> None:
        self.places: list[str] = []
        self.rows: list[tuple[float, ...]] = []
        self.first: dict[str, Any] | None = None
        self.settings: dict[str, tuple[str, dict[str, Any]]] = {}
        self.seen: dict[tuple[object, ...], str] = {}

    def add(self, place: str, line: str) -> None:
        record = _parsed(place, line)
        value = {name: _number(place, record, name) for name in RANGES}
        layers = _layers(place, record)
        split = _integer(place, record, "split", 0, layers)
        seed = _integer(place, record, "seed", 0, 2**64 - 1)
        if value["loss"] > 0 and (value["sigma"] > 0 or value["m"] < inf):
            allowed = "0 beside noise or fading: the state is (sigma, m) or (loss)"
            raise InputError.of(f"{place}: loss", value["loss"], allowed)
        tokens = _integer(place, record, "tokens", 1, 2**53)
        self._compare(place, record, value["clean_nll"], tokens)
        self._compare_channel(place, record)
        row = (value["sigma"], 1 / value["m"], value["loss"])  # 1/inf is 0
        twin = self.seen.setdefault((*row, split, seed), place)
        if twin != place:
            raise InputError(f"{place}: channel, split and seed of {twin} again; allowed: once")
        self.places.append(place)
        self.rows.append((*row, split, value["nll"], value["nll_se"]))

    def _compare(self, place: str, record: dict[str, Any], clean_nll: float, tokens: int) -> None:
        if self.first is None:
            self.first = record
            return
        for name in ALIKE:
            if record.get(name) != self.first.get(name):
                allowed = f"{self.first.get(name)!r} as in {self.places[0]}"
                raise InputError.of(f"{place}: {name}", record.get(name), allowed)
        within = nll_rounding(str(record.get("dtype")), tokens)
        if not abs(clean_nll - self.first["clean_nll"]) <= within:
            allowed = f"{self.first['clean_nll']} within {within:.2g}, as {self.places[0]}"
            raise InputError.of(f"{place}: clean_nll", clean_nll, allowed)

    def _compare_channel(self, place: str, record: dict[str, Any]) -> None:
        channel = record.get("channel")
        if not isinstance(channel, dict) or not isinstance(channel.get("preset"), str):
            raise InputError.of(f"{place}: channel", channel, "an object with its preset")
        fixed = {name: channel[name] for name in channel if name not in VARIED}
        where, other = self.settings.setdefault(channel["preset"], (place, fixed))
        for name in {**other, **fixed}:
            if fixed.get(name) != other.get(name):
                allowed = f"{other.get(name)!r} as in {where}"
                raise InputError.of(f"{place}: channel: {name}", fixed.get(name), allowed)

    def records(self) -> Records:
        if self.first is None:
            raise InputError("records: there are none; allowed: at least 1")
        sigma, inverse_m, loss, split, nll, nll_se = np.array(self.rows).T
        if loss.any():
            faded = np.flatnonzero((sigma > 0) | (inverse_m > 0))
            if len(faded):
                lost = self.places[int(loss.argmax())]
                raise InputError(
                    f"{self.places[faded[0]]}: has noise or fading, {lost} has loss; "
                    "allowed: one of them, the state is (sigma, m) or (loss)"
                )
            names: tuple[str, ...] = ("loss",)
            channels = loss[:, None]
        else:
            names = ("sigma", "inverse_m")
            channels = np.column_stack([sigma, inverse_m])
        model = self.first["model"]
        return Records(
            model=ModelId(str(model["name"]), int(model["layers"])),
            space=spanned(names, channels),
            splits=LayerRange(int(split.min()), int(split.max()) + 1),
            channels=channels,
            split=split.astype(np.int64),
            nll=nll,
            clean_nll=float(self.first["clean_nll"]),
            nll_se=nll_se,
            provenance={
                **{name: self.first.get(name) for name in ALIKE},
                "channels": [fixed for _, fixed in self.settings.values()],
            },
        )


def _parsed(place: str, line: str) -> dict[str, Any]:
    try:
        record = parse_json(line)
    except ValueError as error:
        cut = "" if line.endswith("\n") else ", the line is cut off"
        raise InputError(f"{place}: is not JSON{cut}: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        found = record.get("format") if isinstance(record, dict) else type(record).__name__
        raise InputError.of(f"{place}: format", found, FORMAT)
    return record


def _number(place: str, record: Mapping[str, Any], name: str) -> float:
    """Raises: InputError: it is missing, not a number, NaN or outside."""
    low, high = RANGES[name]
    allowed = f"{low:g}-{high:g}" if isfinite(high) else f'at least {low:g}, or "inf"'
    value = _there(place, record, name)
    if name == "m" and value == "inf":
        return inf
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # By comparison alone: an integer of JSON may be beyond a float.
    if not (is_number and low <= value <= min(high, sys.float_info.max)):
        raise InputError.of(f"{place}: {name}", value, allowed)
    return float(value)


def _integer(place: str, record: Mapping[str, Any], name: str, low: int, high: int) -> int:
    value = _there(place, record, name)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise InputError.of(f"{place}: {name}", value, f"{low}-{high}")
    return value


def _layers(place: str, record: Mapping[str, Any]) -> int:
    model = _there(place, record, "model")
    if not isinstance(model, dict) or not isinstance(model.get("name"), str):
        raise InputError.of(f"{place}: model", model, "an object with name and layers")
    return _integer(f"{place}: model", model, "layers", 1, 10_000)


def _there(place: str, record: Mapping[str, Any], name: str) -> Any:
    if name not in record:
        raise InputError(f"{place}: {name} is missing")
    return record[name]
