"""Floating-point operations of a layer: Eq. 2 of the paper, and counted on the real layer.

Eq. 2 is no count of a decoder layer. By hand, a product of matrices [a, b] and [b, c] being 2abc
operations: attention's four projections take 8 n d², its two products with the past 4 n² d over all
heads, and an MLP of three matrices of width f 6 n d f. Eq. 2 divides the first two by the number of
heads κ as if there were one head alone, and counts 9 n d² for the MLP. What it is used for here,
C_UE(p)/C_UE(L) = p/L, holds for any layers that are all alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airsplit.layer_range import LayerRange

if TYPE_CHECKING:
    from airsplit.partition import ModelPartition


def layer_flops(tokens: int, hidden_size: int, heads: int) -> float:
    """Eq. 2 of the paper: 3 d_in d²/κ + 2 d_in² d/κ + 9 d_in d².

    Args:
        tokens: d_in, the length of the input.
        hidden_size: d.
        heads: κ.
    """
    n, d = tokens, hidden_size
    return 3 * n * d**2 / heads + 2 * n**2 * d / heads + 9 * n * d**2


def counted_layer_flops(partition: ModelPartition, layer: int, tokens: int) -> int:
    """As torch's counter sees it when the real layer reads `tokens` tokens; products only.

    Attention is run unfused, since the counter has no formula for the CPU's fused kernel: every
    token attends to every other, and what is masked counts.

    Raises:
        InputError: the layer is not held, or the context is too long.
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    cache = partition.new_cache(tokens)
    hidden = torch.zeros(1, tokens, partition.facts.hidden_size, dtype=partition.dtype)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        partition.run(hidden.to(partition.device), LayerRange(layer, layer + 1), cache, 0)
    return int(counter.get_total_flops())
