"""Scenario files: what they compile to, and what is said about one that cannot be."""

import math
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import channel_emulator
from airsplit.errors import InputError
from channel_emulator import files, scenario
from channel_emulator.config import PRESETS, ChannelConfig
from channel_emulator.mobility import Mobility, trajectory
from channel_emulator.phase import Phase
from channel_emulator.scenario import SCENARIOS, load_scenario, parse_scenario
from channel_emulator.timeline import MAX_CHANGES, played

S = 1_000_000_000


def compiled(phases, channel='preset = "physical"', top="", **given):
    return parse_scenario("test", f"{top}\n[channel]\n{channel}\n{phases}", **given)


def test_phases_follow_each_other_and_hold_on():
    found = compiled(
        """
        [[phase]]
        duration_s = 2.5
        channel = { snr_db = 12, fading = "token" }
        [[phase]]
        name = "pause"
        duration_s = 1
        [[phase]]
        duration_s = 4
        channel = { loss = 0.1 }
        """,
        'preset = "physical"\ndelay_ms = 5',
        'name = "mine"\ndescription = "what it is"',
    )
    assert (found.name, found.description, found.duration_ns) == ("mine", "what it is", 7.5 * S)
    assert found.changes == (
        (0, {"preset": "physical", "delay_ms": 5, "snr_db": 12, "fading": "token"}),
        (3.5 * S, {"loss": 0.1}),
    )
    assert (found.uplink, found.downlink) == (None, None)
    last = played(found, ChannelConfig()).at(found.duration_ns * 2).config
    assert (last.snr_db, last.loss, last.delay_ms) == (12, 0.1, 5)


def test_the_name_is_by_default_the_file():
    assert compiled("[[phase]]\nduration_s = 1").name == "test"


