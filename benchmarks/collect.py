"""Collection of records against the plain way: the whole model anew for every record and window.

The plain way is transformers' own model, unsplit, a window at a time, the channel applied by the
same `Radio` in a hook before layer p, with as many threads in one process as the workers have
together. Both measure the same records in the same dtype, and the records have to agree; loading
and compiling models and starting workers is left out of both, computing the clean prefixes is not.
The two alternate, medians are compared; fp32 is measured as well, for `speedup_fp32`. Other work on
the cores slows plain's threads far more than processes: `speedup_least` is of plain's best round.
Prints one JSON object last.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from airsplit.checkpoint import EMBEDDED, Checkpoint, locate
from airsplit.tensor_codec import parse_dtype
from channel_emulator.config import ChannelConfig
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from experiments.collect import CollectConfig, Collector
from experiments.designs import grid
from experiments.prefixes import Prefixes

Key = tuple[int, int]
"""The channel's number, and the split."""

TOLERANCES = {"fp32": 1e-4, "bf16": 5e-3, "fp16": 5e-3}
"""Nats between the ways, of one record. Both round to 16 bits, in another order: of 136 records in
bf16 the worst was 0.0014 off, a quarter of its standard error over windows."""


class Plain:
    """The whole model, and the channel in a hook."""

    def __init__(self, config: CollectConfig) -> None:
        path = Checkpoint(locate(config.model)).path
        self.dtype = parse_dtype("--dtype", config.dtype)
        loaded = AutoModelForCausalLM.from_pretrained(path, dtype=self.dtype)
        self.model = loaded.eval().to(config.device)
        self.layers = [*self.model.model.layers, self.model.model.norm]
        self.device = torch.device(config.device)

    @torch.inference_mode()
    def nll(self, ids: np.ndarray, channel: ChannelConfig, split: int) -> float:
        """Mean over the windows `ids`, [windows, tokens]."""
        radio = Radio(channel)
        nlls = []
        for n, row in enumerate(ids):

            def impair(
                module: torch.nn.Module, args: tuple[torch.Tensor], n: int = n
            ) -> tuple[torch.Tensor, ...]:
                sent = args[0][0].float().cpu().numpy()
                place = Place.replay(channel, len(sent), window=n, offset=n * len(sent))
                received = radio.transmit(sent, place, self.dtype.itemsize).values
                return (torch.from_numpy(received)[None].to(self.device, self.dtype), *args[1:])

            tokens = torch.from_numpy(row)[None].to(self.device)
            handle = self.layers[split].register_forward_pre_hook(impair)
            nlls.append(float(self.model(tokens, labels=tokens, use_cache=False).loss))
            handle.remove()
        return statistics.fmean(nlls)


@dataclass
class Outcome:
    """Of one dtype."""

    plain: list[float] = field(default_factory=list)
    """Seconds of each round."""

    one: list[float] = field(default_factory=list)
    many: list[float] = field(default_factory=list)
    worst: float = 0.0
    """Largest difference of a record's NLL between the ways, nats."""

    worst_in_se: float = 0.0
    """The same, in standard errors of that record."""

    records: int = 0

    def speedup(self, of: list[float]) -> float:
        return round(statistics.median(self.plain) / statistics.median(of), 3)


def plain_round(
    plain: Plain, ids: np.ndarray, channels: Sequence[ChannelConfig], splits: Sequence[int]
) -> tuple[float, dict[Key, float]]:
    """Seconds, and NLL by channel and split."""
    started = time.perf_counter()
    nlls = {
        (i, p): plain.nll(ids, channel, p) for i, channel in enumerate(channels) for p in splits
    }
    return time.perf_counter() - started, nlls


def collect_round(
    collector: Collector, channels: Sequence[ChannelConfig]
) -> tuple[float, dict[Key, tuple[float, float]]]:
    """As `plain_round`, with each NLL's standard error; the clean prefixes are computed anew."""
    prefixes = collector.prefixes
    started = time.perf_counter()
    Prefixes.of(collector.scorer.partition, prefixes.ids, prefixes.splits)
    records = list(collector.records(channels))
    seconds = time.perf_counter() - started
    return seconds, {(channels.index(r.channel), r.split): (r.nll, r.nll_se) for r in records}


