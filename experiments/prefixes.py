"""The clean prefix of every window, computed once: what crosses at each split, and the clean NLL.

Everything that is sent over a channel begins from here, whatever the channel and its seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from airsplit.checkpoint import Checkpoint
from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from airsplit.partition import ModelPartition
from airsplit.perplexity import windows
from airsplit.text import load_text, load_tokenizer


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Of one text; the arrays of `hidden` may be those of a file that several processes map."""

    splits: tuple[int, ...]
    hidden: NDArray[np.float32]
    """[splits, windows, tokens, hidden_size]: the residual stream before layer p."""

    ids: NDArray[np.int64]
    """[windows, tokens]."""

    clean: NDArray[np.float64]
    """[windows]: mean NLL without a channel, nats."""

    @classmethod
    def of(
        cls, partition: ModelPartition, ids: NDArray[np.int64], splits: Sequence[int]
    ) -> Prefixes:
        """Runs the model once over `ids` [windows, tokens], a window at a time."""
        layers, (count, tokens) = partition.facts.layers, ids.shape
        size = (len(splits), count, tokens, partition.facts.hidden_size)
        kept, clean = np.empty(size, dtype=np.float32), np.empty(count)
        for n, window in enumerate(torch.from_numpy(ids)):
            hidden = partition.embed(window)
            for p in range(layers + 1):
                if p in splits:
                    kept[splits.index(p), n] = hidden[0].float().cpu().numpy()
                if p < layers:
                    hidden = partition.run_whole(hidden, LayerRange(p, p + 1))
            clean[n] = float(partition.nll(hidden, window[1:]).double().mean())
        return cls(tuple(splits), kept, ids, clean)

    def share(self, path: Path) -> None:
        """Writes `hidden` to a file that other processes map."""
        np.save(path, self.hidden, allow_pickle=False)

    def at(self, split: int) -> NDArray[np.float32]:
        """What crosses at `split`: [windows, tokens, hidden_size]."""
        crossing: NDArray[np.float32] = self.hidden[self.splits.index(split)]
        return crossing


def spread_windows(
    checkpoint: Checkpoint, dataset: str, window: int, count: int
) -> NDArray[np.int64]:
    """`count` whole windows of `window` tokens, evenly spread over the text: [count, window].

    Raises:
        InputError: no such text, or it has fewer.
    """
    tokenizer = load_tokenizer(checkpoint.path)
    ids = tokenizer.encode(load_text(dataset), add_special_tokens=False)
    cut = windows(ids, window, tokenizer.bos_token_id)
    whole = [found for found in cut if len(found) == window]
    if not 2 <= count <= len(whole):
        allowed = f"2-{len(whole)}, whole windows of {window} tokens in {dataset}"
        raise InputError.of("--windows", count, allowed)
    chosen = [whole[int(n)] for n in np.linspace(0, len(whole) - 1, count)]
    return np.array(chosen, dtype=np.int64)
