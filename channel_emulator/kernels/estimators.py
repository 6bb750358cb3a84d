"""Estimators of Nakagami parameters from samples of the power gain X = h², as pure functions.

X is gamma distributed with shape m and mean Ω (Nakagami 1960), so that estimators of the gamma's
shape are estimators of m. All work on sums that can be added up: <X>, <X²>, <ln X>.

Which one: `greenwood_durand` is the maximum likelihood estimate to 2e-4 and needs clean samples: it
weighs deep fades most, and there noise is all that is seen. Moments are wider (twice the standard
error at m = 0.5, 1.1 times at 10), but noise can be taken out of them: `without_noise`.
"""

from __future__ import annotations

import math

from scipy import special

from channel_emulator.kernels.compiling import part

LEAST_FADES = 16
"""Independent fades without which nothing is said of their distribution: they give m to 35 %."""

_SURE = 3.0
"""Standard errors by which a moment has to stand out to be believed."""

_CLEAN = 0.02
"""Most by which noise may shrink Greenwood and Durand's estimate."""

_WEAK = 2.0
"""Fading weaker than that of this m may go unseen in noise: then m is said to be infinite."""

_EXPONENTIAL_GAP = 0.5772
"""Δ at m = 1: Euler's constant. Where Greenwood and Durand's two fits meet."""


@part
def log_gap(mean: float, mean_log: float) -> float:
    """Δ = ln <X> - <ln X>, never negative: 0 where X does not vary."""
    return max(math.log(mean) - mean_log, 0.0)


@part
def greenwood_durand(gap: float) -> float:
    """m̂ of Δ: rational fits of the maximum likelihood estimate (Greenwood and Durand 1960).

    Infinite at Δ = 0; beyond Δ = 17, where m is below 0.06, it is an extrapolation.
    """
    if gap <= 0:
        return math.inf
    if gap <= _EXPONENTIAL_GAP:
        return (0.5000876 + 0.1648852 * gap - 0.0544274 * gap**2) / gap
    top = 8.898919 + 9.05995 * gap + 0.9775373 * gap**2
    return top / (gap * (17.79728 + 11.968477 * gap + gap**2))


def cheng_beaulieu(gap: float) -> float:
    """m̂ of Δ: digamma to second order, solved for m (Cheng and Beaulieu 2001)."""
    return (6 + math.sqrt(36 + 48 * gap)) / (24 * gap) if gap > 0 else math.inf


@part
def inverse_normalised_variance(omega: float, variance: float) -> float:
    """m̂ = Ω²/Var X (Nakagami 1960; the estimator that Abdi and Kaveh 2000 recommend)."""
    return omega**2 / variance if variance > 0 else math.inf


@part
def without_noise(mean: float, mean_square: float, noise: float) -> tuple[float, float]:
    """Ω and Var X of moments of Y = (h + e)², where e is normal with the variance `noise`, s.

    <Y> = Ω + s and <Y²> = <h⁴> + 6 s Ω + 3 s², so that Ω = <Y> - s, and
    Var X = <h⁴> - Ω² = Var Y - 4 s Ω - 2 s². The latter may come out negative.
    """
    omega = mean - noise
    return omega, mean_square - mean**2 - noise_variance(omega, noise)


@part
def noise_variance(omega: float, noise: float) -> float:
    """What noise of variance s adds to the variance of (h + e)²: 4 s Ω + 2 s²."""
    return 4 * noise * omega + 2 * noise**2


@part
def likelihood_bias(m: float, samples: float) -> float:
    """By how much maximum likelihood overstates m, to first order in 1/n (Cox and Snell 1968).

    In the rational form of Louzada, Ramos and Ramos (2019): 3 m/n for large m.
    """
    share = m / (1 + m)
    return (3 * m - 2 / 3 * share - 0.8 * share / (1 + m)) / samples


@part
def moment_bias(m: float, samples: float, dilution: float = 1.0) -> float:
    """By how much Ω̂²/V̂ overstates m, V̂ unbiased, to first order in 1/n (the delta method).

    Relative to m: Var V̂/V² - 2 Cov(Ω̂, V̂)/(Ω V) + Var Ω̂/Ω² = (2 d² + 6/m - 4/m + 1/m)/n, of the
    cumulants of the gamma distribution.

    Args:
        m: the estimate.
        samples: n.
        dilution: d, how much larger the variance is that noise makes together with fading.
    """
    return m * (2 * dilution**2 + 3 / m) / samples


def cramer_rao_bound(m: float, samples: float) -> float:
    """Least variance of an unbiased m̂, Ω unknown: 1/(n (ψ'(m) - 1/m)) (Cramér 1946, Rao 1945)."""
    return 1 / (samples * (float(special.polygamma(1, m)) - 1 / m))


@part
def nakagami(
    mean: float, mean_square: float, mean_log: float, noise: float, fades: float
) -> tuple[float, float]:
    """Ω̂ and m̂ of estimates ĥ that are noisy: by likelihood where noise is negligible, else moments.

    Clean is s/Ω̂ (8 + 4 m̂) <= 0.02: noise shrinks Greenwood and Durand's estimate by s/Ω times 4 m
    for large m (to first order in s) and by some 8 s/Ω at m = 1 (measured), so by 2 % at most.

    Args:
        mean: <ĥ²>.
        mean_square: <ĥ⁴>.
        mean_log: <ln ĥ²>.
        noise: s, the variance of the noise of an ĥ.
        fades: independent fades that the means are over.

    Returns:
        Ω̂, NaN of fewer than LEAST_FADES fades or where it cannot be told from zero; m̂, then NaN
        too, infinite where ĥ² varies no more than its noise makes it, and NaN where noise could
        hide fading.
    """
    if fades < LEAST_FADES:
        return math.nan, math.nan
    omega, of_fading = without_noise(mean, mean_square, noise)
    of_noise = noise_variance(omega, noise)
    spread = of_fading + of_noise
    if omega <= _SURE * math.sqrt(max(spread, 0.0) / fades):
        return math.nan, math.nan
    of_fading += spread / (fades - 1)  # the variance of few samples, about their own mean
    unsure = _SURE * of_noise * math.sqrt(2 / fades)
    if of_fading <= unsure + 1e-9 * omega**2:
        return omega, math.inf if unsure * _WEAK <= omega**2 else math.nan
    m = inverse_normalised_variance(omega, of_fading)
    if noise * (8 + 4 * m) <= _CLEAN * omega:
        m = greenwood_durand(log_gap(mean, mean_log))
        return omega, m - likelihood_bias(m, fades)
    dilution = 1 + of_noise / of_fading
    return omega, m / (1 + moment_bias(m, fades, dilution) / m)
