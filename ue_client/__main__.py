"""`python -m ue_client generate|score|duet`: the UE process; its services run elsewhere."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence

from airsplit.command_line import Parser, report_errors
from ue_client.config import add_arguments, config_of
from ue_client.duet import add_duet_arguments, run_duet
from ue_client.tasks import add_generate_arguments, add_score_arguments, run_generate, run_score
from ue_client.ue import Ue


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog="python -m ue_client",
        description="AirSplit UE: runs the embedding and layers [0, p).",
        epilog="example: python -m ue_client score --edge 127.0.0.1:50052 --split 4 --json",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help_, add in (
        ("generate", "continue a prompt", add_generate_arguments),
        ("score", "perplexity of a text", add_score_arguments),
        ("duet", "stories and a perplexity in turns, as JSON lines", add_duet_arguments),
    ):
        command = commands.add_parser(name, help=help_)
        add(command)
        add_arguments(command, edge_required=True)
    args = parser.parse_args(argv)
    logging.basicConfig(level="WARNING", format="ue %(levelname)s %(message)s")
    return report_errors("ue_client", lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    with Ue(config_of(args)) as ue:
        if args.command == "duet":
            run_duet(ue, args)
            return 0
        run = run_generate if args.command == "generate" else run_score
        print(json.dumps(run(ue, args), allow_nan=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
