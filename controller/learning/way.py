"""Channels along the way of a UE that moves, from the channel emulator's own mobility."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import sparse, special

from airsplit.errors import InputError
from channel_emulator.knobs import Range
from channel_emulator.mobility import Mobility, keyed_generator, trajectory
from controller.learning.cases import Starts
from controller.learning.dynamics import Grid, Matrix
from controller.learning.space import ChannelSpace, Floats, Ints


@dataclass(frozen=True, slots=True)
class MobilityDynamics:
    """A UE on its way: path loss, sight and shadowing set the mean SNR and the Nakagami shape m.

    Absolute noise follows from the SNR by the values' root mean square, sigma = rms 10^(-SNR/20);
    loss is the probability of an outage, P(h² SNR < threshold) = P(m, m threshold/SNR), Eq. 5 with
    its misprint corrected. What is outside of the space is clipped to it. UEs begin anywhere in
    the area and head anywhere; episodes begin anywhere in the first half of a way, and a way's end
    holds. State: the channel, and the sample's number.

    Raises:
        InputError: a value is out of its range.
    """

    mobility: Mobility = field(default_factory=lambda: Mobility(extra_loss_db=20.0))
    step_s: float = 1.0
    """Between two decisions."""

    ways: int = 16
    samples: int = 512
    """Of each way."""

    seed: int = 0
    """Of the ways."""

    rms: float = 1.0
    """Root mean square of the values that the noise is added to."""

    threshold_db: float = 0.0
    """Instantaneous SNR below which an element is lost."""

    def __post_init__(self) -> None:
        Range(0, 1e4, low_open=True).read("step_s", self.step_s)
        if not 1 <= self.ways <= 1024:
            raise InputError.of("ways", self.ways, "1-1024")
        if not 2 <= self.samples <= 4096:
            raise InputError.of("samples", self.samples, "2-4096")
        if not 0 < self.rms <= 1e6:
            raise InputError.of("rms", self.rms, "above 0, at most 1e6")
        if not -100 <= self.threshold_db <= 100:
            raise InputError.of("threshold_db", self.threshold_db, "-100-100")

    @property
    def hidden(self) -> int:
        return 1

    def start(
        self, chance: np.random.Generator, space: ChannelSpace, starts: Starts, n: int
    ) -> Floats:
        pool = self._pool(space)
        return np.asarray(pool[chance.choice(self._eligible(pool, starts), n)])

    def step(
        self, chance: np.random.Generator, space: ChannelSpace, states: Floats, moves: Ints
    ) -> Floats:
        after = self._following(states[:, -1].astype(np.int64))
        return np.asarray(self._pool(space)[after])

    def grid(self, space: ChannelSpace, starts: Starts, levels: int) -> Grid:
        """Every sample of every way."""
        pool = self._pool(space)
        eligible = self._eligible(pool, starts)
        share = np.zeros(len(pool))
        share[eligible] = 1 / len(eligible)
        return Grid(pool, share)

    def transition(self, space: ChannelSpace, grid: Grid, move: int) -> Matrix:
        n = len(grid.states)
        rows = np.arange(n)
        return sparse.csr_array((np.ones(n), (rows, self._following(rows))), shape=(n, n))

    def describe(self) -> dict[str, Any]:
        return {"dynamics": "mobility", **asdict(self)}

    def _following(self, sample: Ints) -> Ints:
        return np.asarray(sample + (sample % self.samples < self.samples - 1))

    def _eligible(self, pool: Floats, starts: Starts) -> Ints:
        early = np.arange(len(pool)) % self.samples < self.samples // 2
        found = np.flatnonzero(early & starts.space.contains(pool[:, :-1]))
        if not len(found):
            raise InputError.of("--case", starts.space, "a channel that the UE's way passes")
        return found

    def _pool(self, space: ChannelSpace) -> Floats:
        return _pool(self, space)


@lru_cache(maxsize=8)
def _pool(dynamics: MobilityDynamics, space: ChannelSpace) -> Floats:
    """[ways * samples, k + 1]: the channel, and the number of the row."""
    channels = np.concatenate([_way(dynamics, space, way) for way in range(dynamics.ways)])
    pool = np.column_stack([channels, np.arange(len(channels))])
    pool.flags.writeable = False
    return pool


def _way(dynamics: MobilityDynamics, space: ChannelSpace, way: int) -> Floats:
    """[samples, k]"""
    seed = f"{dynamics.seed}|{way}"
    x, y, turn = keyed_generator(f"airsplit learning 1|{seed}|start").random(3)
    x0, y0, x1, y1 = dynamics.mobility.area_m
    start = (x0 + x * (x1 - x0), y0 + y * (y1 - y0))
    mobility = replace(dynamics.mobility, start_m=start, direction_deg=360 * turn - 180)
    found = trajectory(mobility, seed, dynamics.samples, dynamics.step_s)
    margin = 10 ** ((dynamics.threshold_db - found.snr_db) / 10)
    values = {
        "sigma": dynamics.rms * 10 ** (-found.snr_db / 20),
        "inverse_m": 1 / found.m,
        "loss": special.gammainc(found.m, found.m * margin),
    }
    return space.clip(np.column_stack([values[name] for name in space.names]))
