"""Closed forms against quadrature, simulation, scipy.stats and numbers that were checked before."""

import numpy as np
import pytest
from scipy import integrate, special, stats

from channel_emulator import theory
from channel_emulator.config import ChannelConfig

LEVELS = np.array([0.05, 0.3, 0.7, 1.0, 1.6, 3.0])


@pytest.mark.parametrize("m", [0.5, 0.75, 1, 2.5, 10, 300])
def test_the_distribution_is_nakagami(m):
    source = stats.nakagami(m, scale=np.sqrt(2))
    np.testing.assert_allclose(theory.nakagami_pdf(LEVELS, m, 2), source.pdf(LEVELS), rtol=1e-9)
    np.testing.assert_allclose(theory.nakagami_cdf(LEVELS, m, 2), source.cdf(LEVELS), rtol=1e-9)
    assert theory.nakagami_mean(m, 2) == pytest.approx(source.mean(), rel=1e-6)


@pytest.mark.parametrize(
    ("m", "h_th", "probability"),
    [(0.5, 0.0125, 0.01), (1, 0.2265, 0.05), (1, 0.3246, 0.1), (2, 0.642, 0.2), (3, 0.7987, 0.3)],
)
def test_outage_and_its_inverse(m, h_th, probability):
    assert theory.outage_probability(m, 1, h_th) == pytest.approx(probability, rel=5e-3)
    assert theory.threshold_of_outage(m, 1, probability) == pytest.approx(h_th, rel=3e-3)
    scaled = theory.threshold_of_outage(m, 4, probability)
    assert theory.outage_probability(m, 4, scaled) == pytest.approx(probability, rel=1e-12)


@pytest.mark.parametrize("m", [0.5, 0.75, 1 - 1e-9, 1, 1 + 1e-9, 1.5, 3, 50])
@pytest.mark.parametrize("h_th", [0.01, 0.3, 1.2])
def test_inverse_power_above_the_threshold(m, h_th):
    density = stats.nakagami(m, scale=np.sqrt(2)).pdf
    expected, _ = integrate.quad(lambda h: density(h) / h**2, h_th, 2, epsabs=0, points=[1.4])
    expected += integrate.quad(lambda h: density(h) / h**2, 2, np.inf, epsabs=0)[0]
    assert theory.inverse_power(m, 2, h_th) == pytest.approx(expected, rel=1e-6)


def test_inverse_power_without_a_threshold():
    assert theory.inverse_power(3, 2, 1e-9) == pytest.approx(3 / (2 * 2), rel=1e-9)


def test_spectrum_is_the_transform_of_the_correlation():
    for tau_s in (0, 0.01, 0.04, 0.1):
        # f = f_D sin(a) takes the poles at ±f_D away.
        found, _ = integrate.quad(
            lambda a, tau_s=tau_s: (
                theory.doppler_spectrum(10 * np.sin(a), 10)
                * 10
                * np.cos(a)
                * np.cos(2 * np.pi * 10 * np.sin(a) * tau_s)
            ),
            -np.pi / 2,
            np.pi / 2,
        )
        assert found == pytest.approx(theory.autocorrelation(tau_s, 10), abs=1e-6)
    inner, _ = integrate.quad(lambda f: theory.doppler_spectrum(f, 10), -3, 6)
    ends = theory.doppler_distribution(np.array([-3, 6]), 10)
    assert inner == pytest.approx(ends[1] - ends[0])
    assert theory.doppler_spectrum(10.01, 10) == 0
    assert theory.doppler_distribution(np.array([-11, 0, 11]), 10).tolist() == [0, 0.5, 1]


def test_coherence_time_is_the_one_of_the_blocks():
    config = ChannelConfig()
    assert config.coherence_ns == pytest.approx(
        theory.coherence_time_s(config.doppler_hz) * 1e9, rel=1e-3
    )


