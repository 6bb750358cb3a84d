"""What happens between two updates of a training: evaluate, save, switch the reward, stop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from airsplit.errors import InputError
from controller.learning import checkpoint
from controller.learning.agents import networks, sb3_env
from controller.learning.algorithm import SurrogateSwitch
from controller.learning.export import Weights
from controller.learning.optimum import Scores
from controller.learning.training_config import TrainingConfig


class Enough(Exception):  # noqa: N818 (it is no error)
    """The training has learnt what it will."""


class Supervisor(BaseCallback):
    """Looks up from the training where stable-baselines3 is between two updates.

    A first Ctrl-C waits for that moment, so that the checkpoint is one to go on from; a second
    does not wait.
    """

    def __init__(
        self,
        agent: BaseAlgorithm,
        path: Path,
        setup: Mapping[str, Any],
        training: TrainingConfig,
        scores_of: Callable[[Weights], Scores],
        switch: SurrogateSwitch | None = None,
    ) -> None:
        """
        Args:
            path: of the checkpoint.
            setup: what a training that goes on from it has to have in common with this one.
            scores_of: evaluates exported weights.
        """
        super().__init__()
        self.curve: list[list[float]] = []
        """[steps, exact return of the greedy policy, fraction of the optimum] of each look."""

        self.best: Weights = networks(agent)
        """Of the look with the best return."""

        self._agent, self._path, self._setup = agent, path, setup
        self._training, self._scores_of, self._switch = training, scores_of, switch
        self._looked = 0
        """Steps at the last look."""

        self._interrupted = False
        self._before = 0.0
        """Seconds of the runs that this one goes on from."""

        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Of the whole training, runs before this one included."""
        return self._before + time.monotonic() - self._started

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if (mean_return := sb3_env(self._agent).mean_return) is not None:
            self.logger.record("rollout/episode_return", mean_return)

    def _on_rollout_start(self) -> None:
        self.look()
        if self._interrupted:
            raise KeyboardInterrupt
        if self._training.patience and self._stale >= self._training.patience:
            raise Enough

    def look(self, last: bool = False) -> None:
        """Does what is due after as many steps; at the end of the training, evaluates and saves."""
        steps = self._agent.num_timesteps
        fresh = steps > self._looked
        if self._passed(steps, self._training.evaluate_every) or (last and fresh):
            self._evaluate(steps)
        save = self._passed(steps, self._training.checkpoint_every)
        self._looked = steps
        if self._switch and self._switch.due(steps) and not last:
            self.save()  # what was measured may have taken hours, and may be too little
            self._switch.switch(steps)
            sb3_env(self._agent).core.reward = self._switch.reward
        if save or last or self._interrupted:
            self.save()

    def _passed(self, steps: int, every: int) -> bool:
        """Whether a multiple of `every` lies after the last look and not after `steps`."""
        return bool(every) and steps // every > self._looked // every

    def _evaluate(self, steps: int) -> None:
        weights = networks(self._agent)
        scores = self._scores_of(weights)
        if not self.curve or scores.policy > max(reward for _, reward, _ in self.curve):
            self.best = weights
        self.curve.append([steps, scores.policy, scores.fraction_of_optimum])
        self.logger.record("evaluation/return", scores.policy)
        self.logger.record("evaluation/fraction_of_optimum", scores.fraction_of_optimum)

    @property
    def _stale(self) -> int:
        """Looks since the best one."""
        returns = [reward for _, reward, _ in self.curve]
        return len(returns) - 1 - returns.index(max(returns)) if returns else 0

    def save(self) -> None:
        """Raises: InputError: the checkpoint cannot be written."""
        own: dict[str, Any] = {
            "setup": self._setup,
            "curve": self.curve,
            "looked": self._looked,
            "seconds": round(self.seconds, 3),
        }
        more = {f"best.{name}": torch.from_numpy(value) for name, value in self.best.items()}
        if self._switch:
            own["switched_at"] = self._switch.switched_at
            names = ("channels", "splits", "nll")
            records = zip(names, self._switch.gathering.records(), strict=True)
            more |= {f"records.{name}": torch.from_numpy(values) for name, values in records}
        checkpoint.save(self._agent, self._path, own, more)

    def resume(self) -> None:
        """Goes back to the checkpoint.

        Raises:
            InputError: there is none, or it is of another training; names the difference.
        """
        record, tensors = checkpoint.load(self._path)
        own = record.get("own")
        found = own.get("setup") if isinstance(own, dict) else None
        if not isinstance(own, dict) or not isinstance(found, dict):
            raise InputError(f"--resume: {self._path} lacks what the training was")
        for name, value in self._setup.items():
            if found.get(name) != value:
                given, was = _difference(value, found.get(name))
                raise InputError(f"--resume: {name} is {given}, in {self._path} it is {was}")
        checkpoint.restore(self._agent, record, tensors)
        try:
            self._take_back(own, checkpoint.part(tensors, "own."))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"--resume: {self._path} is damaged: {error!r}") from error
        if self._switch and self._switch.switched_at is not None:
            sb3_env(self._agent).core.reward = self._switch.reward

    def _take_back(self, own: Mapping[str, Any], mine: checkpoint.Tensors) -> None:
        self.best = {key: value.numpy() for key, value in checkpoint.part(mine, "best.").items()}
        self.curve, self._looked = list(own["curve"]), int(own["looked"])
        self._before = float(own["seconds"])
        if self._switch:
            kept = checkpoint.part(mine, "records.")
            arrays = (kept[name].numpy() for name in ("channels", "splits", "nll"))
            self._switch.gathering.put_back(*arrays)
            if own["switched_at"] is not None:
                self._switch.switch_back_in(int(own["switched_at"]))

    @contextmanager
    def catching_interrupts(self) -> Iterator[None]:
        """Within it Ctrl-C and SIGTERM wait for the next look. No effect off the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._interrupt) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True


def _difference(given: Any, was: Any) -> tuple[Any, Any]:
    """Of two records only what differs."""
    if not (isinstance(given, dict) and isinstance(was, dict)):
        return given, was
    names = [name for name in given.keys() | was.keys() if given.get(name) != was.get(name)]
    return {n: given.get(n) for n in sorted(names)}, {n: was.get(n) for n in sorted(names)}
