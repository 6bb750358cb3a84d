"""One session's frames through the radio, on virtual time: payload, mask, report, schedule."""

import math

import numpy as np
import pytest

from airsplit.clock import VirtualClock
from airsplit.errors import PositionError, SequenceError, TensorError
from airsplit.frames import ITEM_BYTES, check_frame
from airsplit.v1 import edge_pb2
from channel_emulator import codec
from channel_emulator.draws import Direction
from channel_emulator.pilots import FRAMES
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from channel_emulator.rate_trace import RateTrace
from channel_emulator.session import Session
from channel_emulator.spec import parse_channel
from channel_emulator.state import Emulator
from channel_emulator.theory import outage_probability
from channel_emulator.timeline import Snapshot, Timeline

MS = 1_000_000
HIDDEN = 64
FRAME_LOSS = "awgn,sigma=0.1,loss=0.5,loss_unit=frame,seed=1"
"""Loses the frame of sequence 9, and not that of 0."""


def opened(stream=5):
    return edge_pb2.OpenSession(session_id="s", ue_id="ue", stream=stream, split=2)


def frame_of(values, position=0, dtype=edge_pb2.DTYPE_FLOAT32, **header):
    tokens, hidden = values.shape
    return edge_pb2.ActivationFrame(
        header=edge_pb2.FrameHeader(
            session_id="s",
            position=position,
            stream_offset=header.pop("stream_offset", position),
            token_count=tokens,
            task=edge_pb2.TASK_PREFILL,
            dtype=dtype,
            shape=[tokens, hidden],
            **header,
        ),
        payload=codec.encode(values, dtype),
    )


def values_of(tokens, seed=0):
    return np.random.default_rng(seed).normal(0, 2, (tokens, HIDDEN)).astype(np.float32)


def stays(spec, version=1):
    """A timeline of one version."""
    return Timeline((0,), (Snapshot(parse_channel(spec), version),))


def changes(*specs, times_ns, **more):
    """A timeline of versions 1, 2, ..."""
    snapshots = tuple(Snapshot(parse_channel(spec), i + 1) for i, spec in enumerate(specs))
    return Timeline(times_ns, snapshots, **more)


@pytest.mark.parametrize(
    "dtype", [edge_pb2.DTYPE_FLOAT32, edge_pb2.DTYPE_FLOAT16, edge_pb2.DTYPE_BFLOAT16]
)
@pytest.mark.parametrize("spec", ["nakagami,sigma=0.5,h_th=0.3", "physical,snr_db=3", FRAME_LOSS])
def test_a_frame_meets_the_radio_with_its_own_keys(spec, dtype):
    config = parse_channel(spec)
    session = Session(opened(stream=11), VirtualClock())
    frame = frame_of(values_of(3), position=7, window=2, stream_offset=40, sequence=9, dtype=dtype)
    sent = codec.decode(frame.payload, dtype, (3, HIDDEN))
    session.carry_frame(frame, Timeline((0,), (Snapshot(config, 4),)), arrival_ns=0)
    place = Place.replay(config, 3, stream=11, window=2, position=7, offset=40, sequence=9)
    expected = Radio(config).transmit(sent, place, item_bytes=ITEM_BYTES[dtype])
    assert frame.payload == codec.encode(expected.values, dtype)
    assert frame.header.erasure_mask == codec.encode_mask(expected.erased)
    report = frame.header.channel
    assert report.config_version == 4
    assert report.radio_time_ns == 400 * MS
    assert report.payload_bytes == len(frame.payload)
    assert report.truth == expected.truth
    assert report.transmissions == expected.transmissions.max()
    assert report.estimate.sigma > 0
    check_frame(frame)


def test_ideal_does_not_touch_the_payload():
    session = Session(opened(), VirtualClock())
    payload = bytes(range(256))  # as float32 not all of it is a number
    frame = frame_of(np.zeros((1, HIDDEN), np.float32))
    frame.payload = payload
    session.carry_frame(frame, stays("ideal"), arrival_ns=0)
    assert frame.payload == payload
    report = frame.header.channel
    assert (report.estimate.sigma, report.estimate.loss, report.truth.loss) == (0, 0, 0)
    assert report.estimate.m == math.inf
    assert (report.airtime_ns, report.queue_ns, report.delay_ns) == (0, 0, 0)


