"""What the radio does to values: presets, closed forms, and draws that never depend on order."""

import hashlib
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy import special, stats

from airsplit.errors import TensorError
from airsplit.v1 import edge_pb2
from channel_emulator import codec
from channel_emulator.draws import Direction, Draws, Purpose
from channel_emulator.fading import FadingSource
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from channel_emulator.received import Received
from channel_emulator.spec import parse_assignments, parse_channel
from channel_emulator.theory import inverse_power, outage_probability

CUTTABLE = [
    "ideal",
    "awgn,sigma=0.5",
    "awgn,snr_db=10,loss=0.1",
    "awgn,snr_db=10,power_reference=inliers",
    "nakagami,m=0.5,sigma=0.5,h_th=0.3",
    "nakagami,m=2.5,fading=token,h_th=0.3",
    "nakagami,fading=block,coherence_ms=15,target_loss=0.1,equalizer=zero_forcing",
    "nakagami,fading=sum_of_squares,m=1.5,speed_mps=5",
    "erasure,loss=0.3",
    "erasure,loss=0.3,loss_unit=token",
    "erasure,loss=0.3,loss_unit=packet,packet_bytes=100",
    "erasure,loss=0.3,loss_model=gilbert_elliott",
    "erasure,loss=0.3,loss_unit=token,loss_model=gilbert_elliott,burst_length=3",
    "physical,snr_db=3,outage_snr_db=3,harq_transmissions=2",
    "physical,fading=token,sigma=1,harq_transmissions=3",
]
"""However they are cut into frames, values meet the same."""

WHOLE = [
    "awgn,snr_db=10,power_reference=tensor",
    "nakagami,fading=frame,m=2",
    "erasure,loss=0.3,loss_unit=frame",
    "erasure,loss=0.3,loss_unit=frame,loss_model=gilbert_elliott,burst_length=2",
]
"""What they meet depends on the frame."""

EVERY = CUTTABLE + WHOLE


def values_of(tokens: int, hidden: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, (tokens, hidden)).astype(np.float32)


def send(radio: Radio, values: np.ndarray, position: int = 0, **keys: int) -> Received:
    place = Place.replay(radio.config, len(values), position=position, **{"stream": 1, **keys})
    return radio.transmit(values, place)


def fingerprint(*received: Received) -> str:
    values = np.concatenate([part.values for part in received])
    erased = np.concatenate(
        [np.zeros(p.values.shape, bool) if p.erased is None else p.erased for p in received]
    )
    return hashlib.sha256(values.tobytes() + erased.tobytes()).hexdigest()


@pytest.mark.parametrize("spec", CUTTABLE)
def test_draws_do_not_depend_on_chunks_order_or_instance(spec):
    values = values_of(24, 40)
    whole = send(Radio(parse_channel(spec)), values)
    radio = Radio(parse_channel(spec))
    send(radio, values, stream=9)
    parts = {}
    for number, (start, stop) in enumerate([(17, 24), (0, 1), (8, 17), (1, 8)]):
        parts[start] = send(radio, values[start:stop], position=start, sequence=number)
    again = [parts[start] for start in sorted(parts)]
    assert fingerprint(*again) == fingerprint(whole)
    transmissions = np.concatenate([part.transmissions for part in again])
    np.testing.assert_array_equal(transmissions, whole.transmissions)


@pytest.mark.parametrize("spec", CUTTABLE)
def test_a_frame_of_many_blocks_is_its_tokens_one_by_one(spec):
    values = values_of(5, 15001)  # two tokens at a time
    radio = Radio(parse_channel(spec))
    whole = send(radio, values)
    tokens = [send(radio, values[n : n + 1], position=n) for n in range(5)]
    assert fingerprint(*tokens) == fingerprint(whole)
    np.testing.assert_array_equal(np.concatenate([one.power for one in tokens]), whole.power)


