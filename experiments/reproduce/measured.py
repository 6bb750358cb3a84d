"""What is measured on the model: the levels of Fig. 3, a table, and records for the surrogates.

Everything lies in a folder named by what was measured, is appended record by record, and is gone
on with where it ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import inf, log
from pathlib import Path
from typing import Any

import numpy as np

from airsplit.errors import InputError
from channel_emulator.config import ChannelConfig
from controller.learning.records import Records, read_records
from controller.learning.surrogate_config import SurrogateConfig
from controller.policy import ModelId
from controller.table import PerplexityTable
from experiments import designs
from experiments.collect import CollectConfig, Collector, model_name
from experiments.records import RecordFile
from experiments.reproduce.config import ReproduceConfig

Progress = Callable[[str], None]
Line = dict[str, Any]

SIGMAS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0)
SHAPES = (inf, 10.0, 3.0, 1.0)
QUICK_SIGMAS = (0.0, 0.5, 2.0, 5.0)
QUICK_SHAPES = (inf, 1.0)
LOSSES = (0.0, 0.3)
"""The paper's range."""

SHORT = 0.05
"""Of the table's range, by which that of given records may end before it does."""

RANDOM_SEED = 1
"""Of the channels for the surrogates, which have it and what follows; the table's radio draws are
seed 0: no draw is shared."""

FIG3_WINDOWS = 6
"""Times as many windows as a record's."""


@dataclass(frozen=True)
class Measured:
    """Where it is."""

    table: Path
    surrogates: dict[str, Path]
    """By the first coordinate of their state."""


def measured_folder(config: ReproduceConfig, windows: int) -> Path:
    """Of this model, text and windows, below `--out`."""
    what = [config.model, config.dataset, config.window, windows]
    digest = sha256(json.dumps(what).encode()).hexdigest()[:12]
    return config.out / "measured" / f"{model_name(config.model)}-{digest}"


def collected(
    config: ReproduceConfig,
    channels: Sequence[ChannelConfig],
    name: str,
    windows: int,
    progress: Progress,
) -> tuple[list[Line], int]:
    """The records of these channels at every split, and the size of the vocabulary."""
    folder = measured_folder(config, windows)
    folder.mkdir(parents=True, exist_ok=True)
    of = CollectConfig(
        model=config.model,
        dataset=config.dataset,
        window=config.window,
        windows=windows,
        workers=config.worker_count,
    )
    with Collector(of) as collector, RecordFile(folder / name, collector.subject) as file:
        wanted = sum(len(task.channels) for task in collector.tasks(channels, file.keys))
        for number, record in enumerate(collector.records(channels, file.keys), 1):
            file.append(record)
            if number % 200 == 0 or number == wanted:
                progress(f"{name}: {number} of {wanted} records")
        return file.records, collector.vocab_size


def measure(config: ReproduceConfig, progress: Progress) -> Measured:
    """The table and the surrogates, made where they are not there yet.

    Raises:
        InputError: no such model or text, or records that are not of it.
    """
    folder = measured_folder(config, config.window_count)
    table = folder / ("table-quick.json" if config.quick else "table.json")
    if not table.is_file():
        _table(config, progress).save(table)
    surrogates = {}
    for names, paths in _records(config, progress).items():
        records = read_records(paths)
        _require_same(records, PerplexityTable.load(table), config)
        surrogates[names] = _surrogate(records, paths, folder, config, progress)
    return Measured(table, surrogates)


def _table(config: ReproduceConfig, progress: Progress) -> PerplexityTable:
    sigmas, shapes = table_axes(config)
    channels = list(designs.grid(sigmas, shapes, (), (), seed=0))
    windows = config.window_count
    name = "table-quick.jsonl" if config.quick else "table.jsonl"
    lines, vocabulary = collected(config, channels, name, windows, progress)
    layers = int(lines[0]["model"]["layers"])
    shape = (len(sigmas), len(shapes), layers + 1)
    nll, error = np.full(shape, np.nan), np.full(shape, np.nan)
    for line in lines:
        m = inf if line["m"] == "inf" else float(line["m"])
        cell = (sigmas.index(line["sigma"]), shapes.index(m), line["split"])
        nll[cell], error[cell] = line["nll"], line["nll_se"]
    model = ModelId(str(lines[0]["model"]["name"]), layers)
    what = {"dataset": config.dataset, "window": config.window, "windows": windows, "seed": 0}
    clean, chance = float(lines[0]["clean_nll"]), log(vocabulary)
    return PerplexityTable(model, sigmas, shapes, nll, error, clean, chance, what)


