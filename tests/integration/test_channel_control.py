"""An operator at the command line of a running emulator: three processes, real sockets."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airsplit import rpc
from airsplit.v1 import channel_pb2, edge_pb2, edge_pb2_grpc
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from channel_emulator.spec import parse_channel
from tests.integration.channel_support import (
    Client,
    activations,
    echo_process,
    emulator_process,
)

HIDDEN, STREAM = 64, 5
BASE = "awgn,sigma=0.5,seed=3"
"""A token each 10 ms of radio time: channel time counts tokens."""

WALK = """
name = "walk"
[channel]
preset = "awgn"
[[phase]]
name = "near"
duration_s = 0.03
channel = { sigma = 0.2 }
[[phase]]
name = "far"
duration_s = 0.05
channel = { sigma = 3.0 }
"""


class Bench:
    """A UE that sends one token after the other, and an operator."""

    def __init__(self, runner: asyncio.Runner, address: str) -> None:
        self._runner = runner
        self._address = address
        self.values = activations(200, HIDDEN)

    def open(self) -> None:
        async def opened() -> Client:
            self._connection = rpc.connect_aio(self._address)
            return await Client.open(edge_pb2_grpc.EdgeStub(self._connection), stream=STREAM)

        self._client = self._runner.run(opened())

    def close(self) -> None:
        async def closed() -> None:
            await self._client.close()
            await self._connection.close(None)

        self._runner.run(closed())

    def send(self, tokens: int) -> list[channel_pb2.ChannelReport]:
        """As many frames of a token; what each one's report says."""

        async def sent() -> list[edge_pb2.InferenceResult]:
            client, results = self._client, []
            for _ in range(tokens):
                payload = self.values[client.sent].tobytes()
                results.append(await client.exchange(client.frame(payload, 1, HIDDEN)))
            return results

        return [result.uplink for result in self._runner.run(sent())]

    def versions(self, tokens: int) -> list[int]:
        return [report.config_version for report in self.send(tokens)]

    def command(self, *command: str) -> subprocess.CompletedProcess[str]:
        """`airsplit channel ...`, as a process."""
        whole = [sys.executable, "-m", "cli.main", "channel", *command, "--channel", self._address]
        return subprocess.run(whole, capture_output=True, text=True, timeout=60, check=False)

    def operate(self, *command: str) -> dict[str, Any]:
        done = self.command(*command, "--json")
        assert done.returncode == 0, done.stderr
        state: dict[str, Any] = json.loads(done.stdout)
        return state

    def refused(self, *command: str) -> tuple[int, str]:
        """Exit status, and the one line that says why."""
        done = self.command(*command)
        assert not done.stdout
        (line,) = done.stderr.splitlines()
        return done.returncode, line


@pytest.fixture
def bench() -> Iterator[Bench]:
    with (
        echo_process() as (_, edge),
        emulator_process(BASE, edge) as (_, address),
        asyncio.Runner() as runner,
    ):
        found = Bench(runner, address)
        found.open()
        yield found
        found.close()


def sigma_of(report: channel_pb2.ChannelReport) -> float:
    return report.truth.configured_sigma


