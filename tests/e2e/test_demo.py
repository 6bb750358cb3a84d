"""The real demo, short: what it prints and writes, and that no process outlives it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

DURATION_S = 9
MODULES = {"controller", "edge_server", "channel_emulator", "ue_client"}
PLOTS = ("channel", "split", "perplexity", "latency")
START_S = 120.0
"""Patience with machines that are slow; nothing is measured by it."""


@dataclass
class Demo:
    """A demo that runs, and the children that were seen of it."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    children: dict[int, str] = field(default_factory=dict)
    """Command line by process id."""

    def read_until(self, wanted: Callable[[str], bool]) -> bool:
        """Reads lines until one is wanted; False at the end of the output."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            self.look()
            if wanted(line):
                return True
        return False

    def look(self) -> None:
        """Notes which children there are now."""
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            if parent_of(pid) == self.process.pid:
                self.children[pid] = command_of(pid)

    def survivors(self) -> dict[int, str]:
        return {pid: line for pid, line in self.children.items() if command_of(pid) == line}

    def wait_for_no_survivor(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.survivors() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert self.survivors() == {}

    @property
    def modules(self) -> set[str]:
        return {module for module in MODULES for line in self.children.values() if module in line}


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def command_of(pid: int) -> str:
    """Empty for a process that has gone, or has ended and waits to be collected."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


@contextmanager
def demo(folder: Path, *arguments: str) -> Iterator[Demo]:
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "demo", "--report", str(folder), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    running = Demo(process)
    try:
        yield running
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def is_frame_line(line: str) -> bool:
    return "perplexity" in line and "sigma" in line


@dataclass
class Finished:
    demo: Demo
    report: Path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """One demo from start to end."""
    report = tmp_path_factory.mktemp("demo") / "report"
    with demo(report, "--duration", str(DURATION_S), "--seed", "3") as running:
        running.read_until(lambda _: False)
        running.process.wait(START_S)
        yield Finished(running, report)


def test_four_processes_ran_and_none_is_left(finished: Finished) -> None:
    assert finished.demo.process.returncode == 0, "".join(finished.demo.lines)
    assert finished.demo.modules == MODULES
    assert finished.demo.survivors() == {}


def test_it_prints_a_line_a_second_and_a_table(finished: Finished) -> None:
    lines = finished.demo.lines
    assert sum(map(is_frame_line, lines)) >= DURATION_S - 2
    text = "".join(lines)
    for label in ("mean split p", "perplexity, unsplit", "K/V handed over", "switches", "p95"):
        assert label in text
    for stage in ("UE", "uplink", "queue", "edge", "downlink", "transport"):
        assert f"  {stage} " in text
    assert not any("Traceback" in line or "Warning" in line for line in lines)


def test_traces_have_every_frame_and_the_split_moved(finished: Finished) -> None:
    with (finished.report / "traces.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    for row in rows:
        assert {"time_s", "session", "phase", "split", "total_ms", "channel", "switch"} <= set(row)
    assert {row["session"] for row in rows} == {"story", "score"}
    assert {row["phase"] for row in rows} == {"good", "bad", "good again"}
    assert any(row["task"] == "sample" for row in rows)
    scored = [row for row in rows if row.get("scored_tokens")]
    assert all(row["nll_sum"] > 0 and row["unsplit_nll_sum"] > 0 for row in scored)
    moves = [row["switch"] for row in rows if row["switch"]]
    assert all(move["from"] != move["to"] for move in moves)
    good = [row["split"] for row in rows if row["phase"] == "good"]
    later = [row["split"] for row in rows if row["phase"] != "good"]
    assert good[-1] < good[0], "no earlier split while the channel was good"
    assert max(later) > good[-1], "no later split when it became bad"
    sequences: dict[tuple[str, int], int] = {}
    for row in rows:  # nothing lost: each frame begins where the last of its window ended
        key = row["session"], row["window"]
        assert row["position"] == sequences.get(key, 0)
        sequences[key] = row["position"] + row["tokens"]


def test_noise_makes_it_worse_where_it_should(finished: Finished) -> None:
    with (finished.report / "traces.jsonl").open(encoding="utf-8") as file:
        scored = [row for row in map(json.loads, file) if row.get("scored_tokens")]

    def excess(phase: str) -> float:
        """Nats per token over the unsplit model."""
        rows = [row for row in scored if row["phase"] == phase]
        tokens = sum(row["scored_tokens"] for row in rows)
        return float(sum(row["nll_sum"] - row["unsplit_nll_sum"] for row in rows) / tokens)

    assert abs(excess("good")) < 0.1
    assert excess("bad") > 0.05


def test_configuration_parses(finished: Finished) -> None:
    read = tomllib.loads((finished.report / "config.toml").read_text(encoding="utf-8"))
    assert (read["seed"], read["duration_s"]) == (3, DURATION_S)
    assert len(read["phase"]) == 3


def test_report_is_one_file_with_its_pictures_inside(finished: Finished) -> None:
    pictures = []
    for name in PLOTS:
        png = (finished.report / f"{name}.png").read_bytes()
        assert png.startswith(b"\x89PNG\r\n\x1a\n")
        pictures.append(len(png))
    sources: list[str] = []

    class Images(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            sources.extend(value or "" for name, value in attrs if name in ("src", "href"))

    text = (finished.report / "report.html").read_text(encoding="utf-8")
    Images().feed(text)
    assert len(sources) == len(PLOTS)
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "unsplit model on the same" in text
    assert len(text) > sum(pictures)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_demo_that_is_stopped_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    with demo(tmp_path / "report", "--duration", "600") as running:
        assert running.read_until(is_frame_line), "".join(running.lines)
        assert running.modules == MODULES
        assert running.survivors() == running.children
        running.process.send_signal(number)
        running.read_until(lambda _: False)
        code = running.process.wait(30)
        running.wait_for_no_survivor(10.0)
    if number is signal.SIGKILL:
        assert code == -signal.SIGKILL
        return
    assert code == 130
    assert running.lines[-1] == "airsplit demo: interrupted\n"
    assert not any("Traceback" in line for line in running.lines)


def test_a_child_that_is_killed_is_named_in_one_line(tmp_path: Path) -> None:
    with demo(tmp_path / "report", "--duration", "600") as running:
        assert running.read_until(is_frame_line), "".join(running.lines)
        (victim,) = (p for p, line in running.children.items() if "-m edge_server " in line)
        os.kill(victim, signal.SIGKILL)
        running.read_until(lambda _: False)
        assert running.process.wait(30) == 2
        running.wait_for_no_survivor(10.0)
    assert running.lines[-1].startswith("airsplit demo: error: ")
    assert "edge server" in running.lines[-1]


def test_bad_input_is_one_line_before_anything_starts(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for arguments, field_ in (
        (("--duration", "5"), "--duration"),
        (("--duration", "nan"), "--duration"),
        (("--seed", "-1"), "--seed"),
        (("--report", str(file)), "--report"),
    ):
        with demo(tmp_path / "report", *arguments) as running:
            running.read_until(lambda _: False)
            assert running.process.wait(START_S) == 2
        assert len(running.lines) == 1
        assert running.lines[0].startswith("airsplit demo: error: " + field_)
        assert running.children == {}
