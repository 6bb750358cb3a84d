"""The only arithmetic on layers: half-open ranges, 0-based."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from airsplit.errors import InputError


@dataclass(frozen=True, slots=True)
class LayerRange:
    """Layers [start, stop) of a model; empty where start == stop.

    Raises:
        InputError: start is negative or stop is below start.
    """

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop:
            raise InputError.of("layers", f"{self.start}:{self.stop}", "0 <= start <= stop")

    @classmethod
    def parse(cls, field: str, text: str, layers: int) -> LayerRange:
        """`A:B` within a model of `layers` layers; either side may be left out."""
        first, separator, last = text.partition(":")
        try:
            found = cls(int(first or 0), int(last) if last else layers)
        except (ValueError, InputError):
            separator = ""
        if not separator or found.stop > layers:
            raise InputError.of(field, text, f"START:STOP with 0 <= START <= STOP <= {layers}")
        return found

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start, self.stop))

    def __contains__(self, layer: object) -> bool:
        return isinstance(layer, int) and self.start <= layer < self.stop

    def covers(self, other: LayerRange) -> bool:
        """Whether every layer of `other` is one of these."""
        return len(other) == 0 or (self.start <= other.start and other.stop <= self.stop)

    def below(self, split: int) -> LayerRange:
        """The UE's part of these layers at `split`: those before it."""
        stop = min(max(split, self.start), self.stop)
        return LayerRange(self.start, stop)

    def above(self, split: int) -> LayerRange:
        """The edge's part of these layers at `split`: those from it on."""
        start = max(min(split, self.stop), self.start)
        return LayerRange(start, self.stop)

    def __str__(self) -> str:
        return f"[{self.start}, {self.stop})"


def splits_of(ue: LayerRange, edge: LayerRange) -> LayerRange:
    """The splits p that both ends can serve: [edge.start, ue.stop], as a half-open range.

    Raises:
        InputError: the UE does not begin at layer 0, or a layer is held by neither end.
    """
    if ue.start != 0 or edge.start > ue.stop:
        raise InputError.of("layers", f"UE {ue}, edge {edge}", "no gap, the UE from layer 0")
    return LayerRange(edge.start, ue.stop + 1)
