"""Estimators of Nakagami parameters against closed forms, the bound, and each other."""

import math

import numpy as np
import pytest
from scipy import integrate, optimize, special

from channel_emulator.kernels import estimators

SHAPES = [0.5, 1, 3, 10]


def samples(m, size, seed=0, omega=1.0):
    """Gains X = h²."""
    return np.random.default_rng(seed).gamma(m, omega / m, size)


def gap_of(m):
    """Δ of the distribution itself: ln m - ψ(m)."""
    return math.log(m) - float(special.digamma(m))


def of_rows(gains, estimator):
    return np.array(
        [estimator(estimators.log_gap(x.mean(), np.log(x).mean())) for x in gains], float
    )


@pytest.mark.parametrize("m", [0.06, 0.5, 0.75, 1, 2.5, 10, 1000])
def test_greenwood_and_durand_fit_the_likelihoods_root(m):
    assert estimators.greenwood_durand(gap_of(m)) == pytest.approx(m, rel=2e-4)


@pytest.mark.parametrize(("m", "error"), [(0.5, 0.06), (1, 0.03), (3, 0.005), (100, 1e-5)])
def test_cheng_and_beaulieu_solve_a_series(m, error):
    """ln m - ψ(m) = 1/(2m) + 1/(12 m²) to second order: exact for that Δ, near for the true one."""
    second_order = 1 / (2 * m) + 1 / (12 * m**2)
    assert estimators.cheng_beaulieu(second_order) == pytest.approx(m)
    assert estimators.cheng_beaulieu(gap_of(m)) == pytest.approx(m, rel=error)


def test_no_variation_is_infinite_m():
    assert estimators.log_gap(2.0, math.log(2.0)) == 0
    assert estimators.log_gap(1.0, 1e-17) == 0
    assert estimators.greenwood_durand(0.0) == math.inf
    assert estimators.cheng_beaulieu(0.0) == math.inf
    assert estimators.inverse_normalised_variance(1.0, -1e-3) == math.inf


def test_greenwood_and_durand_agree_with_a_numerical_maximum_of_the_likelihood():
    gain = samples(2.5, 500, seed=1, omega=4)
    gap = estimators.log_gap(gain.mean(), np.log(gain).mean())

    def minus_log_likelihood(m):
        return -np.mean(
            m * math.log(m / gain.mean())
            + (m - 1) * np.log(gain)
            - m * gain / gain.mean()
            - special.gammaln(m)
        )

    best = optimize.minimize_scalar(minus_log_likelihood, bounds=(0.1, 20), method="bounded")
    assert estimators.greenwood_durand(gap) == pytest.approx(best.x, rel=2e-4)


@pytest.mark.parametrize("m", SHAPES)
def test_the_bound_is_the_inverse_of_fishers_information(m):
    """With Ω unknown: the variance of the score in m, its part along the score in Ω taken out."""

    def weighed(power):
        def integrand(x):
            score = math.log(m * x) - float(special.digamma(m)) + 1 - x
            return score**power * m**m * x ** (m - 1) * math.exp(-m * x) / math.gamma(m)

        return sum(integrate.quad(integrand, *ends, limit=200)[0] for ends in ((0, 1), (1, 40)))

    assert weighed(1) == pytest.approx(0, abs=1e-6)
    assert estimators.cramer_rao_bound(m, 50) == pytest.approx(1 / (50 * weighed(2)), rel=1e-4)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("m", SHAPES)
def test_greenwood_and_durand_meet_the_bound(m, seed):
    """RMSE at most 1.1 of the bound's root at 1000 clean samples. Over 800 runs the RMSE itself is
    good to 2.5 %, so that the limit is four standard errors away."""
    found = of_rows(samples(m, (800, 1000), seed), estimators.greenwood_durand)
    rmse = math.sqrt(np.mean((found - m) ** 2))
    root = math.sqrt(estimators.cramer_rao_bound(m, 1000))
    assert 0.9 * root < rmse < 1.1 * root


