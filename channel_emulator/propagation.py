"""Path loss, line of sight and large-scale parameters of 3GPP TR 38.901 (V16.1.0), 0.5-100 GHz.

The urban microcell (UMi, street canyon) and macrocell (UMa), the UE outdoors. Distances are
horizontal, in metres; what is nearer than 10 m, where the tables begin, counts as 10 m.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]

MIN_DISTANCE_M = 10.0
_LIGHT_MPS = 3.0e8
"""As the standard sets it, below table 7.4.1-1."""

_ENVIRONMENT_HEIGHT_M = 1.0
"""h_E; for UMa that of a UE below 13 m."""


class PathLossModel(StrEnum):
    """Which cell it is."""

    UMI = "umi"
    UMA = "uma"


@dataclass(frozen=True, slots=True)
class Parameters:
    """Of one model. Shadowing: table 7.4.1-1; K and correlation distances: table 7.5-6; of the line
    of sight: table 7.6.3.1-2."""

    base_height_m: float
    sight_m: float
    """Decay of the LOS probability (table 7.4.2-1)."""

    los_correlation_m: float
    shadowing_los_db: float
    shadowing_nlos_db: float
    shadowing_los_correlation_m: float
    shadowing_nlos_correlation_m: float
    k_mean_db: float
    k_sd_db: float
    k_correlation_m: float


PARAMETERS = {
    PathLossModel.UMI: Parameters(
        base_height_m=10,
        sight_m=36,
        los_correlation_m=50,
        shadowing_los_db=4,
        shadowing_nlos_db=7.82,
        shadowing_los_correlation_m=10,
        shadowing_nlos_correlation_m=13,
        k_mean_db=9,
        k_sd_db=5,
        k_correlation_m=15,
    ),
    PathLossModel.UMA: Parameters(
        base_height_m=25,
        sight_m=63,
        los_correlation_m=50,
        shadowing_los_db=4,
        shadowing_nlos_db=6,
        shadowing_los_correlation_m=37,
        shadowing_nlos_correlation_m=50,
        k_mean_db=9,
        k_sd_db=3.5,
        k_correlation_m=12,
    ),
}


def los_probability(model: PathLossModel, distance_m: ArrayLike) -> Values:
    """1 up to 18 m, then 18/d + e^(-d/s)(1 - 18/d) (table 7.4.2-1; UMa: of a UE below 13 m)."""
    near = 18 / np.maximum(np.asarray(distance_m, dtype=np.float64), 18)
    return near + np.exp(-18 / near / PARAMETERS[model].sight_m) * (1 - near)


def path_loss_db(
    model: PathLossModel,
    distance_m: ArrayLike,
    los: ArrayLike,
    carrier_ghz: float,
    ue_height_m: float = 1.5,
) -> Values:
    """Mean path loss (table 7.4.1-1), without shadowing."""
    height = PARAMETERS[model].base_height_m - ue_height_m
    horizontal = np.maximum(np.asarray(distance_m, dtype=np.float64), MIN_DISTANCE_M)
    log_d = np.log10(np.hypot(horizontal, height))
    log_f = np.log10(carrier_ghz)
    breakpoint_m = _breakpoint_m(model, carrier_ghz, ue_height_m)
    log_bend = np.log10(breakpoint_m**2 + height**2)
    if model is PathLossModel.UMI:
        near = 32.4 + 21 * log_d + 20 * log_f
        far = 32.4 + 40 * log_d + 20 * log_f - 9.5 * log_bend
        hidden = 35.3 * log_d + 22.4 + 21.3 * log_f - 0.3 * (ue_height_m - 1.5)
    else:
        near = 28.0 + 22 * log_d + 20 * log_f
        far = 28.0 + 40 * log_d + 20 * log_f - 9 * log_bend
        hidden = 13.54 + 39.08 * log_d + 20 * log_f - 0.6 * (ue_height_m - 1.5)
    in_sight = np.where(horizontal <= breakpoint_m, near, far)
    loss: Values = np.where(los, in_sight, np.maximum(in_sight, hidden))
    return loss


def _breakpoint_m(model: PathLossModel, carrier_ghz: float, ue_height_m: float) -> float:
    """d'_BP = 4 h'_BS h'_UT f_c / c: where the ray from the ground begins to count."""
    base = PARAMETERS[model].base_height_m - _ENVIRONMENT_HEIGHT_M
    ue = ue_height_m - _ENVIRONMENT_HEIGHT_M
    return 4 * base * ue * carrier_ghz * 1e9 / _LIGHT_MPS


def nakagami_m(k_db: ArrayLike) -> Values:
    """The m of a Rician K: (K + 1)²/(2K + 1), the same second moment (Stüber 2017, chapter 2)."""
    k = 10 ** (np.asarray(k_db, dtype=np.float64) / 10)
    m: Values = np.square(k + 1) / (2 * k + 1)
    return m
