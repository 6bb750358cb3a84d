"""Rewards and where episodes begin: re-derived by hand, each knob changing a number."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import replace
from math import exp, inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch

from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from controller.learning.cases import Case, starts_of
from controller.learning.published import PublishedReward
from controller.learning.quality import TableQuality
from controller.learning.reward import ObjectiveReward, RewardForm, identity
from controller.learning.space import ChannelSpace, Floats
from tests.learning import CLEAN, LAYERS, published, small_reward, small_table

CHANNEL = np.array([[2.0, 1.0]])
EXCESS = 2.0 * (1 + 1.0) * exp(-4)
"""In nats, at CHANNEL and split 4."""


@pytest.mark.parametrize(
    ("form", "cost"),
    [
        (RewardForm.SHARE, 1 - exp(-EXCESS)),
        (RewardForm.LOG, EXCESS),
        (RewardForm.PERPLEXITY, exp(CLEAN + EXCESS) - exp(CLEAN)),
    ],
)
@pytest.mark.parametrize("cost_weight", [0.0, 0.3])
def test_the_objective_by_hand(form: RewardForm, cost: float, cost_weight: float) -> None:
    reward = ObjectiveReward(TableQuality(small_table()), cost_weight, form)
    expected = -(cost + cost_weight * 4 / LAYERS)
    assert reward(CHANNEL, np.array([4]))[0] == pytest.approx(expected)
    assert reward.rows(CHANNEL)[0, 4] == pytest.approx(expected)
    assert reward.describe() == {"form": form.value, "lambda": cost_weight}


@pytest.mark.parametrize("cost_weight", [-0.1, nan, inf])
def test_lambda_is_checked(cost_weight: float) -> None:
    with pytest.raises(InputError, match="--lambda"):
        small_reward(cost_weight)


@pytest.mark.parametrize(
    ("channels", "splits", "why"),
    [
        ([[nan, 0.0]], [3], "sigma: nan is not allowed; allowed: 0-2"),
        ([[1.0, nan]], [3], "inverse_m: nan"),
        ([[1.0, 0.5], [3.0, 0.0]], [3, 3], "sigma: 3.0"),
        ([[1.0, 0.5]], [7], "split: 7 is not allowed; allowed: 0-6"),
        ([[1.0, 0.5]], [-1], "split: -1"),
        ([[1.0, 0.5]], [2.0], "split: .* integers"),
        ([[1.0]], [2], "channels: shape"),
        ([1.0, 0.5], [2], "channels: shape"),
    ],
)
def test_what_is_not_covered_is_named(channels: object, splits: object, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        small_reward()(np.array(channels), np.array(splits))
    assert "\n" not in str(caught.value)


def test_cases_of_the_paper() -> None:
    space, splits = ChannelSpace(("loss",), (0.0,), (0.3,)), LayerRange(1, 11)
    found = {case: starts_of(case, space, splits) for case in Case}
    ranges = {case: (s.space.low[0], s.space.high[0]) for case, s in found.items()}
    assert ranges[Case.L] == pytest.approx((0.0, 0.1))
    assert ranges[Case.H] == pytest.approx((0.1, 0.3))
    assert ranges[Case.A] == pytest.approx((0.0, 0.3))
    assert ranges[Case.RELEASED] == pytest.approx((0.01, 0.3))
    assert [[*found[case].splits] for case in (Case.L, Case.H, Case.A, Case.RELEASED)] == [
        [*range(1, 6)],
        [*range(6, 11)],
        [*range(1, 11)],
        [*range(1, 10)],
    ]


def test_cases_of_a_model_with_noise() -> None:
    space = small_table().space
    low, high = (starts_of(case, space, LayerRange(0, 7)) for case in (Case.L, Case.H))
    assert ([*low.splits], [*high.splits]) == ([0, 1, 2], [3, 4, 5, 6])
    third = 0.25 * ((1 + 2.0 / 0.25) ** (1 / 3) - 1)  # a third of log(1 + sigma/0.25)
    assert (low.space.high[0], high.space.low[0]) == pytest.approx((third, third))
    assert low.space.high[1] == high.space.high[1] == 1.0
    with pytest.raises(InputError, match="--case"):
        starts_of(Case.RELEASED, space, LayerRange(0, 7))


def test_starts_are_drawn_over_all_of_their_range() -> None:
    chance = np.random.default_rng(0)
    starts = starts_of(Case.H, small_table().space, LayerRange(0, 7), fading_share=0.25)
    channels, splits = starts.draw_channels(chance, 4000), starts.draw_splits(chance, 4000)
    unit = starts.space.to_unit(channels)
    assert starts.space.contains(channels).all()
    assert np.histogram(unit[:, 0], 4, (0, 1))[0] == pytest.approx([1000] * 4, abs=100)
    assert (channels[:, 1] > 0).mean() == pytest.approx(0.25, abs=0.03)
    assert np.bincount(splits, minlength=7)[3:] == pytest.approx([1000] * 4, abs=100)
    assert splits.min() == 3


def random_tensors(seed: int = 0) -> dict[str, np.ndarray]:
    chance = np.random.default_rng(seed)
    sizes = {"fc.0": (128, 2), "fc.2": (128, 128), "fc.4": (1, 128)}
    tensors = {}
    for name, shape in sizes.items():
        weight = chance.normal(size=shape) / shape[1] ** 0.5
        tensors[f"{name}.weight"] = weight.astype(np.float32)
        tensors[f"{name}.bias"] = chance.normal(size=shape[0]).astype(np.float32)
    return tensors


def in_torch(tensors: dict[str, np.ndarray], loss: np.ndarray, splits: np.ndarray) -> np.ndarray:
    x = torch.from_numpy(np.column_stack([loss, splits])).double()
    for name in ("fc.0", "fc.2", "fc.4"):
        weight = torch.from_numpy(tensors[f"{name}.weight"]).double()
        bias = torch.from_numpy(tensors[f"{name}.bias"]).double()
        x = torch.nn.functional.linear(x if name == "fc.0" else x.relu(), weight, bias)
    return (10 * x[:, 0] + (10 - torch.from_numpy(splits).double()) / 10).numpy()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_pieces_of_a_published_network_are_the_network(tmp_path: Path, seed: int) -> None:
    save_file(random_tensors(seed), tmp_path / "reward.safetensors")
    reward = PublishedReward.load(tmp_path / "reward.safetensors")
    chance = np.random.default_rng(seed)
    loss, splits = chance.uniform(0, 0.3, 3000), chance.integers(1, 11, 3000)
    loss[:2] = 0.0, 0.3
    expected = in_torch(random_tensors(seed), loss, splits)
    np.testing.assert_allclose(reward(loss[:, None], splits), expected, rtol=0, atol=1e-11)
    rows = reward.rows(loss[:, None])
    np.testing.assert_array_equal(rows[np.arange(3000), splits - 1], reward(loss[:, None], splits))


def test_both_files_of_the_authors_are_one_reward() -> None:
    of_pth, of_safetensors = (PublishedReward.load(published(s)) for s in (".pth", ".safetensors"))
    loss, splits = np.linspace(0, 0.3, 60), np.tile(np.arange(1, 11), 6)
    expected = in_torch(dict(load_file(published(".safetensors"))), loss, splits)
    for reward in (of_pth, of_safetensors):
        np.testing.assert_allclose(reward(loss[:, None], splits), expected, rtol=0, atol=1e-11)
    assert of_pth.rows(np.array([[0.01]]))[0, :3] == pytest.approx([0.601, 0.465, 0.379], abs=1e-3)


class _Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("touched"),))  # type: ignore[return-value]


def test_a_pickle_of_more_than_weights_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plain, inside = tmp_path / "plain.pth", tmp_path / "inside.pth"
    plain.write_bytes(pickle.dumps(_Malicious()))
    torch.save({"fc.0.weight": _Malicious()}, inside)
    for path in (plain, inside):
        with warnings.catch_warnings(record=True) as warned:  # torch's lines before our own
            warnings.simplefilter("always")
            with pytest.raises(InputError, match="not a file of plain weights") as caught:
                PublishedReward.load(path)
        assert "\n" not in str(caught.value)
        assert not warned
    assert not Path("touched").exists()


def test_wrong_reward_files_are_named(tmp_path: Path) -> None:
    tensors = random_tensors()
    wrong: dict[str, tuple[dict[str, np.ndarray], str]] = {
        "few": ({"fc.0.weight": tensors["fc.0.weight"]}, "tensors: 'fc.0.weight'"),
        "shape": ({**tensors, "fc.4.bias": np.zeros(2, np.float32)}, "shape of fc.4.bias"),
        "nan": ({**tensors, "fc.4.bias": np.full(1, nan, np.float32)}, "fc.4.bias has values"),
    }
    for name, (found, why) in wrong.items():
        path = tmp_path / f"{name}.safetensors"
        save_file(found, path)
        torch.save({k: torch.from_numpy(v) for k, v in found.items()}, path.with_suffix(".pth"))
        for suffix in (".safetensors", ".pth"):
            with pytest.raises(InputError, match=why):
                PublishedReward.load(path.with_suffix(suffix))
    brain = {name: torch.from_numpy(value).bfloat16() for name, value in tensors.items()}
    torch.save(brain, tmp_path / "brain.pth")
    save_torch(brain, tmp_path / "brain.safetensors")
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    for name, why in (
        ("brain.pth", "torch.bfloat16.* is not allowed"),
        ("brain.safetensors", "numpy lacks: .*bfloat16"),
        ("list.pth", "not a dictionary of tensors"),
        ("text.pth", "not a file of plain weights"),
        ("text.safetensors", "not a safetensors file"),
        ("missing.pth", "cannot be read"),
        ("missing.safetensors", "cannot be read"),
        ("reward.onnx", "FILE.pth or FILE.safetensors"),
    ):
        with pytest.raises(InputError, match=why) as caught:
            PublishedReward.load(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("loss", "split", "why"),
    [
        (0.31, 3, "loss: 0.31 is not allowed; allowed: 0-0.3"),
        (nan, 3, "loss: nan"),
        (0.1, 0, "split: 0 is not allowed; allowed: 1-10"),
        (0.1, 11, "split: 11"),
    ],
)
def test_a_published_reward_does_not_extrapolate(
    tmp_path: Path, loss: float, split: int, why: str
) -> None:
    save_file(random_tensors(), tmp_path / "reward.safetensors")
    reward = PublishedReward.load(tmp_path / "reward.safetensors")
    with pytest.raises(InputError, match=why):
        reward(np.array([[loss]]), np.array([split]))


def test_an_identity_tells_one_table_from_another() -> None:
    table = small_table()
    one = ObjectiveReward(TableQuality(table))
    nll = table.nll.copy()
    nll[1, 1, 3] += 1e-6
    other = ObjectiveReward(TableQuality(replace(table, nll=nll)))
    assert identity(one) == identity(ObjectiveReward(TableQuality(small_table())))
    assert identity(one) != identity(other)
    assert identity(one)["sha256"] != identity(replace(one, cost_weight=0.2))["sha256"]


def test_an_identity_of_a_real_model_measures_nothing() -> None:
    class Slow(TableQuality):
        def measured_at(self, channels: Floats) -> Floats:
            return channels

        def describe(self) -> dict[str, Any]:
            return {"windows": 2}

        def rows(self, channels: Floats) -> Floats:
            raise AssertionError("measured")

    assert identity(ObjectiveReward(Slow(small_table())))["measured"] == {"windows": 2}