@pytest.mark.parametrize("spec", EVERY)
def test_values_may_be_received_in_their_own_place(spec):
    values = values_of(5, 15001)
    radio = Radio(parse_channel(spec))
    apart = send(radio, values)
    place = Place.replay(radio.config, 5, stream=1)
    received = radio.transmit(values, place, out=values)
    assert received.values is values
    assert fingerprint(received) == fingerprint(apart)
    assert received.truth == apart.truth


def stream_of(spec: str, stream: int, order: list[int]) -> str:
    """A session's eight frames, sent in some order."""
    radio, values = Radio(parse_channel(spec)), values_of(40, 24, seed=stream)
    frames = {
        n: send(radio, values[5 * n : 5 * n + 5], position=5 * n, sequence=n, stream=stream)
        for n in order
    }
    return fingerprint(*(frames[n] for n in range(8)))


@pytest.mark.parametrize("spec", EVERY[1:])
def test_streams_do_not_meet(spec):
    """Neither one after the other, nor at the same time, nor with their frames out of order."""
    alone = [stream_of(spec, stream, list(range(8))) for stream in range(6)]
    assert len(set(alone)) == 6
    shuffled = [3, 7, 0, 1, 6, 2, 5, 4]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda stream: stream_of(spec, stream, shuffled), range(6)))
    assert together == alone


@pytest.mark.parametrize("spec", EVERY[1:])
def test_a_change_in_the_middle_leaves_the_other_frames_as_they_are(spec):
    values = values_of(40, 24)
    configs = [parse_channel("awgn,sigma=0.2,loss=0.2,loss_model=gilbert_elliott")]
    configs.append(parse_channel(spec))

    def frames(config_of_frame: list[int]) -> list[str]:
        radios = [Radio(config) for config in configs]
        return [
            fingerprint(send(radios[which], values[5 * n : 5 * n + 5], position=5 * n, sequence=n))
            for n, which in enumerate(config_of_frame)
        ]

    changed = frames([0, 0, 0, 1, 1, 0, 0, 0])
    before, after = frames([0] * 8), frames([1] * 8)
    assert changed == [*before[:3], *after[3:5], *before[5:]]


@pytest.mark.parametrize("spec", EVERY[1:])
def test_every_key_has_draws_of_its_own(spec):
    values = values_of(24, 40)
    config = parse_channel(spec)
    place = Place.replay(config, 24, stream=1)
    later = Place.replay(config, 24, stream=1, window=1, offset=24, sequence=1)
    places = [place, place._replace(stream=2), place._replace(direction=Direction.DOWNLINK), later]
    sequence = 8  # of two states a frame alone would show too little

    def several(config_: object, place_: Place) -> str:
        radio = Radio(config_)
        return fingerprint(
            *(
                radio.transmit(
                    values, place_._replace(sequence=place_.sequence + n, window=place_.window + n)
                )
                for n in range(sequence)
            )
        )

    prints = {several(config, at) for at in places}
    prints.add(several(config.changed({"seed": 1}), place))
    assert len(prints) == 5


def test_a_token_has_room_for_all_its_draws():
    """numpy counts in the first counter word; the key's own words must not be reached."""
    draws = Draws(0, 1, Direction.UPLINK)
    first = draws.at(Purpose.NOISE, 0, 0).integers(0, 2**63, 100_000)
    second = draws.at(Purpose.NOISE, 0, 1).integers(0, 2**63, 100_000)
    assert not np.intersect1d(first, second).size
    assert draws.at(Purpose.NOISE, 2**64 - 1, 2**64 - 1, 2**64 - 1).random() >= 0


def test_ideal_is_the_same_array():
    values = values_of(3, 8)
    received = send(Radio(parse_channel("ideal")), values)
    assert received.values is values
    assert received.erased is None
    assert (received.truth.sigma, received.truth.loss, received.truth.snr_db) == (0, 0, math.inf)


def test_values_are_not_changed_in_place():
    values = values_of(3, 8)
    before = values.copy()
    for spec in EVERY:
        send(Radio(parse_channel(spec)), values)
    np.testing.assert_array_equal(values, before)


