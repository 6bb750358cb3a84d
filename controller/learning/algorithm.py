"""Algorithm 1 of the paper: learn on the true reward, gather records, go on with a surrogate.

The paper lists a replay buffer and updates with PPO in one algorithm. They do not go together:
PPO's gradient holds for steps of the present policy alone, and a buffer of older ones would bias
it. Here the *records* (channel, split, NLL) are what is kept and learnt from, by the surrogate,
while PPO and A2C update on their own rollouts as ever; DQN keeps its replay buffer, which after
the switch still holds true rewards until they are pushed out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from controller.learning.quality import Measured, Nearest, Quality
from controller.learning.records import Records, spanned
from controller.learning.reward import ObjectiveReward, Reward
from controller.learning.space import ChannelSpace, Floats, Ints
from controller.learning.surrogate import Surrogate
from controller.learning.surrogate_config import SurrogateConfig
from controller.policy import ModelId


class SurrogateSource(Protocol):
    """Where the surrogate comes from."""

    def fit(self, quality: Quality, channels: Floats, splits: Ints, nll: Floats) -> Quality:
        """Trains one on records of a quality, [n, k], [n] and [n], and keeps it.

        Raises:
            InputError: there are too few records.
        """

    def load(self) -> Quality:
        """The one that was kept."""


@dataclass
class Gathering:
    """A quality that remembers what it has answered, and of which channel that was: of a model that
    is measured for a cell of channels, the cell's middle."""

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
        at = self.quality.measured_at(channels) if isinstance(self.quality, Measured) else channels
        self.channels.append(np.array(at))
        self.asked.append(np.array(splits))
        self.answers.append(values)
        return values

    def rows(self, channels: Floats) -> Floats:
        """Not remembered: environments ask for single splits."""
        return self.quality.rows(channels)

    def records(self) -> tuple[Floats, Ints, Floats]:
        """What was answered so far, each channel and split once, in order: channels [n, k],
        splits [n], NLL [n]. A twin in the test of a surrogate would have been learnt before."""
        if not self.asked:
            return np.empty((0, len(self.space.names))), np.empty(0, np.int64), np.empty(0)
        channels, splits = np.concatenate(self.channels), np.concatenate(self.asked)
        rows = np.column_stack([channels, splits])
        once = np.sort(np.unique(rows, axis=0, return_index=True)[1])
        return channels[once], splits[once], np.concatenate(self.answers)[once]

    def span(self) -> None:
        """Asks for every split at the corners of the space: a surrogate answers only between what
        was measured, and an episode may go anywhere."""
        corners = self.space.grid([2] * len(self.space.names))
        each = np.repeat(corners, len(self.splits), axis=0)
        self.nll(each, np.tile(np.array([*self.splits]), len(corners)))

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
        self.switched_at: int | None = None
        """Steps before the surrogate's reward was taken; None: it is the true one still."""

        self.gathering = Gathering(reward.quality)
        self.reward: Reward = replace(reward, quality=self.gathering)
        """What to learn on now."""

        self._true = reward
        self._source = source

    def due(self, steps: int) -> bool:
        return self.switched_at is None and steps >= self.after

    def switch(self, steps: int) -> None:
        """Trains the surrogate on what was gathered, and takes its reward from now on.

        Raises:
            InputError: what was gathered is too little.
        """
        self.gathering.span()
        try:
            surrogate = self._source.fit(self.gathering.quality, *self.gathering.records())
        except InputError as error:
            raise InputError(f"--surrogate-after: {self.after}: {error}") from error
        self._take(surrogate, steps)

    def switch_back_in(self, steps: int) -> None:
        """Takes the reward of the surrogate that was trained before the training was resumed."""
        self._take(self._source.load(), steps)

    def _take(self, surrogate: Quality, steps: int) -> None:
        # Measured at middles of cells, it ends half a cell before the space does. Beyond, the
        # nearest channel is what the truth answers for too.
        self.reward = replace(self._true, quality=Nearest(surrogate, self._true.space))
        self.switched_at = steps


@dataclass(frozen=True, slots=True)
class KeptSurrogate:
    """A surrogate that is trained on gathered records, and kept in a directory of its own."""

    directory: Path
    config: SurrogateConfig = field(default_factory=SurrogateConfig)
    say: Callable[[str], None] = lambda line: None

    def fit(self, quality: Quality, channels: Floats, splits: Ints, nll: Floats) -> Quality:
        """Raises: InputError: too few records to train on, or it cannot be written."""
        from controller.learning.train_surrogate import train_surrogate

        records = Records(
            model=quality.model,
            space=spanned(quality.space.names, channels),
            splits=LayerRange(int(splits.min()), int(splits.max()) + 1),
            channels=channels,
            split=splits,
            nll=nll,
            clean_nll=quality.clean_nll,
            nll_se=np.zeros(len(nll)),
        )
        found = train_surrogate(records, self.config, self.say)
        if records.space != quality.space:
            self.say(f"surrogate: asked beyond {records.space}, it answers as at the nearest edge")
        record = {**found.record, "asked_for": quality.space.to_dict()}
        trained = replace(found, record=record)
        trained.save(self.directory)
        return trained

    def load(self) -> Quality:
        """Raises: InputError: there is none."""
        return Surrogate.load(self.directory)
