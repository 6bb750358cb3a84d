"""The SNR is the one that was set, whatever it refers to; σ is absolute."""

import math

import numpy as np
import pytest

from airsplit.v1 import edge_pb2
from channel_emulator import codec, noise
from channel_emulator.knobs import PowerReference
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from channel_emulator.received import Received
from channel_emulator.spec import parse_channel

REFERENCES = list(PowerReference)
MASSIVE = [17, 433]


def activations(tokens: int = 260, hidden: int = 4096, seed: int = 0) -> np.ndarray:
    """Tokens of powers 30 dB apart, one without any; every third has two massive elements."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (tokens, hidden)) * np.geomspace(0.1, 3, tokens)[:, None]
    values[0] = 0
    values[1::3, MASSIVE] *= 3000
    return values.astype(np.float32)


def send(spec: str, values: np.ndarray) -> Received:
    config = parse_channel(spec)
    return Radio(config).transmit(values, Place.replay(config, len(values)))


def expected_power(values: np.ndarray, reference: PowerReference) -> np.ndarray:
    """By the definitions, in float64: the massive elements are known."""
    squares = np.square(values, dtype=np.float64)
    if reference is PowerReference.TENSOR:
        return np.full(len(values), squares.mean())
    if reference is PowerReference.INLIERS:
        squares[1::3, MASSIVE] = np.nan
        return np.nanmean(squares, axis=1)
    return squares.mean(axis=1)


def measured_db(received: np.ndarray, sent: np.ndarray, power: np.ndarray) -> float:
    """Mean reference power over the mean error, relative to it, of the tokens that have power."""
    has = power > 0
    error = np.square(received[has].astype(np.float64) - sent[has]).mean(axis=1)
    return -10 * math.log10((error / power[has]).mean())


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("snr_db", [-10, 0, 10, 25, 40])
def test_snr_is_what_was_set(reference, snr_db):
    values = activations()
    received = send(f"awgn,snr_db={snr_db},power_reference={reference},seed={snr_db + 10}", values)
    power = expected_power(values, reference)
    np.testing.assert_allclose(received.power, power, rtol=1e-5)
    assert measured_db(received.values, values, power) == pytest.approx(snr_db, abs=0.05)
    # What the truth says is the ratio of the tensors' powers, and the root of the noise's.
    error = received.values.astype(np.float64) - values
    total = 10 * np.log10(np.square(values, dtype=np.float64).sum() / np.square(error).sum())
    assert received.truth.snr_db == pytest.approx(total, abs=1e-3)
    assert received.truth.sigma == pytest.approx(math.sqrt(np.square(error).mean()), rel=1e-3)


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("snr_db", [-10, 10, 30])
def test_snr_survives_bfloat16(reference, snr_db):
    dtype = edge_pb2.DTYPE_BFLOAT16
    values = activations()
    # A massive element is rounded by more than the noise of the others: it is not part of this.
    if reference is not PowerReference.TOKEN:
        values[1::3, MASSIVE] /= 3000
    sent = codec.decode(codec.encode(values, dtype), dtype, values.shape)
    received = send(f"awgn,snr_db={snr_db},power_reference={reference}", sent)
    arrived = codec.decode(codec.encode(received.values, dtype), dtype, values.shape)
    if reference is PowerReference.TENSOR:  # of one token's noise, with the power of all
        sent, arrived = sent[200:], arrived[200:]
    power = received.power[-len(sent) :]
    assert measured_db(arrived, sent, power) == pytest.approx(snr_db, abs=0.05)


@pytest.mark.parametrize("reference", REFERENCES)
def test_a_tensor_of_zeros_has_no_noise_under_an_snr(reference):
    received = send(f"awgn,snr_db=0,power_reference={reference}", np.zeros((4, 4096), np.float32))
    assert not received.values.any()
    assert received.truth.sigma == 0
    assert math.isnan(received.truth.snr_db)


def test_a_token_of_zeros_has_the_noise_of_the_tensor_alone():
    values = activations(30, 512)
    for reference in REFERENCES:
        received = send(f"awgn,snr_db=0,power_reference={reference}", values)
        assert received.values[0].any() == (reference is PowerReference.TENSOR)
        assert (received.values[1] != values[1]).all()


def test_sigma_is_absolute():
    for scale in (0.1, 50):
        values = activations(64, 2048) * np.float32(scale)
        received = send("awgn,sigma=0.5", values)
        assert (received.values[::3] - values[::3]).std() == pytest.approx(0.5, rel=0.01)
        assert received.truth.sigma == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("draw", ["normal", "laplace", "uniform"])
@pytest.mark.parametrize("hidden", [64, 512, 4096, 5000])
def test_ordinary_values_are_inliers(draw, hidden):
    values = getattr(np.random.default_rng(1), draw)(-1, 1, (300, hidden)).astype(np.float32)
    values -= values.mean()
    received = send("awgn,snr_db=10,power_reference=inliers", values)
    # A token may lose a lone value of the widest of these tails.
    power = np.square(values).mean(axis=1)
    np.testing.assert_allclose(received.power, power, rtol=0.1)
    assert received.power.mean() == pytest.approx(power.mean(), rel=1e-3)


@pytest.mark.parametrize("largest", [20, 20.5])
def test_an_outlier_is_beyond_twenty_medians(largest):
    values = np.ones((1, 100), np.float32)
    values[0, ::2] *= -1
    values[0, 10] = -largest
    config = parse_channel("awgn,snr_db=10,power_reference=inliers")
    (found,) = noise.reference_power(config, values, noise.token_power(values))
    assert found == pytest.approx(1.0 if largest > 20 else (99 + 20**2) / 100, rel=1e-6)


def test_outliers_do_not_move_the_limit():
    values = np.random.default_rng(2).normal(0, 1, (50, 1024)).astype(np.float32)
    clean = noise.token_power(values)
    values[:, ::100] = 1e4  # more than one in a hundred
    config = parse_channel("awgn,snr_db=10,power_reference=inliers")
    found = noise.reference_power(config, values, noise.token_power(values))
    np.testing.assert_allclose(found, clean, rtol=0.05)
    # Where most elements are 0 there is no telling: all count.
    values[:] = 0
    values[:, 0] = 5
    found = noise.reference_power(config, values, noise.token_power(values))
    np.testing.assert_allclose(found, 25 / 1024)


def test_power_of_values_at_the_ends_of_float32():
    values = np.outer([1e-30, 1e-19, 1, 1e19, 3e38], np.ones(64)).astype(np.float32)
    expected = np.square(values[:, 0].astype(np.float64))
    found = noise.token_power(values)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    # A token's power is its own, whatever stands beside it.
    np.testing.assert_array_equal(noise.token_power(values[2:3]), found[2:3])


def test_noise_is_added_in_float32():
    """60 dB are beyond bfloat16, but not beyond the noise that meets decoded values."""
    dtype = edge_pb2.DTYPE_BFLOAT16
    values = activations(60)
    sent = codec.decode(codec.encode(values, dtype), dtype, values.shape)
    received = send("awgn,snr_db=60", sent)
    power = expected_power(sent, PowerReference.TOKEN)
    assert measured_db(received.values, sent, power) == pytest.approx(60, abs=0.05)
