"""A training that can go on: one safetensors file with everything that the next step depends on.

stable-baselines3's own zip files hold pickles; these hold tensors, and JSON in the metadata:
networks, optimiser, replay buffer, random generators, environments, counters. A training
that goes on from a checkpoint gives, bit for bit, what the uninterrupted one gives.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BaseAlgorithm

from airsplit.errors import InputError
from controller.learning.agents import sb3_env
from controller.stored import parse_json

FORMAT = "airsplit-checkpoint/1"
COUNTERS: tuple[str, ...] = (
    "num_timesteps",
    "_n_updates",
    "_episode_num",
    "_current_progress_remaining",
)
DQN_COUNTERS = ("_n_calls", "exploration_rate")
BUFFERS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")

Tensors = dict[str, torch.Tensor]


def save(agent: BaseAlgorithm, path: Path, extra: Mapping[str, Any], more: Tensors) -> None:
    """Writes a checkpoint in place of the last one, whole or not at all.

    Between two updates only: halfway through a rollout there is more to keep.

    Args:
        extra: JSON of the caller's own, given back by `load`.
        more: tensors of the caller's own, likewise.

    Raises:
        InputError: it cannot be written.
    """
    env = sb3_env(agent)
    optimizer = agent.policy.optimizer.state_dict()
    state, arrays = env.core.snapshot()
    tensors: Tensors = {
        **{f"policy.{name}": value for name, value in agent.policy.state_dict().items()},
        **{
            f"optimizer.{key}.{name}": torch.as_tensor(value)
            for key, entry in optimizer["state"].items()
            for name, value in entry.items()
        },
        **{f"environment.{name}": torch.from_numpy(value) for name, value in arrays.items()},
        **{f"own.{name}": value for name, value in more.items()},
        "returns": torch.from_numpy(env.returns),
        "torch": torch.get_rng_state(),
    }
    if agent._last_obs is not None:
        tensors["last.observations"] = torch.as_tensor(agent._last_obs)
        tensors["last.starts"] = torch.as_tensor(agent._last_episode_starts)
    counters = COUNTERS
    record: dict[str, Any] = {
        "groups": optimizer["param_groups"],
        "environment": state,
        "numpy": _plain(np.random.get_state(legacy=False)),
        "actions": _plain(agent.action_space.np_random.bit_generator.state),
        "own": dict(extra),
    }
    if isinstance(agent, DQN):
        counters += DQN_COUNTERS
        buffer: Any = agent.replay_buffer
        record["buffer"] = [buffer.pos, bool(buffer.full)]
        used = buffer.buffer_size if buffer.full else buffer.pos
        for name in BUFFERS:
            tensors[f"buffer.{name}"] = torch.from_numpy(getattr(buffer, name)[:used])
    record["counters"] = {name: getattr(agent, name) for name in counters}
    separate = {name: value.detach().clone().contiguous() for name, value in tensors.items()}
    partial = path.with_suffix(".partial")
    try:
        save_file(separate, partial, {FORMAT: json.dumps(record, allow_nan=False)})
        os.replace(partial, path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path}: cannot be written: {error}") from error


def load(path: Path) -> tuple[dict[str, Any], Tensors]:
    """The record and the tensors of a checkpoint.

    Raises:
        InputError: there is none, or the file is something else.
    """
    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(FORMAT)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if text is None:
            raise InputError(f"{path}: is not a checkpoint; allowed: format {FORMAT!r}")
        record = parse_json(text)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise InputError(f"{path}: is not a safetensors file: {error}") from error
    except ValueError as error:
        raise InputError(f"{path}: is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise InputError(f"{path}: is not a checkpoint: holds a {type(record).__name__}")
    return record, tensors


def restore(agent: BaseAlgorithm, record: Mapping[str, Any], tensors: Tensors) -> None:
    """Puts an agent of the same configuration, and the random generators, where they were.

    Raises:
        InputError: the checkpoint lacks a part, or is of another configuration.
    """
    try:
        _restore(agent, record, tensors)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"checkpoint: does not fit this training: {line}") from error


def _restore(agent: BaseAlgorithm, record: Mapping[str, Any], tensors: Tensors) -> None:
    env = sb3_env(agent)
    agent.policy.load_state_dict(part(tensors, "policy."))
    states: dict[int, Tensors] = {}
    for name, value in part(tensors, "optimizer.").items():
        key, field = name.split(".")
        states.setdefault(int(key), {})[field] = value
    agent.policy.optimizer.load_state_dict({"state": states, "param_groups": record["groups"]})
    env.core.restore(record["environment"], _arrays(tensors, "environment."))
    env.returns[:] = tensors["returns"].numpy()
    if "last.observations" in tensors:
        agent._last_obs = tensors["last.observations"].numpy()
        agent._last_episode_starts = tensors["last.starts"].numpy()
    for name, value in record["counters"].items():
        if name not in COUNTERS + DQN_COUNTERS:
            raise ValueError(f"counter {name} is not known")
        setattr(agent, name, value)
    if isinstance(agent, DQN):
        buffer: Any = agent.replay_buffer
        for name, filled in _arrays(tensors, "buffer.").items():
            getattr(buffer, name)[: len(filled)] = filled
        buffer.pos, buffer.full = record["buffer"]
    agent.action_space.np_random.bit_generator.state = record["actions"]
    np.random.set_state(_with_array(record["numpy"]))
    torch.set_rng_state(tensors["torch"])


def part(tensors: Tensors, prefix: str) -> Tensors:
    """The tensors whose names begin with `prefix`, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _arrays(tensors: Tensors, prefix: str) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in part(tensors, prefix).items()}


def _plain(state: Any) -> Any:
    """A generator's state for JSON."""
    if isinstance(state, dict):
        return {name: _plain(value) for name, value in state.items()}
    if isinstance(state, np.ndarray):
        return state.tolist()
    return state.item() if isinstance(state, np.generic) else state


def _with_array(state: dict[str, Any]) -> dict[str, Any]:
    """numpy's own generator wants its key as an array again."""
    inner = state["state"]
    return {**state, "state": {**inner, "key": np.array(inner["key"], np.uint32)}}
