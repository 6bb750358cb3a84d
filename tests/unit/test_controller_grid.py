"""The measured table against plain transformers with the channel in a hook."""

from __future__ import annotations

import json
from math import inf
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from airsplit.checkpoint import Checkpoint, locate
from airsplit.errors import InputError
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from controller.table import PerplexityTable
from experiments.collect import CollectConfig
from experiments.designs import fading
from experiments.grid import main, measure
from experiments.prefixes import spread_windows

CONFIG = CollectConfig(window=24, windows=2, workers=1)
SEED = 5


@pytest.fixture(scope="module")
def table() -> PerplexityTable:
    return measure(CONFIG, (0.0, 1.0), (inf, 2.0), SEED)


@pytest.mark.parametrize(("sigma", "m"), [(0.0, inf), (1.0, inf), (0.0, 2.0), (1.0, 2.0)])
def test_cells_equal_transformers_with_a_hook(
    table: PerplexityTable, sigma: float, m: float
) -> None:
    checkpoint = Checkpoint(locate("airsplit-tiny"))
    model = AutoModelForCausalLM.from_pretrained(checkpoint.path, dtype=torch.float32).eval()
    radio = Radio(fading(sigma, m, SEED))
    windows = spread_windows(checkpoint, CONFIG.dataset, 24, 2)
    for split in (0, 3, 15, 16):
        layers = [*model.model.layers, model.model.norm]
        nlls = []
        for number, ids in enumerate(windows):

            def impair(
                module: torch.nn.Module, args: tuple[torch.Tensor], number: int = number
            ) -> tuple[torch.Tensor, ...]:
                sent = args[0][0].numpy()
                place = Place.replay(radio.config, len(sent), window=number, position=0)
                received = radio.transmit(sent, place)
                return (torch.from_numpy(received.values)[None], *args[1:])

            handle = layers[split].register_forward_pre_hook(impair)
            with torch.no_grad():
                tokens = torch.from_numpy(ids)[None]
                nlls.append(float(model(tokens, labels=tokens).loss))
            handle.remove()
        i, j = table.sigma.index(sigma), table.m.index(m)
        assert table.nll[i, j, split] == pytest.approx(np.mean(nlls), abs=1e-4)


def test_clean_cell_is_the_clean_model(table: PerplexityTable) -> None:
    np.testing.assert_allclose(table.row(0.0, inf), table.clean_nll, atol=1e-5)
    assert table.nll_se[0, 0].max() < 1e-5
    assert table.nll_se[1, 1].min() > 0


def test_windows_begin_with_bos_and_are_whole() -> None:
    windows = spread_windows(Checkpoint(locate("airsplit-tiny")), CONFIG.dataset, 24, 2)
    assert windows.shape == (2, 24)
    assert windows[:, 0].tolist() == [0, 0]
    assert (windows[0] != windows[1]).any()


def test_command_line_writes_the_table_with_its_provenance(
    tmp_path: Path,
) -> None:
    out = tmp_path / "table.json"
    flags = "--sigma 0 2 --m inf 1 --window 16 --windows 2 --workers 1 --seed 7"
    assert main(["--out", str(out), *flags.split()]) == 0
    provenance = json.loads(out.read_text())["provenance"]
    assert (provenance["seed"], provenance["window"], provenance["windows"]) == (7, 16, 2)
    assert PerplexityTable.load(out).sigma == (0.0, 2.0)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ("--out /nowhere/table.json", "--out"),
        ("--sigma 1 0", "--sigma"),
        ("--sigma 1 2", "--sigma"),
        ("--m 1 2", "--m"),
        ("--windows 1", "--windows"),
        ("--windows 100000", "--windows"),
        ("--window 1", "--window"),
        ("--dataset /nowhere.txt", "--dataset"),
        ("--sigma 0 -1", "--sigma"),
        ("--m inf 0.1", "m"),
    ],
)
def test_bad_flags_are_one_line(
    flags: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path / "table.json"), *flags.split()]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"grid: error: {why}")
    assert captured.err.count("\n") == 1


def test_shapes_are_checked() -> None:
    with pytest.raises(InputError, match="--m"):
        measure(CONFIG, (0.0, 1.0), (1.0, inf), SEED)
