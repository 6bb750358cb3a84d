"""The equivalence check fails when the cache is damaged: a check that cannot fail is a defect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from airsplit.checkpoint import Checkpoint
from airsplit.kv_cache import KvCache
from airsplit.layer_range import LayerRange
from airsplit.partition import ModelPartition
from edge_server.service import EdgeServicer
from tests import families
from tests.equivalence.harness import (
    Reference,
    Run,
    reference_of,
    require_equivalent,
    require_same_bits,
    split_run,
)
from tests.serving import edge_serving
from ue_client.link import Link

NEW_TOKENS = 12
SCHEDULE = {4: 4, 8: 1}
"""Pulls layers 1-3, later pushes them back."""

Take = Callable[[KvCache, int, int, torch.Tensor, torch.Tensor], None]
honest_take: Take = KvCache.take


def two_rows_swapped(
    cache: KvCache, layer: int, start: int, key: torch.Tensor, value: torch.Tensor
) -> None:
    order = list(range(key.shape[1]))
    first, second = np.random.default_rng(layer).choice(len(order), size=2, replace=False)
    order[first], order[second] = order[second], order[first]
    honest_take(cache, layer, start, key[:, order], value[:, order])


def two_keys_swapped(
    cache: KvCache, layer: int, start: int, key: torch.Tensor, value: torch.Tensor
) -> None:
    order = [key.shape[1] - 1, *range(1, key.shape[1] - 1), 0]
    honest_take(cache, layer, start, key[:, order], value)


def one_position_off(
    cache: KvCache, layer: int, start: int, key: torch.Tensor, value: torch.Tensor
) -> None:
    order = [0, *range(key.shape[1] - 1)]
    honest_take(cache, layer, start, key[:, order], value[:, order])


def one_layer_left_out(
    cache: KvCache, layer: int, start: int, key: torch.Tensor, value: torch.Tensor
) -> None:
    zeros = torch.zeros_like(key) if layer == 2 else key
    honest_take(cache, layer, start, zeros, value)


@dataclass(frozen=True)
class Ends:
    reference: Reference
    ue: ModelPartition
    edge: ModelPartition
    link: Link
    servicer: EdgeServicer

    def run(self, split: int, schedule: dict[int, int] | None = None) -> Run:
        return split_run(self.ue, self.link, self.servicer, self.reference, split, schedule)


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ends]:
    folder: Path = tmp_path_factory.mktemp("llama")
    model = families.make("llama", folder)
    prompt = np.random.default_rng(3).integers(2, 97, 9).tolist()
    reference = reference_of(model, prompt, NEW_TOKENS)
    checkpoint = Checkpoint(folder)
    edge = ModelPartition(checkpoint, embedding=False)
    ue = ModelPartition(checkpoint, head=False)
    with edge_serving(edge) as (address, servicer), Link(address) as link:
        yield Ends(reference, ue, edge, link, servicer)


def test_an_honest_handoff_passes(ends: Ends) -> None:
    run = ends.run(1, SCHEDULE)
    require_equivalent(run, ends.reference)
    require_same_bits(run, ends.run(1))


@pytest.mark.parametrize("damage", [two_keys_swapped, one_position_off, one_layer_left_out])
def test_damage_is_seen_in_the_logits(
    ends: Ends, damage: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KvCache, "take", damage)
    with pytest.raises(AssertionError, match="logits differ"):
        require_equivalent(ends.run(1, SCHEDULE), ends.reference)


@pytest.mark.parametrize(
    "damage", [two_rows_swapped, two_keys_swapped, one_position_off, one_layer_left_out]
)
def test_damage_is_seen_in_the_rows(
    ends: Ends, damage: Take, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attention without a window is a sum over rows: whole rows that change places leave the
    logits as they are but for rounding. Comparing the rows themselves tells."""
    unswitched = ends.run(1)
    monkeypatch.setattr(KvCache, "take", damage)
    with pytest.raises(AssertionError, match="differ"):
        require_same_bits(ends.run(1, SCHEDULE), unswitched)


def test_swapped_rows_are_seen_in_the_logits_of_a_sliding_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = families.make("mistral-sliding", tmp_path)
    prompt = np.random.default_rng(3).integers(2, 97, 9).tolist()
    reference = reference_of(model, prompt, NEW_TOKENS)
    checkpoint = Checkpoint(tmp_path)
    ue = ModelPartition(checkpoint, head=False)
    edge = ModelPartition(checkpoint, embedding=False)
    with edge_serving(edge) as (address, servicer), Link(address) as link:
        require_equivalent(split_run(ue, link, servicer, reference, 1, SCHEDULE), reference)
        monkeypatch.setattr(KvCache, "take", two_rows_swapped)
        damaged = split_run(ue, link, servicer, reference, 1, SCHEDULE)
    with pytest.raises(AssertionError, match="logits differ"):
        require_equivalent(damaged, reference)


def test_a_skipped_layer_is_seen(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    honest_run = ModelPartition.run

    def skipping(
        self: ModelPartition,
        hidden: torch.Tensor,
        layers: LayerRange,
        cache: KvCache,
        position: int,
    ) -> torch.Tensor:
        kept = layers
        if self is ends.edge and position > 12:
            kept = LayerRange(layers.start + 1, layers.stop)
            cache._valid[layers.start] = position + 1
        return honest_run(self, hidden, kept, cache, position)

    monkeypatch.setattr(ModelPartition, "run", skipping)
    with pytest.raises(AssertionError, match="logits differ"):
        require_equivalent(ends.run(1), ends.reference)
