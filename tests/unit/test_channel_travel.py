"""h(t) goes on over changes of speed and carrier, whoever states them, when and how."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airsplit.clock import VirtualClock
from airsplit.v1 import edge_pb2
from channel_emulator import theory
from channel_emulator.draws import Direction, Draws
from channel_emulator.fading import FadingSource
from channel_emulator.place import Place
from channel_emulator.scenario import load_scenario
from channel_emulator.session import Session
from channel_emulator.spec import parse_channel
from channel_emulator.timeline import Timeline, played
from channel_emulator.travel import ONE, Anchor, Travel
from tests.channel_replay import message

MS = 1_000_000
US = 1000
PROCESSES = ["copula,m=2.5", "sum_of_squares,m=1.5"]
BLOCKS = "block,m=2.5"
EVERY = [*PROCESSES, BLOCKS]
HZ = 3.5e9 / 299_792_458
"""Doppler frequency of 1 m/s."""


def spec_of(fading, speed, more=""):
    return f"nakagami,sigma=0,h_th=0,fading={fading},speed_mps={speed}{more}"


def timeline_of(fading, speeds, more=""):
    """Speeds by channel time, the first one at 0."""
    (_, first), *later = sorted(speeds.items())
    changes = [(time_ns, {"speed_mps": speed}) for time_ns, speed in later]
    return Timeline.compiled(changes, parse_channel(spec_of(fading, first, more)))


def constant_h(fading, times_ns, speed, stream=1):
    """Of a speed that has always been the same."""
    config = parse_channel(spec_of(fading, speed))
    place = Place(stream, 0, 0, 0, 0, np.asarray(times_ns).astype(np.int64))
    return FadingSource(config, Draws(0, stream, Direction.UPLINK)).amplitudes(place, 1)[:, 0]


class Walk:
    """One session, asked for the h of one token after the other."""

    def __init__(self, stream=1, interval_ns=MS):
        opened = edge_pb2.OpenSession(session_id="s", ue_id="ue", stream=stream)
        self.session = Session(opened, VirtualClock())
        self.interval_ns = interval_ns

    def h(self, timeline, *times_ns):
        """At radio times: the schedule's, and with the clock live the wall clock's."""
        found = []
        for time_ns in times_ns:
            frame = message(np.ones((1, 2), np.float32), round(time_ns / self.interval_ns), 0)
            self.session.carry_frame(frame, timeline, time_ns)
            assert frame.header.channel.radio_time_ns == time_ns
            found.append(frame.header.channel.truth.mean_gain)
        return np.array(found)


def way(speeds, time_ns):
    """Metres until a time."""
    edges = [*(t for t in sorted(speeds) if t < time_ns), time_ns]
    return sum((b - a) / 1e9 * speeds[a] for a, b in pairwise(edges))


SPEEDS = {0: 3.0, 250 * MS: 14.0, 500 * MS: 0.0, 750 * MS: 27.5, 1000 * MS: 27.5, 1250 * MS: 1.0}


@pytest.mark.parametrize("fading", PROCESSES)
@pytest.mark.parametrize("clock", ["replay", "live"])
def test_h_is_that_of_the_way_so_far(fading, clock):
    """The same process at the same number of cycles, whatever the speeds on the way there."""
    timeline = timeline_of(fading, SPEEDS, f",token_interval_ms=1,clock={clock}")
    times_ns = np.arange(0, 1500, 7) * MS
    same = [way(SPEEDS, int(t)) * 1e9 / 5.0 for t in times_ns]  # at 5 m/s throughout
    found = Walk().h(timeline, *times_ns.tolist())
    np.testing.assert_allclose(found, constant_h(fading, np.rint(same), 5.0), atol=2e-5)
    assert np.ptp(found) > 0.3


@pytest.mark.parametrize("clock", ["replay", "live"])
def test_blocks_are_those_of_the_coherence_times_so_far(clock):
    timeline = timeline_of(BLOCKS, SPEEDS, f",token_interval_ms=1,clock={clock}")
    times_ns = np.arange(0, 1500, 7) * MS
    coherence_m = theory.coherence_time_s(HZ)
    numbers = [int(way(SPEEDS, int(t)) / coherence_m) for t in times_ns]
    assert len(set(numbers)) > 10
    middle_ns = (np.array(numbers) + 0.5) * coherence_m * 1e9  # at 1 m/s throughout
    found = Walk().h(timeline, *times_ns.tolist())
    np.testing.assert_array_equal(found, constant_h(BLOCKS, np.rint(middle_ns), 1.0))


def test_what_comes_late_meets_the_block_of_the_anchor():
    """Frames of a window that are overtaken by a change of speed."""
    config = parse_channel(spec_of(BLOCKS, 3))
    source = FadingSource(config, Draws(0, 1, Direction.UPLINK))
    anchor = Anchor(10**9, Travel(blocks=41 * ONE + ONE // 2))
    times_ns = np.array([0, 10**9 - 1, 10**9, 10**9 + config.coherence_ns])
    h = source.amplitudes(Place(1, 0, 0, 0, 0, times_ns, anchor=anchor), 1)[:, 0]
    assert h[0] == h[1] == h[2] != h[3]


@pytest.mark.parametrize("fading", PROCESSES)
@settings(max_examples=25, deadline=None)
@given(
    before=st.floats(0, 60),
    after=st.floats(0, 60),
    change_us=st.integers(1, 10**8),
    stream=st.integers(0, 2**64 - 1),
)
@example(before=1.4, after=0.0, change_us=77_777, stream=1)
@example(before=0.0, after=60.0, change_us=77_777, stream=1)
def test_h_does_not_jump(fading, before, after, change_us, stream):
    at_ns = change_us * US
    timeline = timeline_of(fading, {0: before, at_ns: after}, ",token_interval_ms=0.001")
    walk = Walk(stream, US)
    walk.h(timeline, 0)
    last, first, second = walk.h(timeline, at_ns - US, at_ns, at_ns + US)
    # At 700 Hz a microsecond turns a wave by 0.0044 rad; |dh| is of that order.
    assert abs(first - last) < 0.02
    assert abs(second - first) < 0.02


@pytest.mark.parametrize("fading", PROCESSES)
def test_a_change_of_the_carrier_does_not_move_h_either(fading):
    base = parse_channel(spec_of(fading, 30, ",token_interval_ms=0.001"))
    timeline = Timeline.compiled([(3 * MS, {"carrier_ghz": 28})], base)
    walk = Walk(interval_ns=US)
    walk.h(timeline, 0)
    last, first, later = walk.h(timeline, 3 * MS - US, 3 * MS, 4 * MS)
    assert abs(first - last) < 0.005
    assert abs(later - first) > 0.05


@pytest.mark.parametrize("fading", PROCESSES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_within_a_stretch_h_correlates_as_at_one_speed(fading, seed):
    """Power autocorrelation after a change from 3 m/s to 10 Hz, over realisations; 4.5 standard
    errors of a mean over 800 independent ones."""
    name, m = fading.split(",m=")
    speed = 10 / HZ
    timeline = timeline_of(fading, {0: 3.0, 350 * MS: speed}, f",seed={seed}")
    snapshot = timeline.at(350 * MS)
    tau_s = np.array([0, 0.008, 0.016, 0.03, 0.05])
    times_ns = np.rint((0.35 + 1e-3 + np.arange(4)[:, None] * 1.37 + tau_s) * 1e9).astype(np.int64)
    power = []
    for stream in range(200):
        place = Place(stream, 0, 0, 0, 0, times_ns.ravel(), anchor=snapshot.anchor)
        source = FadingSource(snapshot.config, Draws(seed, stream, Direction.UPLINK))
        power.append(np.square(source.amplitudes(place, 1).reshape(times_ns.shape), dtype=float))
    centred = np.concatenate(power) - 1
    products = centred * centred[:, :1] * float(m)  # variance of h² is 1/m
    expected = (
        theory.power_correlation_of_copula(tau_s, 10, float(m))
        if name == "copula"
        else theory.power_correlation_of_squares(tau_s, 10)
    )
    error = products.std(axis=0) / np.sqrt(len(products))
    assert (np.abs(products.mean(axis=0) - expected) < 4.5 * error).all()


@pytest.mark.parametrize("fading", EVERY)
def test_what_changes_beside_the_speed_moves_no_bit(fading):
    spec = spec_of(fading, 7, ",token_interval_ms=1")
    times_ns = [t * MS for t in range(0, 90, 4)]
    plain = Walk().h(Timeline.of(parse_channel(spec)), *times_ns)
    stated = Timeline.compiled([(40 * MS, {"h_th": 0.01, "speed_mps": 7})], parse_channel(spec))
    np.testing.assert_array_equal(Walk().h(stated, *times_ns), plain)
    walk, once = Walk(), Timeline.of(parse_channel(spec))
    found = walk.h(once, *times_ns[:9])
    once = once.changed(parse_channel(spec + ",delay_ms=3"))
    np.testing.assert_array_equal([*found, *walk.h(once, *times_ns[9:])], plain)


@pytest.mark.parametrize("fading", EVERY)
def test_whatever_frames_came_before_a_stated_change_h_is_the_same(fading):
    """Frames that are left out, and in another order within a stretch, change no bit."""
    timeline = timeline_of(fading, SPEEDS, ",token_interval_ms=1")
    times_ns = [t * MS for t in range(0, 1500, 25)]
    whole = dict(zip(times_ns, Walk().h(timeline, *times_ns), strict=True))
    for kept in (times_ns[:1] + times_ns[1::7], [0, 1475 * MS]):
        np.testing.assert_array_equal(Walk().h(timeline, *kept), [whole[t] for t in kept])
    edges = [*sorted(SPEEDS), 1500 * MS]
    mixed = [0] + [t for a, b in pairwise(edges) for t in times_ns[::-1] if a <= t < b]
    np.testing.assert_array_equal(Walk().h(timeline, *mixed), [whole[t] for t in mixed])


@pytest.mark.parametrize("fading", PROCESSES)
def test_a_frame_has_the_h_of_its_tokens_however_it_is_cut(fading):
    """Up to the change: a frame is served by one version."""
    timeline = timeline_of(fading, {0: 3.0, 20 * MS: 27.5}, ",token_interval_ms=1")
    values = np.random.default_rng(1).normal(size=(40, 6)).astype(np.float32)

    def arrived(edges):
        session, parts = Walk().session, []
        for first, last in pairwise(edges):
            frame = message(values[first:last], first, 0)
            session.carry_frame(frame, timeline, 0)
            parts.append(frame.payload)
        return b"".join(parts)

    assert arrived([0, 20, 40]) == arrived([0, 1, 7, 20, 21, 22, 39, 40]) == arrived(range(41))
    assert arrived([0, 20, 40]) != arrived([0, 19, 40])


@pytest.mark.parametrize("fading", PROCESSES)
@pytest.mark.parametrize("clock", ["replay", "live"])
def test_a_change_at_once_holds_from_the_frame_that_meets_it(fading, clock):
    more = f",token_interval_ms=0.001,clock={clock}"
    timeline, walk = timeline_of(fading, {0: 20.0}, more), Walk(interval_ns=US)
    last = walk.h(timeline, 0, 5 * MS)[-1]
    found = [last]
    for step, speed in enumerate([2.0, 50.0, 0.0, 9.0]):
        timeline = timeline.changed(parse_channel(spec_of(fading, speed, more)))
        found += walk.h(timeline, 5 * MS + (step + 1) * US).tolist()
    assert np.abs(np.diff(found)).max() < 0.01
    speeds = {0: 20.0, 5 * MS + 4 * US: 9.0}
    same_ns = way(speeds, 25 * MS) * 1e9 / 5
    assert walk.h(timeline, 25 * MS)[0] == pytest.approx(
        constant_h(fading, [round(same_ns)], 5.0)[0], abs=5e-3
    )


@pytest.mark.parametrize("fading", EVERY)
def test_a_change_that_is_stated_while_a_session_runs_holds_from_its_own_time(fading):
    """Though no frame comes for a while: as if it had been known from the beginning."""
    more = ",token_interval_ms=1"
    early = timeline_of(fading, {0: 4.0, 100 * MS: 20.0}, more)
    known = early.changed(parse_channel(spec_of(fading, 9.0, more)), 300 * MS)
    late, walk = early, Walk()
    before = walk.h(late, 0, 50 * MS, 150 * MS)
    found = walk.h(known, 400 * MS, 500 * MS)
    expected = Walk().h(known, 0, 50 * MS, 150 * MS, 400 * MS, 500 * MS)
    np.testing.assert_array_equal([*before, *found], expected)


@pytest.mark.parametrize("fading", PROCESSES)
def test_a_change_stated_for_the_past_holds_from_the_next_frame(fading):
    more = ",token_interval_ms=0.001"
    timeline, walk = timeline_of(fading, {0: 20.0}, more), Walk(interval_ns=US)
    (_, last) = walk.h(timeline, 0, 5 * MS)
    past = timeline.changed(parse_channel(spec_of(fading, 50.0, more)), 2 * MS)
    next_one, later = walk.h(past, 5 * MS + US, 8 * MS)
    assert abs(next_one - last) < 0.005
    ahead = past.changed(parse_channel(spec_of(fading, 1.0, more)), 9 * MS)
    assert abs(walk.h(ahead, 8 * MS + US)[0] - later) < 0.01
    np.testing.assert_allclose(np.diff(walk.h(ahead, 9 * MS - US, 9 * MS)), 0, atol=0.01)


def test_another_schedule_moves_radio_time_and_not_h():
    base = parse_channel(spec_of("copula", 10, ",token_interval_ms=1"))
    timeline, session = Timeline.of(base), Walk().session

    def h(timeline, offset):
        frame = message(np.ones((1, 2), np.float32), offset, 0)
        session.carry_frame(frame, timeline, 0)
        return frame.header.channel.truth.mean_gain, frame.header.channel.radio_time_ns

    h(timeline, 0)
    expected = constant_h("copula,m=1", [200 * MS], 10)[0]
    quicker = timeline.changed(base.changed({"token_interval_ms": 0.1}))
    assert h(quicker, 200) == (pytest.approx(expected, abs=1e-6), 20 * MS)
    expected = constant_h("copula,m=1", [230 * MS], 10)[0]
    assert h(quicker, 500) == (pytest.approx(expected, abs=1e-6), 50 * MS)


def test_a_scenario_that_is_played_takes_h_up_where_it_is():
    base = parse_channel(spec_of("copula", 10, ",token_interval_ms=0.001"))
    timeline, walk = Timeline.of(base), Walk(interval_ns=US)
    (_, last) = walk.h(timeline, 0, 3 * MS)
    vehicle = played(load_scenario("vehicle"), base, 2)
    vehicle = replace(vehicle, epoch=1)
    (first,) = walk.h(vehicle, 3 * MS + US)
    assert first == pytest.approx(last, abs=0.01)


@given(
    speeds=st.lists(st.floats(0, 100), min_size=1, max_size=12),
    step_ns=st.integers(1, 10**12),
    split=st.integers(0, 11),
)
def test_a_version_knows_what_has_passed(speeds, step_ns, split):
    """However the timeline came about; exactly, and next to what real numbers give."""
    timeline = timeline_of("copula", {i * step_ns: speed for i, speed in enumerate(speeds)})
    cycles = 0.0
    for number, speed in enumerate(speeds):
        snapshot, now_ns = timeline.snapshots[number], number * step_ns
        passed = snapshot.anchor.at(now_ns, snapshot.per_ns).cycles
        assert passed / ONE == pytest.approx(cycles, rel=1e-9, abs=1e-9 * step_ns)
        cycles += speed * HZ * step_ns / 1e9
    part = timeline_of("copula", {i * step_ns: s for i, s in enumerate(speeds[: split + 1])})
    for number in range(split + 1, len(speeds)):
        part = part.changed(timeline.snapshots[number].config, number * step_ns)
    assert [s.anchor for s in part.snapshots] == [s.anchor for s in timeline.snapshots]


def test_travel_is_counted_in_whole_parts():
    config = parse_channel("nakagami,fading=block,coherence_ms=250")
    per_ns = Travel.per_ns(config)
    third = Anchor().at(750 * MS, per_ns)
    assert third.blocks // ONE == 3
    assert Anchor(500 * MS, Anchor().at(500 * MS, per_ns)).at(750 * MS, per_ns) == third
    assert Travel.per_ns(parse_channel("nakagami,fading=block,speed_mps=0")) == Travel()
