"""Perplexity by hand, the windows over a text, and the unsplit reference against transformers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from airsplit.checkpoint import Checkpoint
from airsplit.errors import InputError
from airsplit.partition import ModelPartition
from airsplit.perplexity import Perplexity, unsplit_nll, windows
from tests import families


def test_perplexity_is_the_inverse_geometric_mean_of_the_probabilities() -> None:
    total = Perplexity()
    assert math.isnan(total.value)
    total.add([-math.log(1 / 2), -math.log(1 / 4)])
    total.add([])
    total.add([-math.log(1 / 8)])
    assert total.tokens == 3
    assert total.nll_sum == pytest.approx(math.log(64))
    assert total.value == pytest.approx(4.0)  # (2 * 4 * 8) ** (1/3)


def test_a_uniform_guess_costs_the_vocabulary_size() -> None:
    total = Perplexity()
    total.add([math.log(97)] * 10)
    assert total.value == pytest.approx(97)


def test_a_hopeless_text_is_infinite_not_an_error() -> None:
    assert Perplexity(nll_sum=7100.0, tokens=10).value == math.inf


@pytest.mark.parametrize(
    ("bos", "max_tokens", "expected"),
    [
        (None, None, [[1, 2, 3], [4, 5, 6]]),  # 7 alone scores nothing
        (0, None, [[0, 1, 2], [0, 3, 4], [0, 5, 6], [0, 7]]),
        (0, 3, [[0, 1, 2], [0, 3]]),
        (0, 4, [[0, 1, 2], [0, 3, 4]]),
        (None, 3, [[1, 2, 3], [4, 5]]),
        (None, 100, [[1, 2, 3], [4, 5, 6]]),
    ],
)
def test_windows_by_hand(
    bos: int | None, max_tokens: int | None, expected: list[list[int]]
) -> None:
    assert list(windows([1, 2, 3, 4, 5, 6, 7], 3, bos, max_tokens)) == expected


texts = st.lists(st.integers(1, 99), max_size=60)


@given(texts, st.integers(2, 20))
def test_with_bos_each_token_is_scored_exactly_once(text: list[int], window: int) -> None:
    cut = list(windows(text, window, bos=0))
    assert [token for ids in cut for token in ids[1:]] == text
    assert all(ids[0] == 0 and 2 <= len(ids) <= window for ids in cut)


@given(texts, st.integers(2, 20))
def test_without_bos_windows_follow_each_other(text: list[int], window: int) -> None:
    cut = list(windows(text, window, bos=None))
    joined = [token for ids in cut for token in ids]
    assert joined == text[: len(joined)]
    assert len(text) - len(joined) <= 1
    assert all(2 <= len(ids) <= window for ids in cut)


@given(texts, st.integers(2, 20), st.sampled_from([None, 0]), st.integers(1, 80))
def test_max_tokens_counts_what_is_scored(
    text: list[int], window: int, bos: int | None, limit: int
) -> None:
    everything = [t for ids in windows(text, window, bos) for t in ids[1:]]
    limited = [t for ids in windows(text, window, bos, limit) for t in ids[1:]]
    assert limited == everything[:limit]


@pytest.mark.parametrize("window", [1, 0, -3])
def test_a_window_that_scores_nothing_is_refused(window: int) -> None:
    with pytest.raises(InputError, match=f"--window: {window} is not allowed"):
        list(windows([1, 2, 3], window, None))


@torch.no_grad()
def test_the_unsplit_nll_is_what_transformers_computes(tmp_path: Path) -> None:
    model = families.make("gemma2", tmp_path)
    ids = torch.randint(2, 97, (40,), generator=torch.Generator().manual_seed(1))
    mean = model(ids[None], labels=ids[None]).loss  # transformers' own shift and mean
    nlls = unsplit_nll(ModelPartition(Checkpoint(tmp_path)), ids.tolist())
    assert len(nlls) == 39
    assert sum(nlls) / 39 == pytest.approx(float(mean), rel=1e-6)
