"""Collection of records against the plain way: the whole model anew for every record and window.

The plain way is transformers' own model, unsplit, a window at a time, the channel applied by the
same `Radio` in a hook before layer p, with as many threads in one process as the workers have
together. Both measure the same records, which have to agree; loading models and starting workers
is left out of both, computing the clean prefixes is not. The two alternate, medians are compared.
Prints one JSON object last.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator, Sequence

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from airsplit.checkpoint import EMBEDDED, Checkpoint, locate
from airsplit.partition import ModelPartition
from channel_emulator.config import ChannelConfig
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from experiments.collect import CollectConfig, Collector
from experiments.designs import grid

Key = tuple[int, int]


class Plain:
    """The whole model, and the channel in a hook."""

    def __init__(self, model: str, device: str) -> None:
        path = Checkpoint(locate(model)).path
        loaded = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
        self.model = loaded.eval().to(device)
        self.layers = [*self.model.model.layers, self.model.model.norm]
        self.device = torch.device(device)

    @torch.inference_mode()
    def nll(self, ids: np.ndarray, channel: ChannelConfig, split: int) -> float:
        """Mean over the windows `ids`, [windows, tokens]."""
        radio = Radio(channel)
        nlls = []
        for n, row in enumerate(ids):

            def impair(
                module: torch.nn.Module, args: tuple[torch.Tensor], n: int = n
            ) -> tuple[torch.Tensor, ...]:
                sent = args[0][0].cpu().numpy()
                place = Place.replay(channel, len(sent), window=n, offset=n * len(sent))
                received = torch.from_numpy(radio.transmit(sent, place).values)
                return (received[None].to(self.device), *args[1:])

            tokens = torch.from_numpy(row)[None].to(self.device)
            handle = self.layers[split].register_forward_pre_hook(impair)
            nlls.append(float(self.model(tokens, labels=tokens, use_cache=False).loss))
            handle.remove()
        return statistics.fmean(nlls)


def plain_round(
    plain: Plain, ids: np.ndarray, channels: Sequence[ChannelConfig], splits: Sequence[int]
) -> tuple[float, dict[Key, float]]:
    """Seconds, and NLL by (channel's number, split)."""
    started = time.perf_counter()
    nlls = {
        (i, p): plain.nll(ids, channel, p) for i, channel in enumerate(channels) for p in splits
    }
    return time.perf_counter() - started, nlls


def collect_round(
    collector: Collector, channels: Sequence[ChannelConfig]
) -> tuple[float, dict[Key, float]]:
    """As `plain_round`; the time of the clean prefixes, computed at the start, comes on top."""
    started = time.perf_counter()
    nlls = {(channels.index(r.channel), r.split): r.nll for r in collector.records(channels)}
    return time.perf_counter() - started + collector.prefix_seconds, nlls


def rounds(
    args: argparse.Namespace, channels: Sequence[ChannelConfig]
) -> Iterator[tuple[str, float]]:
    """(name, seconds) of every timed pass; checks that all agree."""
    config = {"model": args.model, "dataset": args.dataset, "window": args.window,
              "windows": args.windows, "device": args.device}  # fmt: skip
    plain = Plain(args.model, args.device)
    with (
        Collector(CollectConfig(**config, workers=1)) as one,
        Collector(CollectConfig(**config, workers=args.workers)) as many,
    ):
        many.start()
        splits, ids = many.prefixes.splits, many.prefixes.ids
        for n in range(args.rounds + 1):
            torch.set_num_threads(args.workers)
            seconds, expected = plain_round(plain, ids, channels[: 1 if n == 0 else None], splits)
            timed = [("plain", seconds)]
            torch.set_num_threads(1)
            for name, collector in (("one", one), ("many", many)):
                seconds, found = collect_round(collector, channels)
                timed.append((name, seconds))
                worst = max(abs(found[key] - nll) for key, nll in expected.items())
                if worst > args.tolerance:
                    raise SystemExit(f"{name}: an NLL is off by {worst:.2e} nats")
            if n > 0:  # the first is warm-up
                yield from timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--model", default=EMBEDDED, help="hub id, directory, or the embedded one")
    add("--dataset", default="sample", help="text (default %(default)s)")
    add("--window", type=int, default=256, help="tokens of a window (default %(default)s)")
    add("--windows", type=int, default=4, help="of a record (default %(default)s)")
    add("--workers", type=int, default=2, help="processes, and threads of plain (default 2)")
    add("--device", default="cpu", help="cpu or cuda:N (default cpu)")
    add("--rounds", type=int, default=3, help="of each (default %(default)s)")
    add("--seed", type=int, default=0, help="of the channels (default 0)")
    add("--tolerance", type=float, default=1e-4, help="between the ways, nats (default 1e-4)")
    add("--json", action="store_true", help="only the JSON object")
    args = parser.parse_args()
    channels = list(grid((0.5, 2.0), (float("inf"), 1.0), (0.1, 0.3), (15.0, 5.0), args.seed))
    seconds: dict[str, list[float]] = {"plain": [], "one": [], "many": []}
    for name, taken in rounds(args, channels):
        seconds[name].append(taken)
        if not args.json:
            print(f"{name}: {taken:.2f} s")
    median = {name: statistics.median(values) for name, values in seconds.items()}
    splits = ModelPartition(Checkpoint(locate(args.model)), head=False).facts.layers + 1
    records = len(channels) * splits
    print(
        json.dumps(
            {
                "speedup": round(median["plain"] / median["many"], 3),
                "speedup_one_worker": round(median["plain"] / median["one"], 3),
                "plain_seconds": round(median["plain"], 3),
                "collect_seconds": round(median["many"], 3),
                "collect_seconds_one_worker": round(median["one"], 3),
                "records": records,
                "records_per_second": round(records / median["many"], 2),
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
