"""Served networks: numpy equals torch, and a bad policy directory is named in one line."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch

from airsplit.errors import InputError, ModelMismatchError
from airsplit.layer_range import LayerRange
from controller.features import Features
from controller.learning.space import ChannelSpace
from controller.network import Mlp, NetworkPolicy, load_policy
from controller.policy import ModelId, Observation, PolicyError
from controller.registry import DEFAULT_DIRECTORY

HIDDEN = (8, 5)
ACTIONS = (-2, -1, 0, 1, 2)
CONFIG: dict[str, Any] = {
    "format": "airsplit-policy/1",
    "algorithm": "ppo",
    "model": {"name": "airsplit-tiny", "layers": 16},
    "features": {"names": ["sigma", "inverse_m"], "low": [0, 0], "high": [5, 1], "splits": [0, 16]},
    "actions": list(ACTIONS),
    "network": {"hidden": list(HIDDEN), "activation": "tanh"},
}


def random_weights(seed: int = 0) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(seed)
    weights = {}
    for part, outputs in (("actor", len(ACTIONS)), ("critic", 1)):
        sizes = (3, *HIDDEN, outputs)
        for layer in range(len(sizes) - 1):
            shape = (sizes[layer + 1], sizes[layer])
            weights[f"{part}.{layer}.weight"] = chance.normal(size=shape).astype(np.float32)
            weights[f"{part}.{layer}.bias"] = chance.normal(size=shape[0]).astype(np.float32)
    return weights


def write(directory: Path, weights: dict[str, np.ndarray] | None = None, **changes: object) -> Path:
    directory.mkdir(exist_ok=True)
    (directory / "policy.json").write_text(json.dumps({**CONFIG, **changes}))
    save_file(random_weights() if weights is None else weights, directory / "policy.safetensors")
    return directory


def seen(sigma: float = 1.0, m: float = 3.0, split: int = 4, stop: int = 17) -> Observation:
    return Observation(sigma, m, nan, nan, split, LayerRange(0, stop))


def constant(logits: list[float]) -> NetworkPolicy:
    """A policy whose network always answers `logits`."""
    zeros = np.zeros((len(ACTIONS), 3), np.float32)
    actor = Mlp((zeros,), (np.array(logits, np.float32),), "tanh")
    features = Features(ChannelSpace(("sigma", "inverse_m"), (0, 0), (5, 1)), LayerRange(0, 17))
    return NetworkPolicy("test", ModelId("airsplit-tiny", 16), features, ACTIONS, actor)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_numpy_equals_torch_of_the_same_weights(tmp_path: Path, activation: str) -> None:
    weights = random_weights()
    network = {"hidden": list(HIDDEN), "activation": activation}
    policy = load_policy(write(tmp_path, weights, network=network))
    modules: list[torch.nn.Module] = []
    for layer, outputs in enumerate((*HIDDEN, len(ACTIONS))):
        weight = torch.from_numpy(weights[f"actor.{layer}.weight"])
        linear = torch.nn.Linear(weight.shape[1], outputs)
        linear.load_state_dict(
            {"weight": weight, "bias": torch.from_numpy(weights[f"actor.{layer}.bias"])}
        )
        modules += [linear, torch.nn.Tanh() if activation == "tanh" else torch.nn.ReLU()]
    expected = torch.nn.Sequential(*modules[:-1])
    x = np.random.default_rng(1).uniform(-1, 1, (1000, 3)).astype(np.float32)
    with torch.no_grad():
        theirs = expected(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(policy.network(x), theirs, rtol=0, atol=1e-5)
    assert (policy.network(x).argmax(axis=1) == theirs.argmax(axis=1)).all()


def test_the_move_of_the_highest_score_is_made() -> None:
    """Also where the mean move would be another: this is what exact returns are computed of."""
    logits = [0.0, 3.0, 0.0, 0.0, 2.9]
    action = constant(logits).decide(seen(split=4))
    odds = np.exp(logits)
    assert (odds * ACTIONS).sum() / odds.sum() > 0.3
    assert (action.split, action.reason, action.value) == (3, "policy", None)
    assert action.probabilities == pytest.approx(tuple(odds / odds.sum()))


def test_what_is_served_is_what_is_evaluated() -> None:
    policy = load_policy(DEFAULT_DIRECTORY)
    chance = np.random.default_rng(2)
    channels = policy.features.space.from_unit(chance.uniform(size=(200, 2)))
    splits = chance.integers(0, 17, 200)
    served = [
        policy.decide(seen(sigma, 1 / share, int(split))).split
        for (sigma, share), split in zip(channels.tolist(), splits, strict=True)
    ]
    assert policy.next_splits(channels, splits).tolist() == served


def test_a_q_network_serves_its_greedy_action_and_its_value(tmp_path: Path) -> None:
    weights = {
        key.replace("actor", "q"): value
        for key, value in random_weights().items()
        if key.startswith("actor")
    }
    policy = load_policy(write(tmp_path, weights, algorithm="dqn"))
    action = policy.decide(seen(split=4))
    q = policy.network(policy.features.vectors(np.array([[1.0, 1 / 3]]), np.array([4]))[0])
    assert action.split == 4 + ACTIONS[int(q.argmax())]
    assert action.value == pytest.approx(q.max())
    assert action.probabilities is None


def test_a_policy_of_loss_sees_loss_and_nothing_else(tmp_path: Path) -> None:
    sizes = (2, *HIDDEN, len(ACTIONS))
    chance = np.random.default_rng(0)
    weights = {}
    for layer in range(3):
        shape = (sizes[layer + 1], sizes[layer])
        weights[f"actor.{layer}.weight"] = chance.normal(size=shape).astype(np.float32)
        weights[f"actor.{layer}.bias"] = np.zeros(shape[0], np.float32)
    features = {"names": ["loss"], "low": [0.0], "high": [0.3], "splits": [0, 16]}
    policy = load_policy(write(tmp_path, weights, features=features))
    x = policy.features.vectors(np.array([[0.3]]), np.array([8]))[0]
    assert x.tolist() == [1.0, 0.0]
    known = Observation(nan, nan, 0.3, nan, 8, LayerRange(0, 17))
    assert policy.decide(known).split == 8 + ACTIONS[int(policy.network(x).argmax())]
    unknown = Observation(1.0, 3.0, nan, nan, 8, LayerRange(0, 17))
    assert policy.decide(unknown).hold  # noise is known, loss is not


def test_the_embedded_policy_goes_later_with_noise_and_comes_back() -> None:
    policy = load_policy(DEFAULT_DIRECTORY)

    def settle(sigma: float, split: int) -> int:
        for _ in range(17):
            split = policy.decide(seen(sigma, inf, split)).split
        return split

    bad = settle(2.5, 2)
    assert bad >= 8
    assert settle(0.1, bad) <= 4


def test_moves_are_clamped_to_the_session() -> None:
    assert constant([0, 0, 0, 0, 9.0]).decide(seen(split=9, stop=11)).split == 10
    assert constant([9.0, 0, 0, 0, 0]).decide(seen(split=1)).split == 0


def test_a_channel_outside_the_training_is_said() -> None:
    assert "edge of what it was trained on" in constant([0, 0, 1.0, 0, 0]).decide(seen(9.0)).reason


def test_unknown_noise_holds() -> None:
    action = constant([0, 0, 0, 0, 1.0]).decide(seen(nan, 1.0))
    assert (action.split, action.hold) == (4, True)


def test_unknown_fading_counts_as_none() -> None:
    policy = load_policy(DEFAULT_DIRECTORY)
    assert policy.decide(seen(1.0, nan)) == policy.decide(seen(1.0, inf))
    assert policy.decide(seen(1.0, nan)) != policy.decide(seen(1.0, 1.0))


def test_an_answer_that_is_not_finite_is_an_error() -> None:
    with pytest.raises(PolicyError, match="not finite"):
        constant([0, 0, nan, 0, 0]).decide(seen())


@pytest.mark.parametrize("model", [ModelId("airsplit-tiny", 12), ModelId("llama", 16)])
def test_another_model_is_refused_by_name(model: ModelId) -> None:
    with pytest.raises(ModelMismatchError, match=f"airsplit-tiny with 16 .* {model.name} with"):
        constant([0, 0, 0, 0, 1.0]).check(model)


@pytest.mark.parametrize("name", ["airsplit-tiny", "org/airsplit-tiny", "models/airsplit-tiny/"])
def test_the_same_model_by_another_way_is_accepted(name: str) -> None:
    constant([0, 0, 0, 0, 1.0]).check(ModelId(name, 16))


def _without(key: str) -> dict[str, np.ndarray]:
    weights = random_weights()
    del weights[key]
    return weights


def _with(key: str, value: np.ndarray) -> dict[str, np.ndarray]:
    return {**random_weights(), key: value}


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        (_without("actor.1.bias"), "actor.1.bias is missing"),
        (_without("critic.0.weight"), "critic.0.weight is missing"),
        (
            _with("actor.0.weight", np.zeros((8, 4), np.float32)),
            r"shape of actor.0.weight: \(8, 4\)",
        ),
        (_with("actor.2.bias", np.full(5, nan, np.float32)), "actor.2.bias has values"),
        (_with("actor.2.bias", np.full(5, inf, np.float32)), "actor.2.bias has values"),
        (_with("actor.2.bias", np.zeros(5, np.int32)), "actor.2.bias has values"),
    ],
)
def test_damaged_weights_are_named(
    tmp_path: Path, weights: dict[str, np.ndarray], why: str
) -> None:
    with pytest.raises(InputError, match=why) as caught:
        load_policy(write(tmp_path, weights))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"format": "other/1"}, "format"),
        ({"algorithm": "sarsa"}, "algorithm: 'sarsa' is not allowed; allowed: ppo, a2c, dqn"),
        ({"algorithm": "dqn"}, "q.0.weight is missing"),
        ({"model": {"name": "airsplit-tiny"}}, "layers is missing"),
        ({"model": {"name": "airsplit-tiny", "layers": "many"}}, "invalid literal"),
        ({"model": {"name": "airsplit-tiny", "layers": inf}}, "cannot convert float infinity"),
        ({"features": {**CONFIG["features"], "splits": [0, inf]}}, "cannot convert float inf"),
        ({"model": {"name": "airsplit-tiny", "layers": 12}}, "features: splits: 16"),
        ({"features": {**CONFIG["features"], "high": [-1, 1]}}, "channel: sigma"),
        ({"features": {**CONFIG["features"], "splits": [3, 3]}}, "two or more"),
        ({"features": {"splits": [0, 16]}}, "names is missing"),
        ({"features": {}}, "splits is missing"),
        ({"actions": [-1, 0, 2]}, "actions"),
        ({"actions": [0]}, "actions"),
        ({"network": {"hidden": [8, 5], "activation": "gelu"}}, "activation"),
        ({"network": {"hidden": [8, 6], "activation": "tanh"}}, "shape of actor.1.weight"),
    ],
)
def test_a_wrong_configuration_is_named(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        load_policy(write(tmp_path, **changes))
    assert "\n" not in str(caught.value)


def _pickle(directory: Path) -> None:
    (directory / "policy.safetensors").write_bytes(pickle.dumps({"actor.0.weight": [1.0]}))


def _truncate(directory: Path) -> None:
    path = directory / "policy.safetensors"
    path.write_bytes(path.read_bytes()[:100])


def _remove_weights(directory: Path) -> None:
    (directory / "policy.safetensors").unlink()


def _remove_config(directory: Path) -> None:
    (directory / "policy.json").unlink()


def _break_config(directory: Path) -> None:
    (directory / "policy.json").write_text("{")


def _nest_config(directory: Path) -> None:
    (directory / "policy.json").write_text("[" * 100_000)


def _change_type(directory: Path) -> None:
    save_torch({"actor.0.weight": torch.zeros(2).bfloat16()}, directory / "policy.safetensors")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (_pickle, "is not a safetensors file"),
        (_truncate, "is not a safetensors file"),
        (_remove_weights, "cannot be read"),
        (_remove_config, "cannot be read"),
        (_break_config, "is not JSON"),
        (_nest_config, "nested too deeply"),
        (_change_type, "numpy lacks: .*bfloat16"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, damage: Callable[[Path], None], why: str) -> None:
    damage(write(tmp_path))
    with pytest.raises(InputError, match=why) as caught:
        load_policy(tmp_path)
    assert "\n" not in str(caught.value)


def test_weights_of_a_policy_without_critic(tmp_path: Path) -> None:
    write(tmp_path)
    weights = load_file(tmp_path / "policy.safetensors")
    actor = {key: value for key, value in weights.items() if key.startswith("actor.")}
    assert load_policy(write(tmp_path, actor)).decide(seen()).value is None
    assert load_policy(write(tmp_path, weights)).decide(seen()).value is not None
