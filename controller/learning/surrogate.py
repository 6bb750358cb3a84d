"""A trained network in place of the model: NLL of a channel and a split in microseconds (Eq. 15).

A surrogate directory holds `surrogate.json` (what it stands for, where it holds, how good it is)
and `surrogate.safetensors` (`surrogate.0.weight` [outputs, inputs], `surrogate.0.bias`, ...).
Reading and asking it needs neither torch nor a pickle.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from controller.learning.space import ChannelSpace, Floats, Ints, require_splits
from controller.policy import ModelId, require_same
from controller.stored import read_record, read_tensors

FORMAT = "airsplit-surrogate/1"
CONFIG_FILE = "surrogate.json"
WEIGHTS_FILE = "surrogate.safetensors"

Layer = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Weight [outputs, inputs] and bias [outputs], as torch has them."""


def encode(space: ChannelSpace, splits: LayerRange, channels: Floats, split: Ints) -> Floats:
    """What the network sees of channels [n, k] and splits [n]: [n, k + 2], each in [-1, 1].

    Sigma on its own, logarithmic scale, and the split twice: as a share q of the range, and as
    its root. In a pre-norm transformer the residual stream adds up layer by layer, so that its
    root mean square, against which absolute noise counts, grows about with the root of the depth:
    with sqrt(q) the first layers are not crowded at one end.
    """
    share = (split - splits.start) / max(len(splits) - 1, 1)
    return 2 * np.column_stack([space.to_unit(channels), share, np.sqrt(share)]) - 1


