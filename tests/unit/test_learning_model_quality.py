"""The real model as a reward: measured once a cell and split, as the scorer measures it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from airsplit.checkpoint import Checkpoint, locate
from airsplit.errors import InputError
from controller.learning.reward import ObjectiveReward, identity
from controller.learning.space import ChannelSpace
from experiments import designs
from experiments.model_quality import ModelConfig, ModelQuality

LOSS = ChannelSpace(("loss",), (0.0,), (0.3,))


@pytest.fixture(scope="module")
def quality() -> ModelQuality:
    return ModelQuality.load(ModelConfig(LOSS, windows=2, window=16, cells=3))


def test_a_channel_is_measured_at_the_middle_of_its_cell(quality: ModelQuality) -> None:
    nll = quality.nll(np.array([[0.11], [0.19], [0.0]]), np.array([15, 15, 15]))
    exact = quality.scorer.nlls([designs.erasure(p, 0) for p in (0.15, 0.05)], 15).mean(axis=1)
    assert nll == pytest.approx([exact[0], exact[0], exact[1]])
    assert (nll > quality.clean_nll - 1).all()


def test_nothing_is_measured_twice(quality: ModelQuality, monkeypatch: pytest.MonkeyPatch) -> None:
    first = quality.nll(np.array([[0.2], [0.3]]), np.array([16, 15]))

    def refuse(*_: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(quality.scorer, "nlls", refuse)
    again = quality.nll(np.array([[0.3], [0.21]]), np.array([15, 16]))
    assert again.tolist() == first[::-1].tolist()


def test_noise_and_fading_are_two_coordinates() -> None:
    space = ChannelSpace(("sigma", "inverse_m"), (0.0, 0.0), (5.0, 1.0))
    quality = ModelQuality.load(ModelConfig(space, windows=2, window=16, cells=2))
    nll = quality.nll(np.array([[0.1, 0.1], [5.0, 0.1], [5.0, 0.9]]), np.array([16, 16, 16]))
    assert len(set(nll.tolist())) == 3


def test_what_is_not_covered_is_refused(quality: ModelQuality) -> None:
    for channel, split, why in ((0.31, 3, "loss"), (np.nan, 3, "loss"), (0.1, 17, "split")):
        with pytest.raises(InputError, match=why):
            quality.nll(np.array([[channel]]), np.array([split]))
    with pytest.raises(InputError, match="--cells: 1"):
        ModelConfig(LOSS, cells=1)
    with pytest.raises(InputError, match="--windows"):
        ModelQuality.load(ModelConfig(LOSS, windows=1))


def test_it_says_where_it_measures_and_how(quality: ModelQuality) -> None:
    asked = np.array([[0.11], [0.19], [0.3]])
    middles = quality.measured_at(asked)
    assert middles[:, 0] == pytest.approx([0.15, 0.15, 0.25])
    splits = np.array([15, 15, 15])
    assert quality.nll(middles, splits).tolist() == quality.nll(asked, splits).tolist()
    record = quality.describe()
    assert (record["windows"], record["cells"]) == (2, 3)
    assert record["fingerprint"] == Checkpoint(locate("airsplit-tiny")).fingerprint
    measured = len(quality.measured)
    assert json.loads(json.dumps(identity(ObjectiveReward(quality))))["measured"]["cells"] == 3
    assert len(quality.measured) == measured
