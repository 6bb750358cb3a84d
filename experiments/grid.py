"""Measures how perplexity depends on the channel and on the split: the controller's table.

The model runs in this process and the emulator's own `Radio` impairs the residual stream before
layer p, for every cell of (sigma, m) x p. Every split meets the same random draws, so that cells
differ by what crosses and not by luck. The clean prefix is computed once per window.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isinf, log, sqrt
from pathlib import Path

import numpy as np
import torch

from airsplit.checkpoint import Checkpoint, locate
from airsplit.command_line import Parser, report_errors
from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from airsplit.partition import ModelPartition
from airsplit.perplexity import windows
from airsplit.text import SAMPLE, load_text, load_tokenizer
from channel_emulator.config import PRESETS, ChannelConfig
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from controller.policy import ModelId
from controller.table import PerplexityTable

SIGMAS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0)
SHAPES = (inf, 10.0, 3.0, 1.0)


@dataclass(frozen=True, slots=True)
class GridConfig:
    """What is measured.

    Raises:
        InputError: a value is out of its range.
    """

    model: str = "airsplit-tiny"
    dataset: str = SAMPLE
    sigmas: tuple[float, ...] = SIGMAS
    """Absolute standard deviations of the noise, ascending from 0."""

    shapes: tuple[float, ...] = SHAPES
    """Nakagami m, descending from infinity: preset awgn; below it preset nakagami, per element."""

    window: int = 256
    """Tokens of a window, the beginning-of-text token included."""

    windows: int = 4
    """Windows per cell, spread evenly over the text."""

    seed: int = 0
    """Of the channel's random draws."""

    def __post_init__(self) -> None:
        if self.windows < 2:
            raise InputError.of("--windows", self.windows, "at least 2, for a standard error")
        for flag, axis in (("--sigma", self.sigmas), ("--m", [-m for m in self.shapes])):
            if len(axis) < 2 or list(axis) != sorted(set(axis)):
                order = "ascending" if flag == "--sigma" else "descending"
                raise InputError.of(flag, list(map(abs, axis)), f"2 or more numbers, {order}")
        if self.sigmas[0] != 0 or not isinf(self.shapes[0]):
            raise InputError("--sigma, --m: have to begin with 0 and inf, the clean channel")
        for m in self.shapes:  # refuses what the emulator would, before anything is measured
            self.channel(self.sigmas[-1], m)

    def channel(self, sigma: float, m: float) -> ChannelConfig:
        """The emulator's configuration of one cell."""
        if isinf(m):
            return PRESETS["awgn"].changed({"sigma": sigma, "seed": self.seed})
        return PRESETS["nakagami"].changed({"sigma": sigma, "m": m, "seed": self.seed})


