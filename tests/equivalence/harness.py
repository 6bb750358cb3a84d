"""What equivalence means: the same greedy tokens as the unsplit model, and logits that differ from
its own by no more than ten times what its prefill and its decode differ from each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from airsplit.kv_cache import KvCache
from airsplit.partition import ModelPartition
from edge_server.service import EdgeServicer
from ue_client.generate import generate
from ue_client.link import Link
from ue_client.records import SessionRequest
from ue_client.session import UeSession
from ue_client.steering import Schedule


@dataclass(frozen=True)
class Reference:
    """The unsplit transformers model's greedy continuation."""

    prompt: list[int]
    tokens: list[int]
    logits: np.ndarray
    """[tokens, vocab_size], each from a decode step with transformers' own cache."""

    tolerance: float
    """Ten times the largest difference between its own prefill and decode logits."""


@torch.no_grad()
def reference_of(model: torch.nn.Module, prompt: Sequence[int], new_tokens: int) -> Reference:
    """Greedy decoding with transformers' own cache, and a prefill over the whole to compare."""
    ids = torch.tensor([list(prompt)])
    out = model(ids, use_cache=True)
    cache = out.past_key_values
    rows, tokens = [out.logits[0, -1].float()], []
    for _ in range(new_tokens):
        tokens.append(int(rows[-1].argmax()))
        out = model(torch.tensor([[tokens[-1]]]), past_key_values=cache, use_cache=True)
        rows.append(out.logits[0, -1].float())
    decoded = torch.stack(rows[:-1])
    whole = model(torch.tensor([[*prompt, *tokens]])).logits[0].float()
    prefilled = whole[len(prompt) - 1 : -1]
    own = float((decoded - prefilled).abs().max())
    assert 0 < own < 1e-3, own
    return Reference(list(prompt), tokens, decoded.numpy(), 10 * own)


@dataclass(frozen=True)
class Run:
    """A continuation over the wire."""

    tokens: list[int]
    logits: np.ndarray
    """[tokens, vocab_size]"""

    splits: list[int]
    kv: list[np.ndarray]
    """Per layer, from the end that runs it last: key and value rows [2, kv_heads, positions, d]."""


def split_run(
    partition: ModelPartition,
    link: Link,
    servicer: EdgeServicer,
    reference: Reference,
    split: int,
    schedule: Mapping[int, int] | None = None,
) -> Run:
    """The reference's continuation, split at `split` and moved by `schedule`."""
    length = len(reference.prompt) + len(reference.tokens)
    request = SessionRequest("test", split, length, return_logits=True)
    session = UeSession(partition, link, request)
    steering = Schedule(schedule or {})
    try:
        steps = list(generate(session, reference.prompt, len(reference.tokens), steering=steering))
        edge_cache = servicer.sessions.get(session.id).cache
        kv = [
            rows_of(session.cache if layer < session.split else edge_cache, layer, length - 1)
            for layer in range(partition.facts.layers)
        ]
    finally:
        session.close()
    logits = np.stack([np.frombuffer(step.logits, dtype=np.float32) for step in steps])
    return Run([step.token_id for step in steps], logits, [step.split for step in steps], kv)


def rows_of(cache: KvCache, layer: int, positions: int) -> np.ndarray:
    return np.stack([rows.numpy().copy() for rows in cache.export(layer, 0, positions)])


def require_equivalent(run: Run, reference: Reference) -> None:
    """Raises AssertionError where a run is not the unsplit model's."""
    worst = float(np.abs(run.logits - reference.logits).max())
    assert worst <= reference.tolerance, f"logits differ by {worst} > {reference.tolerance}"
    assert run.tokens == reference.tokens, "tokens differ"


def require_same_bits(run: Run, other: Run) -> None:
    """Raises AssertionError where two runs differ in one bit of a logit or of a K/V row."""
    assert run.tokens == other.tokens, "tokens differ"
    assert run.logits.tobytes() == other.logits.tobytes(), "logits differ"
    for layer, (mine, theirs) in enumerate(zip(run.kv, other.kv, strict=True)):
        assert mine.tobytes() == theirs.tobytes(), f"K/V rows of layer {layer} differ"


def random_schedule(generator: np.random.Generator, layers: int, tokens: int) -> dict[int, int]:
    """Moves before random tokens, to random splits, by one or many layers, up and down."""
    indices = generator.choice(np.arange(1, tokens), size=min(6, tokens - 1), replace=False)
    return {int(i): int(generator.integers(0, layers + 1)) for i in sorted(indices)}
