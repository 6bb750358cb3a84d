"""Fig. 5: PPO, A2C and DQN over training, in the cases L, H and A."""

from __future__ import annotations

from typing import Any

from controller.learning.cases import Case
from controller.learning.way import MobilityDynamics
from experiments.reproduce import curves, horizon
from experiments.reproduce.config import MARGIN, Context, Setting
from experiments.reproduce.result import NOT_GIVEN, Picture, Result, Row, csv_text
from experiments.reproduce.statistics import Claim, Finding, alike, difference
from experiments.reproduce.trainings import Trained, Training

CASES = (Case.L, Case.H, Case.A)
PPO, SURROGATE, OURS = "PPO", "PPO, surrogate", "PPO, our settings"
BASELINES = ("A2C", "DQN")
DRAWN = (PPO, *BASELINES, SURROGATE, OURS)
"""In the order of their colours."""

CUT = "{}, without bootstrapping"
MOBILE = "{} under mobility"

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
        rows += _rows(setting, found)
        pictures.append(_picture(context, setting, found))
    title = "Fig. 5: learning in the cases L, H and A"
    return Result("fig5", title, tuple(claims), tuple(rows), tuple(pictures))


def _trained(context: Context, setting: Setting) -> Groups:
    wanted: dict[tuple[Case, str], list[Training]] = {}
    for case in CASES:
        for name in (PPO, *BASELINES):
            algorithm = name.lower()
            wanted[case, name] = context.wanted(setting, algorithm, case=case)
            cut = context.wanted(setting, algorithm, changes={"bootstrap": False}, case=case)
            wanted[case, CUT.format(name)] = cut
        wanted[case, OURS] = context.wanted(setting, preset="best", case=case)
        if setting.surrogate is not None:
            on = setting.surrogate
            wanted[case, SURROGATE] = context.wanted(setting, case=case, surrogate=on)
    if setting.surrogate is not None:  # where there is a model, and a way that its UE may go
        for name, preset in ((PPO, "table4"), (OURS, "best")):
            wanted[Case.A, MOBILE.format(name)] = context.wanted(
                setting, preset=preset, case=Case.A, dynamics=MobilityDynamics()
            )
    found = context.train(f"fig5, {setting.name}", list(wanted.values()))
    return dict(zip(wanted, found, strict=True))


def _rows(setting: Setting, found: Groups) -> list[Row]:
    """Each line, and what tells why it ends there (`horizon`)."""
    rows = [horizon.row(setting, case) for case in CASES]
    for (case, line), group in found.items():
        moves = "" if line.endswith("mobility") else horizon.moves_text(setting, case, group)
        ours = f"{curves.return_text(group)}{moves}"
        what = f"{setting.title}: case {case}, {line}"
        rows.append(Row(what, NOT_GIVEN, ours, curves.optimum_text(group)))
    return rows


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
    within = f"Alike is within {MARGIN:g} of the way from random to the optimum."
    claims = [
        Claim(setting.title, "In cases H and A, PPO ends above A2C and DQN",
              findings((Case.H, Case.A), PPO, BASELINES),
              f"{DEFAULTS} {horizon.reason(setting, Case.H, Case.A)}"),
        Claim(setting.title, "In case L, PPO, A2C and DQN end alike",
              findings((Case.L,), PPO, BASELINES, rule=near),
              f"{within} {horizon.reason(setting, Case.L)}"),
    ]  # fmt: skip
    if setting.surrogate is not None:
        claims.append(
            Claim(setting.title, "PPO that learns on the surrogate ends like PPO on true rewards",
                  findings(CASES, PPO, (SURROGATE,), rule=near),
                  f"Both are scored on the measured table. {within} "
                  f"{horizon.reason(setting, *CASES)}")
        )  # fmt: skip
    return claims


def _picture(context: Context, setting: Setting, found: Groups) -> Picture:
    drawn = [line for line in DRAWN if (Case.A, line) in found]

    def draw(grid: Any) -> None:
        for axes, case in zip(grid[0], CASES, strict=True):
            groups = [found[case, line] for line in drawn]
            for i, (line, group) in enumerate(zip(drawn, groups, strict=True)):
                width = 3 - 0.5 * i  # where lines lie on each other all are seen
                curves.plot(axes, group, curves.COLORS[DRAWN.index(line)], line, width)
            curves.references(axes, groups[0])
            curves.finish(axes, f"case {case}", groups)
        curves.legend(grid[0][0], 7)

    rows = []
    for case in CASES:
        for line in drawn:
            rows += curves.curve_rows(f"case {case}", line, found[case, line])
        rows += curves.reference_rows(f"case {case}", found[case, PPO])
    caption = (
        f"Exact mean return of the greedy policy over all start states, {setting.title}; mean of "
        f"{context.config.seed_count} seeds with its 95 % band. 3 actions, episodes of 5 steps, "
        "Table 4's settings, and PPO with ours (docs/policy.md) besides. Dashed: dynamic "
        f"programming; dotted: random moves. {setting.channel}"
    )
    title = f"Fig. 5, {setting.title}"
    return Picture(f"fig5-{setting.name}", title, curves.picture(1, 3, draw),
                   csv_text(curves.CURVE_FIELDS, rows), caption)  # fmt: skip