def measure(config: GridConfig, progress: Callable[[str], None] = print) -> PerplexityTable:
    """The table of one model; `progress` gets a line per channel.

    Raises:
        InputError: no such model or text, or a text that is too short.
    """
    checkpoint = Checkpoint(locate(config.model))
    partition = ModelPartition(checkpoint)
    texts = [Window.of(partition, ids, n) for n, ids in enumerate(_windows(config, checkpoint))]
    layers = partition.facts.layers
    nlls = np.empty((len(config.sigmas), len(config.shapes), layers + 1, len(texts)))
    started = time.monotonic()
    for i, sigma in enumerate(config.sigmas):
        for j, m in enumerate(config.shapes):
            radio = Radio(config.channel(sigma, m))
            for p in range(layers + 1):
                nlls[i, j, p] = [text.nll_through(radio, p) for text in texts]
            seconds = time.monotonic() - started
            ends = ", ".join(f"p={p}: {nlls[i, j, p].mean():.3f}" for p in (0, layers // 2, layers))
            progress(f"sigma={sigma:g} m={m:g}: NLL {ends} ({seconds:.0f} s)")
    clean = np.array([text.clean_nll for text in texts])
    return PerplexityTable(
        model=ModelId(_name(config.model), layers),
        sigma=config.sigmas,
        m=config.shapes,
        nll=nlls.mean(axis=-1),
        nll_se=(nlls - clean).std(axis=-1, ddof=1) / sqrt(len(texts)),
        clean_nll=float(clean.mean()),
        chance_nll=log(partition.facts.vocab_size),
        provenance={
            "fingerprint": partition.facts.fingerprint,
            "dataset": config.dataset,
            "window": config.window,
            "windows": config.windows,
            "seed": config.seed,
            "dtype": "fp32",
            "channels": "m = inf: awgn with sigma; m < inf: nakagami per element with sigma and m",
            "nakagami": config.channel(1.0, 1.0).to_dict(),
            "clean_perplexity": round(float(np.exp(clean.mean())), 4),
        },
    )


@dataclass(frozen=True, slots=True)
class Window:
    """One window of text, with the residual stream before every layer."""

    partition: ModelPartition
    number: int
    ids: torch.Tensor
    """[tokens]."""

    prefixes: tuple[torch.Tensor, ...]
    """For p = 0..L: what crosses at split p, [1, tokens, hidden_size]."""

    clean_nll: float
    """Mean over the tokens but the first, in nats."""

    @classmethod
    def of(cls, partition: ModelPartition, ids: Sequence[int], number: int) -> Window:
        tokens = torch.tensor(ids)
        prefixes = [partition.embed(tokens)]
        cache = partition.new_cache(len(ids))
        for layer in range(partition.facts.layers):
            step = LayerRange(layer, layer + 1)
            prefixes.append(partition.run(prefixes[-1], step, cache, 0))
        clean = float(partition.nll(prefixes[-1], tokens[1:]).mean())
        return cls(partition, number, tokens, tuple(prefixes), clean)

    def nll_through(self, radio: Radio, split: int) -> float:
        """Mean NLL in nats where the radio carries what crosses at `split`."""
        sent = self.prefixes[split][0].numpy()
        before = self.number * len(sent)
        place = Place.replay(radio.config, len(sent), window=self.number, offset=before)
        received = radio.transmit(sent, place)
        hidden = torch.from_numpy(received.values)[None]
        cache = self.partition.new_cache(len(self.ids))
        layers = LayerRange(split, self.partition.facts.layers)
        hidden = self.partition.run(hidden, layers, cache, 0)
        return float(self.partition.nll(hidden, self.ids[1:]).mean())


def _name(model: str) -> str:
    """A hub id as it is, a directory by its own name."""
    path = Path(model).expanduser()
    return path.resolve().name if path.is_dir() else model


def _windows(config: GridConfig, checkpoint: Checkpoint) -> list[list[int]]:
    """`config.windows` whole windows, evenly spread over the text."""
    tokenizer = load_tokenizer(checkpoint.path)
    ids = tokenizer.encode(load_text(config.dataset), add_special_tokens=False)
    cut = windows(ids, config.window, tokenizer.bos_token_id)
    whole = [window for window in cut if len(window) == config.window]
    if len(whole) < config.windows:
        allowed = f"up to {len(whole)} of {config.window} tokens in {config.dataset}"
        raise InputError.of("--windows", config.windows, allowed)
    return [whole[int(n)] for n in np.linspace(0, len(whole) - 1, config.windows)]


def main(argv: Sequence[str] | None = None) -> int:
    defaults = GridConfig()
    parser = Parser(
        prog="python -m experiments.grid",
        description="Measures NLL over (sigma, m, p) and writes the controller's table as JSON.",
        epilog="example: python -m experiments.grid --out table.json --windows 2 --seed 1",
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="FILE", help="where the table goes")
    add("--model", default=defaults.model, help="directory or hub id (default: %(default)s)")
    add("--dataset", default=defaults.dataset, help="sample, wikitext-2 or a text file "
        "(default: %(default)s)")  # fmt: skip
    add("--sigma", type=float, nargs="+", default=list(defaults.sigmas), metavar="S",
        help="absolute noise, ascending from 0 (default: %(default)s)")  # fmt: skip
    add("--m", type=float, nargs="+", default=list(defaults.shapes), metavar="M",
        help="Nakagami shapes, descending from inf (default: %(default)s)")  # fmt: skip
    add("--window", type=int, default=defaults.window, metavar="TOKENS",
        help="tokens of a window (default: %(default)d)")  # fmt: skip
    add("--windows", type=int, default=defaults.windows, metavar="N",
        help="windows per cell (default: %(default)d)")  # fmt: skip
    add("--seed", type=int, default=defaults.seed, help="of the channel (default: %(default)d)")
    args = parser.parse_args(argv)
    return report_errors("grid", lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Measures and writes the table.

    Raises:
        InputError: a value is out of its range, or a file cannot be read.
    """
    if not args.out.resolve().parent.is_dir():
        raise InputError.of("--out", str(args.out), "a file in a directory that exists")
    config = GridConfig(
        model=args.model,
        dataset=args.dataset,
        sigmas=tuple(args.sigma),
        shapes=tuple(args.m),
        window=args.window,
        windows=args.windows,
        seed=args.seed,
    )
    measure(config).save(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
