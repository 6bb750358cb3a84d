"""What `airsplit channel plot` draws: the emulator's own channel, beside its closed forms."""

import argparse
import csv
import json
import math

import numpy as np
import pytest

from airsplit.errors import InputError
from airsplit.v1 import channel_pb2
from channel_emulator import theory
from channel_emulator.draws import Direction, Draws
from channel_emulator.fading import FadingSource
from channel_emulator.place import Place
from channel_emulator.rate_trace import RateTrace
from channel_emulator.spec import parse_channel
from channel_emulator.timeline import Snapshot, Timeline
from channel_emulator.wire import to_proto
from cli import channel_plot
from experiments.channel_plots import describe, figure_of
from experiments.channel_samples import course, crossing_rate, fine_amplitude, statistics

PROCESSES = ["copula", "sum_of_squares"]


def timeline_of(*specs, times_ns=(0,), **more):
    snapshots = tuple(Snapshot(parse_channel(spec), i + 1) for i, spec in enumerate(specs))
    return Timeline(times_ns, snapshots, **more)


@pytest.mark.parametrize(
    "fading", ["element", "token", "frame", "block,coherence_ms=3", "block,speed_mps=0", *PROCESSES]
)
def test_samples_have_the_distribution_that_is_drawn_beside_them(fading):
    config = parse_channel(f"nakagami,m=2.5,omega=2,target_loss=0.05,fading={fading},seed=3")
    found = statistics(config, 40_000).summary(config)
    assert found["samples"] >= 4000
    assert found["cdf_distance"] < 0.03
    assert found["mean_power"] == pytest.approx(2, rel=0.03)
    assert found["below_threshold_theory"] == pytest.approx(0.05)
    assert found["below_threshold"] == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize("fading", PROCESSES)
def test_processes_follow_the_closed_forms_of_their_own_generator(fading):
    config = parse_channel(f"nakagami,m=2.5,fading={fading},seed=1")
    found = statistics(config, 200_000)
    assert found.summary(config)["power_correlation_error"] < 0.1
    rates = {
        "copula": theory.crossing_rate_of_copula(found.level, 2.5, 1, config.doppler_hz),
        "sum_of_squares": theory.crossing_rate_of_squares(found.level, 2.5, 1, config.doppler_hz),
    }
    low = found.level < 0.7
    assert low.any()
    np.testing.assert_allclose(found.crossings_hz[low], rates[fading][low], rtol=0.1)
    other = rates[next(name for name in PROCESSES if name != fading)]
    assert (np.abs(found.crossings_hz[low] / other[low] - 1) > 0.1).all()
    np.testing.assert_array_equal(crossing_rate(config, found.level), rates[fading])
    fades_s = theory.fade_duration_s(found.level, 2.5, 1, rates[fading])
    np.testing.assert_allclose(found.fade_s[low], fades_s[low], rtol=0.1)


def test_the_course_is_that_of_the_emulator():
    config = parse_channel("physical,m=1,snr_db=3,outage_snr_db=3,harq_transmissions=1")
    found = course(Timeline.of(config), 1.0)
    draws = Draws(config.seed, 1, Direction.UPLINK)
    h = FadingSource(config, draws).amplitudes(Place.replay(config, 100, stream=1), 1)[:, 0]
    np.testing.assert_array_equal(found.h, h)
    np.testing.assert_allclose(found.snr_db, 20 * np.log10(h) + 3, atol=1e-5)
    np.testing.assert_array_equal(found.loss, found.snr_db < 3)
    capacity = 20 * np.log2(1 + 10 ** (np.maximum(found.snr_db, 3) / 10))
    np.testing.assert_allclose(found.rate_mbps, capacity, rtol=1e-5)
    fine = fine_amplitude(Timeline.of(config), 1.0, points=100)
    np.testing.assert_array_equal(fine.h, h)


def test_a_course_follows_a_scenario():
    times_ns = (0, 300_000_000)
    timeline = timeline_of("erasure,loss=0.1", "erasure,loss=0.5", times_ns=times_ns)
    found = course(timeline, 1.0)
    assert found.version.tolist() == [1] * 30 + [2] * 70
    assert found.loss[:30].mean() == pytest.approx(0.1, abs=0.03)
    assert found.loss[30:].mean() == pytest.approx(0.5, abs=0.03)


def test_a_traced_rate_carries_the_bits_of_the_trace():
    trace = RateTrace.of([0, 250_000_000, 400_000_000], [0, 5_000_000, 5_000_000], False)
    found = course(timeline_of("awgn", uplink=trace), 0.8)
    assert found.rate_mbps.sum() * 1e6 * 0.01 == pytest.approx(10_000_000)
    assert found.rate_mbps[0] == pytest.approx(20)
    assert found.rate_mbps[30] == 0


def test_a_course_has_a_token_or_more_and_not_too_many():
    for duration_s in (0.001, 1e6):
        with pytest.raises(InputError, match=f"duration: {duration_s}.*one token every"):
            course(timeline_of("awgn"), duration_s)


H, SNR, LOSS, RATE = "amplitude h", "SNR", "lost", "uplink rate"
DENSITY, TAIL = "density", "P(h < level)"
PROCESS = [DENSITY, "autocorrelation", "level crossings", "mean fade"]


