"""What the receiver can know of the channel, against what the channel is."""

import math

import numpy as np
import pytest

from airsplit.clock import VirtualClock
from airsplit.v1 import edge_pb2
from channel_emulator.draws import Direction, Draws
from channel_emulator.kernels.estimators import cramer_rao_bound
from channel_emulator.pilots import (
    BLOCKS,
    FRAMES,
    MOST_FRAMES,
    NOISE_FRAMES,
    PILOTS,
    Estimator,
    sound,
    sound_tokens,
)
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from channel_emulator.session import Session
from channel_emulator.spec import parse_channel
from channel_emulator.timeline import Timeline
from channel_emulator.travel import ONE, Anchor, Travel
from tests.channel_replay import message


def run(spec, frames=FRAMES, seed=0, tokens=1, scale=2.0, estimator=None):
    """What the receiver estimates after each frame, and what it received."""
    config = parse_channel(spec).changed({"seed": seed})
    radio, learner = Radio(config), estimator or Estimator()
    rng = np.random.default_rng(seed)
    for frame in range(frames):
        values = rng.normal(0, scale, (tokens, 192)).astype(np.float32)
        place = Place.replay(config, tokens, stream=1, position=frame * tokens, sequence=frame)
        received = radio.transmit(values, place)
        pilots = sound(config, radio.draws(1), place)
        token_pilots = sound_tokens(config, radio.draws(1), place, received)
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
    means = []
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
        means.append(np.mean(ratios))
        # One deep fade alone makes up most of the noise where eight tokens are all there is.
        assert min(ratios) > 0.6
    assert np.mean(means) == pytest.approx(1, abs=0.05)  # one of them is good to 0.03


def test_an_absolute_sigma_does_not_depend_on_the_payloads_power():
    spec = "nakagami,m=100,fading=token,sigma=0.2,h_th=0.3,equalizer=zero_forcing"
    for scale in (0.1, 30):
        (found,) = estimates(spec, scale=scale)
        assert found.sigma == pytest.approx(0.2, rel=0.1)


def test_sigma_of_elements_that_fade_alone_is_that_of_equalised_values():
    spec = "nakagami,m=2,fading=element,sigma=0.2,h_th=0.3,equalizer=zero_forcing"
    radio = Radio(parse_channel(spec))
    values = np.ones((4000, 16), np.float32)
    received = radio.transmit(values, Place.replay(radio.config, 4000, stream=1))
    assert mean(estimates(spec, seeds=12), "sigma") == pytest.approx(received.truth.sigma, rel=0.05)


def test_with_an_snr_each_token_has_noise_of_its_own_power():
    """The first token of a text is often a hundred times as large as the others."""
    config = parse_channel("physical,snr_db=10,outage_snr_db=0,fading=token")
    radio, learner = Radio(config), Estimator()
    values = np.random.default_rng(0).normal(0, 1, (32, 192)).astype(np.float32)
    values[0] *= 100
    for position in range(0, 32 * NOISE_FRAMES, 32):
        place = Place.replay(config, 32, stream=1, position=position)
        received = radio.transmit(values, place)
        pilots = sound(config, radio.draws(1), place)
        token_pilots = sound_tokens(config, radio.draws(1), place, received)
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
    assert math.isnan(found.omega)
    # Nothing arrives, so nothing is known of the power.
    (found,) = estimates("nakagami,h_th=1000", frames=1)
    assert found.loss == 1
    assert math.isnan(found.snr_db)


@pytest.mark.parametrize("fading", ["frame", "block", "copula", "sum_of_squares"])
def test_where_h_is_held_pilots_meet_the_fade_of_the_data(fading):
    config = parse_channel(f"nakagami,fading={fading},sigma=0")
    radio = Radio(config)
    place = Place.replay(config, 2, stream=1, position=40)
    received = radio.transmit(np.ones((2, 8), np.float32), place)
    pilots = sound(config, radio.draws(1), place).received
    assert pilots.shape == (1, BLOCKS * PILOTS)
    np.testing.assert_allclose(pilots, received.h[0, 0])


def direct(spec, frames=FRAMES, seed=0):
    """What pilots alone tell: no payload to speak of, so that many runs take little time."""
    config = parse_channel(spec).changed({"seed": seed})
    draws, learner = Draws(seed, 1, Direction.UPLINK), Estimator()
    values = np.ones((1, 8), np.float32)
    idle = Radio(parse_channel("ideal")).transmit(values, Place.replay(config, 1))
    for position in range(frames):
        pilots = sound(config, draws, Place.replay(config, 1, position=position))
        estimate = learner.observe(config, pilots, None, idle)
    return estimate


