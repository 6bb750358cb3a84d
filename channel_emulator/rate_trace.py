"""A link whose capacity follows a trace: how many bits it could have delivered until each instant.

C(t), the cumulative capacity in bits, does not depend on what is sent. After its period it goes on
from its beginning. Two kinds: stepwise, as Mahimahi's (Netravali et al. 2015), where capacity comes
in opportunities that last no time; and piecewise linear, where it flows at a rate. All times are
whole nanoseconds and all amounts whole bits, so that nothing is lost or gained by rounding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from airsplit.errors import InputError

MAX_POINTS = 1_000_000
MAX_TOTAL = 10**18
"""Most nanoseconds (31 years), and most bits, of one period."""


@dataclass(frozen=True, slots=True, eq=False)
class RateTrace:
    """One direction of a link. The arrays are int64 [points] and cannot be written to.

    Raises:
        InputError: times or bits that do not describe a capacity.
    """

    time_ns: NDArray[np.int64]
    """Begins at 0, increases, ends at the period."""

    bits: NDArray[np.int64]
    """C at those times, opportunities at the time itself included; never decreases."""

    stepwise: bool
    """Whether C jumps at its times; else it is linear in between."""

    def __post_init__(self) -> None:
        for name in ("time_ns", "bits"):
            values = np.array(getattr(self, name), dtype=np.int64)
            values.flags.writeable = False
            object.__setattr__(self, name, values)
        self._check()

    def _check(self) -> None:
        time_ns, bits = self.time_ns, self.bits
        if time_ns.ndim != 1 or time_ns.shape != bits.shape:
            shapes = f"{list(time_ns.shape)} and {list(bits.shape)}"
            raise InputError.of("trace: time_ns and bits", shapes, "two lists of the same length")
        if not 2 <= len(time_ns) <= MAX_POINTS:
            raise InputError.of("trace: points", len(time_ns), f"[2, {MAX_POINTS}]")
        if time_ns[0] != 0:
            raise InputError.of("trace: time_ns[0]", int(time_ns[0]), "0")
        _require_order("time_ns", time_ns, 1)
        if bits[0] < 0 or (bits[0] > 0 and not self.stepwise):
            raise InputError.of("trace: bits[0]", int(bits[0]), "0, or more where stepwise")
        _require_order("bits", bits, 0)
        for name, last in (("period_ns", self.period_ns), ("period_bits", self.period_bits)):
            if not 1 <= last <= MAX_TOTAL:
                raise InputError.of(f"trace: {name}", last, f"[1, {MAX_TOTAL}]")

    @classmethod
    def of(cls, time_ns: Iterable[int], bits: Iterable[int], stepwise: bool) -> RateTrace:
        """From the plain form, as `to_lists` gives it.

        Raises:
            InputError: not such a form.
        """
        try:
            return cls(_integers(time_ns), _integers(bits), stepwise)
        except (OverflowError, ValueError, TypeError) as error:
            raise InputError(f"trace: {error}; allowed: 64-bit integers") from None

    @classmethod
    def of_opportunities(cls, time_ns: NDArray[np.int64], bits_each: int) -> RateTrace:
        """`bits_each` may leave at each of these times, [opportunities], in order; the last one is
        the period.

        Raises:
            InputError: not in order, or all at 0.
        """
        times, counts = np.unique(time_ns, return_counts=True)
        bits = np.cumsum(counts) * bits_each
        if len(times) and times[0] > 0:
            times, bits = np.insert(times, 0, 0), np.insert(bits, 0, 0)
        return cls(times, bits, stepwise=True)

    @classmethod
    def of_rates(cls, time_s: NDArray[np.float64], rate_mbps: NDArray[np.float64]) -> RateTrace:
        """Rate i holds from time i to time i + 1.

        Args:
            time_s: [samples + 1], increasing; the last is the end. Its first becomes 0.
            rate_mbps: [samples], 0 or more.

        Raises:
            InputError: not such times or rates.
        """
        elapsed_ns = np.rint((time_s - time_s[0]) * 1e9)
        pieces = np.rint(rate_mbps * np.diff(elapsed_ns) / 1e3)
        if not (elapsed_ns[-1] <= MAX_TOTAL and pieces.sum() <= MAX_TOTAL):
            raise InputError.of("trace: bits", float(pieces.sum()), f"[1, {MAX_TOTAL}]")
        bits = np.insert(np.cumsum(pieces.astype(np.int64)), 0, 0)
        return cls(elapsed_ns.astype(np.int64), bits, stepwise=False)

    def to_lists(self) -> tuple[list[int], list[int], bool]:
        """time_ns, bits and stepwise, as `of` takes them."""
        return self.time_ns.tolist(), self.bits.tolist(), self.stepwise

    @property
    def period_ns(self) -> int:
        return int(self.time_ns[-1])

    @property
    def period_bits(self) -> int:
        """What one period can deliver."""
        return int(self.bits[-1])

    @property
    def mean_rate_mbps(self) -> float:
        return self.period_bits / self.period_ns * 1e3

    def capacity_bits(self, time_ns: int) -> int:
        """C(t) in whole bits, rounded up: what could have left by then, t itself included."""
        rounds, rest_ns = divmod(time_ns, self.period_ns)
        after = int(np.searchsorted(self.time_ns, rest_ns, side="right"))
        t0, b0 = int(self.time_ns[after - 1]), int(self.bits[after - 1])
        if not self.stepwise:
            t1, b1 = int(self.time_ns[after]), int(self.bits[after])
            b0 -= (t0 - rest_ns) * (b1 - b0) // (t1 - t0)
        return rounds * self.period_bits + b0

    def serve(self, start_ns: int, position_bits: int, bits: int) -> tuple[int, int]:
        """Sends a message behind those before it.

        What the trace could have delivered before `start_ns` and did not is lost. What is left of
        an opportunity serves the next message, if that one was waiting by then.

        Args:
            start_ns: when the message has come and the one before it is through, in the trace's
                time.
            position_bits: where in C the message before it ended; 0 for the first.
            bits: length of the message.

        Returns:
            When it is through, and the new position.
        """
        if bits == 0:
            return start_ns, position_bits
        # Until one nanosecond before: the message before it may have ended within this one.
        position_bits = max(position_bits, self.capacity_bits(start_ns - 1)) + bits
        return self._time_of_ns(position_bits), position_bits

    def _time_of_ns(self, position_bits: int) -> int:
        """The first whole nanosecond at which C has reached a position above 0."""
        rounds, rest = divmod(position_bits - 1, self.period_bits)
        rest += 1
        at = int(np.searchsorted(self.bits, rest, side="left"))
        time_ns = int(self.time_ns[at])
        if not self.stepwise:
            t0, b0, b1 = int(self.time_ns[at - 1]), int(self.bits[at - 1]), int(self.bits[at])
            time_ns = t0 - (b0 - rest) * (time_ns - t0) // (b1 - b0)
        return rounds * self.period_ns + time_ns

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RateTrace):
            return NotImplemented
        return (
            self.stepwise == other.stepwise
            and np.array_equal(self.time_ns, other.time_ns)
            and np.array_equal(self.bits, other.bits)
        )

    def __hash__(self) -> int:
        return hash((self.stepwise, len(self.time_ns), self.period_ns, self.period_bits))


def _integers(values: Iterable[int]) -> NDArray[np.int64]:
    """One more than is allowed is enough to see that there are too many."""
    return np.fromiter(islice(values, MAX_POINTS + 1), dtype=np.int64)


def _require_order(name: str, values: NDArray[np.int64], least: int) -> None:
    wrong = np.flatnonzero(values[1:] < values[:-1] + least)
    if len(wrong):
        at = int(wrong[0]) + 1
        lowest = int(values[at - 1]) + least
        raise InputError.of(f"trace: {name}[{at}]", int(values[at]), f"{lowest} or more")
