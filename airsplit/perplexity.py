"""Perplexity: Eq. 7 of the paper, windows over a text, and the unsplit reference."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from airsplit.partition import ModelPartition


@dataclass(slots=True)
class Perplexity:
    """PPL = exp(-1/N sum log P(w_k | past)), Eq. 7 of the paper; NLLs in natural logarithm."""

    nll_sum: float = 0.0
    tokens: int = 0

    def add(self, nlls: Sequence[float]) -> None:
        self.nll_sum += math.fsum(nlls)
        self.tokens += len(nlls)

    @property
    def value(self) -> float:
        """The perplexity; NaN without tokens, infinity where exp overflows."""
        if self.tokens == 0:
            return math.nan
        mean = self.nll_sum / self.tokens
        return math.exp(mean) if mean < 700 else math.inf


def windows(
    token_ids: Sequence[int], window: int, bos: int | None, max_tokens: int | None = None
) -> Iterator[list[int]]:
    """Cuts a text into windows of at most `window` tokens that do not overlap.

    With `bos` every window begins with it, so that each token of the text is scored once; without,
    the first token of each window is context only.

    Args:
        max_tokens: stop after this many *scored* tokens.

    Raises:
        InputError: a window that scores nothing.
    """
    if window < 2:
        raise InputError.of("--window", window, ">= 2 tokens")
    lead = [] if bos is None else [bos]
    step = window - len(lead)
    remaining = len(token_ids) if max_tokens is None else max_tokens
    for start in range(0, len(token_ids), step):
        ids = [*lead, *token_ids[start : start + step]][: remaining + 1]
        if len(ids) < 2:
            return
        remaining -= len(ids) - 1
        yield ids
        if remaining <= 0:
            return


def unsplit_nll(partition: ModelPartition, window_ids: Sequence[int]) -> list[float]:
    """What the unsplit model says of one window: the NLL of every token but the first."""
    ids = torch.tensor(window_ids)
    cache = partition.new_cache(len(window_ids))
    layers = LayerRange(0, partition.facts.layers)
    hidden = partition.run(partition.embed(ids), layers, cache, 0)
    nlls: list[float] = partition.nll(hidden, ids[1:]).tolist()
    return nlls
