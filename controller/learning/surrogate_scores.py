"""How good a surrogate's answers are, beside plainer ways to answer and the records' own error."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import KDTree

from controller.learning.records import Records
from controller.learning.space import Floats
from controller.learning.surrogate import encode


def errors(records: Records, answer: Floats, unit: float) -> dict[str, Any]:
    """Errors of answers, NLL [n], against the records' measured NLL.

    `mse` and `mae` are normalised: NLL in units of `unit`, the standard deviation of the training
    records' NLL, so that the mean of the training records would score an mse of about 1. The
    paper does not say what its scale is. `mae_over_monte_carlo` divides by the mean standard
    error of the same records: a perfect surrogate has about sqrt(2/pi) = 0.8, where records err
    normally and independently.
    """
    off = answer - records.nll
    spread = float(((records.nll - records.nll.mean()) ** 2).mean())
    own = float(records.nll_se.mean())
    mae = float(np.abs(off).mean())
    perplexity = np.exp(records.nll)
    apart = np.abs(np.exp(answer) - perplexity)
    return {
        "records": len(records),
        "r2": 1 - float((off**2).mean()) / spread if spread > 0 else None,
        "mse": float((off**2).mean()) / unit**2,
        "mae": mae / unit,
        "mae_nll": mae,
        "rmse_nll": float(np.sqrt((off**2).mean())),
        "max_nll": float(np.abs(off).max()),
        "monte_carlo_nll": own,
        "mae_over_monte_carlo": mae / own if own > 0 else None,
        "mae_perplexity": float(apart.mean()),
        "median_perplexity": float(np.median(apart)),
        "mae_perplexity_relative": float((apart / perplexity).mean()),
    }


def baselines(known: Records, asked: Records) -> dict[str, Floats]:
    """What plainer ways answer for `asked`, NLL [n], from the records that trained.

    mean: of all. nearest: the record next to it in what the network sees. linear: at the same
    split, linear between the channels around it (Delaunay triangles), beyond them the nearest.
    """
    near = KDTree(_seen(known)).query(_seen(asked))[1]
    nearest = np.asarray(known.nll[near])
    return {
        "mean": np.full(len(asked), known.nll.mean()),
        "nearest": nearest,
        "linear": _linear(known, asked, nearest),
    }


def _seen(records: Records) -> Floats:
    return encode(records.space, records.splits, records.channels, records.split)


def _linear(known: Records, asked: Records, beyond: Floats) -> Floats:
    answer = beyond.copy()
    for split in np.unique(asked.split):
        here, there = known.split == split, asked.split == split
        at = known.space.to_unit(known.channels[here])
        wanted = asked.space.to_unit(asked.channels[there])
        found = _between(at, known.nll[here], wanted)
        answer[there] = np.where(np.isnan(found), answer[there], found)
    return answer


def _between(at: Floats, values: Floats, wanted: Floats) -> Floats:
    """Linear interpolation, NaN outside: [n]. Several values at one place count by their mean."""
    places, number = np.unique(at, axis=0, return_inverse=True)
    mean = np.bincount(number.reshape(-1), values) / np.bincount(number.reshape(-1))
    if len(places) < at.shape[1] + 1:
        return np.full(len(wanted), np.nan)
    if at.shape[1] == 1:
        return np.interp(wanted[:, 0], places[:, 0], mean, left=np.nan, right=np.nan)
    return np.asarray(LinearNDInterpolator(places, mean)(wanted))
