"""What a channel may be set to, and what is said when it may not."""

import math

import pytest

from airsplit.errors import InputError
from airsplit.v1 import channel_pb2
from channel_emulator import wire
from channel_emulator.config import ALLOWED, PRESETS, ChannelConfig
from channel_emulator.knobs import Equalizer, Fading, RadioClock
from channel_emulator.spec import parse_channel


def test_a_preset_is_where_the_knobs_start():
    config = parse_channel("nakagami,sigma=0.5,m=3")
    assert config == PRESETS["nakagami"].changed({"sigma": 0.5, "m": 3})
    assert (config.fading, config.m, config.sigma, config.omega) == (Fading.ELEMENT, 3.0, 0.5, 1.0)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_stand(preset):
    assert parse_channel(preset) == PRESETS[preset]
    assert PRESETS[preset].preset == preset


def test_enumerations_go_by_lower_case_names():
    config = parse_channel("nakagami,fading=token,equalizer=zero_forcing,clock=live")
    assert config.fading is Fading.TOKEN
    assert config.equalizer is Equalizer.ZERO_FORCING
    assert config.clock is RadioClock.LIVE


def test_sigma_and_snr_replace_each_other():
    assert parse_channel("awgn,snr_db=10").sigma is None
    back = parse_channel("awgn,snr_db=10").changed({"sigma": 0.3})
    assert (back.sigma, back.snr_db) == (0.3, None)


def test_rate_and_bandwidth_replace_each_other():
    fixed = parse_channel("physical,rate_mbps=5")
    assert (fixed.rate_mbps, fixed.bandwidth_mhz) == (5.0, None)
    faded = fixed.changed({"bandwidth_mhz": 10})
    assert (faded.rate_mbps, faded.bandwidth_mhz) == (math.inf, 10.0)


def test_a_new_preset_keeps_link_clock_and_seed():
    before = parse_channel("nakagami,m=3,delay_ms=5,rate_mbps=8,seed=9,clock=live")
    after = before.changed({"preset": "awgn", "sigma": 0.2})
    assert after == parse_channel("awgn,sigma=0.2,delay_ms=5,rate_mbps=8,seed=9,clock=live")


def test_an_infinite_rate_is_the_one_infinity():
    assert parse_channel("ideal,rate_mbps=inf").rate_mbps == math.inf


def test_the_seed_keeps_all_its_bits():
    assert parse_channel(f"ideal,seed={2**64 - 1}").seed == 2**64 - 1


def test_a_file_holds_knobs_by_name(tmp_path):
    path = tmp_path / "cell.toml"
    path.write_text('preset = "nakagami"\nm = 2.5\nsigma = 1\nrate_mbps = inf\n')
    assert parse_channel(f"{path},sigma=0.5") == parse_channel("nakagami,m=2.5,sigma=0.5")


def refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        parse_channel(text)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("text", "field", "value", "allowed"),
    [
        ("fading", "channel", "fading", "ideal|awgn|nakagami|erasure|physical"),
        ("", "channel", "''", "PRESET"),
        ("nakagami,m=0.3", "m", "0.3", "[0.5, 10000]"),
        ("nakagami,m=nan", "m", "nan", "[0.5, 10000]"),
        ("nakagami,m=one", "m", "'one'", "[0.5, 10000]"),
        ("nakagami,omega=0", "omega", "0", "(0, 1e+06]"),
        ("nakagami,h_th=-1", "h_th", "-1", "[0, 1000]"),
        ("awgn,sigma=-0.1", "sigma", "-0.1", "[0, 1e+06]"),
        ("awgn,sigma=inf", "sigma", "inf", "[0, 1e+06]"),
        ("awgn,snr_db=1e9", "snr_db", "1000000000", "[-100, 200]"),
        ("erasure,loss=1", "loss", "1.0", "[0, 1)"),
        ("ideal,delay_ms=inf", "delay_ms", "inf", "[0, 60000]"),
        ("ideal,jitter_ms=-1", "jitter_ms", "-1", "[0, 60000]"),
        ("ideal,rate_mbps=0", "rate_mbps", "0.0", "[0.001, inf]"),
        ("ideal,rate_mbps=nan", "rate_mbps", "nan", "[0.001, inf]"),
        ("nakagami,fading=slot", "fading", "'slot'", "none|element|token|frame|block|copula"),
        ("nakagami,equalizer=mmse", "equalizer", "'mmse'", "none|zero_forcing"),
        ("ideal,clock=wall", "clock", "'wall'", "replay|live"),
        ("ideal,seed=1.5", "seed", "'1.5'", "an integer in [0, 18446744073709551615]"),
        ("ideal,seed=-1", "seed", "-1", "an integer"),
        ("physical,harq_transmissions=0", "harq_transmissions", "0", "an integer in [1, 16]"),
        ("physical,sigma=0", "sigma", "0.0", "(0, 1e+06]"),
        ("physical,fading=element", "fading", "'element'", "any but element"),
        ("nakagami,h_th=0,equalizer=zero_forcing", "h_th", "0.0", "a threshold in [0.001, 1000]"),
        ("nakagami,m=0.5,target_loss=1e-300,equalizer=zero_forcing", "target_loss", "1e-300", "a"),
        ("nakagami,sigma", "channel", "'sigma'", "KEY=VALUE"),
        ("nakagami,sigma=", "channel", "'sigma='", "KEY=VALUE"),
        ("nakagami,colour=1", "channel", "'colour'", "fading, m, omega"),
        ("nakagami,m=1,m=2", "m", "'2'", "each key once"),
        ("nakagami,preset=awgn", "preset", "'awgn'", "in front"),
        ("awgn,sigma=1,snr_db=2", "sigma, snr_db", "both", "one of them"),
        ("physical,rate_mbps=1,bandwidth_mhz=2", "rate_mbps, bandwidth_mhz", "both", "one of"),
        # Accepted and ignored would be worse than refused.
        ("ideal,sigma=0.5", "sigma", "0.5", "delay_ms"),
        ("awgn,m=2", "m", "2", "sigma"),
        ("erasure,h_th=0.3", "h_th", "0.3", "loss"),
        ("nakagami,harq_transmissions=3", "harq_transmissions", "3", "fading"),
        ("nakagami,coherence_ms=5", "coherence_ms", "5.0", "fading=block"),
        ("nakagami,fading=none,m=2", "m", "2.0", "fading other than none"),
        ("nakagami,speed_mps=3", "speed_mps", "3.0", "copula|sum_of_squares|block"),
        ("nakagami,fading=copula,coherence_ms=5", "coherence_ms", "5.0", "fading=block"),
        ("nakagami,fading=sum_of_squares,m=1.2", "m", "1.2", "0.5, 1, 1.5, ..., 50"),
        ("nakagami,fading=sum_of_squares,m=51", "m", "51.0", "0.5, 1, 1.5, ..., 50"),
        ("nakagami,target_loss=1", "target_loss", "1.0", "(0, 1)"),
        ("nakagami,target_loss=0.1,h_th=0.2", "h_th, target_loss", "both", "one of them"),
        ("awgn,power_reference=tensor", "power_reference", "tensor", "snr_db"),
        ("awgn,loss_unit=token", "loss_unit", "token", "loss above 0"),
        ("erasure,packet_bytes=100", "packet_bytes", "100", "loss_unit=packet"),
        ("erasure,burst_length=3", "burst_length", "3.0", "loss_model=gilbert_elliott"),
        ("erasure,packet_bytes=1", "packet_bytes", "1", "an integer in [8, 1048576]"),
        ("physical,harq_transmissions=1,harq_rtt_ms=4", "harq_rtt_ms", "4.0", "above 1"),
        ("physical,rate_mbps=5,snr_gap_db=3", "snr_gap_db", "3.0", "bandwidth_mhz"),
        (
            "ideal,jitter_distribution=uniform",
            "jitter_distribution",
            "uniform",
            "jitter_ms above 0",
        ),
        ("ideal,queue_policy=drop", "queue_policy", "drop", "a finite queue_kib"),
    ],
)
def test_refusals_name_field_value_and_range(text, field, value, allowed):
    line = refusal(text)
    found_field, _, rest = line.partition(": ")
    assert field in found_field or rest.startswith(f"{field}: ")
    assert value in rest
    assert f"allowed: {allowed}" in rest or allowed in rest.partition("allowed: ")[2]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("m = 2", "preset: missing"),
        ('preset = "nakagami"\nm = "', "not TOML"),
        ('preset = "nakagami"\nm = 0.1', "m: 0.1 is not allowed"),
        ('preset = "nakagami"\n[m]\nx = 1', "m: "),
        ("preset = 3", "preset: '3' is not allowed"),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, why):
    path = tmp_path / "cell.toml"
    path.write_text(content)
    line = refusal(str(path))
    assert str(path) in line
    assert why in line


def test_a_missing_file_is_named():
    assert "nowhere.toml cannot be read: No such file" in refusal("nowhere.toml")


def test_a_configuration_is_checked_however_it_is_made():
    with pytest.raises(InputError, match=r"sigma: 1\.0 has no effect in preset 'ideal'"):
        ChannelConfig(sigma=1.0)
    with pytest.raises(InputError, match="preset: 'rayleigh' is not allowed"):
        ChannelConfig(preset="rayleigh")
    with pytest.raises(InputError, match="outage_snr_db"):
        ChannelConfig(preset="physical", snr_db=10.0)


