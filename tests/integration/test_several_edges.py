"""Two edge processes behind one emulator: sessions spread, a switch finds its edge, and when one
edge dies or hangs the other goes on. The tests share the processes; the last kills the edges."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from airsplit.checkpoint import Checkpoint
from airsplit.clock import SystemClock
from airsplit.errors import (
    ModelMismatchError,
    PeerTimeoutError,
    PeerUnavailableError,
    SessionLimitError,
)
from airsplit.partition import ModelPartition
from airsplit.serving import Service, start_server
from airsplit.text import load_tokenizer
from airsplit.v1 import edge_pb2, edge_pb2_grpc
from channel_emulator import edges as emulator_edges
from channel_emulator.edge_line import EdgeLine
from experiments.stack import Child, Stack
from tests.e2e import unsplit
from tests.integration.channel_support import EchoEdge, run
from ue_client.generate import generate
from ue_client.link import Link
from ue_client.records import SessionRequest
from ue_client.session import UeSession
from ue_client.tasks import DEFAULT_PROMPT

ANSWER_DEADLINE_S = 4.0
LIMIT_S = 30
TOKENS = 160


def log_of(child: Child) -> str:
    """What it has written by now."""
    return os.pread(child.log.fileno(), os.fstat(child.log.fileno()).st_size, 0).decode()


def wait(condition: Callable[[], object], what: str) -> None:
    limit = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < limit, what
        time.sleep(0.02)


@dataclass
class Edges:
    """The processes: controller, emulator, and each edge under its address."""

    stack: Stack
    partition: ModelPartition
    prompt: list[int]
    edges: dict[str, Child] = field(default_factory=dict)

    @property
    def emulator(self) -> Child:
        return self.stack.children["channel emulator"]

    @property
    def controller(self) -> Child:
        return self.stack.children["controller"]

    def start_edge(self, listen: str, *more: str) -> str:
        """Its address."""
        peers = ["--listen", listen, "--controller", self.controller.address]
        options = ["--threads", "1", "--log-level", "info", *more]
        child = self.stack.spawn(f"edge {listen}", "edge_server", [*peers, *options])
        child.wait_listening()
        self.edges[child.address] = child
        return child.address

    def start_ue(self, name: str) -> subprocess.Popen[str]:
        peers = ["--edge", self.emulator.address, "--controller", self.controller.address]
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "ue_client", "generate", *peers, "--ue-id", name),
                *("--threads", "1", "--ignore-eos", "--max-new-tokens", str(TOKENS)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    @contextmanager
    def session(self, name: str) -> Iterator[UeSession]:
        """Of a UE in this process."""
        with Link(self.emulator.address) as link:
            request = SessionRequest("m", 5, 300, ue_id=name)
            session = UeSession(self.partition, link, request)
            try:
                yield session
            finally:
                session.close()

    def tokens(self, session: UeSession, count: int = 12) -> list[int]:
        return [step.token_id for step in generate(session, self.prompt, count)]

    def edge_of(self, ue: str) -> str:
        """The address that the newest session of a UE went to, by the emulator's log."""
        said = rf"of UE {ue} at .* goes to the edge server at (.*)"
        return str(re.findall(said, log_of(self.emulator))[-1])

    def wait_frames(self, *ues: str) -> None:
        """Returns when an open session of each has sent some frames."""

        def sent() -> bool:
            with Link(self.emulator.address) as link:
                state = link.channel_state()
            assert state is not None
            return set(ues) <= {each.ue_id for each in state.links if each.frames >= 10}

        wait(sent, f"no generation of {ues}")

    def is_used(self, edge: str) -> bool:
        """Whether one of two sessions goes to it."""
        try:
            with self.session("e"), self.session("f"):
                return edge in (self.edge_of("e"), self.edge_of("f"))
        except SessionLimitError:  # the other one is not there again
            return False

    def switched(self, split: int) -> list[int]:
        """How many sessions each edge has prepared for a split."""
        said = f"split {split} is to come"
        return [log_of(child).count(said) for child in self.edges.values()]


@pytest.fixture(scope="module")
def two(embedded: Checkpoint) -> Iterator[Edges]:
    """On two addresses of the loopback, the same port on both."""
    prompt = load_tokenizer(embedded.path).encode(DEFAULT_PROMPT)
    with Stack() as stack:
        found = Edges(stack, ModelPartition(embedded, head=False), prompt)
        stack.launch("controller", "controller", ["--policy", "fixed:5"]).wait_listening()
        port = found.start_edge("127.0.0.1:0").rpartition(":")[2]
        found.start_edge(f"127.0.0.2:{port}")
        stack.launch(
            "channel emulator",
            "channel_emulator",
            [
                *("--edge", ",".join(found.edges), "--channel", "ideal,delay_ms=10"),
                *("--answer-deadline", str(ANSWER_DEADLINE_S), "--log-level", "info"),
            ],
        ).wait_listening()
        yield found