def shapes(spec, runs, **options):
    return np.array([direct(spec, seed=seed, **options).m for seed in range(runs)])


@pytest.mark.parametrize("m", [0.5, 1, 3, 10])
@pytest.mark.parametrize("noise", ["sigma=0", "sigma=0.01"])
def test_clean_pilots_give_m_at_the_bound(m, noise):
    """The window holds 1024 samples; moments would be twice as wide at m = 0.5."""
    found = shapes(f"nakagami,fading=token,m={m},{noise}", 60)
    root = math.sqrt(cramer_rao_bound(m, FRAMES * BLOCKS))
    assert math.sqrt(np.mean((found - m) ** 2)) < 1.3 * root
    assert found.mean() == pytest.approx(m, abs=4 * root / math.sqrt(60))


NOISY = [(m, snr_db) for m in (0.5, 1, 3, 10) for snr_db in (0, 10, 15, 20)]


@pytest.mark.parametrize(("m", "snr_db"), [case for case in NOISY if case != (10, 0)])
def test_noise_biases_m_by_less_than_its_own_error(m, snr_db):
    """Where noise can hide fading, m = 10 at 0 dB, the estimate ends: see the next test. The mean
    is good to a fifth of 13 %, the widest error here (m = 3 at 0 dB)."""
    found = shapes(f"nakagami,fading=token,m={m},snr_db={snr_db}", 25)
    assert np.isfinite(found).all()
    assert found.mean() == pytest.approx(m, rel=max(0.05, 3 * found.std() / m / 5))
    assert found.std() < 0.15 * m


def test_the_first_frame_gives_m_without_the_bias_of_few_samples():
    """Ω̂²/V̂ of 16 blocks overstates m by a fifth, and by 6 % more with V̂ about the samples' own
    mean. Over 400 runs its mean is good to 2.5 %."""
    found = shapes("nakagami,fading=token,m=3,snr_db=15", 400, frames=1)
    assert np.isfinite(found).all()
    assert found.mean() == pytest.approx(3, rel=0.09)
    assert np.mean(1 / found) == pytest.approx(1 / 2.6, rel=0.06)


def test_fading_that_noise_hides_is_not_told():
    # Weak fading in noise that would show m = 2: as good as none.
    assert np.isinf(shapes("nakagami,fading=token,m=50,snr_db=-5", 10)).sum() >= 9
    # In noise that would hide m = 2, no fading cannot be told from fading.
    assert np.isnan(shapes("awgn,sigma=4", 10)).sum() >= 9


@pytest.mark.parametrize("noise", ["sigma=0", "snr_db=10"])
@pytest.mark.parametrize("fading", ["copula", "sum_of_squares", "block"])
@pytest.mark.parametrize("m", [0.5, 3])
def test_where_h_is_held_m_takes_many_coherence_times(fading, m, noise):
    spec = f"nakagami,fading={fading},m={m},{noise}"
    # 150 ms are less than six coherence times: nothing can be said.
    assert np.isnan(shapes(spec, 3, frames=15)).all()
    # After 512 frames, 64 fades or more: m to 18 % or better.
    found = shapes(spec, 12, frames=MOST_FRAMES)
    assert found.mean() == pytest.approx(m, rel=0.15)
    assert np.abs(found / m - 1).max() < 0.6


def test_an_h_that_never_changes_tells_nothing_of_its_distribution():
    for fading in ("block", "copula"):
        estimate = direct(f"nakagami,fading={fading},speed_mps=0,sigma=0.1", frames=200)
        assert math.isnan(estimate.m)
        assert math.isnan(estimate.omega)
        assert estimate.sigma == pytest.approx(0.1, rel=0.05)


SLOW = [0.01, 0.03, 0.02, 0.0, 0.04]
"""Metres per second: a UE nearly at rest takes a second to a coherence time."""


