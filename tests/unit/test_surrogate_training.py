"""Training on records of a known function: it is found, held out honestly, and each knob counts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from airsplit.errors import AirSplitError, InputError
from cli.main import main
from controller.learning import surrogate_fit
from controller.learning.records import Records, read_records
from controller.learning.surrogate import Surrogate
from controller.learning.surrogate_config import SurrogateConfig
from controller.learning.surrogate_fit import fit, fit_until
from controller.learning.surrogate_scores import baselines, errors
from controller.learning.train_surrogate import hold_out, train_surrogate, unseen_splits
from tests.surrogate_support import LAYERS, erasure, fading, record, true_nll, written

QUICK = SurrogateConfig(hidden=(32, 32), folds=2, epochs=50, learning_rate=1e-2, batch_size=64)
BRIEF = replace(QUICK, hidden=(16,), epochs=3)


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    return read_records([written(tmp_path_factory.mktemp("records") / "a.jsonl", fading(36))])


@pytest.fixture(scope="module")
def trained(records: Records) -> Surrogate:
    return train_surrogate(records, QUICK, quiet)


@pytest.fixture(scope="module")
def brief(records: Records) -> Surrogate:
    return train_surrogate(records, BRIEF, quiet)


def test_the_known_function_is_found(trained: Surrogate) -> None:
    scores = trained.record["scores"]
    assert scores["test"]["r2"] > 0.98
    assert scores["test_unseen_splits"]["r2"] > 0.97
    for name in ("mean", "nearest"):
        assert scores["test"]["mse"] < 0.5 * scores["baselines"][name]["mse"]
    # and at channels that no record is of
    channels = np.array([[0.7, 0.3], [2.0, 0.6], [3.5, 0.15]])
    truth = [[true_nll(s, 1 / v, 0.0, p) for p in range(LAYERS + 1)] for s, v in channels]
    assert np.abs(trained.rows(channels) - truth).mean() < 0.1


def test_loss_is_a_state_too(tmp_path: Path) -> None:
    lost = read_records([written(tmp_path / "loss.jsonl", erasure(16))])
    found = train_surrogate(lost, QUICK, quiet)
    assert found.space.names == ("loss",)
    assert found.record["scores"]["test"]["r2"] > 0.98


def test_the_same_seed_gives_the_same_weights(records: Records) -> None:
    one, two = (train_surrogate(records, BRIEF, quiet) for _ in range(2))
    for layer, other in zip(one.layers, two.layers, strict=True):
        for part, twin in zip(layer, other, strict=True):
            assert part.tobytes() == twin.tobytes()


@pytest.mark.parametrize(
    "change",
    [
        {"hidden": (32,)},
        {"folds": 3},
        {"epochs": 2},
        {"learning_rate": 1e-3},
        {"batch_size": 32},
        {"test_share": 0.4},
        {"seed": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_knob_changes_a_number(
    records: Records, brief: Surrogate, change: dict[str, Any]
) -> None:
    other = train_surrogate(records, replace(BRIEF, **change), quiet)
    assert other.record["scores"] != brief.record["scores"]


def test_whole_channels_are_held_out_and_the_edges_train(records: Records) -> None:
    number = records.channel_number()
    held: set[int] = set()
    for seed in range(20):
        test = hold_out(records, 0.2, np.random.default_rng(seed))
        assert not set(number[test]) & set(number[~test])
        assert len(set(number[test])) == 8  # of 40 channels
        held |= set(number[test])
    at_edge = (records.channels == records.space.low) | (records.channels == records.space.high)
    assert not held & set(number[at_edge.any(axis=1)])
    assert len(held) > 30


def test_an_unseen_split_is_in_no_record_of_its_network(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = hold_out(records, 0.2, np.random.default_rng(0))
    seen: list[Records] = []

    def spy(known: Records, config: SurrogateConfig, epochs: int) -> Surrogate:
        seen.append(known)
        return fit(known, config, epochs)

    monkeypatch.setattr("controller.learning.train_surrogate.fit", spy)
    found = unseen_splits(records, test, BRIEF, 1)
    assert found is not None
    asked, answers = found
    assert sorted(set(asked.split)) == list(range(1, LAYERS))
    assert len(asked) == 8 * (LAYERS - 1)
    assert np.isfinite(answers).all()
    missing = [sorted(set(range(LAYERS + 1)) - set(known.split)) for known in seen]
    assert missing == [[1, 5], [2, 6], [3, 7], [4]]
    channels = {tuple(channel) for channel in asked.channels}
    assert not any(channels & {tuple(channel) for channel in known.channels} for known in seen)


def test_a_split_that_no_test_channel_has_is_left_out(records: Records) -> None:
    test = hold_out(records, 0.2, np.random.default_rng(0))
    here = ~test | ~np.isin(records.split, [1, 5])
    found = unseen_splits(records.chosen(here), test[here], BRIEF, 1)
    assert found is not None
    assert sorted(set(found[0].split)) == [2, 3, 4, 6, 7]


@pytest.mark.parametrize("patience", [3, 7])
def test_training_stops_early(
    records: Records, monkeypatch: pytest.MonkeyPatch, patience: int
) -> None:
    epochs = []
    run = surrogate_fit._Training.run

    def counted(training: Any, passes: int) -> Surrogate:
        epochs.append(passes)
        return run(training, passes)

    monkeypatch.setattr(surrogate_fit._Training, "run", counted)
    test = hold_out(records, 0.3, np.random.default_rng(0))
    chance = np.random.default_rng(0)
    # Outside, NLL is chance: what is learnt inside soon makes it worse.
    outside = records.chosen(test)
    outside = replace(outside, nll=chance.permutation(outside.nll))
    config = replace(BRIEF, epochs=500, patience=patience)
    found, best = fit_until(records.chosen(~test), outside, config)
    assert sum(epochs) == best + patience < 500
    shorter, _ = fit_until(records.chosen(~test), outside, replace(config, epochs=best))
    assert found.layers[0][0].tobytes() == shorter.layers[0][0].tobytes()


def test_training_that_diverges_says_so(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(inputs: int, config: SurrogateConfig) -> torch.nn.Sequential:
        network = torch.nn.Sequential(torch.nn.Linear(inputs, 1))
        torch.nn.init.constant_(network[0].bias, float("nan"))
        return network

    monkeypatch.setattr(surrogate_fit, "_mlp", broken)
    config = replace(BRIEF, patience=1)
    with pytest.raises(AirSplitError, match="diverged"):
        fit(records, config, 1)
    with pytest.raises(AirSplitError, match="diverged"):
        fit_until(records, records, config)


def test_errors_are_what_they_say() -> None:
    space = read_space()
    asked = replace(space, nll=np.array([4.0, 5.0]), nll_se=np.array([0.1, 0.3]))
    found = errors(asked, np.array([4.1, 4.7]), 0.5)
    assert found["mae_nll"] == pytest.approx(0.2)
    assert found["mae"] == pytest.approx(0.4)
    assert found["mse"] == pytest.approx((0.01 + 0.09) / 2 / 0.25)
    assert found["r2"] == pytest.approx(1 - 0.1 / 0.5)
    assert found["monte_carlo_nll"] == pytest.approx(0.2)
    assert found["mae_over_monte_carlo"] == pytest.approx(1.0)
    apart = [np.exp(4.1) - np.exp(4), np.exp(5) - np.exp(4.7)]
    assert found["mae_perplexity"] == pytest.approx(np.mean(apart))
    relative = [np.exp(0.1) - 1, 1 - np.exp(-0.3)]
    assert found["mae_perplexity_relative"] == pytest.approx(np.mean(relative))


def read_space() -> Records:
    """Two records at one split; the NLL is for the test to say."""
    from airsplit.layer_range import LayerRange
    from controller.learning.space import ChannelSpace
    from controller.policy import ModelId

    return Records(
        model=ModelId("tiny", LAYERS),
        space=ChannelSpace(("loss",), (0.0,), (0.4,)),
        splits=LayerRange(0, LAYERS + 1),
        channels=np.array([[0.0], [0.4]]),
        split=np.array([3, 3]),
        nll=np.array([3.5, 4.5]),
        clean_nll=3.5,
        nll_se=np.zeros(2),
    )


def test_baselines_answer_as_they_say() -> None:
    known = read_space()
    asked = replace(known, channels=np.array([[0.1], [0.3]]))
    found = baselines(known, asked)
    assert found["mean"].tolist() == [4.0, 4.0]
    assert found["nearest"].tolist() == [3.5, 4.5]
    assert found["linear"] == pytest.approx([3.75, 4.25])


@pytest.mark.parametrize(
    ("lines", "config", "said"),
    [
        ([record(1.0, split=p) for p in range(9)], {}, "two values of sigma, and have one"),
        ([line for line in fading(9) if line["m"] == "inf"], {}, "collect with --m inf 1 too"),
        (
            [record(sigma, 1.0, split=p) for sigma in (0.0, 1.0) for p in range(9)],
            {},
            "two values of m",
        ),
        ([record(loss=0.1, split=p) for p in range(9)], {}, "two values of loss"),
        (fading(0), {}, "0 channels between the least and greatest"),
        (fading(3), {"test_share": 0.7}, "channels between the least and greatest"),
        (fading(3), {"folds": 50}, "--folds: 50 is not allowed; allowed: up to 6"),
        ([line for line in fading(9) if line["split"] == 4], {}, "splits: '[4, 5)' is not allowed"),
        ([{**line, "nll": 4.0} for line in fading(9)], {}, "nll: all the same"),
    ],
)
def test_too_few_records_are_named(
    tmp_path: Path, lines: list[dict[str, Any]], config: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError) as error:
        train_surrogate(
            read_records([written(tmp_path / "a.jsonl", lines)]), replace(QUICK, **config), quiet
        )
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ({"hidden": ()}, "--hidden"),
        ({"hidden": (0,)}, "--hidden"),
        ({"folds": 1}, "--folds"),
        ({"epochs": 0}, "--epochs"),
        ({"patience": 0}, "--patience"),
        ({"learning_rate": float("nan")}, "--lr"),
        ({"batch_size": 0}, "--batch-size"),
        ({"test_share": 1.0}, "--test-share"),
        ({"seed": -1}, "--seed"),
    ],
)
def test_a_knob_out_of_range_is_named(change: dict[str, Any], flag: str) -> None:
    with pytest.raises(InputError, match=f"{flag}: .* is not allowed"):
        SurrogateConfig(**change)


def test_the_command_trains_and_ends_with_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "a.jsonl", fading(20))
    words = ["train", "surrogate", "--records", str(path), "--out", str(tmp_path / "s")]
    words += ["--hidden", "16", "--folds", "2", "--epochs", "2", "--lr", "0.01", "--seed", "3"]
    assert main([*words, "--json"]) == 0
    out = capsys.readouterr().out.splitlines()
    found = json.loads(out[-1])
    assert {"test_mse", "test_mae", "records", "seconds"} <= set(found)
    assert found["records"] == 24 * 9
    loaded = Surrogate.load(tmp_path / "s")
    assert loaded.record["config"]["seed"] == 3
    assert loaded.record["config"]["hidden"] == [16]
    assert loaded.record["scores"]["test"]["mse"] == found["test_mse"]
    assert loaded.record["command"].startswith("airsplit train surrogate --records")
    assert "--hidden 16 --folds 2 --epochs 2 --lr 0.01 --seed 3" in loaded.record["command"]
    assert main(words) == 0
    assert "held-out channels" in capsys.readouterr().out


def test_the_command_refuses_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "a.jsonl", [*fading(20), record(sigma=-1.0)])
    words = ["train", "surrogate", "--records", str(path), "--out", str(tmp_path / "s")]
    assert main(words) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "a.jsonl:217: sigma: -1.0 is not allowed" in said[0]
    assert not (tmp_path / "s").exists()
