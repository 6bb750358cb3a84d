"""What a learned policy sees: (sigma, m, p) of Sec. 4.1 of the paper, scaled to [-1, 1].

One definition for training and for serving; it is stored with every trained policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import expm1, inf, log1p

import numpy as np

from airsplit.errors import InputError

SIGMA_SCALE = 0.25
"""Noise below which the noise coordinate is about linear, above which about logarithmic."""


def noise_coordinate(sigma: float) -> float:
    """log(1 + sigma / SIGMA_SCALE): a logarithmic scale that has a place for sigma = 0."""
    return log1p(sigma / SIGMA_SCALE)


def sigma_at(coordinate: float) -> float:
    """The inverse of `noise_coordinate`."""
    return SIGMA_SCALE * expm1(coordinate)


def inverse_m(m: float) -> float:
    """1/m, which is 0 for a channel that does not fade (m = infinity)."""
    return 0.0 if m == inf else 1.0 / m


@dataclass(frozen=True, slots=True)
class Features:
    """Ranges of what a policy was trained on; each is mapped onto [-1, 1].

    Raises:
        InputError: a range is empty.
    """

    layers: int
    """L: the split p runs over 0..L."""

    sigma_max: float
    """Largest absolute standard deviation of the noise."""

    inverse_m_max: float
    """Largest 1/m, which is the smallest Nakagami shape m."""

    def __post_init__(self) -> None:
        for name in ("layers", "sigma_max", "inverse_m_max"):
            value = getattr(self, name)
            if not 0 < value < inf:
                raise InputError.of(name, value, "a positive finite number")

    def vector(self, sigma: float, m: float, split: int) -> np.ndarray:
        """The state as float32 [3]: noise, fading, split, each in [-1, 1].

        Values beyond the trained ranges are clipped to them: a channel that is worse than every
        trained one is treated as the worst trained one. `inside` tells.
        """
        unit = (
            noise_coordinate(sigma) / noise_coordinate(self.sigma_max),
            inverse_m(m) / self.inverse_m_max,
            split / self.layers,
        )
        return np.clip(2.0 * np.array(unit) - 1.0, -1.0, 1.0).astype(np.float32)

    def inside(self, sigma: float, m: float, split: int) -> bool:
        """Whether nothing had to be clipped."""
        return (
            0 <= sigma <= self.sigma_max
            and 0 <= inverse_m(m) <= self.inverse_m_max
            and 0 <= split <= self.layers
        )
