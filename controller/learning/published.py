"""The paper's released reward model as a reward: read from the file that a user gives.

The file is the authors' and is not shipped. Loss comes first of its two inputs, the split second,
neither normalised.

With the split given, a ReLU network is a function of the loss alone, and piecewise linear. So its
kinks are found once, and between two of them it is interpolated: the same values in far less time.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from controller.learning.space import ChannelSpace, Floats, Ints, require_splits
from controller.network import Mlp
from controller.policy import ModelId
from controller.stored import read_tensors

SPLITS = LayerRange(1, 11)
SPACE = ChannelSpace(("loss",), (0.0,), (0.3,))
"""What the authors measured."""

_SHAPES = {
    "fc.0.weight": (128, 2),
    "fc.0.bias": (128,),
    "fc.2.weight": (128, 128),
    "fc.2.bias": (128,),
    "fc.4.weight": (1, 128),
    "fc.4.bias": (1,),
}


@dataclass(frozen=True)
class PublishedReward:
    """10 f(loss, p) + (10 - p)/10 for p = 1..10: the released environment's, f an MLP."""

    name: str
    """Of the file, without its ending."""

    network: Mlp

    @cached_property
    def _pieces(self) -> tuple[Floats, Floats]:
        """loss + split at every kink of every split, ascending, and f there."""
        kinks = [_kinks(self.network, split) for split in SPLITS]
        at = np.concatenate([loss + split for loss, split in zip(kinks, SPLITS, strict=True)])
        values = [
            _layers(self.network, loss, split)[-1][:, 0]
            for loss, split in zip(kinks, SPLITS, strict=True)
        ]
        return at, np.concatenate(values)

    @property
    def model(self) -> ModelId:
        """Named after the file: which model the authors measured it does not say."""
        return ModelId(self.name, SPLITS.stop - 1)

    @property
    def space(self) -> ChannelSpace:
        return SPACE

    @property
    def splits(self) -> LayerRange:
        return SPLITS

    @classmethod
    def load(cls, path: Path) -> PublishedReward:
        """A .pth of plain tensors (read with weights_only) or a .safetensors file.

        Raises:
            InputError: it cannot be read, is a pickle of more than tensors, or another network.
        """
        if path.suffix not in (".pth", ".safetensors"):
            raise InputError.of("--reward", str(path), "FILE.pth or FILE.safetensors")
        tensors = _read_pth(path) if path.suffix == ".pth" else read_tensors(path)
        if set(tensors) != set(_SHAPES):
            found = ", ".join(sorted(map(str, tensors)))
            raise InputError.of(f"{path}: tensors", found, ", ".join(_SHAPES))
        for name, shape in _SHAPES.items():
            tensor = tensors[name]
            if tensor.shape != shape:
                raise InputError.of(f"{path}: shape of {name}", tensor.shape, str(shape))
            if tensor.dtype.kind != "f" or not np.isfinite(tensor).all():
                raise InputError(f"{path}: {name} has values that are not finite numbers")
        weights, biases = (
            tuple(tensors[f"fc.{layer}.{part}"].astype(np.float32) for layer in (0, 2, 4))
            for part in ("weight", "bias")
        )
        return cls(path.stem, Mlp(weights, biases, "relu"))

    def __call__(self, channels: Floats, splits: Ints) -> Floats:
        chosen = require_splits(splits, SPLITS.start, SPLITS.stop)
        return self._reward(SPACE.require(channels)[:, 0], chosen)

    def rows(self, channels: Floats) -> Floats:
        loss = SPACE.require(channels)[:, 0]
        splits = np.arange(SPLITS.start, SPLITS.stop)
        pairs = self._reward(np.repeat(loss, len(splits)), np.tile(splits, len(loss)))
        return pairs.reshape(len(loss), len(splits))

    def describe(self) -> dict[str, Any]:
        return {"form": "published", "file": self.name}

    def _reward(self, loss: Floats, splits: Ints) -> Floats:
        # A loss is below 1, so that the pieces of two splits do not meet.
        return np.asarray(10 * np.interp(loss + splits, *self._pieces) + (10 - splits) / 10)


def _layers(network: Mlp, loss: Floats, split: int) -> list[Floats]:
    """What each layer gives before its activation, [n, outputs], in float64."""
    x = np.column_stack([loss, np.full(len(loss), float(split))])
    found = []
    for weight, bias in zip(network.weights, network.biases, strict=True):
        found.append(x @ weight.T.astype(np.float64) + bias)
        x = np.maximum(found[-1], 0)
    return found


def _kinks(network: Mlp, split: int) -> Floats:
    """The losses at which a unit switches on or off, and both ends of the range; ascending.

    Layer by layer: between the kinks of the layers before, a layer is linear, so that where a unit
    passes 0 follows from its values at both ends.
    """
    at = np.array([SPACE.low[0], SPACE.high[0]])
    for layer in range(len(network.weights) - 1):
        values = _layers(network, at, split)[layer]
        left, right = values[:-1], values[1:]
        piece, unit = np.nonzero(left * right < 0)
        share = left[piece, unit] / (left[piece, unit] - right[piece, unit])
        at = np.unique(np.concatenate([at, at[piece] + share * (at[piece + 1] - at[piece])]))
    return at


def _read_pth(path: Path) -> Mapping[str, np.ndarray]:
    import torch

    try:
        with warnings.catch_warnings():  # of what is refused below in one line
            warnings.simplefilter("ignore")
            found = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception:
        # Whatever it stumbles over. torch's own words say how to run the pickle all the same.
        raise InputError(f"{path}: is not a file of plain weights; nothing of it was run") from None
    if not isinstance(found, dict) or not all(isinstance(t, torch.Tensor) for t in found.values()):
        raise InputError(f"{path}: is not a dictionary of tensors")
    try:
        return {name: tensor.detach().numpy() for name, tensor in found.items()}
    except (TypeError, RuntimeError):  # bfloat16, sparse and others that numpy does not have
        kinds = ", ".join(sorted({f"{t.dtype}" for t in found.values()}))
        raise InputError.of(f"{path}: tensors", kinds, "plain float32 or float64") from None
