"""Rayleigh power to Nakagami amplitude, rank by rank (Beaulieu and Cheng 2005).

With x = |r|² ~ Exp(1) of a complex Gaussian r, u = 1 - e^(-x) is uniform, and h = F⁻¹(u) has the
Nakagami distribution F of any m: h = sqrt(Ω/m P⁻¹(m, u)), P the regularised incomplete gamma
function. For m = 1 it is sqrt(Ω) |r|. The authors approximate F⁻¹ by a rational function; here it
is tabulated once for each m, and interpolated to a relative error below 1e-5 for x >= 2^-48: all
but 4e-15 of the distribution, which below has h(2^-48).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

_LOWEST = 2.0**-48
_HIGHEST = 64.0
"""A sum of 64 waves has no more power than that."""

# The grid is that of floating point: equal steps within each octave of x. The bits of x, taken as
# one number, hold the index of the node below it, and then the fraction of the way to the next.
_NODES_PER_OCTAVE_LOG2 = 6
_SHIFT = 52 - _NODES_PER_OCTAVE_LOG2
_MASK = (1 << _SHIFT) - 1
_FIRST, _LAST = (np.array([_LOWEST, _HIGHEST]).view(np.int64) >> _SHIFT).tolist()


def nakagami_of_rayleigh(power: NDArray[np.float64], m: float, omega: float) -> NDArray[np.float64]:
    """h of x = |r|², E|r|² = 1. Any shape.

    Args:
        power: x in [0, 64]; what is beyond is taken as 64.
    """
    bits = np.clip(power, _LOWEST, _HIGHEST).view(np.int64)
    index = (bits >> _SHIFT) - _FIRST
    nodes, steps = _table(m)
    h: NDArray[np.float64] = steps[index]
    h *= bits & _MASK
    h += nodes[index]
    h *= np.sqrt(omega)
    return h


def exact(power: NDArray[np.float64], m: float, omega: float = 1.0) -> NDArray[np.float64]:
    """What `nakagami_of_rayleigh` interpolates, any x >= 0. From the upper tail where it is nearer:
    1 - e^(-x) would round to 1."""
    lower = special.gammaincinv(m, -np.expm1(-power))
    upper = special.gammainccinv(m, np.exp(-power))
    h: NDArray[np.float64] = np.sqrt(omega / m * np.where(power < np.log(2), lower, upper))
    return h


@lru_cache(maxsize=64)
def _table(m: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """h with Ω = 1 at each node, and its change on the way to the next by unit of the fraction."""
    x = (np.arange(_FIRST, _LAST + 2) << _SHIFT).view(np.float64)
    # Rounded, as the last bits of special functions differ between machines.
    h = exact(x, m).astype(np.float32).astype(np.float64)
    return h[:-1], np.diff(h) / (_MASK + 1)