def test_nakagami_is_the_papers_channel():
    """y = h x + n per element, zero where h < h_th, no equaliser: rebuilt from its parts."""
    values = values_of(200, 500)
    received = send(Radio(parse_channel("nakagami,m=2,sigma=0.3,h_th=0.5157")), values)
    assert received.erased is not None
    erased = received.erased
    assert not received.values[erased].any()
    trials = stats.binom(erased.size, outage_probability(2, 1, 0.5157)).interval(0.999)
    assert trials[0] <= erased.sum() <= trials[1]
    # Regression on x: its slope is the mean of h above the threshold, the rest h's spread and n.
    x, y = values[~erased], received.values[~erased]
    above = stats.nakagami(2).expect(lambda h: h, lb=0.5157, conditional=True)
    assert np.dot(x, y) / np.dot(x, x) == pytest.approx(above, rel=0.01)
    variance = stats.nakagami(2).expect(lambda h: h**2, lb=0.5157, conditional=True) - above**2
    residual = np.square(y - above * x).mean()
    assert residual == pytest.approx(0.3**2 + variance * np.square(x).mean(), rel=0.02)
    assert received.truth.loss == erased.mean()
    assert received.truth.sigma == pytest.approx(0.3, rel=0.01)
    # E h = Γ(m + ½)/Γ(m) sqrt(Ω/m)
    assert received.truth.mean_gain == pytest.approx(1.3293 / np.sqrt(2), rel=0.01)


def test_erasure_only_erases():
    values = values_of(100, 1000)
    received = send(Radio(parse_channel("erasure,loss=0.2")), values)
    assert received.erased is not None
    low, high = stats.binom(values.size, 0.2).interval(0.999)
    assert low <= received.erased.sum() <= high
    np.testing.assert_array_equal(received.values, np.where(received.erased, 0, values))


@pytest.mark.parametrize("m", [0.75, 1, 3])
def test_truncated_zero_forcing_has_its_closed_form(m):
    h_th, sigma = 0.4, 0.2
    spec = f"nakagami,m={m},fading=token,h_th={h_th},sigma={sigma},equalizer=zero_forcing"
    values = values_of(6000, 40)
    received = send(Radio(parse_channel(spec)), values)
    assert received.erased is not None
    arrived = ~received.erased[:, 0]
    noise = np.square(received.values[arrived] - values[arrived]).mean()
    # By quadrature; m - 1 may be negative in E[1/h²; h > h_th] = (m/Ω) Γ(m-1, m h_th²/Ω) / Γ(m).
    inverse = stats.nakagami(m).expect(lambda h: h**-2, lb=h_th, conditional=True)
    survive = 1 - outage_probability(m, 1, h_th)
    assert inverse_power(m, 1, h_th) / survive == pytest.approx(inverse, rel=1e-6)
    assert noise == pytest.approx(sigma**2 * inverse, rel=0.06)


