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
from experiments.reproduce import curves, horizon
from experiments.reproduce.config import Context, Setting
from experiments.reproduce.loess import loess, loess_band, r_squared
from experiments.reproduce.result import NOT_GIVEN, Picture, Result, Row, csv_text
from experiments.reproduce.statistics import Claim, Finding

DECISIONS = 500
PLAY_SEED = 20_000
LABELS = {"sigma": "noise σ", "loss": "loss"}
STATES = {"sigma": "state (σ, m, p)", "loss": "state (loss, p)"}


TABLE4, OURS, OPTIMUM = "Table 4", "our settings", "optimum"


@dataclass(frozen=True)
class Played:
    """Where the episodes of one player ended."""

    x: Floats
    """The channel's first coordinate that the last decision was made for: [seeds, DECISIONS]."""

    splits: Ints
    """[seeds, DECISIONS]"""

    @property
    def slopes(self) -> list[float]:
        """Layers over the whole range of x, by least squares, of each seed."""
        span = self.x.max() - self.x.min()
        pairs = zip(self.x, self.splits, strict=True)
        return [float(np.polyfit(x, p, 1)[0] * span) for x, p in pairs]

    @property
    def shares(self) -> list[float]:
        """R² of LOESS, of each seed."""
        pairs = zip(self.x, self.splits.astype(float), strict=True)
        return [r_squared(p, loess(x, p, x)) for x, p in pairs]

    @property
    def text(self) -> str:
        """Slope and R² with their intervals over seeds."""
        slope = "{:+.2f} ± {:.2f}".format(*astuple(Interval.of(self.slopes)))
        return f"{slope}, R² {Interval.of(self.shares).text('{:.2f}')}"


@dataclass(frozen=True)
class Decisions:
    """Of PPO with two sets of settings, and of the optimum, from the same starts."""

    name: str
    """The channel's first coordinate: sigma or loss."""

    played: dict[str, Played]
    allowed: LayerRange
    """Splits that there are."""

    fractions: dict[str, list[float]]
    """x of each seed, of the trained ones."""

    reason: str


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
        rows += [row for found in every for row in _rows(setting, found)]
        pictures.append(_picture(context, setting, every))
    title = "Fig. 7: decisions against the channel"
    return Result("fig7", title, tuple(claims), tuple(rows), tuple(pictures))


