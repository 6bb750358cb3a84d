"""`python -m edge_server`: the edge process."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence

import grpc
import uvloop

from airsplit.attachment import ControllerAttachment
from airsplit.checkpoint import EMBEDDED, Checkpoint, locate
from airsplit.command_line import Parser, report_errors
from airsplit.errors import InputError
from airsplit.identity import identity_of
from airsplit.layer_range import LayerRange
from airsplit.partition import ModelPartition, parse_device, use_threads
from airsplit.rpc import parse_address
from airsplit.serving import Service, add_serving_arguments, serve
from airsplit.tensor_codec import DTYPES, parse_dtype
from airsplit.v1 import controller_pb2, edge_pb2, edge_pb2_grpc
from edge_server.config import EdgeConfig
from edge_server.service import EdgeServicer
from edge_server.sessions import SessionTable

log = logging.getLogger(__name__)

DETACH_S = 0.5
"""Time for the controller to take its leave in order, seconds."""

DEFAULT_LISTEN = "127.0.0.1:50051"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The edge's command line."""
    defaults = EdgeConfig()
    add_serving_arguments(parser, DEFAULT_LISTEN)
    parser.add_argument(
        "--model",
        default=defaults.model,
        metavar="M",
        help=f"hub id, directory, or {EMBEDDED!r} (embedded, default)",
    )
    parser.add_argument(
        "--layers",
        default=defaults.layers,
        metavar="START:STOP",
        help="layers to hold, half-open, 0-based; p can go down to START (default: all)",
    )
    parser.add_argument("--device", default=defaults.device, help="cpu, cuda, cuda:N (default cpu)")
    parser.add_argument(
        "--dtype", default=defaults.dtype, help=f"{', '.join(DTYPES)} (default {defaults.dtype})"
    )
    parser.add_argument(
        "--max-sessions",
        type=int,
        default=defaults.max_sessions,
        metavar="N",
        help=f"sessions served at a time (default {defaults.max_sessions})",
    )
    parser.add_argument(
        "--kv-budget-mib",
        type=float,
        default=defaults.kv_budget_mib,
        metavar="MIB",
        help=f"memory that all sessions' K/V may reserve, MiB (default {defaults.kv_budget_mib:g})",
    )
    parser.add_argument(
        "--max-context",
        type=int,
        default=None,
        metavar="TOKENS",
        help="longest context of a session (default: the model's)",
    )
    parser.add_argument(
        "--credits",
        type=int,
        default=defaults.credits,
        metavar="N",
        help=f"frames of a session that may be unanswered (default {defaults.credits})",
    )
    parser.add_argument(
        "--idle-timeout",
        type=float,
        default=defaults.idle_timeout_s,
        metavar="S",
        help=f"close a session without a frame for S seconds (default {defaults.idle_timeout_s:g})",
    )
    parser.add_argument(
        "--allow-logits", action="store_true", help="debug: sessions may ask for logits"
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=None,
        metavar="N",
        help="torch CPU threads (default: half of the cores)",
    )
    parser.add_argument(
        "--controller",
        default=None,
        metavar="HOST:PORT",
        help="attach to this controller (default: none)",
    )


def config_of(args: argparse.Namespace) -> EdgeConfig:
    """Raises: InputError: a value is out of its range."""
    return EdgeConfig(
        model=args.model,
        layers=args.layers,
        device=args.device,
        dtype=args.dtype,
        max_sessions=args.max_sessions,
        kv_budget_mib=args.kv_budget_mib,
        max_context=args.max_context,
        credits=args.credits,
        idle_timeout_s=args.idle_timeout,
        allow_logits=args.allow_logits,
        threads=args.threads,
    )


def load(config: EdgeConfig) -> ModelPartition:
    """The edge's part of the model.

    Raises:
        InputError: what cannot be loaded, in one line.
    """
    use_threads(config.threads)
    checkpoint = Checkpoint(locate(config.model))
    layers = int(checkpoint.config.num_hidden_layers)
    held = LayerRange.parse("--layers", config.layers, layers)
    if held.stop != layers:
        raise InputError.of("--layers", config.layers, f"a range that ends at {layers}")
    return ModelPartition(
        checkpoint,
        held,
        embedding=False,
        device=parse_device("--device", config.device),
        dtype=parse_dtype("--dtype", config.dtype),
    )


class EdgeProcess:
    """The service and its attachment to the controller."""

    def __init__(self, config: EdgeConfig, controller: str | None) -> None:
        partition = load(config)
        sessions = SessionTable(partition, identity_of(config.model, partition), config)
        self.servicer = EdgeServicer(partition, sessions, config)
        self._controller = controller
        self._attachment: ControllerAttachment | None = None
        self._attached: asyncio.Task[None] | None = None
        log.info(
            "holds layers %s of %s, %.1f MB of weights; %s",
            partition.held,
            config.model,
            partition.weight_bytes / 1e6,
            config,
        )

    def register(self, server: grpc.aio.Server) -> list[str]:
        edge_pb2_grpc.add_EdgeServicer_to_server(self.servicer, server)
        return [edge_pb2.DESCRIPTOR.services_by_name["Edge"].full_name]

    async def start(self, address: str) -> None:
        if self._controller is None:
            return
        hello = controller_pb2.Hello(role=controller_pb2.ROLE_EDGE, id="edge", address=address)
        self._attachment = ControllerAttachment(self._controller, hello, self._prepare)
        self._attached = asyncio.create_task(self._attachment.run())

    def stopping(self) -> None:
        self.servicer.stopping = True

    async def stop(self) -> None:
        if self._attachment is not None and self._attached is not None:
            self._attachment.finish()
            await asyncio.wait([self._attached], timeout=DETACH_S)
            self._attached.cancel()
            await asyncio.gather(self._attached, return_exceptions=True)
        await asyncio.to_thread(self.servicer.engine.stop)

    def _prepare(self, decision: controller_pb2.SplitDecision) -> None:
        """For the edge a decision means prepare, and the UE's stamped frame commits. K/V of all
        held layers is reserved when a session opens, so stop and copy leaves nothing to do."""
        if self.servicer.sessions.find(decision.session_id) is not None:
            log.info("session %s: split %d is to come", decision.session_id, decision.split)


def run(args: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT.

    Raises:
        AirSplitError: it cannot start.
    """
    if args.controller is not None:
        parse_address("--controller", args.controller)
    process = EdgeProcess(config_of(args), args.controller)
    service = Service(
        "edge server", process.register, process.start, process.stop, process.stopping
    )
    uvloop.run(serve(service, args.listen, stop_with_parent=args.stop_with_parent))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog="python -m edge_server",
        description="AirSplit edge server: runs layers [p, L), the final norm and the head.",
        epilog="example: python -m edge_server --listen 0.0.0.0:50051 --model airsplit-tiny",
    )
    add_arguments(parser)
    args = parser.parse_args(argv)
    logging.basicConfig(level=args.log_level.upper(), format="edge %(levelname)s %(message)s")
    return report_errors("edge_server", lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
