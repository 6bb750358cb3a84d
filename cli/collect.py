"""`airsplit collect`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from math import exp, inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from airsplit.errors import InputError
from channel_emulator.config import ChannelConfig

if TYPE_CHECKING:
    from experiments.collect import CollectConfig, Collector
    from experiments.records import Record

EPILOG = """examples:
  airsplit collect --sigma 0 0.5 1 2 5 --m inf 1 --out records.jsonl
  airsplit collect --loss 0.1 0.3 --split 0,4,8-16 --draws 4 --seed 7 --out loss.jsonl --json
  airsplit collect --random 500 --sigma 0 5 --m 1 inf --out random.jsonl --dtype bf16 --compile

A file is continued where it ended: what is in it is not measured again. Grids give all channels the
same draws, with --draws under several seeds; a random channel has a seed of its own."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from experiments.designs import parse_number

    parser.epilog = EPILOG
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="FILE.jsonl", help="where records are appended")
    add("--sigma", type=parse_number, nargs="+", metavar="S", help="absolute noise; with --m")
    add("--m", type=parse_number, nargs="+", metavar="M",
        help="Nakagami shapes, inf for no fading (default: inf)")  # fmt: skip
    add("--loss", type=parse_number, nargs="+", metavar="P", help="share of elements erased")
    add("--snr", type=parse_number, nargs="+", metavar="DB",
        help="noise relative to each token's power")  # fmt: skip
    add("--random", type=int, metavar="N",
        help="N channels uniform in the state coordinates log(1 + sigma/0.25) and 1/m, or in loss, "
        "between the ends of --sigma and --m, or of --loss")  # fmt: skip
    add("--draws", type=int, default=1, metavar="N",
        help="seeds of every channel: --seed and on (default: 1)")  # fmt: skip
    add("--seed", type=int, default=0, metavar="N", help="of the channel's draws and of --random "
        "(default: 0)")  # fmt: skip
    add("--split", default="all", metavar="P", help="all, or as in 0,4,8-16 (default: all)")
    add_source_arguments(parser)


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Model, text and workers; shared with `airsplit sweep`."""
    from airsplit.tensor_codec import DTYPES

    add = parser.add_argument
    add("--model", default="airsplit-tiny", help="directory or hub id (default: %(default)s)")
    add("--dataset", default="sample", help="sample, wikitext-2 or a text file "
        "(default: %(default)s)")  # fmt: skip
    add("--window", type=int, default=256, metavar="TOKENS",
        help="tokens of a window (default: %(default)s)")  # fmt: skip
    add("--windows", type=int, default=8, metavar="N",
        help="windows of a record, evenly over the text (default: %(default)s)")  # fmt: skip
    add("--workers", type=int, metavar="N", help="processes (default: one a core, or one a GPU)")
    add("--device", default="cpu", help="cpu, cuda (all GPUs) or cuda:N (default: %(default)s)")
    add("--dtype", default="fp32",
        help=f"of the computation and of what crosses: {', '.join(DTYPES)} "
        "(default: %(default)s)")  # fmt: skip
    add("--compile", action="store_true", help="compile the layers first, some seconds a start: "
        "faster from then on; needs a C++ compiler")  # fmt: skip
    add("--json", action="store_true", help="last line: a summary as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Measures what is not in the file yet."""
    channels = channels_of(args)
    summary, _ = collect(config_of(args, args.split), channels, args.out)
    report(summary, args.json)
    return 0


def report(summary: dict[str, Any], as_json: bool) -> None:
    """On standard output."""
    if as_json:
        print(json.dumps(summary, allow_nan=False))
    else:
        print(
            f"{summary['records']} records in {summary['out']}: {summary['new']} new in "
            f"{summary['seconds']:.1f} s, {summary['records_per_second']:.2f} a second"
        )


def config_of(args: argparse.Namespace, splits: str) -> CollectConfig:
    from experiments.collect import CollectConfig

    return CollectConfig(
        model=args.model,
        dataset=args.dataset,
        window=args.window,
        windows=args.windows,
        splits=splits,
        workers=args.workers,
        device=args.device,
        dtype=args.dtype,
        compile=args.compile,
    )


def channels_of(args: argparse.Namespace) -> list[ChannelConfig]:
    """What the flags ask for.

    Raises:
        InputError: nothing is asked for, flags do not go together, or a value is out of its range.
    """
    from experiments import designs

    sigmas, losses, snrs = args.sigma or [], args.loss or [], args.snr or []
    if args.m and not sigmas:
        raise InputError("--m: has no effect here; allowed: with --sigma")
    if not (sigmas or losses or snrs):
        raise InputError("--sigma, --loss, --snr: none is given; allowed: at least one")
    if args.random is None:
        shapes = args.m or [inf]
        return list(designs.grid(sigmas, shapes, losses, snrs, args.seed, args.draws))
    if snrs or bool(sigmas) == bool(losses):
        raise InputError("--random: allowed: with --sigma and --m, or with --loss, not both")
    rest = args.seed, args.draws
    if losses:
        return designs.random_erasure(args.random, losses, *rest)
    return designs.random_fading(args.random, sigmas, args.m or [], *rest)


def collect(
    config: CollectConfig, channels: Sequence[ChannelConfig], out: Path
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Appends to `out` what is not there; returns the summary, and all that is there then."""
    from experiments.collect import Collector
    from experiments.records import RecordFile

    if not out.resolve().parent.is_dir() or out.is_dir():
        raise InputError.of("--out", str(out), "a file in a directory that exists")
    began = time.monotonic()
    with Collector(config) as collector, RecordFile(out, collector.subject) as file:
        collector.prepare(channels, file.keys)  # now, so that it is in no record's seconds
        started = time.monotonic()
        new = 0
        for record in watched(collector, channels, file.keys):
            file.append(record)
            new += 1
        seconds = time.monotonic() - started
        summary = {
            "records": len(file.records),
            "new": new,
            "seconds": round(seconds, 3),
            "records_per_second": round(new / seconds, 3) if new else 0.0,
            "start_seconds": round(started - began, 3),
            "clean_perplexity": round(exp(collector.subject.clean_nll), 5),
            "workers": len(config.devices),
            "device": config.device,
            "dtype": config.dtype,
            "compile": config.compile,
            "out": str(out),
        }
        return summary, file.records


def watched(
    collector: Collector, channels: Sequence[ChannelConfig], known: set[Any]
) -> Iterator[Record]:
    """The collector's records, under a bar where standard error is a terminal."""
    total = sum(len(task.channels) for task in collector.tasks(channels, known))
    with _bar(total) as advance:
        for record in collector.records(channels, known):
            yield record
            advance()


@contextmanager
def _bar(total: int) -> Iterator[Any]:
    if not sys.stderr.isatty():
        yield lambda: None
        return
    columns: Iterable[Any] = (
        TextColumn("records"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("records", total=total)
        yield lambda: progress.advance(task)
