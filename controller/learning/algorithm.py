"""Algorithm 1 of the paper: learn on the true reward, gather records, go on with a surrogate.

The paper lists a replay buffer and updates with PPO in one algorithm. They do not go together:
PPO's gradient holds for steps of the present policy alone, and a buffer of older ones would bias
it. Here the *records* (channel, split, NLL) are what is kept and learnt from, by the surrogate,
while PPO and A2C update on their own rollouts as ever; DQN keeps its replay buffer, which after
the switch still holds true rewards until they are pushed out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from controller.learning.quality import Quality
from controller.learning.records import Records
from controller.learning.reward import ObjectiveReward, Reward
from controller.learning.space import ChannelSpace, Floats, Ints
from controller.learning.surrogate import Surrogate
from controller.learning.surrogate_config import SurrogateConfig
from controller.policy import ModelId


class SurrogateSource(Protocol):
    """Where the surrogate comes from."""

    def fit(self, quality: Quality, channels: Floats, splits: Ints, nll: Floats) -> Quality:
        """Trains one on records of a quality, [n, k], [n] and [n], and keeps it."""

    def load(self) -> Quality:
        """The one that was kept."""


@dataclass
class Gathering:
    """A quality that remembers what it has answered."""

    quality: Quality
    channels: list[Floats] = field(default_factory=list)
    asked: list[Ints] = field(default_factory=list)
    answers: list[Floats] = field(default_factory=list)

    @property
    def model(self) -> ModelId:
        return self.quality.model

    @property
    def space(self) -> ChannelSpace:
        return self.quality.space

    @property
    def splits(self) -> LayerRange:
        return self.quality.splits

    @property
    def clean_nll(self) -> float:
        return self.quality.clean_nll

    def nll(self, channels: Floats, splits: Ints) -> Floats:
        values = self.quality.nll(channels, splits)
        self.channels.append(np.array(channels))
        self.asked.append(np.array(splits))
        self.answers.append(values)
        return values

    def rows(self, channels: Floats) -> Floats:
        """Not remembered: environments ask for single splits."""
        return self.quality.rows(channels)

    def records(self) -> tuple[Floats, Ints, Floats]:
        """All that was answered so far, in order: channels [n, k], splits [n], NLL [n]."""
        if not self.asked:
            return np.empty((0, len(self.space.names))), np.empty(0, np.int64), np.empty(0)
        return (
            np.concatenate(self.channels),
            np.concatenate(self.asked),
            np.concatenate(self.answers),
        )

    def put_back(self, channels: Floats, splits: Ints, nll: Floats) -> None:
        """Remembers records of before, as `records` gave them."""
        self.channels, self.asked, self.answers = [channels], [splits], [nll]


class SurrogateSwitch:
    """The reward that an agent learns on: the true one for `after` steps, then the surrogate's.

    Raises:
        InputError: the reward is not made of a quality that a surrogate could stand for.
    """

    def __init__(self, reward: Reward, after: int, source: SurrogateSource) -> None:
        if after < 1:
            raise InputError.of("--surrogate-after", after, "at least 1")
        if not isinstance(reward, ObjectiveReward):
            allowed = "none: --reward has to measure perplexities (model, or a table of them)"
            raise InputError.of("--surrogate-after", after, allowed)
        self.after = after
        self.switched = False
        self.gathering = Gathering(reward.quality)
        self.reward: Reward = replace(reward, quality=self.gathering)
        """What to learn on now."""

        self._true = reward
        self._source = source

    def due(self, steps: int) -> bool:
        return not self.switched and steps >= self.after

    def switch(self) -> None:
        """Trains the surrogate on what was gathered, and takes its reward from now on."""
        records = self.gathering.records()
        self._take(self._source.fit(self.gathering.quality, *records))

    def switch_back_in(self) -> None:
        """Takes the reward of the surrogate that was trained before the training was resumed."""
        self._take(self._source.load())

    def _take(self, surrogate: Quality) -> None:
        self.reward = replace(self._true, quality=surrogate)
        self.switched = True


@dataclass(frozen=True, slots=True)
class KeptSurrogate:
    """A surrogate that is trained on gathered records, and kept in a directory of its own."""

    directory: Path
    seed: int = 0

    def fit(self, quality: Quality, channels: Floats, splits: Ints, nll: Floats) -> Quality:
        """Raises: InputError: too few records to train on, or it cannot be written."""
        from controller.learning.train_surrogate import train_surrogate

        records = Records(
            model=quality.model,
            space=quality.space,  # episodes go anywhere in it, records came close to its ends
            splits=quality.splits,
            channels=channels,
            split=splits,
            nll=nll,
            clean_nll=quality.clean_nll,
            nll_se=np.zeros(len(nll)),
        )
        trained = train_surrogate(records, SurrogateConfig(seed=self.seed), lambda line: None)
        trained.save(self.directory)
        return trained

    def load(self) -> Quality:
        """Raises: InputError: there is none."""
        return Surrogate.load(self.directory)
