"""Real processes are killed in the middle of a generation: the others name the peer and its
address in time, nothing hangs, nothing is left."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from airsplit.errors import PeerUnavailableError
from experiments.stack import Stack, start_services
from ue_client.link import Link

DEADLINE_S = 3.0
ANSWER_DEADLINE_S = 1.5
SLACK_S = 1.0


@contextmanager
def running() -> Iterator[Stack]:
    """Edge, controller and emulator, each a process."""
    with Stack() as stack:
        start_services(
            stack,
            channel="ideal",
            seed=0,
            edge_arguments=["--threads", "1"],
            channel_arguments=["--answer-deadline", str(ANSWER_DEADLINE_S)],
            controller_arguments=["--policy", "fixed:5"],
        )
        yield stack


@pytest.fixture(scope="module")
def survivors() -> Iterator[Stack]:
    """For tests that leave edge and emulator alive."""
    with running() as stack:
        yield stack


def start_ue(stack: Stack, *arguments: str) -> subprocess.Popen[str]:
    """A generation that goes on for as long as the context lasts."""
    command = [
        *(sys.executable, "-m", "ue_client", "generate"),
        *("--edge", stack.children["channel emulator"].address),
        *("--controller", stack.children["controller"].address),
        *("--deadline", str(DEADLINE_S), "--threads", "1"),
        *("--max-new-tokens", "900", "--ignore-eos"),
        *arguments,
    ]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )


def wait_generating(stack: Stack, frames: int = 30) -> None:
    """Returns when the emulator has carried that many frames of a session that is open."""
    with Link(stack.children["channel emulator"].address) as link:
        limit = time.monotonic() + 30
        while time.monotonic() < limit:
            state = link.channel_state()
            if state is not None and any(link.frames >= frames for link in state.links):
                return
            time.sleep(0.02)
    pytest.fail("no generation within 30 s")


def error_of(ue: subprocess.Popen[str]) -> tuple[str, float]:
    """The UE's one line of error, and how long it took from now; the UE has to end with code 2."""
    started = time.monotonic()
    lines, seconds = [], 0.0
    assert ue.stderr is not None
    for line in ue.stderr:
        if "error" in line:
            lines.append(line)
            seconds = time.monotonic() - started
    out, _ = ue.communicate(timeout=30)
    assert (ue.returncode, out, len(lines)) == (2, "", 1)
    return lines[0], seconds


def open_sessions(stack: Stack) -> int:
    with Link(stack.children["channel emulator"].address) as link:
        return link.describe().sessions


def wait_no_session(stack: Stack) -> None:
    """Returns when the edge has freed every session."""
    limit = time.monotonic() + DEADLINE_S + SLACK_S
    while time.monotonic() < limit:
        with contextlib.suppress(PeerUnavailableError):  # a thawed edge is connected to anew
            if open_sessions(stack) == 0:
                return
        time.sleep(0.05)
    assert open_sessions(stack) == 0


def warnings(stack: Stack, name: str) -> list[str]:
    """The warnings that a child has written by now."""
    log = stack.children[name].log
    text = os.pread(log.fileno(), os.fstat(log.fileno()).st_size, 0).decode()
    return [line for line in text.splitlines() if " WARNING " in line]


def wait_logged(stack: Stack, name: str, pattern: str) -> None:
    """Returns when a child has warned of that."""
    limit = time.monotonic() + DEADLINE_S + SLACK_S
    while not any(re.search(pattern, line) for line in warnings(stack, name)):
        assert time.monotonic() < limit, (name, pattern, warnings(stack, name))
        time.sleep(0.05)


@pytest.mark.parametrize("victim", ["edge server", "channel emulator"])
def test_a_peer_that_hangs_is_named_in_time(victim: str) -> None:
    with running() as stack:
        ue = start_ue(stack)
        wait_generating(stack)
        child = stack.children[victim]
        child.process.send_signal(signal.SIGSTOP)
        try:
            line, seconds = error_of(ue)
        finally:
            child.process.send_signal(signal.SIGCONT)
        assert f"{victim} at {child.address} did not answer: " in line
        assert seconds < (ANSWER_DEADLINE_S if victim == "edge server" else DEADLINE_S) + SLACK_S
        wait_no_session(stack)
        assert child.process.poll() is None, "what was frozen lives on"
        if victim == "edge server":
            session = "session [0-9a-f]{8} of UE ue"
            wait_logged(
                stack, "channel emulator", f"{session}: edge server at {child.address} did not"
            )


