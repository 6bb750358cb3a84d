"""Reads recorded radios: Mahimahi files, seconds/rate files, and CSV logs of a drive test.

What a file is shows in its first line: one number is Mahimahi, two are seconds and Mbit/s, and
names are the header of a CSV. A log of one sample per second sets the mean; fading goes beneath it.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from airsplit.errors import InputError
from channel_emulator.files import read_text
from channel_emulator.rate_trace import MAX_POINTS, RateTrace

OPPORTUNITY_BITS = 12_000
"""Of one line of a Mahimahi file: 1500 bytes."""

MAX_RATE_MBPS = 1e6
MAX_TIME_S = 1e6

CQI_EFFICIENCY = (
    *(0.1523, 0.2344, 0.3770, 0.6016, 0.8770, 1.1758, 1.4766, 1.9141),
    *(2.4063, 2.7305, 3.3223, 3.9023, 4.5234, 5.1152, 5.5547),
)
"""bit/s/Hz of CQI 1 to 15 (3GPP TS 38.214, table 5.2.2.1-2)."""

_TIME_COLUMNS = ("time_s", "seconds", "time")
_MISSING = ("", "-")
_MOST_SHOWN = 40
"""Characters of a file's own text in an error."""

_MOST_NAMES = 12


@dataclass(frozen=True, slots=True)
class Samples:
    """A recorded quantity, each value held until the next one's time."""

    time_s: NDArray[np.float64]
    """[samples + 1], increasing from 0; the last is the end."""

    values: NDArray[np.float64]
    """[samples], in the unit of `knob`."""

    knob: str | None
    """What of the channel it is; None where the file does not say."""

    @property
    def period_s(self) -> float:
        return float(self.time_s[-1])


def cqi_to_snr_db(cqi: int) -> float:
    """The SNR at which Shannon's limit log2(1 + SNR) is the efficiency of that CQI (1-15), in dB.

    A real receiver needs more: `snr_gap_db`.
    """
    return 10 * math.log10(2 ** CQI_EFFICIENCY[cqi - 1] - 1)


def read_rate_trace(path: Path, column: str | None = None) -> RateTrace:
    """A Mahimahi file, a seconds/Mbit/s file, or a throughput column of a CSV, as a link.

    Raises:
        InputError: names the file and line, the value and what is allowed.
    """
    text = read_text("trace", path)
    if _fields(_first_line(path, text)) == 1:
        if column is not None:
            raise InputError.of(f"{path}: column", column, "none: the file has one column")
        return parse_mahimahi(path.name, text)
    samples = parse_samples(path.name, text, column)
    if samples.knob != "rate_mbps":
        raise InputError.of(f"{path.name}: column", column, "a rate: *_mbps, *_kbps, *_bitrate")
    return RateTrace.of_rates(samples.time_s, samples.values)


def read_samples(path: Path, column: str | None = None) -> Samples:
    """A seconds/Mbit/s file, or a column of a CSV.

    Raises:
        InputError: names the file and line, the value and what is allowed.
    """
    return parse_samples(path.name, read_text("trace", path), column)


def parse_mahimahi(name: str, text: str) -> RateTrace:
    """Each line is a millisecond at which 1500 bytes may leave; the last one is the period.

    Raises:
        InputError: names the line, the value and what is allowed.
    """
    times_ms: list[int] = []
    for number, line in _lines(name, text):
        last = times_ms[-1] if times_ms else 0
        word = line.strip()
        whole = word.isascii() and word.isdigit() and len(word) <= 10
        if not (whole and last <= int(word) <= MAX_TIME_S * 1e3):
            allowed = f"a whole millisecond in [{last}, {MAX_TIME_S * 1e3:.0f}]"
            raise InputError.of(f"{name}, line {number}", _cut(word), allowed)
        times_ms.append(int(word))
    if not times_ms or times_ms[-1] == 0:
        raise InputError(f"{name}: no line is above 0; allowed: one or more, a millisecond each")
    times_ns = np.array(times_ms, dtype=np.int64) * 1_000_000
    return RateTrace.of_opportunities(times_ns, OPPORTUNITY_BITS)


def parse_samples(name: str, text: str, column: str | None = None) -> Samples:
    """Two columns of seconds and Mbit/s, or a CSV with a header and one `column` of it.

    Raises:
        InputError: names the line, the value and what is allowed.
    """
    first = _first_line(Path(name), text)
    fields = _fields(first)
    if fields == 0:
        return _csv_column(name, text, column)
    if column is not None:
        raise InputError.of(f"{name}: column", column, "none: the file has no header")
    if fields != 2:
        allowed = "seconds and Mbit/s, or a header of names"
        raise InputError.of(f"{name}, line 1", _cut(first), allowed)
    return _two_columns(name, text)


def _two_columns(name: str, text: str) -> Samples:
    times: list[float] = []
    rates: list[float] = []
    for number, line in _lines(name, text):
        where = f"{name}, line {number}"
        words = line.replace(",", " ").split()
        if len(words) != 2:
            raise InputError.of(where, _cut(line.strip()), "two numbers: seconds and Mbit/s")
        times.append(_later_time(where, words[0], times))
        rates.append(_number(where, words[1], 0, MAX_RATE_MBPS))
    return Samples(_with_end(times), np.array(rates), "rate_mbps")


