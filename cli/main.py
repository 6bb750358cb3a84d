"""`airsplit COMMAND ...`. Commands are imported when they are asked for: torch takes a second."""

from __future__ import annotations

import importlib
import signal
import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from types import FrameType

from airsplit.command_line import Parser, report_errors

COMMANDS = {
    "demo": "four processes, a story and a perplexity over a channel that goes bad; a report",
    "generate": "continue a prompt on a model that is split over two processes",
    "score": "perplexity of a text on a model that is split over two processes",
    "serve": "run one service: edge, channel or controller",
    "split": "show or set the split of running sessions",
    "channel": "show or change the radio while it runs",
    "collect": "record perplexity over splits and channels, for surrogates",
    "sweep": "perplexity against the split under each impairment, with plots",
    "train": "train a surrogate of perplexity, or a policy",
    "evaluate": "compare policies with the optimum, or live over real processes",
    "reproduce": "the paper's table and figures, with the optimum beside them",
}

EPILOG = """examples:
  airsplit demo
  airsplit generate --prompt "The sea" --channel nakagami,sigma=0.5,m=1 --split 4
  airsplit score --dataset sample --channel awgn,sigma=1 --split auto --json
  airsplit serve edge --listen 0.0.0.0:50051
  airsplit COMMAND --help
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point. Returns the exit code."""
    # Before a command is imported: the first process of a container has no default for SIGTERM.
    signal.signal(signal.SIGTERM, _interrupt)
    arguments = list(sys.argv[1:] if argv is None else argv)
    return report_errors("airsplit", lambda: _main(arguments))


def _main(arguments: list[str]) -> int:
    parser = Parser(
        prog="airsplit",
        description="One large language model on two machines over an emulated radio link.",
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for name, help_ in COMMANDS.items():
        command = commands.add_parser(
            name, help=help_, description=help_, formatter_class=RawDescriptionHelpFormatter
        )
        if name == chosen:
            module = importlib.import_module(f"cli.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    args = parser.parse_args(arguments)
    if args.version:
        from importlib.metadata import version

        print(f"airsplit {version('airsplit')}")
        return 0
    if args.command is None:
        parser.print_help()
        return 0
    return report_errors(f"airsplit {args.command}", lambda: int(args.run(args)))


def _interrupt(number: int, frame: FrameType | None) -> None:
    """SIGTERM tears everything down as Ctrl-C does."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