def test_one_fade_drives_noise_outage_rounds_and_rate():
    """In `physical` all four are functions of the same h(t), rebuilt here from h alone."""
    spec = "physical,m=2,snr_db=8,outage_snr_db=10,harq_transmissions=3,bandwidth_mhz=5,h_th=0.01"
    config = parse_channel(spec + ",harq_rtt_ms=20,speed_mps=5,seed=3")
    tokens = 400
    values = values_of(tokens, 512)
    place = Place.replay(config, tokens)
    received = Radio(config).transmit(values, place)
    fades = FadingSource(config, Draws(3, 0, Direction.UPLINK))
    copies = np.hstack([fades.amplitudes(place, 512, attempt) for attempt in range(3)])
    gains = np.square(copies, dtype=np.float64).cumsum(axis=1)
    snr, least = 10**0.8, 10.0
    enough = gains * snr >= least
    rounds = np.where(enough.any(axis=1), enough.argmax(axis=1) + 1, 3)
    np.testing.assert_array_equal(received.transmissions, rounds)
    assert set(rounds) == {1, 2, 3}
    lost = ~enough[:, -1]
    assert 10 < lost.sum() < 100
    np.testing.assert_array_equal(received.erased, np.repeat(lost[:, None], 512, axis=1))
    rate = 5e6 * np.log2(1 + np.maximum(gains[:, 0] * snr, least))
    np.testing.assert_allclose(received.rate_bps, rate, rtol=1e-6)
    combined = gains[np.arange(tokens), rounds - 1]
    error = np.square(received.values.astype(np.float64) - values).mean(axis=1)
    power = np.square(values, dtype=np.float64).mean(axis=1)
    relative = (error * combined * snr / power)[~lost]  # a mean of 512 squared normal values
    assert relative.mean() == pytest.approx(1, abs=4 * math.sqrt(2 / 512 / len(relative)))
    assert relative.std() == pytest.approx(math.sqrt(2 / 512), rel=0.2)


def test_the_rate_follows_the_fade():
    config = parse_channel("physical,bandwidth_mhz=10,snr_db=10,outage_snr_db=-5,fading=token,m=1")
    radio = Radio(config)
    values = values_of(500, 8)
    received = send(radio, values)
    assert received.rate_bps is not None
    lowest = 10e6 * np.log2(1 + 10**-0.5)
    assert received.rate_bps.min() >= lowest * 0.999999
    # Ergodic capacity of Rayleigh fading: B e^(1/γ̄) E_1(1/γ̄) / ln 2, the cut at the bottom aside.
    ergodic = 10e6 * np.exp(0.1) * special.exp1(0.1) / np.log(2)
    assert received.rate_bps.mean() == pytest.approx(ergodic, rel=0.05)


@pytest.mark.parametrize(
    ("knobs", "efficiency"),
    [
        ("", math.log2(101)),
        (",snr_gap_db=3", math.log2(1 + 100 / 10**0.3)),
        (",bandwidth_efficiency=0.6", 0.6 * math.log2(101)),
        (",bandwidth_efficiency=0.6,max_efficiency=3.5", 3.5),
        (",bandwidth_efficiency=0.6,max_efficiency=4.5", 0.6 * math.log2(101)),
    ],
)
def test_with_a_certain_channel_the_rate_is_shannons(knobs, efficiency):
    received = send(Radio(parse_channel("physical,fading=none,snr_db=20" + knobs)), values_of(2, 8))
    np.testing.assert_allclose(received.rate_bps, 20e6 * efficiency, rtol=1e-6)


def test_a_target_loss_is_met():
    received = send(Radio(parse_channel("nakagami,m=2.5,target_loss=0.07")), values_of(100, 1000))
    low, high = stats.binom(100_000, 0.07).interval(0.999)
    assert low <= received.failed.sum() <= high


def test_no_fading_is_the_limit_of_fading():
    values = values_of(50, 500)
    limit = send(Radio(parse_channel("nakagami,m=10000,h_th=0,sigma=0.5")), values)
    plain = send(Radio(parse_channel("awgn,sigma=0.5")), values)
    # The same noise, for it has the same keys; what is left is a fade of 0.5 %.
    assert np.std(limit.values - plain.values) == pytest.approx(2 * 0.005, rel=0.05)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_a_number_is_refused(bad):
    values = values_of(2, 8)
    values[1, 3] = bad
    with pytest.raises(TensorError, match="1 of 16 values are not finite"):
        send(Radio(parse_channel("awgn")), values)


def test_huge_values_stay_numbers():
    values = np.full((2, 64), np.finfo(np.float32).max, np.float32)
    for spec in EVERY[1:]:
        received = send(Radio(parse_channel(spec)), values)
        payload = codec.encode(received.values, edge_pb2.DTYPE_FLOAT16)
        assert np.isfinite(np.frombuffer(payload, np.float16)).all()


