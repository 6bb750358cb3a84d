"""`airsplit channel show|set`."""

from __future__ import annotations

import argparse
import json

import grpc

from airsplit.telemetry import plain
from airsplit.v1 import channel_pb2, channel_pb2_grpc
from channel_emulator.config import parse_assignments
from channel_emulator.wire import changes_to_proto, from_proto
from cli.operator import DEADLINE_S, ask

DEFAULT_CHANNEL = "127.0.0.1:50052"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "examples:\n  airsplit channel show\n  airsplit channel set sigma=2\n"
        "  airsplit channel set preset=nakagami m=1 sigma=0.5 delay_ms=20\n"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="configuration, counters, and each session's last frame")
    set_ = actions.add_parser("set", help="change it: one new version, from the next frame on")
    set_.add_argument(
        "assignments",
        nargs="+",
        metavar="KEY=VALUE",
        help="e.g. sigma=0.5, snr_db=10, m=1, loss=0.1, h_th=0.3, delay_ms=20, jitter_ms=5, "
        "rate_mbps=50, preset=awgn",
    )
    for action in (show, set_):
        action.add_argument(
            "--channel",
            default=DEFAULT_CHANNEL,
            metavar="HOST:PORT",
            help="channel emulator (default %(default)s)",
        )
        action.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Asks the emulator and prints its state."""

    def call(channel: grpc.Channel) -> channel_pb2.ChannelState:
        stub = channel_pb2_grpc.ChannelStub(channel)
        state = stub.GetChannel(channel_pb2.GetChannelRequest(), timeout=DEADLINE_S)
        if args.action == "show":
            return state
        changes = parse_assignments(args.assignments)
        request = channel_pb2.ConfigureChannelRequest(
            config=changes_to_proto(from_proto(state.config), changes),
            expected_version=state.config_version,
        )
        return stub.ConfigureChannel(request, timeout=DEADLINE_S)

    state = ask("--channel", "channel emulator", args.channel, call)
    if args.json:
        print(json.dumps(plain(state), allow_nan=False))
        return 0
    print(f"version {state.config_version}, {state.sessions} sessions, {state.frames} frames")
    for key, value in from_proto(state.config).to_dict().items():
        print(f"  {key} = {value}")
    for link in state.links:
        truth = link.last.truth
        print(
            f"session {link.session_id[:8]} of {link.ue_id}: {link.frames} frames, last: "
            f"sigma {truth.sigma:.3f}, loss {truth.loss:.3f}, snr {truth.snr_db:.1f} dB"
        )
    return 0
