"""Chase combining: how often it fails and how many copies it takes, in both regimes of fading."""

import numpy as np
import pytest
from scipy import special, stats

from channel_emulator import harq, theory
from channel_emulator.draws import Direction, Draws
from channel_emulator.fading import FadingSource
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from channel_emulator.received import Received
from channel_emulator.spec import parse_channel

TOKENS = 4000
MEAN_SNR_DB, LEAST_SNR_DB = 5, 4
RATIO = 10 ** ((LEAST_SNR_DB - MEAN_SNR_DB) / 10)
SURE = 1 - 0.001 / 108
"""Of each interval, so that all of a test's hold together."""

REGIMES = [
    # The round trip is no time, or many coherence times (and none of them another token's).
    ("fading=block,coherence_ms=10,harq_rtt_ms=0", True),
    ("fading=block,coherence_ms=10,harq_rtt_ms=10000,token_interval_ms=7003", False),
    ("fading=token", False),
]


def send(spec: str, tokens: int = TOKENS) -> Received:
    values = np.random.default_rng(0).normal(0, 2, (tokens, 4)).astype(np.float32)
    config = parse_channel(spec)
    return Radio(config).transmit(values, Place.replay(config, tokens))


@pytest.mark.parametrize(("fading", "same_fade"), REGIMES)
@pytest.mark.parametrize("m", [1, 2.5])
@pytest.mark.parametrize("copies", [2, 4])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_failures_and_transmissions_have_their_closed_forms(fading, same_fade, m, copies, seed):
    received = send(
        f"physical,m={m},snr_db={MEAN_SNR_DB},outage_snr_db={LEAST_SNR_DB},h_th=0.001,"
        f"harq_transmissions={copies},{fading},seed={seed}"
    )
    # Shape K m where copies fade by themselves, K times the SNR where they share a fade.
    failures = [
        special.gammainc(m, m * RATIO / k) if same_fade else special.gammainc(k * m, m * RATIO)
        for k in range(1, copies + 1)
    ]
    lost = received.failed[:, 0]
    low, high = stats.binom(TOKENS, failures[-1]).interval(SURE)
    assert low <= lost.sum() <= high
    for k, probability in enumerate(failures[:-1], 1):  # more than k copies: k were not enough
        low, high = stats.binom(TOKENS, probability).interval(SURE)
        assert low <= (received.transmissions > k).sum() <= high
    expected = 1 + sum(failures[:-1])
    error = received.transmissions.std() / np.sqrt(TOKENS)
    assert received.transmissions.mean() == pytest.approx(expected, abs=4 * error)
    assert (received.transmissions[lost] == copies).all()
    erased = np.zeros((1, 1)) if received.erased is None else received.erased
    assert (erased == lost[:, None]).all()


@pytest.mark.parametrize("same_fade", [True, False])
def test_theory_says_the_same(same_fade):
    found = [
        theory.harq_failure_probability(2.5, 1, RATIO, k, same_fade=same_fade) for k in (1, 2, 3)
    ]
    fades = stats.gamma(2.5, scale=1 / 2.5).rvs((200_000, 3), random_state=1)
    gains = fades[:, :1] * np.arange(1, 4) if same_fade else fades.cumsum(axis=1)
    np.testing.assert_allclose(found, (gains < RATIO).mean(axis=0), atol=0.005)
    copies = 1 + (gains[:, :2] < RATIO).sum(axis=1)
    assert theory.expected_transmissions(found) == pytest.approx(copies.mean(), abs=0.005)


def test_a_copy_meets_the_fade_of_its_own_time():
    spec = "physical,m=1,snr_db=5,outage_snr_db=20,h_th=0.001,harq_transmissions=3"
    config = parse_channel(f"{spec},harq_rtt_ms=7,token_interval_ms=7,speed_mps=5")
    received = Radio(config).transmit(np.ones((50, 4), np.float32), Place.replay(config, 50))
    h = FadingSource(config, Draws(0, 0, Direction.UPLINK)).amplitudes(
        Place.replay(config, 52), hidden=4
    )
    combined = np.sqrt(h[:50] ** 2 + h[1:51] ** 2 + h[2:] ** 2)
    all_three = received.transmissions == 3
    assert all_three.sum() > 40
    np.testing.assert_allclose(received.h[all_three], combined[all_three], rtol=1e-6)


def test_time_diversity_helps():
    """The longer the round trip, the further apart the copies' fades."""
    lost = [
        send(
            "physical,m=1,snr_db=5,outage_snr_db=2,h_th=0.001,harq_transmissions=2,"
            f"speed_mps=10,token_interval_ms=99,harq_rtt_ms={rtt}"
        ).failed.mean()
        for rtt in (0, 1.2, 3.3)  # J0 of 2π f_D rtt is 1, 0.81 and 0
    ]
    assert lost[0] > lost[1] + 0.02
    assert lost[1] > lost[2] + 0.02


def test_copies_add_up_in_power():
    found = harq.combine(
        lambda attempt: np.array([[3.0], [4.0], [9.0]], np.float32), lambda gain: gain >= 30, 3
    )
    assert found.transmissions.tolist() == [3, 2, 1]
    assert found.failed.ravel().tolist() == [True, False, False]
    np.testing.assert_allclose(found.h.ravel(), [np.sqrt(27), np.sqrt(32), 9], rtol=1e-6)
    assert found.first.ravel().tolist() == [3, 4, 9]
