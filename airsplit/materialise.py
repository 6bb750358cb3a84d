"""transformers' causal LM with weights for what is held, and nothing for the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM

from airsplit.checkpoint import Checkpoint
from airsplit.errors import InputError, UnsupportedModelError
from airsplit.layer_range import LayerRange


def materialise(
    checkpoint: Checkpoint,
    held: LayerRange,
    embedding: bool,
    head: bool,
    device: torch.device,
    dtype: torch.dtype,
) -> Any:
    """transformers' causal LM with real weights for what is held and no memory for the rest."""
    config = checkpoint.config
    softcap = getattr(config, "attn_logit_softcapping", None)
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            config, dtype=dtype, attn_implementation="eager" if softcap else "sdpa"
        )
    inner = model.model
    for n in range(len(inner.layers)):
        if n not in held:
            inner.layers[n] = nn.Identity()
    tied = bool(config.tie_word_embeddings)
    if not head:
        inner.norm = model.lm_head = nn.Identity()
    if not embedding:
        inner.embed_tokens = nn.Identity()
    for name, parameter in list(model.named_parameters(remove_duplicate=False)):
        if parameter.device.type != "meta":
            continue
        source = "model.embed_tokens.weight" if tied and name == "lm_head.weight" else name
        weight = checkpoint.read(source, dtype, device)
        if weight.shape != parameter.shape:
            raise InputError(
                f"--model: {source} is {list(weight.shape)}, the configuration says "
                f"{list(parameter.shape)}"
            )
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, nn.Parameter(weight, requires_grad=False))
    if tied and embedding and head:
        model.lm_head.weight = inner.embed_tokens.weight
    inner.rotary_emb = type(inner.rotary_emb)(config=config).to(device)
    _fill_buffers(model, device)
    return model.eval()


def direct(module: nn.Module) -> Callable[..., Any]:
    """`module` as its bare forward, inside and out.

    A token passes some two hundred small modules. Each call through `Module.__call__` looks for
    hooks, and each `self.q_proj` goes through `Module.__getattr__`; there are no hooks here, and
    without both a decode step of a small model takes a seventh less. The arithmetic is the same.
    """
    for name, child in module._modules.items():
        if child is not None:
            module.__dict__[name] = direct(child)
    module.__dict__.update({n: p for n, p in module._parameters.items() if p is not None})
    return module.forward


def _fill_buffers(model: nn.Module, device: torch.device) -> None:
    """Buffers that no checkpoint holds: transformers computes them when it builds the module."""
    for name, buffer in list(model.named_buffers()):
        owner = model.get_submodule(name.rpartition(".")[0])
        if name.endswith("embed_scale"):
            owner.embed_scale = torch.tensor(owner.scalar_embed_scale, device=device)
        elif buffer.device.type == "meta":
            raise UnsupportedModelError(f"model: the buffer {name} cannot be rebuilt")
