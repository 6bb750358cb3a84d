"""From a trained agent to a policy directory: weights out of torch, checked, described.

Serving the result needs neither torch nor stable-baselines3 (`controller.network`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from airsplit.errors import InputError
from controller.features import Features
from controller.learning.optimum import NextSplits, settled_splits
from controller.learning.reward import Reward
from controller.learning.space import Floats, Ints
from controller.network import CONFIG_FILE, PARTS, WEIGHTS_FILE, Mlp, NetworkPolicy
from controller.policy import ModelId, PolicyError

CHECKED_STATES = 1000

TOLERANCE = 1e-4
"""float32 networks of this size differ by some 1e-6 between two libraries."""

ACTIVATION = {"ppo": "tanh", "a2c": "tanh", "dqn": "relu"}
"""Between the layers: stable-baselines3's own."""

Weights = Mapping[str, np.ndarray]


def write_policy(out: Path, weights: Weights, record: Mapping[str, Any]) -> None:
    """Writes `policy.safetensors` and `policy.json`, each whole or not at all.

    Raises:
        InputError: they cannot be written.
    """
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    try:
        out.mkdir(parents=True, exist_ok=True)
        partial = out / f"{WEIGHTS_FILE}.partial"
        save_file(dict(weights), partial)
        os.replace(partial, out / WEIGHTS_FILE)
        partial = out / f"{CONFIG_FILE}.partial"
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, out / CONFIG_FILE)
    except OSError as error:
        raise InputError(f"--out: {out} cannot be written: {error.strerror}") from error


def policy_of(
    weights: Weights, algorithm: str, model: ModelId, features: Features, actions: tuple[int, ...]
) -> NetworkPolicy:
    """The policy that these weights make, as `load_policy` would read it from a directory."""
    part, activation = PARTS[algorithm], ACTIVATION[algorithm]

    def network(name: str) -> Mlp:
        layers = sum(key.startswith(f"{name}.") for key in weights) // 2
        outputs = [len(weights[f"{name}.{layer}.bias"]) for layer in range(layers)]
        return Mlp.of(weights, name, (features.size, *outputs), activation)

    return NetworkPolicy(
        name=algorithm,
        model=model,
        features=features,
        actions=actions,
        network=network(part),
        critic=None if part == "q" else network("critic"),
        q_values=part == "q",
    )


def require_equal(
    policy: NetworkPolicy, theirs: np.ndarray, channels: Floats, splits: Ints
) -> None:
    """numpy has to compute what torch computes, and to serve the move that follows from it.

    Args:
        theirs: torch's logits or q-values for the states, [n, actions].

    Raises:
        PolicyError: a score is further than TOLERANCE from torch's, or another move is served
            although torch's best two are further apart than that.
    """
    ours = policy.network(policy.features.vectors(channels, splits)).astype(np.float64)
    if not policy.q_values:  # torch's logits are normalised
        ours = ours - np.log(np.exp(ours).sum(axis=1, keepdims=True))
    apart = float(np.abs(ours - theirs).max())
    if not apart <= TOLERANCE:
        raise PolicyError(f"numpy and torch differ by {apart:.3g} in what they say of the moves")
    ordered = np.sort(theirs, axis=1)
    sure = ordered[:, -1] - ordered[:, -2] > 2 * TOLERANCE
    allowed = policy.features.splits
    wanted = splits + np.array(policy.actions)[theirs.argmax(axis=1)]
    wanted = wanted.clip(allowed.start, allowed.stop - 1)
    differ = int((policy.next_splits(channels, splits) != wanted)[sure].sum())
    if differ:
        raise PolicyError(f"what is served differs from torch's best move in {differ} states")


def settled_table(policy: NextSplits, reward: Reward, levels: int = 5) -> list[dict[str, Any]]:
    """Where the policy settles under channels that stay, from any start, with the best split.

    Args:
        levels: channels per coordinate, in equal steps on its own scale.
    """
    channels = reward.space.grid([levels] * len(reward.space.names))
    first, table = reward.splits.start, []
    for channel, row in zip(channels, reward.rows(channels), strict=True):
        settled = settled_splits(policy, reward, channel)
        place = zip(reward.space.names, channel.tolist(), strict=True)
        table.append(
            {
                **{name: round(value, 5) for name, value in place},
                "settled": settled,
                "optimal": first + int(row.argmax()),
                "excess_cost": round(float(row.max() - row[np.array(settled) - first].min()), 5),
            }
        )
    return table
