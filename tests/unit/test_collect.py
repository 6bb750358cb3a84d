"""Records against plain transformers with the channel in a hook, and what each flag changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch._dynamo.utils import counters
from transformers import AutoModelForCausalLM

from airsplit import tensor_codec
from airsplit.checkpoint import Checkpoint, locate
from airsplit.errors import InputError
from airsplit.frames import ITEM_BYTES
from airsplit.layer_range import LayerRange
from airsplit.partition import ModelPartition
from airsplit.tensor_codec import dtype_to_proto
from channel_emulator import codec
from channel_emulator.config import PRESETS, ChannelConfig
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from cli.main import main
from experiments.collect import CollectConfig, Collector
from experiments.collect_worker import warm_up
from experiments.designs import erasure, fading, parse_splits, random_erasure, random_fading, snr
from experiments.prefixes import Prefixes
from experiments.records import excess_error, key_of
from experiments.scoring import Scorer
from tests.families import make

TOKENS, WINDOWS = 24, 3
IDS = np.random.default_rng(5).integers(2, 97, (WINDOWS, TOKENS))


def plain(model: Any, channel: ChannelConfig, split: int) -> list[float]:
    """NLL of each window: the whole model, the channel before layer `split`.

    What crosses goes through the emulator's codec, as a frame's payload does.
    """
    radio = Radio(channel)
    wire = dtype_to_proto(model.dtype)
    nlls = []
    for n, row in enumerate(IDS):

        def impair(
            module: torch.nn.Module, args: tuple[torch.Tensor], n: int = n
        ) -> tuple[torch.Tensor, ...]:
            place = Place.replay(channel, TOKENS, window=n, offset=n * TOKENS)
            sent = codec.decode(tensor_codec.encode(args[0][0]), wire, args[0].shape[1:])
            payload = codec.encode(radio.transmit(sent, place, ITEM_BYTES[wire]).values, wire)
            return (tensor_codec.decode(payload, args[0].shape, model.dtype), *args[1:])

        layers = [*model.model.layers, model.model.norm]
        handle = layers[split].register_forward_pre_hook(impair)
        with torch.no_grad():
            tokens = torch.from_numpy(row)[None]
            nlls.append(float(model(tokens, labels=tokens).loss))
        handle.remove()
    return nlls


CHANNELS = [
    fading(0.5, inf, 3),
    fading(0.5, 1.0, 4),
    erasure(0.2, 5),
    snr(8.0, 6),
    fading(0.0, inf, 0),
]


def nlls_of(partition: ModelPartition, split: int) -> Any:
    return Scorer(partition, Prefixes.of(partition, IDS, range(5))).nlls(CHANNELS, split)


@pytest.mark.parametrize("family", ["llama", "mistral-sliding", "gemma3", "gemma2"])
@pytest.mark.parametrize("batch_tokens", [1, 2 * TOKENS, 100 * TOKENS])
def test_records_equal_the_unsplit_model(
    tmp_path: Path, family: str, batch_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.prefixes.CPU_BATCH_TOKENS", batch_tokens)
    model = make(family, tmp_path)
    partition = ModelPartition(Checkpoint(tmp_path))
    for split in range(5):
        for row, channel in zip(nlls_of(partition, split), CHANNELS, strict=True):
            np.testing.assert_allclose(row, plain(model, channel, split), atol=2e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_records_in_16_bits_equal_the_unsplit_model_in_16_bits(
    tmp_path: Path, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.prefixes.CPU_BATCH_TOKENS", 1)  # a window, as transformers
    make("llama", tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype).eval()
    partition = ModelPartition(Checkpoint(tmp_path), dtype=dtype)
    exactly = ModelPartition(Checkpoint(tmp_path))
    for split in range(5):
        found = nlls_of(partition, split)
        for row, channel in zip(found, CHANNELS, strict=True):
            np.testing.assert_allclose(row, plain(model, channel, split), atol=2e-5)
        assert np.abs(found - nlls_of(exactly, split)).max() > 1e-4


def test_what_is_beyond_16_bits_becomes_the_largest_number(tmp_path: Path) -> None:
    make("llama", tmp_path)
    partition = ModelPartition(Checkpoint(tmp_path), dtype=torch.float16)
    scorer = Scorer(partition, Prefixes.of(partition, IDS, [4]))
    assert np.isfinite(scorer.nlls([fading(1e5, inf, 3)], 4)).all()


def test_packets_are_of_what_crosses(tmp_path: Path) -> None:
    """Half the bytes: twice the elements in a packet that is lost."""
    make("llama", tmp_path)
    knobs = {"loss_unit": "packet", "packet_bytes": 16, "loss": 0.3}
    channel = PRESETS["erasure"].changed(knobs)
    sizes = []
    for dtype in (torch.float32, torch.bfloat16):
        partition = ModelPartition(Checkpoint(tmp_path), dtype=dtype)
        scorer = Scorer(partition, Prefixes.of(partition, IDS, [2]))
        sizes.append(scorer.nlls([channel], 2))
    assert np.abs(sizes[0] - sizes[1]).min() > 0.01


@pytest.mark.slow
@pytest.mark.skipif(which("g++") is None, reason="there is no g++")
def test_compiled_records_equal_others(tmp_path: Path) -> None:
    """Batches of 3 and 12 windows; layers with a mask, layers without, the head: three graphs."""
    make("gemma3", tmp_path)
    partitions = [ModelPartition(Checkpoint(tmp_path), compile=yes) for yes in (False, True)]
    counters.clear()
    prefixes = [Prefixes.of(partition, IDS, range(5)) for partition in partitions]
    assert counters["stats"]["unique_graphs"] == 3
    plainly, compiled = map(Scorer, partitions, prefixes)
    for split in range(5):
        expected = plainly.nlls(CHANNELS, split)
        np.testing.assert_allclose(compiled.nlls(CHANNELS, split), expected, atol=2e-5)
    assert counters["stats"]["unique_graphs"] == 3


@pytest.mark.slow
@pytest.mark.skipif(which("g++") is None, reason="there is no g++")
def test_nothing_is_compiled_after_the_warm_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three windows in batches of one and two, which are compiled apart."""
    monkeypatch.setattr("experiments.prefixes.CPU_BATCH_TOKENS", 2 * TOKENS)
    make("llama", tmp_path)
    partition = ModelPartition(Checkpoint(tmp_path), compile=True)
    counters.clear()
    warm_up(partition, IDS)
    assert counters["stats"]["unique_graphs"] == 3  # a layer of each size, and the head
    Scorer(partition, Prefixes.of(partition, IDS, [2])).nlls(CHANNELS[:1], 2)
    assert counters["stats"]["unique_graphs"] == 3