def compare(
    config: CollectConfig, channels: Sequence[ChannelConfig], rounds: int, tolerance: float
) -> Outcome:
    """Runs `rounds` of each way, after one to warm up in which plain meets the first channel."""
    outcome = Outcome()
    plain, threads = Plain(config), len(config.devices)
    with Collector(replace(config, workers=1)) as one, Collector(config) as many:
        many.start()
        splits, ids = many.prefixes.splits, many.prefixes.ids
        outcome.records = len(channels) * len(splits)
        for n in range(rounds + 1):
            torch.set_num_threads(threads)
            some = channels if n else channels[:1]
            plain_seconds, expected = plain_round(plain, ids, some, splits)
            torch.set_num_threads(1)
            seconds = [plain_seconds]
            for collector in (one, many):
                taken, found = collect_round(collector, channels)
                seconds.append(taken)
                for key, nll in expected.items():
                    off, se = abs(found[key][0] - nll), found[key][1]
                    outcome.worst = max(outcome.worst, off)
                    outcome.worst_in_se = max(outcome.worst_in_se, off / se)
                if not outcome.worst <= tolerance:
                    raise SystemExit(f"{config.dtype}: an NLL is off by {outcome.worst:.2e} nats")
            if n:
                for kept, taken in zip(
                    (outcome.plain, outcome.one, outcome.many), seconds, strict=True
                ):
                    kept.append(taken)
    return outcome


def main() -> None:
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--model", default=EMBEDDED, help="hub id, directory, or the embedded one")
    add("--dataset", default="sample", help="text (default %(default)s)")
    add("--window", type=int, default=256, help="tokens of a window (default %(default)s)")
    add("--windows", type=int, default=8, help="of a record (default %(default)s)")
    add("--workers", type=int, default=2, help="processes, and threads of plain (default 2)")
    add("--device", default="cpu", help="cpu or cuda:N (default cpu)")
    add("--dtype", default="bf16", help="of both ways: fp32, bf16 or fp16 (default bf16)")
    add("--compile", action=argparse.BooleanOptionalAction, default=bool(compiler),
        help="as `airsplit collect` (default: where there is a C++ compiler)")  # fmt: skip
    add("--rounds", type=int, default=3, help="of each (default %(default)s)")
    add("--rounds-fp32", type=int, default=1, help="of each in fp32 (default %(default)s)")
    add("--seed", type=int, default=0, help="of the channels (default 0)")
    add("--tolerance", type=float, help=f"between the ways, nats (default {TOLERANCES})")
    add("--json", action="store_true", help="only the JSON object")
    args = parser.parse_args()
    channels = list(grid((0.5, 2.0), (float("inf"), 1.0), (0.1, 0.3), (15.0, 5.0), args.seed))
    asked = CollectConfig(
        model=args.model,
        dataset=args.dataset,
        window=args.window,
        windows=args.windows,
        workers=args.workers,
        device=args.device,
        dtype=args.dtype,
        compile=args.compile,
    )
    found: dict[str, Outcome] = {}
    for dtype, rounds in {"fp32": args.rounds_fp32, args.dtype: args.rounds}.items():
        if rounds:
            tolerance = args.tolerance or TOLERANCES[dtype]
            found[dtype] = compare(replace(asked, dtype=dtype), channels, rounds, tolerance)
            if not args.json:
                print(f"{dtype}: {found[dtype]}")
    best, exact = found[args.dtype], found.get("fp32")
    collect_seconds = statistics.median(best.many)
    print(
        json.dumps(
            {
                "speedup": best.speedup(best.many),
                "speedup_least": round(min(best.plain) / max(best.many), 3),
                "speedup_one_worker": best.speedup(best.one),
                "speedup_fp32": exact.speedup(exact.many) if exact else None,
                "plain_seconds": round(statistics.median(best.plain), 3),
                "plain_rounds": [round(seconds, 3) for seconds in best.plain],
                "collect_rounds": [round(seconds, 3) for seconds in best.many],
                "collect_seconds": round(collect_seconds, 3),
                "collect_seconds_one_worker": round(statistics.median(best.one), 3),
                "records": best.records,
                "records_per_second": round(best.records / collect_seconds, 2),
                "dtype": args.dtype,
                "compile": args.compile,
                "max_nll_difference": float(f"{best.worst:.3g}"),
                "max_nll_difference_in_se": float(f"{best.worst_in_se:.3g}"),
                "max_nll_difference_fp32": float(f"{exact.worst:.3g}") if exact else None,
                "threads": args.workers,
                "window": args.window,
                "windows": args.windows,
                "rounds": args.rounds,
                "model": args.model,
                "device": args.device,
                "seed": args.seed,
            }
        )
    )


if __name__ == "__main__":
    main()
