"""Keyed draws: the same however a frame is cut, never the same twice, and of the right kind."""

import hashlib
import math

import numpy as np
import pytest
from scipy import special, stats

from channel_emulator import draws as module
from channel_emulator.draws import Direction, Draws, Purpose
from channel_emulator.kernels import draws as kernels

NOISE = Purpose.NOISE


def some(seed=1, stream=2, direction=Direction.UPLINK):
    return Draws(seed, stream, direction)


def drawn(way, draws, window, position, shape, attempt=0):
    extra = {"events": (0.3,)}.get(way, ())
    return getattr(draws, way)(NOISE, window, position, shape, *extra, attempt)


WAYS = ["uniform", "normal", "events"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("width", [1, 7, 16, 257, 40_000])
def test_a_token_has_the_same_draws_however_a_frame_is_cut(way, width):
    whole = drawn(way, some(), 3, 10, (9, width), 1)
    assert whole.shape == (9, width)
    draws = some()
    for start, stop in ((4, 9), (0, 1), (1, 4)):  # nor does the order matter
        part = drawn(way, draws, 3, 10 + start, (stop - start, width), 1)
        np.testing.assert_array_equal(part, whole[start:stop])


@pytest.mark.parametrize("way", ["uniform", "normal"])
def test_every_part_of_the_key_counts(way):
    rows = [
        drawn(way, some(), 0, 0, (3, 64)),
        drawn(way, some(), 1, 0, (3, 64)),
        drawn(way, some(), 0, 3, (3, 64)),
        drawn(way, some(), 0, 0, (3, 64), 1),
        drawn(way, some(seed=2), 0, 0, (3, 64)),
        drawn(way, some(stream=3), 0, 0, (3, 64)),
        drawn(way, some(direction=Direction.DOWNLINK), 0, 0, (3, 64)),
        drawn(way, some(), 0, 0, (3, 48)),  # another width
        getattr(some(), way)(Purpose.LOSS, 0, 0, (3, 64)),
    ]
    seen = {row[:48].tobytes() for table in rows for row in table}
    assert len(seen) == 3 * len(rows)


def words(way, position, blocks, width, attempt=6, tokens=4):
    """numpy's own Philox, keyed and set as `draws` says: [tokens, 4 * blocks]."""
    key = np.array(module._key(f"airsplit {way}|1|noise|uplink|2"), np.uint64)
    counter = np.array([position * blocks, width, 5, attempt], np.uint64)
    return (
        np.random.Philox(key=key, counter=counter)
        .random_raw(tokens * blocks * 4)
        .reshape(tokens, blocks * 4)
    )


def of_element(position, element, attempt=6):
    key = np.array(module._key("airsplit elements 1|1|noise|uplink|2"), np.uint64)
    counter = np.array([element << 32, position, 5, attempt], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter)).random()


PLACES = [(7, 6), (2**40 - 50, 2**64 - 1)]


