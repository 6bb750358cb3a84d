"""What is run on whole contexts, as it is or through torch.compile."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import nn

from airsplit.errors import InputError

Function = TypeVar("Function", bound=Callable[..., torch.Tensor])


def run_layer(
    hidden: torch.Tensor,
    layer: Callable[..., Any],
    mask: torch.Tensor | None,
    rotation: tuple[torch.Tensor, torch.Tensor],
) -> torch.Tensor:
    """[batch, tokens, hidden_size] before and after."""
    after: torch.Tensor = layer(
        hidden,
        attention_mask=mask,
        position_embeddings=rotation,
        past_key_values=None,
        use_cache=False,
    )
    return after


def token_nll(
    hidden: torch.Tensor, targets: torch.Tensor, logits_of: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Of each target, [tokens], from [tokens, hidden_size]; all logits at a time."""
    return nn.functional.cross_entropy(logits_of(hidden[None]), targets, reduction="none")


def compiled(function: Function) -> Function:
    """`function`, compiled at its first call: once for all layers and, above 1, all batches.

    Raises, when it is called:
        InputError: it cannot be compiled; mostly since there is no compiler.
    """
    # Here, since it takes a second and few ask for it.
    from torch._dynamo import maybe_mark_dynamic
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

    # The full graph or an error: what cannot be compiled, or was too often, would be slow unseen.
    # Of one partition: its compilations do not count against another's.
    run = torch.compile(function, fullgraph=True, isolate_recompiles=True)  # type: ignore[call-overload]

    @wraps(function)
    def call(*arguments: Any) -> Any:
        for tensor in arguments:
            if isinstance(tensor, torch.Tensor):
                maybe_mark_dynamic(tensor, 0)  # first dimensions: rows, or tokens
        try:
            return run(*arguments)
        except (TorchDynamoException, FailOnRecompileLimitHit) as error:
            raise InputError(f"--compile: {_reason(error)}") from error

    return cast(Function, call)


def _reason(error: Exception) -> str:
    """One line."""
    from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

    cause = getattr(error, "inner_exception", error)
    if isinstance(cause, InvalidCxxCompiler):
        return "there is no C++ compiler here; allowed: where g++, or that of CXX, is installed"
    if isinstance(cause, CppCompileError):
        return f"{cause.cmd[0]} failed; allowed: where a C++ compiler and Python's headers are"
    return f"torch.compile failed: {(str(cause).strip() or repr(cause)).splitlines()[0]}"
