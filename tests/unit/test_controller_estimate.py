"""Smoothing of channel estimates, re-derived."""

from __future__ import annotations

from math import exp, inf, isnan, nan

import pytest

from controller.estimate import Estimate, SmoothedEstimate

MS = 1_000_000


def test_nothing_is_known_before_the_first_report() -> None:
    now = SmoothedEstimate(100).current
    assert isnan(now.sigma)
    assert isnan(now.m)
    assert isnan(now.snr_db)


def test_average_weighs_by_elapsed_time() -> None:
    smoothed = SmoothedEstimate(smoothing_ms=100)
    smoothed.update(0, Estimate(sigma=1.0, m=2.0, omega=1.0, loss=0.0, snr_db=0.0))
    smoothed.update(50 * MS, Estimate(sigma=3.0, m=inf, omega=1.0, loss=0.1, snr_db=inf))
    old = exp(-0.5)
    assert smoothed.current.sigma == pytest.approx(old * 1 + (1 - old) * 3)
    assert smoothed.current.m == pytest.approx(1 / (old / 2))
    assert smoothed.current.loss == pytest.approx((1 - old) * 0.1)
    assert 10 ** (-smoothed.current.snr_db / 10) == pytest.approx(old)


def test_without_smoothing_the_newest_report_stands() -> None:
    smoothed = SmoothedEstimate(smoothing_ms=0)
    smoothed.update(0, Estimate(sigma=5.0))
    smoothed.update(1, Estimate(sigma=0.25))
    assert smoothed.current.sigma == 0.25


def test_what_is_unknown_or_impossible_leaves_the_average() -> None:
    smoothed = SmoothedEstimate(smoothing_ms=0)
    smoothed.update(0, Estimate(sigma=0.5, m=3.0, omega=1.0, loss=0.2, snr_db=10.0))
    smoothed.update(1, Estimate(sigma=nan, m=-1.0, omega=inf, loss=-0.1, snr_db=-inf))
    smoothed.update(2, Estimate(sigma=-1.0, m=nan, omega=nan, loss=nan, snr_db=nan))
    now = smoothed.current
    assert (now.sigma, now.omega, now.loss) == (0.5, 1.0, 0.2)
    assert now.m == pytest.approx(3.0)
    assert now.snr_db == pytest.approx(10.0)


def test_ideal_channel_comes_back_from_infinity() -> None:
    smoothed = SmoothedEstimate(smoothing_ms=0)
    smoothed.update(0, Estimate(sigma=0.0, m=inf, snr_db=inf))
    assert (smoothed.current.m, smoothed.current.snr_db) == (inf, inf)
    smoothed.update(1, Estimate(sigma=1.0, m=1.0, snr_db=3.0))
    assert smoothed.current.snr_db == pytest.approx(3.0)
