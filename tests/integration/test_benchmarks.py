"""Benchmarks run where there is no accelerator: what they print is there, speeds are not judged."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any


def run(script: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, f"benchmarks/{script}.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_gpu_benchmark_on_a_cpu() -> None:
    size = ["--prompt", "150", "--tokens", "6", "--rounds", "1", "--split", "1"]
    found = run("gpu", "--shape", "tiny", "--device", "cpu", *size, "--json")
    assert found["tokens_equal"] is True
    assert found["split_layer"] == 1
    assert set(found["decode_stages_ms"]) >= {"ue", "edge", "transport", "total"}
    for name in ("split", "unsplit"):
        assert found[name]["decode_tokens_per_second"] > 0
        assert found[name]["prefill_ms"] > 0