def _records(config: ReproduceConfig, progress: Progress) -> dict[str, list[Path]]:
    """Files of records by the first coordinate of their state: those given, or collected ones."""
    if config.records:
        found: dict[str, list[Path]] = {}
        for path in config.records:
            found.setdefault(read_records([path]).space.names[0], []).append(path)
        return found
    faded, lossy = channel_counts(config)
    fading = designs.random_fading(faded, (0.0, SIGMAS[-1]), (1.0, inf), RANDOM_SEED)
    erasure = designs.random_erasure(lossy, LOSSES, RANDOM_SEED)
    files = {"sigma": ("fading.jsonl", fading), "loss": ("loss.jsonl", erasure)}
    windows = config.window_count
    folder = measured_folder(config, windows)
    for name, channels in files.values():
        name = _quick(name, config)
        collected(config, channels, name, windows, progress)
    return {state: [folder / _quick(name, config)] for state, (name, _) in files.items()}


def channel_counts(config: ReproduceConfig) -> tuple[int, int]:
    """Channels of the surrogates' records: with fading, with erasure."""
    return (40, 16) if config.quick else (150, 150)


def recorded(config: ReproduceConfig) -> tuple[str, str]:
    """The commands that give the same records."""
    faded, lossy = channel_counts(config)
    of = f"--seed {RANDOM_SEED} --windows {config.window_count} --window {config.window}"
    of += f" --model {config.model} --dataset {config.dataset}"
    noise = f"--sigma 0 {SIGMAS[-1]:g} --m 1 inf --out fading.jsonl"
    loss = f"--loss {LOSSES[0]:g} {LOSSES[1]:g} --out loss.jsonl"
    return (
        f"airsplit collect --random {faded} {noise} {of}",
        f"airsplit collect --random {lossy} {loss} {of}",
    )


def table_axes(config: ReproduceConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The table's sigma and m."""
    return (QUICK_SIGMAS, QUICK_SHAPES) if config.quick else (SIGMAS, SHAPES)


def _quick(name: str, config: ReproduceConfig) -> str:
    return f"quick-{name}" if config.quick else name


def _require_same(records: Records, table: PerplexityTable, config: ReproduceConfig) -> None:
    """The surrogate is held beside the table, so that both have to be of one text."""
    if records.model != table.model:
        raise InputError.of("--records: model", str(records.model), str(table.model))
    reach = table.space.to_unit(np.array([records.space.low, records.space.high]))
    if records.space.names == table.space.names and np.abs(reach - [[0], [1]]).max() > SHORT:
        spans = records.space.to_dict()
        raise InputError.of("--records: range", spans, f"about {table.space.to_dict()}")
    wanted = {"dataset": config.dataset, "window": config.window, "windows": config.window_count}
    for name, value in wanted.items():
        if records.provenance.get(name) != value:
            allowed = f"{value}, as --{name} says"
            raise InputError.of(f"--records: {name}", records.provenance.get(name), allowed)


def _surrogate(
    records: Records, paths: Sequence[Path], folder: Path, config: ReproduceConfig, say: Progress
) -> Path:
    """The folder of the surrogate of these records, trained where it is not there."""
    from controller.learning.train_surrogate import train_surrogate

    digest = sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:12]
    out = folder / f"surrogate-{records.space.names[0]}-{digest}"
    if not (out / "surrogate.json").is_file():
        say(f"surrogate of {', '.join(records.space.names)}: {len(records)} records")
        train_surrogate(records, SurrogateConfig(), lambda line: None).save(out)
    return out
