"""The channel in protobuf: every knob, scenario and trace survives the way there and back."""

import math
from dataclasses import replace

import pytest

from airsplit.enum_names import short_names
from airsplit.errors import InputError
from airsplit.telemetry import plain
from airsplit.v1 import channel_pb2
from channel_emulator import wire
from channel_emulator.config import ALLOWED, PRESETS, ChannelConfig
from channel_emulator.knobs import Choice
from channel_emulator.rate_trace import RateTrace
from channel_emulator.scenario import SCENARIOS, Scenario, load_scenario
from channel_emulator.spec import parse_channel
from channel_emulator.timeline import played

ENUMS = [
    pytest.param(field.enum_type, ALLOWED[field.name], id=field.enum_type.name)
    for field in channel_pb2.ChannelConfig.DESCRIPTOR.fields
    if field.enum_type is not None
]


def test_every_knob_has_its_field():
    fields = {field.name for field in channel_pb2.ChannelConfig.DESCRIPTOR.fields}
    assert fields == {"preset", *ALLOWED}


@pytest.mark.parametrize(("enum", "allowed"), ENUMS)
def test_every_name_of_a_choice_has_its_number(enum, allowed):
    assert isinstance(allowed, Choice)
    names = dict(short_names(enum))
    assert names.pop(0) == "unspecified"
    assert sorted(names.values()) == sorted(allowed.kind)


def test_words_of_an_enum_become_a_prefix():
    enum = channel_pb2.DESCRIPTOR.enum_types_by_name["JitterDistribution"]
    assert short_names(enum)[channel_pb2.JITTER_DISTRIBUTION_UNIFORM] == "uniform"


@pytest.mark.parametrize(
    "spec",
    [
        *PRESETS,
        "awgn,snr_db=-3,power_reference=inliers,queue_kib=4,queue_policy=drop",
        f"nakagami,fading=sum_of_squares,m=1.5,target_loss=0.2,seed={2**64 - 1},clock=live",
        "erasure,loss_unit=packet,packet_bytes=200,loss_model=gilbert_elliott,burst_length=4",
        "physical,max_efficiency=5.5,jitter_ms=1,jitter_distribution=exponential,speed_mps=0",
    ],
)
def test_a_whole_channel_comes_back(spec):
    config = parse_channel(spec)
    message = channel_pb2.ChannelConfig.FromString(wire.to_proto(config).SerializeToString())
    assert wire.from_proto(message) == config
    assert wire.updated(ChannelConfig(), message) == config
    assert plain(message)["preset"] == config.preset


def test_a_partial_message_says_what_was_said():
    message = wire.partial({"preset": "nakagami", "m": "3", "fading": "token", "seed": "7"})
    wanted = channel_pb2.ChannelConfig(
        preset="nakagami", m=3, fading=channel_pb2.FADING_TOKEN, seed=7
    )
    assert message == wanted
    infinite = wire.partial({"rate_mbps": "inf"})
    assert infinite.rate_mbps == math.inf


@pytest.mark.parametrize(
    ("knobs", "says"),
    [
        ({"sigmma": 1}, "channel: 'sigmma' is not allowed; allowed: preset, fading, "),
        ({"m": 0.1}, r"m: 0\.1 is not allowed; allowed: \[0\.5, 10000\]"),
        ({"clock": "wall"}, r"clock: 'wall' .*replay\|live"),
        ({"preset": "rayleigh"}, r"preset: 'rayleigh' .*ideal\|awgn"),
    ],
)
def test_what_no_channel_has_is_refused(knobs, says):
    with pytest.raises(InputError, match=says):
        wire.partial(knobs)


def test_an_unknown_number_of_a_choice_is_refused():
    for number in (0, 99):
        message = channel_pb2.ChannelConfig(clock=number)
        with pytest.raises(InputError, match=r"clock: .* allowed: replay\|live"):
            wire.updated(ChannelConfig(), message)


TRACES = [
    RateTrace.of([0, 5, 10**9], [0, 12_000, 24_000], stepwise=True),
    RateTrace.of([0, 10**9, 3 * 10**9], [0, 10**6, 10**6], stepwise=False),
]


@pytest.mark.parametrize("trace", TRACES)
def test_a_trace_comes_back(trace):
    data = wire.trace_to_proto(trace).SerializeToString()
    assert wire.trace_from_proto(channel_pb2.RateTrace.FromString(data)) == trace


@pytest.mark.parametrize(
    ("time_ns", "bits", "says"),
    [
        ([], [], r"trace: points: 0"),
        ([0, 5], [0], "two lists of the same length"),
        ([0, 5, 5], [0, 1, 2], r"trace: time_ns\[2\]: 5"),
        ([0, 5, 6], [0, 2, 1], r"trace: bits\[2\]: 1"),
        ([0, 2**64 - 1], [0, 1], "trace: "),
        ([0, 5], [0, 0], "trace: period_bits"),
    ],
)
def test_what_is_no_trace_is_refused(time_ns, bits, says):
    message = channel_pb2.RateTrace(time_ns=time_ns, bits=bits)
    with pytest.raises(InputError, match=says) as error:
        wire.trace_from_proto(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_comes_back_and_plays_the_same(name):
    scenario = replace(load_scenario(name), uplink=TRACES[0], downlink=TRACES[1])
    data = wire.scenario_to_proto(scenario).SerializeToString()
    back = wire.scenario_from_proto(channel_pb2.Scenario.FromString(data))
    assert (back.name, back.duration_ns) == (name, scenario.duration_ns)
    assert [back.uplink, back.downlink] == TRACES
    assert [time_ns for time_ns, _ in back.changes] == [t for t, _ in scenario.changes]
    base = parse_channel("nakagami,delay_ms=9")
    assert played(back, base) == played(scenario, base)


def test_a_scenario_may_be_a_trace_alone():
    scenario = Scenario(name="trace", duration_ns=5, changes=(), downlink=TRACES[0])
    assert wire.scenario_from_proto(wire.scenario_to_proto(scenario)) == scenario
