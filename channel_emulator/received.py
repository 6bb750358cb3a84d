"""What a frame meets on its way, and what the receiver has of it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from airsplit.v1 import channel_pb2
from channel_emulator import harq
from channel_emulator.fading import Floats
from channel_emulator.kernels import sums
from channel_emulator.truth import TRANSPARENT

Halves = NDArray[np.uint16]
"""Numbers of 16 bits as they are encoded."""


class Drawn(NamedTuple):
    """What a frame meets, whatever its values are."""

    faded: harq.Combined

    erased: NDArray[np.bool_] | None
    """[tokens, hidden], or [tokens, 1] where whole tokens are; None: nothing is."""

    loss: float
    """Share of the elements that are erased."""

    mean_gain: float
    """Of the first copy's amplitudes."""

    normals: Floats
    """[1, hidden] of a single token's noise. Of more they are [0, hidden]: the kernel draws them a
    token at a time, which stay in a core's cache."""

    @classmethod
    def of(cls, faded: harq.Combined, erased: NDArray[np.bool_], normals: Floats) -> Drawn:
        """Finds out how much is lost."""
        lost = np.count_nonzero(erased) / erased.size
        return cls(faded, erased if lost else None, lost, sums.mean(faded.first), normals)


class Received(NamedTuple):
    """What one call of `transmit` came to."""

    values: Floats | Halves
    """[tokens, hidden], zero where erased."""

    erased: NDArray[np.bool_] | None
    """[tokens, hidden]; None: nothing is erased."""

    truth: channel_pb2.ChannelTruth

    transmissions: NDArray[np.int64]
    """[tokens]: copies sent of each."""

    rate_bps: NDArray[np.float64] | None
    """[tokens]: rate of each token's fade; None where the configured rate applies."""

    power: NDArray[np.float64]
    """[tokens]: mean square that the SNR of each is relative to."""

    first: Floats
    """Amplitude of the first copy, as `h`."""

    h: Floats
    """Amplitude after combining: [tokens, 1], or [tokens, hidden] where elements fade alone."""

    failed: NDArray[np.bool_]
    """Not enough was received, whatever `loss` did besides; as `h`."""

    energy: float
    """Of `values`."""


def spread(erased: NDArray[np.bool_] | None, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """`Drawn.erased` as [tokens, hidden]."""
    if erased is None or erased.shape == shape:
        return erased
    return np.broadcast_to(erased, shape)


def untouched(values: Floats) -> Received:
    """By a channel that does nothing to values."""
    ones = np.ones((len(values), 1), dtype=np.float32)
    return Received(
        values=values,
        erased=None,
        truth=TRANSPARENT,
        transmissions=np.ones(len(values), dtype=np.int64),
        rate_bps=None,
        power=np.full(len(values), math.nan),
        first=ones,
        h=ones,
        failed=ones == 0,
        energy=float(np.square(values, dtype=np.float64).sum()),
    )
