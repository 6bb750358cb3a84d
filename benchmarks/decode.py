"""Decode speed: split over loopback through the emulator against transformers' generate.

Both run in one go on the same number of threads, in alternating rounds; medians are compared, since
absolute times on a shared machine are noise. Prints one JSON object last.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import AutoModelForCausalLM

from airsplit.checkpoint import EMBEDDED, Checkpoint, locate
from airsplit.partition import ModelPartition
from airsplit.telemetry import STAGES, TokenTrace
from airsplit.text import load_tokenizer
from experiments.stack import Stack, start_services
from ue_client.generate import generate
from ue_client.link import Link
from ue_client.records import SessionRequest
from ue_client.session import UeSession

PROMPT = "The lighthouse stood at the end of a long finger of rock, and"


def unsplit(model: torch.nn.Module, prompt: list[int], tokens: int) -> tuple[float, list[int]]:
    """Tokens per second of transformers' greedy generate, and the tokens."""
    ids = torch.tensor([prompt])
    started = time.perf_counter()
    out = model.generate(  # type: ignore[operator]
        ids, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False
    )
    elapsed = time.perf_counter() - started
    return tokens / elapsed, out[0, len(prompt) :].tolist()


def split(
    partition: ModelPartition, link: Link, prompt: list[int], tokens: int, at: int
) -> tuple[float, list[int], list[TokenTrace]]:
    """Tokens per second over the wire, the tokens, and the trace of each."""
    session = UeSession(partition, link, SessionRequest("bench", at, len(prompt) + tokens))
    try:
        started = time.perf_counter()
        steps = list(generate(session, prompt, tokens))
        elapsed = time.perf_counter() - started
    finally:
        session.close()
    return tokens / elapsed, [step.token_id for step in steps], [step.trace for step in steps]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=EMBEDDED, help="hub id, directory, or the embedded one")
    parser.add_argument("--split", type=int, default=None, help="layers at the UE (default L / 2)")
    parser.add_argument("--tokens", type=int, default=128, help="new tokens a round (default 128)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each (default 7)")
    parser.add_argument("--threads", type=int, default=1, help="of every process (default 1)")
    parser.add_argument("--channel", default="ideal", help="radio (default ideal)")
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    checkpoint = Checkpoint(locate(args.model))
    prompt = load_tokenizer(checkpoint.path).encode(PROMPT)
    model = AutoModelForCausalLM.from_pretrained(checkpoint.path, dtype=torch.float32).eval()
    partition = ModelPartition(checkpoint, head=False)
    at = partition.facts.layers // 2 if args.split is None else args.split
    rates: dict[str, list[float]] = {"split": [], "unsplit": []}
    traces: list[TokenTrace] = []
    with Stack() as stack:
        addresses = start_services(
            stack,
            channel=args.channel,
            seed=0,
            edge_arguments=["--model", args.model, "--threads", str(args.threads)],
        )
        with Link(addresses.edge) as link:
            for n in range(args.rounds + 1):
                unsplit_rate, expected = unsplit(model, prompt, args.tokens)
                split_rate, tokens, round_traces = split(partition, link, prompt, args.tokens, at)
                if args.channel == "ideal" and tokens != expected:
                    raise SystemExit("the split run's tokens are not the unsplit model's")
                if n == 0:  # warm-up
                    continue
                rates["split"].append(split_rate)
                rates["unsplit"].append(unsplit_rate)
                traces += round_traces[1:]
                if not args.json:
                    print(f"round {n}: split {split_rate:.1f}, unsplit {unsplit_rate:.1f} tokens/s")
    medians = {name: statistics.median(values) for name, values in rates.items()}
    print(
        json.dumps(
            {
                "split_tokens_per_second": round(medians["split"], 2),
                "unsplit_tokens_per_second": round(medians["unsplit"], 2),
                "ratio": round(medians["split"] / medians["unsplit"], 4),
                "stages_ms": {
                    stage: round(
                        statistics.median(getattr(trace, f"{stage}_ms") for trace in traces), 4
                    )
                    for stage in (*STAGES, "total")
                },
                "model": args.model,
                "split": at,
                "channel": args.channel,
                "tokens": args.tokens,
                "rounds": args.rounds,
                "threads": args.threads,
            }
        )
    )


if __name__ == "__main__":
    main()
