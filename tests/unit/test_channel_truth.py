"""What a report says of the noise: how much there was, and how much was meant, side by side."""

import math

import numpy as np
import pytest

from airsplit.clock import VirtualClock
from airsplit.telemetry import channel_dict
from airsplit.v1 import channel_pb2, edge_pb2
from channel_emulator import codec
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from channel_emulator.session import Session
from channel_emulator.spec import parse_channel
from channel_emulator.state import Emulator
from channel_emulator.timeline import Timeline
from channel_emulator.wire import to_proto
from cli.channel_view import line, summary
from tests.channel_replay import message

POWERS = np.array([0.25, 4.0, 16.0])
VALUES = np.random.default_rng(1).normal(0, 1, (3, 4096))
VALUES *= np.sqrt(POWERS / np.square(VALUES).mean(axis=1))[:, None]
VALUES = VALUES.astype(np.float32)


def truth_of(spec, values=VALUES):
    config = parse_channel(spec)
    return Radio(config).transmit(values, Place.replay(config, len(values))).truth


@pytest.mark.parametrize("preset", ["awgn", "nakagami,fading=token"])
def test_an_absolute_sigma_has_the_snr_of_the_frames_mean_power(preset):
    truth = truth_of(f"{preset},sigma=0.5")
    assert truth.configured_sigma == 0.5
    expected = 10 * math.log10(POWERS.mean() / 0.25)
    assert truth.configured_snr_db == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("reference", ["token", "tensor"])
def test_an_snr_has_the_sigma_of_the_frames_mean_power(reference):
    truth = truth_of(f"awgn,snr_db=13,power_reference={reference}")
    assert truth.configured_snr_db == 13
    assert truth.configured_sigma == pytest.approx(math.sqrt(POWERS.mean() * 10**-1.3), rel=1e-5)
    # What was drawn: 12 288 draws, a quarter of which has nearly all of the power.
    assert truth.sigma == pytest.approx(truth.configured_sigma, rel=0.05)
    assert truth.sigma != truth.configured_sigma
    assert truth.snr_db == pytest.approx(13, abs=0.4)


def test_the_power_that_an_snr_refers_to_is_without_outliers_where_it_says_so():
    values = VALUES.copy()
    values[:, 7] = 1000
    truth = truth_of("awgn,snr_db=0,power_reference=inliers", values)
    assert truth.configured_sigma == pytest.approx(math.sqrt(POWERS.mean()), rel=0.01)
    assert truth.configured_snr_db == 0
    assert truth.snr_db > 10  # of all of the power


def test_what_is_configured_is_before_fade_and_equalisation():
    spec = "nakagami,fading=token,m=0.5,snr_db=10,seed=3"
    plain = truth_of(spec)
    equalised = truth_of(f"{spec},h_th=0.001,equalizer=zero_forcing")
    assert plain.configured_sigma == equalised.configured_sigma
    assert plain.configured_snr_db == equalised.configured_snr_db == 10
    assert abs(equalised.sigma / plain.sigma - 1) > 0.1


@pytest.mark.parametrize("spec", ["ideal", "erasure,loss=0.5", "nakagami,sigma=0", "awgn,sigma=0"])
def test_without_noise_there_is_none_and_the_snr_is_infinite(spec):
    truth = truth_of(spec)
    assert (truth.configured_sigma, truth.configured_snr_db) == (0, math.inf)


@pytest.mark.parametrize(
    ("spec", "sigma", "snr_db"),
    [("awgn,sigma=2", 2, -math.inf), ("awgn,snr_db=5", 0, 5), ("awgn,sigma=0", 0, math.inf)],
)
def test_values_without_power(spec, sigma, snr_db):
    truth = truth_of(spec, np.zeros((2, 64), np.float32))
    assert (truth.configured_sigma, truth.configured_snr_db) == (sigma, snr_db)


def test_a_sigma_whose_square_is_no_number_has_its_snr():
    assert truth_of("awgn,sigma=1e-200").configured_snr_db == pytest.approx(
        4000 + 10 * math.log10(POWERS.mean()), abs=1e-3
    )


