"""Layer arithmetic by hand, at the edges above all."""

from __future__ import annotations

import pytest

from airsplit.errors import InputError
from airsplit.layer_range import LayerRange, splits_of

WHOLE = LayerRange(0, 4)


@pytest.mark.parametrize(
    ("split", "below", "above"),
    [
        (0, [], [0, 1, 2, 3]),
        (1, [0], [1, 2, 3]),
        (3, [0, 1, 2], [3]),
        (4, [0, 1, 2, 3], []),
    ],
)
def test_a_split_of_the_whole_model(split: int, below: list[int], above: list[int]) -> None:
    assert list(WHOLE.below(split)) == below
    assert list(WHOLE.above(split)) == above


def test_a_split_outside_what_is_held_leaves_an_empty_part_within_it() -> None:
    held = LayerRange(2, 4)
    assert held.below(0) == held.below(2) == LayerRange(2, 2)
    assert held.above(4) == held.above(9) == LayerRange(4, 4)


def test_membership_and_covering() -> None:
    assert [n for n in (-1, 0, 3, 4) if n in WHOLE] == [0, 3]
    assert 0.5 not in WHOLE
    assert "0" not in WHOLE
    assert WHOLE.covers(LayerRange(1, 4))
    assert not WHOLE.covers(LayerRange(1, 5))
    assert WHOLE.covers(LayerRange(9, 9)), "nothing is covered by anything"
    assert str(LayerRange(1, 3)) == "[1, 3)"


@pytest.mark.parametrize(
    ("ue", "edge", "splits"),
    [
        ((0, 16), (0, 16), range(0, 17)),
        ((0, 2), (0, 16), range(0, 3)),
        ((0, 8), (4, 16), range(4, 9)),
        ((0, 4), (4, 16), [4]),
        ((0, 0), (0, 16), [0]),
        ((0, 16), (16, 16), [16]),
    ],
)
def test_splits_that_both_ends_can_serve(
    ue: tuple[int, int], edge: tuple[int, int], splits: list[int]
) -> None:
    assert list(splits_of(LayerRange(*ue), LayerRange(*edge))) == list(splits)


@pytest.mark.parametrize(("ue", "edge"), [((0, 3), (4, 16)), ((1, 8), (4, 16))])
def test_a_gap_is_refused(ue: tuple[int, int], edge: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="no gap, the UE from layer 0"):
        splits_of(LayerRange(*ue), LayerRange(*edge))


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (3, 2)])
def test_a_backward_range_is_refused(start: int, stop: int) -> None:
    with pytest.raises(InputError, match=f"layers: '{start}:{stop}'"):
        LayerRange(start, stop)


@pytest.mark.parametrize(
    ("text", "expected"), [(":", (0, 16)), ("4:", (4, 16)), (":7", (0, 7)), ("0:0", (0, 0))]
)
def test_parsing(text: str, expected: tuple[int, int]) -> None:
    assert LayerRange.parse("--layers", text, 16) == LayerRange(*expected)


@pytest.mark.parametrize("text", ["", "4", "a:b", "5:4", "0:17", "-1:4", "1:2:3", "²:3", "1.5:3"])
def test_parsing_names_field_value_and_range(text: str) -> None:
    with pytest.raises(InputError) as raised:
        LayerRange.parse("--layers", text, 16)
    assert str(raised.value) == (
        f"--layers: {text!r} is not allowed; allowed: START:STOP with 0 <= START <= STOP <= 16"
    )