def test_whole_contexts_equal_cached_ones(tmp_path: Path) -> None:
    make("llama", tmp_path)
    partition = ModelPartition(Checkpoint(tmp_path))
    hidden = torch.randn(2, 9, 32, generator=torch.Generator().manual_seed(0))
    whole = partition.run_whole(hidden, LayerRange(1, 4))
    for row, expected in zip(hidden, whole, strict=True):
        run = partition.run(row[None], LayerRange(1, 4), partition.new_cache(9), 0)
        torch.testing.assert_close(run[0], expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(InputError, match="layers"):
        partition.run_whole(hidden, LayerRange(1, 5))
    with pytest.raises(InputError, match="tokens"):
        partition.run_whole(torch.zeros(1, 129, 32), LayerRange(1, 4))


def test_interval_is_students() -> None:
    nlls, clean = np.array([5.0, 5.5, 6.5]), np.array([4.0, 4.4, 5.3])
    se, margin = excess_error(nlls, clean)
    expected = stats.ttest_rel(nlls, clean).confidence_interval(0.95)
    assert se == pytest.approx(np.std([1.0, 1.1, 1.2], ddof=1) / 3**0.5)
    assert 1.1 + margin == pytest.approx(expected.high)


def test_random_designs() -> None:
    channels = random_fading(200, (0.0, 5.0), (1.0, inf), seed=3)
    assert channels == random_fading(200, (0.0, 5.0), (1.0, inf), seed=3)
    assert channels != random_fading(200, (0.0, 5.0), (1.0, inf), seed=4)
    assert len({channel.seed for channel in channels}) == 200
    coordinates = [np.log1p((channel.sigma or 0) / 0.25) / np.log1p(20) for channel in channels]
    shares = [1 / channel.m if channel.fading != "none" else 0.0 for channel in channels]
    for uniform in (coordinates, shares):
        assert stats.kstest(uniform, "uniform").pvalue > 0.01
    losses = [channel.loss for channel in random_erasure(200, (0.1, 0.3), seed=3, draws=2)]
    assert len(losses) == 400
    assert 0.1 <= min(losses) < max(losses) <= 0.3


@pytest.mark.parametrize(
    ("text", "splits"),
    [("all", (0, 1, 2, 3, 4)), ("0-2", (0, 1, 2)), ("4,1", (1, 4)), ("0,2-3,3", (0, 2, 3))],
)
def test_splits(text: str, splits: tuple[int, ...]) -> None:
    assert parse_splits(text, 4) == splits


def run(out: Path, flags: str, capsys: pytest.CaptureFixture[str]) -> tuple[Any, list[Any]]:
    code = main(["collect", "--out", str(out), *flags.split(), "--json"])
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == 0
    return summary, [json.loads(line) for line in out.read_text().splitlines()]


BASE = "--window 16 --windows 2 --workers 1"


@pytest.fixture
def nll(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], list[float]]:
    def measured(flags: str) -> list[float]:
        out = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl"
        return [line["nll"] for line in run(out, flags, capsys)[1]]

    return measured


