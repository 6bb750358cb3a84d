"""Random draws that depend on what they are for, never on when they are made.

A draw is keyed by (seed, purpose, direction, stream, window, position, attempt). numpy's Philox is
a counter-based generator (Salmon et al. 2011): its 128-bit key is a hash of the first four and of
the way of drawing, its 256-bit counter begins at the last three. The counter's first word is what
numpy counts up, so that it is left to the draws themselves:

- `at` gives each token 2^64 blocks of 256 bits of its own;
- `uniform`, `normal` and `events` lay the tokens of a window out behind each other, each on
  as many blocks as its width takes, so that all tokens of a frame are drawn at once and each still
  has the draws of its position. The second word is the width: rows of two widths share no block.

No two counters under one key meet, so that no draw is used twice.
"""

from __future__ import annotations

import math
from enum import StrEnum
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from channel_emulator.kernels import draws as kernels

Keys = NDArray[np.uint64]
"""Of two ways of drawing: [4]."""


class Direction(StrEnum):
    """Of a link, seen from the UE."""

    UPLINK = "uplink"
    DOWNLINK = "downlink"


class Purpose(StrEnum):
    """What draws are for; each has its own key."""

    FADING = "fading"
    BLOCK_FADING = "block fading"
    SCATTERING = "scattered waves"
    NOISE = "noise"
    LOSS = "loss"
    LOSS_STATE = "state that loss depends on"
    PILOT_FADING = "pilot fading"
    PILOT_NOISE = "pilot noise"
    TOKEN_PILOT_NOISE = "pilot noise of combined tokens"  # noqa: S105
    JITTER = "jitter"
    RELIABLE_JITTER = "jitter of messages without a position"


_TOKENS, _ELEMENTS, _BITS, _UNIFORM = "1", "elements 1", "bits 1", "uniform 1"
"""Ways of drawing; each has keys of its own. A number changes whenever the draws would."""


class Draws:
    """The draws of one stream in one direction. Not for two threads at a time."""

    def __init__(self, seed: int, stream: int, direction: Direction) -> None:
        self._keys = {
            (purpose, way): _key(f"airsplit {way}|{seed}|{purpose}|{direction}|{stream}")
            for purpose in Purpose
            for way in (_TOKENS, _ELEMENTS, _BITS, _UNIFORM)
        }
        self._arrays: dict[tuple[Purpose, str], Keys] = {}
        self._bits = np.random.Philox(key=0)
        self._generator = np.random.Generator(self._bits)
        # Tuples, not arrays: numpy converts four integers faster than it copies an array.
        self._position: dict[str, tuple[int, ...]] = {}
        self._state: Any = {
            "bit_generator": "Philox",
            "state": self._position,
            "buffer": (0, 0, 0, 0),
            "buffer_pos": 4,
            "has_uint32": 0,
            "uinteger": 0,
        }

    def at(
        self, purpose: Purpose, window: int, position: int, attempt: int = 0
    ) -> np.random.Generator:
        """The generator at the beginning of these draws; good until the next call.

        `window`, `position` and `attempt` are integers in [0, 2^64).
        """
        self._turn(purpose, _TOKENS, (0, position, window, attempt))
        return self._generator

    def uniform(
        self, purpose: Purpose, window: int, position: int, shape: tuple[int, int], attempt: int = 0
    ) -> NDArray[np.float64]:
        """Uniform draws from [0, 1) of 53 bits, float64 [tokens, width], from `position` on."""
        drawn = np.empty(shape)
        keys = self.keys(purpose, _UNIFORM)
        kernels.uniform(keys, window, position, attempt, drawn)
        return drawn

    def normal(
        self, purpose: Purpose, window: int, position: int, shape: tuple[int, int], attempt: int = 0
    ) -> NDArray[np.float32]:
        """Standard normal draws, float32 [tokens, width], from `position` on.

        A pair is made of two independent quantiles a, b of 16 random bits each: (a ± b) / √2, as
        normal and as independent as they are. Against Φ the distribution of one draw is off by 8e-6
        at most and its tail by 0.2 % up to 5 σ; the least probable cells are drawn exactly.
        Integers, a table and one float32 addition: the same bits on every machine.
        """
        drawn = np.empty(shape, dtype=np.float32)
        kernels.normal(QUANTILES, self.keys(purpose), window, position, attempt, drawn)
        return drawn

    def events(
        self,
        purpose: Purpose,
        window: int,
        position: int,
        shape: tuple[int, int],
        probability: float,
        attempt: int = 0,
    ) -> NDArray[np.bool_]:
        """True with `probability`, each by itself: [tokens, width], from `position` on.

        16 bits decide; only where they are those of the threshold itself, 53 more do.
        """
        threshold = int(probability * _CELLS)
        if threshold >= _CELLS:
            return np.ones(shape, dtype=np.bool_)
        drawn = np.empty(shape, dtype=np.bool_)
        rest = probability * _CELLS - threshold
        keys = self.keys(purpose)
        kernels.events(keys, window, position, attempt, threshold, rest, drawn)
        return drawn

    def keys(self, purpose: Purpose, way: str = _BITS) -> Keys:
        """For kernels: of that way of drawing, and of elements for which it is too coarse."""
        found = self._arrays.get((purpose, way))
        if found is None:
            both = *self._keys[purpose, way], *self._keys[purpose, _ELEMENTS]
            found = self._arrays[purpose, way] = np.array(both, dtype=np.uint64)
        return found

    def _turn(self, purpose: Purpose, way: str, counter: tuple[int, ...]) -> None:
        self._position["key"] = self._keys[purpose, way]
        self._position["counter"] = counter
        self._bits.state = self._state


_CELLS = 1 << 16


def _quantiles() -> NDArray[np.float32]:
    """Mean of each of 2^16 equally probable cells of N(0, 1/2), scaled to that variance."""
    edges = special.ndtri(np.arange(_CELLS // 2 + 1) / _CELLS)
    density = np.exp(-(edges**2) / 2) / math.sqrt(2 * math.pi)
    lower = -np.diff(density) * _CELLS  # E[x; cell] = φ(left) - φ(right)
    # The outermost cells are drawn exactly: the others make up what is left of the variance.
    inner = 1 - 2 * (-edges[1] * density[1] + special.ndtr(edges[1]))
    lower *= math.sqrt(inner / (2 * np.sum(lower[1:] ** 2) / _CELLS) / 2)
    return np.concatenate([lower, -lower[::-1]]).astype(np.float32)


QUANTILES = _quantiles()


def _key(text: str) -> tuple[int, int]:
    digest = blake2b(text.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
