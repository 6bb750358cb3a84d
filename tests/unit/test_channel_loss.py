"""What is lost besides any fade: how often, what as a whole, in which bursts."""

import math

import numpy as np
import pytest
from scipy import stats

from channel_emulator import gilbert_elliott, loss
from channel_emulator.config import ChannelConfig
from channel_emulator.draws import Direction, Draws, Purpose
from channel_emulator.events import EventSource, happens
from channel_emulator.place import Place
from channel_emulator.spec import parse_channel

ITEM_BYTES = 2


def draws(seed: int = 0) -> Draws:
    return Draws(seed, 1, Direction.UPLINK)


def erasure(**knobs: object) -> ChannelConfig:
    return parse_channel("erasure").changed({"loss": 0.1, **knobs})


def bursts(**knobs: object) -> ChannelConfig:
    return erasure(loss_model="gilbert_elliott", **knobs)


def elements(config: ChannelConfig, place: Place, shape: tuple[int, int]) -> np.ndarray:
    lost = loss.lost_elements(config, draws(config.seed), place, shape, ITEM_BYTES)
    return np.broadcast_to(lost, shape)


@pytest.mark.parametrize("probability", [1e-4, 0.01, 0.3, 0.5, 0.7, 0.999])
def test_events_are_as_many_as_they_should_and_independent(probability):
    count = 400_000
    found = happens(draws(3), Purpose.LOSS, probability, 12_345, count)
    low, high = stats.binom(count, probability).interval(0.9999)
    assert low <= found.sum() <= high
    # Waits between rare ones of both kinds are geometric (Kolmogorov, on the lattice: conservative)
    at = np.flatnonzero(found if probability <= 0.5 else ~found)
    rare = min(probability, 1 - probability)
    waits = np.diff(at)[:5000]
    grid = np.unique(waits)
    distance = np.abs(
        np.searchsorted(np.sort(waits), grid, side="right") / len(waits)
        - stats.geom(rare).cdf(grid)
    ).max()
    assert distance < 2.2 / math.sqrt(len(waits))
    assert np.corrcoef(waits[:-1], waits[1:])[0, 1] == pytest.approx(
        0, abs=4.5 / math.sqrt(len(waits))
    )


def test_no_and_certain_events():
    assert not happens(draws(), Purpose.LOSS, 0.0, 5, 100).any()
    assert happens(draws(), Purpose.LOSS, 1.0, 5, 100).all()
    assert not happens(draws(), Purpose.LOSS, 1e-300, 0, 10**6).any()


def test_a_block_that_has_more_events_than_were_drawn_draws_more():
    plenty, scarce = (EventSource(draws(), Purpose.LOSS, 0.1) for _ in range(2))
    scarce._enough = 3
    np.testing.assert_array_equal(plenty.between(100, 50_000), scarce.between(100, 50_000))


MODELS = [
    {"loss": 0.3},
    {"loss": 0.9},
    {"loss": 1e-3},
    {"loss_model": "gilbert_elliott"},
    {"loss_model": "gilbert_elliott", "burst_length": 1},  # p + r > 1: it alternates more often
    {"loss_model": "gilbert_elliott", "burst_length": 1, "loss": 0.5},  # p = r = 1
    {"loss_model": "gilbert_elliott", "burst_length": 1e6, "loss": 0.5},
    {"loss_model": "gilbert_elliott", "loss_good": 0.05, "loss_bad": 0.7, "loss": 0.2},
]


@pytest.mark.parametrize("knobs", MODELS)
def test_any_unit_can_be_asked_for_first(knobs):
    config, start = erasure(**knobs), 70_000
    whole = loss.lost_units(config, draws(), start, 30_000)
    source = draws()
    for first, count in [(29_000, 1000), (0, 1), (1, 1), (2, 5000), (5002, 23_998), (17, 9)]:
        part = loss.lost_units(config, source, start + first, count)
        np.testing.assert_array_equal(part, whole[first : first + count])
    beyond = loss.lost_units(config, source, 2**80 + 5, 100)  # the last frame of a long stream
    np.testing.assert_array_equal(loss.lost_units(config, source, 2**80 + 7, 9), beyond[2:11])


