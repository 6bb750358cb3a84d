"""Learned policies as plain numpy networks, read from safetensors and JSON. No torch, no pickle.

A policy directory holds `policy.json` (what the network is, for which model, trained how) and
`policy.safetensors` (its weights, named `actor.0.weight`, `actor.0.bias`, ..., and the same for
`critic`, or for DQN `q`; each weight [outputs, inputs] as torch has it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from airsplit.errors import InputError
from controller.features import Features, observed, unknown
from controller.learning.space import Floats, Ints
from controller.policy import (
    Action,
    ModelId,
    Observation,
    PolicyError,
    clamp,
    hold,
    require_same,
)
from controller.stored import read_record, read_tensors

FORMAT = "airsplit-policy/1"
CONFIG_FILE = "policy.json"
WEIGHTS_FILE = "policy.safetensors"
PARTS = {"ppo": "actor", "a2c": "actor", "dqn": "q"}
"""By algorithm, the part of the weights that scores the actions."""

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
    """A trained network, served without chance: the split moves by the move of the highest score.

    That is what its exact return is computed of, and what DQN learns. A network may be about as
    sure of +1 just below the split that it aims at as of -1 just above it, and would then swing
    around it; the controller's hysteresis is there for that, whatever the policy.
    """

    name: str
    model: ModelId
    """What it was trained for."""

    features: Features
    actions: tuple[int, ...]
    """Moves of the split, ascending: -u, ..., u."""

    network: Mlp
    """A score for each action: an actor's logits, or DQN's q-values."""

    critic: Mlp | None = None
    """The value of a state, where the network is an actor."""

    q_values: bool = False
    """The scores are q-values; the value of a state is then the highest."""

    def check(self, model: ModelId) -> None:
        """Raises: ModelMismatchError: trained for another model."""
        require_same(self.name, self.model, model)

    def next_splits(self, channels: Floats, splits: Ints) -> Ints:
        """Where it would move from each state, within the splits it was trained on: int64 [n].

        Args:
            channels: [n, k] in the coordinates of `features.space`.
            splits: [n].
        """
        scores = self.network(self.features.vectors(channels, splits))
        allowed = self.features.splits
        wanted = splits + np.array(self.actions)[scores.argmax(axis=1)]
        return np.asarray(wanted.clip(allowed.start, allowed.stop - 1))

    def decide(self, observation: Observation) -> Action:
        """Moves by the move of the highest score; holds where the channel is not known.

        Raises:
            PolicyError: the network's answer is not finite.
        """
        split, splits = observation.split, np.array([observation.split])
        channel = observed(self.features.space, observation)
        missing = unknown(self.features.space, channel)
        if missing is not None:
            return hold(observation, f"{missing} is not known")
        x = self.features.vectors(channel, splits)[0]
        scores = self.network(x)
        if not np.isfinite(scores).all():
            raise PolicyError(f"policy {self.name}: the network's answer is not finite")
        inside = self.features.inside(channel, splits)[0]
        return Action(
            split=clamp(split + self.actions[int(scores.argmax())], observation.splits),
            reason="policy" if inside else "policy, at the edge of what it was trained on",
            probabilities=None if self.q_values else _softmax(scores),
            value=self._value(x, scores),
        )

    def _value(self, x: np.ndarray, scores: np.ndarray) -> float | None:
        if self.q_values:
            return float(scores.max())
        return float(self.critic(x)[0]) if self.critic else None


def _softmax(logits: np.ndarray) -> tuple[float, ...]:
    odds = np.exp(logits.astype(np.float64) - logits.max())
    return tuple(float(share) for share in odds / odds.sum())


def load_policy(directory: Path, name: str | None = None) -> NetworkPolicy:
    """Reads a policy directory.

    Raises:
        InputError: a file is missing or is not what it should be; says which part.
    """
    config = read_record(directory / CONFIG_FILE, FORMAT)
    tensors = read_tensors(directory / WEIGHTS_FILE)
    try:
        algorithm = str(config["algorithm"])
        model = ModelId(str(config["model"]["name"]), int(config["model"]["layers"]))
        features = Features.of(config["features"])
        actions = tuple(int(action) for action in config["actions"])
        hidden = tuple(int(size) for size in config["network"]["hidden"])
        activation = str(config["network"]["activation"])
    except KeyError as error:
        raise InputError(f"{CONFIG_FILE}: {error.args[0]} is missing") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{CONFIG_FILE}: {error}") from error
    except InputError as error:
        raise InputError(f"{CONFIG_FILE}: {error}") from error
    if algorithm not in PARTS:
        raise InputError.of(f"{CONFIG_FILE}: algorithm", algorithm, ", ".join(PARTS))
    if activation not in ACTIVATIONS:
        raise InputError.of(f"{CONFIG_FILE}: activation", activation, ", ".join(ACTIVATIONS))
    if len(actions) < 3 or actions != tuple(range(actions[0], -actions[0] + 1)):
        allowed = "-u, ..., u in steps of 1, u >= 1"
        raise InputError.of(f"{CONFIG_FILE}: actions", list(actions), allowed)
    last = features.splits.stop - 1
    if last > model.layers:
        raise InputError.of(f"{CONFIG_FILE}: features: splits", last, f"at most {model.layers}")
    inner = (features.size, *hidden)
    critic = any(key.startswith("critic.") for key in tensors)
    return NetworkPolicy(
        name=name or f"{algorithm}:{directory.name}",
        model=model,
        features=features,
        actions=actions,
        network=Mlp.of(tensors, PARTS[algorithm], (*inner, len(actions)), activation),
        critic=Mlp.of(tensors, "critic", (*inner, 1), activation) if critic else None,
        q_values=PARTS[algorithm] == "q",
    )
