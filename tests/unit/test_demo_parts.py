"""The demo without its processes: the scenario, what is recorded, how it is shown."""

from __future__ import annotations

import io
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from airsplit.errors import InputError
from channel_emulator.spec import parse_channel
from cli.demo import require_writable
from cli.demo_recording import Recording, Track
from cli.demo_report import configuration_of, toml
from cli.demo_scenario import BAD, GOOD, Scenario
from cli.demo_view import LiveView, PlainView, sparkline
from controller.registry import DEFAULT_DIRECTORY
from controller.table import PerplexityTable


def test_channel_goes_good_bad_good_by_ramps() -> None:
    scenario = Scenario(30.0)
    names = [scenario.at(t)[0].name for t in (0, 9.9, 10, 19.9, 20, 30, 99)]
    assert names == ["good", "good", "bad", "bad", "good again", "good again", "good again"]
    assert scenario.at(0)[1] == scenario.at(10)[1] == GOOD
    half = scenario.at(10 + scenario.ramp_s / 2)[1]
    assert half.sigma == pytest.approx(math.sqrt(GOOD.sigma * BAD.sigma), rel=0.01)
    assert scenario.at(10 + scenario.ramp_s)[1] == scenario.at(20)[1] == BAD
    assert scenario.at(30)[1] == GOOD


def test_radio_is_one_that_the_emulator_takes_and_the_policy_was_trained_on() -> None:
    config = parse_channel(Scenario().channel)
    assert (config.preset, config.sigma, config.m) == ("nakagami", GOOD.sigma, GOOD.m)
    measured = PerplexityTable.load(DEFAULT_DIRECTORY / "table.json")
    early, late = measured.row(BAD.sigma, BAD.m)[[0, -1]]
    assert early > late + 1  # nats: here the split matters
    good = measured.row(GOOD.sigma, GOOD.m)
    assert good[0] < good.min() + 0.05  # and here it hardly does


@pytest.mark.parametrize("duration", [5.9, 3600.1, math.nan, math.inf, -1.0])
def test_duration_is_checked(duration: float) -> None:
    with pytest.raises(InputError, match=r"--duration: .* allowed: 6-3600 seconds"):
        Scenario(duration)


def test_seed_is_checked() -> None:
    with pytest.raises(InputError, match="--seed: -1"):
        Scenario(seed=-1)


