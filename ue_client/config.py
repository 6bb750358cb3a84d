"""Configuration of the UE."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from airsplit.checkpoint import EMBEDDED
from airsplit.errors import InputError
from airsplit.rpc import parse_address
from airsplit.tensor_codec import DTYPES, parse_dtype
from ue_client.steering import Schedule

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class UeConfig:
    """One UE: its part of the model, its peers, its session."""

    edge: str
    """HOST:PORT of the edge server, or of the channel emulator in front of it."""

    controller: str | None = None
    """HOST:PORT; None leaves the split to `split` and the schedule."""

    model: str = EMBEDDED
    layers: str = ":"
    """START:STOP of the layers to hold, START = 0; p can go up to STOP."""

    split: str = AUTO
    """p at the start and from then on, or `auto`: the controller's policy moves it."""

    switch_schedule: str | None = None
    """`INDEX:SPLIT,...`: moves at new tokens (generate) or frames (score)."""

    device: str = "cpu"
    dtype: str = "fp32"
    wire_dtype: str | None = None
    """Dtype of what crosses the radio; `dtype` when None."""

    ue_id: str = "ue"
    seed: int = 0
    """Of sampling, and key of the session's stream of channel draws."""

    deadline_s: float = 10.0
    """Longest wait for a connection or an answer, seconds, above 0, up to a day."""

    decision_wait_s: float = 0.0
    """Longest wait for the controller: to be attached, and for its answer to a report; seconds."""

    threads: int | None = None
    """Threads of torch's CPU operators; half of the cores when None."""

    def __post_init__(self) -> None:
        parse_address("--edge", self.edge)
        if self.controller is not None:
            parse_address("--controller", self.controller)
        if self.split != AUTO and not (self.split.isdecimal() and len(self.split) <= 9):
            raise InputError.of("--split", self.split, "a layer count 0-L, or auto")
        if not self.pinned and self.controller is None:
            raise InputError("--split: auto needs a --controller; or give a layer count 0-L")
        if self.switch_schedule is not None:
            Schedule.parse("--switch-schedule", self.switch_schedule)
        parse_dtype("--dtype", self.dtype)
        if self.wire_dtype is not None:
            parse_dtype("--wire-dtype", self.wire_dtype)
        if not 0 < self.deadline_s <= 86_400:
            raise InputError.of("--deadline", self.deadline_s, "above 0, up to 86400 seconds")
        if not 0 <= self.decision_wait_s <= 3600:
            raise InputError.of("--decision-wait", self.decision_wait_s, "0-3600 seconds")
        if not 0 <= self.seed < 2**64:
            raise InputError.of("--seed", self.seed, "0 to 2^64 - 1")
        if self.threads is not None and self.threads < 1:
            raise InputError.of("--threads", self.threads, ">= 1")

    @property
    def pinned(self) -> bool:
        """Whether the policy leaves the split alone."""
        return self.split != AUTO or self.switch_schedule is not None


def add_arguments(parser: argparse.ArgumentParser, *, edge_required: bool) -> None:
    """What all commands of the UE have in common."""
    peers = parser.add_argument_group("peers")
    peers.add_argument(
        "--edge",
        metavar="HOST:PORT",
        required=edge_required,
        help="edge server, or the channel emulator in front of it"
        + ("" if edge_required else " (default: start both here on free ports)"),
    )
    peers.add_argument("--controller", metavar="HOST:PORT", help="controller (default: none)")
    peers.add_argument(
        "--deadline",
        type=float,
        default=10.0,
        metavar="S",
        help="longest wait for a connection or an answer, seconds (default 10)",
    )
    peers.add_argument(
        "--decision-wait",
        type=float,
        default=0.0,
        metavar="S",
        help="with a controller that decides by tokens: wait for its answer to each report, at "
        "most S seconds, so that decisions fall at the same tokens in every run (default 0: never)",
    )
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model",
        default=EMBEDDED,
        metavar="M",
        help=f"hub id, directory, or {EMBEDDED!r} (embedded, default)",
    )
    model.add_argument(
        "--split",
        default=AUTO,
        metavar="P|auto",
        help="layers at the UE, 0-L; auto lets the controller move it (default auto)",
    )
    model.add_argument(
        "--switch-schedule",
        metavar="I:P,...",
        help='move the split before new token (score: frame) I to P, e.g. "16:3,32:9"',
    )
    model.add_argument(
        "--layers",
        default=":",
        metavar="0:STOP",
        help="layers to hold, half-open; p can go up to STOP (default: all)",
    )
    model.add_argument("--device", default="cpu", help="cpu, cuda, cuda:N (default cpu)")
    model.add_argument(
        "--dtype", default="fp32", help=f"of the computation: {', '.join(DTYPES)} (default fp32)"
    )
    model.add_argument(
        "--wire-dtype", default=None, help="of what crosses the radio (default: --dtype)"
    )
    model.add_argument(
        "--threads",
        type=int,
        default=None,
        metavar="N",
        help="torch CPU threads (default: half of the cores)",
    )
    model.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of sampling and of this session's channel draws (default 0)",
    )
    model.add_argument("--ue-id", default="ue", metavar="NAME", help="name of this UE (default ue)")
    output = parser.add_argument_group("output")
    output.add_argument(
        "--json", action="store_true", help="print one JSON object last on standard output"
    )
    output.add_argument(
        "--traces", metavar="FILE", help="write one JSON line per frame to FILE (default: none)"
    )


def config_of(args: argparse.Namespace) -> UeConfig:
    """Raises: InputError: a value is out of its range."""
    return UeConfig(
        edge=args.edge,
        controller=args.controller,
        model=args.model,
        layers=args.layers,
        split=args.split,
        switch_schedule=args.switch_schedule,
        device=args.device,
        dtype=args.dtype,
        wire_dtype=args.wire_dtype,
        ue_id=args.ue_id,
        seed=args.seed,
        deadline_s=args.deadline,
        decision_wait_s=args.decision_wait,
        threads=args.threads,
    )
