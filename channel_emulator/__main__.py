"""`python -m channel_emulator`: the radio as a process in front of the edge."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence

import grpc
import uvloop

from airsplit.attachment import ControllerAttachment
from airsplit.clock import PreciseClock
from airsplit.command_line import Parser, report_errors
from airsplit.rpc import parse_address
from airsplit.serving import Service, add_serving_arguments, serve
from airsplit.v1 import channel_pb2, channel_pb2_grpc, controller_pb2, edge_pb2, edge_pb2_grpc
from channel_emulator.config import ChannelConfig
from channel_emulator.edges import parse_edges
from channel_emulator.help import knobs, presets, scenarios
from channel_emulator.knobs import RadioClock
from channel_emulator.limits import Limits
from channel_emulator.proxy import Proxy
from channel_emulator.reports import Reporter
from channel_emulator.scenario import Scenario
from channel_emulator.service import ChannelServicer, EdgeProxyServicer
from channel_emulator.start import SYNTAX, Start, parse_start
from channel_emulator.state import MAX_TRANSPORT_MS, Emulator

log = logging.getLogger(__name__)

DEFAULT_LISTEN = "127.0.0.1:50052"
DEFAULT_EDGE = "127.0.0.1:50051"

DESCRIPTION = """\
The radio between the UE and the edge: UEs connect to it as if it were the edge; it damages and
delays what they send, and can be changed while it runs."""


def _epilog() -> str:
    return f"""\
{presets()}

{scenarios()}

{knobs()}

Knobs after a scenario hold until one of its phases says otherwise.

examples:
  python -m channel_emulator --edge 127.0.0.1:50051
  python -m channel_emulator --edge 10.0.0.2:50051,10.0.0.4:50051
  python -m channel_emulator --channel nakagami,sigma=0.5,m=1 --seed 7
  python -m channel_emulator --channel physical,snr_db=12,delay_ms=10,jitter_ms=2
  python -m channel_emulator --channel cell.toml,rate_mbps=20 --clock live
  python -m channel_emulator --channel pedestrian,delay_ms=5