def result_of(ue: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = ue.communicate(timeout=90)
    assert ue.returncode == 0, err
    found = json.loads(out.splitlines()[-1])
    assert isinstance(found, dict)
    return found


def error_of(ue: subprocess.Popen[str]) -> str:
    out, err = ue.communicate(timeout=LIMIT_S)
    assert (ue.returncode, out) == (2, "")
    (line,) = [line for line in err.splitlines() if "error" in line]
    return line


def sessions_at(address: str) -> int:
    with Link(address) as link:
        return link.describe().sessions


def test_an_edge_dies_and_the_other_goes_on(two: Edges) -> None:
    ues = {name: two.start_ue(name) for name in ("a", "b")}
    two.wait_frames("a", "b")
    assert [sessions_at(address) for address in two.edges] == [1, 1]
    dead, alive = two.edge_of("a"), two.edge_of("b")
    assert {dead, alive} == set(two.edges)
    command = [sys.executable, "-m", "cli.main", "split", "set", "9"]
    subprocess.run(
        [*command, "--controller", two.controller.address], check=True, capture_output=True
    )
    wait(lambda: sum(two.switched(9)) == 2, "no switch")
    assert two.switched(9) == [1, 1], "each edge prepares its own session, and no other"
    two.edges[dead].process.kill()
    assert f"edge server at {dead} is unavailable" in error_of(ues["a"])
    lost = rf"session [0-9a-f]{{8}} of UE a: edge server at {re.escape(dead)} is unavailable"
    assert re.search(lost, log_of(two.emulator))
    result = result_of(ues["b"])
    assert 9 in result["splits"]
    assert result["token_ids"] == unsplit.greedy_tokens(TOKENS)
    with two.session("c") as first, two.session("d") as second:
        assert (two.edge_of("c"), two.edge_of("d")) == (alive, alive)
        for session in (first, second):
            assert two.tokens(session) == unsplit.greedy_tokens(TOKENS)[:12]


def test_an_edge_that_comes_back_is_used_again(two: Edges) -> None:
    (dead,) = [name for name, child in two.edges.items() if child.process.poll() is not None]
    two.start_edge(dead)
    wait(lambda: two.is_used(dead), "it is not used again")


def test_an_edge_that_hangs_gets_no_more_sessions(two: Edges) -> None:
    with ExitStack() as sessions:
        hanging = sessions.enter_context(two.session("g"))
        going_on = sessions.enter_context(two.session("h"))
        hung, alive = two.edge_of("g"), two.edge_of("h")
        frozen = two.edges[hung].process
        frozen.send_signal(signal.SIGSTOP)
        try:
            with two.session("k") as new, two.session("l") as another:
                assert (two.edge_of("k"), two.edge_of("l")) == (alive, alive), "not yet in doubt"
                for session in (new, another):
                    assert two.tokens(session) == unsplit.greedy_tokens(TOKENS)[:12]
            says = f"edge server at {hung} did not answer"
            with pytest.raises(PeerTimeoutError, match=re.escape(says)):
                two.tokens(hanging)
            with two.session("i") as new:
                assert two.edge_of("i") == alive
                for session in (new, going_on):
                    assert two.tokens(session) == unsplit.greedy_tokens(TOKENS)[:12]
        finally:
            frozen.send_signal(signal.SIGCONT)


def test_without_any_edge_each_is_named(two: Edges) -> None:
    for child in two.edges.values():
        child.process.kill()

    def named() -> bool:
        """At once, but for a session that was on its way to one that died."""
        with pytest.raises(PeerUnavailableError) as raised, two.session("j"):
            pass
        says = "edge server at {} is unavailable: "
        return all(says.format(address) in str(raised.value) for address in two.edges)

    wait(named, "not every edge is named")


def test_an_edge_that_is_full_gives_way_to_the_next(two: Edges) -> None:
    full, other = two.edges
    two.start_edge(full, "--max-sessions", "1")
    two.start_edge(other, "--max-sessions", "2")
    wait(lambda: two.is_used(full) and two.is_used(other), "one is not used again")
    with ExitStack() as sessions:
        got = []
        for name in ("k", "l", "m"):
            session = sessions.enter_context(two.session(name))
            got.append(two.edge_of(name))
            assert two.tokens(session) == unsplit.greedy_tokens(TOKENS)[:12]
        assert sorted(got) == sorted([full, other, other])
        with pytest.raises(SessionLimitError, match="are open; allowed: "), two.session("n"):
            pass
    assert f"edge server at {full} gives way to the next: sessions: 1 are" in log_of(two.emulator)


def test_an_edge_with_another_model_gets_no_second_session(two: Edges) -> None:
    other, good = two.edges
    two.edges[other].process.kill()
    two.edges[other].process.wait()
    two.start_edge(other, "--dtype", "bf16")

    def refused() -> bool:
        try:
            with two.session("o"):
                return False
        except ModelMismatchError:
            return True

    wait(refused, "it is not asked again")
    with two.session("p"), two.session("q"):
        assert (two.edge_of("p"), two.edge_of("q")) == (good, good)


def test_a_silent_address_costs_its_share_of_the_answer_deadline() -> None:
    """Two that take a connection and say nothing, and an edge: by a name whose first family nobody
    listens at."""

    async def scenario() -> None:
        def register(server: grpc.aio.Server) -> list[str]:
            edge_pb2_grpc.add_EdgeServicer_to_server(EchoEdge(), server)
            return ["airsplit.v1.Edge"]

        server, address = await start_server(Service("edge server", register), "127.0.0.1:0")
        port = address.rpartition(":")[2]
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        silent = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]

        async def resolve(edge: str) -> list[str]:
            return [f"[::1]:{port}", address] if edge.startswith("localhost") else [edge]

        edges = emulator_edges.Edges([*silent, f"localhost:{port}"], SystemClock(), 6.0, resolve)

        async def opening(line: EdgeLine, patience_s: float) -> edge_pb2.InferResponse:
            request = edge_pb2.InferRequest(open=edge_pb2.OpenSession(session_id="a"))
            call, _, opened = await line.open(request, None, patience_s)
            call.cancel()
            return opened

        async with edges.reached("a", opening) as (line, opened):
            assert line.name == f"localhost:{port} (127.0.0.1)"
            assert opened.opened.session_id == "a"
        tried = []

        async def again(line: EdgeLine, patience_s: float) -> None:
            tried.append(line.name)

        async with edges.reached("b", again):
            assert tried == [f"localhost:{port} (127.0.0.1)"]
        await edges.close()
        for each in sockets:
            each.close()
        await server.stop(0)

    run(scenario())
