"""`airsplit channel play`: a scenario or a trace, sent to a running emulator."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from airsplit.errors import InputError
from airsplit.rpc import MAX_MESSAGE_BYTES
from airsplit.v1 import channel_pb2, channel_pb2_grpc
from channel_emulator.config import ChannelConfig
from channel_emulator.scenario import Scenario, load_scenario
from channel_emulator.timeline import MAX_CHANGES, played
from channel_emulator.traces import read_rate_trace, read_samples
from channel_emulator.wire import from_proto, scenario_to_proto
from cli.operator import DEADLINE_S

PLAY_DEADLINE_S = 60.0
"""A hundred thousand changes take the emulator some seconds."""

HELP = "play a scenario: channel time begins anew, with a version for each of its changes"

EPILOG = """examples:
  airsplit channel play pedestrian
  airsplit channel play my-walk.toml --repeat 3
  airsplit channel play uplink.mahimahi
  airsplit channel play drive.csv --column SNR

A bare trace plays as the uplink's rate, or as what its column is. Its first line shows its kind:
one number is Mahimahi (a millisecond for each 1500 bytes that may leave), two are seconds and
Mbit/s, names are the header of a CSV, whose --column is a rate (*_mbps, *_kbps, *_bitrate), SNR,
CQI or Speed, every second unless a column time_s says when. A rate begins anew at its end."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "scenario",
        metavar="SCENARIO|FILE.toml|TRACE",
        help="one of the scenarios below, a file that describes one, or a file with a trace",
    )
    parser.add_argument(
        "--repeat",
        type=int,
        default=1,
        metavar="N",
        help="play it N times, one after the other (default %(default)s)",
    )
    parser.add_argument("--column", metavar="NAME", help="of a CSV: what to play")


def playing(
    args: argparse.Namespace,
) -> Callable[[channel_pb2_grpc.ChannelStub], channel_pb2.ChannelState]:
    """The call that plays what was asked for.

    Raises:
        InputError: it cannot be read.
    """
    scenario = chosen(args.scenario, args.column)
    if not 1 <= args.repeat <= MAX_CHANGES:
        raise InputError.of("--repeat", args.repeat, f"1-{MAX_CHANGES}")

    def call(stub: channel_pb2_grpc.ChannelStub) -> channel_pb2.ChannelState:
        state = stub.GetChannel(channel_pb2.GetChannelRequest(), timeout=DEADLINE_S)
        whole = repeated(scenario, from_proto(state.config), args.repeat)
        request = channel_pb2.PlayScenarioRequest(scenario=scenario_to_proto(whole))
        size = request.ByteSize()
        if size > MAX_MESSAGE_BYTES:
            raise InputError.of(f"{whole.name}: bytes", size, f"at most {MAX_MESSAGE_BYTES}")
        return stub.PlayScenario(request, timeout=PLAY_DEADLINE_S)

    return call


def chosen(text: str, column: str | None = None) -> Scenario:
    """A shipped scenario by name, a TOML file, or a trace as a scenario of its own.

    Raises:
        InputError: it cannot be read, or is none of them.
    """
    path = Path(text)
    if path.suffix == ".toml" or not path.is_file():
        if column is not None:
            raise InputError.of("--column", column, "none: it is for a CSV")
        return load_scenario(text)
    return _of_trace(path, column)


def repeated(scenario: Scenario, base: ChannelConfig, times: int) -> Scenario:
    """`scenario` so many times in a row, each time from where it began on `base`.

    Raises:
        InputError: that makes too many changes, or its first one does not go with `base`.
    """
    period_ns = scenario.duration_ns
    once = [(t, knobs) for t, knobs in scenario.changes if 0 < t < period_ns]
    if times > 1 and times * (1 + len(once)) > MAX_CHANGES:
        most = f"at most {MAX_CHANGES // (1 + len(once))}: {MAX_CHANGES} changes"
        raise InputError.of("--repeat", times, most)
    changes = list(scenario.changes) if times == 1 else [c for c in scenario.changes if c[0] == 0]
    if times > 1:
        changes += once
    if once:
        opening = played(scenario, base).at(0).config.to_dict()
        for start_ns in range(period_ns, times * period_ns, period_ns):
            changes.append((start_ns, opening))
            changes += [(start_ns + time_ns, knobs) for time_ns, knobs in once]
    return replace(scenario, changes=tuple(changes), duration_ns=times * period_ns)


def _of_trace(path: Path, column: str | None) -> Scenario:
    samples = None if column is None else read_samples(path, column)
    if samples is None or samples.knob == "rate_mbps":
        trace = read_rate_trace(path, column)
        return Scenario(name=path.stem, duration_ns=trace.period_ns, changes=(), uplink=trace)
    if samples.knob is None:
        raise InputError.of("--column", column, "*_mbps, *_kbps, *_bitrate, SNR, CQI or Speed")
    starts_ns = np.rint(samples.time_s[:-1] * 1e9).astype(np.int64)
    is_new = np.diff(samples.values, prepend=np.nan) != 0
    return Scenario(
        name=path.stem,
        duration_ns=round(samples.period_s * 1e9),
        changes=tuple(
            (time_ns, {samples.knob: value})
            for time_ns, value in zip(
                starts_ns[is_new].tolist(), samples.values[is_new].tolist(), strict=True
            )
        ),
    )