PHYSICAL = "physical,outage_snr_db=18,harq_transmissions=3,speed_mps=3"
BURSTS = "erasure,loss=0.3,loss_model=gilbert_elliott"
KNOBS = {
    "nakagami": ["fading=token", "m=3", "omega=2", "h_th=0.5", "target_loss=0.4"],
    "nakagami,sigma=0.1": ["sigma=0.2", "snr_db=20", "equalizer=zero_forcing", "seed=1"],
    "nakagami,fading=block": ["coherence_ms=5", "speed_mps=9", "carrier_ghz=28"],
    "awgn,snr_db=10": ["snr_db=20", "power_reference=tensor", "power_reference=inliers"],
    "erasure,loss=0.3": ["loss=0.2", "loss_unit=token", "loss_unit=packet", "loss_unit=frame"],
    "erasure,loss=0.3,loss_unit=packet,packet_bytes=64": ["packet_bytes=128"],
    BURSTS: ["loss_model=iid", "burst_length=4", "loss_good=0.1", "loss_bad=0.8"],
    PHYSICAL: ["outage_snr_db=25", "harq_transmissions=1", "harq_rtt_ms=30", "speed_mps=9"],
    PHYSICAL + ",seed=1": ["carrier_ghz=28", "token_interval_ms=50", "fading=sum_of_squares"],
}


@pytest.mark.parametrize(
    ("channel", "knob"), [(channel, knob) for channel, knobs in KNOBS.items() for knob in knobs]
)
def test_every_knob_of_the_radio_changes_what_arrives(channel, knob):
    values = values_of(30, 50)
    values[:, 7] = 500
    config = parse_channel(channel)
    frames = [
        fingerprint(*(send(Radio(each), values, sequence=sequence) for sequence in range(4)))
        for each in (config, config.changed(parse_assignments([knob])))
    ]
    assert frames[0] != frames[1]


@pytest.mark.parametrize(
    "knob", ["bandwidth_mhz=7", "snr_gap_db=1", "bandwidth_efficiency=0.5", "max_efficiency=2"]
)
def test_every_knob_of_the_rate_changes_it(knob):
    one, other = (
        send(Radio(parse_channel(spec)), values_of(30, 50))
        for spec in (PHYSICAL, f"{PHYSICAL},{knob}")
    )
    assert fingerprint(one) == fingerprint(other)
    assert (one.rate_bps != other.rate_bps).any()


def test_the_size_of_an_element_decides_on_its_packet():
    config = parse_channel("erasure,loss=0.3,loss_unit=packet,packet_bytes=64")
    values, place = values_of(30, 50), Place.replay(config, 30)
    two, four = (Radio(config).transmit(values, place, item_bytes=size) for size in (2, 4))
    assert fingerprint(two) != fingerprint(four)


@pytest.mark.parametrize("unit", ["element", "token", "frame"])
def test_what_a_fade_loses_and_what_is_lost_besides_are_both_lost(unit):
    """1 - (1 - P_out)(1 - p), and all of a token in outage."""
    spec = f"nakagami,fading=token,m=1,h_th=0.8,sigma=0.1,loss=0.3,loss_unit={unit},seed=3"
    radio, tokens = Radio(config := parse_channel(spec)), 4
    frames = 4000 // tokens
    values, lost, failed = np.ones((tokens, 32), dtype=np.float32), [], []
    for number in range(frames):
        place = Place.replay(config, tokens, position=number * tokens, sequence=number)
        received = radio.transmit(values, place)
        erased = np.zeros(values.shape, bool) if received.erased is None else received.erased
        assert erased[received.failed[:, 0]].all()
        assert (received.values[erased] == 0).all()
        lost.append(erased.mean())
        failed.append(received.failed.mean())
    outage = outage_probability(1, 1, 0.8)
    assert np.mean(failed) == pytest.approx(outage, abs=0.03)
    assert np.mean(lost) == pytest.approx(1 - (1 - outage) * 0.7, abs=0.05)
