"""`airsplit score`."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter

from airsplit.perplexity import Perplexity
from cli import local
from ue_client.config import add_arguments as add_ue_arguments
from ue_client.records import Answer
from ue_client.tasks import add_score_arguments, check_score, run_score

EPILOG = """examples:
  airsplit score --dataset sample --split 4
  airsplit score --dataset wikitext-2 --channel awgn,sigma=1 --split 2 --max-tokens 20000
  airsplit score --channel nakagami,sigma=0.5,m=1 --split auto --json
  airsplit score --edge 10.0.0.2:50052 --controller 10.0.0.3:50053
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    add_score_arguments(parser)
    add_ue_arguments(parser, edge_required=False)
    local.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Shows progress on standard error, then a summary (or the result as JSON)."""
    check_score(args)
    result = local.run_ue(args, lambda ue: run_score(ue, args, _progress))
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    if args.json:
        print(json.dumps(result, allow_nan=False))
        return 0
    splits = ", ".join(f"{p}: {n}" for p, n in sorted(Counter(result["splits"]).items()))
    latency = result["latency_ms"]
    print(
        f"perplexity {result['perplexity']:.4f} over {result['tokens']} tokens of "
        f"{args.dataset}, window {args.window}\n"
        f"tokens by split: {splits}; {len(result['switches'])} switches\n"
        f"frame p50 {latency['p50']:.1f} ms, p95 {latency['p95']:.1f} ms; "
        f"{result['uplink_bytes']} bytes up"
    )
    return 0


def _progress(answer: Answer, total: Perplexity) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{total.tokens} tokens, perplexity {total.value:.3f} ")
        sys.stderr.flush()
