"""`airsplit train policy`."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from airsplit.errors import InputError
from cli import rewards
from controller.learning.hyperparameters import CONFIGS, PRESETS, AgentConfig, agent_config
from controller.learning.reward import Reward
from controller.learning.training_config import TrainingConfig

EPILOG = """examples:
  airsplit train policy --reward surrogate --case A --actions 3 --out policy
  airsplit train policy --reward reward_predictor.safetensors --case released --actions 3 \\
      --steps 24000 --seed 0 --out policy --json
  airsplit train policy --reward model --surrogate-after 4000 --out policy
"""

_HELP = {
    "learning_rate": "step size of the optimiser",
    "gamma": "discount factor, 0-1",
    "environments": "episodes stepped side by side",
    "n_steps": "environment steps between two updates (ppo, a2c)",
    "gae_lambda": "generalised advantage estimation, 0-1 (ppo, a2c)",
    "entropy": "weight of the entropy bonus, 0-1 (ppo, a2c)",
    "clip_range": "of the clipped objective (ppo)",
    "batch_size": "of a gradient step (ppo, dqn)",
    "epochs": "passes over the steps of an update (ppo)",
    "buffer_size": "transitions in the replay buffer (dqn)",
    "learning_starts": "random steps before the first update (dqn)",
    "gradient_steps": "gradient steps after each step of all environments (dqn)",
    "target_update": "steps between two copies into the target network (dqn)",
    "exploration_fraction": "share of the training over which chance falls (dqn)",
    "exploration_final": "share of random moves after that (dqn)",
}
_SWITCHES = {
    "anneal": "let the learning rate fall linearly to 0",
    "bootstrap": "count the value of the state after an episode: the session goes on",
    "standardise": "learn on the reward with mean 0 and standard deviation 1",
}
_TRAINING = {
    "steps": "environment steps",
    "seed": "of all chance",
    "evaluate_every": "steps between exact evaluations, 0: only at the end",
    "patience": "stop after N evaluations without a better return, and serve the best; 0: never",
    "checkpoint_every": "steps between checkpoints, 0: only at the end and on Ctrl-C",
}
_FEW_LEVELS = 5
"""Channels per coordinate to evaluate on where each costs a forward pass."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    add = parser.add_argument
    add("--reward", required=True, metavar="SOURCE", help=rewards.SOURCES)
    add("--out", type=Path, required=True, metavar="DIR", help="where the policy goes")
    add("--algorithm", choices=tuple(CONFIGS), default="ppo", help="(default: %(default)s)")
    add("--preset", choices=tuple(PRESETS), default="best",
        help="hyper-parameters: the paper's Table 4, or what we found best "
        "(default: %(default)s)")  # fmt: skip
    defaults = TrainingConfig()
    for name, help_ in _TRAINING.items():
        add(_flag(name), type=int, default=getattr(defaults, name), metavar="N",
            help=f"{help_} (default: %(default)d)")  # fmt: skip
    add("--levels", type=int, metavar="N",
        help=f"channels per coordinate that an exact evaluation enumerates (default: "
        f"{defaults.levels}, with --reward model {_FEW_LEVELS})")  # fmt: skip
    add("--surrogate-after", type=int, metavar="T",
        help="Algorithm 1: train a surrogate on what was measured in T steps, and go on with "
        "it; kept in DIR/surrogate")  # fmt: skip
    add("--resume", action="store_true", help="go on from the checkpoint in --out")
    add("--tensorboard", type=Path, metavar="DIR", help="write event files there")
    add("--json", action="store_true", help="end with one line of JSON")
    group = parser.add_argument_group("hyper-parameters (default: the preset's)")
    for name, help_ in _HELP.items():
        kind = _kind(name)
        group.add_argument(_flag(name), type=kind, metavar="N" if kind is int else "X", help=help_)
    for name, help_ in _SWITCHES.items():
        group.add_argument(
            _flag(name), action=argparse.BooleanOptionalAction, default=None, help=help_
        )
    group.add_argument("--hidden", type=int, nargs="+", metavar="N", help="sizes of the layers")
    rewards.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Trains; ends with the scores.

    Raises:
        InputError: a value is out of its range, or a file is not what it should be.
        PolicyError: the exported network does not compute what torch computes.
    """
    changes = {name: getattr(args, name) for name in (*_HELP, *_SWITCHES)}
    changes["hidden"] = None if args.hidden is None else tuple(args.hidden)
    given = {name: value for name, value in changes.items() if value is not None}
    config = agent_config(args.algorithm, args.preset, given)
    levels = _FEW_LEVELS if args.reward == rewards.MODEL else TrainingConfig().levels
    training = TrainingConfig(
        **{name: getattr(args, name) for name in _TRAINING},
        levels=levels if args.levels is None else args.levels,
        tensorboard=args.tensorboard,
    )
    reward = rewards.reward_of(args.reward, args)
    environment = rewards.environment_of(reward, args)
    rewards.require_levels_matter(args, environment)
    try:
        from controller.learning.train_policy import train
    except ImportError as error:
        raise InputError(
            "stable-baselines3 is not installed: pip install 'airsplit[train]'"
        ) from error
    if args.tensorboard is not None:
        _make_folder("--tensorboard", args.tensorboard)
    notes = {
        "preset": args.preset,
        "source": args.reward,
        "flags": rewards.given_flags(args),
        "command": shlex.join(["airsplit", "train", "policy", *_command(args, config)]),
    }
    record = train(
        reward,
        environment,
        config,
        training,
        args.out,
        switch=_switch(reward, args),
        resume=args.resume,
        notes=notes,
    )
    _report(record, args)
    return 0


def _switch(reward: Reward, args: argparse.Namespace) -> Any:
    if args.surrogate_after is None:
        return None
    from controller.learning.algorithm import KeptSurrogate, SurrogateSwitch
    from controller.learning.surrogate_config import SurrogateConfig

    kept = KeptSurrogate(args.out / "surrogate", SurrogateConfig(seed=args.seed), _say)
    return SurrogateSwitch(reward, args.surrogate_after, kept)


def _report(record: dict[str, Any], args: argparse.Namespace) -> None:
    scores = record["scores"]
    if args.surrogate_after is not None and record["switched_at"] is None:
        _say("--surrogate-after: no update was left after it; all was learnt on the true reward")
    for row in record["settled"]:
        place = " ".join(f"{name}={row[name]:g}" for name in record["features"]["names"])
        ends = "/".join(map(str, row["settled"]))
        _say(f"{place}: settles at {ends}, optimum {row['optimal']}")
    summary = {
        "algorithm": record["algorithm"],
        "preset": record["preset"],
        "steps": record["steps"],
        "seed": record["seed"],
        "return": scores["policy"],
        "optimal_return": scores["optimal"],
        "random_return": scores["random"],
        "fraction_of_optimum": scores["fraction_of_optimum"],
        "seconds": record["seconds"],
        "out": str(args.out),
    }
    if args.json:
        print(json.dumps(summary, allow_nan=False))
        return
    print(
        f"{record['algorithm']} after {record['steps']} steps: return {scores['policy']:.4f}, "
        f"optimum {scores['optimal']:.4f}, random {scores['random']:.4f}, "
        f"{100 * scores['fraction_of_optimum']:.1f} % of the way; {record['seconds']} s"
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _make_folder(flag: str, path: Path) -> None:
    """Raises: InputError: there is something else, or it cannot be made or written to."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{flag}: {path} cannot be made: {error.strerror}") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise InputError(f"{flag}: {path} cannot be written to")


