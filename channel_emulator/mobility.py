"""Where the UE is, and what the radio is there: Gauss-Markov motion around a base station.

Position gives path loss, line of sight and shadowing (3GPP TR 38.901), those the mean SNR and the
shape m of the fading beneath. Pure: seed in, trajectory out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from airsplit.errors import InputError
from channel_emulator.knobs import Choice, Range
from channel_emulator.propagation import (
    PARAMETERS,
    PathLossModel,
    los_probability,
    nakagami_m,
    path_loss_db,
)

Values = NDArray[np.float64]

THERMAL_NOISE_DBM_HZ = -174.0
"""k T at 290 K."""

MAX_SAMPLES = 100_000
_AREA_M = 10_000.0


def _of(low: float, high: float, low_open: bool = False) -> Mapping[str, Range]:
    return {"allowed": Range(low, high, low_open=low_open)}


@dataclass(frozen=True, slots=True)
class Mobility:
    """One UE, the cell around it, and its link budget. The base station is at (0, 0).

    Raises:
        InputError: a value is out of its range, or the UE starts outside its area.
    """

    model: PathLossModel = field(
        default=PathLossModel.UMI, metadata={"allowed": Choice(PathLossModel)}
    )
    """umi: street canyon, antenna below the roofs; uma: macro cell above them."""

    speed_mps: float = field(default=1.4, metadata=_of(0, 100))
    """Length of the mean velocity."""

    direction_deg: float = field(default=0.0, metadata=_of(-360, 360))
    """Of the mean velocity; 0 is +x, 90 is +y. A wall of the area reflects it."""

    sigma_mps: float = field(default=0.3, metadata=_of(0, 100))
    """Standard deviation of each component of the velocity."""

    alpha: float = field(default=0.9, metadata=_of(0, 1))
    """What the velocity keeps of its deviation after one second: 0 nothing, 1 all of it."""

    start_m: tuple[float, float] = (50.0, 0.0)
    """x and y."""

    area_m: tuple[float, float, float, float] = (-100.0, -100.0, 100.0, 100.0)
    """Least x, least y, greatest x, greatest y."""

    ue_height_m: float = field(default=1.5, metadata=_of(1.5, 10))
    """Of its antenna above the ground."""

    carrier_ghz: float = field(default=3.5, metadata=_of(0.5, 100))
    bandwidth_mhz: float = field(default=20.0, metadata=_of(0, 1e4, low_open=True))
    """That the noise is counted in."""

    transmit_dbm: float = field(default=23.0, metadata=_of(-50, 80))
    """Transmitted power with both antennas' gains. 23 dBm: a UE of power class 3."""

    noise_figure_db: float = field(default=5.0, metadata=_of(0, 30))
    """Of the receiver. 5 dB: a base station."""

    extra_loss_db: float = field(default=0.0, metadata=_of(0, 100))
    """Walls, bodies, and a margin for interference."""

    def __post_init__(self) -> None:
        for knob in fields(self):
            if knob.metadata:
                value = knob.metadata["allowed"].read(knob.name, getattr(self, knob.name))
                object.__setattr__(self, knob.name, value)
        start = _coordinates("start_m", self.start_m, 2)
        area = _coordinates("area_m", self.area_m, 4)
        x0, y0, x1, y1 = area
        if not (x0 < x1 and y0 < y1):
            raise InputError.of("area_m", list(area), "least x, least y, greatest x, greatest y")
        if not (x0 <= start[0] <= x1 and y0 <= start[1] <= y1):
            raise InputError.of("start_m", list(start), f"within area_m, {list(area)}")
        object.__setattr__(self, "start_m", start)
        object.__setattr__(self, "area_m", area)

    @property
    def noise_dbm(self) -> float:
        """-174 dBm/Hz + 10 log10(B) + noise figure."""
        bandwidth_db = 10 * math.log10(self.bandwidth_mhz * 1e6)
        return THERMAL_NOISE_DBM_HZ + bandwidth_db + self.noise_figure_db


def _coordinates(name: str, values: Sequence[float], count: int) -> tuple[float, ...]:
    allowed = f"{count} numbers in [{-_AREA_M:g}, {_AREA_M:g}]"
    if not isinstance(values, list | tuple) or len(values) != count:
        raise InputError.of(name, values, allowed)
    limits = Range(-_AREA_M, _AREA_M)
    return tuple(limits.read(name, value) for value in values)


@dataclass(frozen=True, slots=True)
class Trajectory:
    """What became of the UE; every array is [samples], step_s apart."""

    time_s: Values
    x_m: Values
    y_m: Values
    speed_mps: Values
    distance_m: Values
    """From the base station's foot."""

    los: NDArray[np.bool_]
    """Whether the base station is in sight."""

    path_loss_db: Values
    shadowing_db: Values
    """Loss on top of it, with mean 0."""

    snr_db: Values
    """Mean over the fading."""

    m: Values
    """Nakagami shape: that of the Rician K in sight, 1 (Rayleigh) without."""


