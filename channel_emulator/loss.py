"""Which elements are erased by themselves, apart from any fade."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from channel_emulator.draws import Draws, Purpose


def erased_elements(
    draws: Draws, window: int, position: int, shape: tuple[int, int], loss: float
) -> NDArray[np.bool_]:
    """`shape` = [tokens, hidden]: True with probability `loss`, independently (to 2^-24)."""
    erased = np.empty(shape, dtype=np.bool_)
    for token in range(shape[0]):
        generator = draws.at(Purpose.LOSS, window, position + token)
        erased[token] = generator.random(shape[1], dtype=np.float32) < loss
    return erased
