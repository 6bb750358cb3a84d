"""`airsplit channel plot`: a picture of a channel, drawn by the emulator's own functions."""

from __future__ import annotations

import argparse
import csv
import json
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from airsplit.errors import InputError
from airsplit.v1 import channel_pb2, channel_pb2_grpc
from channel_emulator.config import ALLOWED, ChannelConfig
from channel_emulator.knobs import Fading
from channel_emulator.start import SYNTAX, Start, parse_start
from channel_emulator.timeline import Timeline
from channel_emulator.wire import from_proto
from cli.operator import DEADLINE_S, ask

if TYPE_CHECKING:
    from experiments.channel_samples import Course

DURATION_S = 2.0
SAMPLES = 200_000
MAX_SAMPLES = 5_000_000

HELP = "draw h(t), SNR, loss and rate over time, and h measured against theory"

EPILOG = """examples:
  airsplit channel plot physical,m=2.5,speed_mps=1.4 --out physical.png
  airsplit channel plot nakagami,m=1,h_th=0.3 --seed 7 --out nakagami.png --json
  airsplit channel plot vehicle --out vehicle.png --csv vehicle.csv
  airsplit channel plot --channel 127.0.0.1:50052 --out now.png

Over time: what one stream meets that sends a token every token_interval_ms. Beside it, for one
channel with fading: density of h and, where h(t) is a process, autocorrelation of h², level
crossings and mean fade duration, each with its closed form; else the lower tail of h. Panels that
would show nothing are left out."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = HELP, EPILOG.replace("%", "%%")
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.add_argument(
        "spec", nargs="?", metavar="SPEC", help=f"the channel: {SYNTAX.replace('%', '%%')}"
    )
    parser.add_argument(
        "--channel",
        metavar="HOST:PORT",
        help="draw the configuration of this running emulator, in place of SPEC",
    )
    parser.add_argument(
        "--duration",
        type=float,
        metavar="S",
        help=f"seconds of channel time (default: {DURATION_S:g}, or the scenario's)",
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=SAMPLES,
        metavar="N",
        help="amplitudes that are measured against theory (default: %(default)s)",
    )
    parser.add_argument("--seed", metavar="N", help="in place of the channel's, 0-2^64-1")
    parser.add_argument("--out", required=True, metavar="FILE.png", help="the picture")
    parser.add_argument(
        "--csv", metavar="FILE", help="also write what is drawn over time, a row for each token"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object: how near theory is"
    )


def run(args: argparse.Namespace) -> int:
    """Draws, writes and says where.

    Raises:
        InputError: what is wrong with an argument, or the channel has nothing to draw.
        AirSplitError: no emulator there.
    """
    if not 1000 <= args.samples <= MAX_SAMPLES:
        raise InputError.of("--samples", args.samples, f"[1000, {MAX_SAMPLES}]")
    if Path(args.out).suffix != ".png":
        raise InputError.of("--out", args.out, "a name that ends in .png")
    timeline = _timeline(args)
    duration_s = _duration_s(args, timeline)
    # matplotlib takes a second.
    from experiments import channel_plots, channel_samples

    config = timeline.snapshots[0].config
    alone = len(timeline.snapshots) == 1 and config.fading is not Fading.NONE
    statistics = channel_samples.statistics(config, args.samples) if alone else None
    course = channel_samples.course(timeline, duration_s)
    fine = channel_samples.fine_amplitude(timeline, duration_s)
    picture = channel_plots.draw(timeline, course, fine, statistics)
    _write(args.out, lambda path: path.write_bytes(picture))
    if args.csv is not None:
        _write(args.csv, lambda path: _write_csv(path, course))
    report = {
        "out": args.out,
        "channel": timeline.scenario or config.to_dict(),
        "duration_s": duration_s,
        "tokens": len(course.time_s),
        "mean_loss": float(course.loss.mean()),
        "measured": {} if statistics is None else statistics.summary(config),
    }
    print(json.dumps(report, allow_nan=False) if args.json else f"wrote {args.out}")
    return 0


def _timeline(args: argparse.Namespace) -> Timeline:
    if (args.spec is None) == (args.channel is None):
        given = "missing" if args.spec is None else f"{args.spec} beside --channel {args.channel}"
        raise InputError(f"SPEC: {given}; allowed: {SYNTAX}, or --channel HOST:PORT")
    start = parse_start(args.spec) if args.channel is None else Start(_running(args.channel))
    if args.seed is not None:
        start = start.changed({"seed": ALLOWED["seed"].read("--seed", args.seed)})
    return start.timeline()


def _running(address: str) -> ChannelConfig:
    """What is in force at a running emulator."""
    state = ask(
        "--channel",
        "channel emulator",
        address,
        lambda channel: channel_pb2_grpc.ChannelStub(channel).GetChannel(
            channel_pb2.GetChannelRequest(), timeout=DEADLINE_S
        ),
    )
    return from_proto(state.config)


def _duration_s(args: argparse.Namespace, timeline: Timeline) -> float:
    if args.duration is None:
        return timeline.duration_ns / 1e9 or DURATION_S
    if not 0 < args.duration <= 1e6:
        raise InputError.of("--duration", args.duration, "(0, 1e+06] seconds")
    return float(args.duration)


def _write(name: str, write: Callable[[Path], object]) -> None:
    try:
        write(Path(name))
    except OSError as error:
        raise InputError(f"{name}: cannot be written: {error.strerror}") from error


def _write_csv(path: Path, course: Course) -> None:
    columns = {
        "time_s": course.time_s,
        "h": course.h,
        "snr_db": course.snr_db,
        "loss": course.loss,
        "rate_mbps": course.rate_mbps,
        "version": course.version,
    }
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
