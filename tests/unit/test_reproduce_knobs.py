"""Each flag of `airsplit reproduce` changes what is measured, how much of it, and where it lies."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from airsplit.checkpoint import EMBEDDED
from airsplit.text import SAMPLE
from channel_emulator.config import ChannelConfig
from cli import collect
from cli.main import main
from experiments.collect import CollectConfig
from experiments.reproduce import measured
from experiments.reproduce.config import ReproduceConfig
from tests import families

WORDS = ("the", "a", "of", "and", "to", "in", "is", "it", "was", "lamp", "sea", "light")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama, and a tokenizer of one token a word."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("llama")
    families.make("llama", folder)
    special = {"unk_token": "<unk>", "bos_token": "<s>"}
    vocabulary = {word: n for n, word in enumerate([*special.values(), *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, special["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "change",
    [{"model": "other"}, {"dataset": "wikitext-2"}, {"window": 64}, {"windows": 9}],
    ids=lambda change: str(*change),
)
def test_what_is_measured_and_where(
    change: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class AskedError(Exception):
        pass

    def instead(config: CollectConfig) -> object:
        raise AskedError(config)

    monkeypatch.setattr(measured, "Collector", instead)
    folders, asked = set(), []
    for changed in ({}, change):
        config = ReproduceConfig(out=tmp_path, workers=3, **changed)
        folders.add(measured.measured_folder(config, config.window_count))
        with pytest.raises(AskedError) as said:
            measured.collected(config, [], "a.jsonl", config.window_count, print)
        asked.append(asdict(said.value.args[0]))
    assert len(folders) == 2
    before, after = asked
    assert before["workers"] == 3
    differ = {name: after[name] for name in before if after[name] != before[name]}
    assert differ == change


def test_quick_is_less_of_everything(tmp_path: Path) -> None:
    whole, quick = (ReproduceConfig(out=tmp_path, quick=quick) for quick in (False, True))
    assert (whole.seed_count, quick.seed_count) == (5, 3)
    assert (whole.step_count, quick.step_count) == (24_000, 6000)
    assert (whole.window_count, quick.window_count) == (4, 2)
    assert [len(axis) for axis in measured.table_axes(whole)] == [8, 4]
    assert [len(axis) for axis in measured.table_axes(quick)] == [4, 2]
    assert measured.table_axes(quick)[0] == measured.QUICK_SIGMAS
    for axis, other in zip(measured.table_axes(whole), measured.table_axes(quick), strict=True):
        assert (axis[0], axis[-1]) == (other[0], other[-1])  # of the same ranges
    assert measured.channel_counts(whole) > measured.channel_counts(quick)


@pytest.mark.parametrize(
    ("flags", "field", "value"),
    [
        (["--quick"], "quick", True),
        (["--seeds", "7"], "seeds", 7),
        (["--steps", "800"], "steps", 800),
        (["--model", "other"], "model", "other"),
        (["--dataset", "wikitext-2"], "dataset", "wikitext-2"),
        (["--window", "64"], "window", 64),
        (["--windows", "9"], "windows", 9),
        (["--workers", "3"], "workers", 3),
        (["--published-only", "--reward", "a.pth"], "embedded", False),
        (["--reward", "a.pth"], "reward", Path("a.pth")),
        (["--records", "a.jsonl", "b.jsonl"], "records", (Path("a.jsonl"), Path("b.jsonl"))),
        (["fig5", "fig3", "fig5"], "targets", ("fig5", "fig3")),
    ],
)
def test_every_flag_arrives(
    flags: list[str], field: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[ReproduceConfig] = []

    def instead(config: ReproduceConfig, command: str, progress: object) -> dict[str, Any]:
        asked.append(config)
        return {"claims": [], "report": "", "seconds": 0.0}

    monkeypatch.setattr("experiments.reproduce.run.reproduce", instead)
    for given in ([], flags):
        assert main(["reproduce", *given]) == 0
    before, after = (getattr(config, field) for config in asked)
    assert after == value != before


def parsed(command: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    collect.add_arguments(parser)
    program, name, *flags = shlex.split(command)
    assert (program, name) == ("airsplit", "collect")
    return parser.parse_args(flags)


@pytest.mark.parametrize("quick", [False, True])
def test_the_records_are_those_of_the_commands_that_are_named(
    quick: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ReproduceConfig(out=tmp_path, quick=quick, window=64)
    found: list[list[ChannelConfig]] = []

    def instead(of: object, channels: list[ChannelConfig], *rest: object) -> tuple[list[Any], int]:
        found.append(channels)
        return [], 0

    monkeypatch.setattr(measured, "collected", instead)
    measured._records(config, print)
    commands = [parsed(command) for command in measured.recorded(config)]
    assert [collect.channels_of(args) for args in commands] == found
    for args in commands:
        assert (args.windows, args.window) == (config.window_count, 64)
        assert (args.model, args.dataset) == (EMBEDDED, SAMPLE)


def test_any_model(llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["fig3", "--quick", "--model", str(llama), "--window", "32", "--workers", "1"]
    assert main(["reproduce", *flags, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert f"Fig. 3, {llama.name}: AWGN, absolute σ: a worse channel gives" in said
    text = (tmp_path / "out" / "report.md").read_text()
    assert f"{llama.name} on 12 windows of 32 tokens of sample" in text
    lines = (tmp_path / "out" / "fig3.csv").read_text().splitlines()
    layers = families.config_of("llama").num_hidden_layers
    assert len(lines) == 1 + 8 * (layers + 1)
