"""What an agent is paid for a split under a channel: Eq. 9 of the paper on any quality."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from math import inf
from typing import Any, Protocol

import numpy as np

from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from controller.learning.quality import Measured, Quality
from controller.learning.space import ChannelSpace, Floats, Ints
from controller.policy import ModelId


class Reward(Protocol):
    """Reward of a split under a channel, higher is better. Shapes and refusals as `Quality`."""

    @property
    def model(self) -> ModelId:
        """What it was measured on, as far as that is known."""

    @property
    def space(self) -> ChannelSpace: ...

    @property
    def splits(self) -> LayerRange:
        """p may be start, ..., stop - 1."""

    def __call__(self, channels: Floats, splits: Ints) -> Floats:
        """[n]."""

    def rows(self, channels: Floats) -> Floats:
        """For every split: [n, len(splits)]."""

    def describe(self) -> dict[str, Any]:
        """What it is, for JSON."""


IDENTITY_LEVELS = 33
"""Channels along each coordinate at which rewards are compared."""


def identity(reward: Reward) -> dict[str, Any]:
    """What tells a reward from another one, for JSON: that of a training goes on with itself alone.

    A digest of its values on a grid of channels; of one that would have to be measured for that,
    how it is measured.
    """
    quality = getattr(reward, "quality", None)
    if isinstance(quality, Measured):
        return {**reward.describe(), "measured": quality.describe()}
    channels = reward.space.grid([IDENTITY_LEVELS] * len(reward.space.names))
    values = np.ascontiguousarray(reward.rows(channels), dtype="<f8")
    return {**reward.describe(), "sha256": sha256(values.tobytes()).hexdigest()[:16]}


class RewardForm(StrEnum):
    """How perplexity becomes a cost, 0 on a clean channel."""

    SHARE = "share"
    """1 - PPL_clean/PPL: the share of each token's likelihood that the channel takes, in [0, 1)."""

    LOG = "log"
    """NLL - NLL_clean, in nats."""

    PERPLEXITY = "perplexity"
    """PPL - PPL_clean: Eq. 9 up to a constant. It spans orders of magnitude, and no lambda weighs
    at both ends."""


@dataclass(frozen=True)
class ObjectiveReward:
    """-(cost of the perplexity + lambda C_UE(p)/C_UE(L)), Eq. 9 with both parts normalised.

    C_UE of Eq. 2 is p times the cost of a layer, so that p/L is its share of the whole model's.

    Raises:
        InputError: lambda is out of its range.
    """

    quality: Quality
    cost_weight: float = 0.1
    """lambda: what running all layers on the UE costs, in units of the form."""

    form: RewardForm = RewardForm.SHARE

    def __post_init__(self) -> None:
        if not 0 <= self.cost_weight < inf:
            raise InputError.of("--lambda", self.cost_weight, "a finite number, at least 0")

    @property
    def model(self) -> ModelId:
        return self.quality.model

    @property
    def space(self) -> ChannelSpace:
        return self.quality.space

    @property
    def splits(self) -> LayerRange:
        return self.quality.splits

    def __call__(self, channels: Floats, splits: Ints) -> Floats:
        return -self._lost(self.quality.nll(channels, splits)) - self._compute(splits)

    def rows(self, channels: Floats) -> Floats:
        return -self._lost(self.quality.rows(channels)) - self._compute(np.array([*self.splits]))

    def describe(self) -> dict[str, Any]:
        return {"form": self.form.value, "lambda": self.cost_weight}

    def _compute(self, splits: Ints) -> Floats:
        return np.asarray(self.cost_weight / self.model.layers * splits)

    def _lost(self, nll: Floats) -> Floats:
        clean = self.quality.clean_nll
        match self.form:
            case RewardForm.SHARE:
                return 1 - np.exp(clean - nll)
            case RewardForm.LOG:
                return nll - clean
            case RewardForm.PERPLEXITY:
                return np.asarray(np.exp(nll) - np.exp(clean))
