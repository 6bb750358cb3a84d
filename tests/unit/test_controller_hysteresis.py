"""Hysteresis: a dwell in time, and agreement between looks."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from controller.hysteresis import Hysteresis

MS = 1_000_000


def test_one_change_per_dwell() -> None:
    hysteresis = Hysteresis(min_dwell_ms=500)
    assert hysteresis.holds(0, 4, 6) is None
    hysteresis.changed(0)
    assert hysteresis.holds(499 * MS, 6, 8) == "dwell of 500 ms"
    assert hysteresis.holds(500 * MS, 6, 8) is None


def test_looks_that_agree_in_direction_confirm_each_other() -> None:
    hysteresis = Hysteresis(min_dwell_ms=0, confirmations=3)
    assert hysteresis.holds(0, 4, 6) == "wanted 1 of 3 times in a row"
    assert hysteresis.holds(0, 4, 5) == "wanted 2 of 3 times in a row"
    assert hysteresis.holds(0, 4, 9) is None


def test_another_direction_or_none_begins_anew() -> None:
    for between in (4, 2):
        hysteresis = Hysteresis(min_dwell_ms=0, confirmations=2)
        hysteresis.holds(0, 4, 6)
        hysteresis.holds(0, 4, between)
        assert hysteresis.holds(0, 4, 6) == "wanted 1 of 2 times in a row"


def test_a_change_needs_agreement_of_its_own() -> None:
    hysteresis = Hysteresis(min_dwell_ms=0, confirmations=2)
    hysteresis.holds(0, 4, 6)
    assert hysteresis.holds(0, 4, 6) is None
    hysteresis.changed(0)
    assert hysteresis.holds(0, 6, 8) == "wanted 1 of 2 times in a row"


@given(st.integers(0, 10_000), st.lists(st.integers(0, 10_000), max_size=50))
def test_changes_are_a_dwell_apart(dwell_ms: int, gaps_ms: list[int]) -> None:
    hysteresis, now_ns, changes = Hysteresis(dwell_ms), 0, []
    for step, gap_ms in enumerate(gaps_ms):
        now_ns += gap_ms * MS
        if hysteresis.holds(now_ns, step, step + 1) is None:
            hysteresis.changed(now_ns)
            changes.append(now_ns)
    assert all(b - a >= dwell_ms * MS for a, b in itertools.pairwise(changes))


@given(st.integers(1, 6), st.lists(st.integers(-1, 1), max_size=60))
def test_every_change_was_wanted_so_often_in_a_row(count: int, ways: list[int]) -> None:
    hysteresis = Hysteresis(0, count)
    for i, way in enumerate(ways):
        if hysteresis.holds(0, 0, way) is None and way:
            assert set(ways[i + 1 - count : i + 1]) == {way}
            assert i + 1 >= count
            hysteresis.changed(0)