@pytest.mark.parametrize("m", [0.5, 2.5, 10])
def test_correlation_of_copula_powers(m):
    """Simulated pairs of Rayleigh powers, mapped by scipy's quantiles."""
    generator = np.random.default_rng(3)
    normal = generator.standard_normal((3, 2, 150_000)) * np.sqrt(0.5)
    for rho in (0.3, 0.6, 0.9):
        other = rho * normal[0] + np.sqrt(1 - rho**2) * normal[1]
        x, y = (np.square(part).sum(axis=0) for part in (normal[0], other))
        power = stats.gamma(m).ppf(stats.expon.cdf([x, y]))
        tau_s = np.interp(-rho, -special.j0(np.linspace(0, 2.4, 4000)), np.linspace(0, 2.4, 4000))
        found = theory.power_correlation_of_copula(tau_s / (2 * np.pi * 10), 10, m)
        assert np.corrcoef(power)[0, 1] == pytest.approx(found, abs=0.012)


def test_correlation_of_powers_at_its_ends():
    tau_s = np.linspace(0, 0.2, 50)
    for m in (0.5, 2.5, 40):
        assert theory.power_correlation_of_copula(0, 10, m) == pytest.approx(1)
        assert theory.power_correlation_of_copula(0.0382739, 10, m) == pytest.approx(0, abs=1e-9)
    squares = theory.power_correlation_of_squares(tau_s, 10)
    np.testing.assert_allclose(theory.power_correlation_of_copula(tau_s, 10, 1), squares, atol=1e-9)
    np.testing.assert_allclose(squares, special.j0(2 * np.pi * 10 * tau_s) ** 2)


def test_crossing_rates():
    # Rice's Rayleigh rate is both generators' for m = 1.
    rho = LEVELS / np.sqrt(2)
    rice = np.sqrt(2 * np.pi) * 10 * rho * np.exp(-(rho**2))
    np.testing.assert_allclose(theory.crossing_rate_of_squares(LEVELS, 1, 2, 10), rice)
    np.testing.assert_allclose(theory.crossing_rate_of_copula(LEVELS, 1, 2, 10), rice)
    # Elsewhere they differ; these two were checked by simulation before.
    assert theory.crossing_rate_of_squares(0.3, 2.5, 1, 10) == pytest.approx(0.762, abs=5e-4)
    assert theory.crossing_rate_of_copula(0.3, 2.5, 1, 10) == pytest.approx(1.958, abs=5e-4)
    rho, m = LEVELS / np.sqrt(3), 2.5
    yacoub = m ** (m - 0.5) * rho ** (2 * m - 1) * np.exp(-m * rho**2) / special.gamma(m)
    np.testing.assert_allclose(
        theory.crossing_rate_of_squares(LEVELS, m, 3, 10), np.sqrt(2 * np.pi) * 10 * yacoub
    )


def test_fades_and_what_is_between_them_fill_the_time():
    rate = theory.crossing_rate_of_copula(0.5, 2.5, 1, 10)
    duration = theory.fade_duration_s(0.5, 2.5, 1, rate)
    assert rate * duration == pytest.approx(theory.outage_probability(2.5, 1, 0.5))


def test_harq():
    m, mean_snr, outage_snr, most = 1.5, 2.0, 3.0, 4
    power = np.random.default_rng(4).gamma(m, mean_snr / m, (most, 200_000))
    sums = np.cumsum(power, axis=0)
    failures = []
    for copies in range(1, most + 1):
        failures.append(theory.harq_failure_probability(m, mean_snr, outage_snr, copies))
        assert failures[-1] == pytest.approx((sums[copies - 1] < outage_snr).mean(), abs=0.005)
        same = theory.harq_failure_probability(m, mean_snr, outage_snr, copies, same_fade=True)
        assert same == pytest.approx((copies * power[0] < outage_snr).mean(), abs=0.005)
    sent = 1 + (sums[: most - 1] < outage_snr).sum(axis=0)
    assert theory.expected_transmissions(failures) == pytest.approx(sent.mean(), abs=0.01)
    assert theory.expected_transmissions([0.7]) == 1
