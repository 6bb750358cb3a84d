"""`airsplit generate`."""

from __future__ import annotations

import argparse
import json
import sys

from cli import local
from ue_client.config import add_arguments as add_ue_arguments
from ue_client.tasks import add_generate_arguments, check_generate, run_generate

EPILOG = """examples:
  airsplit generate --prompt "The sea was calm" --split 4
  airsplit generate --channel nakagami,sigma=0.5,m=1 --split auto --max-new-tokens 200
  airsplit generate --split 8 --switch-schedule "16:3,32:9" --json
  airsplit generate --edge 10.0.0.2:50052 --controller 10.0.0.3:50053
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    add_generate_arguments(parser)
    add_ue_arguments(parser, edge_required=False)
    local.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prints the text as it comes, then a summary (or the result as JSON)."""
    check_generate(args)
    text = Shown()
    show = None if args.json else text.show
    try:
        result = local.run_ue(args, lambda ue: run_generate(ue, args, show))
    except BaseException:
        text.end()
        raise
    if args.json:
        print(json.dumps(result, allow_nan=False))
        return 0
    latency = result["latency_ms"]
    print(
        f"\n\n{len(result['token_ids'])} tokens, {result['tokens_per_second']} tokens/s, "
        f"first after {result['ttft_ms']:.0f} ms; per token p50 {latency['p50']:.2f} ms, "
        f"p95 {latency['p95']:.2f} ms; {result['uplink_bytes']} bytes up"
    )
    if result["finish_reason"] == "context":
        print("stopped: the context is full")
    for switch in result["switches"]:
        print(
            f"split {switch['from']} -> {switch['to']} at token {switch['token']}: "
            f"{switch['bytes']} bytes of K/V, {switch['gap_ms']:.1f} ms"
        )
    return 0


class Shown:
    """Text on standard output, piece by piece."""

    def __init__(self) -> None:
        self._begun = False

    def show(self, piece: str) -> None:
        self._begun = True
        sys.stdout.write(piece)
        sys.stdout.flush()

    def end(self) -> None:
        """What is said next begins a line of its own."""
        if self._begun:
            self.show("\n")
