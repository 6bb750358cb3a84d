"""Ctrl-C in the middle of a real training: a checkpoint is left that it can go on from."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from controller.learning import checkpoint
from controller.learning.train_policy import CHECKPOINT_FILE
from controller.registry import DEFAULT_DIRECTORY

GRPC_LOG = re.compile(r"[EW]\d{4} [\d:.]+ +\d+ \w+\.cc:\d+\] ")
"""What gRPC's own threads may write where a process is interrupted."""

TABLE = DEFAULT_DIRECTORY / "table.json"


def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(tmp_path: Path) -> None:
    flags = ["--reward", str(TABLE), "--out", str(tmp_path), "--levels", "3"]
    command = [sys.executable, "-m", "cli.main", "train", "policy", *flags]
    running = subprocess.Popen(
        [*command, "--steps", "1000000", "--checkpoint-every", "400", "--evaluate-every", "0"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        while not (tmp_path / CHECKPOINT_FILE).exists():
            assert running.poll() is None, running.stderr and running.stderr.read()
        os.kill(running.pid, signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 130, errors
    said = [line for line in errors.splitlines() if not GRPC_LOG.match(line)]
    assert said == ["airsplit train: interrupted"]
    record, _ = checkpoint.load(tmp_path / CHECKPOINT_FILE)
    steps = record["counters"]["num_timesteps"]
    assert steps % 400 == 0
    done = subprocess.run(
        [*command, "--steps", str(steps + 400), "--resume", "--json", "--evaluate-every", "0"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["steps"] == steps + 400
