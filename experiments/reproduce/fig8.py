"""Fig. 8: action spaces of 3, 5 and 7 moves."""

from __future__ import annotations

from typing import Any

import numpy as np

from experiments.live_summary import Interval
from experiments.reproduce import curves, horizon
from experiments.reproduce.config import Context, Setting
from experiments.reproduce.result import NOT_GIVEN, Picture, Result, Row, csv_text
from experiments.reproduce.statistics import Claim, Finding, difference
from experiments.reproduce.trainings import Trained

ACTIONS = (3, 5, 7)

Groups = dict[int, list[Trained]]


def make(context: Context) -> Result:
    claims: list[Claim] = []
    rows: list[Row] = []
    pictures = []
    for setting in context.settings:
        wanted = {n: context.wanted(setting, max_move=n // 2) for n in ACTIONS}
        trained = context.train(f"fig8, {setting.name}", list(wanted.values()))
        found = dict(zip(wanted, trained, strict=True))
        claims += _claims(setting, found)
        rows += [_row(setting, n, group) for n, group in found.items()]
        pictures.append(_picture(context, setting, found))
    title = "Fig. 8: action spaces"
    return Result("fig8", title, tuple(claims), tuple(rows), tuple(pictures))


def _row(setting: Setting, actions: int, group: list[Trained]) -> Row:
    steps = Interval.of(curves.settled_after(group)).text("{:.0f}")
    ours = f"{curves.return_text(group)}; {steps} steps to 90 % of its gain"
    return Row(f"{setting.title}: {actions} actions", NOT_GIVEN, ours, curves.optimum_text(group))


def _claims(setting: Setting, found: Groups) -> list[Claim]:
    small = found[ACTIONS[0]]

    def findings(what: str, measure: Any, form: str) -> tuple[Finding, ...]:
        return tuple(
            Finding(f"{what}, {n} actions less 3",
                    difference(measure(found[n]), measure(small)), form=form)
            for n in ACTIONS[1:]
        )  # fmt: skip

    return [
        Claim(setting.title, "A larger action space ends at a higher reward",
              findings("J at the end", curves.finals, "{:+.4f}"),
              "The optimum itself rises with the number of moves: see J*. "
              f"{horizon.reason(setting, setting.environment.case)}"),
        Claim(setting.title, "A larger action space converges more slowly",
              findings("steps to 90 % of its own gain over chance", curves.settled_after,
                       "{:+.0f}"),
              "A curve that reaches 90 % and falls again counts from the first time. "
              f"Between seeds it takes {_spread(found)} steps (standard deviation), which is what "
              "the interval has to be narrower than."),
    ]  # fmt: skip


def _spread(found: Groups) -> str:
    steps = [np.std(curves.settled_after(found[n]), ddof=1) for n in ACTIONS]
    return ", ".join(f"{value:.0f}" for value in steps)


def _picture(context: Context, setting: Setting, found: Groups) -> Picture:
    def draw(grid: Any) -> None:
        axes = grid[0][0]
        for color, (n, group) in zip(curves.COLORS, found.items(), strict=False):
            curves.plot(axes, group, color, f"{n} actions")
            best = group[0].scores["optimal"]
            axes.axhline(best, color=color, ls="--", lw=1, label=f"optimum of {n}")
        random = found[ACTIONS[0]][0].scores["random"]
        axes.axhline(random, color=curves.REFERENCE, ls=":", lw=1.2, label="random, 3 actions")
        curves.finish(axes, setting.title, list(found.values()))
        curves.legend(axes, 4)

    rows = [
        row for n, group in found.items() for row in curves.curve_rows("", f"{n} actions", group)
    ]
    for n, group in found.items():
        rows += curves.reference_rows("", group, f", {n} actions")
    caption = (
        f"Exact mean return of the greedy policy, PPO with Table 4's settings, {setting.title}, "
        f"case {setting.environment.case}; mean of {context.config.seed_count} seeds with its 95 % "
        f"band. Dashed in the same colour: the optimum with as many moves. {setting.channel}"
    )
    return Picture(f"fig8-{setting.name}", f"Fig. 8, {setting.title}", curves.picture(1, 1, draw),
                   csv_text(curves.CURVE_FIELDS, rows), caption)  # fmt: skip
