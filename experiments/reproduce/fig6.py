"""Fig. 6: how rewards are distributed: trained, trained on the surrogate, random, untrained."""

from __future__ import annotations

from typing import Any

import numpy as np

from controller.learning import rollout
from controller.learning.environment import SplitVectorEnv
from controller.learning.hyperparameters import PpoConfig
from controller.learning.optimum import NextSplits
from controller.learning.reward import Reward
from experiments.live_summary import Interval
from experiments.reproduce import curves, horizon
from experiments.reproduce.config import Context, Setting
from experiments.reproduce.result import NOT_GIVEN, Picture, Result, Row, csv_text
from experiments.reproduce.statistics import Claim, Finding, difference

EPISODES = 500
PLAY_SEED = 10_000
"""Of the episodes, plus the seed of the policy: none that a training has met."""

TRAINED, SURROGATE, RANDOM, UNTRAINED, OPTIMUM = (
    "trained", "trained, surrogate", "random", "untrained", "optimum",
)  # fmt: skip

Returns = dict[str, np.ndarray]
"""Of each strategy: [seeds, EPISODES]."""


def make(context: Context) -> Result:
    claims: list[Claim] = []
    rows: list[Row] = []
    pictures = []
    for setting in context.settings:
        found = _returns(context, setting)
        claims += _claims(setting, found)
        best = found[OPTIMUM]
        rows += [
            Row(f"{setting.title}: {name}", NOT_GIVEN, _text(values), _text(best))
            for name, values in found.items()
            if name != OPTIMUM
        ]
        pictures.append(_picture(context, setting, found))
    title = "Fig. 6: distribution of rewards"
    return Result("fig6", title, tuple(claims), tuple(rows), tuple(pictures))


def _text(values: np.ndarray) -> str:
    mean = Interval.of(values.mean(axis=1).tolist()).text("{:.4f}")
    return f"mean {mean}; sd {values.std(axis=1, ddof=1).mean():.4f}"


def _returns(context: Context, setting: Setting) -> Returns:
    groups = {TRAINED: context.wanted(setting)}
    if setting.surrogate is not None:
        groups[SURROGATE] = context.wanted(setting, surrogate=setting.surrogate)
    trained = context.train(f"fig6, {setting.name}", list(groups.values()))
    reward, environment = setting.load(), setting.environment
    seeds = range(context.config.seed_count)

    def played(players: list[rollout.Player]) -> np.ndarray:
        return np.stack([
            rollout.play(player, reward, environment, EPISODES, PLAY_SEED + seed).returns
            for seed, player in zip(seeds, players, strict=True)
        ])  # fmt: skip

    steady = rollout.steady
    return {
        **{
            name: played([steady(one.policy.next_splits) for one in group])
            for name, group in zip(groups, trained, strict=True)
        },
        RANDOM: played([rollout.uniform(environment, seed) for seed in seeds]),
        UNTRAINED: played([steady(untrained(setting, reward, seed)) for seed in seeds]),
        OPTIMUM: played([rollout.optimal(reward, environment) for _ in seeds]),
    }


def untrained(setting: Setting, reward: Reward, seed: int) -> NextSplits:
    """PPO's actor as its training of this seed begins with it."""
    from controller.learning.agents import make_agent, networks
    from controller.learning.export import policy_of

    config, environment = PpoConfig(), setting.environment
    core = SplitVectorEnv(reward, environment, config.environments, seed)
    weights = networks(make_agent(config, core, seed))
    policy = policy_of(weights, "ppo", reward.model, core.features, environment.moves)
    return policy.next_splits


def _claims(setting: Setting, found: Returns) -> list[Claim]:
    def findings(what: str, measure: Any, sign: int) -> tuple[Finding, ...]:
        return tuple(
            Finding(
                f"{what}: {a} less {b}" if sign > 0 else f"{what}: {b} less {a}",
                difference(*[measure(found[name]) for name in ((a, b) if sign > 0 else (b, a))]),
            )
            for a in (TRAINED, SURROGATE)
            if a in found
            for b in (RANDOM, UNTRAINED)
        )

    def mean(values: np.ndarray) -> list[float]:
        return [float(value) for value in values.mean(axis=1)]

    def spread(values: np.ndarray) -> list[float]:
        return [float(value) for value in values.std(axis=1, ddof=1)]

    return [
        Claim(setting.title, "Trained agents get higher rewards than random and untrained ones",
              findings("mean return", mean, +1),
              f"An untrained network is no chance: its best-scored move is often one and the same. "
              f"{horizon.reason(setting, setting.environment.case)}"),
        Claim(setting.title, "Trained agents' rewards are distributed more tightly",
              findings("standard deviation over episodes", spread, -1),
              "Most of this spread is that of the start states, which no policy chooses; the "
              "optimum's is in the picture."),
    ]  # fmt: skip


def _picture(context: Context, setting: Setting, found: Returns) -> Picture:
    names = list(found)

    def draw(grid: Any) -> None:
        axes = grid[0][0]
        pooled = [found[name].ravel() for name in names]
        parts = axes.violinplot(pooled, showextrema=False, widths=0.8)
        for body, color in zip(parts["bodies"], curves.COLORS, strict=False):
            body.set(facecolor=color, alpha=0.45, edgecolor=color)
        for place, values in enumerate(pooled, 1):
            low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
            axes.vlines(place, low, high, color="#1c2430", lw=5)
            axes.plot(place, middle, "o", color="white", ms=4)
        axes.set_xticks(range(1, len(names) + 1), [name.replace(", ", ",\n") for name in names])
        axes.set(title=setting.title, ylabel="return of an episode")
        axes.grid(visible=False, axis="x")

    rows = (
        [seed, episode, *(float(found[name][seed, episode]) for name in names)]
        for seed in range(context.config.seed_count)
        for episode in range(EPISODES)
    )
    caption = (
        f"Returns of {EPISODES} episodes for each of {context.config.seed_count} seeds, "
        f"{setting.title}, case {setting.environment.case}, 3 actions, 5 steps; PPO with Table 4's "
        f"settings after {context.config.step_count} steps. Dot: median; bar: quartiles. Untrained "
        "is PPO's network as it begins, its best-scored move taken, as the trained one's is. "
        f"{setting.channel}"
    )
    fields = ("seed", "episode", *names)
    return Picture(f"fig6-{setting.name}", f"Fig. 6, {setting.title}", curves.picture(1, 1, draw),
                   csv_text(fields, rows), caption)  # fmt: skip
