"""Every supported family, split at every p and switched at random, equals its unsplit self."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from airsplit.checkpoint import Checkpoint
from airsplit.partition import ModelPartition
from edge_server.service import EdgeServicer
from tests import families
from tests.equivalence.harness import (
    Reference,
    Run,
    random_schedule,
    reference_of,
    require_equivalent,
    require_same_bits,
    split_run,
)
from tests.serving import edge_serving
from ue_client.link import Link

PROMPT_TOKENS, NEW_TOKENS = 11, 16  # past every case's sliding window


class Case:
    """One family's reference, its UE part and a link to its edge part."""

    def __init__(
        self, reference: Reference, ue: ModelPartition, link: Link, edge: EdgeServicer
    ) -> None:
        self.reference, self.layers = reference, ue.facts.layers
        self._ends = (ue, link, edge)

    def run(self, split: int, schedule: dict[int, int] | None = None) -> Run:
        return split_run(*self._ends, self.reference, split, schedule)


@pytest.fixture(scope="module", params=sorted(families.CASES))
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    folder: Path = tmp_path_factory.mktemp(request.param)
    model = families.make(request.param, folder)
    generator = np.random.default_rng(7)
    prompt = generator.integers(2, families.COMMON["vocab_size"], PROMPT_TOKENS).tolist()
    reference = reference_of(model, prompt, NEW_TOKENS)
    checkpoint = Checkpoint(folder)
    edge = ModelPartition(checkpoint, embedding=False)
    with edge_serving(edge) as (address, servicer), Link(address) as link:
        yield Case(reference, ModelPartition(checkpoint, head=False), link, servicer)


def test_every_split(case: Case) -> None:
    for split in range(case.layers + 1):
        run = case.run(split)
        require_equivalent(run, case.reference)
        assert set(run.splits) == {split}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_switches(case: Case, seed: int) -> None:
    generator = np.random.default_rng(seed)
    first = int(generator.integers(0, case.layers + 1))
    schedule = random_schedule(generator, case.layers, NEW_TOKENS)
    run = case.run(first, schedule)
    require_equivalent(run, case.reference)
    expected, current = [], first
    for index in range(NEW_TOKENS):
        current = schedule.get(index, current)
        expected.append(current)
    assert run.splits == expected


def test_a_switched_run_is_the_unswitched_one_bit_for_bit(case: Case) -> None:
    """The layers compute the same shapes wherever they run, so not one bit may differ."""
    switched = case.run(2, {1: 0, 3: case.layers, 4: 1, 7: 3, 8: 2})
    require_same_bits(switched, case.run(2))
