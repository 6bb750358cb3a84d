"""Fig. 7: 500 decisions of the trained agent against the channel, with a LOESS trend."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np

from airsplit.layer_range import LayerRange
from controller.learning import rollout
from controller.learning.environment import EnvironmentConfig, SplitVectorEnv
from controller.learning.reward import Reward
from controller.learning.space import Floats, Ints
from experiments.live_summary import Interval
from experiments.reproduce import curves
from experiments.reproduce.config import Context, Setting
from experiments.reproduce.loess import loess, loess_band, r_squared
from experiments.reproduce.result import Picture, Result, Row, csv_text
from experiments.reproduce.statistics import Claim, Finding

DECISIONS = 500
PLAY_SEED = 20_000
LABELS = {"sigma": "noise σ", "loss": "loss"}
STATES = {"sigma": "state (σ, m, p)", "loss": "state (loss, p)"}


@dataclass(frozen=True)
class Decisions:
    """The split at the end of each episode, and the channel that it was chosen for."""

    name: str
    """The channel's first coordinate: sigma or loss."""

    x: Floats
    """[seeds, DECISIONS]"""

    splits: Ints
    """[seeds, DECISIONS]"""

    optimum: Ints
    """Of the optimum from the same starts under the same channels: [seeds, DECISIONS]."""

    allowed: LayerRange
    """Splits that there are."""

    fraction: list[float]
    """x of each seed."""

    @property
    def slopes(self) -> list[float]:
        """Layers over the whole range of x, by least squares, of each seed."""
        span = self.x.max() - self.x.min()
        pairs = zip(self.x, self.splits, strict=True)
        return [float(np.polyfit(x, p, 1)[0] * span) for x, p in pairs]


def make(context: Context) -> Result:
    claims: list[Claim] = []
    rows: list[Row] = []
    pictures = []
    for setting in context.settings:
        every = [_decisions(context, setting)]
        for source in setting.also:
            # A surrogate of another state of this model is the only reward there is of it.
            every.append(_decisions(context, replace(setting, reward=source, surrogate=None)))
        claims += [_claim(setting, found) for found in every]
        rows += [_row(setting, found) for found in every]
        pictures.append(_picture(context, setting, every))
    title = "Fig. 7: decisions against the channel"
    return Result("fig7", title, tuple(claims), tuple(rows), tuple(pictures))


def _decisions(context: Context, setting: Setting) -> Decisions:
    reward, environment = setting.load(), setting.environment
    name = reward.space.names[0]
    (group,) = context.train(f"fig7, {setting.name}, {name}", [context.wanted(setting)])
    found = [
        _played(rollout.steady(one.policy.next_splits), reward, environment, seed)
        for seed, one in enumerate(group)
    ]
    best = [
        _played(rollout.optimal(reward, environment), reward, environment, seed)
        for seed in range(len(group))
    ]
    return Decisions(
        name,
        np.stack([x for x, _ in found]),
        np.stack([splits for _, splits in found]),
        np.stack([splits for _, splits in best]),
        reward.splits,
        [one.fraction for one in group],
    )


def _played(
    player: rollout.Player, reward: Reward, environment: EnvironmentConfig, seed: int
) -> tuple[Floats, Ints]:
    """Channels' first coordinate and splits after the last step of each episode, [DECISIONS]."""
    env = SplitVectorEnv(reward, environment, DECISIONS, PLAY_SEED + seed)
    u, splits = environment.max_move, reward.splits
    for left in range(environment.episode_steps, 0, -1):
        at, channels = env.splits.copy(), env.channels.copy()
        wanted = player(channels, at, left).clip(splits.start, splits.stop - 1)
        moves = np.clip(wanted - at, -u, u)
        env.step(moves + u)
    return channels[:, 0], at + moves


def _claim(setting: Setting, found: Decisions) -> Claim:
    label = LABELS[found.name]
    slope = Finding(f"layers from least to greatest {label}, straight line",
                    Interval.of(found.slopes), form="{:+.2f}")  # fmt: skip
    note = (
        f"The optimum's own is {_slope_of_optimum(found):+.2f}; the policies have x "
        f"{Interval.of(found.fraction).text('{:.3f}')}. A split counts where its episode ends: "
        "five moves after a random start."
    )
    return Claim(setting.title, f"The greater the {label}, the later the split", (slope,), note)


def _slope_of_optimum(found: Decisions) -> float:
    optimum = replace(found, splits=found.optimum)
    return float(np.mean(optimum.slopes))


def _row(setting: Setting, found: Decisions) -> Row:
    slope = "{:+.2f} ± {:.2f}".format(*astuple(Interval.of(found.slopes)))
    x, p = found.x[0], found.splits[0]
    share = r_squared(p, loess(x, p.astype(float), x))
    fraction = Interval.of(found.fraction).text("{:.3f}")
    return Row(
        f"{setting.title}: layers over the range of {LABELS[found.name]}",
        "positive; slope and R² in the figure",
        f"{slope}; R² of LOESS {share:.2f} (seed 0); x {fraction}",
        f"{_slope_of_optimum(found):+.2f}",
    )


def _picture(context: Context, setting: Setting, every: list[Decisions]) -> Picture:
    rows: list[list[object]] = []

    def draw(grid: Any) -> None:
        for axes, found in zip(grid[0], every, strict=True):
            _draw(axes, found)
            axes.set(title=f"{setting.title}, {STATES[found.name]}")
        curves.legend(grid[0][0], 3)

    for found in every:
        for seed in range(len(found.x)):
            cells = (found.x[seed], found.splits[seed], found.optimum[seed])
            rows += [[found.name, seed, float(x), int(p), int(best)]
                     for x, p, best in zip(*cells, strict=True)]  # fmt: skip
    caption = (
        f"{DECISIONS} decisions of PPO, seed 0 of {context.config.seed_count}, case "
        f"{setting.environment.case}, 3 actions, Table 4's settings: the split at the end of an "
        "episode of 5 steps (moved apart a little, so that equal ones are seen). LOESS of span "
        "0.75 with a bootstrap 95 % band; grey: the same of the optimum's decisions."
    )
    png = curves.picture(1, len(every), draw, height=4.0)
    fields = ("coordinate", "seed", "value", "split", "optimum")
    return Picture(f"fig7-{setting.name}", f"Fig. 7, {setting.title}", png,
                   csv_text(fields, rows), caption)  # fmt: skip


def _draw(axes: Any, found: Decisions) -> None:
    x, p = found.x[0], found.splits[0].astype(float)
    at = np.linspace(x.min(), x.max(), 80)
    apart = np.random.default_rng(0).uniform(-0.25, 0.25, len(p))
    axes.plot(x, p + apart, ".", color=curves.COLORS[0], ms=3, alpha=0.4, label="decisions")
    axes.plot(at, loess(x, p, at), color=curves.COLORS[1], lw=2, label="LOESS")
    axes.fill_between(at, *loess_band(x, p, at), color=curves.COLORS[1], alpha=0.2, lw=0)
    best = loess(x, found.optimum[0].astype(float), at)
    axes.plot(at, best, color=curves.REFERENCE, ls="--", lw=1.5, label="LOESS of the optimum")
    axes.set(xlabel=LABELS[found.name], ylabel="split p: layers at the UE")
    axes.set_ylim(found.allowed.start - 0.6, found.allowed.stop - 0.4)