@pytest.mark.parametrize(
    "text",
    [
        *PRESETS,
        "nakagami,snr_db=3,fading=block,coherence_ms=4",
        "nakagami,snr_db=3,power_reference=inliers,fading=copula,speed_mps=9,target_loss=0.1",
        "erasure,loss_unit=packet,packet_bytes=99,loss_model=gilbert_elliott,burst_length=4",
        "ideal,jitter_ms=2,jitter_distribution=uniform,queue_kib=64,queue_policy=drop",
        f"awgn,seed={2**64 - 1},clock=live",
    ],
)
def test_protobuf_and_dictionary_say_it_all(text):
    config = parse_channel(text)
    assert wire.from_proto(wire.to_proto(config)) == config
    assert ChannelConfig(**config.to_dict()) == config


def test_a_partial_message_changes_what_is_present():
    config = parse_channel("nakagami,m=2,delay_ms=5")
    message = channel_pb2.ChannelConfig(sigma=0.7, fading=channel_pb2.FADING_TOKEN)
    assert wire.updated(config, message) == config.changed({"sigma": 0.7, "fading": "token"})
    assert wire.updated(config, channel_pb2.ChannelConfig()) == config


def test_a_zero_that_is_present_is_a_change():
    config = parse_channel("nakagami,sigma=0.5")
    assert wire.updated(config, channel_pb2.ChannelConfig(sigma=0.0)).sigma == 0.0


def test_an_unknown_enumeration_value_is_refused():
    message = channel_pb2.ChannelConfig(fading=channel_pb2.FADING_UNSPECIFIED)
    with pytest.raises(InputError, match="fading: 'unspecified' is not allowed"):
        wire.updated(parse_channel("nakagami"), message)


def test_changes_travel_as_a_partial_message():
    config = parse_channel("nakagami,m=2")
    message = wire.changes_to_proto(config, {"sigma": "0.25", "fading": "token"})
    assert {field.name for field, _ in message.ListFields()} == {"sigma", "fading"}
    assert wire.updated(config, message) == config.changed({"sigma": 0.25, "fading": "token"})


def test_every_knob_of_the_contract_is_a_knob_here():
    names = set(channel_pb2.ChannelConfig.DESCRIPTOR.fields_by_name)
    assert names == {"preset", *ALLOWED}


def test_speed_and_carrier_give_doppler_and_coherence():
    walking = parse_channel("nakagami,fading=block")
    assert walking.doppler_hz == pytest.approx(16.34, abs=0.01)  # 1.4 m/s at 3.5 GHz
    assert walking.coherence_ns == pytest.approx(25.9e6, rel=0.01)
    assert walking.changed({"coherence_ms": 4}).coherence_ns == 4_000_000
    assert walking.changed({"coherence_ms": 4}).changed({"speed_mps": 2.8}).coherence_ms is None
    # 1e-12 m/s: a coherence time that no int64 of nanoseconds has.
    for still in (0, 5e-324, 1e-12):
        assert walking.changed({"speed_mps": still}).coherence_ns is None
    assert walking.changed({"speed_mps": 1e-10}).coherence_ns > 10**17


# Outage thresholds at Ω = 1, to four digits.
@pytest.mark.parametrize(
    ("m", "loss", "h_th"),
    [(0.5, 0.05, 0.0627), (1, 0.01, 0.1003), (1, 0.3, 0.5972), (2, 0.1, 0.5157), (3, 0.2, 0.7153)],
)
def test_a_target_loss_sets_the_threshold(m, loss, h_th):
    config = parse_channel(f"nakagami,m={m},target_loss={loss}")
    assert config.threshold == pytest.approx(h_th, abs=5e-5)
    assert config.changed({"h_th": 0.2}).target_loss is None
    assert config.changed({"omega": 4}).threshold == pytest.approx(2 * h_th, abs=1e-4)


@pytest.mark.parametrize(
    ("knobs", "why"),
    [
        ("loss=0.6,burst_length=1", "loss: 0.6"),
        ("loss=0.1,loss_good=0.2", "loss: 0.1"),
        ("loss=0.1,loss_good=0.5,loss_bad=0.5", "loss_bad: 0.5"),
    ],
)
def test_bursts_that_cannot_make_up_the_loss_are_refused(knobs, why):
    assert why in refusal(f"erasure,loss_model=gilbert_elliott,{knobs}")
    parse_channel("erasure,loss_model=gilbert_elliott,loss=0.5,burst_length=1")


def test_what_does_not_fade_has_no_threshold():
    still = parse_channel("nakagami,h_th=2").changed({"fading": "none"})
    assert still.threshold == 0
    assert parse_channel("physical,fading=none").threshold == 0