def test_noise_beyond_float32_is_configured_as_strong_as_it_is():
    """σ ends at 1e37: of one token or of all."""
    loud = np.full((2, 4096), 3e38, np.float32)
    truth = truth_of("awgn,snr_db=-40", loud)
    assert truth.configured_sigma == 1e37
    assert truth.sigma == pytest.approx(1e37, rel=0.03)
    assert truth.configured_snr_db == pytest.approx(20 * math.log10(30), abs=1e-3)
    loud[1] = 1e30
    truth = truth_of("awgn,snr_db=-40", loud)
    assert truth.configured_sigma == pytest.approx(1e37 / math.sqrt(2))
    assert truth.sigma == pytest.approx(1e37 / math.sqrt(2), rel=0.03)


@pytest.mark.parametrize("spec", ["awgn,snr_db=10", "nakagami,fading=token,omega=4,snr_db=20"])
def test_values_at_the_end_of_float32_have_finite_powers(spec):
    report = reported(spec, np.full((4, 256), 3.3e38, np.float32), edge_pb2.DTYPE_BFLOAT16)
    assert math.isfinite(report.truth.snr_db)
    assert 5 < report.estimate.snr_db < 26


def test_equalised_noise_of_the_deepest_fade_is_finite():
    spec = "nakagami,fading=token,m=0.5,h_th=0.001,equalizer=zero_forcing,snr_db=-100"
    values = np.full((300, 512), 1e38, np.float32)
    config = parse_channel(spec)
    received = Radio(config).transmit(values, Place.replay(config, len(values)))
    assert received.h.min() < 0.02
    assert np.isfinite(received.values).all()
    assert math.isfinite(received.truth.sigma)


def reported(spec, values=VALUES, dtype=edge_pb2.DTYPE_FLOAT16):
    session = Session(edge_pb2.OpenSession(session_id="s", ue_id="ue", stream=1), VirtualClock())
    frame = message(values, 0, 0)
    frame.header.dtype = dtype
    frame.payload = codec.encode(values, dtype)
    session.carry_frame(frame, Timeline.of(parse_channel(spec)), 0)
    return frame.header.channel


def test_report_trace_and_view_have_both():
    report = reported("awgn,sigma=0.5")
    found = channel_dict(report)["truth"]
    assert found["configured_sigma"] == 0.5
    assert found["configured_snr_db"] == pytest.approx(14.32, abs=0.01)
    assert found["sigma"] == pytest.approx(0.5, rel=0.03)
    link = channel_pb2.SessionChannel(session_id="s", ue_id="ue", frames=1, last=report)
    config = to_proto(parse_channel("awgn,sigma=0.5"))
    state = channel_pb2.ChannelState(config=config, links=[link])
    for text in (line(state), "\n".join(summary(state))):
        assert "configured sigma 0.5, snr 14.3 dB" in text


def test_the_view_names_what_of_the_testbed_is_part_of_the_delay():
    config = parse_channel("ideal,delay_ms=8")
    told = Emulator(config, VirtualClock(), None, 0.75)
    assert "0.75 ms of transport each way are part of the delay" in summary(told.state())
    assert not any(
        "transport" in line for line in summary(Emulator(config, VirtualClock()).state())
    )


def test_a_frame_that_a_full_queue_drops_met_no_noise_that_could_be_told():
    spec = "awgn,sigma=0.5,rate_mbps=0.001,queue_kib=1,queue_policy=drop"
    session = Session(edge_pb2.OpenSession(session_id="s", ue_id="ue", stream=1), VirtualClock())
    timeline = Timeline.of(parse_channel(spec))
    for number in range(3):
        frame = message(VALUES[:1], number, number)
        session.carry_frame(frame, timeline, 0)
    assert frame.header.channel.dropped
    truth = frame.header.channel.truth
    assert math.isnan(truth.configured_sigma)
    assert channel_dict(frame.header.channel)["truth"]["configured_snr_db"] is None