def test_a_lost_ue_frees_its_session(survivors: Stack) -> None:
    ue = start_ue(survivors, "--ue-id", "phone")
    wait_generating(survivors)
    assert open_sessions(survivors) == 1
    ue.kill()
    ue.communicate(timeout=10)
    wait_no_session(survivors)
    session = "session [0-9a-f]{8}"
    local = r"ipv4:127\.0\.0\.1:\d+"
    wait_logged(survivors, "channel emulator", f"UE phone at {local} is gone: {session}")
    wait_logged(survivors, "controller", f"UE 'phone' at {local} is gone, {session} ends")
    wait_logged(survivors, "edge server", f"UE phone at {local} is gone")


def test_a_session_that_ends_in_order_warns_nobody(survivors: Stack) -> None:
    before = {name: len(warnings(survivors, name)) for name in survivors.children}
    ue = start_ue(survivors, "--max-new-tokens", "5")
    _, err = ue.communicate(timeout=60)
    assert ue.returncode == 0, err
    time.sleep(0.2)
    assert {name: len(warnings(survivors, name)) for name in survivors.children} == before


def test_without_its_controller_a_generation_goes_on(survivors: Stack) -> None:
    ue = start_ue(survivors, "--max-new-tokens", "400")
    wait_generating(survivors)
    controller = survivors.children["controller"]
    controller.process.kill()
    out, err = ue.communicate(timeout=60)
    assert ue.returncode == 0, err
    result = json.loads(out.splitlines()[-1])
    assert len(result["token_ids"]) == 400
    assert set(result["splits"][200:]) == {5}, "the last committed split goes on"
    assert f"controller at {controller.address}" in err
    for name in ("edge server", "channel emulator"):
        wait_logged(survivors, name, f"controller at {controller.address} is ")


@pytest.mark.parametrize("victim", ["edge server", "channel emulator"])
def test_a_killed_peer_is_named_in_time(victim: str) -> None:
    with running() as stack:
        ue = start_ue(stack)
        wait_generating(stack)
        child = stack.children[victim]
        child.process.kill()
        line, seconds = error_of(ue)
        assert f"{victim} at {child.address}" in line
        assert seconds < DEADLINE_S + SLACK_S
        for name, other in stack.children.items():
            assert name == victim or other.process.poll() is None, f"{name} went down with it"
        wait_logged(stack, "controller", f"{victim} '.*' at {child.address} is gone")
        if victim == "edge server":
            session = "session [0-9a-f]{8} of UE ue"
            gone = f"{session}: edge server at {child.address} is unavailable"
            wait_logged(stack, "channel emulator", gone)
        else:
            wait_logged(stack, "edge server", r"UE ue at ipv4:127\.0\.0\.1:\d+ is gone")


def children_of(pid: int) -> set[int]:
    """Direct children that are alive."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return {int(child) for child in path.read_text().split()}


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux's /proc")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_child_outlives_its_parent(how: signal.Signals) -> None:
    command = [
        *(sys.executable, "-m", "cli.main", "generate", "--threads", "1"),
        *("--max-new-tokens", "900", "--ignore-eos"),
    ]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        limit = time.monotonic() + 40
        stdout = parent.stdout
        assert stdout is not None
        text = b""
        while len(text) < 200 and time.monotonic() < limit:  # the story has begun
            text += os.read(stdout.fileno(), 4096)
        children = children_of(parent.pid)
        assert len(children) == 3, "edge, emulator, controller"
        parent.send_signal(how)
        parent.communicate(timeout=20)
    finally:
        parent.kill()
    assert parent.returncode == (-signal.SIGKILL if how is signal.SIGKILL else 130)
    limit = time.monotonic() + 10
    while any(alive(child) for child in children) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not any(alive(child) for child in children)
