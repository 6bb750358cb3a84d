"""Draws against the distribution written down a second time in numpy, by chi-square."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import chisquare

from airsplit.errors import InputError
from airsplit.v1 import edge_pb2
from edge_server.sampling import Sampling, sample

DRAWS = 4000
LOGITS = np.random.default_rng(5).normal(scale=2.0, size=12).astype(np.float32)


def expected(logits: np.ndarray, temperature: float, top_k: int, top_p: float) -> np.ndarray:
    """Probability of every token: temperature, then top-k, then top-p, then renormalised."""
    p = softmax(logits.astype(np.float64) / temperature)
    order = np.argsort(-p)
    if top_k:
        p[order[top_k:]] = 0
        p /= p.sum()
    total = 0.0
    for rank, token in enumerate(order):
        total += p[token]
        if total >= top_p:
            p[order[rank + 1 :]] = 0
            break
    return p / p.sum()


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [
        (1.0, 0, 1.0),
        (0.5, 0, 1.0),
        (3.0, 0, 1.0),
        (1.0, 4, 1.0),
        (1.0, 100, 1.0),
        (1.0, 0, 0.9),
        (2.0, 0, 0.5),
        (1.5, 6, 0.8),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_draws_follow_the_distribution(
    temperature: float, top_k: int, top_p: float, seed: int
) -> None:
    sampling = Sampling(temperature, top_p, top_k, seed)
    logits = torch.from_numpy(LOGITS)
    drawn = Counter(sample(logits, sampling, position) for position in range(DRAWS))
    p = expected(LOGITS, temperature, top_k, top_p)
    assert set(drawn) <= set(np.flatnonzero(p)), "a token that was cut was drawn"
    likely = p * DRAWS >= 5  # chi-square wants five expected; the rest is one class
    observed = [*(drawn[i] for i in np.flatnonzero(likely)), sum(drawn[i] for i in range(12))]
    observed[-1] -= sum(observed[:-1])
    wanted = [*(p[likely] * DRAWS), p[~likely].sum() * DRAWS]
    if wanted[-1] < 5:
        observed, wanted = (
            observed[:-1],
            [w * sum(observed[:-1]) / p[likely].sum() / DRAWS for w in wanted[:-1]],
        )
    assert chisquare(observed, wanted).pvalue > 1e-3


def test_top_k_by_hand() -> None:
    p = expected(np.log(np.array([1, 4, 2, 3], dtype=np.float32)), 1.0, 2, 1.0)
    assert p == pytest.approx([0, 4 / 7, 0, 3 / 7])


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    logits = torch.log(torch.tensor([0.5, 0.25, 0.125, 0.125]))

    def support(top_p: float) -> set[int]:
        return {sample(logits, Sampling(1.0, top_p), position) for position in range(400)}

    assert support(1e-9) == {0}
    assert support(0.49) == {0}
    assert support(0.51) == {0, 1}
    assert support(0.74) == {0, 1}
    assert support(1.0) == {0, 1, 2, 3}


logit_rows = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=30).map(torch.tensor)
samplings = st.builds(
    Sampling,
    st.floats(0.01, 100),
    st.floats(0.001, 1),
    st.integers(0, 40),
    st.integers(0, 2**64 - 1),
)


@given(logit_rows, samplings, st.integers(0, 2**31))
def test_a_draw_is_a_function_of_seed_and_position(
    logits: torch.Tensor, sampling: Sampling, position: int
) -> None:
    token = sample(logits, sampling, position)
    assert 0 <= token < len(logits)
    assert sample(logits.clone(), sampling, position) == token


def test_other_positions_and_seeds_draw_otherwise() -> None:
    flat = torch.zeros(1 << 16)
    draws = {sample(flat, Sampling(1.0, seed=s), p) for s in (0, 1, 2**64 - 1) for p in range(100)}
    assert len(draws) > 290  # of 300, a collision is a chance of 1 in 65536


@given(logit_rows, st.integers(0, 1000))
def test_greedy_takes_the_largest(logits: torch.Tensor, position: int) -> None:
    largest = int(logits.argmax())
    assert sample(logits, Sampling(), position) == largest
    assert sample(logits, Sampling(0.0, 0.1, 1, 7), position) == largest
    assert logits[sample(logits, Sampling(2.0, top_k=1), position)] == logits[largest]


def test_next_to_no_temperature_is_greedy() -> None:
    logits = torch.from_numpy(LOGITS)
    for temperature in (1e-2, 1e-300, 5e-324):
        assert sample(logits, Sampling(temperature), 3) == int(logits.argmax())


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"temperature": -0.1}, "temperature: -0.1 is not allowed; allowed: 0-100"),
        ({"temperature": float("nan")}, "temperature: nan"),
        ({"temperature": 101.0}, "temperature: 101.0"),
        ({"top_p": -0.5}, "top_p: -0.5 is not allowed; allowed: above 0, up to 1"),
        ({"top_p": 1.01}, "top_p: 1.01"),
        ({"top_p": float("nan")}, "top_p: nan"),
    ],
)
def test_values_out_of_range(fields: dict[str, float], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Sampling.from_proto(edge_pb2.Sampling(**fields))


def test_a_message_says_what_it_means() -> None:
    message = edge_pb2.Sampling(temperature=0.5, top_p=0.9, top_k=3, seed=7)
    assert Sampling.from_proto(message) == Sampling(0.5, 0.9, 3, 7)
    with pytest.raises(InputError, match=r"top_p: 0\.0"):
        Sampling.from_proto(edge_pb2.Sampling(temperature=0.5))