@pytest.mark.parametrize(("position", "attempt"), PLACES)
@pytest.mark.parametrize("width", [1, 5, 4096])
def test_uniform_draws_are_those_of_numpys_philox(width, position, attempt):
    found = some().uniform(NOISE, 5, position, (4, width), attempt)
    expected = words("uniform 1", position, -(-width // 4), width, attempt) >> np.uint64(11)
    np.testing.assert_array_equal(found, expected[:, :width] * 2.0**-53)


@pytest.mark.parametrize(("position", "attempt"), PLACES)
@pytest.mark.parametrize("width", [1, 33, 4096, 15_001])
def test_normal_draws_are_pairs_of_quantiles_of_numpys_philox(width, position, attempt):
    pairs = -(-width // 2)
    blocks = -(-2 * pairs // 16)
    for start in range(0, 40, 4):  # tails are one in 32768
        found = some().normal(NOISE, 5, position + start, (4, width), attempt)
        drawn = words("bits 1", position + start, blocks, 2 * pairs, attempt)
        bits = drawn.astype("<u8").view("<u2")[:, : 2 * pairs]
        half = module.QUANTILES[bits]
        for token, element in zip(*np.nonzero((bits == 0) | (bits == 65535)), strict=True):
            u = of_element(position + start + int(token), int(element), attempt)
            tail = special.ndtri((1 - u) / 65536) * math.sqrt(0.5)
            half[token, element] = tail if bits[token, element] == 0 else -tail
        a, b = half[:, :pairs], half[:, pairs:]
        np.testing.assert_array_equal(found, np.hstack([a + b, a - b])[:, :width])


@pytest.mark.parametrize("probability", [0.3, 0.01, 1.7 / 65536, 3 / 65536])
def test_events_are_bits_of_numpys_philox_below_a_threshold(probability):
    width, position = 5000, 7
    found = some().events(NOISE, 5, position, (4, width), probability, 6)
    bits = words("bits 1", position, -(-width // 16), width).astype("<u8").view("<u2")[:, :width]
    threshold, rest = divmod(probability * 65536, 1)
    expected = bits < threshold
    for token, element in zip(*np.nonzero(bits == threshold), strict=True):
        u = of_element(position + int(token), int(element))
        expected[token, element] = u < rest
    np.testing.assert_array_equal(found, expected)


def test_the_quantile_of_a_tail_is_scipys():
    y = np.concatenate([np.geomspace(1e-300, 2.0**-16, 20_000), [5e-324, 1.2e-14, 1.3e-14]])
    found = np.array([kernels._lower_tail(each) for each in y])
    np.testing.assert_allclose(found, special.ndtri(y), rtol=1e-15 * 4)


def test_golden_draws():
    """What every machine has to draw; a change of these needs a new number in `draws`."""
    draws, digest = some(), hashlib.blake2b(digest_size=8)
    for way in WAYS:
        digest.update(np.ascontiguousarray(drawn(way, draws, 1, 2, (64, 1001))).tobytes())
    assert digest.hexdigest() == GOLDEN


GOLDEN = "b998075e0482a38b"


def test_normal_draws_are_normal():
    x = some().normal(NOISE, 0, 0, (512, 4096)).ravel()
    n = x.size
    assert stats.kstest(x, "norm").pvalue > 0.001
    z = x.astype(np.float64)
    # Standard errors of the moments of N(0, 1): 1, 2, 15, 96 are the variances of x to x^4.
    for moment, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((z**moment).mean() - mean) < 4 * math.sqrt(variance / n), moment
    for bound in (3.0, 4.0, 4.5):
        expected = 2 * n * special.ndtr(-bound)
        assert abs(np.count_nonzero(np.abs(x) > bound) - expected) < 4 * math.sqrt(expected)


def test_the_two_of_a_pair_are_independent():
    x = some(seed=5).normal(NOISE, 0, 0, (256, 4096)).astype(np.float64)
    a, b = x[:, :2048].ravel(), x[:, 2048:].ravel()
    n = a.size
    for f in (lambda v: v, np.square, np.abs):
        assert abs(np.corrcoef(f(a), f(b))[0, 1]) < 4 / math.sqrt(n)
    for lag in (1, 2, 16):  # neighbours and tokens
        assert abs(np.corrcoef(x.ravel()[:-lag], x.ravel()[lag:])[0, 1]) < 4 / math.sqrt(x.size)
    assert abs(np.corrcoef(x[1:].ravel(), x[:-1].ravel())[0, 1]) < 4 / math.sqrt(x.size)
    # Radius and angle, as of two normal draws: exponential and uniform.
    assert stats.kstest((a**2 + b**2) / 2, "expon").pvalue > 0.001
    assert stats.kstest(np.arctan2(a, b), "uniform", (-math.pi, 2 * math.pi)).pvalue > 0.001


def test_the_exact_distribution_of_a_normal_draw():
    """All 2^32 pairs of cells at once, the outermost cells spread as their exact draws are."""
    cells, fine = 1 << 16, 4096
    tail = special.ndtri((np.arange(fine) + 0.5) / (fine * cells)) * math.sqrt(0.5)
    inner = module.QUANTILES[1:-1].astype(np.float64)
    value = np.concatenate([tail, inner, -tail[::-1]])
    weight = np.concatenate([np.full(fine, 1 / fine), np.ones(cells - 2), np.full(fine, 1 / fine)])
    weight /= cells
    below = np.concatenate([[0], np.cumsum(weight)])
    assert 2 * np.sum(weight * value**2) == pytest.approx(1, abs=1e-6)
    for x in (-1.0, 0.0, 0.1, 2.0):
        found = np.sum(weight * below[np.searchsorted(value, x - value)])
        assert found == pytest.approx(special.ndtr(x), abs=8e-6)
    for x in (3.0, 4.0, 5.0):
        above = np.sum(weight * (below[-1] - below[np.searchsorted(value, x - value)]))
        assert above == pytest.approx(special.ndtr(-x), rel=0.002)


def test_the_least_probable_cells_are_drawn_exactly():
    x = some().normal(NOISE, 0, 0, (1024, 4096)).astype(np.float64)
    a = (x[:, :2048] + x[:, 2048:]) / math.sqrt(2)
    outer = special.ndtri(2.0**-16)
    tail = np.abs(a[np.abs(a) > -outer])
    assert len(np.unique(tail.round(5))) > 40
    assert stats.kstest(1 - special.ndtr(-tail) * 2**16, "uniform").pvalue > 0.001


def test_uniform_draws_are_uniform():
    u = some().uniform(NOISE, 0, 0, (500, 401)).ravel()
    assert u.min() >= 0
    assert u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 0.001


@pytest.mark.parametrize("probability", [1e-6, 2**-16, 0.01, 0.3, 0.5, 0.99999])
def test_events_have_their_probability(probability):
    shape = (512, 4096)
    count = np.count_nonzero(some().events(NOISE, 0, 0, shape, probability))
    n = shape[0] * shape[1]
    assert stats.binomtest(count, n, probability).pvalue > 0.001


def test_no_event_and_every_event():
    assert not some().events(NOISE, 0, 0, (64, 4096), 0.0).any()
    assert some().events(NOISE, 0, 0, (64, 4096), 1.0).all()


def test_what_16_bits_leave_open_is_decided_by_more():
    """Half a cell more or less shows, though no 16 bits can say so."""
    shape = (2048, 4096)
    n, cell = shape[0] * shape[1], 2.0**-16
    for share in (0.25, 0.75):
        count = np.count_nonzero(some().events(NOISE, 0, 0, shape, (1 + share) * cell))
        assert abs(count - (1 + share) * cell * n) < 4 * math.sqrt(2 * cell * n)
    exact = some().events(NOISE, 0, 0, shape, cell)
    more = some().events(NOISE, 0, 0, shape, 1.5 * cell)
    added = np.count_nonzero(more & ~exact)
    assert not (exact & ~more).any()
    assert abs(added - 0.5 * cell * n) < 4 * math.sqrt(0.25 * cell * n)


def test_at_begins_again():
    draws = some()
    first = draws.at(NOISE, 1, 2, 3).random(5)
    draws.normal(NOISE, 0, 0, (3, 33))
    np.testing.assert_array_equal(draws.at(NOISE, 1, 2, 3).random(5), first)