def _csv_column(name: str, text: str, column: str | None) -> Samples:
    rows = _csv_rows(name, text)
    _, header = next(rows)
    names = [word.strip() for word in header]
    if column is None:
        where = f"{name}: --column, or column in a scenario"
        raise InputError(f"{where}, is missing; allowed: {_allowed(names)}")
    if names.count(column) != 1:
        raise InputError.of(f"{name}: column", column, _allowed(names))
    at, read = names.index(column), _reader(column)
    time_at = next((i for i, word in enumerate(names) if word.lower() in _TIME_COLUMNS), None)
    times: list[float] = []
    values: list[float | None] = []
    for number, row in rows:
        where = f"{name}, line {number}"
        if len(row) != len(names):
            raise InputError.of(where, f"{len(row)} fields", f"{len(names)}, as in the header")
        times.append(
            float(len(times)) if time_at is None else _later_time(where, row[time_at], times)
        )
        value = row[at].strip()
        held = values[-1] if values else None
        values.append(held if value in _MISSING else read.convert(f"{where}: {column}", value))
    known = next((value for value in values if value is not None), None)
    if known is None:
        raise InputError(f"{name}: column {column!r} has no value; allowed: one or more")
    filled = [known if value is None else value for value in values]
    return Samples(_with_end(times), np.array(filled), read.knob)


@dataclass(frozen=True, slots=True)
class _Reader:
    """What a column's numbers stand for."""

    knob: str | None
    convert: Callable[[str, str], float]
    """The value in the knob's unit, from where it stands and its text."""


def _reader(column: str) -> _Reader:
    """By the name of the column: throughputs, SNR in dB, CQI, speed in km/h as loggers write it."""
    name = column.lower()
    if name.endswith("_mbps"):
        return _Reader("rate_mbps", lambda at, word: _number(at, word, 0, MAX_RATE_MBPS))
    if name.endswith(("_kbps", "_bitrate")):
        highest = MAX_RATE_MBPS * 1e3
        return _Reader("rate_mbps", lambda at, word: _number(at, word, 0, highest) / 1e3)
    if name in ("snr", "snr_db", "sinr", "sinr_db"):
        return _Reader("snr_db", lambda at, word: _number(at, word, -100, 100))
    if name == "cqi":
        return _Reader("snr_db", _cqi)
    if name == "speed":
        return _Reader("speed_mps", lambda at, word: _number(at, word, 0, 3600) / 3.6)
    return _Reader(None, lambda at, word: _number(at, word, -1e9, 1e9))


def _allowed(names: Sequence[str]) -> str:
    """Columns that can be played by themselves; of a file without any, how its header begins."""
    once = [name for name in names if names.count(name) == 1]
    short = [name for name in once if len(name) <= _MOST_SHOWN and name.isprintable()]
    played = [name for name in short if _reader(name).knob is not None]
    if not played:
        return f"a name, once in the header, which begins {_cut(', '.join(names))!r}"
    return f"{', '.join(played[:_MOST_NAMES])}, or another name, once in the header"


def _cut(foreign: str) -> str:
    """Enough of it to see what it is: a file that is no trace may hold anything."""
    return foreign if len(foreign) <= _MOST_SHOWN else foreign[:_MOST_SHOWN] + "..."


def _cqi(where: str, word: str) -> float:
    cqi = _number(where, word, 1, len(CQI_EFFICIENCY))
    if not cqi.is_integer():
        raise InputError.of(where, _cut(word), "an integer in [1, 15], or '-'")
    return cqi_to_snr_db(int(cqi))


def _number(where: str, word: str, low: float, high: float) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise InputError.of(where, _cut(word.strip()), f"a number in [{low:g}, {high:g}]")
    return value


def _later_time(where: str, word: str, times: Sequence[float]) -> float:
    """Nothing is shorter than a microsecond."""
    return _number(where, word, times[-1] + 1e-6 if times else 0, MAX_TIME_S)


def _with_end(times: Sequence[float]) -> NDArray[np.float64]:
    """From 0; the last value lasts as long as the one before it, and a single one for a second."""
    last = times[-1] - times[-2] if len(times) > 1 else 1.0
    return np.array([*times, times[-1] + last]) - times[0]


def _lines(name: str, text: str) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers from 1."""
    found = 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        found += 1
        if found > MAX_POINTS:
            raise InputError.of(f"{name}: lines", found, f"at most {MAX_POINTS}")
        yield number, line


def _csv_rows(name: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, with the numbers of their lines."""
    lines = _lines(name, text)
    number = 0

    def words() -> Iterator[str]:
        nonlocal number
        for found, line in lines:
            number = found
            yield line

    rows = csv.reader(words(), strict=True)
    try:
        for row in rows:
            yield number, row
    except csv.Error as error:
        raise InputError(f"{name}, line {number}: {error}; allowed: CSV") from None


def _first_line(path: Path, text: str) -> str:
    for _, line in _lines(path.name, text):
        return line.strip()
    raise InputError(f"{path.name}: is empty; allowed: one or more samples")


def _fields(line: str) -> int:
    """How many numbers make up a line; 0 where not all are."""
    words = line.replace(",", " ").split()
    try:
        return len([float(word) for word in words])
    except ValueError:
        return 0
