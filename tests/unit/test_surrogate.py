"""A surrogate: numpy equals torch, a file keeps every bit, and nothing is answered unasked."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from airsplit.errors import InputError, ModelMismatchError
from airsplit.layer_range import LayerRange
from controller.learning.quality import Quality
from controller.learning.space import ChannelSpace
from controller.learning.surrogate import Surrogate, encode
from controller.policy import ModelId

SPACE = ChannelSpace(("sigma", "inverse_m"), (0.0, 0.0), (5.0, 1.0))
SPLITS = LayerRange(2, 17)


def surrogate(space: ChannelSpace = SPACE, seed: int = 0) -> Surrogate:
    chance = np.random.default_rng(seed)
    sizes = (len(space.names) + 2, 24, 16, 1)
    layers = tuple(
        (
            (chance.normal(size=(outputs, inputs)) / np.sqrt(inputs)).astype(np.float32),
            chance.normal(size=outputs).astype(np.float32),
        )
        for inputs, outputs in pairwise(sizes)
    )
    model = ModelId("airsplit-tiny", 16)
    return Surrogate(model, space, SPLITS, 3.7, 0.8, 1.2, layers, {"seed": 3})


def asked(n: int = 200, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    channels = SPACE.from_unit(chance.random((n, 2)))
    return channels, chance.integers(SPLITS.start, SPLITS.stop, n)


def test_numpy_computes_what_torch_computes() -> None:
    found = surrogate()
    parts: list[torch.nn.Module] = []
    for weight, bias in found.layers:
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight.data, linear.bias.data = torch.tensor(weight), torch.tensor(bias)
        parts += [linear, torch.nn.ReLU()]
    network = torch.nn.Sequential(*parts[:-1])
    channels, splits = asked()
    x = encode(SPACE, SPLITS, channels, splits)
    with torch.no_grad():
        theirs = network(torch.tensor(x, dtype=torch.float32))[:, 0].numpy()
    ours = found.nll(channels, splits)
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, 3.7 + 0.8 + 1.2 * theirs, atol=1e-5)


def test_encoding_is_as_documented() -> None:
    at = np.array([[0.0, 0.0], [5.0, 1.0], [0.25, 0.5]])
    found = encode(SPACE, LayerRange(0, 17), at, np.array([0, 16, 4]))
    middle = 2 * np.log(2) / np.log(21) - 1
    assert found[0].tolist() == [-1, -1, -1, -1]
    assert found[1].tolist() == [1, 1, 1, 1]
    assert found[2] == pytest.approx([middle, 0, 2 * 0.25 - 1, 2 * 0.5 - 1])


def test_rows_are_the_same_answers() -> None:
    quality: Quality = surrogate()
    channels, _ = asked(7)
    rows = quality.rows(channels)
    assert rows.shape == (7, 15)
    for i, split in enumerate(SPLITS):
        np.testing.assert_allclose(rows[:, i], quality.nll(channels, np.full(7, split)), atol=1e-6)


def test_a_saved_surrogate_answers_bit_for_bit_alike(tmp_path: Path) -> None:
    before = surrogate()
    before.save(tmp_path / "s")
    after = Surrogate.load(tmp_path / "s")
    channels, splits = asked()
    assert after.nll(channels, splits).tobytes() == before.nll(channels, splits).tobytes()
    assert (after.model, after.space, after.splits) == (before.model, before.space, before.splits)
    assert after.record == {"seed": 3}
    after.save(tmp_path / "t")
    for name in ("surrogate.json", "surrogate.safetensors"):
        assert (tmp_path / "s" / name).read_bytes() == (tmp_path / "t" / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [
        "surrogate.json",
        "surrogate.safetensors",
    ]


def test_one_coordinate_is_enough(tmp_path: Path) -> None:
    found = surrogate(ChannelSpace(("loss",), (0.0,), (0.3,)))
    found.save(tmp_path)
    at = np.linspace(0, 0.3, 5)[:, None]
    assert Surrogate.load(tmp_path).rows(at).tobytes() == found.rows(at).tobytes()


@pytest.mark.parametrize(
    ("channel", "split", "said"),
    [
        ([np.nan, 0.5], 4, "sigma: nan is not allowed; allowed: 0-5"),
        ([5.01, 0.5], 4, "sigma: 5.01 is not allowed; allowed: 0-5"),
        ([1.0, -0.1], 4, "inverse_m: -0.1 is not allowed; allowed: 0-1"),
        ([1.0, 1.1], 4, "inverse_m: 1.1 is not allowed"),
        ([1.0, 0.5], 1, "split: 1 is not allowed; allowed: 2-16"),
        ([1.0, 0.5], 17, "split: 17 is not allowed; allowed: 2-16"),
        ([1.0], 4, "channels: shape: (1, 1) is not allowed"),
        ([1.0, 0.5], 4.0, "split"),
    ],
)
def test_nothing_is_extrapolated(channel: list[float], split: float, said: str) -> None:
    with pytest.raises(InputError) as error:
        surrogate().nll(np.array([channel]), np.array([split]))
    assert said in str(error.value)
    if said.startswith(("sigma", "inverse_m")):
        with pytest.raises(InputError):
            surrogate().rows(np.array([channel]))


def test_one_split_a_channel() -> None:
    with pytest.raises(InputError, match="split: count: 3"):
        surrogate().nll(np.array([[1.0, 0.5]]), np.array([3, 4, 5]))


def test_another_model_is_refused() -> None:
    surrogate().require(ModelId("/models/airsplit-tiny", 16))
    with pytest.raises(ModelMismatchError, match="airsplit-tiny with 16 layers"):
        surrogate().require(ModelId("llama", 32))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "airsplit-policy/1"}, "format"),
        ({"model": None}, "surrogate.json"),
        ({"splits": [0, 17]}, "splits: [0, 17] is not allowed; allowed: first <= last"),
        ({"splits": [4]}, "surrogate.json"),
        ({"space": {"names": ["sigma"], "low": [0.0], "high": [0.0]}}, "channel: sigma"),
        ({"space": {"names": ["snr"], "low": [0.0], "high": [1.0]}}, "channel: names"),
        ({"hidden": []}, "hidden"),
        ({"hidden": [24, 17]}, "shape of surrogate.1.weight"),
        ({"hidden": [24, 16, 8]}, "shape of surrogate.2.weight"),
        ({"target": {"mean": 0.0}}, "scale is missing"),
        ({"target": {"mean": 0.0, "scale": 0.0}}, "target"),
        ({"clean_nll": "x"}, "surrogate.json"),
    ],
)
def test_a_bad_configuration_is_named(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    surrogate().save(tmp_path)
    path = tmp_path / "surrogate.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(InputError) as error:
        Surrogate.load(tmp_path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_bad_weights_are_named(tmp_path: Path) -> None:
    surrogate().save(tmp_path)
    path = tmp_path / "surrogate.safetensors"
    good = load_file(path)
    for name, change, said in (
        ("surrogate.0.bias", np.full(24, np.nan, np.float32), "not finite"),
        ("surrogate.0.bias", np.zeros(24, np.float64), "float32"),
        ("surrogate.0.bias", np.zeros(23, np.float32), "shape of surrogate.0.bias"),
    ):
        save_file({**good, name: change}, path)
        with pytest.raises(InputError, match=said):
            Surrogate.load(tmp_path)
    del good["surrogate.2.weight"]
    save_file(good, path)
    with pytest.raises(InputError, match=r"surrogate\.2\.weight is missing"):
        Surrogate.load(tmp_path)
    path.write_bytes(pickle.dumps({"surrogate.0.weight": [1.0]}))
    with pytest.raises(InputError, match="is not a safetensors file"):
        Surrogate.load(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match=r"surrogate\.safetensors: cannot be read"):
        Surrogate.load(tmp_path)
    with pytest.raises(InputError, match=r"surrogate\.json: cannot be read"):
        Surrogate.load(tmp_path / "nowhere")
