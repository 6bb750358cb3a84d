"""Why an agent with Table 4's settings may end far from the optimum: its aim, and its critic.

An episode is cut after 5 steps and the value of its last state is counted: with gamma = 0.99 an
agent learns a process of some 1 / (1 - gamma) = 100 steps, and is scored by 5. Either what is best
for 100 steps is poor for 5 - what value iteration says, without any learning - or it is not, and
the agent fails to learn it: then the same training without bootstrapping ends elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from controller.learning.cases import Case
from controller.learning.environment import EnvironmentConfig
from controller.learning.optimum import Scorer, fraction
from experiments.reproduce.config import MARGIN, Setting
from experiments.reproduce.result import NOT_GIVEN, Row
from experiments.reproduce.trainings import Source, Trained

GAMMA = 0.99
"""Table 4's."""

HORIZON = (
    "With Table 4's γ = 0.99 and bootstrapping an agent learns for some 100 steps, J counts 5 (see "
    "below the claims)."
)

EXPLAINED = (
    "**The horizon.** Table 4's γ is 0.99, and an episode is cut after 5 steps with the value of "
    "its last state counted: an agent learns a process of some 1/(1 − γ) = 100 steps, J is of 5. "
    "That can cost in two ways. *The aim*: what is best for 100 steps may be poor for 5. Value "
    "iteration says how poor, without any learning. *The critic*: values are those of 100 steps, "
    "and as long as it does not know them, its errors outweigh what a move is worth. Fig. 5's "
    "table has the same trainings without bootstrapping, where 5 steps are all that there is to "
    "know, and how often each policy moves by −1, 0 and +1: one that moves the same way everywhere "
    "has learnt a direction, not a split."
)

LEVELS = 12
"""Channels along each coordinate at which moves are counted."""


@lru_cache(maxsize=64)
def aim(source: Source, environment: EnvironmentConfig) -> float:
    """x of the exact optimum of the endless process that is discounted by Table 4's gamma."""
    scorer = Scorer.of(source.load(), environment)
    return fraction(scorer.endless_return(GAMMA), scorer.optimal, scorer.random)


def _aim(setting: Setting, case: Case) -> float:
    return aim(setting.reward, replace(setting.environment, case=case))


def reason(setting: Setting, *cases: Case) -> str:
    """For a claim's note."""
    named = [f"{_aim(setting, case):.2f} (case {case})" for case in cases]
    return f"{HORIZON} The exact optimum of that has x {', '.join(named)}."


def paragraph(setting: Setting) -> str:
    """What value iteration says of a setting."""
    cases = list(dict.fromkeys((Case.L, Case.H, Case.A, setting.environment.case)))
    found = {case: _aim(setting, case) for case in cases}
    said = ", ".join(f"{x:.3f} in case {case}" for case, x in found.items())
    off = [case for case, x in found.items() if x < 1 - MARGIN]
    if not off:
        verdict = (
            "Nowhere here is the aim the reason; what is missing is for the critic to explain."
        )
    else:
        named = ", ".join(off)
        verdict = f"The aim itself costs in case {named}" + (
            "; elsewhere what is missing is for the critic to explain." if off != cases else "."
        )
    return f"{setting.title}: the exact optimum for γ = {GAMMA:g} has x {said}. {verdict}"


def row(setting: Setting, case: Case) -> Row:
    """Of Fig. 5's table."""
    what = f"{setting.title}: case {case}, exact optimum for γ = {GAMMA:g} with bootstrapping"
    return Row(what, NOT_GIVEN, f"x {_aim(setting, case):.3f}", "x 1")


def moves_text(setting: Setting, case: Case, group: Sequence[Trained]) -> str:
    """How often policies move by -1, 0 and +1 where episodes begin, over seeds."""
    reward = setting.load()
    starts = replace(setting.environment, case=case).starts(reward)
    channels = starts.space.grid([LEVELS] * len(reward.space.names))
    splits = np.tile(np.array([*starts.splits]), len(channels))
    asked = np.repeat(channels, len(starts.splits), axis=0)
    moves = [np.sign(one.policy.next_splits(asked, splits) - splits) for one in group]
    down, stay, up = (round(100 * float(np.mean(np.equal(moves, m)))) for m in (-1, 0, 1))
    return f"; moves −1/0/+1: {down}/{stay}/{up} %"
