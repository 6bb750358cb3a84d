"""One session's frames through the radio, on virtual time: payload, mask, report, schedule."""

import math

import numpy as np
import pytest

from airsplit.clock import VirtualClock
from airsplit.errors import InputError, PositionError, TensorError, VersionConflictError
from airsplit.frames import check_frame
from airsplit.v1 import channel_pb2, edge_pb2
from channel_emulator import codec
from channel_emulator.config import parse_channel
from channel_emulator.draws import Direction
from channel_emulator.fading import outage_probability
from channel_emulator.pilots import FRAMES
from channel_emulator.radio import Radio
from channel_emulator.session import Session, Snapshot
from channel_emulator.state import Emulator

MS = 1_000_000
HIDDEN = 64


def carry_frame(session, frame, snapshot, arrival_ns):
    """Sends a frame up as the proxy does; when it is due."""
    airtime_ns = session.impair(frame, snapshot, arrival_ns)
    return session.schedule(frame, snapshot, arrival_ns, airtime_ns)


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


def snapshot(spec, version=1):
    return Snapshot(parse_channel(spec), version)


@pytest.mark.parametrize(
    "dtype", [edge_pb2.DTYPE_FLOAT32, edge_pb2.DTYPE_FLOAT16, edge_pb2.DTYPE_BFLOAT16]
)
@pytest.mark.parametrize("spec", ["nakagami,sigma=0.5,h_th=0.3", "physical,snr_db=3"])
def test_a_frame_meets_the_radio_with_its_own_keys(spec, dtype):
    config = parse_channel(spec)
    session = Session(opened(stream=11), VirtualClock())
    frame = frame_of(values_of(3), position=7, window=2, stream_offset=40, dtype=dtype)
    sent = codec.decode(frame.payload, dtype, (3, HIDDEN))
    carry_frame(session, frame, Snapshot(config, 4), arrival_ns=0)
    radio = Radio(config)
    expected = radio.transmit(
        sent, stream=11, window=2, position=7, times_ns=radio.replay_times_ns(40, 3)
    )
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
    carry_frame(session, frame, snapshot("ideal"), arrival_ns=0)
    assert frame.payload == payload
    report = frame.header.channel
    assert (report.estimate.sigma, report.estimate.loss, report.truth.loss) == (0, 0, 0)
    assert report.estimate.m == math.inf
    assert (report.airtime_ns, report.queue_ns, report.delay_ns) == (0, 0, 0)