The first line on standard output is JSON with the address that is listened on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of an emulator process, also for `airsplit serve channel`."""
    limits = Limits()
    parser.description, parser.epilog = DESCRIPTION, _epilog().replace("%", "%%")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_serving_arguments(parser, DEFAULT_LISTEN)
    parser.add_argument(
        "--edge",
        default=DEFAULT_EDGE,
        metavar="HOST:PORT[,...]",
        help="the edge server to forward to; may start later. Of several, and of all addresses of "
        "a name, a session gets the one with the fewest sessions and keeps to it "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--controller",
        metavar="HOST:PORT",
        help="attach to this controller and report to it (default: none)",
    )
    parser.add_argument(
        "--channel",
        default="ideal",
        metavar="SPEC",
        help=f"{SYNTAX}, see below (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        metavar="N",
        help="of every random draw, 0-2^64-1; overrides the channel's, and leaves the course of a "
        "scenario as it is (default: 0)",
    )
    parser.add_argument(
        "--clock",
        choices=[str(clock) for clock in RadioClock],
        help="radio time: replay repeats bit for bit, live follows the wall clock; overrides the "
        "channel's (default: replay)",
    )
    parser.add_argument(
        "--idle-timeout",
        type=float,
        default=limits.idle_timeout_s,
        metavar="S",
        help="give up a stream that does not begin, or K/V rows that stop coming, after S seconds "
        "(default: %(default)g)",
    )
    parser.add_argument(
        "--answer-deadline",
        type=float,
        default=limits.answer_deadline_s,
        metavar="S",
        help="end a session whose edge owes an answer and has neither answered nor shown that it "
        "still computes for S seconds, and 1 s for every 125 kB on the way to it; the edges "
        "that are tried for a new session share it; keep it below the UE's --deadline "
        "(default: %(default)g)",
    )
    parser.add_argument(
        "--transport-ms",
        type=float,
        default=0.0,
        metavar="MS",
        help="what wires, sockets and software take one way by themselves, "
        f"0-{MAX_TRANSPORT_MS}: part of the channel's delay then and not on top of it, as each "
        "message leaves so much earlier, but not before it has come; what replay repeats does not "
        "depend on it. To find it: half of the median transport_ms of `airsplit generate --traces "
        "FILE` through a channel with delay_ms, and 0 here (default: %(default)g)",
    )


def start_of(args: argparse.Namespace) -> Start:
    """Raises: InputError: what is wrong with --channel, --seed or --clock."""
    overrides = {"seed": args.seed, "clock": args.clock}
    given = {name: value for name, value in overrides.items() if value is not None}
    return parse_start(args.channel).changed(given)


class EmulatorProcess:
    """The services of one emulator and its line to the controller."""

    def __init__(
        self,
        config: ChannelConfig,
        edges: Sequence[str],
        controller: str | None,
        limits: Limits | None = None,
        scenario: Scenario | None = None,
        transport_ms: float = 0.0,
    ) -> None:
        self.emulator = Emulator(config, PreciseClock(), scenario, transport_ms)
        self._proxy = Proxy(self.emulator, edges, limits)
        self._controller = controller
        self._reporting: asyncio.Task[None] | None = None
        playing = f"; plays {scenario.name}" if scenario else ""
        in_force = self.emulator.in_force.config.to_dict()
        log.info("forwards to %s; %s%s", ",".join(edges), in_force, playing)
        log.info("counts %g ms of transport each way as part of the delay", transport_ms)

    def service(self) -> Service:
        return Service("channel emulator", self._register, self._start, self._stop, self._stopping)

    def _register(self, server: grpc.aio.Server) -> list[str]:
        edge_pb2_grpc.add_EdgeServicer_to_server(EdgeProxyServicer(self._proxy), server)
        channel_pb2_grpc.add_ChannelServicer_to_server(ChannelServicer(self.emulator), server)
        return [
            edge_pb2.DESCRIPTOR.services_by_name["Edge"].full_name,
            channel_pb2.DESCRIPTOR.services_by_name["Channel"].full_name,
        ]

    async def _start(self, address: str) -> None:
        if self._controller is None:
            return
        hello = controller_pb2.Hello(
            role=controller_pb2.ROLE_CHANNEL, id="channel emulator", address=address
        )
        attachment = ControllerAttachment(self._controller, hello, lambda _: None)
        self._reporting = asyncio.create_task(Reporter(self.emulator, attachment).run())

    def _stopping(self) -> None:
        self._proxy.stopping = True

    async def _stop(self) -> None:
        if self._reporting is not None:
            self._reporting.cancel()
            await asyncio.gather(self._reporting, return_exceptions=True)
        await self._proxy.close()


async def _serve(
    start: Start, edges: Sequence[str], limits: Limits, args: argparse.Namespace
) -> None:
    process = EmulatorProcess(
        start.config, edges, args.controller, limits, start.scenario, args.transport_ms
    )
    service = process.service()
    # Sessions and watchers keep their streams open for ever: there is nothing to wait long for.
    await serve(service, args.listen, stop_with_parent=args.stop_with_parent, grace_s=0.2)


def run(args: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT. Returns the exit code.

    Raises:
        AirSplitError: it cannot start.
    """
    edges = parse_edges("--edge", args.edge)
    if args.controller is not None:
        parse_address("--controller", args.controller)
    limits = Limits(args.idle_timeout, args.answer_deadline)
    uvloop.run(_serve(start_of(args), edges, limits, args))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m channel_emulator", allow_abbrev=False)
    add_arguments(parser)
    args = parser.parse_args(argv)
    logging.basicConfig(
        level=args.log_level.upper(), format="%(asctime)s %(name)s %(levelname)s %(message)s"
    )
    return report_errors("channel_emulator", lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