@pytest.mark.parametrize(
    ("mean_loss", "length"), [(0.1, 10), (0.3, 3), (0.05, 1.5), (0.4, 1), (0.45, 1.2)]
)
@pytest.mark.parametrize("seed", [1, 2])
def test_bursts_are_those_of_the_chain(mean_loss, length, seed):
    config = bursts(loss=mean_loss, burst_length=length)
    chain = gilbert_elliott.Chain.of(config)
    assert chain.share == pytest.approx(mean_loss)
    count = 1_000_000
    lost = gilbert_elliott.lost(config, draws(seed), 5_000_000, count)
    decay = 1 - chain.p - chain.r
    # Standard error of a mean of correlated values over that of independent ones, at most.
    spread = math.sqrt((1 + abs(decay)) / (1 - abs(decay)) / count)
    share_error = spread * math.sqrt(mean_loss * (1 - mean_loss))
    assert lost.mean() == pytest.approx(mean_loss, abs=4 * share_error)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], lost.astype(np.int8), [0]])))
    spells = (edges[1::2] - edges[::2])[1:-1]
    error = math.sqrt(length * (length - 1) / len(spells))
    assert spells.mean() == pytest.approx(length, abs=4 * error + 1e-9)
    # Geometric, so of this variance as well: length (length - 1).
    assert spells.var() == pytest.approx(length * (length - 1), rel=0.05, abs=1e-9)
    x = lost - lost.mean()
    for lag in (1, 2, 3, 7, 20):
        found = np.dot(x[:-lag], x[lag:]) / np.dot(x, x)
        assert found == pytest.approx(decay**lag, abs=5 * spread)


def test_both_states_may_lose():
    config = bursts(loss=0.2, loss_good=0.05, loss_bad=0.7, burst_length=20)
    count = 1_000_000
    bad = gilbert_elliott.Chain.of(config).is_bad(draws(), 0, count)
    lost = gilbert_elliott.lost(config, draws(), 0, count)
    assert lost[bad].mean() == pytest.approx(0.7, abs=0.005)
    assert lost[~bad].mean() == pytest.approx(0.05, abs=0.001)
    assert bad.mean() == pytest.approx(0.15 / 0.65, rel=0.03)
    # Within a state units are lost one by one.
    pairs = bad[:-1] & bad[1:]
    assert (lost[:-1] & lost[1:])[pairs].mean() == pytest.approx(0.49, abs=0.005)


@pytest.mark.parametrize(("mean_loss", "length"), [(0.2, 50), (0.48, 1)])
@pytest.mark.parametrize("index", [0, 1, 3, 4_000_000_000])
def test_the_chain_is_stationary_from_its_first_unit_on(mean_loss, length, index):
    config = bursts(loss=mean_loss, burst_length=length)
    chain = gilbert_elliott.Chain.of(config)
    seeds = 2000
    pairs = np.array([chain.is_bad(draws(seed), index, 2) for seed in range(seeds)])
    for found in pairs.sum(axis=0):
        low, high = stats.binom(seeds, mean_loss).interval(0.9999)
        assert low <= found <= high
    low, high = stats.binom(seeds, mean_loss * (1 - chain.r)).interval(0.9999)
    assert low <= pairs.all(axis=1).sum() <= high


def test_a_spell_of_a_million_units_is_found_with_few_draws(monkeypatch):
    drawn = []
    at = Draws.at
    monkeypatch.setattr(Draws, "at", lambda self, *key: drawn.append(key) or at(self, *key))
    config = bursts(burst_length=1e6, loss=0.5)
    for index in (0, 10**7, 10**12):
        loss.lost_units(config, draws(), index, 4096)
    assert len(drawn) <= 12


def test_without_a_bad_spell_nothing_is_bad():
    config = bursts(loss=0.05, loss_good=0.05)
    assert not gilbert_elliott.Chain.of(config).is_bad(draws(), 0, 10**5).any()
    assert loss.lost_units(config, draws(), 0, 10**5).mean() == pytest.approx(0.05, abs=0.003)


