"""`airsplit channel show|set|play|stop|watch|plot`: the radio of a running emulator."""

from __future__ import annotations

import argparse
import json
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator
from contextlib import suppress

import grpc

from airsplit.errors import InputError
from airsplit.telemetry import plain
from airsplit.v1 import channel_pb2, channel_pb2_grpc
from channel_emulator.help import knobs, presets, scenarios
from channel_emulator.spec import parse_assignments
from channel_emulator.wire import changes_to_proto, from_proto, partial
from cli import channel_play, channel_plot
from cli.channel_view import line, summary
from cli.operator import DEADLINE_S, ask

DEFAULT_CHANNEL = "127.0.0.1:50052"

INTERVAL_MS = 200

EPILOG = """examples:
  airsplit channel show
  airsplit channel set sigma=2
  airsplit channel play vehicle
  airsplit channel watch --duration 10
  airsplit channel ACTION --help
"""

SHOW_EPILOG = """examples:
  airsplit channel show
  airsplit channel show --channel 10.0.0.2:50052 --json
"""

SET_EPILOG = """examples:
  airsplit channel set sigma=2
  airsplit channel set preset=nakagami m=1 sigma=0.5 delay_ms=20
  airsplit channel set loss=0.2 --at 30
  airsplit channel set sigma=1 --expect 4
"""

STOP_EPILOG = """example:
  airsplit channel stop
"""

WATCH_EPILOG = """examples:
  airsplit channel watch
  airsplit channel watch --interval 1000 --duration 60 --json > states.jsonl
"""

Call = Callable[[channel_pb2_grpc.ChannelStub], channel_pb2.ChannelState]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EPILOG
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, help_: str, epilog: str) -> argparse.ArgumentParser:
        return actions.add_parser(
            name,
            help=help_,
            description=help_,
            epilog=epilog,
            formatter_class=RawDescriptionHelpFormatter,
        )

    show = add(
        "show",
        "configuration, scenario, counters, and each session's last frame with the receiver's "
        "estimates in brackets",
        SHOW_EPILOG,
    )
    set_ = add(
        "set",
        "change it: one new version, from the next frame or from a channel time on; a scenario and "
        "all changes still to come are given up",
        f"{SET_EPILOG}\n{presets()}\n\n{knobs()}",
    )
    set_.add_argument("assignments", nargs="+", metavar="KEY=VALUE", help="see below")
    set_.add_argument(
        "--at",
        type=float,
        metavar="SECONDS",
        help="channel time from which it holds. It begins with the emulator or with the last "
        "scenario that was played; with clock=replay, for each session, at its first frame since "
        "then (default: the next frame)",
    )
    set_.add_argument(
        "--expect",
        type=int,
        metavar="VERSION",
        help="refuse unless this is the last version, changes still to come included "
        "(default: any)",
    )
    play = add("play", channel_play.HELP, f"{channel_play.EPILOG}\n\n{scenarios()}")
    channel_play.add_arguments(play)
    stop = add(
        "stop",
        "end a scenario: what is in force now stays, and the rate of a trace gives way to the "
        "configuration's",
        STOP_EPILOG,
    )
    watch = add("watch", "a line for each state, until Ctrl-C", WATCH_EPILOG)
    watch.add_argument(
        "--interval",
        type=int,
        default=INTERVAL_MS,
        metavar="MS",
        help="time between two states, 10-60000 milliseconds (default %(default)s)",
    )
    watch.add_argument(
        "--duration", type=float, metavar="S", help="end after S seconds (default: never)"
    )
    for action in (show, set_, play, stop, watch):
        action.add_argument(
            "--channel",
            default=DEFAULT_CHANNEL,
            metavar="HOST:PORT",
            help="channel emulator (default %(default)s)",
        )
        kind = "one JSON object a line" if action is watch else "one JSON object"
        action.add_argument("--json", action="store_true", help=f"print {kind}")
    plot = add("plot", channel_plot.HELP, "")
    channel_plot.add_arguments(plot)


def run(args: argparse.Namespace) -> int:
    """Asks the emulator and prints its state.

    Raises:
        InputError: an argument is out of its range, or the emulator refuses the change.
        AirSplitError: the emulator is not there, or its channel is at another version.
    """
    if args.action == "plot":
        return channel_plot.run(args)
    if args.action == "watch":
        return _watch(args)
    calls: dict[str, Callable[[argparse.Namespace], Call]] = {
        "show": lambda _: _get,
        "set": _set,
        "play": channel_play.playing,
        "stop": lambda _: _stop,
    }
    call = calls[args.action](args)
    state = ask(
        "--channel",
        "channel emulator",
        args.channel,
        lambda channel: call(channel_pb2_grpc.ChannelStub(channel)),
    )
    print(_json(state) if args.json else "\n".join(summary(state)))
    return 0


def _get(stub: channel_pb2_grpc.ChannelStub) -> channel_pb2.ChannelState:
    return stub.GetChannel(channel_pb2.GetChannelRequest(), timeout=DEADLINE_S)


def _stop(stub: channel_pb2_grpc.ChannelStub) -> channel_pb2.ChannelState:
    return stub.ConfigureChannel(channel_pb2.ConfigureChannelRequest(), timeout=DEADLINE_S)


def _set(args: argparse.Namespace) -> Call:
    changes = parse_assignments(args.assignments)
    request = channel_pb2.ConfigureChannelRequest(config=partial(changes))
    if args.at is not None:
        request.effective_time_ns = nanoseconds("--at", args.at)
    if args.expect is not None:
        if not 1 <= args.expect < 2**64:
            raise InputError.of("--expect", args.expect, "a version, 1 or more")
        request.expected_version = args.expect

    def call(stub: channel_pb2_grpc.ChannelStub) -> channel_pb2.ChannelState:
        if args.at is None:  # a knob without effect is refused, even where it says what is so
            changes_to_proto(from_proto(_get(stub).config), changes)
        return stub.ConfigureChannel(request, timeout=DEADLINE_S)

    return call


def _watch(args: argparse.Namespace) -> int:
    if not 10 <= args.interval <= 60_000:
        raise InputError.of("--interval", args.interval, "10-60000 milliseconds")
    if args.duration is not None and not 0 < args.duration <= 1e9:
        raise InputError.of("--duration", args.duration, "above 0 and up to 1e9 seconds")
    show = _json if args.json else line

    def call(channel: grpc.Channel) -> None:
        for state in _states(channel_pb2_grpc.ChannelStub(channel), args.interval, args.duration):
            print(show(state), flush=True)

    with suppress(KeyboardInterrupt):  # as it is meant to end
        ask("--channel", "channel emulator", args.channel, call)
    return 0


def _states(
    stub: channel_pb2_grpc.ChannelStub, interval_ms: int, duration_s: float | None
) -> Iterator[channel_pb2.ChannelState]:
    request = channel_pb2.WatchChannelRequest(interval_ms=interval_ms)
    call = stub.WatchChannel(request, timeout=duration_s)
    seen = False
    try:
        for state in call:
            seen = True
            yield state
    except grpc.RpcError as error:
        if not (seen and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED):
            raise
    finally:
        call.cancel()  # type: ignore[no-untyped-call]


def nanoseconds(field: str, seconds: float) -> int:
    """Raises: InputError: no time that a channel can have."""
    if not 0 <= seconds <= 9e9:
        raise InputError.of(field, seconds, "0-9e9 seconds")
    return round(seconds * 1e9)


def _json(state: channel_pb2.ChannelState) -> str:
    return json.dumps(plain(state), allow_nan=False)
