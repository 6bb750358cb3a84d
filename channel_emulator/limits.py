"""How long the emulator waits for others."""

from __future__ import annotations

import math
from dataclasses import dataclass

from airsplit.errors import InputError


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the emulator waits for others.

    Raises:
        InputError: a value is out of its range.
    """

    idle_timeout_s: float = 300.0
    """A stream that does not begin, or K/V rows that stop coming, are given up after so long.
    Between the frames of a session the edge's own idle limit holds."""

    answer_deadline_s: float = 5.0
    """Longest silence of an edge that owes an answer, besides 1 s for every 125 kB on the way to
    it; at an opening, of all edges that are tried together. Below the UE's --deadline, so that the
    UE learns that it was the edge."""

    def __post_init__(self) -> None:
        for flag, seconds in (
            ("--idle-timeout", self.idle_timeout_s),
            ("--answer-deadline", self.answer_deadline_s),
        ):
            if not 0 < seconds < math.inf:
                raise InputError.of(flag, seconds, "above 0, finite, in seconds")
