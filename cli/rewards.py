"""`--reward` and what goes with it: from flags to a reward and an environment."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from airsplit.errors import InputError
from controller.learning.cases import Case
from controller.learning.dynamics import Drift, Dynamics, Held, ReleasedDrift
from controller.learning.environment import EnvironmentConfig
from controller.learning.published import PublishedReward
from controller.learning.reward import ObjectiveReward, Reward, RewardForm
from controller.learning.space import ChannelSpace
from controller.registry import load_reward

MODEL = "model"
SOURCES = "FILE.pth, FILE.safetensors, a surrogate's folder, a table's FILE.json, or model"
DRIFTS = ("drift", "held", "released", "mobility")
SPACES = {
    "sigma": ChannelSpace(("sigma", "inverse_m"), (0.0, 0.0), (5.0, 1.0)),
    "loss": ChannelSpace(("loss",), (0.0,), (0.3,)),
}

_MEASURED = {"model": "airsplit-tiny", "dataset": "sample", "windows": 2, "cells": 16,
             "state": "sigma"}  # fmt: skip
"""Flags that mean something with `--reward model` alone, and their defaults."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags without a value stay None: what is not given is not there to conflict."""
    group = parser.add_argument_group("reward")
    add = group.add_argument
    add("--lambda", dest="cost_weight", type=float, metavar="X",
        help="what all layers on the UE cost, in units of --form (default: 0.1)")  # fmt: skip
    add("--form", choices=[form.value for form in RewardForm],
        help="how perplexity counts: share 1 - PPL_clean/PPL, log, or perplexity "
        "(default: share)")  # fmt: skip
    group = parser.add_argument_group("environment")
    add = group.add_argument
    add("--case", choices=[case.value for case in Case],
        help="where episodes begin: L low, H high, A all of the noise or loss; released: the "
        "authors' code (default: A)")  # fmt: skip
    add("--actions", type=int, choices=(3, 5, 7, 9),
        help="moves of the split: 3 is -1..1, 5 is -2..2 (default: 5)")  # fmt: skip
    add("--drift", choices=DRIFTS,
        help="how the channel goes on within an episode (default: released with a published "
        "reward, else drift)")  # fmt: skip
    add("--episode-steps", type=int, metavar="N", help="steps of an episode (default: 5)")
    add("--move-cost", type=float, metavar="X",
        help="cost of moving by one layer (default: 0)")  # fmt: skip
    add("--fading-share", type=float, metavar="X",
        help="share of the episodes whose channel fades, 0-1 (default: 0.5)")  # fmt: skip
    group = parser.add_argument_group("--reward model: the real model, measured in process")
    add = group.add_argument
    add("--model", metavar="DIR", help="directory or hub id (default: airsplit-tiny)")
    add("--dataset", metavar="NAME", help="sample, wikitext-2 or a text file (default: sample)")
    add("--windows", type=int, metavar="N", help="windows of 256 tokens (default: 2)")
    add("--cells", type=int, metavar="N",
        help="channels are rounded to so many cells per coordinate, each measured once "
        "(default: 16)")  # fmt: skip
    add("--state", choices=tuple(SPACES),
        help="sigma: absolute noise to 5 and fading to m = 1; loss: erasure to 0.3 "
        "(default: sigma)")  # fmt: skip


def reward_of(source: str, args: argparse.Namespace) -> Reward:
    """The reward that `--reward` names.

    Raises:
        InputError: no such source, a file that is not what it should be, or a flag that has no
            effect on it.
    """
    if source == MODEL:
        from experiments.model_quality import ModelConfig, ModelQuality

        given = {name: _given(args, name, default) for name, default in _MEASURED.items()}
        quality = ModelQuality.load(
            ModelConfig(
                model=given["model"],
                dataset=given["dataset"],
                windows=given["windows"],
                cells=given["cells"],
                space=SPACES[given["state"]],
            )
        )
        form = RewardForm(_given(args, "form", RewardForm.SHARE))
        return ObjectiveReward(quality, _given(args, "cost_weight", 0.1), form)
    for name in _MEASURED:
        if getattr(args, name, None) is not None:
            raise InputError.of(f"--{name}", getattr(args, name), "with --reward model only")
    options = {"lambda": args.cost_weight, "form": args.form}
    known = {name: str(value) for name, value in options.items() if value is not None}
    return load_reward("--reward", Path(source), known)


def environment_of(reward: Reward, args: argparse.Namespace) -> EnvironmentConfig:
    """Raises: InputError: a value is out of its range, or does not fit the reward's state."""
    published = isinstance(reward, PublishedReward)
    defaults = EnvironmentConfig()
    return EnvironmentConfig(
        case=Case(_given(args, "case", defaults.case)),
        max_move=_given(args, "actions", 5) // 2,
        episode_steps=_given(args, "episode_steps", defaults.episode_steps),
        move_cost=_given(args, "move_cost", defaults.move_cost),
        fading_share=_given(args, "fading_share", defaults.fading_share),
        dynamics=_dynamics(_given(args, "drift", "released" if published else "drift")),
    )


def _dynamics(name: str) -> Dynamics:
    if name == "mobility":
        from controller.learning.way import MobilityDynamics

        return MobilityDynamics()
    if name == "released":
        return ReleasedDrift()
    return Held() if name == "held" else Drift()


def given_flags(args: argparse.Namespace) -> dict[str, Any]:
    """What was given of the flags of this module, to be asked for again."""
    names = ("cost_weight", "form", "case", "actions", "drift", "episode_steps", "move_cost",
             "fading_share", *_MEASURED)  # fmt: skip
    values = ((name, getattr(args, name, None)) for name in names)
    return {name: value for name, value in values if value is not None}


def _given(args: argparse.Namespace, name: str, default: Any) -> Any:
    value = getattr(args, name, None)
    return default if value is None else value
