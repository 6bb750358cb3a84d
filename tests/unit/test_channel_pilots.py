"""What the receiver can know of the channel, against what the channel is."""

import math

import numpy as np
import pytest

from channel_emulator.config import parse_channel
from channel_emulator.pilots import (
    BLOCKS,
    FRAMES,
    NOISE_FRAMES,
    PILOTS,
    Estimator,
    sound,
    sound_tokens,
)
from channel_emulator.radio import Radio


def run(spec, frames=FRAMES, seed=0, tokens=1, scale=2.0, estimator=None):
    """What the receiver estimates after each frame, and what it received."""
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
        token_pilots = sound_tokens(config, radio.draws(1), 0, position, received)
        yield learner.observe(config, pilots, token_pilots, received), received


def estimates(spec, seeds=1, **options):
    """The last estimate of each of `seeds` runs."""
    found = []
    for seed in range(seeds):
        *_, (estimate, _) = run(spec, seed=seed, **options)
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
    """Eight frames of 192 values give it to 0.25 dB, so that the mean of 25 runs is good to 0.05;
    where each value fades alone its power varies more, and one run is good to 0.3 dB."""
    found = estimates("awgn,sigma=0.5", scale=2, seeds=25)
    assert mean(found, "snr_db") == pytest.approx(20 * math.log10(2 / 0.5), abs=0.2)
    found = estimates("nakagami,omega=4,sigma=0.5,h_th=0", scale=2, seeds=25)
    assert mean(found, "snr_db") == pytest.approx(20 * math.log10(2 * 2 / 0.5), abs=0.25)


HARQ = [
    "physical,snr_db=3,outage_snr_db=6,fading=token",
    "physical,snr_db=6,outage_snr_db=3,fading=token",
    "physical,snr_db=3,outage_snr_db=6",
    "physical,snr_db=3,outage_snr_db=6,fading=token,loss=0.2",
    "physical,snr_db=3,outage_snr_db=6,fading=none,harq_transmissions=3",
    "physical,snr_db=20,outage_snr_db=0,fading=token",
    "nakagami,m=2,fading=token,sigma=0.2,h_th=0.3,equalizer=zero_forcing",
    "nakagami,m=2,fading=block,sigma=0.2,h_th=0.3,equalizer=zero_forcing",
]


@pytest.mark.parametrize("tokens", [1, 5])
@pytest.mark.parametrize("spec", HARQ)
def test_sigma_is_that_of_the_values_which_are_delivered(spec, tokens):
    """Copies that were combined and tokens that were given up are counted as the receiver knows
    them: the estimate is the noise that really is on the newest frames, good to its 896 degrees of
    freedom."""
    for seed in range(3):
        newest, ratios, estimated, true = [], [], [], []
        for estimate, received in run(spec, seed=seed, tokens=tokens, scale=1.0):
            erased = 0 if received.erased is None else np.count_nonzero(received.erased)
            delivered = received.values.size - erased
            if delivered:
                newest.append((delivered, received.truth.sigma**2))
                estimated.append(estimate.sigma**2)
                true.append(newest[-1])
            if len(newest) >= NOISE_FRAMES:
                counts, variances = np.array(newest[-NOISE_FRAMES:]).T
                ratios.append(estimate.sigma / math.sqrt(np.average(variances, weights=counts)))
                assert math.isfinite(estimate.snr_db)
        counts, variances = np.array(true).T
        rms = math.sqrt(np.average(variances, weights=counts))
        assert math.sqrt(np.mean(estimated)) == pytest.approx(rms, rel=0.1)
        assert np.mean(ratios) == pytest.approx(1, abs=0.06)
        # One deep fade alone makes up most of the noise where eight tokens are all there is.
        assert min(ratios) > 0.7
        assert max(ratios) < 1.4


def test_sigma_of_elements_that_fade_alone_is_that_of_equalised_values():
    spec = "nakagami,m=2,fading=element,sigma=0.2,h_th=0.3,equalizer=zero_forcing"
    radio = Radio(parse_channel(spec))
    received = radio.transmit(
        np.ones((4000, 16), np.float32),
        stream=1,
        window=0,
        position=0,
        times_ns=radio.replay_times_ns(0, 4000),
    )
    assert mean(estimates(spec, seeds=12), "sigma") == pytest.approx(received.truth.sigma, rel=0.05)


def test_with_an_snr_each_token_has_noise_of_its_own_power():
    """The first token of a text is often a hundred times as large as the others."""
    config = parse_channel("physical,snr_db=10,outage_snr_db=0,fading=token")
    radio, learner = Radio(config), Estimator()
    values = np.random.default_rng(0).normal(0, 1, (32, 192)).astype(np.float32)
    values[0] *= 100
    for position in range(0, 32 * NOISE_FRAMES, 32):
        times_ns = radio.replay_times_ns(position, 32)
        received = radio.transmit(values, stream=1, window=0, position=position, times_ns=times_ns)
        pilots = sound(config, radio.draws(1), 0, position, 0)
        token_pilots = sound_tokens(config, radio.draws(1), 0, position, received)
        alone = Estimator().observe(config, pilots, token_pilots, received)
        assert alone.sigma == pytest.approx(received.truth.sigma, rel=0.3)
        learner.observe(config, pilots, token_pilots, received)


@pytest.mark.parametrize(
    ("before", "after", "sigma"),
    [
        ("nakagami,sigma=0.1", "nakagami,sigma=2", 2),
        ("nakagami,sigma=2", "nakagami,sigma=0.1", 0.1),
        ("physical,snr_db=20,fading=none", "physical,snr_db=3,fading=none", 2 * 10 ** (-3 / 20)),
    ],
)
def test_sigma_follows_a_change_within_the_newest_frames(before, after, sigma):
    learner = Estimator()
    estimates(before, estimator=learner)
    (found,) = estimates(after, frames=NOISE_FRAMES, estimator=learner)
    assert found.sigma == pytest.approx(sigma, rel=0.1)


def test_frames_that_are_lost_tell_nothing_and_leave_what_was_known():
    learner = Estimator()
    (before,) = estimates("physical,fading=none,snr_db=10", estimator=learner)
    lost = "physical,fading=none,snr_db=10,outage_snr_db=20,harq_transmissions=1"
    (after,) = estimates(lost, frames=20, estimator=learner)
    assert (after.sigma, after.snr_db) == (before.sigma, before.snr_db)
    assert after.loss == pytest.approx(20 / FRAMES)


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
