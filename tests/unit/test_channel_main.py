"""The emulator's command line: everything that is wrong with it is one line and exit code 2."""

import argparse

import pytest

from channel_emulator.__main__ import add_arguments, main, start_of
from channel_emulator.config import ALLOWED, PRESETS
from channel_emulator.scenario import SCENARIOS, load_scenario
from channel_emulator.spec import parse_channel
from channel_emulator.start import Start, parse_start


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--channel", "rayleigh"], ["channel: 'rayleigh'", "ideal|awgn|nakagami"]),
        (["--channel", "rayleigh"], ["SCENARIO one of pedestrian|vehicle"]),
        (["--channel", "pedestrian,sigmma=1"], ["'sigmma'"]),
        (["--channel", "pedestrian,preset=awgn"], ["preset: 'awgn'", "none after a scenario"]),
        (["--channel", "case-a,m=2"], ["m: 2 has no effect in preset 'erasure'"]),
        (["--channel", "no/such.toml"], ["no/such.toml cannot be read"]),
        (["--channel", "nakagami,m=0.1"], ["m: 0.1", "[0.5, 10000]"]),
        (["--seed", "-3"], ["seed: -3", "an integer in [0,"]),
        (["--seed", "x"], ["seed: 'x'"]),
        (["--edge", "nowhere"], ["--edge: 'nowhere'", "HOST:PORT"]),
        (["--controller", "here:99999"], ["--controller: 'here:99999'", "0-65535"]),
        (["--listen", "127.0.0.1"], ["--listen: '127.0.0.1'", "HOST:PORT"]),
        (["--clock", "wall"], ["--clock", "'wall'", "'replay', 'live'"]),
        (["--chanel", "awgn"], ["--chanel"]),
        (["--idle-timeout", "0"], ["--idle-timeout: 0.0", "above 0"]),
        (["--idle-timeout", "nan"], ["--idle-timeout: nan", "above 0"]),
        (["--answer-deadline", "-1"], ["--answer-deadline: -1.0", "above 0"]),
        (["--answer-deadline", "inf"], ["--answer-deadline: inf", "finite"]),
        (["--transport-ms", "-0.1"], ["--transport-ms: -0.1", "[0, 1000]"]),
        (["--transport-ms", "1000.5"], ["--transport-ms: 1000.5", "[0, 1000]"]),
        (["--transport-ms", "nan"], ["--transport-ms: nan", "[0, 1000]"]),
        (["--transport-ms", "x"], ["--transport-ms", "'x'"]),
    ],
)
def test_a_bad_flag_is_one_line(arguments, names, capfd):
    try:
        code = main(arguments)
    except SystemExit as exit_:
        code = exit_.code
    captured = capfd.readouterr()
    assert code == 2
    assert captured.out == ""
    assert "channel_emulator: error: " in captured.err
    assert captured.err.count("\n") == 1
    for name in names:
        assert name in captured.err


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(arguments)


def test_seed_and_clock_override_the_channels():
    args = parsed("--channel", "awgn,seed=1,clock=replay", "--seed", "9", "--clock", "live")
    assert start_of(args) == Start(parse_channel("awgn,seed=9,clock=live"))
    assert start_of(parsed("--channel", "awgn,seed=1")) == Start(parse_channel("awgn,seed=1"))


def test_help_shows_every_preset_and_knob(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for name in (*PRESETS, *ALLOWED, *SCENARIOS):
        assert f"\n  {name} " in text


def test_a_scenario_begins_with_knobs_on_top_of_its_own():
    start = start_of(parsed("--channel", "case-a,delay_ms=4", "--seed", "9"))
    plain = load_scenario("case-a")
    first = plain.changes[0][1]["loss"]
    assert start.config == parse_channel(f"erasure,loss={first},delay_ms=4,seed=9")
    timeline = start.timeline()
    assert (timeline.scenario, timeline.duration_ns) == ("case-a", plain.duration_ns)
    assert [snapshot.version for snapshot in timeline.snapshots] == list(
        range(1, len(plain.changes) + 1)
    )
    for (time_ns, knobs), at_ns, snapshot in zip(
        plain.changes, timeline.times_ns, timeline.snapshots, strict=True
    ):
        assert time_ns == at_ns
        assert snapshot.config == parse_channel(f"erasure,loss={knobs['loss']},delay_ms=4,seed=9")


def test_a_knob_that_replaces_one_of_the_scenarios():
    start = parse_start("pedestrian,sigma=0.5")
    first = start.timeline().at(0).config
    assert (first.sigma, first.snr_db) == (0.5, None)


def test_a_file_with_phases_is_a_scenario_and_one_without_a_channel(tmp_path):
    plain, phases = tmp_path / "plain.toml", tmp_path / "phases.toml"
    plain.write_text('preset = "awgn"\nsigma = 2\n')
    phases.write_text(
        """
[channel]
preset = "awgn"
[[phase]]
duration_s = 2
channel = { sigma = 1 }
[[phase]]
duration_s = 3
channel = { sigma = 2 }
"""
    )
    assert parse_start(f"{plain},delay_ms=1") == Start(parse_channel("awgn,sigma=2,delay_ms=1"))
    timeline = parse_start(f"{phases},delay_ms=1").timeline()
    assert (timeline.scenario, timeline.duration_ns) == ("phases", 5 * 10**9)
    assert timeline.times_ns == (0, 2 * 10**9)
    assert [s.config for s in timeline.snapshots] == [
        parse_channel("awgn,sigma=1,delay_ms=1"),
        parse_channel("awgn,sigma=2,delay_ms=1"),
    ]
