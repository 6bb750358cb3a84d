"""Random draws that depend on what they are for, never on when they are made.

A draw is keyed by (seed, purpose, direction, stream, window, position, attempt). numpy's Philox is
a counter-based generator (Salmon et al. 2011): its 128-bit key is a hash of the first four, its
256-bit counter begins at the last three. numpy increments the first of the four counter words, so
that word is left to the draws themselves: every token has 2^64 blocks of four draws of its own.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import blake2b
from typing import Any

import numpy as np


class Direction(StrEnum):
    """Of a link, seen from the UE."""

    UPLINK = "uplink"
    DOWNLINK = "downlink"


class Purpose(StrEnum):
    """What draws are for; each has its own key."""

    FADING = "fading"
    BLOCK_FADING = "block fading"
    NOISE = "noise"
    LOSS = "loss"
    PILOT_FADING = "pilot fading"
    PILOT_NOISE = "pilot noise"
    TOKEN_PILOT_NOISE = "pilot noise of combined tokens"  # noqa: S105
    JITTER = "jitter"
    RELIABLE_JITTER = "jitter of messages without a position"


class Draws:
    """The draws of one stream in one direction. Not for two threads at a time."""

    def __init__(self, seed: int, stream: int, direction: Direction) -> None:
        self._keys = {
            purpose: _key(f"airsplit 1|{seed}|{purpose}|{direction}|{stream}")
            for purpose in Purpose
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
        self._position["key"] = self._keys[purpose]
        self._position["counter"] = (0, position, window, attempt)
        self._bits.state = self._state
        return self._generator


def _key(text: str) -> tuple[int, int]:
    digest = blake2b(text.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
