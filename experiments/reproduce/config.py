"""What `airsplit reproduce` is asked for, and what its figures are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from airsplit.checkpoint import EMBEDDED
from airsplit.errors import InputError
from airsplit.text import SAMPLE
from controller.learning.cases import Case
from controller.learning.dynamics import Drift, ReleasedDrift
from controller.learning.environment import EnvironmentConfig
from controller.learning.hyperparameters import agent_config
from controller.learning.published import PublishedReward
from controller.learning.reward import Reward
from experiments.reproduce.trainings import Source, Trained, Training, Trainings, cores

TARGETS = ("table3", "fig3", "fig5", "fig6", "fig7", "fig8", "fig9")

MARGIN = 0.05
"""Of the way from random to the optimum: what is nearer than that counts as alike."""

MOVES = 1
"""u: three actions, the paper's baseline."""


@dataclass(frozen=True)
class ReproduceConfig:
    """What to make.

    Raises:
        InputError: a value is out of its range, or a file is not there.
    """

    out: Path
    targets: tuple[str, ...] = TARGETS
    quick: bool = False
    """Fewer seeds, steps, channels and windows: to see everything work in minutes."""

    seeds: int | None = None
    """Of trainings; None: 5, or 3 where quick."""

    steps: int | None = None
    """Environment steps of a training; None: the paper's 24 000, or 6000 where quick."""

    reward: Path | None = None
    """The authors' reward model; None: their setting is left out."""

    embedded: bool = True
    """Whether the measured model is part of it."""

    records: tuple[Path, ...] = ()
    """Of the model, for the surrogates; none: they are collected."""

    model: str = EMBEDDED
    dataset: str = SAMPLE
    window: int = 256
    """Tokens of a window."""

    windows: int | None = None
    """Of a record; None: 4, or 2 where quick. Fig. 3 has six times as many."""

    workers: int | None = None
    """Processes; None: one a core."""

    def __post_init__(self) -> None:
        for target in self.targets:
            if target not in TARGETS:
                raise InputError.of("TARGET", target, ", ".join(TARGETS))
        seeds_fit = self.seeds is None or 2 <= self.seeds <= 1000
        steps_fit = self.steps is None or 400 <= self.steps <= 10_000_000
        workers_fit = self.workers is None or 1 <= self.workers <= 1024
        windows_fit = self.windows is None or 2 <= self.windows <= 10_000
        for flag, value, fits, allowed in (
            ("--seeds", self.seeds, seeds_fit, "2-1000, for an interval"),
            ("--steps", self.steps, steps_fit, "400-10000000"),
            ("--workers", self.workers, workers_fit, "1-1024"),
            ("--windows", self.windows, windows_fit, "2-10000, for an interval"),
            ("--window", self.window, self.window >= 2, "at least 2"),
        ):
            if not fits:
                raise InputError.of(flag, value, allowed)
        if self.reward is None and not self.embedded:
            raise InputError("--reward: is missing; allowed: none only without --published-only")

    @property
    def seed_count(self) -> int:
        return self.seeds or (3 if self.quick else 5)

    @property
    def step_count(self) -> int:
        return self.steps or (6000 if self.quick else 24_000)

    @property
    def window_count(self) -> int:
        return self.windows or (2 if self.quick else 4)

    @property
    def worker_count(self) -> int:
        return self.workers or cores()


@dataclass(frozen=True)
class Setting:
    """A decision process to train on, and how the paper's cases are named in it."""

    name: str
    """Part of file names."""

    title: str
    reward: Source
    """What everything is evaluated on."""

    environment: EnvironmentConfig
    """Of case A with the paper's three actions."""

    surrogate: Source | None = None
    """What can be learnt on in place of `reward`."""

    also: tuple[Source, ...] = ()
    """Rewards of other states of the same model, for Fig. 7."""

    def load(self) -> Reward:
        return self.reward.load()

    @property
    def channel(self) -> str:
        """How a channel goes on, for a caption."""
        match self.environment.dynamics:
            case Drift(sd=sd):
                share = 100 * self.environment.fading_share
                return (
                    f"The channel: σ (or the loss) walks at random by {100 * sd:g} % of its range "
                    f"a step (docs/policy.md); of (σ, m), {share:g} % of the episodes fade."
                )
            case ReleasedDrift(rate=rate):
                share = 100 * rate
                return (
                    f"The channel: a layer up takes {share:g} % of the loss, a layer down adds it."
                )
        return f"The channel: {self.environment.dynamics.describe()['dynamics']}."


PUBLISHED = "published"
EMBEDDED_SETTING = "measured"


def published_setting(path: Path) -> Setting:
    """The authors' reward model, their drift, their start states."""
    if not path.is_file():
        raise InputError(f"--reward: {path} is not there; allowed: the authors' file, or no flag")
    PublishedReward.load(path)
    environment = EnvironmentConfig(case=Case.RELEASED, max_move=MOVES, dynamics=ReleasedDrift())
    return Setting(PUBLISHED, "the authors' reward model", Source(path), environment)


def measured_setting(model: str, table: Path, surrogates: dict[str, Path]) -> Setting:
    """Eq. 9 on a measured table; `surrogates` by the first coordinate of their state."""
    also = (Source(surrogates["loss"]),) if "loss" in surrogates else ()
    environment = EnvironmentConfig(case=Case.A, max_move=MOVES)
    surrogate = Source(surrogates["sigma"]) if "sigma" in surrogates else None
    title = f"{model}, measured"
    return Setting(EMBEDDED_SETTING, title, Source(table), environment, surrogate, also)


@dataclass(frozen=True)
class Context:
    """What a figure is made with."""

    config: ReproduceConfig
    settings: tuple[Setting, ...]
    trainings: Trainings
    progress: Callable[[str], None]

    def wanted(
        self,
        setting: Setting,
        algorithm: str = "ppo",
        *,
        preset: str = "table4",
        changes: dict[str, Any] | None = None,
        reward: Source | None = None,
        surrogate: Source | None = None,
        **environment: Any,
    ) -> list[Training]:
        """One training a seed: the setting's with some fields of the environment changed."""
        agent = agent_config(algorithm, preset, changes or {})
        return [
            Training(
                reward=reward or setting.reward,
                environment=replace(setting.environment, **environment),
                agent=agent,
                steps=self.config.step_count,
                seed=seed,
                surrogate=surrogate,
            )
            for seed in range(self.config.seed_count)
        ]

    def train(self, what: str, groups: Sequence[list[Training]]) -> list[list[Trained]]:
        """All groups at once, so that no worker waits between them."""
        flat = self.trainings.done([one for group in groups for one in group], what)
        found = iter(flat)
        return [[next(found) for _ in group] for group in groups]
