"""The controller's table: records over every (sigma, m) and split, as `PerplexityTable` wants them.

Every cell meets the same random draws, so that cells differ by what crosses and not by luck.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from math import exp, inf, isinf, log
from pathlib import Path

import numpy as np

from airsplit.command_line import Parser, report_errors
from airsplit.errors import InputError
from controller.policy import ModelId
from controller.table import PerplexityTable
from experiments.collect import CollectConfig, Collector
from experiments.designs import fading, grid, parse_number
from experiments.records import Record, Subject

SIGMAS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0)
SHAPES = (inf, 10.0, 3.0, 1.0)


def measure(
    config: CollectConfig, sigmas: Sequence[float], shapes: Sequence[float], seed: int
) -> PerplexityTable:
    """The table of one model.

    Raises:
        InputError: an axis does not begin with the clean channel or is not in order, no such model
            or text, or a text that is too short.
    """
    for flag, axis in (("--sigma", sigmas), ("--m", [-m for m in shapes])):
        if len(axis) < 2 or list(axis) != sorted(set(axis)):
            order = "ascending" if flag == "--sigma" else "descending"
            raise InputError.of(flag, list(map(abs, axis)), f"2 or more numbers, {order}")
    if sigmas[0] != 0 or not isinf(shapes[0]):
        raise InputError("--sigma, --m: have to begin with 0 and inf, the clean channel")
    channels = list(grid(sigmas, shapes, (), (), seed))
    with Collector(config) as collector:
        records = list(collector.records(channels))
        return table_of(records, collector.subject, collector.vocab_size, sigmas, shapes)


def table_of(
    records: Iterable[Record],
    subject: Subject,
    vocab_size: int,
    sigmas: Sequence[float],
    shapes: Sequence[float],
) -> PerplexityTable:
    """Records of every cell of one seed, as a table."""
    by_key = {record.key: record for record in records}
    seed = next(iter(by_key.values())).channel.seed
    cells = [
        [[record for record in by_key.values() if record.channel == fading(sigma, m, seed)]
         for m in shapes]
        for sigma in sigmas
    ]  # fmt: skip
    ordered = [[sorted(cell, key=lambda r: r.split) for cell in row] for row in cells]
    return PerplexityTable(
        model=ModelId(subject.model, subject.layers),
        sigma=tuple(sigmas),
        m=tuple(shapes),
        nll=np.array([[[r.nll for r in cell] for cell in row] for row in ordered]),
        nll_se=np.array([[[r.nll_se for r in cell] for cell in row] for row in ordered]),
        clean_nll=subject.clean_nll,
        chance_nll=log(vocab_size),
        provenance={
            "fingerprint": subject.fingerprint,
            "dataset": subject.dataset,
            "window": subject.window,
            "windows": subject.windows,
            "seed": seed,
            "dtype": subject.dtype,
            "channels": "m = inf: awgn with sigma; m < inf: nakagami per element with sigma and m",
            "nakagami": fading(1.0, 1.0, seed).to_dict(),
            "clean_perplexity": round(exp(subject.clean_nll), 4),
        },
    )


def main(argv: Sequence[str] | None = None) -> int:
    defaults = CollectConfig()
    parser = Parser(
        prog="python -m experiments.grid",
        description="Measures NLL over (sigma, m, p) and writes the controller's table as JSON.",
        epilog="example: python -m experiments.grid --out table.json --windows 2 --seed 1",
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="FILE", help="where the table goes")
    add("--model", default=defaults.model, help="directory or hub id (default: %(default)s)")
    add("--dataset", default=defaults.dataset, help="sample, wikitext-2 or a text file "
        "(default: %(default)s)")  # fmt: skip
    add("--sigma", type=parse_number, nargs="+", default=list(SIGMAS), metavar="S",
        help="absolute noise, ascending from 0 (default: %(default)s)")  # fmt: skip
    add("--m", type=parse_number, nargs="+", default=list(SHAPES), metavar="M",
        help="Nakagami shapes, descending from inf (default: %(default)s)")  # fmt: skip
    add("--window", type=int, default=defaults.window, metavar="TOKENS",
        help="tokens of a window (default: %(default)d)")  # fmt: skip
    add("--windows", type=int, default=4, metavar="N",
        help="windows per cell (default: %(default)d)")  # fmt: skip
    add("--workers", type=int, metavar="N", help="processes (default: one a core)")
    add("--seed", type=int, default=0, help="of the channel (default: %(default)d)")
    args = parser.parse_args(argv)
    return report_errors("grid", lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Measures and writes the table.

    Raises:
        InputError: a value is out of its range, or a file cannot be read.
    """
    if not args.out.resolve().parent.is_dir():
        raise InputError.of("--out", str(args.out), "a file in a directory that exists")
    config = CollectConfig(
        model=args.model,
        dataset=args.dataset,
        window=args.window,
        windows=args.windows,
        workers=args.workers,
    )
    measure(config, args.sigma, args.m, args.seed).save(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
