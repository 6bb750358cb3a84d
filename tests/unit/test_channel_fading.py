"""h against closed forms: scipy.stats.nakagami is the independent source."""

import numpy as np
import pytest
from scipy import special, stats

from channel_emulator import harq
from channel_emulator.config import parse_channel
from channel_emulator.draws import Direction, Draws
from channel_emulator.fading import FadingSource, outage_probability, threshold_of_outage

SHAPES = [0.5, 0.75, 1, 2.5, 10]


def source(spec: str) -> FadingSource:
    config = parse_channel(spec)
    return FadingSource(config, Draws(config.seed, 1, Direction.UPLINK))


@pytest.mark.parametrize("m", SHAPES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_elements_are_nakagami(m, seed):
    h = source(f"nakagami,m={m},omega=2,seed={seed}").amplitudes(0, 0, np.zeros(64, np.int64), 2048)
    h = h.ravel().astype(np.float64)
    # 15 tests at once: 0.0001 each keeps the chance of a false alarm near 0.1 %.
    assert stats.kstest(h, stats.nakagami(m, scale=np.sqrt(2)).cdf).pvalue > 0.0001
    mean = special.gamma(m + 0.5) / special.gamma(m) * np.sqrt(2 / m)
    assert h.mean() == pytest.approx(mean, rel=0.01)
    assert np.square(h).mean() == pytest.approx(2, rel=0.03)


@pytest.mark.parametrize("m", SHAPES)
@pytest.mark.parametrize("fading", ["token", "block"])
def test_tokens_and_blocks_are_nakagami(m, fading):
    # One sample per token or per block: independent realisations.
    times = np.arange(3000) * 100_000_000
    h = source(f"nakagami,m={m},fading={fading}").amplitudes(0, 0, times, hidden=8)
    assert h.shape == (3000, 1)
    assert stats.kstest(h.ravel(), stats.nakagami(m).cdf).pvalue > 0.001


def test_special_cases_have_their_names():
    h = source("nakagami,m=0.5").amplitudes(0, 0, np.zeros(20, np.int64), 1000).ravel()
    assert stats.kstest(h, stats.halfnorm.cdf).pvalue > 0.001
    h = source("nakagami,m=1").amplitudes(0, 0, np.zeros(20, np.int64), 1000).ravel()
    assert stats.kstest(h, stats.rayleigh(scale=np.sqrt(0.5)).cdf).pvalue > 0.001
    h = source("nakagami,m=10000").amplitudes(0, 0, np.zeros(20, np.int64), 1000)
    assert h.std() == pytest.approx(0.005, rel=0.05)


def test_outage_has_its_closed_form():
    for m, h_th in [(0.5, 0.1257), (1, 0.3246), (2, 0.5157), (3, 0.6061)]:
        assert outage_probability(m, 1, h_th) == pytest.approx(0.1, abs=2e-4)
        assert threshold_of_outage(m, 1, 0.1) == pytest.approx(h_th, abs=1e-4)
        assert outage_probability(m, 1, h_th) == pytest.approx(stats.nakagami(m).cdf(h_th))


def test_a_block_holds_its_h():
    fading = source("nakagami,fading=block,coherence_ms=20")
    times = np.arange(100) * 3_000_000
    h = fading.amplitudes(0, 0, times, hidden=4).ravel()
    blocks = times // 20_000_000
    assert len(np.unique(h)) == len(np.unique(blocks))
    for block in np.unique(blocks):
        assert len(np.unique(h[blocks == block])) == 1
    # It is a function of time alone, not of the window, the position or the call.
    later = fading.amplitudes(7, 1234, times[50:60], hidden=4).ravel()
    np.testing.assert_array_equal(later, h[50:60])


def test_another_attempt_meets_another_fade_except_within_a_block():
    times = np.arange(10) * 1_000_000
    token, block = source("nakagami,fading=token"), source("nakagami,fading=block")
    assert (token.amplitudes(0, 0, times, 1, 0) != token.amplitudes(0, 0, times, 1, 1)).all()
    assert (block.amplitudes(0, 0, times, 1, 0) == block.amplitudes(0, 0, times, 1, 1)).all()


@pytest.mark.parametrize(("fading", "m"), [("block", 1), ("block", 2.5), ("token", 1)])
@pytest.mark.parametrize("copies", [1, 2, 4])
def test_harq_fails_as_often_as_theory_says(fading, m, copies):
    tokens, mean_snr, least = 4000, 10 ** (5 / 10), 10 ** (4 / 10)
    fades = source(f"physical,fading={fading},m={m}")
    times = np.arange(tokens) * 100_000_000
    found = harq.combine(
        lambda attempt: fades.amplitudes(0, 0, times, 1, attempt),
        lambda gain: gain * mean_snr >= least,
        copies,
    )
    if fading == "block":
        expected = harq.failure_probability(m, mean_snr, least, copies)
    else:
        expected = special.gammainc(copies * m, m * least / mean_snr)
    low, high = stats.binom(tokens, expected).interval(0.999)
    assert low <= found.failed.sum() <= high
    # A copy is sent as long as those before it were not enough.
    assert (found.transmissions[found.failed[:, 0]] == copies).all()
    assert found.transmissions.min() == 1


def test_copies_add_up_in_power():
    found = harq.combine(
        lambda attempt: np.array([[3.0], [4.0], [9.0]], np.float32)[:, :1],
        lambda gain: gain >= 30,
        3,
    )
    assert found.transmissions.tolist() == [3, 2, 1]
    assert found.failed.ravel().tolist() == [True, False, False]
    np.testing.assert_allclose(found.h.ravel(), [np.sqrt(27), np.sqrt(32), 9], rtol=1e-6)
    assert found.first.ravel().tolist() == [3, 4, 9]