def test_report_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    require_writable(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    file = tmp_path / "file"
    file.touch()
    for folder in (file, file / "below"):
        with pytest.raises(InputError, match=r"--report: .* cannot be written"):
            require_writable(folder)


def test_configuration_is_toml_that_says_it_all() -> None:
    scenario = Scenario(12.0, seed=5)
    read = tomllib.loads(toml(configuration_of(scenario)))
    assert read["command"] == "airsplit demo --duration 12 --seed 5"
    assert (read["seed"], read["duration_s"]) == (5, 12.0)
    assert [phase["name"] for phase in read["phase"]] == ["good", "bad", "good again"]
    assert read["phase"][1] == {
        "name": "bad",
        "start_s": 4.0,
        "stop_s": 8.0,
        "sigma": BAD.sigma,
        "m": BAD.m,
    }
    assert read["model"]["name"] == "airsplit-tiny"
    assert read["policy"]["algorithm"] == "ppo"
    assert {"airsplit", "torch", "python"} <= set(read["versions"])


def test_toml_keeps_strings_as_they_are() -> None:
    record = {"a": 'quote " and \\ and ü\n', "b": {"c": 1.5, "d": True}, "e": [{"f": 1}, {"f": 2}]}
    assert tomllib.loads(toml(record)) == record


def event(**fields: Any) -> dict[str, Any]:
    estimate = {"sigma": 0.12, "m": "inf", "loss": 0.0, "snr_db": None}
    truth = {"sigma": 0.12, "mean_gain": 1.0, "loss": 0.0, "snr_db": 9.0}
    stages = ("ue", "uplink", "queue", "edge", "downlink", "transport")
    return {
        "event": "frame",
        "time_s": 1.0,
        "session": "score",
        "task": "score",
        "position": 0,
        "split": 8,
        "total_ms": 6.0,
        **{f"{stage}_ms": 1.0 for stage in stages},
        "uplink_bytes": 768,
        "switch": None,
        "channel": {"config_version": 1, "estimate": estimate, "truth": truth},
        **fields,
    }


def recorded() -> Recording:
    scenario = Scenario(12.0)
    bad = scenario.at(5.0)
    recording = Recording(12.0, [[1.0, 2.0, 3.0], [4.0, 5.0]], {1: scenario.at(0.0), 2: bad})
    recording.take({"event": "started", "time_s": 0.0, "layers": 16})
    recording.take({"event": "story", "time_s": 0.0, "opening": "Once [bold]"})
    recording.take({"event": "text", "time_s": 0.1, "piece": " upon a time"})
    recording.take(event(position=1, nll_sum=6.0, scored_tokens=2, text_window=0))
    channel = {**event()["channel"], "config_version": 2}
    recording.take(event(nll_sum=10.0, scored_tokens=2, text_window=1, channel=channel, time_s=5.0))
    moved = {"from": 8, "to": 10, "bytes": 5000, "gap_ms": 12.0}
    recording.take(event(session="story", task="sample", time_s=5.1, split=10, switch=moved))
    return recording


def test_recording_sets_each_frame_beside_the_unsplit_model() -> None:
    recording = recorded()
    assert [row["phase"] for row in recording.rows] == ["good", "bad", "good"]
    assert [row.get("unsplit_nll_sum") for row in recording.rows] == [5.0, 9.0, None]
    mine, theirs = recording.perplexities["good"]
    assert (mine.tokens, mine.nll_sum, theirs.tokens, theirs.nll_sum) == (2, 6.0, 2, 5.0)
    assert recording.stories == ["Once [bold] upon a time"]
    assert [move["switch"]["to"] for move in recording.moves] == [10]
    assert not recording.ended
    recording.take({"event": "ended", "time_s": 12.0})
    assert recording.ended


def test_track_holds_what_was_until_something_else_is() -> None:
    track = Track(24.0)
    assert track.resampled(24) == []
    track.put(0.0, 3.0)
    track.put(12.0, 5.0)
    values = track.resampled(24)
    assert values == [3.0] * 12 + [5.0]


def test_sparkline_has_eight_heights_a_row() -> None:
    assert sparkline([0, 0.5, 1, 7]) == ["▁▄██"]
    assert sparkline([0, 0.5, 0.75, 1], rows=2) == ["  ▄█", "▁███"]


@pytest.mark.parametrize(("width", "height"), [(100, 30), (80, 24), (40, 10), (200, 60)])
def test_live_view_fills_the_terminal_and_no_more(width: int, height: int) -> None:
    console = Console(
        width=width, height=height, file=io.StringIO(), force_terminal=True, legacy_windows=False
    )
    view = LiveView(console, Scenario(12.0))
    for recording in (Recording(12.0, [], {}), recorded()):
        lines = console.render_lines(view.render(5.0, recording), pad=False)
        assert len(lines) == height
        assert all(sum(segment.cell_length for segment in line) <= width for line in lines)
    if width >= 80:
        shown = "".join(segment.text for line in lines for segment in line)
        assert "Once [bold] upon a time" in shown
        assert "8→10" in shown


def test_plain_view_prints_a_line_a_second() -> None:
    file = io.StringIO()
    view = PlainView(Console(file=file, width=80), Scenario(12.0))
    for time_s in (5.0, 5.2, 5.9, 6.1):
        view.show(time_s, recorded())
    lines = file.getvalue().splitlines()
    assert len(lines) == 2
    assert "bad" in lines[0]
    assert "story p=10" in lines[0]
