"""docs/channel.md says what the code says."""

import math
import re

import pytest

from channel_emulator import pilots, theory
from channel_emulator.config import ALLOWED, ChannelConfig
from channel_emulator.kernels import estimators
from channel_emulator.propagation import PARAMETERS, PathLossModel, path_loss_db
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


def evaluated(formula, **values):
    """A formula of the page in its own notation: `2 x log D`, `(a + b)²`, `−`."""
    for written, meant in (("−", "-"), ("²", "**2"), ("Δ", "gap")):
        formula = formula.replace(written, meant)
    formula = re.sub(r"log (\w+)", r"log(\1)", formula)
    formula = re.sub(r"(?<=\d) (?=[a-z(])", " * ", formula)  # a number and what it multiplies
    formula = formula.replace("gap (", "gap * (")
    return eval(formula, {"log": math.log10}, values)  # noqa: S307 (text of our own)


def formula_of(row):
    return re.search(rf"^\| {row} \| (.*?) \|", TEXT, re.MULTILINE)[1]


@pytest.mark.parametrize("gap", [0.01, 0.3, 0.5772, 0.58, 2.0, 9.0])
def test_the_likelihoods_fit_is_that_of_the_code(gap):
    said = re.search(r": (.*) for Δ ≤ 0\.5772, beyond that (.*)", formula_of("m, maximum.*?"))
    found = evaluated(said[1] if gap <= 0.5772 else said[2], gap=gap)
    assert found == pytest.approx(estimators.greenwood_durand(gap), rel=1e-12)


def test_windows_and_limits_of_the_estimates_are_those_of_the_code():
    for words in (
        f"{pilots.BLOCKS} blocks of {pilots.PILOTS} unit pilots",
        f"NaN where n < {estimators.LEAST_FADES}",
        f"(8 + 4 m̂) ≤ {estimators._CLEAN}",
        f"newest {pilots.NOISE_FRAMES} frames",
        f"the last {pilots.FRAMES} frames",
        f"as {pilots.FADES} independent fades take, up to {pilots.MOST_FRAMES}",
        f"{pilots.BLOCKS * (pilots.PILOTS - 1)} degrees of freedom",
        f"fading than m = {estimators._WEAK:g} may go unseen",
    ):
        assert words in TEXT, words


@pytest.mark.parametrize("model", PathLossModel)
@pytest.mark.parametrize("distance_m", [20.0, 200.0, 3000.0])
def test_path_loss_is_that_of_the_code(model, distance_m):
    name = {PathLossModel.UMI: "UMi", PathLossModel.UMA: "UMa"}[model]
    h_base, h_ue, carrier_ghz = PARAMETERS[model].base_height_m, 3.0, 3.5
    point = 4 * (h_base - 1) * (h_ue - 1) * carrier_ghz * 1e9 / 3e8
    near, far = formula_of(f"{name} in sight, d ≤ d_BP"), formula_of(f"{name} in sight, beyond")
    values = {
        "D": math.hypot(distance_m, h_base - h_ue),
        "f": carrier_ghz,
        "d_BP": point,
        "h_B": h_base,
        "h_U": h_ue,
    }
    in_sight = evaluated(near if distance_m <= point else far, **values)
    hidden = evaluated(formula_of(f"{name} out of sight").partition(" and ")[2], **values)
    for los, said in ((True, in_sight), (False, max(in_sight, hidden))):
        found = path_loss_db(model, distance_m, los, carrier_ghz, h_ue)
        assert float(found) == pytest.approx(said, rel=1e-12)
