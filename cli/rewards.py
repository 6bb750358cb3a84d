"""`--reward` and what goes with it: from flags to a reward and an environment."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

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

_OF_DRIFT = ("fading_share", "speed", "extra_loss", "rms")
"""Flags whose effect hangs on --drift."""

_FLAGS = ("cost_weight", "form", "case", "actions", "drift", "episode_steps", "move_cost",
          *_OF_DRIFT, *_MEASURED)  # fmt: skip
"""All of this module."""


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
        help="share of the episodes whose channel fades, 0-1; not with mobility (default: "
        f"{EnvironmentConfig().fading_share:g})")  # fmt: skip
    add("--speed", type=float, metavar="X",
        help="with --drift mobility: mean speed of the UE, m/s (default: 1.4)")  # fmt: skip
    add("--extra-loss", type=float, metavar="X",
        help="with --drift mobility: dB beside the path loss, for walls and interference "
        "(default: 20)")  # fmt: skip
    add("--rms", type=float, metavar="X",
        help="with --drift mobility: root mean square of the values that noise is added to, "
        "sigma = rms 10^(-SNR/20) (default: 1)")  # fmt: skip
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
    drift = _given(args, "drift", "released" if published else "drift")
    _require_effect(reward, drift, args)
    return EnvironmentConfig(
        case=Case(_given(args, "case", defaults.case)),
        max_move=_given(args, "actions", 5) // 2,
        episode_steps=_given(args, "episode_steps", defaults.episode_steps),
        move_cost=_given(args, "move_cost", defaults.move_cost),
        fading_share=_given(args, "fading_share", defaults.fading_share),
        dynamics=_dynamics(drift, args),
    )


def _require_effect(reward: Reward, drift: str, args: argparse.Namespace) -> None:
    """Raises: InputError: a flag is given that changes nothing here."""
    fades = "inverse_m" in reward.space.names
    noisy = "sigma" in reward.space.names
    moves = drift == "mobility"
    for name, matters, where in (
        ("fading_share", fades and not moves, "where m is in the state, not with mobility"),
        ("speed", moves, "with --drift mobility only"),
        ("extra_loss", moves, "with --drift mobility only"),
        ("rms", moves and noisy, "with --drift mobility only, where sigma is in the state"),
    ):
        if getattr(args, name, None) is not None and not matters:
            raise InputError.of("--" + name.replace("_", "-"), getattr(args, name), where)


def require_levels_matter(args: argparse.Namespace, environment: EnvironmentConfig) -> None:
    """Raises: InputError: --levels is given where each sample of a UE's way is enumerated."""
    if args.levels is not None and environment.dynamics.hidden:
        raise InputError.of("--levels", args.levels, "not with --drift mobility")


def _dynamics(name: str, args: argparse.Namespace) -> Dynamics:
    if name == "mobility":
        from controller.learning.way import MobilityDynamics

        default = MobilityDynamics()
        mobility = replace(
            default.mobility,
            speed_mps=_given(args, "speed", default.mobility.speed_mps),
            extra_loss_db=_given(args, "extra_loss", default.mobility.extra_loss_db),
        )
        return replace(default, mobility=mobility, rms=_given(args, "rms", default.rms))
    if name == "released":
        return ReleasedDrift()
    return Held() if name == "held" else Drift()


def given_flags(args: argparse.Namespace) -> dict[str, Any]:
    """What was given of the flags of this module, to be asked for again."""
    values = ((name, getattr(args, name, None)) for name in _FLAGS)
    return {name: value for name, value in values if value is not None}


def flag_of(name: str) -> str:
    """What is typed for a name of `given_flags`."""
    return "--lambda" if name == "cost_weight" else "--" + name.replace("_", "-")


def take_over(args: argparse.Namespace, flags: object, where: str) -> None:
    """Flags that were not given become those of `given_flags`; they are read as if typed.

    Where --drift is given, what belongs to another one is left.

    Raises:
        InputError: they are no such flags; `where` says whose they are.
    """
    if not isinstance(flags, dict) or not set(flags) <= {*_FLAGS}:
        raise InputError.of(where, flags, f"an object of {', '.join(_FLAGS)}")
    parser = _Reader(add_help=False)
    add_arguments(parser)
    words = [f"{flag_of(name)}={value}" for name, value in flags.items()]
    try:
        found = vars(parser.parse_args(words))
    except argparse.ArgumentError as error:
        raise InputError(f"{where}: {error}") from error
    other = args.drift is not None and args.drift != found["drift"]
    for name in flags:
        if getattr(args, name) is None and not (other and name in _OF_DRIFT):
            setattr(args, name, found[name])


class _Reader(argparse.ArgumentParser):
    """Raises what another parser ends the program with."""

    def error(self, message: str) -> NoReturn:
        raise argparse.ArgumentError(None, message)


def _given(args: argparse.Namespace, name: str, default: Any) -> Any:
    value = getattr(args, name, None)
    return default if value is None else value
