"""docs/channel.md says what the code says."""

import re

import pytest

from channel_emulator import theory
from channel_emulator.config import ALLOWED, ChannelConfig
from tests.channel_docs import PAGE, TABLES, rendered

TEXT = PAGE.read_text(encoding="utf-8")


def test_tables_are_those_of_the_code():
    assert rendered(TEXT) == TEXT, "python -m tests.channel_docs writes them anew"


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_is_out_of_date_is_found(name):
    line = TABLES[name]().splitlines()[2]
    stale = TEXT.replace(line, line.replace("|", "| 1", 1))
    assert stale != TEXT
    assert rendered(stale) == TEXT


def test_every_knob_has_a_meaning_and_a_row_in_both_tables():
    for name in ALLOWED:
        assert len(re.findall(rf"^\| `{name}` \|", TEXT, re.MULTILINE)) == 2, name


def test_thresholds_are_those_of_a_target_loss():
    head, *rows = re.search(r"^\| m \| 0\.01.*?\n\n", TEXT, re.M | re.S)[0].strip().split("\n")
    losses = [float(cell) for cell in head.strip("| ").split("|")[1:]]
    for row in rows[1:]:
        m, *levels = (float(cell) for cell in row.strip("| ").split("|"))
        for loss, level in zip(losses, levels, strict=True):
            channel = ChannelConfig(preset="nakagami", fading="token", m=m, target_loss=loss)
            assert channel.threshold == pytest.approx(level, abs=6e-5)
            assert theory.outage_probability(m, 1.0, channel.threshold) == pytest.approx(loss)


def test_crossings_of_the_generators_are_as_far_apart_as_it_says():
    said = re.findall(r"(\d\.\d+) crossings.*?and\s(\d\.\d+)", TEXT, re.S)[0]
    found = [
        theory.crossing_rate_of_squares(0.3, 2.5, 1.0, 10.0),
        theory.crossing_rate_of_copula(0.3, 2.5, 1.0, 10.0),
    ]
    assert [f"{float(rate):.3f}" for rate in found] == list(said)
