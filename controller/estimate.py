"""The channel as a session last saw it, smoothed over its reports. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, isfinite, isnan, log10, nan


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the receiver of one frame could know; NaN where it could not be estimated."""

    sigma: float = nan
    """Standard deviation of the noise on the values, >= 0."""

    m: float = nan
    """Nakagami shape, > 0; +infinity where h does not vary."""

    omega: float = nan
    """E[h^2], >= 0."""

    loss: float = nan
    """Share of erased elements, [0, 1]."""

    snr_db: float = nan
    """Mean received power over noise power; +infinity without noise."""


@dataclass(slots=True)
class SmoothedEstimate:
    """Exponential average of estimates, each weighed by the time since the one before.

    A component that is unknown (NaN) or impossible in a report leaves its average as it was. The
    shape is averaged as 1/m and the SNR as noise over signal: both are finite where the channel
    is ideal, and an average of infinities would never come back.
    """

    smoothing_ms: float
    """Time constant: after it an old value weighs 1/e. 0 takes the newest report as it is."""

    updated_ns: int | None = None
    _sigma: float = nan
    _inverse_m: float = nan
    _omega: float = nan
    _loss: float = nan
    _noise_to_signal: float = nan

    def update(self, now_ns: int, new: Estimate) -> None:
        """Takes in one estimate, at a monotonic time."""
        keep = 0.0
        if self.updated_ns is not None and self.smoothing_ms > 0:
            keep = exp(-(now_ns - self.updated_ns) / (self.smoothing_ms * 1e6))
        self.updated_ns = now_ns
        self._sigma = _blend(self._sigma, new.sigma, keep)
        self._inverse_m = _blend(self._inverse_m, 1 / new.m if new.m > 0 else nan, keep)
        self._omega = _blend(self._omega, new.omega, keep)
        self._loss = _blend(self._loss, new.loss, keep)
        noise_to_signal = 10 ** (-new.snr_db / 10) if new.snr_db > -300 else nan
        self._noise_to_signal = _blend(self._noise_to_signal, noise_to_signal, keep)

    @property
    def current(self) -> Estimate:
        """The averages; NaN for what no report has told yet."""
        return Estimate(
            sigma=self._sigma,
            m=1 / self._inverse_m if self._inverse_m else inf,
            omega=self._omega,
            loss=self._loss,
            snr_db=10 * log10(1 / self._noise_to_signal) if self._noise_to_signal else inf,
        )


def _blend(old: float, new: float, keep: float) -> float:
    if not isfinite(new) or new < 0:
        return old
    return new if isnan(old) else keep * old + (1 - keep) * new
