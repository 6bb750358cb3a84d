"""What AirSplit knows of each model family, and which families it refuses.

All of them are residual decoders in transformers' Llama shape: `model.embed_tokens`,
`model.layers`, `model.norm`, `model.rotary_emb`, `lm_head`. Their forward passes differ in the few
things that this table holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from airsplit.errors import UnsupportedModelError

Config = Any
"""transformers' PretrainedConfig; its fields differ from family to family."""


def _same(logits: torch.Tensor, config: Config) -> torch.Tensor:
    return logits


def _multiplied(logits: torch.Tensor, config: Config) -> torch.Tensor:
    return logits * float(config.logit_scale)


def _divided(logits: torch.Tensor, config: Config) -> torch.Tensor:
    return logits / float(config.logits_scaling)


def _capped(logits: torch.Tensor, config: Config) -> torch.Tensor:
    cap = config.final_logit_softcapping
    return logits if cap is None else torch.tanh(logits / cap) * cap


@dataclass(frozen=True, slots=True)
class Family:
    """Where a family's forward pass differs from Llama's.

    Scaling of embeddings that happens inside the family's embedding module (Gemma) needs nothing.
    """

    logits: Callable[[torch.Tensor, Config], torch.Tensor] = _same
    """After the head: scaling or soft-capping."""

    embedding_multiplier: Callable[[Config], float] | None = None
    """Embeddings are multiplied by it inside the model's forward."""

    rotary_per_layer_type: bool = False
    """Full and sliding layers have rotary embeddings of their own."""


UNQUANTIZED = "quantized checkpoints are not supported; supported: fp32, fp16, bf16"

FAMILIES: dict[str, Family] = {
    "cohere": Family(logits=_multiplied),
    "cohere2": Family(logits=_multiplied),
    "gemma2": Family(logits=_capped),
    "gemma3_text": Family(logits=_capped, rotary_per_layer_type=True),
    "granite": Family(
        logits=_divided, embedding_multiplier=lambda config: float(config.embedding_multiplier)
    ),
    "llama": Family(),
    "mistral": Family(),
    "olmo2": Family(),
    "phi3": Family(),
    "qwen2": Family(),
    "qwen3": Family(),
    "smollm3": Family(),
    "stablelm": Family(),
}


def text_config(config: Config) -> Config:
    """The language model's part of a configuration (Gemma 3 with vision has one inside)."""
    return config.text_config if config.model_type == "gemma3" else config


def family_of(config: Config) -> Family:
    """The family of a (text) configuration.

    Raises:
        UnsupportedModelError: names what is not supported, and what is.
    """
    family = FAMILIES.get(config.model_type)
    if family is None:
        raise UnsupportedModelError(
            f"model: type {config.model_type!r} is not supported; "
            f"supported: {', '.join(sorted(FAMILIES))}"
        )
    if getattr(config, "quantization_config", None):
        raise UnsupportedModelError(f"model: quantized; {UNQUANTIZED}")
    if getattr(config, "use_bidirectional_attention", False):
        raise UnsupportedModelError("model: bidirectional attention cannot be split")
    return family


def windows_of(config: Config) -> tuple[int | None, ...]:
    """Per layer: positions that attention sees including the token's own; None sees all."""
    window = getattr(config, "sliding_window", None)
    types = getattr(config, "layer_types", None)
    if types is None:
        return (window,) * int(config.num_hidden_layers)
    return tuple(window if kind == "sliding_attention" else None for kind in types)


def max_positions_of(config: Config) -> int:
    """The longest context that can be split exactly.

    Dynamic and long RoPE scaling change all frequencies when the context outgrows the original
    length, which would mean recomputing the cache; such models are held to the original length.
    """
    parameters = config.rope_parameters
    per_type = all(isinstance(value, dict) for value in parameters.values())
    limit = int(config.max_position_embeddings)
    for rope in parameters.values() if per_type else (parameters,):
        if rope.get("rope_type") == "longrope":
            limit = min(limit, int(rope["original_max_position_embeddings"]))
    return limit
