"""Versions over channel time: what holds when, and what a change leaves of what was to come."""

from bisect import bisect_right
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airsplit.errors import InputError
from channel_emulator.config import ChannelConfig
from channel_emulator.draws import Direction
from channel_emulator.knobs import RadioClock
from channel_emulator.rate_trace import RateTrace
from channel_emulator.spec import parse_channel
from channel_emulator.timeline import MAX_CHANGES, MAX_TIME_NS, Snapshot, Timeline, merged

S = 1_000_000_000
AWGN = parse_channel("awgn,sigma=1")


def sigmas(timeline):
    return [
        (time_ns, snapshot.version, snapshot.config.sigma)
        for time_ns, snapshot in zip(timeline.times_ns, timeline.snapshots, strict=True)
    ]


def test_a_plain_channel_is_version_1_at_all_times():
    timeline = Timeline.of(AWGN)
    for time_ns in (-5, 0, 1, MAX_TIME_NS):
        assert timeline.at(time_ns) == Snapshot(AWGN, 1)
    assert (timeline.clock, timeline.last_version) == (RadioClock.REPLAY, 1)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([], [(0, 1, 1.0)]),
        ([(0, {"sigma": 2})], [(0, 1, 2.0)]),
        ([(5, {"sigma": 2})], [(0, 1, 1.0), (5, 2, 2.0)]),
        (
            [(0, {"sigma": "2"}), (5, {"sigma": 3}), (6, {})],
            [(0, 1, 2.0), (5, 2, 3.0), (6, 3, 3.0)],
        ),
    ],
)
def test_one_version_at_first_and_one_for_each_later_change(changes, expected):
    assert sigmas(Timeline.compiled(changes, AWGN)) == expected


def test_versions_go_on_from_the_one_given():
    timeline = Timeline.compiled([(5, {"sigma": 2})], AWGN, first_version=8)
    assert [snapshot.version for snapshot in timeline.snapshots] == [8, 9]


def test_a_version_holds_from_its_own_nanosecond_on():
    timeline = Timeline.compiled([(5, {"sigma": 2}), (9, {"sigma": 3})], AWGN)
    assert [timeline.at(t).config.sigma for t in (0, 4, 5, 8, 9, 10**18)] == [1, 1, 2, 2, 3, 3]
    assert [timeline.before(t).config.sigma for t in (0, 5, 6, 9)] == [1, 1, 2, 2]


def test_each_change_changes_what_the_one_before_left():
    changes = [(0, {"m": 3}), (5, {"preset": "awgn", "snr_db": 10}), (9, {"delay_ms": 4})]
    timeline = Timeline.compiled(changes, parse_channel("nakagami,delay_ms=2"))
    assert [snapshot.config for snapshot in timeline.snapshots] == [
        parse_channel("nakagami,m=3,delay_ms=2"),
        parse_channel("awgn,snr_db=10,delay_ms=2"),
        parse_channel("awgn,snr_db=10,delay_ms=4"),
    ]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ([(5, {}), (5, {})], r"changes\[1\]: time_ns: 5 is not allowed; allowed: \[6, 9223"),
        ([(5, {}), (4, {})], r"changes\[1\]: time_ns: 4"),
        ([(-1, {})], r"changes\[0\]: time_ns: -1 is not allowed; allowed: \[0, "),
        ([(2**63, {})], r"changes\[0\]: time_ns: 9223372036854775808"),
        ([(0, {}), (2 * S, {"sigma": -1})], r"changes\[1\], at 2 s: sigma: -1\.0"),
        ([(0, {"m": 2})], r"changes\[0\], at 0 s: m: 2\.0 has no effect in preset 'awgn'"),
        ([(1, {"nothing": 2})], r"'nothing'"),
        ([(1, {"threshold": 0.0})], r"'threshold'"),
        ([(1, {"clock": "live"})], r"clock: 'live' is not allowed; allowed: changes at once"),
        ([(1, {"seed": 3})], r"seed: 3 .* not at a stated time"),
        ([(1, {"token_interval_ms": 5})], r"token_interval_ms: 5\.0"),
        ([(0, {})] * (MAX_CHANGES + 1), r"changes: 100001 is not allowed; allowed: at most 1000"),
    ],
)
def test_what_is_no_sequence_of_changes_is_refused(changes, says):
    with pytest.raises(InputError, match=says) as error:
        Timeline.compiled(changes, AWGN)
    assert "\n" not in str(error.value)


def test_the_clock_may_be_chosen_at_the_beginning():
    first = {"clock": "live", "seed": 7}
    timeline = Timeline.compiled([(0, first), (5, {**first, "sigma": 2})], AWGN)
    assert (timeline.clock, timeline.at(5).config.seed) == (RadioClock.LIVE, 7)


PLAYED = Timeline.compiled([(5, {"sigma": 2}), (9, {"sigma": 3})], AWGN)


