"""Closed forms of fading, for tests, plots and the documentation. No randomness.

Levels are amplitudes h, spreads Ω = E[h²], times seconds, frequencies hertz, SNRs power ratios. All
take numbers or arrays, and give an array of their common shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from channel_emulator import copula

Reals = NDArray[np.float64]
Real = float | Reals

_LAGUERRE_TERMS = 64


def nakagami_pdf(h: Real, m: float, omega: float) -> Reals:
    """2 m^m h^(2m-1) e^(-m h²/Ω) / (Γ(m) Ω^m), h > 0 (Nakagami 1960; Eq. 4 of the paper)."""
    level = np.asarray(h, dtype=np.float64)
    log = np.log(2) + m * np.log(m / omega) - special.gammaln(m) - m * level**2 / omega
    return np.asarray(np.exp(log + special.xlogy(2 * m - 1, level)))


def nakagami_cdf(h: Real, m: float, omega: float) -> Reals:
    """P(m, m h²/Ω), the regularised lower incomplete gamma function."""
    return np.asarray(special.gammainc(m, m * np.square(h) / omega))


def nakagami_mean(m: float, omega: float) -> float:
    """E[h] = Γ(m + 1/2)/Γ(m) sqrt(Ω/m)."""
    return float(special.poch(m, 0.5) * np.sqrt(omega / m))


def outage_probability(m: float, omega: float, h_th: float) -> float:
    """P(h < h_th): Eq. 5 of the paper, with Ω in place of its misprinted Ω²."""
    return float(nakagami_cdf(h_th, m, omega))


def threshold_of_outage(m: float, omega: float, probability: float) -> float:
    """The h_th with that outage probability: sqrt(Ω/m P⁻¹(m, p))."""
    return float(np.sqrt(omega / m * special.gammaincinv(m, probability)))


def inverse_power(m: float, omega: float, h_th: float) -> float:
    """E[1/h²; h >= h_th] = (m/Ω) Γ(m - 1, m h_th²/Ω) / Γ(m), for h_th > 0.

    What zero forcing multiplies noise by, times the probability of no outage. Without a threshold
    it is m/(Ω (m - 1)), infinite for m <= 1. Integral of the density; Γ(a, x) with a < 0 by
    recurrence (Abramowitz and Stegun 1964, 6.5.22).
    """
    a, x = m - 1, m * h_th**2 / omega
    if abs(a) < 1e-8:
        gamma = special.exp1(x)
    elif a > 0:  # Γ(a) / Γ(m) = 1/a
        return float(m / omega * special.gammaincc(a, x) / a)
    else:
        gamma = (special.gammaincc(m, x) * special.gamma(m) - x**a * np.exp(-x)) / a
    return float(m / omega * gamma / special.gamma(m))


def autocorrelation(tau_s: Real, doppler_hz: float) -> Reals:
    """E[r(t + τ) r*(t)] = J0(2π f_D τ) of the Gaussian process (Clarke 1968)."""
    return np.asarray(special.j0(2 * np.pi * doppler_hz * np.asarray(tau_s)))


def doppler_shift_hz(speed_mps: float, carrier_hz: float) -> float:
    """Largest Doppler shift f_D = v f_c / c."""
    return speed_mps * carrier_hz / 299_792_458.0


def doppler_spectrum(frequency_hz: Real, doppler_hz: float) -> Reals:
    """1 / (π f_D sqrt(1 - (f/f_D)²)) within ±f_D, else 0: transform of J0 (Clarke 1968)."""
    inside = 1 - np.square(np.asarray(frequency_hz, dtype=np.float64) / doppler_hz)
    with np.errstate(divide="ignore", invalid="ignore"):
        density = 1 / (np.pi * doppler_hz * np.sqrt(inside))
    return np.where(inside < 0, 0.0, density)


def doppler_distribution(frequency_hz: Real, doppler_hz: float) -> Reals:
    """Share of the power below f: 1/2 + arcsin(f/f_D)/π, the integral of `doppler_spectrum`."""
    share = np.clip(np.asarray(frequency_hz, dtype=np.float64) / doppler_hz, -1, 1)
    return np.asarray(0.5 + np.arcsin(share) / np.pi)


def coherence_time_s(doppler_hz: float) -> float:
    """sqrt(9/16π)/f_D = 0.423/f_D (Rappaport 2002, section 5.4)."""
    return float(np.sqrt(9 / (16 * np.pi)) / doppler_hz)


def power_correlation_of_squares(tau_s: Real, doppler_hz: float) -> Reals:
    """Correlation coefficient of h²(t) and h²(t + τ), sum of squares: J0², whatever m.

    Cov(g², g'²) = 2 Cov(g, g')² of Gaussians (Isserlis 1918).
    """
    return autocorrelation(tau_s, doppler_hz) ** 2


def power_correlation_of_copula(tau_s: Real, doppler_hz: float, m: float) -> Reals:
    """The same of the copula: Σ_{k>=1} c_k² J0^2k / Σ_{k>=1} c_k², c_k = E[T(x) L_k(x)].

    T maps x ~ Exp(1) to h². Two powers of correlated complex Gaussians have the joint density
    e^(-x-y) Σ J0^2k L_k(x) L_k(y), L_k the Laguerre polynomials (Hardy and Hille). Beyond 64 terms,
    Σ c_k² = Var(h²) = Ω²/m gives what is left, as if it were all of the next order.
    """
    weights = _laguerre_weights(m)
    powers = power_correlation_of_squares(tau_s, doppler_hz)
    return np.asarray(np.polynomial.polynomial.polyval(powers, weights))


@lru_cache(maxsize=16)
def _laguerre_weights(m: float) -> Reals:
    """c_k² / Σ c_k², of k = 0 (which is 0) to 65."""
    # The trapezoidal rule in s = ln x: the integrand T(x) L_k(x) e^(-x) x vanishes at both ends.
    s = np.linspace(-40, 6, 8001)
    x = np.exp(s)
    measure = np.square(copula.exact(x, m)) * x * np.exp(-x) * (s[1] - s[0])
    orders = np.arange(1, _LAGUERRE_TERMS + 1)
    c = (special.eval_laguerre(orders[:, None], x) * measure).sum(axis=1)
    weights = m * np.square(c)
    return np.concatenate([[0.0], weights, [max(1 - weights.sum(), 0.0)]])


def crossing_rate_of_squares(h: Real, m: float, omega: float, doppler_hz: float) -> Reals:
    """Upward crossings of a level per second, sum of squares (Yacoub et al. 1999):

    sqrt(2π) f_D m^(m-1/2) ρ^(2m-1) e^(-mρ²) / Γ(m), ρ = h/sqrt(Ω).
    """
    level = np.asarray(h, dtype=np.float64)
    # It is the density times sqrt(π/2m Ω) f_D: dh/dt is normal and independent of h.
    slope = np.sqrt(np.pi * omega / (2 * m)) * doppler_hz
    return np.asarray(nakagami_pdf(level, m, omega) * slope)


def crossing_rate_of_copula(h: Real, m: float, omega: float, doppler_hz: float) -> Reals:
    """The same of the copula: sqrt(2π) f_D (1 - F) sqrt(-ln(1 - F)), F the distribution at h.

    A monotone map moves no crossing: it is the Rayleigh rate (Rice 1945) at the level with that F.
    """
    above = special.gammaincc(m, m * np.square(h) / omega)
    return np.asarray(np.sqrt(2 * np.pi) * doppler_hz * above * np.sqrt(-np.log(above)))


def fade_duration_s(h: Real, m: float, omega: float, crossing_rate: Real) -> Reals:
    """Mean length of a fade below a level, F / N_R, of either generator with its own N_R."""
    return np.asarray(nakagami_cdf(h, m, omega) / crossing_rate)


def harq_failure_probability(
    m: float, mean_snr: float, outage_snr: float, copies: int, *, same_fade: bool = False
) -> float:
    """P(`copies` chase-combined transmissions are not enough) with mean SNR γ̄ and outage SNR γ_th.

    A sum of K independent Gamma(m) powers is Gamma(Km): P(Km, m γ_th/γ̄). In the same fade SNRs add
    up K times: P(m, m γ_th/(K γ̄)) (Chase 1985).
    """
    if same_fade:
        return float(special.gammainc(m, m * outage_snr / (copies * mean_snr)))
    return float(special.gammainc(copies * m, m * outage_snr / mean_snr))


def expected_transmissions(failures: Sequence[float]) -> float:
    """Σ_{k<K} P_fail(k), P_fail(0) = 1, of P_fail(1), ..., P_fail(K) with at most K copies."""
    return 1.0 + float(sum(failures[:-1]))