UNITS = ["element", "token", "packet", "frame"]


@pytest.mark.parametrize("model", ["iid", "gilbert_elliott"])
@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_is_lost_with_the_mean_probability(unit, model):
    knobs = {"loss_unit": unit, "loss_model": model, "loss": 0.25}
    if unit == "packet":
        knobs["packet_bytes"] = 24
    if model == "gilbert_elliott":
        knobs["burst_length"] = 2
    config, shape = erasure(**knobs), (5, 24)
    source = draws()
    frames = [
        loss.lost_elements(
            config, source, Place.replay(config, 5, position=5 * n, sequence=n), shape, ITEM_BYTES
        ).mean()
        for n in range(4000)
    ]
    each = {"element": 1, "token": 24, "packet": 12, "frame": 120}[unit]
    correlated = 3 if model == "gilbert_elliott" else 1
    error = math.sqrt(0.25 * 0.75 * each * correlated / (4000 * 120))
    assert np.mean(frames) == pytest.approx(0.25, abs=4 * error)


@pytest.mark.parametrize("model", ["iid", "gilbert_elliott"])
@pytest.mark.parametrize("unit", ["element", "token", "packet"])
def test_units_do_not_depend_on_frames(unit, model):
    config = erasure(loss_unit=unit, loss_model=model, loss=0.3)
    if unit == "packet":
        config = config.changed({"packet_bytes": 50})
    whole = elements(config, Place.replay(config, 40, position=100), (40, 36))
    assert 0 < whole.mean() < 1
    for start, stop in [(30, 40), (0, 1), (1, 17), (17, 30)]:
        place = Place.replay(config, stop - start, position=100 + start)
        part = elements(config, place, (stop - start, 36))
        np.testing.assert_array_equal(part, whole[start:stop])


@pytest.mark.parametrize("unit", ["token", "frame"])
def test_tokens_and_frames_are_lost_as_a_whole(unit):
    config = erasure(loss_unit=unit, loss=0.5)
    found = []
    for n in range(60):
        lost = elements(config, Place.replay(config, 6, position=6 * n, sequence=n), (6, 10))
        assert (lost.all(axis=1) == lost.any(axis=1)).all()
        found.append(tuple(lost[:, 0]))
    assert any(0 < sum(tokens) < 6 for tokens in found) == (unit == "token")
    assert {sum(tokens) for tokens in found} >= ({0, 6} if unit == "frame" else {2, 3, 4})


@pytest.mark.parametrize("packet_bytes", [8, 9, 13, 50, 100, 1500])
@pytest.mark.parametrize("item_bytes", [2, 4])
def test_an_element_is_lost_with_each_packet_that_has_a_byte_of_it(packet_bytes, item_bytes):
    """The definition, byte by byte."""
    config = erasure(loss_unit="packet", packet_bytes=packet_bytes, loss=0.4)
    tokens, hidden, offset = 7, 11, 1003
    place = Place.replay(config, tokens, position=3, offset=offset)
    found = loss.lost_elements(config, draws(), place, (tokens, hidden), item_bytes)
    start = offset * hidden * item_bytes
    bytes_ = np.arange(start, start + tokens * hidden * item_bytes)
    lost = loss.lost_units(config, draws(), 0, int(bytes_[-1]) // packet_bytes + 1)
    expected = lost[bytes_ // packet_bytes].reshape(tokens, hidden, item_bytes).any(axis=2)
    np.testing.assert_array_equal(found, expected)


def test_a_frame_is_known_by_its_sequence():
    config = erasure(loss_unit="frame", loss=0.5)
    lost = [elements(config, Place.replay(config, 2, sequence=n), (2, 3)).all() for n in range(64)]
    again = [
        elements(config, Place.replay(config, 9, position=n, sequence=n, window=4), (9, 3)).all()
        for n in range(64)
    ]
    assert lost == again
    assert 16 < sum(lost) < 48
