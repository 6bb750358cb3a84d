"""docs/scenarios.md says what the code does: its example is read from the page and played."""

import re
import tomllib
from pathlib import Path

import pytest

from channel_emulator import phase, scenario
from channel_emulator.config import ChannelConfig
from channel_emulator.draws import Direction
from channel_emulator.scenario import SCENARIOS, load_scenario
from channel_emulator.timeline import played
from tests.channel_docs import SCENARIO_TABLES, SCENARIOS_PAGE, rendered

TEXT = SCENARIOS_PAGE.read_text(encoding="utf-8")
FILES = dict(re.findall(r"`([\w-]+\.\w+)`[^`]*:\n\n```\w+\n(.*?)^```$", TEXT, re.M | re.S))
"""The page's own, by name."""

S = 1_000_000_000


@pytest.fixture
def commute(tmp_path: Path) -> scenario.Scenario:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return load_scenario(tmp_path / "commute.toml")


def test_its_table_is_that_of_the_code() -> None:
    assert rendered(TEXT, SCENARIO_TABLES) == TEXT, "python -m tests.channel_docs writes it anew"


def test_every_key_is_in_the_example_and_in_the_table() -> None:
    example = tomllib.loads(FILES["commute.toml"])
    assert set(example) == set(scenario._KEYS)
    assert set().union(*example["phase"]) == set(phase._KEYS)
    for key in (*scenario._KEYS, *phase._KEYS):
        assert re.search(rf"^\| (top|`\[.*?\]`) \|.*`{key}`|^\| `\[+{key}\]+`", TEXT, re.M), key


def test_the_example_is_what_the_page_says(commute: scenario.Scenario) -> None:
    assert set(FILES) == {"commute.toml", "up.mahimahi", "down.csv", "desk.csv"}
    assert commute.name == "commute"
    assert commute.duration_ns == 2 * 84 * S
    assert commute.uplink is not None
    assert commute.uplink.mean_rate_mbps == pytest.approx(4.8)
    assert commute.downlink is not None
    assert commute.downlink.mean_rate_mbps == pytest.approx((40 + 35 + 55) / 3)
    timeline = played(commute, ChannelConfig())
    for start_s in (0, 84):
        first, last, bus, desk, end = (
            timeline.at((start_s + at_s) * S).config for at_s in (0, 19, 20, 80, 83)
        )
        assert (first.snr_db, last.snr_db, first.loss, first.speed_mps) == (22, 8, 0.01, 0.9)
        assert 4 <= first.delay_ms <= 9
        assert (bus.loss, bus.carrier_ghz, bus.outage_snr_db) == (0, 3.5, -3)
        assert bus.speed_mps > 2
        assert (desk.snr_db, end.snr_db, end.m, end.speed_mps) == (14.5, 15.5, 1, 0.3)
    assert timeline.at(10**6 * S).config.snr_db == 15.5, "holds on at its end"
    assert timeline.rate_trace(Direction.UPLINK, 0) is not None
    assert len({knobs["m"] for _, knobs in commute.changes if "m" in knobs}) > 5, "from the way"


def test_as_many_are_shipped_as_it_says() -> None:
    assert len(SCENARIOS) == 7
    assert "Seven are\n[shipped]" in TEXT
