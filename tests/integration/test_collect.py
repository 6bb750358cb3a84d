"""Workers of `airsplit collect`: real processes, and one that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest

from airsplit.errors import InputError
from cli.main import main
from experiments.collect import CollectConfig, Collector
from experiments.designs import fading


def run(out: Path, flags: str, capsys: pytest.CaptureFixture[str]) -> tuple[Any, list[Any]]:
    code = main(["collect", "--out", str(out), *flags.split(), "--json"])
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == 0
    return summary, [json.loads(line) for line in out.read_text().splitlines()]


def test_workers_agree_with_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = "--sigma 1 --loss 0.1 --split 0,16 --window 16 --windows 2"
    one = run(tmp_path / "one.jsonl", f"{flags} --workers 1", capsys)[1]
    summary, two = run(tmp_path / "two.jsonl", f"{flags} --workers 2", capsys)
    assert (summary["workers"], summary["records"], summary["new"]) == (2, 4, 4)
    key: Any = lambda line: (line["loss"], line["split"])  # noqa: E731
    for a, b in zip(sorted(one, key=key), sorted(two, key=key), strict=True):
        assert {**a, "seconds": 0, "nll": 0} == {**b, "seconds": 0, "nll": 0} or a["nll"] == (
            pytest.approx(b["nll"], abs=1e-5)
        )


def test_a_killed_run_is_continued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.jsonl"
    flags = "--sigma 0.5 1 2 --split all --window 64 --windows 4 --workers 2"
    command = [sys.executable, "-m", "cli.main", "collect", "--out", str(out), *flags.split()]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not (out.exists() and out.read_bytes().count(b"\n") >= 5):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = [line for line in out.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    assert 5 <= len(kept) < 51
    summary, lines = run(out, flags, capsys)
    assert summary["records"] == 51
    assert summary["new"] == 51 - len(kept)
    assert out.read_bytes().startswith(b"".join(kept))
    assert len({(line["sigma"], line["split"]) for line in lines}) == 51
    deadline = time.monotonic() + 60
    while _group_is_alive(process.pid):  # workers end with their parent
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_without_a_compiler_it_says_so(tmp_path: Path) -> None:
    out = tmp_path / "a.jsonl"
    command = [sys.executable, "-m", "cli.main", "collect", "--out", str(out), "--sigma", "1"]
    found = subprocess.run(
        [*command, "--compile", "--window", "16", "--windows", "2"],
        env={"PATH": str(tmp_path), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert found.returncode == 2
    assert found.stderr.startswith("airsplit collect: error: --compile: there is no C++ compiler")
    assert found.stderr.count("\n") == 1
    assert not out.exists()


def test_a_worker_that_cannot_compile_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CollectConfig(window=16, windows=2, splits="15,16", workers=2)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    with Collector(config) as collector:
        collector.config = replace(config, compile=True)  # the workers alone
        with pytest.raises(InputError, match="--compile: there is no C"):
            next(collector.records([fading(1.0, inf, 0)]))


def _group_is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True
