"""Quality of the text as a function of channel and split: what a reward is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from airsplit.layer_range import LayerRange
from controller.learning.space import ChannelSpace, Floats, Ints
from controller.policy import ModelId
from controller.table import PerplexityTable


class Quality(Protocol):
    """Mean negative log-likelihood per token, in nats, of one model; perplexity is its exponential.

    Channels are [n, k] in the coordinates of `space`, splits int64 [n]. It refuses, with an
    InputError, what it does not cover: a channel or a split outside, and NaN.
    """

    @property
    def model(self) -> ModelId: ...

    @property
    def space(self) -> ChannelSpace: ...

    @property
    def splits(self) -> LayerRange:
        """p may be start, ..., stop - 1."""

    @property
    def clean_nll(self) -> float:
        """Without a channel, the same for every split."""

    def nll(self, channels: Floats, splits: Ints) -> Floats:
        """[n]."""

    def rows(self, channels: Floats) -> Floats:
        """For every split: [n, len(splits)]."""


@runtime_checkable
class Measured(Protocol):
    """A quality that measures when it is asked, at channels of its own choice."""

    def measured_at(self, channels: Floats) -> Floats:
        """The channels that answers for `channels` are of, both [n, k]."""

    def describe(self) -> dict[str, Any]:
        """What is measured and how, for JSON: two that say the same give the same answers."""


@dataclass(frozen=True)
class Nearest:
    """A quality over a space that reaches further than its own: there it answers as at its edge."""

    quality: Quality
    space: ChannelSpace

    @property
    def model(self) -> ModelId:
        return self.quality.model

    @property
    def splits(self) -> LayerRange:
        return self.quality.splits

    @property
    def clean_nll(self) -> float:
        return self.quality.clean_nll

    def nll(self, channels: Floats, splits: Ints) -> Floats:
        return self.quality.nll(self._clipped(channels), splits)

    def rows(self, channels: Floats) -> Floats:
        return self.quality.rows(self._clipped(channels))

    def _clipped(self, channels: Floats) -> Floats:
        return self.quality.space.clip(self.space.require(channels))


@dataclass(frozen=True)
class TableQuality:
    """A measured table, interpolated as `PerplexityTable` says."""

    table: PerplexityTable

    @property
    def model(self) -> ModelId:
        return self.table.model

    @property
    def clean_nll(self) -> float:
        return self.table.clean_nll

    @property
    def splits(self) -> LayerRange:
        return LayerRange(0, self.table.model.layers + 1)

    @property
    def space(self) -> ChannelSpace:
        return self.table.space

    def nll(self, channels: Floats, splits: Ints) -> Floats:
        return self.table.at(channels, splits)

    def rows(self, channels: Floats) -> Floats:
        return self.table.rows(channels)
