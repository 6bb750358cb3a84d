"""Services as child processes on free ports of this machine, and their certain end."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from airsplit.errors import AirSplitError, InputError

START_S = 60.0
"""Longest time for a service to listen, seconds, besides what its model takes."""

LOAD_BYTES_PER_S = 20e6
"""The slowest reading of a model that time is allowed for."""

STOP_S = 5.0
"""Time to stop gracefully before a service is killed, seconds."""


@dataclass
class Child:
    """One service that this process started. It stops with us, even if we are killed: its standard
    input closes then."""

    name: str
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    address: str = ""

    def wait_listening(self, start_s: float = START_S) -> None:
        """Reads the address from the service's first line.

        Raises:
            AirSplitError: it ended or said nothing within `start_s`; carries its own last words.
        """
        stdout = self.process.stdout
        if stdout is None:
            raise AirSplitError(f"{self.name}: no standard output")
        deadline = time.monotonic() + start_s
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(stdout.fileno(), 4096) if ready else b""
            if not piece:
                raise self.failed("ended" if ready else f"did not listen within {start_s:g} s")
            line += piece
        self.address = json.loads(line.splitlines()[0])["listening"]

    def stop(self) -> None:
        """Asks it to stop, then makes it."""
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.log):
            if stream is not None:
                stream.close()

    def failed(self, how: str) -> AirSplitError:
        """The error to raise for a child that did not do its part; carries its own last words."""
        self.process.poll()
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        last = lines[-1] if lines else "no message"
        kind = InputError if self.process.poll() == 2 else AirSplitError
        return kind(f"{self.name} {how}: {last}")


class Stack:
    """Child services in the order in which they were started; stopped in reverse."""

    def __init__(self) -> None:
        self.children: dict[str, Child] = {}
        self._exit = ExitStack()

    def launch(self, name: str, module: str, arguments: Sequence[str]) -> Child:
        """Starts `python -m module --listen 127.0.0.1:0 ...`; does not wait until it listens."""
        return self.spawn(name, module, ["--listen", "127.0.0.1:0", *arguments])

    def spawn(self, name: str, module: str, arguments: Sequence[str]) -> Child:
        """Starts `python -m module ARGUMENTS --stop-with-parent`; it need not be a service."""
        log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        process = subprocess.Popen(  # noqa: S603 - our own modules
            [sys.executable, "-m", module, *arguments, "--stop-with-parent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # Ctrl-C is ours to pass on, in order
        )
        child = Child(name, process, log)
        self.children[name] = child
        self._exit.callback(child.stop)
        return child

    def require_running(self) -> None:
        """Raises: AirSplitError: a child has ended; carries its own last words."""
        for child in self.children.values():
            if child.process.poll() is not None:
                raise child.failed("ended")

    def __enter__(self) -> Stack:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._exit.close()


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a UE connects."""

    edge: str
    """The channel emulator in front of the edge."""

    controller: str | None


def start_limit_s(model: Path) -> float:
    """How long an end may take to load the model of that folder and listen, seconds."""
    return START_S + sum(file.stat().st_size for file in model.iterdir()) / LOAD_BYTES_PER_S


def start_services(
    stack: Stack,
    *,
    channel: str,
    seed: int,
    edge_arguments: Sequence[str],
    channel_arguments: Sequence[str] = (),
    controller_arguments: Sequence[str] | None = None,
    edge_start_s: float = START_S,
) -> Addresses:
    """Starts edge, emulator and (unless its arguments are None) controller, each on a free port.

    Args:
        edge_start_s: longest time for the edge to load its model and listen, seconds.

    Raises:
        AirSplitError: one of them did not start, in its own words.
    """
    attach: list[str] = []
    controller = None
    if controller_arguments is not None:
        controller = stack.launch("controller", "controller", controller_arguments)
        controller.wait_listening()
        attach = ["--controller", controller.address]
    edge = stack.launch("edge server", "edge_server", [*edge_arguments, *attach])
    edge.wait_listening(edge_start_s)
    emulator = stack.launch(
        "channel emulator",
        "channel_emulator",
        [
            *("--edge", edge.address, "--channel", channel, "--seed", str(seed)),
            *attach,
            *channel_arguments,
        ],
    )
    emulator.wait_listening()
    return Addresses(emulator.address, controller.address if controller else None)
