"""What a learned policy sees: channel and split of Sec. 4.1 of the paper, scaled to [-1, 1].

One definition for training and for serving; it is stored with every trained policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isnan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from controller.learning.space import ChannelSpace, Floats, Ints
from controller.policy import Observation


def inverse_m(m: float) -> float:
    """1/m, which is 0 for a channel that does not fade (m = infinity)."""
    return 0.0 if m == inf else 1.0 / m


@dataclass(frozen=True, slots=True)
class Features:
    """Ranges of what a policy was trained on; each is mapped onto [-1, 1].

    Raises:
        InputError: there is but one split.
    """

    space: ChannelSpace
    splits: LayerRange
    """p may be start, ..., stop - 1."""

    def __post_init__(self) -> None:
        if len(self.splits) < 2:
            raise InputError.of("splits", str(self.splits), "two or more")

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Features:
        """From JSON: {"names", "low", "high", "splits": [first, last]}.

        Raises:
            InputError: a part is missing or is not what it should be.
        """
        try:
            first, last = (int(split) for split in record["splits"])
        except KeyError as error:
            raise InputError(f"features: {error.args[0]} is missing") from error
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"features: splits: {error}") from error
        return cls(ChannelSpace.of(record), LayerRange(first, last + 1))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**self.space.to_dict(), "splits": [self.splits.start, self.splits.stop - 1]}

    @property
    def size(self) -> int:
        """How many numbers a state is: k + 1."""
        return len(self.space.names) + 1

    def vectors(self, channels: Floats, splits: Ints) -> NDArray[np.float32]:
        """States as float32 [n, k + 1]: the channel, then the split, each in [-1, 1].

        Values beyond the ranges are clipped to them: a channel that is worse than every trained
        one is treated as the worst trained one. `inside` tells.
        """
        unit = np.empty((len(splits), self.size))
        unit[:, :-1] = self.space.to_unit(channels)
        unit[:, -1] = (splits - self.splits.start) / (len(self.splits) - 1)
        return np.minimum(np.maximum(2.0 * unit - 1.0, -1.0), 1.0).astype(np.float32)

    def inside(self, channels: Floats, splits: Ints) -> NDArray[np.bool_]:
        """Whether nothing had to be clipped: bool [n]."""
        fits: NDArray[np.bool_] = (splits >= self.splits.start) & (splits < self.splits.stop)
        return fits & self.space.contains(channels)


def observed(space: ChannelSpace, observation: Observation) -> Floats:
    """The channel of an observation in state coordinates: [1, k]; NaN where it is not known.

    An m that cannot be told yet, or that noise hides, counts as no fading: it takes many coherence
    times to learn, and the noise alone already says more than nothing.
    """
    values = {
        "sigma": observation.sigma,
        "inverse_m": 0.0 if isnan(observation.m) else inverse_m(observation.m),
        "loss": observation.loss,
    }
    return np.array([[values[name] for name in space.names]])


def unknown(space: ChannelSpace, channels: Floats) -> str | None:
    """The first coordinate of [1, k] that is not known, by name; None where all are."""
    missing = np.flatnonzero(np.isnan(channels[0]))
    return space.names[missing[0]] if len(missing) else None