class _Purpose(StrEnum):
    VELOCITY = "velocity"
    SIGHT = "line of sight"
    SHADOWING_LOS = "shadowing in sight"
    SHADOWING_NLOS = "shadowing out of sight"
    RICIAN_K = "Rician K"


def keyed_generator(text: str) -> np.random.Generator:
    """Draws that depend on this text alone, the same on every machine."""
    key = int.from_bytes(blake2b(text.encode(), digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key))


def trajectory(mobility: Mobility, seed: int | str, samples: int, step_s: float) -> Trajectory:
    """Moves the UE for (samples - 1) steps. The same `seed`, a number or a name, the same way.

    Its velocity is Gauss-Markov (Liang and Haas 1999): with a = alpha^step,
    v' = a v + (1 - a) v̄ + sqrt(1 - a²) w. Motion is computed in a plane without walls and then
    folded into the area, which reflects the velocity and its mean alike.

    Raises:
        InputError: too many samples, or a step that is not above 0.
    """
    if not 1 <= samples <= MAX_SAMPLES:
        raise InputError.of("samples", samples, f"[1, {MAX_SAMPLES}]")
    step_s = Range(0, 1e4, low_open=True).read("step_s", step_s)

    def normal(purpose: _Purpose, size: int = samples) -> Values:
        return keyed_generator(f"airsplit mobility 1|{seed}|{purpose}").standard_normal(size)

    velocity = _velocity(mobility, normal(_Purpose.VELOCITY, 2 * samples), step_s)
    steps = velocity[:-1] * step_s
    free = complex(*mobility.start_m) + np.concatenate([[0], np.cumsum(steps)])
    x0, y0, x1, y1 = mobility.area_m
    x, y = _fold(free.real, x0, x1), _fold(free.imag, y0, y1)
    moved = np.concatenate([[0.0], np.abs(steps)])

    radio = PARAMETERS[mobility.model]
    distance = np.hypot(x, y)
    # One draw for each decorrelation distance of the way; hidden at one place, hidden nearby.
    stretch = np.floor(np.cumsum(moved) / radio.los_correlation_m)
    drawn = keyed_generator(f"airsplit mobility 1|{seed}|{_Purpose.SIGHT}").random(samples)
    hiding = drawn[np.unique(stretch, return_inverse=True)[1]]
    los = hiding < los_probability(mobility.model, distance)
    in_sight = _correlated(moved, radio.shadowing_los_correlation_m, normal(_Purpose.SHADOWING_LOS))
    hidden = _correlated(moved, radio.shadowing_nlos_correlation_m, normal(_Purpose.SHADOWING_NLOS))
    shadowing = np.where(los, radio.shadowing_los_db * in_sight, radio.shadowing_nlos_db * hidden)
    k_db = radio.k_mean_db + radio.k_sd_db * _correlated(
        moved, radio.k_correlation_m, normal(_Purpose.RICIAN_K)
    )
    loss = path_loss_db(
        mobility.model, distance, los, mobility.carrier_ghz, ue_height_m=mobility.ue_height_m
    )
    received = mobility.transmit_dbm - loss - shadowing - mobility.extra_loss_db
    return Trajectory(
        time_s=step_s * np.arange(samples, dtype=np.float64),
        x_m=x,
        y_m=y,
        speed_mps=np.abs(velocity),
        distance_m=distance,
        los=los,
        path_loss_db=loss,
        shadowing_db=shadowing,
        snr_db=received - mobility.noise_dbm,
        m=np.where(los, nakagami_m(k_db), 1.0),
    )


def _velocity(mobility: Mobility, normal: Values, step_s: float) -> NDArray[np.complex128]:
    """x + jy in m/s, [samples], in the plane without walls, from its stationary law on."""
    direction = math.radians(mobility.direction_deg)
    mean = mobility.speed_mps * complex(math.cos(direction), math.sin(direction))
    innovations = normal[0::2] + 1j * normal[1::2]
    keep = np.full(len(innovations), mobility.alpha**step_s)
    return mean + mobility.sigma_mps * _autoregressive(keep, innovations)


def _correlated(moved_m: Values, correlation_m: float, normal: Values) -> Values:
    """A unit Gaussian along the way, autocorrelation e^(-d/d_corr) (Gudmundson 1991)."""
    return np.real(_autoregressive(np.exp(-moved_m / correlation_m), normal))


def _autoregressive(keep: Values, innovations: NDArray[np.inexact]) -> NDArray[np.complex128]:
    """z' = a z + sqrt(1 - a²) w, of unit variance from the first sample on."""
    scaled = np.sqrt(1 - keep * keep) * innovations
    scaled[0] = innovations[0]
    state, found = 0j, []
    for factor, innovation in zip(keep.tolist(), scaled.tolist(), strict=True):
        state = factor * state + innovation
        found.append(state)
    return np.array(found)


def _fold(values: Values, low: float, high: float) -> Values:
    """Reflects values at both ends: a triangle wave."""
    width = high - low
    return low + width - np.abs((values - low) % (2 * width) - width)
