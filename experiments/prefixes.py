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

Floats = NDArray[np.float64]

CPU_BATCH_TOKENS = 2048
"""Of one forward pass. On one core of a 16-layer model of hidden size 192, eight windows of 256
take 6 % less each than two in fp32, 20 % less in bf16, where there is less to compute."""

CUDA_BATCH_TOKENS = 32_768


def batches(device: torch.device, windows: int, tokens: int) -> list[slice]:
    """`windows` of `tokens` each in evenly filled forward passes of what suits `device` at most."""
    most = CPU_BATCH_TOKENS if device.type == "cpu" else CUDA_BATCH_TOKENS
    passes = -(-windows // max(1, most // tokens))
    return [slice(n * windows // passes, (n + 1) * windows // passes) for n in range(passes)]


def mean_nll(
    partition: ModelPartition, hidden: torch.Tensor, ids: NDArray[np.int64]
) -> torch.Tensor:
    """Of each window, nats, float64 [windows], still on the device.

    Args:
        hidden: [windows, tokens, hidden_size] after the last layer.
        ids: [windows, tokens].
    """
    scored = hidden[:, :-1].reshape(1, -1, hidden.shape[-1])
    nll = partition.nll(scored, torch.from_numpy(ids[:, 1:]).reshape(-1))
    return nll.view(len(ids), -1).double().mean(dim=1)


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Of one text; the arrays of `hidden` may be those of a file that several processes map."""

    splits: tuple[int, ...]
    hidden: NDArray[np.float32]
    """[splits, windows, tokens, hidden_size]: the residual stream before layer p, whose values are
    of the model's dtype."""

    ids: NDArray[np.int64]
    """[windows, tokens]."""

    clean: Floats
    """[windows]: mean NLL without a channel, nats."""

    @classmethod
    @torch.inference_mode()
    def of(
        cls, partition: ModelPartition, ids: NDArray[np.int64], splits: Sequence[int]
    ) -> Prefixes:
        """Runs the model once over `ids` [windows, tokens]."""
        layers, (count, tokens) = partition.facts.layers, ids.shape
        size = (len(splits), count, tokens, partition.facts.hidden_size)
        kept, clean = np.empty(size, dtype=np.float32), np.empty(count)
        for batch in batches(partition.device, count, tokens):
            some = ids[batch]
            hidden = partition.embed(torch.from_numpy(some).reshape(-1)).view(*some.shape, -1)
            for p in range(layers + 1):
                if p in splits:
                    kept[splits.index(p), batch] = hidden.float().cpu().numpy()
                if p < layers:
                    hidden = partition.run_whole(hidden, LayerRange(p, p + 1))
            clean[batch] = mean_nll(partition, hidden, some).cpu().numpy()
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
