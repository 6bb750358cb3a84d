"""Fig. 5: PPO, A2C and DQN over training, in the cases L, H and A."""

from __future__ import annotations

from typing import Any

from controller.learning.cases import Case
from experiments.reproduce import curves
from experiments.reproduce.config import MARGIN, Context, Setting
from experiments.reproduce.result import NOT_GIVEN, Picture, Result, Row, csv_text
from experiments.reproduce.statistics import Claim, Finding, alike, difference
from experiments.reproduce.trainings import Trained

CASES = (Case.L, Case.H, Case.A)
PPO, SURROGATE = "PPO", "PPO, surrogate"
BASELINES = ("A2C", "DQN")

Groups = dict[tuple[Case, str], list[Trained]]

DEFAULTS = (
    "The paper gives hyper-parameters for PPO alone; A2C and DQN have Table 4's rate and discount, "
    "and else stable-baselines3's ways (docs/policy.md)."
)


def make(context: Context) -> Result:
    claims: list[Claim] = []
    rows: list[Row] = []
    pictures = []
    for setting in context.settings:
        found = _trained(context, setting)
        claims += _claims(setting, found)
        rows += [
            Row(f"{setting.title}: case {case}, {line}", NOT_GIVEN,
                curves.return_text(group), curves.optimum_text(group))
            for (case, line), group in found.items()
        ]  # fmt: skip
        pictures.append(_picture(context, setting, found))
    title = "Fig. 5: learning in the cases L, H and A"
    return Result("fig5", title, tuple(claims), tuple(rows), tuple(pictures))


def _trained(context: Context, setting: Setting) -> Groups:
    wanted = {
        (case, name): context.wanted(setting, name.lower(), case=case)
        for case in CASES
        for name in (PPO, *BASELINES)
    }
    if setting.surrogate is not None:
        for case in CASES:
            wanted[case, SURROGATE] = context.wanted(
                setting, case=case, surrogate=setting.surrogate
            )
    found = context.train(f"fig5, {setting.name}", list(wanted.values()))
    return dict(zip(wanted, found, strict=True))


def _claims(setting: Setting, found: Groups) -> list[Claim]:
    def findings(cases: tuple[Case, ...], one: str, others: tuple[str, ...], **rule: Any) -> Any:
        return tuple(
            Finding(
                f"case {case}, x of {one} less {other}",
                difference(
                    curves.fractions(found[case, one]), curves.fractions(found[case, other])
                ),
                **rule,
            )
            for case in cases
            for other in others
        )

    near = alike(MARGIN)
    claims = [
        Claim(setting.title, "In cases H and A, PPO ends above A2C and DQN",
              findings((Case.H, Case.A), PPO, BASELINES), DEFAULTS),
        Claim(setting.title, "In case L, PPO, A2C and DQN end alike",
              findings((Case.L,), PPO, BASELINES, rule=near),
              f"Alike is within {MARGIN:g} of the way from random to the optimum."),
    ]  # fmt: skip
    if setting.surrogate is not None:
        claims.append(
            Claim(setting.title, "PPO that learns on the surrogate ends like PPO on true rewards",
                  findings(CASES, PPO, (SURROGATE,), rule=near),
                  f"Both are scored on the measured table; alike is within {MARGIN:g}.")
        )  # fmt: skip
    return claims


def _picture(context: Context, setting: Setting, found: Groups) -> Picture:
    lines = list(dict.fromkeys(line for _, line in found))

    def draw(grid: Any) -> None:
        for axes, case in zip(grid[0], CASES, strict=True):
            groups = [found[case, line] for line in lines]
            for i, (line, group) in enumerate(zip(lines, groups, strict=True)):
                width = 3 - 0.6 * i  # where lines lie on each other all are seen
                curves.plot(axes, group, curves.COLORS[i], line, width)
            curves.references(axes, groups[0])
            curves.finish(axes, f"case {case}", groups)
        curves.legend(grid[0][0], 6)

    rows = [
        row
        for (case, line), group in found.items()
        for row in curves.curve_rows(f"case {case}", line, group)
    ]
    caption = (
        f"Exact mean return of the greedy policy over all start states, {setting.title}; mean of "
        f"{context.config.seed_count} seeds with its 95 % band. 3 actions, episodes of 5 steps, "
        "Table 4's settings. Dashed: dynamic programming; dotted: random moves."
    )
    title = f"Fig. 5, {setting.title}"
    return Picture(f"fig5-{setting.name}", title, curves.picture(1, 3, draw),
                   csv_text(curves.CURVE_FIELDS, rows), caption)  # fmt: skip
