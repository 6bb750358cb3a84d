"""The emulator's timeline from change to change, on a virtual clock."""

import pytest

from airsplit.clock import VirtualClock
from airsplit.errors import InputError, VersionConflictError
from airsplit.v1 import channel_pb2
from channel_emulator.spec import parse_channel
from channel_emulator.state import Emulator
from channel_emulator.wire import partial

MS = 1_000_000
S = 1000 * MS


def emulator_of(spec, now_ns=7 * S):
    return Emulator(parse_channel(spec), VirtualClock(now_ns))


def configure(emulator, at_ns=None, expected=None, **knobs):
    emulator.configure(
        channel_pb2.ConfigureChannelRequest(
            config=partial(knobs), effective_time_ns=at_ns, expected_version=expected
        )
    )


def play(emulator, *changes, expected=None):
    scenario = channel_pb2.Scenario(
        name="walk",
        duration_ns=S,
        changes=[
            channel_pb2.ChannelChange(time_ns=time_ns, config=partial(knobs))
            for time_ns, knobs in changes
        ],
    )
    request = channel_pb2.PlayScenarioRequest(scenario=scenario, expected_version=expected)
    emulator.play(emulator.plan(request))


def served(emulator, channel_time_ns, timeline=None, **report):
    report = channel_pb2.ChannelReport(channel_time_ns=channel_time_ns, **report)
    emulator.carried(report, timeline or emulator.timeline)


def test_frames_are_counted_with_what_a_full_queue_dropped():
    emulator = emulator_of("awgn")
    served(emulator, 0, payload_bytes=100)
    served(emulator, 5, payload_bytes=20, dropped=True)
    state = emulator.state()
    assert (state.frames, state.payload_bytes, state.dropped_frames) == (2, 120, 1)
    assert state.channel_time_ns == 5


def test_a_frame_of_an_epoch_that_is_over_sets_no_time():
    emulator = emulator_of("awgn,sigma=1")
    before = emulator.timeline
    play(emulator, (0, {"sigma": 2}), (20, {"sigma": 3}))
    served(emulator, 50, before)
    assert (emulator.channel_time_ns, emulator.in_force.version) == (0, 2)
    assert emulator.state().frames == 1
    served(emulator, 20)
    assert (emulator.channel_time_ns, emulator.in_force.version) == (20, 3)
    configure(emulator, sigma=4)
    served(emulator, 30)
    assert emulator.channel_time_ns == 30, "a change is no new epoch"


def test_versions_count_every_change_whether_it_served_or_not():
    emulator = emulator_of("awgn,sigma=1")
    play(emulator, (0, {"sigma": 2}), (20, {"sigma": 3}), (40, {"sigma": 4}))
    play(emulator, (10, {"sigma": 5}))
    versions = [snapshot.version for snapshot in emulator.timeline.snapshots]
    assert versions == [5, 6]
    assert emulator.timeline.snapshots[0].config.sigma == 2, "of what was in force"


def test_a_change_at_a_time_changes_what_holds_before_it():
    emulator = emulator_of("awgn,sigma=1")
    play(emulator, (0, {"sigma": 2}), (20, {"sigma": 3}), (40, {"sigma": 4}))
    configure(emulator, at_ns=30, delay_ms=5)
    timeline = emulator.timeline
    assert [timeline.at(t).config.sigma for t in (0, 20, 30, 40)] == [2, 3, 3, 3]
    assert [timeline.at(t).config.delay_ms for t in (20, 30)] == [0, 5]
    assert emulator.state().config.sigma == 2


def test_live_time_is_of_this_moment_and_begins_anew_with_a_scenario():
    emulator = emulator_of("awgn,sigma=1,clock=live")
    emulator.clock.advance(3 * S)
    assert emulator.state().channel_time_ns == 3 * S
    configure(emulator, at_ns=4 * S, sigma=2)
    assert emulator.in_force.config.sigma == 1
    emulator.clock.advance(S)
    assert emulator.in_force.config.sigma == 2
    play(emulator, (0, {"sigma": 3}), (S, {"sigma": 4}))
    assert (emulator.channel_time_ns, emulator.timeline.started_ns) == (0, 4 * S)
    emulator.clock.advance(S)
    assert (emulator.channel_time_ns, emulator.in_force.config.sigma) == (S, 4)
    assert emulator.state().scenario == "walk"


def test_another_clock_is_another_epoch():
    emulator = emulator_of("awgn,sigma=1")
    emulator.clock.advance(2 * S)
    configure(emulator, clock="live", sigma=2)
    timeline = emulator.timeline
    assert (timeline.epoch, timeline.started_ns, emulator.channel_time_ns) == (1, 2 * S, 0)
    emulator.clock.advance(S)
    assert emulator.channel_time_ns == S
    configure(emulator, clock="replay")
    assert (emulator.timeline.epoch, emulator.channel_time_ns) == (2, 0)
    configure(emulator, token_interval_ms=3)
    assert emulator.timeline.epoch == 2


def test_a_change_that_is_still_to_come_is_not_overwritten_unseen():
    """Two operators who both read version 1: the second one's change would give up the first's."""
    emulator = emulator_of("awgn,sigma=1")
    configure(emulator, at_ns=30, expected=1, sigma=2)
    before, state = emulator.timeline, emulator.state()
    assert (state.config_version, state.last_version) == (1, 2)
    for change in (configure, play):
        given = ((0, {"sigma": 3}),) if change is play else ()
        with pytest.raises(VersionConflictError, match=r"expected_version: 1; .* version is 2"):
            change(emulator, *given, expected=1)
    assert emulator.timeline is before
    configure(emulator, expected=state.last_version, sigma=3)
    assert emulator.state().last_version == emulator.state().config_version == 3


def test_the_last_version_is_the_one_expected():
    emulator = emulator_of("awgn,sigma=1")
    play(emulator, (0, {"sigma": 2}), (20, {"sigma": 3}))
    served(emulator, 25)
    before = emulator.timeline
    for change in (configure, play):
        with pytest.raises(VersionConflictError, match=r"expected_version: 2; .* version is 3"):
            change(emulator, *(((0, {}),) if change is play else ()), expected=2)
    with pytest.raises(InputError, match="m: "):
        configure(emulator, m=2)
    assert emulator.timeline is before
    configure(emulator, expected=3, sigma=5)
    assert emulator.in_force.version == 4
