"""Algorithm 1: first the true reward, then a surrogate of what was measured on the way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airsplit.errors import InputError
from controller.learning import checkpoint
from controller.learning.algorithm import KeptSurrogate, SurrogateSwitch
from controller.learning.cases import Case
from controller.learning.quality import Quality, TableQuality
from controller.learning.reward import ObjectiveReward, Reward
from controller.learning.space import ChannelSpace, Floats, Ints
from controller.learning.surrogate import Surrogate
from controller.learning.surrogate_config import SurrogateConfig
from controller.learning.train_policy import CHECKPOINT_FILE, train
from controller.learning.training_config import TrainingConfig
from controller.registry import DEFAULT_DIRECTORY
from controller.table import PerplexityTable
from tests.unit.test_learning_agents import ENVIRONMENT, SHORT, equal, short, weights_of
from tests.unit.test_learning_agents import reward as reward


class Remembered:
    """A surrogate source that keeps what it was given; its surrogate is the true quality."""

    def __init__(self) -> None:
        self.fitted: list[tuple[Floats, Ints, Floats]] = []
        self.loaded = 0
        self.quality: Quality | None = None

    def fit(self, quality: Quality, channels: Floats, splits: Ints, nll: Floats) -> Quality:
        self.fitted.append((channels, splits, nll))
        self.quality = quality
        return quality

    def load(self) -> Quality:
        self.loaded += 1
        assert self.quality is not None
        return self.quality


def test_algorithm_1_trains_the_surrogate_once_on_all_that_was_measured(
    reward: Reward, tmp_path: Path
) -> None:
    source = Remembered()
    switch = SurrogateSwitch(reward, 160, source)
    training = TrainingConfig(steps=240, evaluate_every=0, levels=3)
    record = train(reward, ENVIRONMENT, SHORT["ppo"], training, tmp_path, switch=switch)
    ((channels, splits, nll),) = source.fitted
    ends = 4 * len(reward.splits)  # every split at each corner
    assert len(channels) == len(splits) == len(nll) == 160 + ends
    assert isinstance(reward, ObjectiveReward)
    np.testing.assert_array_equal(reward.quality.nll(channels, splits), nll)
    assert len(switch.gathering.records()[0]) == 160 + ends  # nothing true was asked for afterwards
    assert (record["surrogate_after"], record["switched_at"]) == (160, 160)
    # A surrogate that is as the truth changes nothing of what is learnt.
    short(reward, tmp_path / "plain", SHORT["ppo"], evaluate_every=0)
    assert equal(weights_of(tmp_path), weights_of(tmp_path / "plain"))
    again = SurrogateSwitch(reward, 160, source)
    train(reward, ENVIRONMENT, SHORT["ppo"], training, tmp_path, switch=again, resume=True)
    assert (len(source.fitted), source.loaded) == (1, 1)
    assert again.switched_at == 160


BRIEF = SurrogateConfig(hidden=(16,), folds=2, epochs=5)


def test_after_the_switch_a_real_surrogate_pays(reward: Reward, tmp_path: Path) -> None:
    assert isinstance(reward, ObjectiveReward)
    said: list[str] = []
    low = replace(ENVIRONMENT, case=Case.L)  # the rest of the space is not where episodes begin
    config, training = SHORT["ppo"], TrainingConfig(steps=320, evaluate_every=0, levels=3)
    switch = SurrogateSwitch(reward, 160, KeptSurrogate(tmp_path / "kept", BRIEF, said.append))
    record = train(reward, low, config, training, tmp_path / "a", switch=switch)
    assert record["switched_at"] == 160
    channels = low.starts(reward).draw_channels(np.random.default_rng(0), 50)
    assert (switch.reward.rows(channels) != reward.rows(channels)).all()
    plain = train(reward, low, config, training, tmp_path / "b")
    assert not equal(weights_of(tmp_path / "a"), weights_of(tmp_path / "b"))
    assert plain["switched_at"] is None
    kept = Surrogate.load(tmp_path / "kept")
    assert (kept.space, kept.splits) == (reward.space, reward.splits)
    assert any("epochs" in line for line in said)


@dataclass(frozen=True)
class InCells(TableQuality):
    """A table that is read at the middles of four cells a coordinate."""

    def measured_at(self, channels: Floats) -> Floats:
        cells = np.floor(self.space.to_unit(channels) * 4).clip(0, 3)
        return self.space.from_unit((cells + 0.5) / 4)

    def describe(self) -> dict[str, Any]:
        return {"cells": 4}

    def nll(self, channels: Floats, splits: Ints) -> Floats:
        return super().nll(self.measured_at(channels), splits)


def test_what_is_measured_for_a_cell_is_one_record_at_its_middle(
    reward: Reward, tmp_path: Path
) -> None:
    table = PerplexityTable.load(DEFAULT_DIRECTORY / "table.json")
    cells = ObjectiveReward(InCells(table))
    said: list[str] = []
    switch = SurrogateSwitch(cells, 4000, KeptSurrogate(tmp_path, BRIEF, said.append))
    chance = np.random.default_rng(0)
    asked = cells.space.from_unit(chance.random((4000, 2)))
    switch.reward(asked, chance.integers(0, 17, 4000))
    channels, splits, nll = switch.gathering.records()
    assert len(np.unique(channels, axis=0)) == 16
    assert len(nll) == len(np.unique(np.column_stack([channels, splits]), axis=0)) == 16 * 17
    np.testing.assert_array_equal(TableQuality(table).nll(channels, splits), nll)
    switch.switch(4000)
    kept = Surrogate.load(tmp_path)
    assert kept.space.high < cells.space.high  # and beyond, the nearest is answered for
    assert kept.record["asked_for"] == cells.space.to_dict()
    edge = switch.reward(np.array([cells.space.high]), np.array([3]))
    assert edge == switch.reward(np.array([kept.space.high]), np.array([3]))
    assert any(line.startswith("surrogate: asked beyond") for line in said)


def test_too_few_records_name_the_flag_and_what_was_measured_is_kept(
    reward: Reward, tmp_path: Path
) -> None:
    training = TrainingConfig(steps=240, evaluate_every=0, levels=3)

    class Refusing(Remembered):
        def fit(self, *records: Any) -> Quality:
            raise InputError("records: too few")

    switch = SurrogateSwitch(reward, 160, Refusing())
    with pytest.raises(InputError, match="--surrogate-after: 160: records: too few"):
        train(reward, ENVIRONMENT, SHORT["ppo"], training, tmp_path, switch=switch)
    assert checkpoint.load(tmp_path / CHECKPOINT_FILE)[1]["own.records.nll"].shape == (160,)
    source = Remembered()
    switch = SurrogateSwitch(reward, 160, source)
    train(reward, ENVIRONMENT, SHORT["ppo"], training, tmp_path, switch=switch, resume=True)
    assert len(source.fitted) == 1
    whole = SurrogateSwitch(reward, 160, Remembered())
    train(reward, ENVIRONMENT, SHORT["ppo"], training, tmp_path / "whole", switch=whole)
    assert equal(weights_of(tmp_path), weights_of(tmp_path / "whole"))


def test_a_switch_that_nothing_follows_is_refused_or_not_made(
    reward: Reward, tmp_path: Path
) -> None:
    training = TrainingConfig(steps=200, evaluate_every=0, levels=3)  # three updates: 240
    source = Remembered()
    switch = SurrogateSwitch(reward, 200, source)
    with pytest.raises(InputError, match="--surrogate-after: 200 is not allowed; allowed: below"):
        train(reward, ENVIRONMENT, SHORT["ppo"], training, tmp_path, switch=switch)
    switch = SurrogateSwitch(reward, 190, source)
    record = train(reward, ENVIRONMENT, SHORT["ppo"], training, tmp_path, switch=switch)
    assert (record["steps"], record["switched_at"], source.fitted) == (240, None, [])


def test_algorithm_1_needs_a_reward_that_measures() -> None:

    class Published:
        space = ChannelSpace(("loss",), (0.0,), (0.3,))

    with pytest.raises(InputError, match="--surrogate-after: 10"):
        SurrogateSwitch(Published(), 10, Remembered())  # type: ignore[arg-type]