def test_every_channel_and_split_is_another_number(nll: Callable[[str], list[float]]) -> None:
    found = nll(f"--sigma 1 2 --m inf 1 --loss 0.3 --snr 3 --split 2,3 {BASE}")
    assert len(set(found)) == len(found) == 12


def test_every_knob_changes_a_number(nll: Callable[[str], list[float]], tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("The sea was calm, and nobody on the pier could say for how long. " * 20)
    make("llama", tmp_path / "model", vocab_size=4096)
    for source in locate("airsplit-tiny").glob("tokenizer*"):
        (tmp_path / "model" / source.name).write_bytes(source.read_bytes())
    base = f"--sigma 1 --split 15 {BASE}"
    expected = nll(base)
    for flags in (
        "--seed 1",
        "--draws 2",
        "--window 17",
        "--windows 3",
        f"--dataset {text}",
        f"--split 3 --model {tmp_path / 'model'}",
        "--random 1 --sigma 0 5 --m 1 inf",
        "--dtype bf16",
    ):
        assert nll(f"{base} {flags}") != expected, flags


def test_nothing_is_measured_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.jsonl"
    run(out, f"--sigma 1 --split 15 {BASE}", capsys)
    summary, lines = run(out, f"--sigma 1 2 --split 15,16 {BASE}", capsys)
    assert (summary["records"], summary["new"]) == (4, 3)
    assert len({(line["sigma"], line["split"]) for line in lines}) == 4
    before = out.read_bytes()
    assert run(out, f"--sigma 1 2 --split 15,16 {BASE}", capsys)[0]["new"] == 0
    assert out.read_bytes() == before
    assert run(tmp_path / "b.jsonl", f"--sigma 1 1.0 1 --split 15 {BASE}", capsys)[0]["new"] == 1


def test_a_file_is_of_one_dtype(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.jsonl"
    flags = f"--sigma 1 --split 16 {BASE}"
    summary, lines = run(out, f"{flags} --dtype bf16", capsys)
    assert (summary["dtype"], lines[0]["dtype"]) == ("bf16", "bf16")
    before = out.read_bytes()
    assert main(["collect", "--out", str(out), *flags.split()]) == 2
    assert "line 1: dtype: 'bf16' is not allowed" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert run(out, f"{flags} --dtype bf16", capsys)[0]["new"] == 0


@pytest.mark.slow
@pytest.mark.skipif(which("g++") is None, reason="there is no g++")
def test_a_file_in_bf16_is_continued_compiled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.jsonl"
    flags = f"--sigma 1 --dtype bf16 {BASE}"
    first = run(out, f"{flags} --split 15", capsys)[1][0]
    summary, lines = run(out, f"{flags} --split 15,16 --compile", capsys)
    assert (summary["compile"], summary["records"], summary["new"]) == (True, 2, 1)
    assert lines[0] == first
    assert lines[1]["clean_nll"] != first["clean_nll"]  # it is another order of sums


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ("", "--sigma, --loss, --snr: none"),
        ("--m 1", "--m: has no effect"),
        ("--sigma -1", "sigma: -1"),
        ("--loss 1", "loss: 1"),
        ("--sigma 1 --m 0.1", "m: 0.1"),
        ("--sigma 1 --split 17", "--split: '17'"),
        ("--sigma 1 --split a-b", "--split: 'a-b'"),
        ("--sigma 1 --windows 1", "--windows: 1"),
        ("--sigma 1 --windows 100000", "--windows: 100000"),
        ("--sigma 1 --window 1", "--window: 1"),
        ("--sigma 1 --window 2000", "--window: 2000"),
        ("--sigma 1 --workers 0", "--workers: 0"),
        ("--sigma 1 --device cuda:99", "--device: 'cuda:99'"),
        ("--sigma 1 --dtype int8", "--dtype: 'int8' is not allowed; allowed: fp32, fp16, bf16"),
        ("--sigma 1 --dataset /nowhere.txt", "--dataset"),
        ("--sigma 1 --model /nowhere", "--model"),
        ("--sigma 1 --draws 0", "--draws: 0"),
        ("--random 0 --sigma 0 1 --m 1 inf", "--random: 0"),
        ("--random 3 --sigma 1 --m 1 inf", "--sigma: [1.0]"),
        ("--random 3 --sigma 0 1", "--m: []"),
        ("--random 3 --sigma 0 1 --loss 0 0.1", "--random"),
        ("--random 3 --snr 1 2", "--random"),
        ("--random 3 --sigma 0 1 --m 1 inf --seed -1", "--seed: -1"),
        ("--random 3 --loss 0 0.1 --seed -1", "--seed: -1"),
        ("--sigma 1 --seed -1", "seed: -1"),
    ],
)
def test_bad_input_is_one_line(
    flags: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["collect", "--out", str(tmp_path / "a.jsonl"), *flags.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"airsplit collect: error: {why}")
    assert error.count("\n") == 1


@pytest.mark.parametrize("flags", ["--sigma nan", "--sigma x", "--loss -inf"])
def test_what_is_no_number_is_refused(
    flags: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["collect", "--out", str(tmp_path / "a.jsonl"), *flags.split()])
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("out", [".", "/nowhere/a.jsonl"])
def test_out_has_to_be_a_file(out: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["collect", "--out", out, "--sigma", "1"]) == 2
    assert capsys.readouterr().err.startswith("airsplit collect: error: --out")


def test_groups_hold_what_is_unknown() -> None:
    config = CollectConfig(window=16, windows=2, splits="15,16", workers=1)
    with Collector(config) as collector:
        channels = [fading(1.0, inf, 0), erasure(0.1, 0)]
        first = next(collector.records(channels))
        left = collector.tasks(channels, {first.key})
    assert sum(len(task.channels) for task in left) == 3


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize(
    ("device", "workers", "devices", "threads"),
    [
        ("cuda", None, ["cuda:0", "cuda:1", "cuda:2"], 2),
        ("cuda", 2, ["cuda:0", "cuda:1"], 4),
        ("cuda", 5, ["cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:1"], 1),
        ("cuda:1", None, ["cuda:1"], 8),
        ("cuda:1", 2, ["cuda:1", "cuda:1"], 4),
        ("cpu", None, ["cpu"] * 8, 1),
        ("cpu", 3, ["cpu"] * 3, 2),
        ("cpu", 9, ["cpu"] * 9, 1),
    ],
)
def test_workers_take_turns_at_the_devices(
    device: str,
    workers: int | None,
    devices: list[str],
    threads: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("experiments.collect._cores", lambda: 8)
    config = CollectConfig(device=device, workers=workers)
    assert config.devices == devices
    assert config.threads == threads


@pytest.mark.usefixtures("three_gpus")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"cuda:3.*\(3 CUDA devices"):
        CollectConfig(device="cuda:3")


@pytest.mark.usefixtures("three_gpus")
def test_a_gpus_task_has_as_many_channels_as_fill_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The grouping of a GPU, and what comes of it; the arithmetic is done here."""
    monkeypatch.setattr("experiments.collect.CUDA_BATCH_TOKENS", 100)  # thrice two windows of 16
    config = CollectConfig(window=16, windows=2, splits="15,16", workers=1)
    channels = [fading(0.5, inf, seed) for seed in range(7)]
    with Collector(config) as collector:
        alone = {record.key: record for record in collector.records(channels)}
        collector.config = replace(config, device="cuda")
        sizes = [len(task.channels) for task in collector.tasks(channels)]
        assert sizes == [3, 3, 3, 3, 1, 1]
        known = {key_of(channels[1], 15), *(key_of(channels[6], split) for split in (15, 16))}
        assert [len(task.channels) for task in collector.tasks(channels, known)] == [2, 3, 3, 3]
        together = {record.key: record for record in collector.records(channels)}
        assert together.keys() == alone.keys()
        for key, record in together.items():
            assert record.nll == pytest.approx(alone[key].nll, abs=1e-5)
        monkeypatch.setattr("experiments.collect.CUDA_BATCH_TOKENS", 1)
        assert {len(task.channels) for task in collector.tasks(channels)} == {1}
