"""`python -m controller`: one controller process."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
import uvloop

from airsplit import serving
from airsplit.clock import SystemClock
from airsplit.command_line import Parser, report_errors
from airsplit.v1 import controller_pb2, controller_pb2_grpc
from controller.decision_log import DecisionLog
from controller.decisions import Settings
from controller.registry import parse_policy
from controller.service import ControllerService
from controller.sessions import SessionBook

DESCRIPTION = """\
Hosts a policy that watches the channel of every session and pushes a new split point to the UE
and to the edge while a generation runs."""

EPILOG = """\
policies:
  fixed:P              always split before layer P
  threshold            a staircase over the estimated noise
  threshold:FILE.json  the same with your own table, e.g.
                       {"measure": "sigma", "thresholds": [0.5, 2], "splits": [2, 6, 10]}
  ppo                  the embedded PPO policy, trained for airsplit-tiny
  ppo:DIR, DIR         a policy that `airsplit train policy --out DIR` wrote
  random[:SEED]        moves by chance; option moves=U, at most U layers a decision (2)
  greedy[:FROM]        the split whose objective is least on the channel as estimated
  optimal[:FROM]       the first of the best five moves to come, by dynamic programming
FROM is a surrogate's folder, a table (JSON) or a published reward model (.pth, .safetensors); the
embedded table by default. Options of greedy and optimal: lambda=0.1, form=share|log|perplexity,
moves=U, move-cost=0; e.g. greedy:table.json,lambda=0.2,moves=2

examples:
  python -m controller
  python -m controller --listen 0.0.0.0:50053 --policy threshold --min-dwell-ms 2000
  python -m controller --listen 127.0.0.1:0 --policy fixed:4 --decision-log decisions.jsonl

The first line on standard output is JSON with the address that is listened on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of a controller process, also for `airsplit serve controller`."""
    defaults = Settings()
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    serving.add_serving_arguments(parser, "127.0.0.1:50053")
    add("--policy", default="ppo", metavar="POLICY",
        help="what decides, see below (default: %(default)s)")  # fmt: skip
    add("--decision-interval-ms", type=float, default=defaults.decision_interval_ms, metavar="MS",
        help="shortest time between two decisions about a session, 0-3600000 milliseconds "
        "(default: %(default)g)")  # fmt: skip
    add("--decision-interval-tokens", type=int, default=defaults.decision_interval_tokens,
        metavar="N", help="decide each time that a multiple of N tokens of a session has crossed, "
        "from what they met, 1-1000000; 0 decides by time (default: %(default)d)")  # fmt: skip
    add("--min-dwell-ms", type=float, default=defaults.min_dwell_ms, metavar="MS",
        help="shortest time between two changes of a session's split, 0-3600000 milliseconds; an "
        "operator may change it at any time (default: %(default)g)")  # fmt: skip
    add("--confirmations", type=int, default=defaults.confirmations, metavar="K",
        help="move only when K looks in a row want the same direction, 1-1000 "
        "(default: %(default)d)")  # fmt: skip
    add("--smoothing-ms", type=float, default=defaults.smoothing_ms, metavar="MS",
        help="time constant of the average over channel reports, 0-3600000 milliseconds; 0 takes "
        "the newest as it is (default: %(default)g)")  # fmt: skip
    add("--max-sessions", type=int, default=defaults.max_sessions, metavar="N",
        help="sessions at a time; the next is refused (default: %(default)d)")  # fmt: skip
    add("--decision-log", type=Path, metavar="FILE",
        help="append every decision to FILE, one JSON object a line (default: none)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT. Returns the exit code.

    Raises:
        AirSplitError: it cannot start.
    """
    settings = Settings(
        decision_interval_ms=args.decision_interval_ms,
        decision_interval_tokens=args.decision_interval_tokens,
        min_dwell_ms=args.min_dwell_ms,
        confirmations=args.confirmations,
        smoothing_ms=args.smoothing_ms,
        max_sessions=args.max_sessions,
    )
    uvloop.run(_serve(SessionBook(parse_policy(args.policy), settings), args))
    return 0


async def _serve(book: SessionBook, args: argparse.Namespace) -> None:
    logging.getLogger(__name__).info("policy %s, %s", book.policy.name, book.settings)
    log = DecisionLog(args.decision_log) if args.decision_log else None
    service = ControllerService(book, SystemClock(), log)

    def register(server: grpc.aio.Server) -> list[str]:
        controller_pb2_grpc.add_ControllerServicer_to_server(service, server)
        return [controller_pb2.DESCRIPTOR.services_by_name["Controller"].full_name]

    # Attached ends keep their streams open for ever, so there is nothing to wait long for.
    await serving.serve(
        serving.Service("controller", register, stop=service.close, stopping=service.stopping),
        args.listen,
        stop_with_parent=args.stop_with_parent,
        grace_s=0.2,
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m controller", allow_abbrev=False)
    add_arguments(parser)
    args = parser.parse_args(argv)
    logging.basicConfig(
        level=args.log_level.upper(), format="%(asctime)s %(name)s %(levelname)s %(message)s"
    )
    return report_errors("controller", lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
