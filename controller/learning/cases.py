"""Where an episode begins: the cases L, H and A of Sec. 5.1 of the paper, on any space and model.

The paper's are losses of 0-0.1, 0.1-0.3 and 0-0.3 with splits 1-5, 6-10 and 1-10: the lower third,
the upper two thirds and all of the channel's range, the lower half, the upper half and all of the
splits. So they are here, the channel's range being that of its first coordinate (noise or loss) on
its own scale. An odd split in the middle belongs to H.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from controller.learning.space import ChannelSpace, Floats, Ints


class Case(StrEnum):
    """Of what the first channel and the first split are drawn."""

    L = "L"
    H = "H"
    A = "A"
    RELEASED = "released"
    """The released code's: loss 0.01-0.3, every split but the last."""


@dataclass(frozen=True, slots=True)
class Starts:
    """What an episode begins with: uniform over `splits` and over `space` on its own scale."""

    space: ChannelSpace
    splits: LayerRange
    fading_share: float = 1.0
    """Where 1/m is a coordinate: the share of channels that fade; the others have its least."""

    def draw_channels(self, chance: np.random.Generator, n: int) -> Floats:
        """[n, k]"""
        channels = self.space.from_unit(chance.random((n, len(self.space.names))))
        for i, name in enumerate(self.space.names):
            if name == "inverse_m":
                steady = chance.random(n) >= self.fading_share
                channels[steady, i] = self.space.low[i]
        return channels

    def draw_splits(self, chance: np.random.Generator, n: int) -> Ints:
        """[n]"""
        return chance.integers(self.splits.start, self.splits.stop, n)


_SHARES = {Case.L: (0.0, 1 / 3), Case.H: (1 / 3, 1.0), Case.A: (0.0, 1.0)}
_RELEASED_LEAST_LOSS = 0.01


def starts_of(
    case: Case, space: ChannelSpace, splits: LayerRange, fading_share: float = 1.0
) -> Starts:
    """The starts of a case within `space` and `splits`.

    Raises:
        InputError: the released case where the state is not (loss, p).
    """
    if case is Case.RELEASED:
        if space.names != ("loss",):
            raise InputError.of("--case", "released", f"L, H, A where the state is {space.names}")
        least = ChannelSpace(space.names, (_RELEASED_LEAST_LOSS,), space.high)
        return Starts(least, LayerRange(splits.start, splits.stop - 1), fading_share)
    unit = np.zeros((2, len(space.names)))
    unit[1] = 1
    unit[:, 0] = _SHARES[case]
    low, high = space.from_unit(unit).tolist()
    middle = splits.start + len(splits) // 2
    allowed = {
        Case.L: LayerRange(splits.start, middle),
        Case.H: LayerRange(middle, splits.stop),
        Case.A: splits,
    }
    begin = ChannelSpace(space.names, tuple(low), tuple(high))
    return Starts(begin, allowed[case], fading_share)