def test_what_the_ue_wrote_in_the_emulators_fields_is_overwritten():
    session = Session(opened(), VirtualClock())
    frame = frame_of(values_of(1), erasure_mask=b"\xff" * (HIDDEN // 8))
    frame.header.channel.queue_ns = 99
    session.carry_frame(frame, stays("ideal"), arrival_ns=0)
    assert frame.header.erasure_mask == b""
    assert frame.header.channel.queue_ns == 0


def test_the_schedule_is_reported():
    session = Session(opened(), VirtualClock())
    channel = stays("ideal,rate_mbps=1,delay_ms=20")
    first, second = frame_of(values_of(1)), frame_of(values_of(1), position=1)
    assert session.carry_frame(first, channel, arrival_ns=5 * MS) == 5 * MS + 2_048_000 + 20 * MS
    session.carry_frame(second, channel, arrival_ns=5 * MS)
    report = second.header.channel
    assert (report.airtime_ns, report.queue_ns, report.delay_ns) == (2_048_000, 2_048_000, 20 * MS)


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize(("transport_ms", "leaves_ms"), [(0, 20), (0.25, 19.75), (20, 0), (50, 0)])
def test_transport_is_part_of_the_delay(direction, transport_ms, leaves_ms):
    """What is on the schedule leaves so much earlier, and not before it has come."""
    emulator = Emulator(parse_channel("ideal,delay_ms=20"), VirtualClock(), None, transport_ms)
    stranger = emulator.session("no id of a session")
    for session in (emulator.open(opened()), stranger):
        due_ns = [session.carry_reliable(direction, 1000, emulator.timeline, 5 * MS)]
        if direction is Direction.UPLINK:
            frame = frame_of(values_of(1))
            due_ns.append(session.carry_frame(frame, emulator.timeline, 5 * MS))
            assert frame.header.channel.delay_ns == 20 * MS
        else:
            result = edge_pb2.InferenceResult(session_id="s")
            due_ns.append(session.carry_result(result, emulator.timeline, 5 * MS))
            assert result.downlink.delay_ns == 20 * MS
        assert due_ns == [5 * MS + leaves_ms * MS] * 2


@pytest.mark.parametrize("clock", ["replay", "live"])
def test_transport_changes_when_frames_leave_and_nothing_else(clock):
    """Neither values nor drops nor reports; and frames keep their order."""
    transport_ns, arrivals_ns = 3 * MS, [0, 0, 0, MS, 2 * MS, 30 * MS, 31 * MS, 31 * MS]
    spec = "awgn,rate_mbps=1,delay_ms=2,jitter_ms=2,queue_kib=1,queue_policy=drop,seed=3"
    timeline = stays(f"{spec},token_interval_ms=1,clock={clock}")

    def sent(transport_ns):
        session = Session(opened(), VirtualClock(), transport_ns=transport_ns)
        frames = [frame_of(values_of(1, i), position=i, sequence=i) for i in range(8)]
        pairs = zip(frames, arrivals_ns, strict=True)
        return frames, [session.carry_frame(frame, timeline, at_ns) for frame, at_ns in pairs]

    (plain, due_ns), (told, leaves_ns) = sent(0), sent(transport_ns)
    assert told == plain
    assert {frame.header.channel.dropped for frame in told} == {True, False}
    assert leaves_ns == sorted(leaves_ns)
    earlier_ns = np.array(due_ns) - leaves_ns
    waits_ns = np.array(due_ns) - arrivals_ns
    np.testing.assert_array_equal(earlier_ns, np.minimum(waits_ns, transport_ns))
    assert len(set(earlier_ns)) > 1, "some come too late to leave so much earlier"


def test_results_pay_on_a_link_of_their_own():
    session = Session(opened(), VirtualClock())
    channel = stays("ideal,rate_mbps=1,delay_ms=20", version=3)
    session.carry_frame(frame_of(values_of(8)), channel, arrival_ns=0)
    result = edge_pb2.InferenceResult(session_id="s", logits=bytes(996))
    due_ns = session.carry_result(result, channel, arrival_ns=0)
    report = result.downlink
    assert report.payload_bytes >= 996
    assert report.airtime_ns == report.payload_bytes * 8000
    assert due_ns == report.airtime_ns + 20 * MS
    assert report.config_version == 3


def test_rows_pay_on_the_link_of_their_session():
    session = Session(opened(), VirtualClock())
    channel = stays("ideal,rate_mbps=1,delay_ms=20")
    session.carry_reliable(Direction.UPLINK, 1000, channel, arrival_ns=0)
    frame = frame_of(values_of(1))
    session.carry_frame(frame, channel, arrival_ns=0)
    assert frame.header.channel.queue_ns == 8 * MS


def test_jitter_moves_delays():
    session = Session(opened(), VirtualClock())
    delays = set()
    for position in range(4):
        frame = frame_of(values_of(1), position=position)
        session.carry_frame(frame, stays("ideal,delay_ms=5,jitter_ms=2"), position * 100 * MS)
        delays.add(frame.header.channel.delay_ns)
    assert len(delays) == 4


def test_live_time_is_the_clocks():
    session = Session(opened(), VirtualClock())
    spec = "nakagami,fading=block,coherence_ms=10,sigma=0,h_th=0,clock=live"
    gains = []
    for arrival_ms in (0, 9, 11):
        frame = frame_of(values_of(2))
        session.carry_frame(frame, stays(spec), arrival_ms * MS)
        assert frame.header.channel.radio_time_ns == arrival_ms * MS
        gains.append(frame.header.channel.truth.mean_gain)
    assert gains[0] == gains[1] != gains[2]


def test_replay_does_not_look_at_the_clock():
    spec = "nakagami,fading=block,coherence_ms=10"
    payloads = set()
    for arrival_ms in (0, 1234):
        session = Session(opened(), VirtualClock())
        frame = frame_of(values_of(4), position=3)
        session.carry_frame(frame, stays(spec), arrival_ms * MS)
        payloads.add(frame.payload)
    assert len(payloads) == 1


def test_a_frame_that_does_not_fit_changes_nothing():
    session = Session(opened(), VirtualClock())
    frame = frame_of(values_of(2))
    frame.payload = frame.payload[:-1]
    with pytest.raises(TensorError, match="payload"):
        session.carry_frame(frame, stays("awgn"), arrival_ns=0)
    assert session.frames == 0


def test_a_time_beyond_all_clocks_is_named():
    session = Session(opened(), VirtualClock())
    frame = frame_of(values_of(1), stream_offset=2**63)
    with pytest.raises(PositionError, match="stream_offset: 9223372036854775808; allowed: 0-"):
        session.carry_frame(frame, stays("awgn"), arrival_ns=0)


def test_estimates_follow_the_channel_through_its_versions():
    session = Session(opened(), VirtualClock())
    sigmas = []
    for version, spec in enumerate(["awgn,sigma=0.2", "ideal", "awgn,sigma=1"]):
        for position in range(FRAMES):
            frame = frame_of(values_of(1), position=position)
            session.carry_frame(frame, stays(spec, version + 1), arrival_ns=0)
        sigmas.append(frame.header.channel.estimate.sigma)
    assert sigmas == [pytest.approx(0.2, rel=0.05), 0, pytest.approx(1, rel=0.05)]


def test_nothing_of_before_a_transparent_channel_is_left():
    """The first estimate behind it is that of a session which met nothing else."""
    found = []
    for before in ("erasure,loss=0.5", "ideal"):
        session = Session(opened(), VirtualClock())
        for position, spec in enumerate([before, "ideal", "nakagami,sigma=0.3,fading=token"]):
            frame = frame_of(values_of(1), position=position)
            session.carry_frame(frame, stays(spec, position + 1), arrival_ns=0)
        found.append(frame.header.channel.estimate)
    assert found[0] == found[1]
    assert found[0].loss == 0


def test_outage_on_the_wire_has_its_closed_form():
    session = Session(opened(), VirtualClock())
    erased = 0
    for position in range(100):
        frame = frame_of(values_of(4), position=4 * position)
        session.carry_frame(frame, stays("nakagami,m=2,h_th=0.5157"), arrival_ns=0)
        erased += codec.decode_mask(frame.header.erasure_mask, (4, HIDDEN)).sum()
    share = erased / (100 * 4 * HIDDEN)
    assert share == pytest.approx(outage_probability(2, 1, 0.5157), abs=0.008)


def versions(session, timeline, offsets, arrivals_ns=None):
    """The version that serves a frame at each offset."""
    found = []
    for i, offset in enumerate(offsets):
        frame = frame_of(values_of(1), position=offset)
        session.carry_frame(frame, timeline, arrivals_ns[i] if arrivals_ns else 0)
        found.append(frame.header.channel.config_version)
    return found


def test_in_replay_a_change_comes_so_long_after_the_first_frame():
    timeline = changes("ideal", "ideal,delay_ms=1", "ideal", times_ns=(0, 20 * MS, 50 * MS))
    session = Session(opened(), VirtualClock())
    assert versions(session, timeline, [40, 41, 42, 44, 45, 99]) == [1, 1, 2, 2, 3, 3]
    assert session.last.channel_time_ns == 590 * MS
    assert session.last.radio_time_ns == 990 * MS


def test_live_a_change_comes_at_its_time_for_all_sessions():
    live = "ideal,clock=live"
    timeline = changes(live, live, times_ns=(0, 20 * MS), started_ns=5 * MS)
    session = Session(opened(), VirtualClock(), started_ns=100 * MS)
    arrivals_ns = [100 * MS, 124 * MS, 125 * MS, 200 * MS]
    assert versions(session, timeline, [0, 1, 2, 3], arrivals_ns) == [1, 1, 2, 2]
    assert session.last.radio_time_ns == 100 * MS
    assert session.last.channel_time_ns == 95 * MS


def test_a_version_never_goes_back():
    timeline = changes("ideal", "ideal", times_ns=(0, 20 * MS))
    session = Session(opened(), VirtualClock())
    assert versions(session, timeline, [0, 2, 0, 1]) == [1, 2, 2, 2]
    late = timeline.changed(parse_channel("awgn"), 10**12)  # takes nothing back
    assert versions(session, late, [0]) == [2]
    now = late.changed(parse_channel("awgn"))
    assert versions(session, now, [0]) == [4]


def test_a_new_epoch_begins_anew_and_takes_the_queue_along():
    slow = "ideal,rate_mbps=0.1,queue_kib=1,queue_policy=drop"  # 20.48 ms a frame
    before = changes(slow, times_ns=(0,))
    snapshots = tuple(Snapshot(parse_channel(slow), version) for version in (2, 3))
    after = Timeline((0, 15 * MS), snapshots, epoch=1)
    session = Session(opened(), VirtualClock())
    versions(session, before, [0, 1, 2])
    found = []
    for offset in range(3, 8):  # 31.44 ms of airtime are still to come
        frame = frame_of(values_of(1), position=offset)
        session.carry_frame(frame, after, 0)
        report = frame.header.channel
        found.append((report.channel_time_ns // MS, report.config_version, report.dropped))
    assert found == [
        (0, 2, False),
        (10, 2, False),
        (20, 3, False),
        (30, 3, True),
        (40, 3, False),
    ]


def test_another_token_interval_lets_channel_time_go_on():
    session = Session(opened(), VirtualClock())
    versions(session, stays("ideal"), [0, 10])
    versions(session, stays("ideal,token_interval_ms=1", version=2), [11, 13])
    assert session.last.channel_time_ns == 112 * MS
    assert session.last.radio_time_ns == 13 * MS


def test_what_is_no_frame_meets_the_sessions_latest_version():
    timeline = changes("ideal", "ideal,delay_ms=7", times_ns=(0, 20 * MS))
    session = Session(opened(), VirtualClock())
    assert session.carry_reliable(Direction.UPLINK, 0, timeline, arrival_ns=0) == 0
    versions(session, timeline, [0, 3])
    result = edge_pb2.InferenceResult(session_id="s")
    assert session.carry_result(result, timeline, arrival_ns=50 * MS) == 57 * MS
    assert (result.downlink.config_version, result.downlink.channel_time_ns) == (2, 30 * MS)
    assert session.carry_reliable(Direction.UPLINK, 0, timeline, 50 * MS) == 57 * MS


def test_what_is_no_frame_pays_by_the_rate_of_its_direction():
    session, channel = (
        Session(opened(), VirtualClock()),
        stays("ideal,rate_mbps=8,downlink_rate_mbps=80"),
    )
    for _ in range(2):
        assert session.carry_reliable(Direction.UPLINK, 1000, channel, 0) >= MS
        assert session.carry_reliable(Direction.DOWNLINK, 1000, channel, 0) < MS


@pytest.mark.parametrize("direction", Direction)
def test_what_is_no_frame_pays_by_the_rate_in_force(direction):
    timeline = changes("ideal,rate_mbps=8", "ideal,rate_mbps=80", times_ns=(0, 20 * MS))
    session, other = Session(opened(), VirtualClock()), Session(opened(), VirtualClock())
    assert session.carry_reliable(direction, 1000, timeline, 0) == MS
    versions(session, timeline, [0, 3])
    assert session.carry_reliable(direction, 1000, timeline, 50 * MS) == 50 * MS + MS // 10
    assert other.carry_reliable(direction, 1000, timeline, 50 * MS) == 51 * MS


def test_live_what_is_no_frame_meets_the_version_of_now():
    live = "ideal,clock=live"
    timeline = changes(live, live + ",delay_ms=7", times_ns=(0, 20 * MS))
    session = Session(opened(), VirtualClock())
    assert session.carry_reliable(Direction.UPLINK, 0, timeline, 19 * MS) == 19 * MS
    assert session.carry_reliable(Direction.UPLINK, 0, timeline, 20 * MS) == 27 * MS


QUEUE = "rate_mbps=0.1,queue_kib=1"  # 256 bytes a frame, 20.48 ms on the air, four in the queue


def burst(session, spec, arrivals_ns, interval=1):
    """Frames at these times, or in replay at these offsets; the reports."""
    reports = []
    for number, arrival_ns in enumerate(arrivals_ns):
        frame = frame_of(values_of(1), position=number * interval)
        session.carry_frame(frame, stays(spec), arrival_ns)
        reports.append(frame.header.channel)
    return reports


def test_a_full_queue_drops_marked_frames():
    session = Session(opened(), VirtualClock())
    spec = f"ideal,{QUEUE},queue_policy=drop,clock=live,delay_ms=3"
    reports = burst(session, spec, [0] * 6)
    assert [report.dropped for report in reports] == [False] * 4 + [True] * 2
    frame = frame_of(values_of(1), position=6)
    due_ns = session.carry_frame(frame, stays(spec), 0)
    report = frame.header.channel
    assert report.dropped
    assert frame.payload == bytes(4 * HIDDEN)
    assert codec.decode_mask(frame.header.erasure_mask, (1, HIDDEN)).all()
    assert (report.truth.loss, report.estimate.loss) == (1, 1)
    assert report.estimate.sigma == 0  # as known from the frames before
    assert (report.airtime_ns, report.payload_bytes, report.queue_ns) == (0, 0, 0)
    assert due_ns == 4 * 20_480_000 + 3 * MS  # it does not overtake
    assert session.dropped_frames == 3
    check_frame(frame)
    assert [r.dropped for r in burst(session, spec, [20_480_000 - 1, 20_480_000])] == [True, False]


def test_in_replay_the_schedule_drops_and_not_the_wall():
    spec = f"ideal,{QUEUE},queue_policy=drop,token_interval_ms=1"
    at_once = burst(Session(opened(), VirtualClock()), spec, [0] * 50)
    slowly = burst(Session(opened(), VirtualClock()), spec, range(0, 50_000 * MS, 1000 * MS))
    dropped = [report.dropped for report in at_once]
    assert dropped == [report.dropped for report in slowly]
    assert dropped[:5] == [False] * 4 + [True]
    assert 50 - sum(dropped) == 4 + 2  # 49 ms of airtime make room for two more
    assert all(report.queue_ns == 0 for report in slowly)


def test_in_replay_rows_do_not_decide_what_is_dropped():
    spec = f"ideal,{QUEUE},queue_policy=drop,token_interval_ms=1"
    session = Session(opened(), VirtualClock())
    session.carry_reliable(Direction.UPLINK, 10_000, stays(spec), 0)
    reports = burst(session, spec, [0] * 5)
    assert [report.dropped for report in reports] == [False] * 4 + [True]
    assert reports[0].queue_ns == 800 * MS  # but they are before it on the air


def test_a_full_queue_that_blocks_says_when_there_is_room():
    session = Session(opened(), VirtualClock())
    spec = f"ideal,{QUEUE}"
    burst(session, spec, [0] * 4)
    frame = frame_of(values_of(1), position=4)
    assert session.admit(frame, stays(spec), MS).room_ns == 20_480_000
    due_ns = session.carry_frame(frame, stays(spec), MS)
    assert due_ns == 5 * 20_480_000
    assert frame.header.channel.queue_ns == 3 * 20_480_000
    assert not frame.header.channel.dropped


def test_a_frame_larger_than_the_queue_passes_alone():
    for policy in ("drop", "block"):
        spec = f"ideal,rate_mbps=1,queue_kib=1,queue_policy={policy},clock=live"
        session = Session(opened(), VirtualClock())
        frame = frame_of(values_of(16))
        assert session.carry_frame(frame, stays(spec), 0) == 32_768_000
        assert not frame.header.channel.dropped


def test_waiting_for_copies_is_part_of_the_delay():
    session = Session(opened(), VirtualClock())
    frame = frame_of(values_of(2))
    spec = "physical,fading=none,snr_db=0,outage_snr_db=5,rate_mbps=8,harq_rtt_ms=6,delay_ms=1"
    due_ns = session.carry_frame(frame, stays(spec), 0)
    report = frame.header.channel
    assert (report.transmissions, report.harq_ns, report.delay_ns) == (4, 18 * MS, 19 * MS)
    assert report.airtime_ns == 4 * 512_000
    assert report.rate_bps == pytest.approx(8e6)
    assert due_ns == report.airtime_ns + report.delay_ns


def test_traces_are_the_rates_of_their_links():
    up = RateTrace.of([0, 10 * MS, 20 * MS], [0, 0, 10_240], stepwise=False)
    down = RateTrace.of([0, MS], [0, 100_000], stepwise=False)
    timeline = changes("ideal,rate_mbps=50", times_ns=(0,), uplink=up, downlink=down)
    session = Session(opened(), VirtualClock())
    frame = frame_of(values_of(1))
    assert session.carry_frame(frame, timeline, 0) == 12 * MS
    assert frame.header.channel.rate_bps == pytest.approx(2048 / 0.012)
    second = frame_of(values_of(1), position=1)
    assert session.carry_frame(second, timeline, 100 * MS) == 102 * MS
    result = edge_pb2.InferenceResult(session_id="s", logits=bytes(1000))
    session.carry_result(result, timeline, 0)
    report = result.downlink
    assert report.airtime_ns == pytest.approx(report.payload_bytes * 80, abs=2)
    assert report.rate_bps == pytest.approx(1e8, rel=1e-4)


def test_the_rate_without_airtime_is_infinite():
    session = Session(opened(), VirtualClock())
    (report,) = burst(session, "ideal", [0])
    assert report.rate_bps == math.inf


def test_a_sequence_beyond_all_streams_is_named():
    session = Session(opened(), VirtualClock())
    with pytest.raises(SequenceError, match="sequence: 18446744073709551615; allowed: 0-"):
        session.carry_frame(frame_of(values_of(1), sequence=2**64 - 1), stays("ideal"), 0)


def test_a_second_session_of_the_same_id_does_not_replace_the_first():
    emulator = Emulator(parse_channel("ideal"), VirtualClock())
    first, second = emulator.open(opened()), emulator.open(opened())
    assert emulator.sessions == [first]
    emulator.close(second)
    assert emulator.session("s") is first
    emulator.close(first)
    assert emulator.sessions == []


def test_the_state_shows_each_sessions_last_report():
    emulator = Emulator(parse_channel("awgn"), VirtualClock())
    session = emulator.open(opened())
    assert not emulator.state().links[0].HasField("last")
    frame = frame_of(values_of(1))
    session.carry_frame(frame, emulator.timeline, arrival_ns=0)
    (link,) = emulator.state().links
    assert (link.session_id, link.ue_id, link.frames) == ("s", "ue", 1)
    assert link.last == frame.header.channel
