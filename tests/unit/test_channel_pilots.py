"""What the receiver can know of the channel, against what the channel is."""

import math

import numpy as np
import pytest

from channel_emulator.config import parse_channel
from channel_emulator.pilots import BLOCKS, FRAMES, PILOTS, Estimator, sound
from channel_emulator.radio import Radio


def estimates(spec, frames=FRAMES, seeds=1, tokens=1, scale=2.0, estimator=None):
    """The last estimate of each of `seeds` runs of `frames` frames."""
    found = []
    for seed in range(seeds):
        config = parse_channel(spec).changed({"seed": seed})
        radio, learner = Radio(config), estimator or Estimator()
        rng = np.random.default_rng(seed)
        for frame in range(frames):
            values = rng.normal(0, scale, (tokens, 192)).astype(np.float32)
            position = frame * tokens
            times_ns = radio.replay_times_ns(position, tokens)
            keys = {"window": 0, "position": position}
            received = radio.transmit(values, stream=1, times_ns=times_ns, **keys)
            pilots = sound(config, radio.draws(1), 0, position, int(times_ns[0]))
            estimate = learner.observe(config, pilots, received)
        found.append(estimate)
    return found


def mean(found, name):
    return float(np.mean([getattr(estimate, name) for estimate in found]))


@pytest.mark.parametrize("m", [0.5, 1, 3])
@pytest.mark.parametrize("sigma", [0.1, 0.5, 1])
@pytest.mark.parametrize("fading", ["element", "token"])
def test_a_window_of_single_tokens_tells_sigma_and_m(m, sigma, fading):
    found = estimates(f"nakagami,m={m},sigma={sigma},h_th=0.2,fading={fading}", seeds=6)
    assert mean(found, "sigma") == pytest.approx(sigma, rel=0.01)
    assert mean(found, "m") == pytest.approx(m, rel=0.15)
    assert mean(found, "omega") == pytest.approx(1, rel=0.05)
    for estimate in found:
        assert estimate.sigma == pytest.approx(sigma, rel=0.05)


def test_noise_is_not_mistaken_for_fading():
    """Without the correction m = 3 at 10 dB of SNR reads near 2.6, and at 0 dB near 1.1."""
    for sigma in (10 ** (-10 / 20), 1.0):
        found = estimates(f"nakagami,m=3,sigma={sigma}", seeds=40)
        assert mean(found, "m") == pytest.approx(3, rel=0.06)


def test_the_spread_is_found():
    assert mean(estimates("nakagami,omega=4,sigma=0.5", seeds=4), "omega") == pytest.approx(4, 0.1)


def test_a_channel_that_does_not_fade_has_infinite_m():
    for spec in ("awgn,sigma=0.5", "awgn,sigma=2", "awgn,snr_db=5", "erasure"):
        (found,) = estimates(spec)
        assert found.m == math.inf
        assert found.omega == pytest.approx(1, rel=0.1)


def test_loss_is_what_the_mask_says():
    (found,) = estimates("erasure,loss=0.2")
    assert found.loss == pytest.approx(0.2, abs=0.015)
    (found,) = estimates("nakagami,m=1,h_th=0.4724")
    assert found.loss == pytest.approx(0.2, abs=0.015)


@pytest.mark.parametrize("scale", [0.1, 2, 50])
def test_with_an_snr_sigma_is_on_the_payloads_scale(scale):
    (found,) = estimates("awgn,snr_db=10", scale=scale)
    assert found.sigma == pytest.approx(scale * 10 ** (-10 / 20), rel=0.05)
    assert found.snr_db == pytest.approx(10, abs=0.5)


def test_snr_is_received_power_over_noise():
    (found,) = estimates("awgn,sigma=0.5", scale=2)
    assert found.snr_db == pytest.approx(20 * math.log10(2 / 0.5), abs=0.3)
    (found,) = estimates("nakagami,omega=4,sigma=0.5,h_th=0", scale=2)
    assert found.snr_db == pytest.approx(20 * math.log10(2 * 2 / 0.5), abs=0.5)


def test_sigma_is_that_of_equalised_values():
    spec = "nakagami,m=2,fading=token,sigma=0.2,h_th=0.3,equalizer=zero_forcing"
    config = parse_channel(spec)
    radio = Radio(config)
    values = np.ones((4000, 16), np.float32)
    received = radio.transmit(
        values, stream=1, window=0, position=0, times_ns=radio.replay_times_ns(0, 4000)
    )
    assert mean(estimates(spec, seeds=6), "sigma") == pytest.approx(received.truth.sigma, rel=0.05)


def test_a_change_is_learnt_within_the_window():
    learner = Estimator()
    estimates("nakagami,sigma=0.1", estimator=learner)
    (found,) = estimates("nakagami,sigma=1", frames=FRAMES, estimator=learner)
    assert found.sigma == pytest.approx(1, rel=0.05)


def test_what_cannot_be_known_is_not_a_number():
    # One frame whose pilots drown: not even their power can be told from zero.
    (found,) = estimates("nakagami,sigma=50", frames=1)
    assert math.isnan(found.m)
    # Nothing arrives, so nothing is known of the power.
    (found,) = estimates("nakagami,h_th=1000", frames=1)
    assert found.loss == 1
    assert math.isnan(found.snr_db)


def test_within_a_block_pilots_meet_the_fade_of_the_data():
    config = parse_channel("nakagami,fading=block,sigma=0")
    radio = Radio(config)
    values = np.ones((1, 8), np.float32)
    received = radio.transmit(
        values, stream=1, window=0, position=0, times_ns=radio.replay_times_ns(0, 1)
    )
    pilots = sound(config, radio.draws(1), 0, 0, 0)
    assert pilots.shape == (BLOCKS, PILOTS)
    np.testing.assert_allclose(pilots, received.truth.mean_gain)
