"""How long to train, and what happens on the way. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from airsplit.errors import InputError
from controller.learning.optimum import LEVELS


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Of any algorithm.

    Raises:
        InputError: a value is out of its range.
    """

    steps: int = 24_000
    """Environment steps, of all environments together; rounded up to whole updates."""

    seed: int = 0
    """Of the environment, the networks' start, and the sampling of actions and batches."""

    evaluate_every: int = 2000
    """Steps between two exact evaluations of the greedy policy; 0: only at the end."""

    patience: int = 0
    """Stop after so many evaluations without a better return, and serve the best; 0: never."""

    checkpoint_every: int = 0
    """Steps between two checkpoints; 0: only at the end and on Ctrl-C."""

    levels: int = LEVELS
    """Channels along each coordinate that an exact evaluation enumerates."""

    tensorboard: Path | None = None
    """Where event files go."""

    def __post_init__(self) -> None:
        least = {
            "steps": 1,
            "evaluate_every": 0,
            "patience": 0,
            "checkpoint_every": 0,
            "levels": 2,
        }
        for name, bound in least.items():
            if getattr(self, name) < bound:
                flag = "--" + name.replace("_", "-")
                raise InputError.of(flag, getattr(self, name), f"at least {bound}")
        if not 0 <= self.seed < 2**32:
            raise InputError.of("--seed", self.seed, "0-4294967295")
        if self.patience and not self.evaluate_every:
            raise InputError.of("--patience", self.patience, "0 where --evaluate-every is 0")
