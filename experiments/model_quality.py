"""The real model as a quality: measured when it is asked for, the channel applied in process.

A forward pass for every answer is slow, so channels are rounded to cells: a channel is measured
at the cell's middle, once for each split, and remembered. The first steps of a training are slow,
the later ones find nearly everything measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from airsplit.checkpoint import Checkpoint, locate
from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from airsplit.partition import ModelPartition
from channel_emulator.config import ChannelConfig
from controller.learning.space import ChannelSpace, Floats, Ints, require_splits
from controller.policy import ModelId
from experiments import designs
from experiments.prefixes import Prefixes, spread_windows
from experiments.scoring import Scorer


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What is measured.

    Raises:
        InputError: a value is out of its range.
    """

    space: ChannelSpace
    """("sigma", "inverse_m") or ("loss",)."""

    model: str = "airsplit-tiny"
    dataset: str = "sample"
    windows: int = 2
    """Evenly spread over the text; the answer is their mean."""

    window: int = 256
    """Tokens of each, the beginning-of-text token included."""

    cells: int = 16
    """Along each coordinate of the channel, on its own scale."""

    seed: int = 0
    """Of the radio's draws, the same for every cell."""

    def __post_init__(self) -> None:
        if not 2 <= self.cells <= 1000:
            raise InputError.of("--cells", self.cells, "2-1000")
        if self.window < 2:
            raise InputError.of("--window", self.window, "at least 2")


@dataclass
class ModelQuality:
    """Mean NLL of a few windows through the emulator's radio. Not for two threads at a time."""

    config: ModelConfig
    scorer: Scorer
    model: ModelId
    clean_nll: float
    measured: dict[tuple[int, ...], float] = field(default_factory=dict)
    """By cell and split."""

    @classmethod
    def load(cls, config: ModelConfig) -> ModelQuality:
        """Raises: InputError: no such model or text, or a text that is too short."""
        checkpoint = Checkpoint(locate(config.model))
        partition = ModelPartition(checkpoint)
        ids = spread_windows(checkpoint, config.dataset, config.window, config.windows)
        layers = partition.facts.layers
        prefixes = Prefixes.of(partition, ids, range(layers + 1))
        directory = Path(config.model).expanduser()
        name = directory.resolve().name if directory.is_dir() else config.model
        clean = float(prefixes.clean.mean())
        return cls(config, Scorer(partition, prefixes), ModelId(name, layers), clean)

    @property
    def space(self) -> ChannelSpace:
        return self.config.space

    @property
    def splits(self) -> LayerRange:
        return LayerRange(0, self.model.layers + 1)

    def nll(self, channels: Floats, splits: Ints) -> Floats:
        cells = self._cells(self.space.require(channels))
        chosen = require_splits(splits, self.splits.start, self.splits.stop)
        keys = [(*cell, p) for cell, p in zip(cells.tolist(), chosen.tolist(), strict=True)]
        self._measure([key for key in dict.fromkeys(keys) if key not in self.measured])
        return np.array([self.measured[key] for key in keys])

    def rows(self, channels: Floats) -> Floats:
        count = len(self.splits)
        each = np.repeat(channels, count, axis=0)
        return self.nll(each, np.tile(np.array([*self.splits]), len(channels))).reshape(-1, count)

    def measured_at(self, channels: Floats) -> Floats:
        """The middles of the cells of `channels`, both [n, k]."""
        return self._middles(self._cells(channels))

    def describe(self) -> dict[str, Any]:
        """The configuration, and the fingerprint of the model's weights; for JSON."""
        fingerprint = self.scorer.partition.facts.fingerprint
        return {**asdict(self.config), "fingerprint": fingerprint}

    def _cells(self, channels: Floats) -> Ints:
        """The cell of each channel along each coordinate, 0..cells - 1: [n, k]."""
        scaled = np.floor(self.space.to_unit(channels) * self.config.cells).astype(np.int64)
        return np.asarray(scaled.clip(0, self.config.cells - 1))

    def _middles(self, cells: Ints) -> Floats:
        """[n, k]"""
        return self.space.from_unit((cells + 0.5) / self.config.cells)

    def _measure(self, keys: Sequence[tuple[int, ...]]) -> None:
        """Several cells of one split go through the model together."""
        for split in sorted({key[-1] for key in keys}):
            mine = [key for key in keys if key[-1] == split]
            nlls = self.scorer.nlls([self._channel(key[:-1]) for key in mine], split)
            self.measured.update(zip(mine, nlls.mean(axis=1).tolist(), strict=True))

    def _channel(self, cell: tuple[int, ...]) -> ChannelConfig:
        """The emulator's configuration at the middle of a cell."""
        middle = self._middles(np.array([cell]))[0].tolist()
        values = dict(zip(self.space.names, middle, strict=True))
        if "loss" in values:
            return designs.erasure(values["loss"], self.config.seed)
        share = values["inverse_m"]
        return designs.fading(values["sigma"], 1 / share if share else inf, self.config.seed)
