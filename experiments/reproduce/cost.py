"""What a training costs on the real model and on a surrogate: time and memory, each by itself.

Run as a program it measures one of the two in a process of its own, since a peak of memory is that
of a whole process, and prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from airsplit.errors import AirSplitError
from controller.learning.environment import EnvironmentConfig, SplitVectorEnv
from controller.learning.hyperparameters import PpoConfig
from controller.learning.reward import ObjectiveReward, Reward
from controller.registry import load_reward

REAL, SURROGATE = "real", "surrogate"
PROCESSES = 3
"""Of each kind, one after another: what the intervals are over."""

REAL_STEPS, SURROGATE_STEPS = 6, 1000
"""Steps of all environments at once that are timed."""

CELLS = 1000
"""Per coordinate: so many that hardly a channel meets what was measured for another."""


def measured(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Costs of PROCESSES processes of the kind that `spec` says (see `main`).

    Raises:
        AirSplitError: one of them failed.
    """
    command = [sys.executable, "-m", "experiments.reproduce.cost", json.dumps(spec)]
    found = []
    for _ in range(PROCESSES):
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise AirSplitError(f"cost: a process failed: {last}")
        found.append(json.loads(done.stdout.strip().splitlines()[-1]))
    return found


def _reward(spec: dict[str, Any]) -> Reward:
    if spec["kind"] == SURROGATE:
        return load_reward("--reward", Path(spec["path"]), {})
    from experiments.model_quality import ModelConfig, ModelQuality

    table = load_reward("--reward", Path(spec["path"]), {})
    names = ("model", "dataset", "window", "windows")
    config = ModelConfig(space=table.space, cells=CELLS, **{name: spec[name] for name in names})
    return ObjectiveReward(ModelQuality.load(config))


def cost(spec: dict[str, Any]) -> dict[str, Any]:
    """Seconds of one environment step, peak memory, and of the surrogate a whole training.

    Args:
        spec: kind, path (a surrogate's folder, or the table whose channels the real model is asked
            for), steps of the training; and of the real model model, dataset, window, windows.
    """
    from controller.learning.agents import make_agent

    reward = _reward(spec)
    config, environment = PpoConfig(), EnvironmentConfig(max_move=1)
    core = SplitVectorEnv(reward, environment, config.environments, 0)
    chance = np.random.default_rng(0)
    steps = REAL_STEPS if spec["kind"] == REAL else SURROGATE_STEPS
    started = time.perf_counter()
    for _ in range(steps):
        core.step(chance.integers(0, 3, core.n))
    per_step = (time.perf_counter() - started) / (steps * core.n)
    core.reset(0)
    agent = make_agent(config, core, 0)
    seconds = None
    if spec["kind"] == SURROGATE:
        started = time.perf_counter()
        agent.learn(spec["steps"])
        seconds = time.perf_counter() - started
    return {"step_seconds": per_step, "train_seconds": seconds, "peak_mb": peak_mb()}


def peak_mb() -> float:
    """Greatest resident memory of this program. On Linux ru_maxrss would not do: it begins with
    that of the program which started this one."""
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", type=json.loads)
    import torch

    torch.set_num_threads(1)  # several wait for each other where the machine has other work too
    print(json.dumps(cost(parser.parse_args().spec)))


if __name__ == "__main__":
    main()