def _decisions(context: Context, setting: Setting) -> Decisions:
    reward, environment = setting.load(), setting.environment
    name = reward.space.names[0]
    table4, ours = context.train(
        f"fig7, {setting.name}, {name}",
        [context.wanted(setting), context.wanted(setting, preset="best")],
    )
    trained = {TABLE4: table4, OURS: ours}

    def played(players: list[rollout.Player]) -> Played:
        ends = [_played(one, reward, environment, seed) for seed, one in enumerate(players)]
        return Played(np.stack([x for x, _ in ends]), np.stack([splits for _, splits in ends]))

    steady = rollout.steady
    found = {
        line: played([steady(one.policy.next_splits) for one in group])
        for line, group in trained.items()
    }
    best = rollout.optimal(reward, environment)
    return Decisions(
        name,
        {**found, OPTIMUM: played([best] * len(table4))},
        reward.splits,
        {line: curves.fractions(group) for line, group in trained.items()},
        horizon.reason(setting, environment.case),
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
    label, slopes = LABELS[found.name], found.played[TABLE4].slopes
    slope = Finding(f"layers from least to greatest {label}, straight line",
                    Interval.of(slopes), form="{:+.2f}")  # fmt: skip
    best, ours = (float(np.mean(found.played[line].slopes)) for line in (OPTIMUM, OURS))
    note = (
        f"The optimum's own is {best:+.2f}, that of PPO with our settings {ours:+.2f}; the "
        f"policies have x {Interval.of(found.fractions[TABLE4]).text('{:.3f}')}. A split counts "
        f"where its episode ends: five moves after a random start. {found.reason}"
    )
    return Claim(setting.title, f"The greater the {label}, the later the split", (slope,), note)


def _rows(setting: Setting, found: Decisions) -> list[Row]:
    what = f"{setting.title}: layers over the range of {LABELS[found.name]}, PPO, {{}}"
    given = "positive; slope and R² in the figure"
    return [
        Row(what.format(line), given if line == TABLE4 else NOT_GIVEN,
            f"{found.played[line].text}; x {Interval.of(fractions).text('{:.3f}')}",
            found.played[OPTIMUM].text)
        for line, fractions in found.fractions.items()
    ]  # fmt: skip


def _picture(context: Context, setting: Setting, every: list[Decisions]) -> Picture:
    rows: list[list[object]] = []

    def draw(grid: Any) -> None:
        for axes, found in zip(grid[0], every, strict=True):
            rows.extend(_draw(axes, found))
            axes.set(title=f"{setting.title}, {STATES[found.name]}")
        curves.legend(grid[0][0], 4)

    png = curves.picture(1, len(every), draw, height=4.4)
    for found in every:
        rows += _numbers(found)
    environment = setting.environment
    caption = (
        f"{DECISIONS} decisions of PPO, seed 0 of {context.config.seed_count}, case "
        f"{environment.case}, {2 * environment.max_move + 1} actions, Table 4's settings: the "
        f"split at the end of an episode of {environment.episode_steps} steps (moved apart a "
        "little, so that equal ones are seen). So few moves of one layer leave most of a split to "
        "its random start, also the optimum's. LOESS of span 0.75 with a bootstrap 95 % band; "
        "dashed: the same of PPO with our settings (docs/policy.md) and of the optimum's "
        f"decisions. Slopes and R² are those of all seeds. {setting.channel}"
    )
    return Picture(f"fig7-{setting.name}", f"Fig. 7, {setting.title}", png,
                   csv_text(FIELDS, rows), caption)  # fmt: skip


FIELDS = ("coordinate", "kind", "line", "seed", "value", "split", "low", "high")
"""kind: decision (value: the channel's coordinate), loess (of seed 0; low and high: its band), or
slope and r2 (value: that number)."""


def _numbers(found: Decisions) -> list[list[object]]:
    rows: list[list[object]] = []
    for line, played in found.played.items():
        for seed, (x, splits) in enumerate(zip(played.x, played.splits, strict=True)):
            for kind, values in (("slope", played.slopes), ("r2", played.shares)):
                rows.append([found.name, kind, line, seed, values[seed], "", "", ""])
            rows += [[found.name, "decision", line, seed, float(value), int(split), "", ""]
                     for value, split in zip(x, splits, strict=True)]  # fmt: skip
    return rows


STYLES = {TABLE4: (curves.COLORS[1], "-"), OURS: (curves.COLORS[2], "--"),
          OPTIMUM: (curves.REFERENCE, "--")}  # fmt: skip


def _draw(axes: Any, found: Decisions) -> list[list[object]]:
    """Draws, and returns the trends for `FIELDS`."""
    shown = found.played[TABLE4]
    x, p = shown.x[0], shown.splits[0].astype(float)
    apart = np.random.default_rng(0).uniform(-0.25, 0.25, len(p))
    axes.plot(x, p + apart, ".", color=curves.COLORS[0], ms=3, alpha=0.4, label="decisions")
    rows: list[list[object]] = []
    for line, played in found.played.items():
        x, p = played.x[0], played.splits[0].astype(float)
        at = np.linspace(x.min(), x.max(), 80)
        trend = loess(x, p, at)
        color, style = STYLES[line]
        axes.plot(at, trend, color=color, ls=style, lw=1.8, label=f"LOESS, {line}")
        low, high = loess_band(x, p, at)
        if line == TABLE4:
            axes.fill_between(at, low, high, color=color, alpha=0.2, lw=0)
        cells = zip(at.tolist(), trend.tolist(), low.tolist(), high.tolist(), strict=True)
        rows += [[found.name, "loess", line, 0, *cell] for cell in cells]
    said = "\n".join(f"{line}: slope {one.text}" for line, one in found.played.items())
    axes.text(0.5, -0.2, said, transform=axes.transAxes, ha="center", va="top", fontsize=8)
    axes.set(xlabel=LABELS[found.name], ylabel="split p: layers at the UE")
    axes.set_ylim(found.allowed.start - 0.6, found.allowed.stop - 0.4)
    return rows
