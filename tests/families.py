"""Tiny random models of every supported family, saved as checkpoints on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

COMMON: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}

CASES: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama"},
    "llama-tied-mqa": {
        "model_type": "llama",
        "tie_word_embeddings": True,
        "num_key_value_heads": 1,
    },
    "llama-rope-scaled": {
        "model_type": "llama",
        "rope_parameters": {
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
    },
    "mistral-sliding": {"model_type": "mistral", "sliding_window": 9},
    "qwen2": {"model_type": "qwen2"},
    "qwen2-sliding": {
        "model_type": "qwen2",
        "use_sliding_window": True,
        "sliding_window": 7,
        "max_window_layers": 2,
    },
    "qwen3": {"model_type": "qwen3", "head_dim": 16},
    "cohere": {"model_type": "cohere", "logit_scale": 0.25, "use_qk_norm": True},
    "cohere2": {"model_type": "cohere2", "logit_scale": 0.5, "sliding_window": 8},
    "olmo2": {"model_type": "olmo2"},
    "granite": {
        "model_type": "granite",
        "embedding_multiplier": 3.0,
        "residual_multiplier": 0.5,
        "attention_multiplier": 0.2,
        "logits_scaling": 4.0,
    },
    "gemma2": {
        "model_type": "gemma2",
        "head_dim": 8,
        "query_pre_attn_scalar": 8,
        "sliding_window": 8,
        "attn_logit_softcapping": 20.0,
        "final_logit_softcapping": 10.0,
    },
    "gemma3": {
        "model_type": "gemma3_text",
        "head_dim": 8,
        "query_pre_attn_scalar": 8,
        "sliding_window": 8,
        "layer_types": [
            "sliding_attention",
            "full_attention",
            "sliding_attention",
            "full_attention",
        ],
    },
    "smollm3": {"model_type": "smollm3", "no_rope_layers": [1, 1, 1, 0]},
    "phi3": {"model_type": "phi3", "sliding_window": 10},
    "phi3-longrope": {
        "model_type": "phi3",
        "original_max_position_embeddings": 64,
        "rope_parameters": {
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": [1.0, 1.1, 1.2, 1.3],
            "long_factor": [2.0, 2.1, 2.2, 2.3],
            "original_max_position_embeddings": 64,
        },
    },
    "stablelm": {"model_type": "stablelm", "use_qkv_bias": True},
}
"""By name: what differs from `COMMON`."""


def config_of(name: str, **overrides: Any) -> Any:
    return AutoConfig.for_model(**{**COMMON, **CASES[name], **overrides})


def make(name: str, folder: Path, seed: int = 0, **overrides: Any) -> PreTrainedModel:
    """The unsplit reference model in fp32, saved as a checkpoint in `folder`.

    Norm weights are spread out too: at their initial ones, a forgotten norm would go unseen.
    """
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config_of(name, **overrides), dtype=torch.float32)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.dim() == 1:
                base = 0.0 if "gemma" in name else 1.0
                parameter.copy_(base + 0.2 * torch.randn_like(parameter))
            elif key.endswith("embed_tokens.weight") and model.config.pad_token_id is not None:
                parameter.copy_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model.eval()
