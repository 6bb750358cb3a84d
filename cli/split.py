"""`airsplit split show|set|release`."""

from __future__ import annotations

import argparse
import json
from math import isnan

import grpc
from rich.console import Console
from rich.table import Table

from airsplit.errors import InputError
from airsplit.telemetry import plain
from airsplit.v1 import controller_pb2, controller_pb2_grpc
from cli.operator import DEADLINE_S, ask

DEFAULT_CONTROLLER = "127.0.0.1:50053"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "examples:\n  airsplit split show\n  airsplit split set 6\n"
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="sessions, their splits and what they estimate")
    set_ = actions.add_parser("set", help="move the split; the policy is overridden until release")
    set_.add_argument("split", metavar="N", help="layers at the UE, 0-L")
    release = actions.add_parser("release", help="give the split back to the policy")
    for action in (show, set_, release):
        action.add_argument(
            "--controller",
            default=DEFAULT_CONTROLLER,
            metavar="HOST:PORT",
            help="default %(default)s",
        )
        action.add_argument("--session", default="", metavar="ID", help="default: all sessions")
        action.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Asks the controller and prints what it says."""
    if args.action == "set" and not (args.split.isdecimal() and len(args.split) <= 9):
        raise InputError.of("N", args.split, "a layer count 0-L")

    def call(channel: grpc.Channel) -> controller_pb2.SplitStatus:
        stub = controller_pb2_grpc.ControllerStub(channel)
        if args.action == "show":
            get = controller_pb2.GetSplitRequest(session_id=args.session)
            return stub.GetSplit(get, timeout=DEADLINE_S)
        request = controller_pb2.SetSplitRequest(session_id=args.session)
        if args.action == "set":
            request.split = int(args.split)
        else:
            request.release = True
        return stub.SetSplit(request, timeout=DEADLINE_S)

    status = ask("--controller", "controller", args.controller, call)
    if args.json:
        print(json.dumps(plain(status), allow_nan=False))
        return 0
    table = Table(title=f"policy {status.policy}")
    for column in ("session", "UE", "split", "target", "range", "switches", "held by", "sigma"):
        table.add_column(column)
    for session in status.sessions:
        table.add_row(
            session.session_id[:8],
            session.ue_id,
            str(session.split),
            str(session.target),
            f"{session.splits.start}-{session.splits.stop - 1}",
            str(session.switches),
            "operator" if session.overridden else "UE" if session.pinned else "policy",
            "-" if isnan(session.channel.sigma) else f"{session.channel.sigma:.3f}",
        )
    Console().print(table)
    return 0
