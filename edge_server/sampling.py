"""Choosing the next token. Pure; a draw is keyed by (seed, position), so a resumed or repeated
session draws the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from airsplit.errors import InputError
from airsplit.v1 import edge_pb2


@dataclass(frozen=True, slots=True)
class Sampling:
    """Temperature 0 is greedy; top_k 0 and top_p 1 keep every token."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 100:
            raise InputError.of("temperature", self.temperature, "0-100")
        if not 0 < self.top_p <= 1:
            raise InputError.of("top_p", self.top_p, "above 0, up to 1")

    @classmethod
    def from_proto(cls, message: edge_pb2.Sampling) -> Sampling:
        """Raises: InputError: a value is out of its range."""
        return cls(message.temperature, message.top_p, message.top_k, message.seed)


def sample(logits: torch.Tensor, sampling: Sampling, position: int) -> int:
    """The token at `position` from logits [vocab_size] (fp32)."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    kept = len(logits) if sampling.top_k == 0 else min(sampling.top_k, len(logits))
    # Below the largest, so that no temperature, however small, overflows.
    scaled = (logits.double() - logits.max().double()) / sampling.temperature
    top, ids = torch.topk(scaled, kept)  # sorted, largest first
    probabilities = torch.softmax(top, dim=0).cpu().numpy()
    cumulative = np.cumsum(probabilities)
    # The smallest set whose probability reaches top_p; the first token always stays.
    count = min(int(np.searchsorted(cumulative, sampling.top_p, side="left")) + 1, kept)
    draw = np.random.Generator(
        np.random.Philox(key=sampling.seed, counter=position)
    ).random() * float(cumulative[count - 1])
    chosen = min(int(np.searchsorted(cumulative[:count], draw, side="right")), count - 1)
    return int(ids[chosen])
