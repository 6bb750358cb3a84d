"""`airsplit sweep`."""

from __future__ import annotations

import argparse
from pathlib import Path

from airsplit.errors import InputError
from cli.collect import add_source_arguments, collect, config_of, report

EPILOG = """examples:
  airsplit sweep --out fig3
  airsplit sweep --out noise --sigma 0.25 0.5 1 2 --snr --loss --nakagami --windows 24 --json

Writes DIR/records.jsonl (continued where it ended), and of each impairment a PNG with 95 % bands
and its data as CSV. A flag without values leaves its impairment out."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from experiments.designs import parse_number
    from experiments.sweep import SweepConfig

    parser.epilog = EPILOG.replace("%", "%%")
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="where it goes; made if need be")
    for flag, field, words in (
        ("--sigma", "sigmas", "AWGN: absolute noise"),
        ("--snr", "snrs", "AWGN: dB relative to each token's power"),
        ("--loss", "losses", "share of elements erased"),
        ("--nakagami", "outages", "share of elements that fade below h_th"),
    ):
        default = SweepConfig.__dataclass_fields__[field].default
        shown = " ".join(f"{value:g}" for value in default)  # type: ignore[union-attr]
        add(flag, dest=field, type=parse_number, nargs="*", default=list(default),  # type: ignore[arg-type]
            metavar="X", help=f"{words} (default: {shown})")  # fmt: skip
    add("--m", type=parse_number, default=1.0, help="Nakagami shape (default: 1)")
    add("--seed", type=int, default=0, metavar="N", help="of the channel's draws (default: 0)")
    add_source_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Measures what is not there yet, then draws."""
    from experiments.sweep import SweepConfig, by_key, write

    levels = {name: tuple(getattr(args, name)) for name in ("sigmas", "snrs", "losses", "outages")}
    config = SweepConfig(**levels, m=args.m, seed=args.seed)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out: {args.out} cannot be made: {error.strerror}") from error
    summary, records = collect(config_of(args, "all"), config.channels, args.out / "records.jsonl")
    files = write(args.out, config, by_key(records, config))
    report({**summary, "files": [str(path) for path in files]}, args.json)
    return 0
