"""What a policy sees: scaled by hand, clipped at the edges, and read from a file."""

from __future__ import annotations

from math import inf, log1p, nan

import numpy as np
import pytest

from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from controller.features import Features, inverse_m, observed, unknown
from controller.learning.space import ChannelSpace
from controller.policy import Observation

NOISE = Features(ChannelSpace(("sigma", "inverse_m"), (0.0, 0.0), (5.0, 1.0)), LayerRange(0, 17))
LOSS = Features(ChannelSpace(("loss",), (0.0,), (0.3,)), LayerRange(1, 11))


def vector(features: Features, channel: tuple[float, ...], split: int) -> list[float]:
    found = features.vectors(np.array([channel]), np.array([split]))
    assert (found.dtype, found.shape) == (np.float32, (1, features.size))
    return [float(value) for value in found[0]]


def test_noise_features_by_hand() -> None:
    expected = [2 * log1p(3) / log1p(20) - 1, 2 * 0.25 - 1, 2 * 0.75 - 1]
    assert vector(NOISE, (0.75, inverse_m(4.0)), 12) == pytest.approx(expected)
    assert vector(NOISE, (0.0, inverse_m(inf)), 0) == [-1, -1, -1]
    assert vector(NOISE, (5.0, 1.0), 16) == pytest.approx([1, 1, 1])


def test_loss_features_by_hand() -> None:
    assert vector(LOSS, (0.075,), 1) == pytest.approx([-0.5, -1])
    assert vector(LOSS, (0.3,), 10) == pytest.approx([1, 1])


def test_what_is_outside_is_clipped_and_told() -> None:
    assert vector(NOISE, (50.0, 2.0), 20) == [1, 1, 1]
    channels = np.array([[5.0, 1.0], [5.1, 1.0], [5.0, 2.0], [1.0, 0.5], [nan, 0.0]])
    inside = NOISE.inside(channels, np.array([16, 16, 16, 17, 3]))
    assert inside.tolist() == [True, False, False, False, False]


def test_features_survive_their_record() -> None:
    for features in (NOISE, LOSS):
        assert Features.of(features.to_dict()) == features


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"splits": [3, 3]}, "splits: .* two or more"),
        ({"splits": 3}, "features: splits"),
        ({"splits": ["a", 3]}, "features: splits"),
        ({"names": ["sigma", "speed"]}, "channel: names"),
        ({"names": ["sigma", "sigma"]}, "channel: names"),
        ({"high": [5.0]}, "channel: low, high"),
        ({"high": [5.0, "x"]}, "channel: could not"),
        ({"high": [nan, 1.0]}, "channel: sigma"),
        ({"high": [5.0, 3.0]}, "channel: inverse_m"),
        ({"low": [5.0, 0.0]}, "channel: sigma"),
    ],
)
def test_a_wrong_record_is_named(change: dict[str, object], why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        Features.of({**NOISE.to_dict(), **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["names", "low", "high", "splits"])
def test_a_missing_part_is_named(key: str) -> None:
    record = NOISE.to_dict()
    del record[key]
    with pytest.raises(InputError, match=f"{key} is missing"):
        Features.of(record)


def test_the_channel_of_an_observation() -> None:
    seen = Observation(0.5, 4.0, 0.1, nan, 3, LayerRange(0, 17))
    assert observed(NOISE.space, seen).tolist() == [[0.5, 0.25]]
    assert observed(LOSS.space, seen).tolist() == [[0.1]]
    blind = Observation(nan, nan, nan, nan, 3, LayerRange(0, 17))
    assert unknown(NOISE.space, observed(NOISE.space, blind)) == "sigma"
    assert unknown(LOSS.space, observed(LOSS.space, blind)) == "loss"
    assert observed(NOISE.space, blind)[0, 1] == 0  # an m that is not known is no fading
    assert unknown(NOISE.space, observed(NOISE.space, seen)) is None
