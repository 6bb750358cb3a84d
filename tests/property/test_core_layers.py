"""Layer ranges and handoffs: what holds for every split and every sequence of moves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airsplit.errors import InputError
from airsplit.handoff import Direction, HandoffPlan, RowSpan, pieces, plan_handoff
from airsplit.layer_range import LayerRange, splits_of

ranges = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(
    lambda ends: LayerRange(*sorted(ends))
)


@given(ranges, st.integers(-5, 50))
def test_a_split_cuts_a_range_into_two_without_gap_or_overlap(held: LayerRange, split: int) -> None:
    below, above = held.below(split), held.above(split)
    assert [*below, *above] == list(held)
    assert all(layer < split for layer in below)
    assert all(layer >= split for layer in above)
    assert held.covers(below)
    assert held.covers(above)


@given(ranges, ranges)
def test_covering_is_being_a_superset(one: LayerRange, other: LayerRange) -> None:
    assert one.covers(other) == set(other).issubset(one)
    assert len(one) == len(list(one))
    assert [layer for layer in range(50) if layer in one] == list(one)


@given(ranges, ranges, st.integers(0, 40))
def test_splits_of_are_those_at_which_each_layer_has_a_host(
    ue: LayerRange, edge: LayerRange, layers: int
) -> None:
    ue = LayerRange(0, min(ue.stop, layers))
    edge = LayerRange(min(edge.start, layers), layers)
    everything = LayerRange(0, layers)
    possible = [
        p
        for p in range(layers + 1)
        if set(everything.below(p)) <= set(ue) and set(everything.above(p)) <= set(edge)
    ]
    if possible:
        assert list(splits_of(ue, edge)) == possible
    else:
        with pytest.raises(InputError, match="no gap"):
            splits_of(ue, edge)


@given(ranges)
def test_a_range_is_read_back_from_its_text(held: LayerRange) -> None:
    assert LayerRange.parse("--layers", f"{held.start}:{held.stop}", 40) == held


LAYERS = 7
ROW_BYTES = 24


class Hosts:
    """Two hosts as sets of (layer, position) that they have the right rows of."""

    def __init__(self, split: int) -> None:
        self.split, self.position = split, 0
        self.ue: set[tuple[int, int]] = set()
        self.edge: set[tuple[int, int]] = set()

    def compute(self, tokens: int) -> None:
        new = range(self.position, self.position + tokens)
        self.ue |= {(n, t) for n in range(self.split) for t in new}
        self.edge |= {(n, t) for n in range(self.split, LAYERS) for t in new}
        self.position += tokens

    def move(self, split: int) -> tuple[HandoffPlan, set[tuple[int, int]]]:
        """The plan, and the rows that really moved; only a host that has a row can send it."""
        source, target = (self.edge, self.ue) if split > self.split else (self.ue, self.edge)
        plan = plan_handoff(self.split, split, self.position, lambda n: valid(target, n), ROW_BYTES)
        rows = {(s.layer, t) for s in plan.rows for t in range(s.start, s.stop)}
        assert rows <= source
        assert not rows & target, "a row that is there already moves again"
        target |= rows
        self.split = split
        return plan, rows


def valid(rows: set[tuple[int, int]], layer: int) -> int:
    """Up to which position `rows` has all of a layer."""
    position = 0
    while (layer, position) in rows:
        position += 1
    return position


moves = st.lists(st.tuples(st.integers(0, 5), st.integers(0, LAYERS)), max_size=12)


@given(st.integers(0, LAYERS), moves)
def test_after_every_move_the_new_host_has_every_row(
    first: int, steps: list[tuple[int, int]]
) -> None:
    hosts = Hosts(first)
    for tokens, split in steps:
        hosts.compute(tokens)
        came_from = hosts.split
        plan, rows = hosts.move(split)
        everything = range(hosts.position)
        assert {(n, t) for n in range(split) for t in everything} <= hosts.ue
        assert {(n, t) for n in range(split, LAYERS) for t in everything} <= hosts.edge
        assert plan.bytes == ROW_BYTES * len(rows)
        assert plan.direction is (Direction.PULL if split >= came_from else Direction.PUSH)
        assert set(plan.layers) == set(range(min(split, came_from), max(split, came_from)))


@given(st.integers(0, LAYERS), st.integers(0, LAYERS), st.integers(1, 9), st.integers(0, 9))
def test_there_and_back_moves_only_what_is_new(
    home: int, away: int, before: int, between: int
) -> None:
    hosts = Hosts(home)
    hosts.compute(before)
    _, there = hosts.move(away)
    assert len(there) == abs(away - home) * before
    hosts.compute(between)
    _, back = hosts.move(home)
    assert len(back) == abs(away - home) * between
    _, again = hosts.move(away)
    assert again == set()


spans = st.builds(
    lambda layer, start, length: RowSpan(layer, start, start + length),
    st.integers(0, 5),
    st.integers(0, 30),
    st.integers(0, 60),
)


@given(st.lists(spans, max_size=5), st.integers(1, 50), st.integers(1, 400))
def test_pieces_cover_the_rows_exactly(rows: list[RowSpan], row_bytes: int, limit: int) -> None:
    cut = pieces(tuple(rows), row_bytes, limit)
    assert [(s.layer, t) for s in cut for t in range(s.start, s.stop)] == [
        (s.layer, t) for s in rows for t in range(s.start, s.stop)
    ]
    for piece in cut:
        count = piece.stop - piece.start
        assert count >= 1
        assert count * row_bytes <= limit or count == 1