def test_what_the_ue_wrote_in_the_emulators_fields_is_overwritten():
    session = Session(opened(), VirtualClock())
    frame = frame_of(values_of(1), erasure_mask=b"\xff" * (HIDDEN // 8))
    frame.header.channel.queue_ns = 99
    carry_frame(session, frame, snapshot("ideal"), arrival_ns=0)
    assert frame.header.erasure_mask == b""
    assert frame.header.channel.queue_ns == 0


def test_the_schedule_is_reported():
    session = Session(opened(), VirtualClock())
    link = snapshot("ideal,rate_mbps=1,delay_ms=20")
    first, second = frame_of(values_of(1)), frame_of(values_of(1), position=1)
    assert carry_frame(session, first, link, arrival_ns=5 * MS) == 5 * MS + 2_048_000 + 20 * MS
    carry_frame(session, second, link, arrival_ns=5 * MS)
    report = second.header.channel
    assert (report.airtime_ns, report.queue_ns, report.delay_ns) == (2_048_000, 2_048_000, 20 * MS)


def test_results_pay_on_a_link_of_their_own():
    session = Session(opened(), VirtualClock())
    link = snapshot("ideal,rate_mbps=1,delay_ms=20", version=3)
    carry_frame(session, frame_of(values_of(8)), link, arrival_ns=0)
    result = edge_pb2.InferenceResult(session_id="s", logits=bytes(996))
    due_ns = session.carry_result(result, link, arrival_ns=0)
    report = result.downlink
    assert report.payload_bytes >= 996
    assert report.airtime_ns == report.payload_bytes * 8000
    assert due_ns == report.airtime_ns + 20 * MS
    assert report.config_version == 3


def test_rows_pay_on_the_link_of_their_session():
    session = Session(opened(), VirtualClock())
    link = snapshot("ideal,rate_mbps=1,delay_ms=20")
    session.carry_reliable(Direction.UPLINK, 1000, link, arrival_ns=0)
    frame = frame_of(values_of(1))
    carry_frame(session, frame, link, arrival_ns=0)
    assert frame.header.channel.queue_ns == 8 * MS


def test_jitter_moves_delays():
    session = Session(opened(), VirtualClock())
    delays = set()
    for position in range(4):
        frame = frame_of(values_of(1), position=position)
        carry_frame(session, frame, snapshot("ideal,delay_ms=5,jitter_ms=2"), position * 100 * MS)
        delays.add(frame.header.channel.delay_ns)
    assert len(delays) == 4


def test_live_time_is_the_clocks():
    session = Session(opened(), VirtualClock())
    spec = "nakagami,fading=block,coherence_ms=10,sigma=0,h_th=0,clock=live"
    gains = []
    for arrival_ms in (0, 9, 11):
        frame = frame_of(values_of(2))
        carry_frame(session, frame, snapshot(spec), arrival_ms * MS)
        assert frame.header.channel.radio_time_ns == arrival_ms * MS
        gains.append(frame.header.channel.truth.mean_gain)
    assert gains[0] == gains[1] != gains[2]


def test_replay_does_not_look_at_the_clock():
    spec = "nakagami,fading=block,coherence_ms=10"
    payloads = set()
    for arrival_ms in (0, 1234):
        session = Session(opened(), VirtualClock())
        frame = frame_of(values_of(4), position=3)
        carry_frame(session, frame, snapshot(spec), arrival_ms * MS)
        payloads.add(frame.payload)
    assert len(payloads) == 1


def test_a_frame_that_does_not_fit_changes_nothing():
    session = Session(opened(), VirtualClock())
    frame = frame_of(values_of(2))
    frame.payload = frame.payload[:-1]
    with pytest.raises(TensorError, match="payload"):
        carry_frame(session, frame, snapshot("awgn"), arrival_ns=0)
    assert session.frames == 0


def test_a_time_beyond_all_clocks_is_named():
    session = Session(opened(), VirtualClock())
    frame = frame_of(values_of(1), stream_offset=2**63)
    with pytest.raises(PositionError, match="stream_offset: 9223372036854775808; allowed: 0-"):
        carry_frame(session, frame, snapshot("awgn"), arrival_ns=0)


def test_estimates_follow_the_channel_through_its_versions():
    session = Session(opened(), VirtualClock())
    sigmas = []
    for version, spec in enumerate(["awgn,sigma=0.2", "ideal", "awgn,sigma=1"]):
        for position in range(FRAMES):
            frame = frame_of(values_of(1), position=position)
            carry_frame(session, frame, snapshot(spec, version + 1), arrival_ns=0)
        sigmas.append(frame.header.channel.estimate.sigma)
    assert sigmas == [pytest.approx(0.2, rel=0.05), 0, pytest.approx(1, rel=0.05)]


def test_outage_on_the_wire_has_its_closed_form():
    session = Session(opened(), VirtualClock())
    erased = 0
    for position in range(100):
        frame = frame_of(values_of(4), position=4 * position)
        carry_frame(session, frame, snapshot("nakagami,m=2,h_th=0.5157"), arrival_ns=0)
        erased += codec.decode_mask(frame.header.erasure_mask, (4, HIDDEN)).sum()
    share = erased / (100 * 4 * HIDDEN)
    assert share == pytest.approx(outage_probability(2, 1, 0.5157), abs=0.008)


def configure(emulator, version=None, **changes):
    request = channel_pb2.ConfigureChannelRequest(
        config=channel_pb2.ChannelConfig(**changes), expected_version=version
    )
    emulator.configure(request)


def test_a_change_is_one_version_or_none():
    emulator = Emulator(parse_channel("awgn"), VirtualClock())
    configure(emulator, sigma=0.7, delay_ms=3)
    assert emulator.snapshot == Snapshot(parse_channel("awgn,sigma=0.7,delay_ms=3"), 2)
    before = emulator.snapshot
    with pytest.raises(InputError, match=r"m: 2\.0 has no effect"):
        configure(emulator, sigma=0.1, m=2)
    with pytest.raises(VersionConflictError, match="expected_version: 1; the channel is at 2"):
        configure(emulator, version=1, sigma=0.1)
    assert emulator.snapshot is before
    configure(emulator, version=2, preset="ideal")
    assert emulator.snapshot == Snapshot(parse_channel("ideal,delay_ms=3"), 3)


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
    carry_frame(session, frame, emulator.snapshot, arrival_ns=0)
    (link,) = emulator.state().links
    assert (link.session_id, link.ue_id, link.frames) == ("s", "ue", 1)
    assert link.last == frame.header.channel