def walked(fading, speeds, stretch_ns, frames):
    """A session that walks on at another speed after each stretch, and its last estimate."""
    changes = [
        (number * stretch_ns, {"speed_mps": speeds[number % len(speeds)]})
        for number in range(frames * 10_000_000 // stretch_ns + 1)
    ]
    timeline = Timeline.compiled(changes, parse_channel(f"nakagami,fading={fading},snr_db=30"))
    opened = edge_pb2.OpenSession(session_id="s", ue_id="ue", stream=1)
    session = Session(opened, VirtualClock())
    values = np.ones((1, 8), np.float32)
    for number in range(frames):
        frame = message(values, number, number)
        session.carry_frame(frame, timeline, number)
    return frame.header.channel.estimate


@pytest.mark.parametrize("fading", ["copula", "sum_of_squares", "block"])
def test_a_ue_nearly_at_rest_tells_nothing_however_its_speed_changes(fading):
    """Six seconds are three coherence times."""
    estimate = walked(fading, SLOW, 100_000_000, 600)
    assert math.isnan(estimate.m)
    assert math.isnan(estimate.omega)
    assert math.isfinite(estimate.sigma)


@pytest.mark.parametrize(("fading", "times"), [("copula", 2), ("sum_of_squares", 2), ("block", 1)])
def test_fades_are_counted_by_the_coherence_times_so_far(fading, times):
    """A block is a fade; of a process one that is over after two coherence times, which are
    0.423 cycles each."""
    config = parse_channel(f"nakagami,fading={fading},speed_mps=3")
    draws, coherence_ns = Draws(0, 1, Direction.UPLINK), config.coherence_ns
    for speed, before in ((3, 0), (7.5, 0), (0, 41.5), (3, 41.5), (7.5, 41.5)):
        here = config.changed({"speed_mps": speed})
        anchor = Anchor(10**9, Travel(blocks=round(before * ONE)))
        for passed in (0, 0.3, 1.2, 1.7, 3.9, 4.1):
            since_ns = round(passed * coherence_ns)
            times_ns = np.array([10**9 + since_ns])
            place = Place.replay(here, 1)._replace(times_ns=times_ns, anchor=anchor)
            expected = int((before + passed * speed / 3) // times)
            assert sound(here, draws, place).fade == expected
        late = place._replace(times_ns=np.array([10**9 - 3 * coherence_ns]))
        assert sound(here, draws, late).fade == int(before // times)


def test_estimates_of_h_follow_a_change_within_the_window_however_long_ago_it_began():
    learner = Estimator()
    # So many that the window of the last estimate lies across the end of the estimator's memory.
    estimates("nakagami,m=1,omega=1", frames=2 * MOST_FRAMES - 10, estimator=learner)
    (found,) = estimates("nakagami,m=1,omega=4", estimator=learner)
    (fresh,) = estimates("nakagami,m=1,omega=4")
    assert found == fresh


def test_a_deep_fade_is_no_error():
    """A float32 h may be zero, and where nothing is equalised its logarithm would be -inf."""
    config = parse_channel("nakagami,fading=token,sigma=0")
    radio = Radio(config)
    place = Place.replay(config, 1)
    received = radio.transmit(np.ones((1, 8), np.float32), place)
    pilots = sound(config, radio.draws(0), place)
    pilots.received[3] = 0
    estimate = Estimator().observe(config, pilots, None, received)
    assert 0 < estimate.m < 1
    assert math.isfinite(estimate.omega)


@pytest.mark.parametrize("loss_unit", ["element", "token", "frame", "packet"])
def test_what_is_lost_counts_as_loss_and_in_nothing_else(loss_unit):
    packets = ",packet_bytes=300" if loss_unit == "packet" else ""
    met = list(run(f"awgn,snr_db=10,loss=0.3,loss_unit={loss_unit}{packets}", 60, tokens=4))
    lost = [0 if frame.erased is None else frame.erased.mean() for _, frame in met]
    estimate = met[-1][0]
    assert estimate.loss == pytest.approx(np.mean(lost))
    assert 0 < estimate.loss < 1
    assert estimate.sigma == pytest.approx(2 * 10 ** (-10 / 20), rel=0.1)
    assert estimate.snr_db == pytest.approx(10, abs=0.7)


@pytest.mark.parametrize("reference", ["token", "tensor", "inliers"])
@pytest.mark.parametrize("loss", ["", ",loss=0.5,loss_unit=token"])
def test_sigma_is_that_of_the_power_reference(reference, loss):
    """One token is a hundred times the others and one element of each is an outlier: the noise on
    what arrives is the truth of each frame, whatever the SNR refers to."""
    config = parse_channel(f"awgn,snr_db=10,power_reference={reference}{loss}")
    radio = Radio(config)
    values = np.random.default_rng(0).normal(0, 1, (8, 512)).astype(np.float32)
    values[:, 7] = 500
    values[0] *= 100
    for position in range(0, 80, 8):
        place = Place.replay(config, 8, stream=1, position=position)
        received = radio.transmit(values, place)
        if received.erased is not None and received.erased.all():
            continue
        estimate = Estimator().observe(config, sound(config, radio.draws(1), place), None, received)
        assert estimate.sigma == pytest.approx(received.truth.sigma, rel=0.3)
