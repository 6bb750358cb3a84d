"""The emulator's command line: everything that is wrong with it is one line and exit code 2."""

import argparse

import pytest

from channel_emulator.__main__ import add_arguments, config_of, main
from channel_emulator.config import ALLOWED, PRESETS, parse_channel


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--channel", "rayleigh"], ["channel: 'rayleigh'", "ideal|awgn|nakagami"]),
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
    assert config_of(args) == parse_channel("awgn,seed=9,clock=live")
    assert config_of(parsed("--channel", "awgn,seed=1")) == parse_channel("awgn,seed=1")


def test_help_shows_every_preset_and_knob(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for name in (*PRESETS, *ALLOWED):
        assert name in text
