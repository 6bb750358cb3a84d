"""Records of measured perplexity: one JSON object a line, in a file that survives a kill.

A record is written with one write and synchronised before the next, so that whatever stops the
program, only the last line can be torn; it is cut off when the file is opened again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, inf, isinf, isnan, nan, sqrt
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from airsplit.errors import InputError
from channel_emulator.config import ChannelConfig
from controller.learning.rounding import nll_rounding
from controller.stored import parse_json

FORMAT = "airsplit-record/1"

_OF_FILE = ("format", "model", "dataset", "window", "windows", "tokens", "dtype")
"""What all records of a file have in common."""

CONFIDENCE = 0.95

Floats = NDArray[np.float64]

Key = tuple[str, int]
"""The channel, seed included, and the split: what a record is of."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What was measured on; the same for all records of a file."""

    model: str
    layers: int
    fingerprint: str
    dataset: str
    window: int
    """Tokens of a window, the beginning-of-text token included."""

    windows: int
    clean_nll: float
    """Mean over the scored tokens without a channel, nats."""

    dtype: str = "fp32"
    """Of the computation and of what crosses."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "model": {"name": self.model, "layers": self.layers, "fingerprint": self.fingerprint},
            "dataset": self.dataset,
            "window": self.window,
            "windows": self.windows,
            "tokens": self.windows * (self.window - 1),
            "dtype": self.dtype,
            "clean_nll": round(self.clean_nll, 7),
        }


@dataclass(frozen=True, slots=True)
class Record:
    """Perplexity of one model at one split, over one channel and one seed."""

    subject: Subject
    channel: ChannelConfig
    split: int
    nll: float
    """Mean over the scored tokens, nats."""

    nll_se: float
    """Standard error over windows of the excess over the clean model."""

    margin: float
    """Half of the 95 % interval of `nll`: `nll_se` times the t quantile."""

    seconds: float
    """One worker's time for it."""

    @property
    def key(self) -> Key:
        return key_of(self.channel, self.split)

    def to_dict(self) -> dict[str, Any]:
        """One line of a file; JSON safe."""
        subject = self.subject.to_dict()
        clean_nll = subject.pop("clean_nll")
        return {
            **subject,
            "channel": self.channel.to_dict(),
            **coordinates(self.channel),
            "split": self.split,
            "seed": self.channel.seed,
            "nll": round(self.nll, 7),
            "nll_se": round(self.nll_se, 7),
            "clean_nll": clean_nll,
            "perplexity": _perplexity(self.nll),
            "perplexity_low": _perplexity(self.nll - self.margin),
            "perplexity_high": _perplexity(self.nll + self.margin),
            "seconds": round(self.seconds, 4),
        }


def excess_error(nlls: Floats, clean: Floats) -> tuple[float, float]:
    """Standard error of the mean excess over windows, and half of its 95 % interval (Student's t).

    Excesses are paired by window: texts differ more than what a channel does to them.
    """
    se = float((nlls - clean).std(ddof=1)) / sqrt(len(nlls))
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(nlls) - 1))
    return se, quantile * se


def coordinates(channel: ChannelConfig) -> dict[str, float | str | None]:
    """What is configured, in the terms that surrogates are trained on.

    sigma: absolute noise, 0 without, None where an SNR is configured; m: "inf" without fading;
    loss: of elements or other units, 0 without.
    """
    fades = channel.fading != "none"
    return {
        "sigma": None if channel.snr_db is not None else channel.sigma or 0.0,
        "m": channel.m if fades else "inf",
        "loss": channel.loss,
    }


def key_of(channel: ChannelConfig, split: int) -> Key:
    """Of the record that this channel and split make."""
    return _key(channel.to_dict(), split)


def line_key(line: Mapping[str, Any]) -> Key:
    """Of a record as it is in a file."""
    return _key(line["channel"], line["split"])


class RecordFile:
    """Appends to a JSON Lines file, and knows what is there."""

    def __init__(self, path: Path, subject: Subject) -> None:
        """Opens or begins the file; a torn last line is cut off.

        Raises:
            InputError: it cannot be written, or holds something else than records of `subject`.
        """
        self._path = path
        self._subject = subject.to_dict()
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise InputError(f"--out: {path} cannot be written: {error.strerror}") from error
        try:
            self.records = self._read()
        except BaseException:
            os.close(self._fd)
            raise
        self.keys: set[Key] = set(map(line_key, self.records))

    def append(self, record: Record) -> None:
        """Writes one record; it is on the disk when this returns."""
        line = record.to_dict()
        data = (json.dumps(line, allow_nan=False) + "\n").encode()
        if os.write(self._fd, data) != len(data):
            raise InputError(f"--out: {self._path}: the disk is full")
        os.fsync(self._fd)
        self.keys.add(record.key)
        self.records.append(line)

    def _read(self) -> list[dict[str, Any]]:
        """All whole records; cuts off what a kill left of the last one."""
        data = self._path.read_bytes()
        whole = data.rfind(b"\n") + 1
        lines = data[:whole].splitlines()
        found = [self._checked(number, line) for number, line in enumerate(lines, 1)]
        if whole < len(data):
            if not lines and not b'{"format": "airsplit-record'.startswith(data[:27]):
                raise InputError(f"--out: {self._path} is not a file of records")
            os.ftruncate(self._fd, whole)
        return found

    def _checked(self, number: int, line: bytes) -> dict[str, Any]:
        where = f"--out: {self._path}, line {number}"
        try:
            record: Any = parse_json(line)
        except ValueError as error:
            raise InputError(f"{where}: is not JSON") from error
        if not isinstance(record, dict):
            raise InputError(f"{where}: is not a record")
        for name in _OF_FILE:
            if record.get(name) != self._subject[name]:
                allowed = f"{self._subject[name]!r}, or another file"
                raise InputError.of(f"{where}: {name}", record.get(name), allowed)
        clean = _number(record.get("clean_nll"))
        within = nll_rounding(self._subject["dtype"], self._subject["tokens"])
        if not abs(clean - self._subject["clean_nll"]) <= within:
            allowed = f"{self._subject['clean_nll']:g}, that of this text; or another file"
            raise InputError.of(f"{where}: clean_nll", record.get("clean_nll"), allowed)
        if not isinstance(record.get("channel"), dict) or type(record.get("split")) is not int:
            raise InputError(f"{where}: channel or split is missing")
        return record

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> RecordFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _key(channel: Mapping[str, Any], split: int) -> Key:
    return json.dumps(channel, sort_keys=True), split


def _number(value: object) -> float:
    try:
        return float(value) if isinstance(value, int | float) else nan
    except OverflowError:  # an integer of JSON may be beyond a float
        return nan


def _perplexity(nll: float) -> float | None:
    """exp(nll); None, JSON's null, where it is beyond a float or there is no number."""
    if isnan(nll) or isinf(nll):
        return None
    value = exp(nll) if nll < 700 else inf
    return None if isinf(value) else round(value, 5)
