"""Random draws that depend on what they are for, never on when they are made.

A draw is keyed by (seed, purpose, direction, stream, window, position, attempt). numpy's Philox is
a counter-based generator (Salmon et al. 2011): its 128-bit key is a hash of the first four and of
the way of drawing, its 256-bit counter begins at the last three. The counter's first word is what
numpy counts up, so that it is left to the draws themselves:

- `at` gives each token 2^64 blocks of 256 bits of its own;
- `bits`, `uniform`, `normal` and `events` lay the tokens of a window out behind each other, each on
  as many blocks as its width takes, so that all tokens of a frame are drawn at once and each still
  has the draws of its position. The second word is the width: rows of two widths share no block.

No two counters under one key meet, so that no draw is used twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import StrEnum
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special


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


class Draws:
    """The draws of one stream in one direction. Not for two threads at a time."""

    def __init__(self, seed: int, stream: int, direction: Direction) -> None:
        self._keys = {
            (purpose, way): _key(f"airsplit {way}|{seed}|{purpose}|{direction}|{stream}")
            for purpose in Purpose
            for way in (_TOKENS, _ELEMENTS, *_IN_BLOCK)
        }
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

    def bits(
        self, purpose: Purpose, window: int, position: int, shape: tuple[int, int], attempt: int = 0
    ) -> NDArray[np.uint16]:
        """16 random bits for each element of `shape` = [tokens, width], from `position` on.

        `position` is in [0, 2^40), the width in [1, 2^24]; `window` and `attempt` as for `at`.
        """
        rows = self._rows(purpose, _BITS, window, position, shape, attempt)
        return rows.astype(_WORD, copy=False).view(_HALF_WORD)[:, : shape[1]]

    def uniform(
        self, purpose: Purpose, window: int, position: int, shape: tuple[int, int], attempt: int = 0
    ) -> NDArray[np.float64]:
        """Uniform draws from [0, 1) of 53 bits, float64 [tokens, width], from `position` on."""
        rows = self._rows(purpose, _UNIFORM, window, position, shape, attempt)
        drawn: NDArray[np.float64] = (rows[:, : shape[1]] >> np.uint64(11)) * np.float64(2.0**-53)
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
        tokens, width = shape
        pairs = (width + 1) // 2
        drawn = np.empty(shape, dtype=np.float32)
        for rows in cached_rows(tokens, 2 * pairs):
            part, first = drawn[rows], position + rows.start
            bits = self.bits(purpose, window, first, (len(part), 2 * pairs), attempt)
            half = _QUANTILES.take(bits, mode="clip")
            for edge in _where(bits + np.uint16(1) < 2):  # cells 0 and 65535
                token, element = divmod(edge, 2 * pairs)
                u = self._of_element(purpose, window, first + token, attempt, element).random()
                tail = _HALF_ROOT * special.ndtri((1 - u) / _CELLS)
                half[token, element] = tail if bits[token, element] == 0 else -tail
            a, b = half[:, :pairs], half[:, pairs:]
            np.add(a, b, out=part[:, :pairs])
            np.subtract(a[:, : width - pairs], b[:, : width - pairs], out=part[:, pairs:])
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
        for rows in cached_rows(*shape):
            part, first = drawn[rows], position + rows.start
            bits = self.bits(purpose, window, first, part.shape, attempt)
            np.less(bits, threshold, out=part)
            for tie in _where(bits == threshold) if rest > 0 else ():
                token, element = divmod(tie, shape[1])
                generator = self._of_element(purpose, window, first + token, attempt, element)
                part[token, element] = generator.random() < rest
        return drawn

    def _rows(
        self,
        purpose: Purpose,
        way: str,
        window: int,
        position: int,
        shape: tuple[int, int],
        attempt: int,
    ) -> NDArray[np.uint64]:
        """[tokens, words]: enough 64-bit words for each token, in whole blocks."""
        tokens, width = shape
        blocks = -(-width // _IN_BLOCK[way])
        self._turn(purpose, way, (position * blocks, width, window, attempt))
        words: NDArray[np.uint64] = self._bits.random_raw(tokens * blocks * 4)
        return words.reshape(tokens, blocks * 4)

    def _of_element(
        self, purpose: Purpose, window: int, position: int, attempt: int, element: int
    ) -> np.random.Generator:
        """For the one element in thousands that 16 bits are too few for; 2^32 blocks each."""
        counter = (element << 32, position, window, attempt)
        self._turn(purpose, _ELEMENTS, counter)
        return self._generator

    def _turn(self, purpose: Purpose, way: str, counter: tuple[int, ...]) -> None:
        self._position["key"] = self._keys[purpose, way]
        self._position["counter"] = counter
        self._bits.state = self._state


_TOKENS, _ELEMENTS, _BITS, _UNIFORM = "1", "elements 1", "bits 1", "uniform 1"
"""Ways of drawing; each has keys of its own. A number changes whenever the draws would."""

_IN_BLOCK = {_BITS: 16, _UNIFORM: 4}
"""Elements in a block of the counter."""

_CACHED_ELEMENTS = 1 << 15
"""Worked on at a time: their buffers and the table fit a core's second-level cache."""

_WORD, _HALF_WORD = np.dtype("<u8"), np.dtype("<u2")
_CELLS = 1 << 16
_HALF_ROOT = math.sqrt(0.5)


def cached_rows(tokens: int, width: int) -> Iterator[slice]:
    """All of so many tokens, as many at a time as a core's cache has room for; at least one."""
    step = max(1, _CACHED_ELEMENTS // width)
    if tokens <= step:
        return iter((slice(0, tokens),))
    return (slice(first, min(first + step, tokens)) for first in range(0, tokens, step))


def _where(found: NDArray[np.bool_]) -> list[int]:
    """Flat indices of what is True."""
    return found.reshape(-1).nonzero()[0].tolist()


def _quantiles() -> NDArray[np.float32]:
    """Mean of each of 2^16 equally probable cells of N(0, 1/2), scaled to that variance."""
    edges = special.ndtri(np.arange(_CELLS // 2 + 1) / _CELLS)
    density = np.exp(-(edges**2) / 2) / math.sqrt(2 * math.pi)
    lower = -np.diff(density) * _CELLS  # E[x; cell] = φ(left) - φ(right)
    # The outermost cells are drawn exactly: the others make up what is left of the variance.
    inner = 1 - 2 * (-edges[1] * density[1] + special.ndtr(edges[1]))
    lower *= math.sqrt(inner / (2 * np.sum(lower[1:] ** 2) / _CELLS) / 2)
    return np.concatenate([lower, -lower[::-1]]).astype(np.float32)


_QUANTILES = _quantiles()


def _key(text: str) -> tuple[int, int]:
    digest = blake2b(text.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
