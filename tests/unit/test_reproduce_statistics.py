"""The rule by which a claim is judged says each of its three answers; LOESS finds known trends."""

from __future__ import annotations

from math import isnan, nan

import numpy as np
import pytest
from scipy import stats

from experiments.live_summary import Interval
from experiments.reproduce.loess import loess, loess_band, r_squared
from experiments.reproduce.statistics import (
    Claim,
    Finding,
    Verdict,
    alike,
    difference,
    difference_of_two,
    direction,
    ends,
)

SEEN, NOT_SEEN, OPPOSITE = Verdict.SEEN, Verdict.NOT_SEEN, Verdict.OPPOSITE


@pytest.mark.parametrize(
    ("mean", "half_width", "verdict"),
    [(0.5, 0.4, SEEN), (0.5, 0.6, NOT_SEEN), (-0.5, 0.6, NOT_SEEN), (-0.5, 0.4, OPPOSITE),
     (0.5, nan, NOT_SEEN), (0.0, 0.0, NOT_SEEN)],
)  # fmt: skip
def test_a_direction(mean: float, half_width: float, verdict: Verdict) -> None:
    assert direction(Interval(mean, half_width)) is verdict


@pytest.mark.parametrize(
    ("mean", "half_width", "verdict"),
    [(0.01, 0.03, SEEN), (0.01, 0.05, NOT_SEEN), (0.2, 0.1, OPPOSITE), (-0.2, 0.1, OPPOSITE),
     (-0.01, 0.03, SEEN), (0.01, nan, NOT_SEEN)],
)  # fmt: skip
def test_likeness(mean: float, half_width: float, verdict: Verdict) -> None:
    assert alike(0.05)(Interval(mean, half_width)) is verdict
    assert alike(10.0)(Interval(mean, half_width)) is (NOT_SEEN if isnan(half_width) else SEEN)


def test_a_difference_is_welchs() -> None:
    a, b = [1.0, 2.0, 4.0, 4.5], [0.5, 0.7, 0.2]
    theirs = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert ends(difference(a, b)) == pytest.approx((theirs.low, theirs.high))
    assert difference([1.0, 1.0], [0.5, 0.5]) == Interval(0.5, 0.0)
    assert isnan(difference([1.0], [0.5, 0.4]).half_width)
    with pytest.raises(ValueError, match="no values"):
        difference([], [1.0])


def test_a_difference_over_windows() -> None:
    found = difference_of_two(3.0, 0.3, 2.0, 0.4, samples=8)
    assert found.mean == 1.0
    assert found.half_width == pytest.approx(0.5 * stats.t.ppf(0.975, 7))


def claim(*means: float) -> Claim:
    findings = tuple(Finding("a less b", Interval(mean, 0.1)) for mean in means)
    return Claim("here", "a is greater", findings, "Mind this.")


@pytest.mark.parametrize(
    ("means", "verdict"),
    [((1.0, 1.0), SEEN), ((1.0, 0.0), NOT_SEEN), ((1.0, -1.0), NOT_SEEN), ((-1.0, -1.0), OPPOSITE),
     ((-1.0, 0.0), NOT_SEEN), ((), NOT_SEEN)],
)  # fmt: skip
def test_a_claim_is_all_of_its_findings(means: tuple[float, ...], verdict: Verdict) -> None:
    assert claim(*means).verdict is verdict


def test_a_claim_says_why() -> None:
    assert claim(1.0).why == "a less b: +1.0000 (+0.9000 to +1.1000), seen. Mind this."
    alone = Finding("a less b", Interval(1.0, nan))
    assert alone.sentence == "a less b: +1.0000, of one seed"


def test_loess_is_exact_on_a_line() -> None:
    chance = np.random.default_rng(0)
    x = chance.uniform(0, 5, 60)
    at = np.linspace(-1, 6, 15)
    for span in (0.3, 0.75, 1.0):
        np.testing.assert_allclose(loess(x, 2 - 3 * x, at, span), 2 - 3 * at, atol=1e-9)


def test_loess_follows_a_curve_the_closer_the_smaller_its_span() -> None:
    x = np.linspace(0, 2 * np.pi, 400)
    off = [np.abs(loess(x, np.sin(x), x, span) - np.sin(x)).max() for span in (0.05, 0.2, 0.75)]
    assert off[0] < 0.01 < off[1] < off[2]


def test_loess_weighs_as_cleveland_does() -> None:
    x, y = np.array([0.0, 1.0, 2.0, 4.0]), np.array([1.0, 0.0, 3.0, 10.0])
    weight = (1 - (np.abs(x - 1.5) / 1.5) ** 3).clip(0) ** 3  # of the three nearest to 1.5
    slope, level = np.polyfit(x, y, 1, w=np.sqrt(weight))
    assert loess(x, y, np.array([1.5]), 0.75)[0] == pytest.approx(level + 1.5 * slope)


def test_loess_survives_equal_places() -> None:
    x, y = np.array([1.0, 1.0, 1.0, 2.0]), np.array([0.0, 3.0, 6.0, 9.0])
    assert loess(x, y, np.array([1.0]), 0.75) == pytest.approx([3.0])
    assert np.isfinite(loess(x, y, np.array([0.0, 1.5, 5.0]))).all()


def test_the_band_holds_the_trend_and_is_wider_with_more_noise() -> None:
    chance = np.random.default_rng(1)
    x, at = chance.uniform(0, 1, 200), np.linspace(0.1, 0.9, 5)
    noise = chance.normal(size=200)
    widths = []
    for scale in (0.1, 1.0):
        low, high = loess_band(x, x + scale * noise, at, seed=3)
        assert (low < at).all()
        assert (at < high).all()
        widths.append((high - low).mean())
    assert 5 < widths[1] / widths[0] < 20
    again = loess_band(x, x + noise, at, seed=3)
    np.testing.assert_array_equal(again, loess_band(x, x + noise, at, seed=3))


def test_r_squared() -> None:
    y = np.array([1.0, 2.0, 3.0])
    assert r_squared(y, y) == 1
    assert r_squared(y, np.full(3, 2.0)) == 0
    assert r_squared(np.ones(3), y) == 0
