"""A UE command with the services it needs: given by address, or started here on free ports."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from airsplit.checkpoint import Checkpoint, locate
from airsplit.errors import InputError
from airsplit.partition import parse_device
from channel_emulator.help import knobs, presets, scenarios
from channel_emulator.start import SYNTAX, parse_start
from controller.registry import parse_policy
from experiments.stack import Stack, start_limit_s, start_services
from ue_client.config import AUTO, config_of
from ue_client.steering import Schedule
from ue_client.ue import Ue


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is for services that are started here; the radio's words go below the epilog."""
    parser.epilog = f"{parser.epilog or ''}\n{presets()}\n\n{scenarios()}\n\n{knobs()}"
    group = parser.add_argument_group("services started here (without --edge)")
    group.add_argument(
        "--channel",
        default=None,
        metavar="SPEC",
        help=f"radio: {SYNTAX}, see below (default: ideal); e.g. nakagami,sigma=0.5,m=1",
    )
    group.add_argument(
        "--policy",
        default=None,
        metavar="POLICY",
        help="with --split auto: ppo (default), threshold, fixed:P, ppo:DIR",
    )


def run_ue(args: argparse.Namespace, job: Callable[[Ue], dict[str, Any]]) -> dict[str, Any]:
    """Runs `job` on a UE; without `--edge` edge, emulator and controller are started for it.

    Raises:
        AirSplitError: bad input, a service that does not start, or a peer that is gone.
    """
    if args.edge is not None:
        for field in ("channel", "policy"):
            if getattr(args, field) is not None:
                raise InputError(f"--{field}: is for services started here; leave out --edge")
        with Ue(config_of(args)) as ue:
            return job(ue)
    # What is wrong is refused before anything starts.
    channel = args.channel or "ideal"
    parse_start(channel)
    checkpoint = Checkpoint(locate(args.model))
    layers = int(checkpoint.config.num_hidden_layers)
    parse_device("--device", args.device)
    if args.policy is not None:
        parse_policy(args.policy)
    splits = [int(args.split)] if args.split.isdecimal() else []
    if args.switch_schedule is not None:
        splits += Schedule.parse("--switch-schedule", args.switch_schedule).moves.values()
    for split in splits:
        if split > layers:
            raise InputError.of("--split, --switch-schedule", split, f"0-{layers}")
    args.edge = "127.0.0.1:0"
    automatic = args.split == AUTO and args.switch_schedule is None
    wants_controller = args.controller is None and automatic
    if args.policy is not None and not wants_controller:
        raise InputError("--policy: needs --split auto and no --controller")
    config_of(args if not wants_controller else _with(args, controller="127.0.0.1:0"))
    threads = [] if args.threads is None else ["--threads", str(args.threads)]
    with Stack() as stack:
        addresses = start_services(
            stack,
            channel=channel,
            seed=args.seed,
            edge_arguments=[
                *("--model", args.model, "--device", args.device, "--dtype", args.dtype),
                *threads,
            ],
            controller_arguments=["--policy", args.policy or "ppo"] if wants_controller else None,
            edge_start_s=start_limit_s(checkpoint.path),
        )
        args.edge = addresses.edge
        args.controller = args.controller or addresses.controller
        with Ue(config_of(args)) as ue:
            return job(ue)


def _with(args: argparse.Namespace, **changes: Any) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(args), **changes})
