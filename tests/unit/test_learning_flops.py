"""Eq. 2 by hand, and what torch counts on a layer of the real model."""

from __future__ import annotations

import pytest

from airsplit.partition import ModelPartition
from controller.learning.flops import counted_layer_flops, layer_flops


def test_equation_2_by_hand() -> None:
    by_hand = 3 * 10 * 16 / 2 + 2 * 100 * 4 / 2 + 9 * 10 * 16
    assert layer_flops(tokens=10, hidden_size=4, heads=2) == by_hand


@pytest.mark.parametrize("tokens", [1, 20, 256])
def test_torch_counts_what_the_count_by_hand_says(whole: ModelPartition, tokens: int) -> None:
    """Grouped-query attention in which every token attends to every other, and an MLP of three
    matrices."""
    config, n = whole.config, tokens
    d, shared = config.hidden_size, config.num_key_value_heads / config.num_attention_heads
    projections, attention = 4 * n * d**2 * (1 + shared), 4 * n**2 * d
    by_hand = projections + attention + 6 * n * d * config.intermediate_size
    assert counted_layer_flops(whole, 0, tokens) == by_hand
    assert counted_layer_flops(whole, 15, tokens) == by_hand  # all alike: C_UE(p)/C_UE(L) = p/L


def test_equation_2_counts_less_than_torch(whole: ModelPartition) -> None:
    """By 2.35 times at the paper's mean sentence, and the more the longer the text."""
    config = whole.config
    ratios = [
        counted_layer_flops(whole, 0, tokens)
        / layer_flops(tokens, config.hidden_size, config.num_attention_heads)
        for tokens in (20, 512, 1024)
    ]
    assert ratios == pytest.approx([2.351, 3.144, 3.842], abs=1e-3)
