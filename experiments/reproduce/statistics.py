"""How a claim of the paper is judged: by a 95 % interval, and by a rule that was set before. Pure.

A claim is made of findings, each one number with its interval. Of a *direction* (a is greater than
b) a finding is seen where the whole interval of the difference lies above 0, opposite where all of
it lies below, else not seen. Of *likeness* (a is about b) it is seen where the whole interval lies
within the margin, opposite where all of it lies outside, else not seen. A claim is seen where all
of its findings are, opposite where all are opposite, else not seen: since all have to hold, no
correction for their number is due (an intersection-union test).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite, nan, sqrt

import numpy as np
from scipy import stats

from experiments.live_summary import CONFIDENCE, Interval


class Verdict(StrEnum):
    """Of a claim, or of a part of it."""

    SEEN = "seen"
    NOT_SEEN = "not seen"
    OPPOSITE = "opposite"


def difference(a: Sequence[float], b: Sequence[float]) -> Interval:
    """Mean of `a` less mean of `b`, both over seeds that have nothing in common: Welch's interval.

    Raises:
        ValueError: no values.
    """
    if not (len(a) and len(b)):
        raise ValueError("no values")
    mean = float(np.mean(a) - np.mean(b))
    if min(len(a), len(b)) < 2:
        return Interval(mean, nan)
    errors = [float(np.var(values, ddof=1)) / len(values) for values in (a, b)]
    if sum(errors) == 0:
        return Interval(mean, 0.0)
    freedom = sum(errors) ** 2 / sum(
        error**2 / (len(values) - 1) for error, values in zip(errors, (a, b), strict=True)
    )
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
    return Interval(mean, quantile * sqrt(sum(errors)))


def difference_of_two(a: float, a_se: float, b: float, b_se: float, samples: int) -> Interval:
    """a - b from their standard errors over the same `samples` pieces of text.

    Both are measured on the same text, so that their errors go together; to add them as if they
    did not makes the interval wider, never narrower, than it had to be.
    """
    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, samples - 1))
    return Interval(a - b, quantile * sqrt(a_se**2 + b_se**2))


Rule = Callable[[Interval], Verdict]


def direction(found: Interval) -> Verdict:
    """Whether a difference is above 0."""
    low, high = ends(found)
    if low > 0:
        return Verdict.SEEN
    return Verdict.OPPOSITE if high < 0 else Verdict.NOT_SEEN


def alike(margin: float) -> Rule:
    """Whether a difference is within `margin` of 0."""

    def rule(found: Interval) -> Verdict:
        low, high = ends(found)
        if -margin <= low and high <= margin:
            return Verdict.SEEN
        return Verdict.OPPOSITE if low > margin or high < -margin else Verdict.NOT_SEEN

    return rule


def ends(found: Interval) -> tuple[float, float]:
    """Both ends of an interval; NaN of one seed, which proves nothing."""
    return found.mean - found.half_width, found.mean + found.half_width


@dataclass(frozen=True, slots=True)
class Finding:
    """One number that a claim is judged by."""

    what: str
    interval: Interval
    rule: Rule = direction
    form: str = "{:+.4f}"

    @property
    def verdict(self) -> Verdict:
        return self.rule(self.interval)

    @property
    def sentence(self) -> str:
        low, high = ends(self.interval)
        if not isfinite(low):
            return f"{self.what}: {self.form.format(self.interval.mean)}, of one seed"
        span = f"{self.form.format(low)} to {self.form.format(high)}"
        return f"{self.what}: {self.form.format(self.interval.mean)} ({span}), {self.verdict}"


@dataclass(frozen=True, slots=True)
class Claim:
    """What the paper says of a figure, and what is to be said of it here."""

    setting: str
    text: str
    """The paper's claim, in few words."""

    findings: tuple[Finding, ...]
    note: str = ""
    """What has to be known to read the verdict, whatever it is."""

    @property
    def verdict(self) -> Verdict:
        verdicts = {finding.verdict for finding in self.findings}
        return verdicts.pop() if len(verdicts) == 1 else Verdict.NOT_SEEN

    @property
    def why(self) -> str:
        """In a sentence or two: the numbers, and the note."""
        parts = "; ".join(finding.sentence for finding in self.findings)
        return f"{parts}. {self.note}".strip()
