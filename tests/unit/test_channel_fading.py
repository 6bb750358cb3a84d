"""h against closed forms: scipy.stats.nakagami is the independent source of the distribution, and
each correlated generator is held to the formulas of that generator."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import special, stats

from channel_emulator import copula, harq, theory
from channel_emulator.draws import Direction, Draws
from channel_emulator.fading import FadingSource
from channel_emulator.place import Place
from channel_emulator.spec import parse_channel

SHAPES = [0.5, 0.75, 1, 2.5, 10]
CORRELATED = ["copula", "sum_of_squares"]
EVERY = ["element", "token", "block", *CORRELATED]
SPEED = "speed_mps=0.856549880"
"""A Doppler frequency of 10 Hz at 3.5 GHz."""


def place_at(times_ns, window=0, position=0, stream=1):
    return Place(stream, window, position, position, 0, np.asarray(times_ns, dtype=np.int64))


def source(spec, stream=1, direction=Direction.UPLINK):
    config = parse_channel(spec)
    return FadingSource(config, Draws(config.seed, stream, direction))


def amplitudes(spec, times_ns, stream=1):
    """float64 [tokens] of a fading without elements."""
    h = source(spec, stream).amplitudes(place_at(times_ns), hidden=8)
    assert h.dtype == np.float32
    assert h.shape == (len(times_ns), 1)
    return h[:, 0].astype(np.float64)


def decorrelated(spec, streams=300, times=30):
    """Of independent realisations, each at times of many coherence times apart."""
    times_ns = np.arange(times) * 7_310_000_000
    return np.concatenate([amplitudes(spec, times_ns, stream) for stream in range(streams)])


def passes(h, m, omega, tests):
    """Kolmogorov-Smirnov; Bonferroni holds the false alarms of all `tests` together at 0.1 %."""
    return stats.kstest(h, stats.nakagami(m, scale=np.sqrt(omega)).cdf).pvalue > 0.001 / tests


def has_moments(h, m, omega):
    """E h, E h², Var h² = Ω²/m, each within 4.5 standard errors."""
    mean = special.gamma(m + 0.5) / special.gamma(m) * np.sqrt(omega / m)
    variance = omega**2 / m
    gain = h**2
    fourth = 3 * variance**2 * (1 + 2 / m)  # of gamma: kurtosis 3 + 6/m
    limit = 4.5 / np.sqrt(len(h))
    assert h.mean() == pytest.approx(mean, abs=limit * np.sqrt(omega - mean**2))
    assert gain.mean() == pytest.approx(omega, abs=limit * np.sqrt(variance))
    assert gain.var() == pytest.approx(variance, abs=limit * np.sqrt(fourth - variance**2))


@pytest.mark.parametrize("m", SHAPES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_elements_are_nakagami(m, seed):
    h = source(f"nakagami,m={m},omega=2,seed={seed}").amplitudes(place_at(np.zeros(16)), 2048)
    h = h.ravel().astype(np.float64)
    assert passes(h, m, 2, tests=15)
    has_moments(h, m, 2)


@pytest.mark.parametrize("m", SHAPES)
@pytest.mark.parametrize("fading", ["token", "block"])
def test_tokens_and_blocks_are_nakagami(m, fading):
    h = amplitudes(f"nakagami,m={m},fading={fading}", np.arange(3000) * 100_000_000)
    assert passes(h, m, 1, tests=10)


@pytest.mark.parametrize("m", SHAPES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_copula_is_nakagami(m, seed):
    h = decorrelated(f"nakagami,fading=copula,m={m},omega=2,seed={seed}")
    assert passes(h, m, 2, tests=15)
    has_moments(h, m, 2)


@pytest.mark.parametrize("m", [0.5, 1, 2.5, 10])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_sum_of_squares_is_nakagami(m, seed):
    h = decorrelated(f"nakagami,fading=sum_of_squares,m={m},omega=2,seed={seed}")
    assert passes(h, m, 2, tests=12)
    has_moments(h, m, 2)


@pytest.mark.parametrize("fading", ["token", *CORRELATED])
def test_special_cases_have_their_names(fading):
    """Half a Gaussian at m = 1/2, Rayleigh at m = 1, hardly any fading at a large m."""
    h = decorrelated(f"nakagami,fading={fading},m=0.5", streams=60)
    assert stats.kstest(h, stats.halfnorm.cdf).pvalue > 0.001 / 6
    h = decorrelated(f"nakagami,fading={fading},m=1", streams=60)
    assert stats.kstest(h, stats.rayleigh(scale=np.sqrt(0.5)).cdf).pvalue > 0.001 / 6
    # Towards no fading: the deviation of h is 1/(2 sqrt m).
    m = 10_000 if fading != "sum_of_squares" else 50
    h = decorrelated(f"nakagami,fading={fading},m={m},omega=4", streams=20)
    assert h.std() == pytest.approx(2 * 0.5 / np.sqrt(m), rel=0.12)
    assert h.mean() == pytest.approx(2, abs=3 / np.sqrt(m * len(h)) + 1 / m)


@pytest.mark.parametrize("m", [*SHAPES, 0.5001, 1.5, 100, 10_000])
def test_the_table_is_as_near_as_it_says(m):
    generator = np.random.default_rng(5)
    # Evenly over the octaves: tails count as much as the middle.
    power = np.concatenate([2.0 ** generator.uniform(-48, 6, 20_000), [2.0**-48, 1, 64]])
    found = copula.nakagami_of_rayleigh(power, m, 1)
    np.testing.assert_allclose(found, copula.exact(power, m), rtol=1e-5)
    assert (np.diff(copula.nakagami_of_rayleigh(np.sort(power), m, 1)) >= 0).all()
    if m == 1:
        np.testing.assert_allclose(found, np.sqrt(power), rtol=1e-5)


@pytest.mark.parametrize("m", [*SHAPES, 100])
def test_what_is_tabulated_is_the_quantile(m):
    power = np.geomspace(1e-10, 64, 200)
    h = copula.exact(power, m)
    np.testing.assert_allclose(stats.nakagami(m).cdf(h), -np.expm1(-power), rtol=1e-9)
    np.testing.assert_allclose(stats.nakagami(m).sf(h), np.exp(-power), rtol=1e-9)


def test_no_power_is_beyond_the_table():
    h = copula.nakagami_of_rayleigh(np.array([0, 5e-324, 1e-30, 64, 65]), 2.5, 1)
    assert h[0] == h[1] == h[2] > 0
    assert h[3] == h[4]


def is_mean(estimates, expected, tests, slack=0.0):
    """Student's t over independent realisations, [realisations, ...]; Bonferroni holds the false
    alarms of all `tests` together at 0.1 %. `slack`: what the model itself is off by."""
    count = len(estimates)
    error = np.std(estimates, axis=0, ddof=1) / np.sqrt(count)
    limit = stats.t.ppf(1 - 0.0005 / tests, count - 1) * error + slack
    return bool((np.abs(np.mean(estimates, axis=0) - expected) <= limit).all())


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    ("fading", "m"), [("copula", 0.5), ("copula", 10), ("sum_of_squares", 2.5)]
)
def test_powers_are_correlated_as_the_generator_has_it(fading, m, seed):
    """The Laguerre series, or J0². Doppler frequencies 20 % beside fail: the tolerance is one."""
    tau_s = np.array([0.006, 0.012, 0.02, 0.0382739, 0.06])
    times_ns = ((np.arange(100) * 1.37)[:, None] + np.concatenate([[0], tau_s])) * 1e9
    spec = f"nakagami,fading={fading},m={m},{SPEED},seed={seed}"
    products, variances = [], []
    for stream in range(150):
        gain = amplitudes(spec, times_ns.ravel(), stream).reshape(times_ns.shape) ** 2 - 1
        square = gain**2
        products.append((gain[:, :1] * gain[:, 1:]).mean(axis=0))
        variances.append((square[:, :1] + square[:, 1:]).mean(axis=0) / 2)

    def correlate_as(hz):
        if fading == "copula":
            expected = theory.power_correlation_of_copula(tau_s, hz, m)
        else:
            expected = theory.power_correlation_of_squares(tau_s, hz)
        # Their ratio to first order; 64 waves are no Rayleigh process to 1/64, a ratio less so.
        beyond = (products - expected * variances) / np.mean(variances)
        return is_mean(beyond, 0, tests=45, slack=0.01)

    assert correlate_as(10)
    assert not correlate_as(12)
    assert not correlate_as(8)


def crossings_and_share(spec, level, seconds, step_s, streams=20):
    """Of each stream: upward crossings per second, and the share of the time below the level."""
    times = np.arange(0, seconds / streams, step_s) * 1e9
    rates, shares = [], []
    for stream in range(streams):
        below = amplitudes(spec, times, stream) < level
        rates.append(np.count_nonzero(below[:-1] & ~below[1:]) / (seconds / streams))
        shares.append(below.mean())
    return np.array(rates), np.array(shares)


@pytest.mark.parametrize(
    ("fading", "m", "level"),
    [
        ("copula", 2.5, 0.5),
        ("copula", 1, 0.5),
        ("sum_of_squares", 2.5, 0.7),
        ("sum_of_squares", 1, 0.5),
    ],
)
def test_crossings_are_those_of_the_generator(fading, m, level):
    """And the copula fails the other formula, which holds for it at m = 1 alone."""
    formula = {
        "copula": theory.crossing_rate_of_copula,
        "sum_of_squares": theory.crossing_rate_of_squares,
    }
    expected = formula[fading](level, m, 1, 10)
    duration_s = theory.fade_duration_s(level, m, 1, expected)
    spec = f"nakagami,fading={fading},m={m},{SPEED}"
    # At 15 points in a mean fade the shortest ones are missed: 1 %.
    missed, rates, shares = 0.01, [], []
    for seed in (1, 2, 3):
        rate, share = crossings_and_share(f"{spec},seed={seed}", level, 400, duration_s / 15)
        assert is_mean(rate, expected, tests=12, slack=missed * expected)
        assert is_mean(share, theory.nakagami_cdf(level, m, 1), tests=12)
        rates.append(rate)
        shares.append(share)
    assert np.mean(rates) == pytest.approx(expected, rel=0.05)
    assert np.mean(shares) / np.mean(rates) == pytest.approx(duration_s, rel=0.05)
    if fading == "copula":
        yacoub = theory.crossing_rate_of_squares(level, m, 1, 10)
        fits = is_mean(np.concatenate(rates), yacoub, tests=12, slack=missed * yacoub)
        assert fits == (m == 1)


@pytest.mark.parametrize("fading", ["token", "block", *CORRELATED])
@pytest.mark.parametrize(("m", "target_loss"), [(0.5, 0.1), (2.5, 0.01), (2.5, 0.3)])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_outages_are_as_many_as_set(fading, m, target_loss, seed):
    """The Clopper-Pearson interval covers the closed form."""
    spec = f"nakagami,fading={fading},m={m},target_loss={target_loss},seed={seed}"
    failed = decorrelated(spec) < parse_channel(spec).threshold
    test = stats.binomtest(int(failed.sum()), failed.size)
    low, high = test.proportion_ci(1 - 0.001 / 36, method="exact")
    assert low <= theory.outage_probability(m, 1, parse_channel(spec).threshold) <= high
    assert low <= target_loss <= high


@pytest.mark.parametrize("fading", EVERY)
def test_h_does_not_depend_on_calls(fading):
    """Nor on chunks, their order, and sources made anew."""
    spec = f"nakagami,fading={fading},m=2.5"
    times = np.cumsum(np.random.default_rng(1).integers(0, 30_000_000, 700))
    whole = source(spec).amplitudes(place_at(times, 3, 100), hidden=5, attempt=1)
    edges = [0, 1, 2, 40, 300, 301, 700]
    shared = source(spec)
    chunks = {}
    for first, last in sorted(pairwise(edges), key=lambda edge: edge[0] % 7):
        place = place_at(times[first:last], 3, 100 + first)
        chunks[first] = shared.amplitudes(place, hidden=5, attempt=1)
        source(spec, stream=2).amplitudes(place, hidden=5)  # another session in between
    np.testing.assert_array_equal(np.concatenate([chunks[edge] for edge in edges[:-1]]), whole)


@pytest.mark.parametrize("fading", ["block", *CORRELATED])
def test_h_of_a_time_is_a_function_of_time_alone(fading):
    fades = source(f"physical,fading={fading},m=2.5,harq_transmissions=3,harq_rtt_ms=50")
    times = np.arange(40) * 13_000_000
    h = fades.amplitudes(place_at(times), hidden=4)
    np.testing.assert_array_equal(fades.amplitudes(place_at(times, 7, 1234), hidden=4), h)
    # A copy meets the h of the time at which it is sent.
    copy = fades.amplitudes(place_at(times), hidden=4, attempt=2)
    np.testing.assert_array_equal(copy, fades.amplitudes(place_at(times + 100_000_000), hidden=4))
    assert (copy != h).all()


def test_h_changes_smoothly():
    for fading in CORRELATED:
        h = amplitudes(f"nakagami,fading={fading},m=2.5,{SPEED}", np.arange(2000) * 100_000)
        assert np.abs(np.diff(h)).max() < 0.05
        assert np.ptp(h) > 0.3


def test_a_frame_has_one_h():
    fades = source("nakagami,fading=frame,m=1")
    times = np.arange(6) * 10_000_000
    h = fades.amplitudes(place_at(times), hidden=4)
    assert h.shape == (6, 1)
    assert len(np.unique(h)) == 1
    np.testing.assert_array_equal(fades.amplitudes(place_at(times[:2] + 5), hidden=4), h[:2])
    others = [
        fades.amplitudes(place_at(times, position=6), 4)[0, 0],
        fades.amplitudes(place_at(times, window=1), 4)[0, 0],
        fades.amplitudes(place_at(times), 4, attempt=1)[0, 0],
    ]
    assert len({h[0, 0], *others}) == 4
    frames = [fades.amplitudes(place_at([0], position=n), 1)[0, 0] for n in range(3000)]
    assert passes(np.array(frames, dtype=np.float64), 1, 1, tests=1)


def test_a_block_holds_its_h():
    times = np.arange(100) * 3_000_000
    h = amplitudes("nakagami,fading=block,coherence_ms=20", times)
    blocks = times // 20_000_000
    assert len(np.unique(h)) == len(np.unique(blocks))
    for block in np.unique(blocks):
        assert len(np.unique(h[blocks == block])) == 1


def test_a_block_follows_the_doppler_frequency():
    config = parse_channel(f"nakagami,fading=block,{SPEED}")
    coherence_ns = 42_314_219  # √(9/16π) of 10 Hz
    assert config.coherence_ns == pytest.approx(coherence_ns, abs=1)
    h = amplitudes(f"nakagami,fading=block,{SPEED}", np.array([0, 0.98, 1.02]) * coherence_ns)
    assert h[0] == h[1] != h[2]


@pytest.mark.parametrize("fading", ["block", *CORRELATED])
def test_who_stands_still_keeps_the_fade(fading):
    h = amplitudes(f"nakagami,fading={fading},speed_mps=0", [0, 1, 10**9, 10**15, 2**63 - 1])
    assert len(np.unique(h)) == 1
    assert h[0] != amplitudes(f"nakagami,fading={fading},speed_mps=0", [0], stream=2)[0]


@pytest.mark.parametrize("fading", [*EVERY, "frame"])
def test_streams_and_directions_fade_apart(fading):
    spec = f"nakagami,fading={fading},m=2.5"
    sources = [source(spec), source(spec, stream=2), source(spec, 1, Direction.DOWNLINK)]
    h = [fades.amplitudes(place_at([10**9]), 1)[0, 0] for fades in sources]
    assert len(set(h)) == 3


@pytest.mark.parametrize("fading", ["block", *CORRELATED])
def test_the_end_of_time_can_be_reached(fading):
    spec = f"physical,fading={fading},harq_transmissions=16,harq_rtt_ms=10000"
    h = source(spec).amplitudes(place_at([2**63 - 2, 2**63 - 1]), 1, attempt=15)
    assert np.isfinite(h).all()


def test_without_fading_h_is_one():
    h = source("awgn,sigma=1").amplitudes(place_at(np.zeros(3)), hidden=4)
    np.testing.assert_array_equal(h, np.ones((3, 1), np.float32))


def test_omega_scales_every_fade():
    for fading in [*EVERY, "frame"]:
        config = parse_channel(f"nakagami,fading={fading},m=2.5")
        draws = Draws(0, 1, Direction.UPLINK)
        h = FadingSource(config, draws).amplitudes(place_at([10**9]), 3)
        wider = FadingSource(replace(config, omega=9.0), draws).amplitudes(place_at([10**9]), 3)
        np.testing.assert_allclose(wider, 3 * h, rtol=1e-6)


@pytest.mark.parametrize(
    ("fading", "m", "rtt_ms"),
    [("block", 1, 0), ("block", 2.5, 0), ("block", 2.5, 60), ("token", 1, 0), ("copula", 1, 0)],
)
@pytest.mark.parametrize("copies", [1, 2, 4])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_harq_fails_as_often_as_theory_says(fading, m, rtt_ms, copies, seed):
    """In the same fade, or in independent ones."""
    tokens, mean_snr, least = 4000, 10 ** (5 / 10), 10 ** (4 / 10)
    spec = f"physical,fading={fading},m={m},harq_transmissions=4,harq_rtt_ms={rtt_ms},seed={seed}"
    fades = source(spec)
    place = place_at(np.arange(tokens) * 1_310_000_000)
    found = harq.combine(
        lambda attempt: fades.amplitudes(place, 1, attempt),
        lambda gain: gain * mean_snr >= least,
        copies,
    )
    same_fade = fading != "token" and rtt_ms == 0
    expected = [
        theory.harq_failure_probability(m, mean_snr, least, k + 1, same_fade=same_fade)
        for k in range(copies)
    ]
    low, high = stats.binom(tokens, expected[-1]).interval(1 - 0.001 / 45)
    assert low <= found.failed.sum() <= high
    sent = theory.expected_transmissions(expected)
    assert found.transmissions.mean() == pytest.approx(sent, rel=0.05)
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
