"""The replay table of docs/channel.md: every yes holds, every no is real. Runs: golden hashes."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channel_emulator.radio import Radio
from channel_emulator.spec import parse_channel
from tests.channel_replay import (
    CUT,
    CUTS,
    ORDER,
    ROWS,
    SESSIONS,
    TOKENS,
    WHOLE,
    Row,
    by_jitter,
    by_radio,
    by_session,
    through,
)

BACKWARDS = CUT[::-1]


def rows(cell: str, *, holds: bool) -> list:
    return [pytest.param(row, id=row.name) for row in ROWS if (cell not in row.no) is holds]


@st.composite
def cuts(draw: st.DrawFn) -> list[tuple[int, int]]:
    inside = draw(st.sets(st.integers(1, TOKENS - 1), max_size=6))
    edges = [0, *sorted(inside), TOKENS]
    return list(pairwise(edges))


@pytest.mark.parametrize("row", rows(CUTS, holds=True))
@settings(max_examples=8, deadline=None)
@given(frames=cuts())
def test_chunks_change_no_bit(row: Row, frames):
    np.testing.assert_array_equal(row.observe(row.spec, 1, frames), row.observe(row.spec, 1, WHOLE))


@pytest.mark.parametrize("row", rows(CUTS, holds=False))
def test_chunks_change_the_bits(row: Row):
    one, other = row.observe(row.spec, 1, CUT), row.observe(row.spec, 1, WHOLE)
    assert (one != other).any()


@pytest.mark.parametrize("row", rows(ORDER, holds=True))
@settings(max_examples=8, deadline=None)
@given(frames=st.permutations(CUT))
def test_order_changes_no_bit(row: Row, frames):
    np.testing.assert_array_equal(row.observe(row.spec, 1, frames), row.observe(row.spec, 1, CUT))


@pytest.mark.parametrize("row", rows(ORDER, holds=False))
def test_order_changes_the_bits(row: Row):
    one, other = row.observe(row.spec, 1, CUT), row.observe(row.spec, 1, BACKWARDS)
    assert (one != other).any()


@pytest.mark.parametrize("row", rows(SESSIONS, holds=True))
def test_sessions_at_the_same_time_change_no_bit(row: Row):
    alone = [row.observe(row.spec, stream, CUT) for stream in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda stream: row.observe(row.spec, stream, CUT), range(4)))
    np.testing.assert_array_equal(together, alone)
    if row.observe is by_radio:
        assert len({bits.tobytes() for bits in alone}) == 4


TIMED = [pytest.param(row, id=row.name) for row in ROWS if row.observe not in (by_radio, by_jitter)]


@pytest.mark.parametrize("row", TIMED)
def test_the_wall_clock_changes_no_bit(row: Row):
    slow, quick = (row.observe(row.spec, 1, CUT, pace_ns=pace_ns) for pace_ns in (10**8, 1))
    np.testing.assert_array_equal(slow, quick)


def test_the_wall_clock_is_radio_time_where_the_clock_is_live():
    spec = "nakagami,fading=copula,sigma=0,clock=live"
    observe = by_session("truth.mean_gain")
    slow, quick = (observe(spec, 1, CUT, pace_ns=pace_ns) for pace_ns in (10**8, 1))
    assert (slow != quick).any()


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.name) for row in ROWS if row.observe is by_radio]
)
def test_streams_that_take_turns_on_one_radio_change_no_bit(row: Row):
    radio = Radio(parse_channel(row.spec))
    parts: dict[int, list[np.ndarray]] = {1: [], 2: []}
    for frame in CUT:
        for stream, found in parts.items():
            found.append(through(radio, stream, [frame]))
    for stream, found in parts.items():
        apart = [through(Radio(parse_channel(row.spec)), stream, [frame]) for frame in CUT]
        np.testing.assert_array_equal(np.concatenate(found), np.concatenate(apart))


def test_every_session_is_its_own():
    """There is no impairment that sessions share."""
    assert all(SESSIONS not in row.no for row in ROWS)
    assert all(bool(row.no) is bool(row.why) for row in ROWS)
