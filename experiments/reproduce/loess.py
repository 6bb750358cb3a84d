"""Locally estimated scatterplot smoothing (Cleveland, 1979): local lines, tricube weights."""

from __future__ import annotations

import numpy as np

from controller.learning.space import Floats

SPAN = 0.75
"""Share of the points that each local line sees."""


def loess(x: Floats, y: Floats, at: Floats, span: float = SPAN) -> Floats:
    """The trend of y [n] over x [n], at other places: [k].

    A place sees its `span * n` nearest points, weighted by (1 - (distance/farthest)^3)^3, and
    takes the value there of the straight line that fits them best. No robustness iterations.
    """
    count = min(max(2, int(np.ceil(span * len(x)))), len(x))
    away = np.abs(x[None, :] - at[:, None])  # [k, n]
    reach = np.partition(away, count - 1, axis=1)[:, count - 1 : count]
    weight = np.clip(1 - (away / np.maximum(reach, 1e-12)) ** 3, 0, None) ** 3
    weight += 1e-12 * (away <= reach)  # where all points that are seen lie at the very edge
    total = weight.sum(axis=1)
    centre, level = weight @ x / total, weight @ y / total
    off = x[None, :] - centre[:, None]
    spread = (weight * off**2).sum(axis=1)
    slope = (weight * off) @ y / np.where(spread > 0, spread, 1)
    return np.asarray(level + np.where(spread > 0, slope, 0) * (at - centre))


def loess_band(
    x: Floats, y: Floats, at: Floats, seed: int = 0, draws: int = 200, span: float = SPAN
) -> tuple[Floats, Floats]:
    """Ends of the trend's 95 % interval at each place, [k]: points drawn anew, `draws` times."""
    chance = np.random.default_rng(seed)
    trends = np.empty((draws, len(at)))
    for draw in range(draws):
        chosen = chance.integers(len(x), size=len(x))
        trends[draw] = loess(x[chosen], y[chosen], at, span)
    low, high = np.quantile(trends, (0.025, 0.975), axis=0)
    return low, high


def r_squared(y: Floats, fitted: Floats) -> float:
    """Share of y's variance that a fit explains; 0 where y does not vary."""
    spread = float(((y - y.mean()) ** 2).sum())
    return 1 - float(((y - fitted) ** 2).sum()) / spread if spread > 0 else 0.0
