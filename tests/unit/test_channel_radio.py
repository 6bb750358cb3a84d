"""What the radio does to values: presets, closed forms, and draws that never depend on order."""

import hashlib
import math

import numpy as np
import pytest
from scipy import special, stats

from airsplit.errors import TensorError
from airsplit.v1 import edge_pb2
from channel_emulator import codec
from channel_emulator.config import parse_channel
from channel_emulator.draws import Direction, Draws, Purpose
from channel_emulator.fading import outage_probability
from channel_emulator.radio import Radio, Received

EVERY = [
    "ideal",
    "awgn,sigma=0.5",
    "awgn,snr_db=10,loss=0.1",
    "nakagami,m=0.5,sigma=0.5,h_th=0.3",
    "nakagami,m=2.5,fading=token,h_th=0.3",
    "nakagami,fading=block,coherence_ms=15,h_th=0.3,equalizer=zero_forcing",
    "erasure,loss=0.3",
    "physical,snr_db=3,outage_snr_db=3,harq_transmissions=2",
    "physical,fading=token,sigma=1,harq_transmissions=3",
]


def values_of(tokens: int, hidden: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2, (tokens, hidden)).astype(np.float32)


def send(radio: Radio, values: np.ndarray, position: int = 0, **keys: int) -> Received:
    keys = {"stream": 1, "window": 0, **keys}
    times_ns = radio.replay_times_ns(position, len(values))
    return radio.transmit(values, position=position, times_ns=times_ns, **keys)


def fingerprint(*received: Received) -> str:
    values = np.concatenate([part.values for part in received])
    erased = np.concatenate(
        [np.zeros(p.values.shape, bool) if p.erased is None else p.erased for p in received]
    )
    return hashlib.sha256(values.tobytes() + erased.tobytes()).hexdigest()


@pytest.mark.parametrize("spec", EVERY)
def test_draws_do_not_depend_on_chunks_order_or_instance(spec):
    values = values_of(24, 40)
    whole = send(Radio(parse_channel(spec)), values)
    radio = Radio(parse_channel(spec))
    send(radio, values, stream=9)
    parts = {}
    for start, stop in [(17, 24), (0, 1), (8, 17), (1, 8)]:
        parts[start] = send(radio, values[start:stop], position=start)
    again = [parts[start] for start in sorted(parts)]
    assert fingerprint(*again) == fingerprint(whole)
    transmissions = np.concatenate([part.transmissions for part in again])
    np.testing.assert_array_equal(transmissions, whole.transmissions)


@pytest.mark.parametrize("spec", EVERY[1:])
def test_every_key_has_draws_of_its_own(spec):
    values = values_of(24, 40)
    config = parse_channel(spec)
    prints = {
        fingerprint(send(Radio(config), values)),
        fingerprint(send(Radio(config), values, stream=2)),
        fingerprint(send(Radio(config), values, window=1)),
        fingerprint(send(Radio(config), values, position=3)),
        fingerprint(send(Radio(config.changed({"seed": 1})), values)),
        fingerprint(
            Radio(config).transmit(
                values,
                stream=1,
                window=0,
                position=0,
                times_ns=Radio(config).replay_times_ns(0, 24),
                direction=Direction.DOWNLINK,
            )
        ),
    }
    assert len(prints) == 6


def test_the_draws_are_those_of_every_machine():
    """Pinned with numpy 2.4: a change of keys or of numpy's stream is a change of every replay."""
    found = {
        spec: fingerprint(send(Radio(parse_channel(spec + ",seed=7")), values_of(4, 64)))[:16]
        for spec in ("erasure,loss=0.3", "awgn,sigma=0.5", "nakagami,m=1,sigma=0.5")
    }
    assert found == {
        "erasure,loss=0.3": "d9107cb81222382a",
        "awgn,sigma=0.5": "8549662a26307dc1",
        "nakagami,m=1,sigma=0.5": "20b20b8b76041ca3",
    }


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


@pytest.mark.parametrize("snr_db", [-10, 0, 10, 25, 40])
def test_snr_is_what_was_set(snr_db):
    values = values_of(256, 4096) * np.linspace(0.1, 30, 256, dtype=np.float32)[:, None]
    received = send(Radio(parse_channel(f"awgn,snr_db={snr_db}")), values)
    error = np.square(received.values - values, dtype=np.float64).mean(axis=1)
    per_token = 10 * np.log10(np.square(values, dtype=np.float64).mean(axis=1) / error)
    assert per_token.mean() == pytest.approx(snr_db, abs=0.05)
    assert received.truth.snr_db == pytest.approx(snr_db, abs=0.1)


@pytest.mark.parametrize("snr_db", [-10, 10, 30])
def test_snr_survives_bfloat16(snr_db):
    values = values_of(256, 4096)
    dtype = edge_pb2.DTYPE_BFLOAT16
    sent = codec.decode(codec.encode(values, dtype), dtype, values.shape)
    received = send(Radio(parse_channel(f"awgn,snr_db={snr_db}")), sent)
    arrived = codec.decode(codec.encode(received.values, dtype), dtype, values.shape)
    error = np.square(arrived - sent, dtype=np.float64).mean()
    measured = 10 * np.log10(np.square(sent, dtype=np.float64).mean() / error)
    assert measured == pytest.approx(snr_db, abs=0.05)


