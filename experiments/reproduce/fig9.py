"""Fig. 9: PPO's learning rate, batch, clip range and GAE parameter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.reproduce import curves, horizon
from experiments.reproduce.config import Context, Setting
from experiments.reproduce.result import NOT_GIVEN, Picture, Result, Row, csv_text
from experiments.reproduce.statistics import Claim, Finding, difference
from experiments.reproduce.trainings import Trained


@dataclass(frozen=True, slots=True)
class Panel:
    """One hyper-parameter at some values."""

    name: str
    title: str
    label: str
    values: tuple[float, ...]
    fixed: tuple[tuple[str, Any], ...] = ()
    """What else differs from Table 4, for all values alike."""


PANELS = (
    Panel("learning_rate", "learning rate", "α = {:g}", (3e-4, 5e-4, 7e-4)),
    # 150 does not divide Table 4's 400 steps: all three have 600 between two updates.
    Panel("batch_size", "batch, at 600 steps an update", "B = {:g}", (100, 150, 200),
          (("n_steps", 600),)),
    # The paper names 0.2 and 0.3 as moderate; 0.1 and 0.4 stand for too small and too large.
    Panel("clip_range", "clip range", "ε = {:g}", (0.1, 0.2, 0.3, 0.4)),
    Panel("gae_lambda", "GAE parameter", "ξ = {:g}", (0.9, 0.95, 0.99)),
)  # fmt: skip

Groups = dict[tuple[str, float], list[Trained]]
Measure = Callable[[list[Trained]], list[float]]


def make(context: Context) -> Result:
    claims: list[Claim] = []
    rows: list[Row] = []
    pictures = []
    for setting in context.settings:
        wanted = {
            (panel.name, value): context.wanted(
                setting, changes={panel.name: value, **dict(panel.fixed)}
            )
            for panel in PANELS
            for value in panel.values
        }
        trained = context.train(f"fig9, {setting.name}", list(wanted.values()))
        found = dict(zip(wanted, trained, strict=True))
        claims += _claims(setting, found)
        rows += [
            Row(f"{setting.title}: {panel.label.format(value)}", NOT_GIVEN,
                curves.return_text(found[panel.name, value]),
                curves.optimum_text(found[panel.name, value]))
            for panel in PANELS
            for value in panel.values
        ]  # fmt: skip
        pictures.append(_picture(context, setting, found))
    title = "Fig. 9: hyper-parameters of PPO"
    return Result("fig9", title, tuple(claims), tuple(rows), tuple(pictures))


def _claims(setting: Setting, found: Groups) -> list[Claim]:
    def finding(what: str, measure: Measure, name: str, a: float, b: float) -> Finding:
        interval = difference(measure(found[name, a]), measure(found[name, b]))
        return Finding(f"{what}, {a:g} less {b:g}", interval)

    early, late, jitter = curves.early, curves.fractions, curves.jitter
    rate, clip = "learning_rate", "clip_range"
    first = "mean x in the first quarter"
    change = "mean change of x between evaluations, second half"
    smooth = "Smoothness is that of the exact return: without the noise of sampled episodes, which "
    smooth += "the paper's curves have."
    base = found[rate, 3e-4]
    aimed = horizon.reason(setting, setting.environment.case)

    def spread(measure: Measure, name: str, values: tuple[float, ...]) -> str:
        """What an effect has to be greater than, to be seen with so many seeds."""
        deviations = (f"{np.std(measure(found[name, value]), ddof=1):.3f}" for value in values)
        return f"Standard deviation between seeds: {', '.join(deviations)}."

    begun = f"At 3e-4 x is {np.mean(early(base)):.2f} in the first quarter and "
    begun += (
        f"{np.mean(late(base)):.2f} in the end: the less lies between, the less there is to be "
    )
    begun += "faster in."
    batches = "Of 600 steps and 10 passes a batch of 100, 150, 200 makes 60, 40, 30 gradient steps "
    batches += "an update: a larger one also learns more slowly."
    weights = (
        "An episode has 5 steps: the last one's error counts by ξ⁴ = 0.66, 0.81, 0.96 for ξ = "
    )
    weights += "0.9, 0.95, 0.99, and no further."
    clips = "The paper does not say which are too small and too large: here 0.1 and 0.4. The clip "
    clips += "acts only where one update changes a move's probability by more (docs/reproduce.md)."
    return [
        Claim(setting.title, "Rates of 5e-4 and 7e-4 learn faster at first than 3e-4",
              tuple(finding(first, early, rate, a, 3e-4) for a in (5e-4, 7e-4)),
              f"{begun} {spread(early, rate, (3e-4, 5e-4, 7e-4))}"),
        Claim(setting.title, "Higher rates may vary more",
              tuple(finding(change, jitter, rate, a, 3e-4) for a in (5e-4, 7e-4)),
              f"{smooth} {spread(jitter, rate, (3e-4, 5e-4, 7e-4))}"),
        Claim(setting.title, "Batches of 150 and 200 give smoother curves than 100",
              tuple(finding(change, jitter, "batch_size", 100, a) for a in (150, 200)),
              f"{smooth} {batches} {spread(jitter, 'batch_size', (100, 150, 200))}"),
        Claim(setting.title, "Clip ranges of 0.2 and 0.3 end above smaller and larger ones",
              tuple(finding("x at the end", late, clip, a, b)
                    for a in (0.2, 0.3) for b in (0.1, 0.4)),
              f"{clips} {spread(late, clip, (0.1, 0.2, 0.3, 0.4))} {aimed}"),
        Claim(setting.title, "A GAE parameter of 0.99 ends highest",
              tuple(finding("x at the end", late, "gae_lambda", 0.99, b) for b in (0.9, 0.95)),
              f"{weights} {spread(late, 'gae_lambda', (0.9, 0.95, 0.99))} {aimed}"),
    ]  # fmt: skip


def _picture(context: Context, setting: Setting, found: Groups) -> Picture:
    def draw(grid: Any) -> None:
        for axes, panel in zip(grid.ravel(), PANELS, strict=True):
            groups = [found[panel.name, value] for value in panel.values]
            for color, value, group in zip(curves.COLORS, panel.values, groups, strict=False):
                curves.plot(axes, group, color, panel.label.format(value))
            curves.references(axes, groups[0])
            curves.finish(axes, panel.title, groups)
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=3)

    rows = [
        row
        for panel in PANELS
        for value in panel.values
        for row in curves.curve_rows(
            panel.name, panel.label.format(value), found[panel.name, value]
        )
    ]
    for panel in PANELS:
        rows += curves.reference_rows(panel.name, found[panel.name, panel.values[0]])
    caption = (
        f"Exact mean return of the greedy policy, PPO, {setting.title}, case "
        f"{setting.environment.case}, 3 actions; else Table 4's settings. Mean of "
        f"{context.config.seed_count} seeds with its 95 % band. {setting.channel}"
    )
    return Picture(f"fig9-{setting.name}", f"Fig. 9, {setting.title}", curves.picture(2, 2, draw),
                   csv_text(curves.CURVE_FIELDS, rows), caption)  # fmt: skip
