"""Pure: which K/V rows have to move when the split goes from p to q, and what that costs.

A switch changes no K/V value; layers only change host. Rows that the new host still has from an
earlier visit are right and stay where they are, so only new positions move.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from airsplit.layer_range import LayerRange


class Direction(Enum):
    """Whose rows move."""

    PULL = "edge to UE"
    PUSH = "UE to edge"


@dataclass(frozen=True, slots=True)
class RowSpan:
    """Rows [start, stop) of one layer."""

    layer: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class HandoffPlan:
    """What a switch moves; `rows` is empty where the new host has everything already."""

    direction: Direction
    layers: LayerRange
    rows: tuple[RowSpan, ...]
    row_bytes: int

    @property
    def bytes(self) -> int:
        """K/V bytes that cross the link."""
        return self.row_bytes * sum(span.stop - span.start for span in self.rows)


def plan_handoff(
    split_from: int,
    split_to: int,
    position: int,
    valid: Callable[[int], int],
    row_bytes: int,
) -> HandoffPlan:
    """The rows that the new host of each moving layer lacks.

    Args:
        position: tokens [0, position) have passed all layers.
        valid: of a layer, up to which position the *new* host has its rows.
        row_bytes: bytes of key and value of one position in one layer.
    """
    if split_to >= split_from:
        direction, layers = Direction.PULL, LayerRange(split_from, split_to)
    else:
        direction, layers = Direction.PUSH, LayerRange(split_to, split_from)
    spans = (RowSpan(layer, min(valid(layer), position), position) for layer in layers)
    rows = tuple(span for span in spans if span.start < span.stop)
    return HandoffPlan(direction, layers, rows, row_bytes)


def pieces(rows: tuple[RowSpan, ...], row_bytes: int, max_bytes: int) -> list[RowSpan]:
    """The same rows in spans of at most `max_bytes` each (at least one row)."""
    step = max(1, max_bytes // row_bytes)
    return [
        RowSpan(span.layer, start, min(start + step, span.stop))
        for span in rows
        for start in range(span.start, span.stop, step)
    ]