@pytest.mark.parametrize(
    ("spec", "panels"),
    [
        ("physical,snr_db=5,outage_snr_db=5,harq_transmissions=1", [H, SNR, LOSS, RATE, *PROCESS]),
        ("nakagami,fading=sum_of_squares,sigma=0,h_th=0", [H, *PROCESS]),
        ("nakagami,fading=block,h_th=0", [H, SNR, DENSITY, TAIL]),
        ("nakagami", ["h of the first element", SNR, LOSS, DENSITY, TAIL]),
        ("erasure,rate_mbps=5", [LOSS]),
        ("awgn,rate_mbps=5", [SNR, RATE]),
        ("ideal,rate_mbps=5", [RATE]),
    ],
)
def test_panels_that_show_nothing_are_left_out(spec, panels):
    timeline = timeline_of(spec)
    config = timeline.snapshots[0].config
    measured = statistics(config, 20_000) if str(config.fading) != "none" else None
    figure = figure_of(timeline, course(timeline, 1.0), fine_amplitude(timeline, 1.0), measured)
    labels = [axes.get_ylabel() for axes in figure.findobj(lambda a: hasattr(a, "get_ylabel"))]
    labels.sort(key=lambda label: next((i for i, p in enumerate(panels) if p in label), 99))
    assert len(labels) == len(panels)
    assert all(panel in label for panel, label in zip(panels, labels, strict=True)), labels


def test_crossings_are_left_out_where_no_level_can_be_measured():
    config = parse_channel("physical,target_loss=0.999999")
    timeline = Timeline.of(config)
    measured = statistics(config, 2000)
    assert measured.level.size == 0
    assert "crossing_rate_ratio" not in measured.summary(config)
    drawn = figure_of(timeline, course(timeline, 1.0), fine_amplitude(timeline, 1.0), measured)
    labels = [axes.get_ylabel() for axes in drawn.findobj(lambda a: hasattr(a, "get_ylabel"))]
    assert DENSITY in labels
    assert any("autocorrelation" in label for label in labels)
    assert not any(panel in label for panel in PROCESS[2:] for label in labels)


def test_a_threshold_is_another_thing_than_an_outage():
    config = parse_channel("physical,fading=token,target_loss=0.05,snr_db=0,harq_transmissions=1")
    found = statistics(config, 40_000).summary(config)
    assert found["below_threshold"] == pytest.approx(found["below_threshold_theory"], abs=0.01)
    assert course(Timeline.of(config), 20.0).loss.mean() > 0.5  # outage_snr_db is 0 dB too
    assert not any("outage" in name for name in found)


def test_a_scenario_is_shaded_by_its_phases():
    timeline = timeline_of("awgn,snr_db=20", "awgn,snr_db=5", times_ns=(0, 500_000_000))
    (axes,) = figure_of(timeline, course(timeline, 1.0), None, None).axes
    assert [patch.get_x() for patch in axes.patches] == [0.0, 0.5]


def test_titles_say_parameters_and_seed():
    said = describe(parse_channel("nakagami,fading=copula,m=2.5,target_loss=0.1,seed=7"))
    for part in ("nakagami", "m=2.5", "speed_mps=1.4", "target_loss=0.1", "sigma=0.1", "seed=7"):
        assert part in said
    assert "h_th" not in said
    assert "loss_model" not in said


def plot(*words):
    parser = argparse.ArgumentParser()
    channel_plot.add_arguments(parser)
    return channel_plot.run(parser.parse_args(list(words)))


def test_the_command_writes_a_picture_a_table_and_how_near_theory_is(tmp_path, capsys):
    out, table = str(tmp_path / "x.png"), str(tmp_path / "x.csv")
    spec = "nakagami,fading=copula,m=2.5,h_th=0.3"
    words = [spec, "--samples", "5000", "--duration", "0.5", "--seed", "9", "--out", out]
    assert plot(*words, "--csv", table, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["channel"]["seed"] == 9
    assert report["measured"]["samples"] >= 5000
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    config = parse_channel(spec + ",seed=9")
    drawn = course(Timeline.of(config), 0.5)
    assert [float(row["h"]) for row in rows] == drawn.h.tolist()
    assert math.isinf(float(rows[0]["rate_mbps"]))
    assert plot(*words) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"


def test_the_command_draws_what_a_running_emulator_has(tmp_path, capsys, monkeypatch):
    config = parse_channel("erasure,loss=0.25,seed=4")
    state = channel_pb2.ChannelState(config=to_proto(config))
    monkeypatch.setattr(channel_plot, "ask", lambda *_: state)
    plot("--channel", "127.0.0.1:1", "--out", str(tmp_path / "x.png"), "--json")
    assert json.loads(capsys.readouterr().out)["channel"] == config.to_dict()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "x.png"], "SPEC: missing; allowed: .*--channel HOST:PORT"),
        (["awgn", "--channel", "a:1", "--out", "x.png"], "SPEC: awgn beside --channel a:1"),
        (
            ["awgn", "--out", "x.jpg"],
            "--out: 'x.jpg' is not allowed; allowed: a name that ends in .png",
        ),
        (
            ["awgn", "--out", "x.png", "--samples", "9"],
            r"--samples: 9 is not allowed; allowed: \[1000, 5000000\]",
        ),
        (["awgn", "--out", "x.png", "--duration", "nan"], "--duration: nan is not allowed"),
        (
            ["awgn", "--out", "x.png", "--seed", "-1"],
            "--seed: -1 is not allowed; allowed: an integer in",
        ),
        (["ideal", "--out", "x.png"], "channel: ideal has nothing to draw; allowed: with fading"),
        (["awgn", "--out", "/nowhere/x.png"], "/nowhere/x.png: cannot be written"),
    ],
)
def test_what_is_wrong_is_one_line(words, message):
    with pytest.raises(InputError, match=message) as caught:
        plot(*words)
    assert "\n" not in str(caught.value)
