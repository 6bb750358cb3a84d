"""What one knob of the channel may be set to: a range of numbers or a choice of names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from airsplit.errors import InputError


class Fading(StrEnum):
    """How the fading amplitude h is held."""

    NONE = "none"
    """h = 1."""

    ELEMENT = "element"
    """One independent h per element (Eq. 3-5 of the paper)."""

    TOKEN = "token"  # noqa: S105
    """One independent h per token."""

    FRAME = "frame"
    """One independent h per frame."""

    BLOCK = "block"
    """One independent h per coherence time."""

    COPULA = "copula"
    """h(t) with Doppler, any m: a Rayleigh process mapped to Nakagami (Beaulieu and Cheng 2005)."""

    SUM_OF_SQUARES = "sum_of_squares"
    """h(t) with Doppler, 2m an integer: the norm of 2m real Gaussian processes."""


HELD = (Fading.BLOCK, Fading.COPULA, Fading.SUM_OF_SQUARES)
"""Fading that is a function of time: copies within a coherence time meet the same h."""


class PowerReference(StrEnum):
    """Which values' mean square an SNR refers to."""

    TOKEN = "token"  # noqa: S105
    """Each token's own."""

    TENSOR = "tensor"
    """All of a frame's."""

    INLIERS = "inliers"
    """Each token's own, without its outliers."""


class LossUnit(StrEnum):
    """What is lost as a whole."""

    ELEMENT = "element"
    TOKEN = "token"  # noqa: S105
    PACKET = "packet"
    """packet_bytes consecutive bytes of the stream."""

    FRAME = "frame"


class LossModel(StrEnum):
    """How losses follow each other."""

    IID = "iid"
    """Each unit by itself."""

    GILBERT_ELLIOTT = "gilbert_elliott"
    """In bursts: a two-state Markov chain over the units (Gilbert 1960; Elliott 1963)."""


class JitterDistribution(StrEnum):
    """Of a message's delay; jitter_ms is its standard deviation before it is cut off."""

    NORMAL = "normal"
    """Around delay_ms, cut off below zero."""

    UNIFORM = "uniform"
    """Around delay_ms, cut off below zero."""

    EXPONENTIAL = "exponential"
    """On top of delay_ms."""


class QueuePolicy(StrEnum):
    """What becomes of a frame that finds the queue full."""

    BLOCK = "block"
    """Its sender waits."""

    DROP = "drop"
    """It arrives as a frame that is erased whole."""


class Equalizer(StrEnum):
    """What the receiver does with y = h x + n."""

    NONE = "none"
    """Nothing: h stays on the values."""

    ZERO_FORCING = "zero_forcing"
    """y / h."""


class RadioClock(StrEnum):
    """What radio time is."""

    REPLAY = "replay"
    """A schedule: tokens sent before, times token_interval_ms. A run repeats bit for bit."""

    LIVE = "live"
    """The wall clock. Nothing repeats."""


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`; an open end is not part of it."""

    low: float
    high: float
    low_open: bool = False
    high_open: bool = False
    integer: bool = False

    def __str__(self) -> str:
        kind = "an integer in " if self.integer else ""
        opening, closing = "(" if self.low_open else "[", ")" if self.high_open else "]"
        high = str(int(self.high)) if self.integer else f"{self.high:g}"
        return f"{kind}{opening}{self.low:g}, {high}{closing}"

    def read(self, field: str, value: object) -> float:
        """The number that `value` (a number, or text that is one) stands for.

        Raises:
            InputError: not a number, or out of range.
        """
        number = self._number(value)
        if number is None or not self._holds(number):
            raise InputError.of(field, value if number is None else number, str(self))
        return number

    def _number(self, value: object) -> float | None:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            return None
        try:
            if self.integer and not isinstance(value, float):
                return int(value)  # exact: a seed has more digits than a float
            number = float(value)
        except (ValueError, OverflowError):
            return None
        if not self.integer:
            return number
        return int(number) if math.isfinite(number) and number == int(number) else None

    def _holds(self, number: float) -> bool:
        above = number > self.low if self.low_open else number >= self.low
        below = number < self.high if self.high_open else number <= self.high
        return above and below


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the names of an enumeration."""

    kind: type[StrEnum]

    def __str__(self) -> str:
        return "|".join(self.kind)

    def read(self, field: str, value: object) -> StrEnum:
        """The member of that name.

        Raises:
            InputError: no such name.
        """
        try:
            return self.kind(str(value))
        except ValueError:
            raise InputError.of(field, value, str(self)) from None
