"""Learned policies as plain numpy networks, read from safetensors and JSON. No torch, no pickle.

A policy directory holds `policy.json` (what the network is, for which model, trained how) and
`policy.safetensors` (its weights, named `actor.0.weight`, `actor.0.bias`, ..., and the same for
`critic`; each weight [outputs, inputs] as torch has it).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, isnan
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from airsplit.errors import InputError, ModelMismatchError
from controller.features import Features
from controller.policy import Action, ModelId, Observation, PolicyError, clamp, hold

FORMAT = "airsplit-policy/1"
CONFIG_FILE = "policy.json"
WEIGHTS_FILE = "policy.safetensors"
ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0.0),
}


@dataclass(frozen=True)
class Mlp:
    """Fully connected layers with one activation between them, none after the last."""

    weights: tuple[np.ndarray, ...]
    """Each [outputs, inputs]."""

    biases: tuple[np.ndarray, ...]
    activation: str

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """x: [inputs] or [batch, inputs]; the answer has the last layer's outputs instead."""
        activate = ACTIVATIONS[self.activation]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = activate(x @ weight.T + bias)
        return np.asarray(x @ self.weights[-1].T + self.biases[-1])

    @classmethod
    def of(
        cls, tensors: Mapping[str, np.ndarray], part: str, sizes: Sequence[int], activation: str
    ) -> Mlp:
        """The network `part` with layers of `sizes` (inputs, hidden..., outputs).

        Raises:
            InputError: a tensor is missing, has another shape, or is not finite.
        """
        weights, biases = [], []
        for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
            weights.append(_tensor(tensors, f"{part}.{layer}.weight", (outputs, inputs)))
            biases.append(_tensor(tensors, f"{part}.{layer}.bias", (outputs,)))
        return cls(tuple(weights), tuple(biases), activation)


def _tensor(tensors: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name not in tensors:
        raise InputError(f"{WEIGHTS_FILE}: {name} is missing")
    found = tensors[name]
    if found.shape != shape:
        raise InputError.of(f"{WEIGHTS_FILE}: shape of {name}", found.shape, str(shape))
    if found.dtype.kind != "f" or not np.isfinite(found).all():
        raise InputError(f"{WEIGHTS_FILE}: {name} has values that are not finite numbers")
    return found.astype(np.float32)


@dataclass(frozen=True)
class NetworkPolicy:
    """A trained actor, served without chance: the split moves by the rounded mean move.

    Moves are ordered, so their mean under the actor's distribution means something. The single most
    probable move would rarely be 0: an actor is about as sure of +2 just below the split it aims
    at as of -2 just above it, and the split would swing around it for ever.
    """

    name: str
    model: ModelId
    """What it was trained for."""

    features: Features
    actions: tuple[int, ...]
    """Moves of the split, ascending: -u, ..., u."""

    actor: Mlp
    critic: Mlp | None = None

    def check(self, model: ModelId) -> None:
        """Raises: ModelMismatchError: trained for another model."""
        if (_basename(model.name), model.layers) != (_basename(self.model.name), self.model.layers):
            raise ModelMismatchError(
                f"policy {self.name}: trained for {self.model.name} with {self.model.layers} "
                f"layers, the session runs {model.name} with {model.layers}"
            )

    def decide(self, observation: Observation) -> Action:
        """Moves by the rounded mean of the moves; holds where sigma is not known.

        An m that cannot be told yet, or that noise hides, counts as no fading: it takes many
        coherence times to learn, and the noise alone already says more than nothing.

        Raises:
            PolicyError: the network's answer is not finite.
        """
        sigma, split = observation.sigma, observation.split
        m = inf if isnan(observation.m) else observation.m
        if isnan(sigma):
            return hold(observation, "sigma is not known")
        x = self.features.vector(sigma, m, split)
        logits = self.actor(x)
        if not np.isfinite(logits).all():
            raise PolicyError(f"policy {self.name}: the network's answer is not finite")
        odds = np.exp(logits.astype(np.float64) - logits.max())
        probabilities = odds / odds.sum()
        move = int(np.rint(probabilities @ np.array(self.actions)))
        inside = self.features.inside(sigma, m, split)
        return Action(
            split=clamp(split + move, observation.splits),
            reason="policy" if inside else "policy, at the edge of what it was trained on",
            probabilities=tuple(float(share) for share in probabilities),
            value=float(self.critic(x)[0]) if self.critic else None,
        )


def _basename(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2]


def load_policy(directory: Path, name: str | None = None) -> NetworkPolicy:
    """Reads a policy directory.

    Raises:
        InputError: a file is missing or is not what it should be; says which part.
    """
    config = _read_config(directory / CONFIG_FILE)
    tensors = _read_weights(directory / WEIGHTS_FILE)
    try:
        model = ModelId(str(config["model"]["name"]), int(config["model"]["layers"]))
        features = Features(**config["features"])
        actions = tuple(int(action) for action in config["actions"])
        hidden = tuple(int(size) for size in config["network"]["hidden"])
        activation = str(config["network"]["activation"])
    except KeyError as error:
        raise InputError(f"{CONFIG_FILE}: {error.args[0]} is missing") from error
    except (TypeError, ValueError) as error:
        raise InputError(f"{CONFIG_FILE}: {error}") from error
    if activation not in ACTIVATIONS:
        raise InputError.of(f"{CONFIG_FILE}: activation", activation, ", ".join(ACTIVATIONS))
    if len(actions) < 3 or actions != tuple(range(actions[0], -actions[0] + 1)):
        allowed = "-u, ..., u in steps of 1, u >= 1"
        raise InputError.of(f"{CONFIG_FILE}: actions", list(actions), allowed)
    if features.layers != model.layers:
        raise InputError.of(f"{CONFIG_FILE}: features.layers", features.layers, str(model.layers))
    critic = any(key.startswith("critic.") for key in tensors)
    return NetworkPolicy(
        name=name or f"{config.get('algorithm', 'network')}:{directory.name}",
        model=model,
        features=features,
        actions=actions,
        actor=Mlp.of(tensors, "actor", (3, *hidden, len(actions)), activation),
        critic=Mlp.of(tensors, "critic", (3, *hidden, 1), activation) if critic else None,
    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: is not JSON: {error}") from error
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        found = config.get("format") if isinstance(config, dict) else type(config).__name__
        raise InputError.of(f"{path}: format", found, FORMAT)
    return config


def _read_weights(path: Path) -> dict[str, np.ndarray]:
    try:
        tensors: dict[str, np.ndarray] = load_file(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise InputError(f"{path}: is not a safetensors file: {error}") from error
    return tensors
