"""Collection of records against the plain way: the whole model anew for every record and window.

The plain way is transformers' own model, unsplit, eager whatever `--compile` says, a window a
batch, the channel applied by the same `Radio` in a hook before layer p, with as many threads in one
process as the workers have together. Both measure the same records in the same dtype, and the
records have to agree; computing the clean prefixes counts. Loading is left out of both, compiling
and starting workers as well: `start_seconds` is what all that took before the workers' first round,
less if compilations of an earlier run are on the disk. The two alternate, medians are compared;
fp32 is measured as well, for `speedup_fp32`. Other work on the cores slows plain's threads far more
than processes: `speedup_least` is of plain's best round. Prints one JSON object last.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from airsplit.checkpoint import EMBEDDED, Checkpoint, locate
from airsplit.errors import AirSplitError, InputError
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
        most = torch.finfo(self.dtype).max  # the codec encodes what is larger as this
        nlls = []
        for n, row in enumerate(ids):

            def impair(
                module: torch.nn.Module, args: tuple[torch.Tensor], n: int = n
            ) -> tuple[torch.Tensor, ...]:
                sent = args[0][0].float().cpu().numpy()
                place = Place.replay(channel, len(sent), window=n, offset=n * len(sent))
                received = radio.transmit(sent, place, self.dtype.itemsize).values
                sent_on = torch.from_numpy(received)[None].clamp(-most, most)
                return (sent_on.to(self.device, self.dtype), *args[1:])

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
    start_seconds: float = 0.0
    """Loading and compiling the model, its prefixes, and the same in the workers, once."""

    def meet(self, found: tuple[float, float], expected: float, tolerance: float) -> None:
        """Compares a record's NLL and its standard error with the NLL of the plain way.

        Raises:
            SystemExit: they are further apart than `tolerance` nats, or one is not a number.
        """
        nll, se = found
        off = abs(nll - expected)
        if not off <= tolerance:
            raise SystemExit(f"an NLL is {off:.2e} nats off {expected:.6f}, the plain way's")
        self.worst = max(self.worst, off)
        self.worst_in_se = max(self.worst_in_se, off / se if off else 0.0)

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
    began = time.perf_counter()
    with Collector(config) as many:
        many.start()
        outcome.start_seconds = time.perf_counter() - began
        plain, threads = Plain(config), len(config.devices)
        splits, ids = many.prefixes.splits, many.prefixes.ids
        outcome.records = len(channels) * len(splits)
        with Collector(replace(config, workers=1)) as one:
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
                        outcome.meet(found[key], nll, tolerance)
                if n:
                    kept = (outcome.plain, outcome.one, outcome.many)
                    for rounds_of, taken in zip(kept, seconds, strict=True):
                        rounds_of.append(taken)
    return outcome


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Raises: InputError: a value is out of its range."""
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
    add("--rounds-fp32", type=int, default=1,
        help="of each in fp32, where --dtype is another (default %(default)s)")  # fmt: skip
    add("--seed", type=int, default=0, help="of the channels (default 0)")
    add("--tolerance", type=float, help=f"between the ways, nats (default {TOLERANCES})")
    add("--json", action="store_true", help="only the JSON object")
    args = parser.parse_args(arguments)
    if args.rounds < 1:
        raise InputError.of("--rounds", args.rounds, "at least 1")
    if args.rounds_fp32 < 0:
        raise InputError.of("--rounds-fp32", args.rounds_fp32, "at least 0")
    if args.tolerance is not None and not 0 <= args.tolerance < inf:
        raise InputError.of("--tolerance", args.tolerance, "at least 0")
    return args


def measured(args: argparse.Namespace) -> dict[str, Any]:
    """What is printed.

    Raises:
        InputError: a value is out of its range, or what is asked for is not here.
        SystemExit: the two ways do not agree.
    """
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
    channels = list(grid((0.5, 2.0), (inf, 1.0), (0.1, 0.3), (15.0, 5.0), args.seed))
    plan = {"fp32": args.rounds_fp32, args.dtype: args.rounds}
    found: dict[str, Outcome] = {}
    for dtype, rounds in plan.items():
        if rounds:
            tolerance = TOLERANCES[dtype] if args.tolerance is None else args.tolerance
            found[dtype] = compare(replace(asked, dtype=dtype), channels, rounds, tolerance)
            if not args.json:
                print(f"{dtype}: {found[dtype]}")
    best, exact = found[args.dtype], found.get("fp32")
    collect_seconds = statistics.median(best.many)
    return {
        "speedup": best.speedup(best.many),
        "speedup_least": round(min(best.plain) / max(best.many), 3),
        "speedup_one_worker": best.speedup(best.one),
        "speedup_fp32": exact.speedup(exact.many) if exact else None,
        "start_seconds": round(best.start_seconds, 3),
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
        "rounds_fp32": plan["fp32"],
        "model": args.model,
        "device": args.device,
        "seed": args.seed,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        print(json.dumps(measured(parsed(arguments))))
    except AirSplitError as error:
        print(f"collect: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
