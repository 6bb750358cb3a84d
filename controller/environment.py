"""The split as a Markov decision process (Sec. 4.1 of the paper), as a gymnasium environment.

State (sigma, m, p), actions {-u, ..., u}, reward of Eq. 9 from measured perplexities.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

import gymnasium
import numpy as np

from airsplit.errors import InputError
from controller.features import Features, inverse_m, noise_coordinate, sigma_at
from controller.table import PerplexityTable


@dataclass(frozen=True, slots=True)
class EnvironmentConfig:
    """What the agent is asked to do.

    Raises:
        InputError: a value is out of its range.
    """

    cost_weight: float = 0.1
    """lambda of Eq. 8: running all layers on the UE costs as much as this share of likelihood."""

    move_cost: float = 0.0
    """What moving the split by one layer costs once, in units of the reward: its K/V rows have to
    cross. Not in Eq. 9, where a policy may wander between splits that are about as good."""

    max_move: int = 2
    """u: the split moves by -u..u layers a step."""

    episode_steps: int = 5
    """Table 4 of the paper."""

    drift: float = 0.05
    """Standard deviation of the change of log(1 + sigma / SIGMA_SCALE) from step to step."""

    fading_share: float = 0.5
    """Share of the episodes whose channel fades; the others have m = infinity."""

    def __post_init__(self) -> None:
        if not 0 <= self.cost_weight < inf:
            raise InputError.of("--lambda", self.cost_weight, "a finite number, at least 0")
        if not 0 <= self.move_cost < inf:
            raise InputError.of("--move-cost", self.move_cost, "a finite number, at least 0")
        if self.max_move < 1:
            raise InputError.of("--actions", 2 * self.max_move + 1, "3, 5, 7, ...")
        if self.episode_steps < 1:
            raise InputError.of("episode_steps", self.episode_steps, "at least 1")
        if not (isfinite(self.drift) and self.drift >= 0):
            raise InputError.of("drift", self.drift, "a finite number, at least 0")
        if not 0 <= self.fading_share <= 1:
            raise InputError.of("fading_share", self.fading_share, "0-1")

    @property
    def moves(self) -> tuple[int, ...]:
        return tuple(range(-self.max_move, self.max_move + 1))


@dataclass(frozen=True)
class Objective:
    """Eq. 8 with a normalised perplexity: what the reward is the negative of."""

    table: PerplexityTable
    cost_weight: float
    move_cost: float = 0.0

    @classmethod
    def of(cls, table: PerplexityTable, config: EnvironmentConfig) -> Objective:
        return cls(table, config.cost_weight, config.move_cost)

    def row(self, sigma: float, m: float) -> np.ndarray:
        """1 - PPL_clean / PPL(p; sigma, m) + lambda * p / L for every split p: [L + 1].

        The first part is the share of each token's likelihood that the channel takes, in [0, 1):
        about the excess NLL in nats where that is small, and bounded where the text is lost. The
        paper's bare PPL spans three orders of magnitude here, and no lambda would weigh at both
        ends; at a given channel and lambda = 0 the order of the splits is the same. C_UE of Eq. 2
        is p times the cost of a layer, so p/L is its share of the whole model's.

        Raises:
            InputError: the channel is outside what the table covers.
        """
        layers = self.table.model.layers
        lost = 1 - np.exp(self.table.clean_nll - self.table.row(sigma, m))
        return np.asarray(lost + self.cost_weight * np.arange(layers + 1) / layers)


class SplitEnvironment(gymnasium.Env[np.ndarray, np.int64]):
    """One session: each step moves the split by at most u layers, while the noise drifts.

    An episode draws sigma uniformly on its logarithmic scale within the table, m as infinity or
    with 1/m uniform within the table, and p uniform in 0..L. The reward of a step is that of the
    new split under the noise that the agent saw; then the noise drifts, and is clipped to the
    table. Episodes are truncated, not terminated: the session would go on.

    Observations are `Features.vector`: float32 [3]. `reset(options=...)` sets sigma, m or split.
    """

    def __init__(self, table: PerplexityTable, config: EnvironmentConfig | None = None) -> None:
        self.config = config or EnvironmentConfig()
        self.objective = Objective.of(table, self.config)
        self.features = Features(table.model.layers, table.sigma_max, table.inverse_m_max)
        self.observation_space = gymnasium.spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(len(self.config.moves))
        self._sigma, self._m, self._split, self._steps = 0.0, inf, 0, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        chance, features = self.np_random, self.features
        given = options or {}
        self._sigma = sigma_at(chance.uniform(0, noise_coordinate(features.sigma_max)))
        fades = chance.uniform() < self.config.fading_share
        share = chance.uniform(0, features.inverse_m_max)
        self._m = 1 / share if fades and share > 0 else inf
        self._split = int(chance.integers(features.layers + 1))
        self._sigma = float(given.get("sigma", self._sigma))
        self._m = float(given.get("m", self._m))
        self._split = int(given.get("split", self._split))
        if not features.inside(self._sigma, self._m, self._split):
            raise InputError(f"options: {given}; allowed: what the table covers")
        self._steps = 0
        return self._observation(), self._info()

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        left, wanted = self._split, self._split + self.config.moves[int(action)]
        self._split = min(max(wanted, 0), self.features.layers)
        cost = self.objective.row(self._sigma, self._m)[self._split]
        reward = -float(cost + self.config.move_cost * abs(self._split - left))
        self._steps += 1
        info = self._info()
        self._drift()
        return self._observation(), reward, False, self._steps >= self.config.episode_steps, info

    def _drift(self) -> None:
        x = noise_coordinate(self._sigma) + self.np_random.normal(0.0, self.config.drift)
        self._sigma = sigma_at(min(max(x, 0.0), noise_coordinate(self.features.sigma_max)))
        # Rounding of the way there and back must not leave the table.
        self._sigma = min(self._sigma, self.features.sigma_max)

    def _observation(self) -> np.ndarray:
        return self.features.vector(self._sigma, self._m, self._split)

    def _info(self) -> dict[str, Any]:
        """The state that the last reward was for."""
        return {"sigma": self._sigma, "inverse_m": inverse_m(self._m), "split": self._split}
