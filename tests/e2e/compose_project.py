"""One Compose project under test: its commands, its containers, and what is left of it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TAG = os.environ.get("AIRSPLIT_TAG", "latest")
PATIENCE_S = 600
"""For machines that are slow; nothing is measured by it."""

START_S = 240
"""Longest time for all services to become healthy, seconds."""

WAIT_FRAMES = """
import sys, time
from airsplit.rpc import connect
from airsplit.v1 import channel_pb2, channel_pb2_grpc

limit = time.monotonic() + 120
with connect("127.0.0.1:50052") as channel:
    radio = channel_pb2_grpc.ChannelStub(channel)
    while time.monotonic() < limit:
        state = radio.GetChannel(channel_pb2.GetChannelRequest())
        if sum(link.frames >= int(sys.argv[1]) for link in state.links) >= int(sys.argv[2]):
            sys.exit(0)
        time.sleep(0.02)
sys.exit(f"not {sys.argv[2]} open sessions have sent {sys.argv[1]} frames")
"""
"""One command for the whole wait: a session may last no longer than a few of them."""

REACHED = """
import socket, sys

def reached(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), 2).close()
    except OSError:
        return False
    return True

print(*(reached(address) for address in sys.argv[1:]))
"""


def clean_environment(given: Mapping[str, str]) -> dict[str, str]:
    """Of this process's variables those by which Docker finds its engine and no other: a shell's
    `MODEL` or `COMPOSE_FILE` must change no test."""
    kept = {"PATH", "HOME", "XDG_RUNTIME_DIR"}
    ours = {
        name: value
        for name, value in os.environ.items()
        if name in kept or name.startswith("DOCKER_")
    }
    return {**ours, "AIRSPLIT_TAG": TAG, **given}


def compose(files: Sequence[str], *arguments: str) -> list[str]:
    """The command, deaf to a `.env`."""
    chosen = [word for file in files for word in ("-f", file)]
    return ["docker", "compose", "--env-file", os.devnull, *chosen, *arguments]


def docker(*arguments: str, check: bool = True, timeout: float = PATIENCE_S) -> str:
    """Standard output of `docker ARGUMENTS`."""
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, timeout=timeout, check=False
    )
    if check and done.returncode != 0:
        raise AssertionError(f"docker {' '.join(arguments)}: {done.stderr or done.stdout}")
    return done.stdout.strip()


@dataclass
class Project:
    """Files, environment and name of a project; its commands."""

    name: str
    files: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    root: Path = ROOT

    def command(self, *arguments: str) -> list[str]:
        return compose(self.files, "-p", self.name, *arguments)

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.root,
            env=clean_environment(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Requires the exit code."""
        process = self.popen(*arguments)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == code, (
            f"{' '.join(arguments)}: {process.returncode}\n{err}{out}"
        )
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def up(self, *arguments: str) -> None:
        """Returns when all services are healthy."""
        starting = self.popen("up", "-d", "--wait", "--wait-timeout", str(START_S), *arguments)
        _, err = starting.communicate(timeout=PATIENCE_S)
        if starting.returncode != 0:
            last = err.strip().splitlines()[-1]
            services = self.run("ps", "-a", "--format", "{{.Service}}: {{.Status}}").stdout
            logs = self.run("logs", "--no-color", "--tail", "3").stdout
            raise AssertionError(f"not all services became healthy: {last}\n{services}{logs}")

    def ue(self, *arguments: str) -> Job:
        """A UE that works; the services must be up."""
        name = f"{self.name}-job-{time.monotonic_ns()}"
        return Job(
            name, self.popen("run", "--rm", "-T", "--no-deps", "--name", name, "ue", *arguments)
        )

    def reached(self, *addresses: str) -> list[bool]:
        """For each HOST:PORT, whether a UE's container gets a connection to it."""
        run = ("run", "--rm", "-T", "--no-deps", "--entrypoint", "python", "ue", "-c", REACHED)
        return [word == "True" for word in self.run(*run, *addresses).stdout.split()]

    def airsplit(self, service: str, *arguments: str) -> str:
        """What an operator does: `airsplit ARGUMENTS` in the service's container."""
        return self.run("exec", "-T", service, "airsplit", *arguments).stdout

    def container(self, service: str) -> dict[str, Any]:
        """What the engine says of the service's one container."""
        (found,) = self.containers(service)
        return found

    def containers(self, service: str) -> list[dict[str, Any]]:
        """What the engine says of each of the service's containers."""
        names = self.run("ps", "-a", "-q", service).stdout.split()
        found = json.loads(docker("inspect", *names))
        assert isinstance(found, list)
        return found

    def crash(self, service: str) -> None:
        """The service's process dies on its own: for the engine nobody has stopped it."""
        pid = self.container(service)["State"]["Pid"]
        image = f"airsplit-{service}:{TAG}"
        docker(
            *("run", "--rm", "--pid=host", "--user=0", "--entrypoint=sh", image),
            *("-c", f"kill -9 {pid}"),
        )

    def wait_frames(self, frames: int, sessions: int = 1) -> None:
        """Returns when so many open sessions have sent so many frames each."""
        wanted = str(frames), str(sessions)
        self.run("exec", "-T", "channel", "python", "-c", WAIT_FRAMES, *wanted)

    def logs(self, service: str) -> str:
        return self.run("logs", "--no-color", service).stdout

    def down(self) -> None:
        self.run("--profile", "ue", "down", "-v", "--remove-orphans")

    def left(self) -> dict[str, str]:
        """What the engine still has of the project."""
        label = f"label=com.docker.compose.project={self.name}"
        found = {
            "containers": docker("ps", "-a", "-q", "--filter", label),
            "networks": docker("network", "ls", "-q", "--filter", label),
            "volumes": docker("volume", "ls", "-q", "--filter", label),
        }
        return {kind: names for kind, names in found.items() if names}


@dataclass
class Job:
    """One UE container."""

    name: str
    process: subprocess.Popen[str]

    def end(self, code: int = 0) -> tuple[str, str]:
        """Standard output and error; requires the exit code."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == code, f"{self.process.returncode}\n{err}{out}"
        return out, err

    def result(self) -> dict[str, Any]:
        """The JSON object of a `--json` run."""
        out, _ = self.end()
        found = json.loads(out.splitlines()[-1])
        assert isinstance(found, dict)
        return found
