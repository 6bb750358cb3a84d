"""What the demo has seen so far: the UE's events, set beside the unsplit reference."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from airsplit.perplexity import Perplexity
from cli.demo_scenario import Phase, Radio

RECENT = 60
"""Story tokens that "now" is made of."""


class Track:
    """A value over the time of the run, in bins, for a sparkline."""

    BINS = 240

    def __init__(self, duration_s: float) -> None:
        self._bins_per_s = self.BINS / duration_s
        self._values: list[float] = []

    def put(self, time_s: float, value: float) -> None:
        """The value from `time_s` on; what was before stays until then."""
        index = min(int(time_s * self._bins_per_s), self.BINS - 1)
        last = self._values[-1] if self._values else value
        while len(self._values) <= index:
            self._values.append(last)
        self._values[index] = value

    def resampled(self, width: int) -> list[float]:
        """One value for each of the first columns of `width`; none for the time to come."""
        last = len(self._values) - 1
        columns = [round(column * self.BINS / width) for column in range(width)]
        return [self._values[index] for index in columns if index <= last]


@dataclass
class Recording:
    """Takes the UE's events one by one. `rows` are what `experiments.report` reads."""

    duration_s: float
    reference: Sequence[Sequence[float]]
    """Unsplit NLL of every window of the text, one per scored token."""

    configured: dict[int, tuple[Phase, Radio]]
    """What each version of the channel's configuration was."""

    started: Mapping[str, Any] | None = None
    ended: bool = False
    rows: list[dict[str, Any]] = field(default_factory=list)
    stories: list[str] = field(default_factory=list)
    last: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Newest row of each session."""

    moves: list[dict[str, Any]] = field(default_factory=list)
    """Rows that committed a switch."""

    perplexities: dict[str, tuple[Perplexity, Perplexity]] = field(default_factory=dict)
    """By phase: split, unsplit."""

    recent: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=RECENT))

    def __post_init__(self) -> None:
        self.split_track = Track(self.duration_s)
        self.sigma_track = Track(self.duration_s)

    def take(self, event: dict[str, Any]) -> None:
        """One event of `ue_client.duet.run_duet`."""
        match event["event"]:
            case "started":
                self.started = event
            case "story":
                self.stories.append(event["opening"])
            case "text":
                self.stories[-1] += event["piece"]
            case "frame":
                self._frame(event)
            case "ended":
                self.ended = True

    @property
    def channel(self) -> dict[str, Any] | None:
        """What the newest frame met."""
        found: dict[str, Any] | None = self.rows[-1]["channel"] if self.rows else None
        return found

    def _frame(self, event: dict[str, Any]) -> None:
        row = {name: value for name, value in event.items() if name != "event"}
        # The frame itself says which configuration served it: no clock is compared.
        phase, radio = self.configured[row["channel"]["config_version"]]
        row["phase"], row["configured"] = phase.name, asdict(radio)
        if "nll_sum" in row:
            self._scored(row)
            self.split_track.put(row["time_s"], row["split"])
        if row["task"] == "sample":
            self.recent.append(row)
        if row["switch"]:
            self.moves.append(row)
        self.rows.append(row)
        self.last[row["session"]] = row
        self.sigma_track.put(row["time_s"], radio.sigma)

    def _scored(self, row: dict[str, Any]) -> None:
        start, count = row["position"], row["scored_tokens"]
        unsplit = self.reference[row["text_window"]][start : start + count]
        row["unsplit_nll_sum"] = math.fsum(unsplit)
        mine, theirs = self.perplexities.setdefault(row["phase"], (Perplexity(), Perplexity()))
        mine.nll_sum += row["nll_sum"]
        mine.tokens += count
        theirs.add(unsplit)