@dataclass(frozen=True)
class Surrogate:
    """clean_nll + mean + scale * MLP(channel, split), in nats: a `Quality`.

    It answers within the box of channels and the range of splits that its records span, and
    refuses the rest with an InputError: outside, an MLP says anything.
    """

    model: ModelId
    space: ChannelSpace
    splits: LayerRange
    clean_nll: float
    mean: float
    """Of the excess over clean_nll in the training records, nats."""

    scale: float
    """Standard deviation of the same: the network's targets have mean 0 and deviation 1."""

    layers: tuple[Layer, ...]
    """Fully connected, ReLU between them, one output."""

    record: Mapping[str, Any] = field(default_factory=dict)
    """Scores, seed, command and what else is to be known of it; JSON."""

    def nll(self, channels: Floats, splits: Ints) -> Floats:
        """Of channel i with split i: [n], nats per token."""
        found = self.space.require(channels)
        split = require_splits(splits, self.splits.start, self.splits.stop)
        if len(split) != len(found):
            raise InputError.of("split: count", len(split), f"{len(found)}, one a channel")
        return self._forward(self._of_channel(found) + self._of_split[split - self.splits.start])

    def rows(self, channels: Floats) -> Floats:
        """For every split: [n, len(splits)], nats per token."""
        seen = self._of_channel(self.space.require(channels))
        return self._forward(seen[:, None, :] + self._of_split)

    def require(self, model: ModelId) -> None:
        """Raises: ModelMismatchError: it stands for another model."""
        require_same("surrogate", self.model, model)

    @cached_property
    def _of_split(self) -> NDArray[np.float32]:
        """The first layer's sum is a channel's part and a split's part; this is the latter, with
        the bias: [splits, hidden]."""
        weight, bias = self.layers[0]
        k = len(self.space.names)
        split = np.arange(self.splits.start, self.splits.stop)
        at = np.tile(np.array(self.space.low), (len(split), 1))
        seen = encode(self.space, self.splits, at, split).astype(np.float32)
        return np.asarray(seen[:, k:] @ weight[:, k:].T + bias)

    def _of_channel(self, channels: Floats) -> NDArray[np.float32]:
        """[n, hidden]"""
        seen = 2 * self.space.to_unit(channels) - 1
        weight = self.layers[0][0][:, : len(self.space.names)]
        return np.asarray(seen.astype(np.float32) @ weight.T)

    def _forward(self, x: NDArray[np.float32]) -> Floats:
        """From the first layer's sums, [..., hidden], to nats, [...]."""
        for weight, bias in self.layers[1:]:
            x = np.maximum(x, np.float32(0)) @ weight.T + bias
        return self.clean_nll + self.mean + self.scale * x[..., 0].astype(np.float64)

    def save(self, directory: Path) -> None:
        """Writes both files, each whole or not at all.

        Raises:
            InputError: they cannot be written.
        """
        record = {
            "format": FORMAT,
            "model": {"name": self.model.name, "layers": self.model.layers},
            "space": self.space.to_dict(),
            "splits": [self.splits.start, self.splits.stop - 1],
            "clean_nll": self.clean_nll,
            "target": {"of": "nll - clean_nll", "mean": self.mean, "scale": self.scale},
            "hidden": [len(bias) for _, bias in self.layers[:-1]],
            **self.record,
        }
        tensors = {}
        for number, (weight, bias) in enumerate(self.layers):
            tensors[f"surrogate.{number}.weight"] = np.ascontiguousarray(weight)
            tensors[f"surrogate.{number}.bias"] = np.ascontiguousarray(bias)
        text = json.dumps(record, indent=1, allow_nan=False) + "\n"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            partial = directory / f"{WEIGHTS_FILE}.partial"
            save_file(tensors, partial)
            os.replace(partial, directory / WEIGHTS_FILE)
            partial = directory / f"{CONFIG_FILE}.partial"
            partial.write_text(text, encoding="utf-8")
            os.replace(partial, directory / CONFIG_FILE)
        except OSError as error:
            raise InputError(f"--out: {directory} cannot be written: {error.strerror}") from error

    @classmethod
    def load(cls, directory: Path) -> Surrogate:
        """Reads both files.

        Raises:
            InputError: one cannot be read or is not what it should be; says which part.
        """
        path = directory / CONFIG_FILE
        record = read_record(path, FORMAT)
        try:
            model = ModelId(str(record["model"]["name"]), int(record["model"]["layers"]))
            first, last = (int(split) for split in record["splits"])
            space = ChannelSpace.of(record["space"])
            clean_nll = float(record["clean_nll"])
            mean, scale = (float(record["target"][part]) for part in ("mean", "scale"))
            hidden = tuple(int(size) for size in record["hidden"])
        except KeyError as error:
            raise InputError(f"{path}: {error.args[0]} is missing") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{path}: {error}") from error
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        if not 0 <= first <= last <= model.layers:
            allowed = f"first <= last, within 0-{model.layers}"
            raise InputError.of(f"{path}: splits", [first, last], allowed)
        if not (isfinite(clean_nll) and isfinite(mean) and isfinite(scale) and scale > 0):
            found = {"clean_nll": clean_nll, "mean": mean, "scale": scale}
            raise InputError.of(f"{path}: target", found, "finite, scale above 0")
        if not hidden or min(hidden) < 1:
            raise InputError.of(f"{path}: hidden", list(hidden), "1 or more sizes, each at least 1")
        sizes = (len(space.names) + 2, *hidden, 1)
        known = ("format", "model", "space", "splits", "clean_nll", "target", "hidden")
        return cls(
            model=model,
            space=space,
            splits=LayerRange(first, last + 1),
            clean_nll=clean_nll,
            mean=mean,
            scale=scale,
            layers=_read_layers(directory / WEIGHTS_FILE, sizes),
            record={name: record[name] for name in record if name not in known},
        )


def _read_layers(path: Path, sizes: tuple[int, ...]) -> tuple[Layer, ...]:
    """The network with layers of `sizes` (inputs, hidden..., 1)."""
    tensors = read_tensors(path)

    def tensor(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        if name not in tensors:
            raise InputError(f"{path}: {name} is missing")
        found = tensors[name]
        if found.shape != shape:
            raise InputError.of(f"{path}: shape of {name}", found.shape, str(shape))
        if found.dtype != np.float32 or not np.isfinite(found).all():
            raise InputError(f"{path}: {name} has values that are not finite numbers of float32")
        return np.asarray(found, dtype=np.float32)

    return tuple(
        (
            tensor(f"surrogate.{number}.weight", (outputs, inputs)),
            tensor(f"surrogate.{number}.bias", (outputs,)),
        )
        for number, (inputs, outputs) in enumerate(pairwise(sizes))
    )