def test_a_ramp_goes_from_the_first_value_to_the_last():
    found = compiled(
        "[[phase]]\nduration_s = 2\nramp = { snr_db = [20, 5], delay_ms = [0, 6] }\nstep_s = 0.5"
    )
    assert found.changes == (
        (0, {"preset": "physical", "snr_db": 20, "delay_ms": 0}),
        (S // 2, {"snr_db": 15, "delay_ms": 2}),
        (S, {"snr_db": 10, "delay_ms": 4}),
        (3 * S // 2, {"snr_db": 5, "delay_ms": 6}),
    )


def test_a_step_that_does_not_divide_the_phase_ends_early():
    found = compiled("[[phase]]\nduration_s = 1.1\nramp = { snr_db = [9, 1] }")
    assert [time_ns for time_ns, _ in found.changes] == [0, S // 2, S]


DRAWN = "[[phase]]\nduration_s = 1000\nstep_s = 1\ndraw = { loss = [0.1, 0.3] }\n"


def drawn(text=DRAWN, **given):
    return np.array([k["loss"] for _, k in compiled(text, 'preset = "erasure"', **given).changes])


def test_draws_are_uniform_and_seeded():
    loss = drawn()
    assert len(loss) == 1000
    assert 0.1 <= loss.min() < 0.102
    assert 0.298 < loss.max() <= 0.3
    assert loss.mean() == pytest.approx(0.2, abs=4 * 0.2 / math.sqrt(12 * 1000))
    assert loss.std() == pytest.approx(0.2 / math.sqrt(12), rel=0.06)
    assert drawn().tolist() == loss.tolist()
    for others in (drawn(seed=1), drawn(top="seed = 2"), drawn(DRAWN + 'name = "other"')):
        assert abs(np.corrcoef(others, loss)[0, 1]) < 0.15
    assert drawn(top="seed = 1").tolist() == drawn(seed=1).tolist()
    assert drawn(top="seed = 7", seed=1).tolist() == drawn(seed=1).tolist()


def test_mobility_drives_what_the_ue_meets():
    found = compiled(
        """
        [[phase]]
        name = "walk"
        duration_s = 10
        mobility = { speed_mps = 2, start_m = [80, 0], transmit_dbm = 30 }
        """,
        'preset = "physical"\ncarrier_ghz = 2\nbandwidth_mhz = 5',
    )
    mobility = Mobility(
        speed_mps=2, start_m=(80, 0), transmit_dbm=30, carrier_ghz=2, bandwidth_mhz=5
    )
    way = trajectory(mobility, "0|walk", 20, 0.5)
    timeline = played(found, ChannelConfig())
    for knob in ("snr_db", "m", "speed_mps"):
        met = [getattr(timeline.at(k * S // 2).config, knob) for k in range(20)]
        assert met == pytest.approx(getattr(way, knob).tolist(), abs=5.1e-4)


def test_the_noise_may_be_counted_in_another_bandwidth():
    """Ten times the bandwidth is 10 dB of noise."""
    walk = PHASE + "mobility = { %s }"
    own, wide = compiled(walk % ""), compiled(walk % "bandwidth_mhz = 200")
    apart = own.changes[0][1]["snr_db"] - wide.changes[0][1]["snr_db"]
    assert apart == pytest.approx(10, abs=2e-3)


def test_mobility_drives_no_more_than_it_is_told():
    found = compiled(
        """
        [[phase]]
        duration_s = 10
        mobility = { drives = ["snr_db"], bandwidth_mhz = 40 }
        """,
        'preset = "awgn"',
    )
    assert {name for _, knobs in found.changes for name in knobs} == {"preset", "snr_db"}


def test_a_trace_goes_on_until_the_phase_ends(tmp_path):
    (tmp_path / "log.csv").write_text("SNR,Speed\n20,36\n-,36\n4,72\n")
    found = compiled(
        """
        [[phase]]
        duration_s = 5
        trace = [{ file = "log.csv", column = "SNR" }, { file = "log.csv", column = "Speed" }]
        [[phase]]
        trace = { file = "log.csv", column = "SNR", drives = "delay_ms" }
        """,
        folder=tmp_path,
    )
    assert found.duration_ns == 8 * S
    assert found.changes == (
        (0, {"preset": "physical", "snr_db": 20, "speed_mps": 10}),
        (2 * S, {"snr_db": 4, "speed_mps": 20}),
        (3 * S, {"snr_db": 20, "speed_mps": 10}),
        (5 * S, {"delay_ms": 20}),
        (7 * S, {"delay_ms": 4}),
    )


def test_a_rate_of_zero_is_the_least_rate(tmp_path):
    (tmp_path / "rate.txt").write_text("0 3\n1 0\n")
    found = compiled('[[phase]]\ntrace = { file = "rate.txt" }', folder=tmp_path)
    assert [knobs["rate_mbps"] for _, knobs in found.changes] == [3, 0.001]


def test_links_may_follow_traces(tmp_path):
    (tmp_path / "up").write_text("1\n2\n")
    (tmp_path / "down.csv").write_text("x_mbps,y_mbps\n1,4\n3,4\n")
    top = 'uplink = { file = "up" }\ndownlink = { file = "down.csv", column = "x_mbps" }'
    found = compiled("[[phase]]\nduration_s = 9", top=top, folder=tmp_path)
    assert found.uplink.stepwise
    assert found.uplink.period_bits == 24_000
    assert found.downlink.mean_rate_mbps == 2


def test_it_repeats_from_the_channel_it_began_with():
    found = compiled(
        "[[phase]]\nduration_s = 1\n[[phase]]\nduration_s = 2\nchannel = { snr_db = 3 }",
        'preset = "physical"\nseed = 4\ndelay_ms = 2',
        "repeat = 3",
    )
    again = {"preset": "physical", "delay_ms": 2}
    assert found.duration_ns == 9 * S
    assert found.changes == (
        (0, {**again, "seed": 4}),
        (1 * S, {"snr_db": 3}),
        (3 * S, again),  # a seed holds throughout
        (4 * S, {"snr_db": 3}),
        (6 * S, again),
        (7 * S, {"snr_db": 3}),
    )
    timeline = played(found, ChannelConfig())
    assert [timeline.at(t * S).config.snr_db for t in (0, 1, 3, 4, 6, 7)] == [20, 3] * 3


def test_the_first_phase_replaces_what_the_channel_said():
    found = compiled("[[phase]]\nduration_s = 1\nchannel = { rate_mbps = 5 }", PHYSICAL_AT_20_MHZ)
    assert found.changes == ((0, {"preset": "physical", "rate_mbps": 5}),)


PHYSICAL_AT_20_MHZ = 'preset = "physical"\nbandwidth_mhz = 20'
PHASE = "[[phase]]\nduration_s = 2\n"


@pytest.mark.parametrize(
    ("phases", "named"),
    [
        ("", "phase: missing"),
        (PHASE + "name = ''", "name: '' .*1-100 printable"),
        ("[[phase]]", "phase 'phase 1': duration_s: missing"),
        ("[[phase]]\nduration_s = 0", "phase 'phase 1': duration_s: 0.* \\[0.001, "),
        (PHASE + 'name = "a"\nspeed = 3', "phase 'a': key: 'speed' .*name, duration_s"),
        (PHASE + "name = 3", "name: 3"),
        (PHASE + 'name = "a"\n' + PHASE + 'name = "a"', "name: 'a' .*once"),
        (PHASE + "channel = { snr = 3 }", "phase 'phase 1': channel: 'snr' .*fading, m"),
        (PHASE + "channel = { snr_db = 300 }", "snr_db: 300.0 .*\\[-100, 200\\]"),
        (PHASE + "channel = 3", "channel: 3 .*a table"),
        (PHASE + 'channel = { preset = "awgn" }', "preset: 'awgn' .*\\[channel\\]"),
        (PHASE + "channel = { seed = 3 }", "seed: 'set in a phase' .*\\[channel\\]"),
        (PHASE + "ramp = { seed = [3, 4] }", "seed: 'set in a phase'"),
        (PHASE + "ramp = { snr_db = [3] }", "ramp: snr_db: \\[3\\] .*two numbers"),
        (PHASE + "ramp = { snr_db = [3, 300] }", "ramp: snr_db: 300"),
        (PHASE + "ramp = { rate_mbps = [3, inf] }", "ramp: rate_mbps: .*finite"),
        (PHASE + 'ramp = { fading = ["none", "token"] }', "ramp: fading: .*numbers alone"),
        (PHASE + "ramp = { snr_db = [3, 4] }\nstep_s = 2", "ramp: snr_db: 'one step'"),
        (PHASE + "draw = { lose = [0, 0.1] }", "draw: lose: "),
        (PHASE + "draw = { loss = [0, 1] }", "draw: loss: 1.0 .*\\[0, 1\\)"),
        (PHASE + "draw = { m = [1, 2] }\nchannel = { m = 1 }", "m: more than one part"),
        (PHASE + "mobility = {}\nramp = { m = [1, 2] }", "m: more than one part"),
        (PHASE + "mobility = { sped = 3 }", "mobility: key: 'sped' .*model, speed_mps"),
        (PHASE + "mobility = { carrier_ghz = 3 }", "mobility: key: 'carrier_ghz'"),
        (PHASE + "mobility = { alpha = 3 }", "alpha: 3"),
        (
            PHASE + 'mobility = { drives = [["a"]] }',
            r"mobility: drives: \[\['a'\]\] .*some of snr_db",
        ),
        (PHASE + "mobility = { drives = [{}] }", "mobility: drives: .*some of snr_db"),
        (PHASE + "mobility = { drives = 3 }", "mobility: drives: 3 .*some of snr_db"),
        (PHASE + 'mobility = { drives = ["loss"] }', "mobility: drives: .*some of snr_db, m"),
        (PHASE + 'channel = { fading = "none" }\nmobility = {}', "at 0 s: m: .*no effect"),
        (PHASE + 'trace = { file = "none.csv" }', "none.csv cannot be read"),
        (PHASE + "trace = { file = 3 }", "trace: file: 3"),
        (PHASE + 'trace = { file = "a\\u0000" }', "trace: file: "),
        (PHASE + 'trace = { file = "a", colum = "b" }', "trace: key: 'colum' .*file, column, d"),
        (PHASE + 'trace = "a"', "trace: 'a'"),
        (PHASE + "ramp = { burst_length = [3, 4] }", "at 0 s: burst_length: .*no effect"),
        (PHASE + "draw = { m = [0.5, 3] }\nstep_s = 0.00001", "step_s: 1e-05"),
        ("[[phase]]\nduration_s = 200\ndraw = { m = [0.5, 3] }\nstep_s = 0.001", "changes: 200000"),
    ],
)
def test_what_is_said_about_a_phase(phases, named):
    with pytest.raises(InputError, match=named) as raised:
        compiled(phases)
    assert str(raised.value).startswith("scenario test: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("phase", ["[]", "3", "[1]"])
def test_what_is_no_list_of_phases(phase):
    with pytest.raises(InputError, match="phase: missing"):
        parse_scenario("test", f'phase = {phase}\n[channel]\npreset = "awgn"')


def test_an_error_says_when():
    """The chain of bursts cannot make up that loss from 0.5 s on."""
    channel = 'preset = "erasure"\nloss_model = "gilbert_elliott"\nburst_length = 2'
    with pytest.raises(InputError, match=r"phase 'p': at 0.5 s: loss: 0.9"):
        compiled(
            '[[phase]]\nname = "p"\nduration_s = 1\nramp = { loss = [0.3, 0.9] }\nstep_s = 0.5',
            channel,
        )


@pytest.mark.parametrize(
    ("channel", "top", "named"),
    [
        ("loss = 0.1", "", r"\[channel\] preset: missing"),
        ('preset = "none"', "", r"\[channel\]: preset: 'none'"),
        ('preset = "erasure"\nm = 2', "", r"\[channel\]: m: 2 has no effect"),
        ('preset = "ideal"', "sed = 3", "key: 'sed' .*name, description"),
        ('preset = "ideal"', "seed = -1", "seed: -1"),
        ('preset = "ideal"', "repeat = 0", "repeat: 0"),
        ('preset = "ideal"', "repeat = 1.5", "repeat: 1.5"),
        ('preset = "ideal"', 'description = "a\\nb"', "description"),
        ('preset = "ideal"', 'uplink = "f"', "uplink"),
        ('preset = "ideal"', "= 3", "not TOML"),
        ('preset = "ideal"', "a = " + "[" * 9000, "not TOML"),
    ],
)
def test_what_is_said_about_the_whole(channel, top, named):
    with pytest.raises(InputError, match=named):
        compiled(PHASE, channel, top)


def test_every_round_begins_with_its_preset():
    """Impairments begin anew; a knob that every preset keeps holds on, unless [channel] says it."""
    phases = PHASE + PHASE + 'channel = { preset = "erasure", loss = 0.3, delay_ms = 7 }'
    timeline = played(compiled(phases, PHYSICAL_AT_20_MHZ, "repeat = 2"), ChannelConfig())
    configs = [timeline.at(t * S).config for t in (0, 2, 4, 6)]
    assert [c.preset for c in configs] == ["physical", "erasure"] * 2
    assert [c.delay_ms for c in configs] == [0, 7, 7, 7]
    assert [c.loss for c in configs] == [0, 0.3] * 2


def test_repeats_are_bounded():
    with pytest.raises(InputError, match=f"changes: {MAX_CHANGES + 2} "):
        compiled(PHASE + PHASE + "channel = { snr_db = 3 }", top=f"repeat = {MAX_CHANGES // 2 + 1}")
    with pytest.raises(InputError, match="duration_s"):
        compiled("[[phase]]\nduration_s = 1e6", top="repeat = 99999")


@pytest.mark.parametrize("name", SCENARIOS)
def test_shipped_scenarios_play_on_any_channel(name):
    found = load_scenario(name)
    assert found.name == name
    assert 60 <= found.duration_ns / S <= 120
    assert found.description
    times = [time_ns for time_ns, _ in found.changes]
    assert times[0] == 0
    assert times == sorted(set(times))
    assert times[-1] < found.duration_ns
    configs = [s.config for s in played(found, ChannelConfig()).snapshots]
    assert len(configs) == len(found.changes)
    assert len({config.preset for config in configs}) == 1
    for preset in PRESETS.values():
        base = replace(preset, seed=9)
        assert played(found, base).at(found.duration_ns).config.preset == configs[0].preset
    assert load_scenario(name) == found
    if (
        "draw"
        in Path(scenario.__file__).with_name("scenarios").joinpath(f"{name}.toml").read_text()
    ):
        assert load_scenario(name, seed=99).changes != found.changes


def weighted(name, knob):
    timeline = played(load_scenario(name), ChannelConfig())
    lengths = np.diff([*timeline.times_ns, timeline.duration_ns])
    values = np.array([getattr(s.config, knob) for s in timeline.snapshots])
    return values, float(np.average(values, weights=lengths))


@pytest.mark.parametrize(
    ("name", "snr_db", "speed_mps", "in_sight"),
    [
        ("pedestrian", (10, 30), (1, 1.5), True),
        ("vehicle", (8, 25), (12, 16), True),
        ("indoor-outdoor", (10, 22), (0.7, 1.3), True),
        ("cell-edge", (-3, 6), (1, 1.8), False),
    ],
)
def test_shipped_scenarios_are_plausible(name, snr_db, speed_mps, in_sight):
    snr, mean_db = weighted(name, "snr_db")
    m, _ = weighted(name, "m")
    assert snr_db[0] < mean_db < snr_db[1]
    assert -20 < snr.min() < snr.max() < 50
    assert speed_mps[0] < weighted(name, "speed_mps")[1] < speed_mps[1]
    assert m.min() == 1
    assert (m.max() > 3) == in_sight


@pytest.mark.parametrize(
    ("name", "low", "high"), [("case-l", 0, 0.1), ("case-h", 0.1, 0.3), ("case-a", 0, 0.3)]
)
def test_the_papers_cases(name, low, high):
    loss, mean = weighted(name, "loss")
    assert low <= loss.min() <= loss.max() <= high
    assert mean == pytest.approx((low + high) / 2, abs=4 * (high - low) / math.sqrt(12 * len(loss)))
    assert len(loss) == 100


@pytest.mark.parametrize("name", ["pedestrian", "vehicle", "cell-edge"])
def test_shipped_scenarios_are_as_far_as_they_say(name):
    """In the file and in the documentation, to 5 m."""
    file = Path(scenario.__file__).with_name("scenarios") / f"{name}.toml"
    found = tomllib.loads(file.read_text())
    config = ChannelConfig().changed(found["channel"])
    (phase,) = found["phase"]
    given = {"bandwidth_mhz": config.bandwidth_mhz, "carrier_ghz": config.carrier_ghz}
    samples = round(phase["duration_s"] / phase["step_s"])
    seed = f"{found.get('seed', 0)}|{phase['name']}"
    way = trajectory(Mobility(**given, **phase["mobility"]), seed, samples, phase["step_s"])
    met = [knobs["snr_db"] for _, knobs in load_scenario(name).changes if "snr_db" in knobs]
    assert set(met) <= set(np.round(way.snr_db, 3).tolist())  # it is that way
    page = (Path(__file__).parents[2] / "docs" / "channel.md").read_text(encoding="utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
    for said in (found["description"], row):
        (nearest, farthest), *_ = re.findall(r"(\d+)-(\d+) m from", said)
        assert way.distance_m.min() == pytest.approx(int(nearest), abs=5)
        assert way.distance_m.max() == pytest.approx(int(farthest), abs=5)


def test_all_shipped_files_are_named():
    folder = Path(channel_emulator.__file__).parent / "scenarios"
    assert {path.stem for path in folder.iterdir()} == set(SCENARIOS)


def test_files(tmp_path, monkeypatch):
    path = tmp_path / "mine.toml"
    path.write_text(
        '[channel]\npreset = "awgn"\n[[phase]]\ntrace = { file = "snr.csv", column = "SNR" }'
    )
    (tmp_path / "snr.csv").write_text("SNR\n3\n4\n")
    assert load_scenario(path).changes[1] == (S, {"snr_db": 4})
    assert load_scenario(str(path)).name == "mine"
    with pytest.raises(InputError, match=r"scenario: 'walk' .*pedestrian\|vehicle.*FILE.toml"):
        load_scenario("walk")
    with pytest.raises(InputError, match="cannot be read"):
        load_scenario(tmp_path / "none.toml")
    path.write_bytes(b"\xff")
    with pytest.raises(InputError, match="is not text"):
        load_scenario(path)
    path.write_text('preset = "awgn"\n')
    with pytest.raises(InputError, match="mine: phase: missing"):
        load_scenario(path)
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 4)
    with pytest.raises(InputError, match="size"):
        load_scenario(path)


def test_a_phase_alone_is_pure():
    phase = Phase.of({"duration_s": 1, "draw": {"loss": [0, 0.5]}}, Path())
    once, again = (phase.changes(PRESETS["erasure"], "1") for _ in range(2))
    assert once == again
    assert [time_ns for time_ns, _ in once] == [0, S // 2]