def test_sigma_is_absolute():
    for scale in (0.1, 50):
        values = values_of(64, 2048) * np.float32(scale)
        received = send(Radio(parse_channel("awgn,sigma=0.5")), values)
        assert (received.values - values).std() == pytest.approx(0.5, rel=0.01)
        assert received.truth.sigma == pytest.approx(0.5, rel=0.01)


def test_a_token_of_zeros_stays_zero_under_an_snr():
    values = np.vstack([np.zeros((1, 64), np.float32), values_of(1, 64)])
    received = send(Radio(parse_channel("awgn,snr_db=0")), values)
    assert not received.values[0].any()
    assert (received.values[1] != values[1]).all()


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
    # E[1/h²; h > h_th] = (m/Ω) Γ(m-1, m h_th²/Ω) / Γ(m), by quadrature since m - 1 may be negative
    inverse = stats.nakagami(m).expect(lambda h: h**-2, lb=h_th, conditional=True)
    if m > 1:
        upper = special.gammaincc(m - 1, m * h_th**2) * special.gamma(m - 1)
        closed = m * upper / special.gamma(m) / (1 - outage_probability(m, 1, h_th))
        assert inverse == pytest.approx(closed, rel=1e-6)
    assert noise == pytest.approx(sigma**2 * inverse, rel=0.06)


def test_physical_loses_whole_tokens_as_often_as_theory_says():
    config = parse_channel(
        "physical,m=1,snr_db=5,outage_snr_db=5,h_th=0.001,harq_transmissions=2,coherence_ms=10"
    )
    values = values_of(3000, 8)
    received = send(Radio(config), values)
    assert received.erased is not None
    lost = received.erased.all(axis=1)
    assert (received.erased.any(axis=1) == lost).all()
    low, high = stats.binom(3000, special.gammainc(1, 1 / 2)).interval(0.999)
    assert low <= lost.sum() <= high
    assert set(np.unique(received.transmissions)) == {1, 2}
    assert (received.transmissions[lost] == 2).all()


def test_the_rate_follows_the_fade():
    config = parse_channel("physical,bandwidth_mhz=10,snr_db=10,outage_snr_db=-5,coherence_ms=10")
    radio = Radio(config)
    values = values_of(500, 8)
    received = send(radio, values)
    assert received.rate_bps is not None
    lowest = 10e6 * np.log2(1 + 10**-0.5)
    assert received.rate_bps.min() >= lowest * 0.999999
    # Ergodic capacity of Rayleigh fading: B e^(1/γ̄) E_1(1/γ̄) / ln 2, the cut at the bottom aside.
    ergodic = 10e6 * np.exp(0.1) * special.exp1(0.1) / np.log(2)
    assert received.rate_bps.mean() == pytest.approx(ergodic, rel=0.05)


def test_with_a_certain_channel_the_rate_is_shannons():
    received = send(Radio(parse_channel("physical,fading=none,snr_db=20")), values_of(2, 8))
    np.testing.assert_allclose(received.rate_bps, 20e6 * np.log2(101), rtol=1e-6)


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


KNOBS = {
    "fading": ("nakagami", "nakagami,fading=token"),
    "m": ("nakagami,m=1", "nakagami,m=3"),
    "omega": ("nakagami,omega=1", "nakagami,omega=2"),
    "h_th": ("nakagami,h_th=0.1", "nakagami,h_th=0.5"),
    "sigma": ("awgn,sigma=0.1", "awgn,sigma=0.2"),
    "snr_db": ("awgn,snr_db=10", "awgn,snr_db=20"),
    "loss": ("awgn,loss=0", "awgn,loss=0.1"),
    "coherence_ms": (
        "nakagami,fading=block,coherence_ms=26",
        "nakagami,fading=block,coherence_ms=5",
    ),
    "equalizer": ("nakagami", "nakagami,equalizer=zero_forcing"),
    "outage_snr_db": ("physical,outage_snr_db=0", "physical,outage_snr_db=25"),
    "harq_transmissions": (
        "physical,outage_snr_db=25,harq_transmissions=1",
        "physical,outage_snr_db=25,harq_transmissions=8",
    ),
    "seed": ("awgn,seed=0", "awgn,seed=1"),
    "token_interval_ms": (
        "nakagami,fading=block,token_interval_ms=10",
        "nakagami,fading=block,token_interval_ms=50",
    ),
}


@pytest.mark.parametrize("knob", KNOBS)
def test_every_knob_of_the_radio_changes_what_arrives(knob):
    values = values_of(30, 50)
    one, other = (send(Radio(parse_channel(spec)), values) for spec in KNOBS[knob])
    assert fingerprint(one) != fingerprint(other)
