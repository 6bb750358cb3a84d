"""What there was to gain in a live comparison, calculated on the measured table; nothing is run.

The splits that a policy held are valued on the table at the channel as configured, frame by frame,
and so are two courses that no policy can have: those of dynamic programming that knows the channel
to its end. Only these values compare with each other: the table is of another text, context length
and draw than the runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from airsplit.checkpoint import Checkpoint, locate
from channel_emulator.config import ChannelConfig
from channel_emulator.knobs import Fading
from channel_emulator.start import parse_start
from controller.features import inverse_m
from controller.learning.reward import RewardForm
from controller.learning.space import Floats, Ints
from controller.registry import DEFAULT_TABLE
from controller.table import PerplexityTable
from experiments.live_plan import FIXED, Plan, Run
from experiments.live_summary import quality_cost

MAX_MOVE = 2
"""u of the served PPO's and optimum's moves."""

SLOPES = 65
"""Weights of a nat against a layer that the planner tries."""

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Headroom:
    """Objectives (Eq. 8) of one scenario on the table; less is better."""

    scenario: str
    policies: Mapping[str, float]
    """Of the splits that each policy that moves held, mean over the seeds."""

    fixed_split: int
    fixed: float
    """The best of all fixed splits."""

    bound: float
    """The channel known to its end, moves of `MAX_MOVE` a decision, from the same first split."""

    free: float
    """The same with any move."""


def headrooms(plan: Plan, records: Sequence[Record]) -> list[Headroom]:
    """One for each scenario that the embedded table covers; none where the model is another."""
    table = PerplexityTable.load(DEFAULT_TABLE)
    if table.provenance.get("fingerprint") != Checkpoint(locate(plan.model)).fingerprint:
        return []
    found = (_headroom(plan, scenario, records, table) for scenario in plan.scenarios)
    return [headroom for headroom in found if headroom is not None]


@dataclass(frozen=True)
class Valuation:
    """Eq. 8 of a course of splits on the table."""

    plan: Plan
    clean_nll: float
    tokens: Ints
    """Of each frame, [n]."""

    nll: Floats
    """Per token of each frame at each split, [n, L + 1]."""

    @property
    def splits(self) -> Ints:
        return np.arange(self.nll.shape[1])

    def objective(self, course: Ints) -> float:
        """Of the split of each frame, [n]."""
        nll = np.average(self.nll[np.arange(len(course)), course], weights=self.tokens)
        compute = np.average(course, weights=self.tokens) / self.splits[-1]
        cost = quality_cost(self.plan.form, float(nll), self.clean_nll)
        return cost + self.plan.cost_weight * float(compute)

    def known(self, first: int, max_move: int) -> float:
        """The least objective of a way through the looks, from `first` before the first of them.

        Eq. 8 is of the mean NLL, no sum over frames. Where it is concave in it (share, log) its
        least value minimises its own tangent as well, which is such a sum: one for each slope.
        For `perplexity` it is the best of these, and may be beaten.
        """
        stages = self._stages()
        frames = np.concatenate([np.full(len(stage), i) for i, stage in enumerate(stages)])
        tokens = np.array([self.tokens[stage].sum() for stage in stages])
        nll = np.array([self.tokens[stage] @ self.nll[stage] for stage in stages])
        layers = np.outer(tokens, self.plan.cost_weight * self.splits / self.splits[-1])
        low, high = (self._slope(end) for end in (self.nll.min(), self.nll.max()))
        slopes = np.geomspace(low, high, SLOPES)[:, None, None]
        ways = _ways(slopes * nll + layers, first, max_move)
        return min(self.objective(way[frames]) for way in ways)

    def _stages(self) -> list[list[int]]:
        """Frames from one look to the next; a look comes at the end of the frame that is due."""
        looks = np.cumsum(self.tokens) // self.plan.decision_interval_tokens
        before = np.concatenate([[0], looks[:-1]])
        return [[*group] for _, group in groupby(range(len(looks)), key=lambda i: before[i])]

    def _slope(self, nll: float) -> float:
        """d(quality_cost)/d(NLL)."""
        match self.plan.form:
            case RewardForm.SHARE:
                return float(np.exp(self.clean_nll - nll))
            case RewardForm.LOG:
                return 1.0
            case RewardForm.PERPLEXITY:
                return float(np.exp(nll))


def _ways(costs: Floats, first: int, max_move: int) -> Ints:
    """Splits of least total cost by dynamic programming: [n, stages] of [n, stages, L + 1]."""
    n, _, count = costs.shape
    splits, each = np.arange(count), np.arange(n)
    within = np.abs(splits[:, None] - splits) <= max_move
    following = np.zeros((n, count))
    choices = []
    for cost in costs.swapaxes(0, 1)[:0:-1]:
        reached = np.where(within, (cost + following)[:, None], np.inf)
        choices.append(reached.argmin(axis=-1))
        following = reached.min(axis=-1)
    ways = [np.full(n, first)]
    for choice in reversed(choices):
        ways.append(choice[each, ways[-1]])
    return np.stack(ways, axis=1)


def _headroom(
    plan: Plan, scenario: str, records: Sequence[Record], table: PerplexityTable
) -> Headroom | None:
    """None where the table does not cover the scenario, or nothing moves."""
    mine = [record for record in records if record["scenario"] == scenario]
    moving = [record for record in mine if not record["policy"].startswith(FIXED)]
    if not moving:
        return None
    tokens = np.array([frame["tokens"] for frame in moving[0]["course"]])
    channels = _channels(plan, scenario, tokens)
    if channels is None or not table.space.contains(channels).all():
        return None
    value = Valuation(plan, table.clean_nll, tokens, table.rows(channels))
    of: dict[str, list[float]] = {}
    for record in moving:
        course = np.array([frame["split"] for frame in record["course"]])
        of.setdefault(record["policy"], []).append(value.objective(course))
    fixed = [value.objective(np.full(len(tokens), split)) for split in value.splits]
    first = moving[0]["course"][0]["split"]
    return Headroom(
        scenario,
        {policy: float(np.mean(objectives)) for policy, objectives in of.items()},
        int(np.argmin(fixed)),
        min(fixed),
        value.known(first, MAX_MOVE),
        value.known(first, len(fixed)),
    )


def _channels(plan: Plan, scenario: str, tokens: Ints) -> Floats | None:
    """(sigma, 1/m) that each frame meets, [n, 2]; None where they are not what was configured."""
    start = parse_start(plan.channel(Run(scenario, "", 0)))
    timeline, interval_ns = start.timeline(), start.config.interval_ns
    sent = np.cumsum(tokens) - tokens
    met = [timeline.at(int(before) * interval_ns).config for before in sent]
    if not all(_tabulated(config) for config in met):
        return None
    return np.array(
        [[c.sigma, 0.0 if c.fading is Fading.NONE else inverse_m(c.m)] for c in met], dtype=float
    )


def _tabulated(config: ChannelConfig) -> bool:
    """Absolute noise, and no fading or one for each element: what the table was measured with."""
    still = config.fading in (Fading.NONE, Fading.ELEMENT)
    return still and config.sigma is not None and config.snr_db is None


def to_markdown(found: Sequence[Headroom]) -> str:
    """A section that ends the page; empty without scenarios."""
    if not found:
        return ""
    policies = [*found[0].policies]
    known = (
        f"known beforehand, {moves}" for moves in ("any move", f"moves -{MAX_MOVE}..{MAX_MOVE}")
    )
    head = ["scenario", *known, *policies, "best fixed"]
    rows = [head, ["---"] * len(head)]
    for one in found:
        values = (one.free, one.bound, *(one.policies[policy] for policy in policies))
        rows.append(
            [
                one.scenario,
                *(f"{v:.4f}" for v in values),
                f"{one.fixed:.4f} (p = {one.fixed_split})",
            ]
        )
    return (
        "\n## Calculated, not run\n\n"
        "The objective on the embedded table, at the channel as configured. Known beforehand: "
        "dynamic programming that knows the channel to its end. Policies: the splits that they "
        "held in the runs above. To be compared with each other, and not with what was measured: "
        "the table is of another context length and other draws.\n\n"
        + "".join("| " + " | ".join(row) + " |\n" for row in rows)
    )