@pytest.mark.parametrize(
    ("m", "likelihood", "second_order", "moments"),
    [(0.5, 0.121, 0.130, 0.240), (1, 0.132, 0.133, 0.209), (3, 0.144, 0.144, 0.174)],
)
def test_each_has_its_known_error_at_a_hundred_samples(m, likelihood, second_order, moments):
    gains = samples(m, (6000, 100), seed=7)

    def error(found):
        return math.sqrt(np.mean((found / m - 1) ** 2))

    assert error(of_rows(gains, estimators.greenwood_durand)) == pytest.approx(likelihood, rel=0.04)
    assert error(of_rows(gains, estimators.cheng_beaulieu)) == pytest.approx(second_order, rel=0.04)
    inverse = [estimators.inverse_normalised_variance(x.mean(), x.var()) for x in gains]
    assert error(np.array(inverse)) == pytest.approx(moments, rel=0.05)


@pytest.mark.parametrize("m", [0.5, 1, 3, 10, 100])
def test_the_likelihoods_bias_is_that_of_cox_and_snell(m):
    first, second = (float(special.polygamma(order, m)) for order in (1, 2))
    exact = (m * first - m**2 * second - 2) / (2 * (m * first - 1) ** 2)
    assert estimators.likelihood_bias(m, 1) == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("m", SHAPES)
def test_biases_are_those_that_are_taken_out(m):
    """At 400 samples, where little of second order in 1/n remains."""
    gains = samples(m, (12_000, 400), seed=11)
    likelihood = of_rows(gains, estimators.greenwood_durand).mean() - m
    assert likelihood == pytest.approx(estimators.likelihood_bias(m, 400), rel=0.1, abs=0.0015 * m)
    inverse = gains.mean(axis=1) ** 2 / gains.var(axis=1, ddof=1)
    expected = estimators.moment_bias(m, 400)
    assert inverse.mean() - m == pytest.approx(expected, rel=0.12, abs=0.0015 * m)


@pytest.mark.parametrize("m", [1, 2, 3.5])
@pytest.mark.parametrize("omega", [0.25, 4])
@pytest.mark.parametrize("noise", [0, 0.1, 2])
def test_noise_is_taken_out_exactly(m, omega, noise):
    """<(h + e)²>, <(h + e)⁴> by the moments of h and of a normal e, in closed form."""
    fourth = omega**2 * (1 + 1 / m)
    mean = omega + noise
    mean_square = fourth + 6 * noise * omega + 3 * noise**2
    found = estimators.without_noise(mean, mean_square, noise)
    assert found == pytest.approx((omega, omega**2 / m))
    assert estimators.inverse_normalised_variance(*found) == pytest.approx(m)


@pytest.mark.parametrize("mean", [0.99, 1.01])
def test_a_spread_that_is_not_told_from_zero_is_not_a_number(mean):
    """Nothing but noise of variance 1, a little more or less power than that."""
    found = estimators.nakagami(mean, 3.0, -1.27, 1.0, 64)
    assert all(math.isnan(value) for value in found)
    assert estimators.nakagami(3.0, 12.0, 0.5, 1.0, 64)[0] == 2.0


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("snr_db", [10, 0])
def test_noisy_pilots_leave_less_than_three_percent_of_bias(snr_db, seed):
    """m = 3, eight pilots to a block, as many blocks as make chance 0.6 %; Greenwood and Durand's
    estimate collapses on the same blocks."""
    rng = np.random.default_rng(seed)
    blocks = 60_000 if snr_db == 10 else 200_000
    noise = 10 ** (-snr_db / 10) / 8
    amplitude = np.sqrt(samples(3, blocks, seed)) + rng.normal(0, math.sqrt(noise), blocks)
    gain = amplitude**2
    omega, variance = estimators.without_noise(gain.mean(), np.mean(gain**2), noise)
    assert omega == pytest.approx(1, abs=0.01)
    m = estimators.inverse_normalised_variance(omega, variance)
    assert m == pytest.approx(3, rel=0.03)
    gap = estimators.log_gap(gain.mean(), np.log(gain).mean())
    collapsed = {10: 2.57, 0: 1.12}[snr_db]
    assert estimators.greenwood_durand(gap) == pytest.approx(collapsed, rel=0.02)
