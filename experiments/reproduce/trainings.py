"""Trainings by configuration: each is done once, and kept in a folder named by what it is of."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import cached_property
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from airsplit.errors import AirSplitError, InputError
from controller.learning.environment import EnvironmentConfig
from controller.learning.hyperparameters import AgentConfig, algorithm_of
from controller.learning.quality import Nearest, Quality
from controller.learning.reward import ObjectiveReward, Reward
from controller.learning.space import Floats, Ints
from controller.learning.training_config import TrainingConfig
from controller.network import NetworkPolicy, load_policy
from controller.registry import load_reward

VERSION = 1
"""Counts up when the same configuration begins to mean another training."""


@dataclass(frozen=True)
class Source:
    """A reward by where it is read from: a published file, a table's JSON or a surrogate's folder.

    lambda and form are those of `ObjectiveReward` by default.
    """

    path: Path

    def load(self) -> Reward:
        """Raises: InputError: it is none of these."""
        return load_reward("--reward", self.path, {})

    @cached_property
    def digest(self) -> str:
        """Of all that is in it."""
        files = sorted(self.path.iterdir()) if self.path.is_dir() else [self.path]
        return _digest(b"".join(file.read_bytes() for file in files if file.is_file()))


@dataclass(frozen=True)
class Training:
    """All that a training depends on."""

    reward: Source
    """What it is evaluated on, and learns on."""

    environment: EnvironmentConfig
    agent: AgentConfig
    steps: int
    seed: int
    surrogate: Source | None = None
    """What it learns on from the second update, where that is not `reward`."""

    evaluate_every: int = 1000

    @property
    def key(self) -> str:
        """The same for the same training; part of a file name."""
        record = {
            "version": VERSION,
            "reward": self.reward.digest,
            "surrogate": self.surrogate.digest if self.surrogate else None,
            "environment": self.environment.to_dict(),
            "algorithm": algorithm_of(self.agent),
            "agent": asdict(self.agent),
            "steps": self.steps,
            "seed": self.seed,
            "evaluate_every": self.evaluate_every,
        }
        return _digest(json.dumps(record, sort_keys=True).encode())


@dataclass(frozen=True)
class Trained:
    """A training's result."""

    directory: Path
    record: dict[str, Any]
    """`policy.json`."""

    @property
    def steps(self) -> Floats:
        """At which it was evaluated, [k]."""
        return np.array([row[0] for row in self.record["curve"]])

    @property
    def returns(self) -> Floats:
        """Exact return of the greedy policy at `steps`, [k]."""
        return np.array([row[1] for row in self.record["curve"]])

    @property
    def scores(self) -> dict[str, float]:
        return dict(self.record["scores"])

    @property
    def fraction(self) -> float:
        """(J - J_random)/(J* - J_random) at the end."""
        return float(self.record["scores"]["fraction_of_optimum"])

    @property
    def policy(self) -> NetworkPolicy:
        return load_policy(self.directory)


@dataclass(frozen=True)
class _Given:
    """The surrogate that there is, for a training that does not make its own."""

    quality: Quality

    def fit(self, quality: Quality, channels: Floats, splits: Ints, nll: Floats) -> Quality:
        return self.quality

    def load(self) -> Quality:
        return self.quality


class Trainings:
    """Does trainings in `folder` with some processes."""

    def __init__(self, folder: Path, workers: int, progress: Callable[[str], None]) -> None:
        self.folder, self.workers, self._progress = folder, workers, progress

    def done(self, wanted: Sequence[Training], what: str) -> list[Trained]:
        """The results, in order; those that are there are not made again.

        Raises:
            AirSplitError: a worker has gone.
        """
        by_key = {training.key: training for training in wanted}
        missing = {key: one for key, one in by_key.items() if not self._path(key).is_file()}
        kept = len(by_key) - len(missing)
        if missing:
            self._progress(f"{what}: {len(missing)} trainings, {kept} are there")
        for number, _ in enumerate(self._run(missing), 1):
            if number % 10 == 0 or number == len(missing):
                self._progress(f"{what}: {number} of {len(missing)}")
        return [self._read(training.key) for training in wanted]

    def _run(self, missing: dict[str, Training]) -> Iterator[str]:
        if self.workers == 1 or len(missing) < 2:
            for key, training in missing.items():
                _train(training, self.folder / key)
                yield key
            return
        # Not forked: torch's threads do not survive that.
        workers = min(self.workers, len(missing))
        with ProcessPoolExecutor(workers, get_context("spawn"), _begin) as pool:
            futures = {
                pool.submit(_train, training, self.folder / key): key
                for key, training in missing.items()
            }
            try:
                for future in as_completed(futures):
                    future.result()
                    yield futures[future]
            except BrokenProcessPool as error:
                raise AirSplitError("reproduce: a worker has gone; is there memory?") from error
            finally:
                for future in futures:
                    future.cancel()

    def _path(self, key: str) -> Path:
        return self.folder / key / "policy.json"

    def _read(self, key: str) -> Trained:
        path = self._path(key)
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read: {error}; remove its folder") from error
        return Trained(path.parent, record)


def _begin() -> None:
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker of a killed parent would wait for trainings for ever."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _train(training: Training, out: Path) -> None:
    """In a worker. `policy.json` is written last and whole, so that its presence says: done."""
    from controller.learning.algorithm import SurrogateSwitch
    from controller.learning.train_policy import CHECKPOINT_FILE, train

    reward = training.reward.load()
    switch = None
    if training.surrogate is not None:
        stand_in = training.surrogate.load()
        if not isinstance(stand_in, ObjectiveReward):
            raise InputError.of("surrogate", str(training.surrogate.path), "a surrogate's folder")
        switch = SurrogateSwitch(reward, 1, _Given(Nearest(stand_in.quality, reward.space)))
    config = TrainingConfig(
        steps=training.steps, seed=training.seed, evaluate_every=training.evaluate_every
    )
    train(reward, training.environment, training.agent, config, out, switch=switch)
    (out / CHECKPOINT_FILE).unlink(missing_ok=True)  # not to be gone on from


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