@pytest.mark.parametrize(
    ("time_ns", "expected"),
    [
        (0, [(0, 1, 1.0), (0, 4, 7.0)]),
        (5, [(0, 1, 1.0), (5, 4, 7.0)]),
        (6, [(0, 1, 1.0), (5, 2, 2.0), (6, 4, 7.0)]),
        (20, [(0, 1, 1.0), (5, 2, 2.0), (9, 3, 3.0), (20, 4, 7.0)]),
        (None, [(0, 4, 7.0)]),
    ],
)
def test_a_change_replaces_what_was_still_to_come(time_ns, expected):
    changed = PLAYED.changed(merged(AWGN, {"sigma": 7}), time_ns)
    assert sigmas(changed) == expected
    assert changed.at(time_ns or 0).config.sigma == 7
    assert changed.last_version == 4


@given(
    times=st.lists(st.integers(1, 50), unique=True).map(sorted),
    changes=st.lists(st.integers(0, 60), max_size=5),
    at=st.integers(0, 70),
)
def test_times_and_versions_ascend_whatever_is_changed(times, changes, at):
    timeline = Timeline.compiled([(t, {"sigma": t}) for t in times], AWGN)
    truth = {0: 1.0} | {t: float(t) for t in times}
    for i, time_ns in enumerate(changes):
        timeline = timeline.changed(merged(AWGN, {"sigma": 100 + i}), time_ns)
        truth = {t: s for t, s in truth.items() if t < time_ns} | {time_ns: 100.0 + i}
    kept = sorted(truth)
    assert timeline.at(at).config.sigma == truth[kept[max(bisect_right(kept, at) - 1, 0)]]
    assert list(timeline.times_ns) == sorted(timeline.times_ns)
    versions = [snapshot.version for snapshot in timeline.snapshots]
    assert versions == sorted(set(versions))
    assert timeline.last_version == 1 + len(times) + len(changes)


@pytest.mark.parametrize("knob", [{"clock": "live"}, {"seed": 1}, {"token_interval_ms": 2}])
def test_time_itself_does_not_change_at_a_stated_time(knob):
    config = AWGN.changed(knob)
    with pytest.raises(InputError, match="not at a stated time"):
        PLAYED.changed(config, 7)
    assert PLAYED.changed(config).at(0).config == config


@pytest.mark.parametrize("time_ns", [-1, 2**63])
def test_a_time_out_of_range_is_refused(time_ns):
    with pytest.raises(InputError, match="effective_time_ns: "):
        PLAYED.changed(AWGN, time_ns)


def test_changes_at_stated_times_are_bounded():
    snapshots = (Snapshot(AWGN, 1),) * MAX_CHANGES
    full = Timeline(tuple(range(MAX_CHANGES)), snapshots)
    with pytest.raises(InputError, match=r"changes: 100001 .* at most 100000"):
        full.changed(AWGN, MAX_CHANGES)
    assert len(full.changed(AWGN, MAX_CHANGES - 1).snapshots) == MAX_CHANGES


def test_a_change_ends_scenario_and_traces_where_it_begins():
    up = RateTrace.of([0, 10], [0, 1000], stepwise=False)
    down = RateTrace.of([0, 10], [0, 2000], stepwise=False)
    timeline = Timeline(
        PLAYED.times_ns, PLAYED.snapshots, 3, 40, "walk", 100, uplink=up, downlink=down
    )
    assert timeline.rate_trace(Direction.UPLINK, 10**15) is up
    later = timeline.changed(AWGN, 60)
    assert (later.scenario, later.duration_ns, later.epoch, later.started_ns) == ("walk", 60, 3, 40)
    assert later.rate_trace(Direction.UPLINK, 59) is up
    assert later.rate_trace(Direction.DOWNLINK, 59) is down
    assert later.rate_trace(Direction.DOWNLINK, 60) is None
    again = later.changed(AWGN, 80)
    assert (again.duration_ns, again.rate_trace(Direction.UPLINK, 70)) == (60, None)
    now = timeline.changed(AWGN)
    assert (now.scenario, now.duration_ns, now.epoch, now.started_ns) == ("", 0, 3, 40)
    assert now.rate_trace(Direction.UPLINK, 0) is None


STATES = [
    "ideal",
    "awgn,snr_db=10,downlink_delay_ms=2",
    "nakagami,target_loss=0.1,m=3",
    "nakagami,fading=block,coherence_ms=5",
    "physical,m=2,bandwidth_mhz=10",
    "physical,rate_mbps=5,speed_mps=0",
    "erasure,loss=0.2,loss_unit=packet,queue_kib=64,queue_policy=drop",
]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("before", STATES[:-1])
def test_the_whole_state_of_one_channel_can_be_given_to_another(state, before):
    wanted = parse_channel(state)
    base = replace(parse_channel(before), downlink_delay_ms=None)  # what no change can undo
    assert merged(ChannelConfig(), wanted.to_dict()) == wanted
    assert merged(base, wanted.to_dict()) == wanted


def test_a_knob_that_another_one_replaced_is_more_than_what_is_so():
    assert merged(parse_channel("physical"), {"rate_mbps": "inf"}).bandwidth_mhz is None
    held = parse_channel("nakagami,fading=block,coherence_ms=5")
    assert merged(held, {"speed_mps": 1.4}).coherence_ms is None
    assert merged(held, {"h_th": 0.1}) == held
    with pytest.raises(InputError, match="sigma, snr_db: both are set"):
        merged(AWGN, {"sigma": 2, "snr_db": 10})


def test_nothing_said_changes_nothing():
    assert merged(AWGN, {}) == AWGN