def test_a_channel_is_shown_and_set_now_or_at_a_stated_time(bench: Bench) -> None:
    assert bench.versions(2) == [1, 1]
    state = bench.operate("show")
    assert (state["config_version"], state["last_version"], state["frames"]) == (1, 1, 2)
    assert state["config"]["sigma"] == 0.5
    assert state["links"][0]["last"]["config_version"] == 1
    text = bench.command("show").stdout
    assert text.startswith("version 1, 1 sessions, 2 frames\n")
    assert "  sigma = 0.5\n" in text

    assert bench.operate("set", "sigma=2")["config_version"] == 2
    (report,) = bench.send(1)  # token 2
    assert (report.config_version, sigma_of(report)) == (2, 2)

    # Token 6 is the first one at 60 ms or later: the change waits for it, and is its version.
    state = bench.operate("set", "sigma=4", "--at", "0.055")
    assert (state["config_version"], state["last_version"]) == (2, 3)
    assert bench.command("show").stdout.startswith("version 2 of 3, ")
    reports = bench.send(5)  # tokens 3 to 7
    assert [report.channel_time_ns // 10**6 for report in reports] == [30, 40, 50, 60, 70]
    assert [report.config_version for report in reports] == [2, 2, 2, 3, 3]
    assert [sigma_of(report) for report in reports] == [2, 2, 2, 4, 4]

    status, line = bench.refused("set", "m=2")
    assert status == 2
    assert "m: 2" in line


def test_a_change_is_refused_to_whom_has_not_seen_the_last_one(bench: Bench) -> None:
    bench.send(1)
    assert bench.operate("set", "sigma=1", "--expect", "1")["config_version"] == 2
    status, line = bench.refused("set", "sigma=9", "--expect", "1")
    assert status != 0
    assert "expected_version: 1; the last version is 2" in line
    # One that is still to come counts: the version in force is not enough.
    assert bench.operate("set", "sigma=3", "--at", "0.05", "--expect", "2")["last_version"] == 3
    assert bench.refused("set", "sigma=9", "--expect", "2")[1].endswith("the last version is 3")
    assert bench.versions(5) == [2, 2, 2, 2, 3]
    assert bench.operate("set", "sigma=7", "--expect", "3")["config"]["sigma"] == 7
    (report,) = bench.send(1)
    assert (report.config_version, sigma_of(report)) == (4, 7)


def test_a_scenario_is_played_and_stopped(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "walk.toml"
    file.write_text(WALK)
    bench.send(4)
    state = bench.operate("play", str(file))
    assert (state["scenario"], state["scenario_duration_ns"]) == ("walk", 80_000_000)
    assert state["last_version"] == 3
    # Channel time begins anew with the next frame; its second change is effective at 30 ms.
    reports = bench.send(5)
    assert [report.channel_time_ns // 10**6 for report in reports] == [0, 10, 20, 30, 40]
    assert [report.config_version for report in reports] == [2, 2, 2, 3, 3]
    assert [sigma_of(report) for report in reports] == [0.2, 0.2, 0.2, 3, 3]
    state = bench.operate("stop")
    assert (state["scenario"], state["config_version"]) == ("", 4)
    (report,) = bench.send(1)
    assert (report.config_version, sigma_of(report)) == (4, 3), "what was in force stays"
    assert bench.operate("play", "pedestrian")["scenario"] == "pedestrian"
    assert sigma_of(bench.send(1)[0]) > 0


def test_what_arrives_is_what_each_frames_version_says(bench: Bench) -> None:
    """Replayed from the reports alone: the noise of a frame is that of its version, whole."""
    reports = bench.send(2)
    bench.operate("set", "sigma=0.1", "--at", "0.04")
    reports += bench.send(4)
    for token, report in enumerate(reports):
        config = parse_channel(BASE).changed({"sigma": {1: 0.5, 2: 0.1}[report.config_version]})
        place = Place.replay(config, 1, stream=STREAM, position=token, sequence=token)
        truth = Radio(config).transmit(bench.values[token : token + 1], place).truth
        assert report.truth == truth
    assert [report.config_version for report in reports] == [1, 1, 1, 1, 2, 2]


def test_the_channel_is_watched_line_by_line(bench: Bench) -> None:
    bench.send(3)
    watch = ["watch", "--interval", "20", "--duration", "1"]
    done = bench.command(*watch, "--json")
    assert done.returncode == 0, done.stderr
    states = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(states) > 2
    for state in states:
        assert (state["frames"], state["config_version"], state["sessions"]) == (3, 1, 1)
        assert np.isfinite(state["links"][0]["last"]["truth"]["sigma"])
    lines = bench.command(*watch).stdout.splitlines()
    assert len(lines) > 2
    assert all("version 1  awgn  1 sessions  3 frames" in line for line in lines)
    assert bench.refused("watch", "--interval", "5")[0] == 2