def _command(args: argparse.Namespace, config: AgentConfig) -> list[str]:
    """What to type for this training again."""
    words = ["--reward", args.reward, "--algorithm", args.algorithm, "--preset", args.preset]
    for name, default in ((name, getattr(TrainingConfig(), name)) for name in _TRAINING):
        value = getattr(args, name)
        if value != default or name in ("steps", "seed"):
            words += [_flag(name), str(value)]
    for name in ("levels", "surrogate_after"):
        if getattr(args, name) is not None:
            words += [_flag(name), str(getattr(args, name))]
    preset = PRESETS[args.preset][args.algorithm]
    for name in (*_HELP, *_SWITCHES, "hidden"):
        chosen: Any = getattr(config, name, None)
        if chosen == getattr(preset, name, None):
            continue
        if name in _SWITCHES:
            words.append(_flag(name) if chosen else _flag(f"no_{name}"))
        else:
            words += [_flag(name), *map(str, chosen if name == "hidden" else [chosen])]
    for name, value in rewards.given_flags(args).items():
        words += [rewards.flag_of(name), str(value)]
    return [*words, "--out", str(args.out)]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _kind(name: str) -> type:
    """int or float, as the field of whichever algorithm has it."""
    found = (field for cls in CONFIGS.values() for field in fields(cls) if field.name == name)
    return int if next(found).type == "int" else float
