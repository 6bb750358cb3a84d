"""`airsplit score` over real processes: exact on the ideal channel, worse as it worsens."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from airsplit.partition import ModelPartition
from airsplit.perplexity import Perplexity, unsplit_nll, windows
from airsplit.text import load_text
from airsplit.v1 import channel_pb2, channel_pb2_grpc
from channel_emulator.config import ChannelConfig
from channel_emulator.spec import parse_assignments, parse_channel
from channel_emulator.wire import changes_to_proto
from tests.conftest import StartServices
from ue_client.config import UeConfig
from ue_client.tasks import run_score
from ue_client.ue import Ue

TOKENS = 1200


@dataclass
class Bench:
    """One UE per split on the same services; the channel is changed between runs."""

    address: str
    radio: channel_pb2_grpc.ChannelStub
    ues: dict[int, Ue]

    def score(self, split: int, channel: str, **options: Any) -> dict[str, Any]:
        preset, *assignments = channel.split(",")
        changes = {"preset": preset, "seed": "11", **parse_assignments(assignments)}
        config = changes_to_proto(parse_channel("ideal"), changes)
        self.radio.ConfigureChannel(channel_pb2.ConfigureChannelRequest(config=config), timeout=5)
        if split not in self.ues:
            self.ues[split] = Ue(UeConfig(edge=self.address, split=str(split), seed=2))
        arguments = {
            "dataset": "sample",
            "window": 256,
            "max_tokens": TOKENS,
            "chunk": 128,
            "traces": None,
        }
        return run_score(self.ues[split], argparse.Namespace(**{**arguments, **options}))


@pytest.fixture(scope="module")
def bench(services: StartServices) -> Iterator[Bench]:
    _, addresses = services("ideal")
    with grpc.insecure_channel(addresses.edge) as channel:
        bench = Bench(addresses.edge, channel_pb2_grpc.ChannelStub(channel), {})
        yield bench
        for ue in bench.ues.values():
            ue.__exit__(None, None, None)


def unsplit(
    whole: ModelPartition, bench: Bench, dataset: str, window: int, tokens: int
) -> Perplexity:
    tokenizer = next(iter(bench.ues.values())).tokenizer
    ids = tokenizer.encode(load_text(dataset), add_special_tokens=False)
    total = Perplexity()
    for piece in windows(ids, window, tokenizer.bos_token_id, tokens):
        total.add(unsplit_nll(whole, piece))
    return total


@pytest.mark.parametrize("split", [0, 5, 16])
def test_ideal_equals_the_unsplit_model(bench: Bench, whole: ModelPartition, split: int) -> None:
    result = bench.score(split, "ideal")
    expected = unsplit(whole, bench, "sample", 256, TOKENS)
    assert result["tokens"] == expected.tokens == TOKENS
    assert result["perplexity"] == pytest.approx(expected.value, rel=1e-5)
    assert result["nll_sum"] == pytest.approx(expected.nll_sum, rel=1e-6)
    assert result["splits"] == [split] * TOKENS
    assert result["perplexity"] == pytest.approx(math.exp(result["nll_sum"] / TOKENS))


def test_wikitext_equals_the_unsplit_model(
    bench: Bench, whole: ModelPartition, wikitext: Path
) -> None:
    result = bench.score(4, "ideal", dataset=str(wikitext), window=512, max_tokens=6000)
    expected = unsplit(whole, bench, str(wikitext), 512, 6000)
    assert result["perplexity"] == pytest.approx(expected.value, rel=1e-3)


STRENGTHS = {
    "absolute noise": ["awgn,sigma=0.5", "awgn,sigma=1.5", "awgn,sigma=4"],
    "relative noise": ["awgn,snr_db=15", "awgn,snr_db=5", "awgn,snr_db=-3"],
    "erasure": ["erasure,loss=0.1", "erasure,loss=0.3", "erasure,loss=0.6"],
    "fading": [f"nakagami,sigma=0.1,m={m}" for m in (30, 3, 0.5)],
    "outage": [f"nakagami,sigma=0.1,m=3,h_th={h}" for h in (0.3, 0.75, 1.1)],
    "physical noise": [f"physical,snr_db={snr}" for snr in (15, 5, 0)],
    "physical erasure": [f"physical,loss={loss}" for loss in (0.1, 0.3, 0.6)],
}
"""Each from weak to strong."""

BARELY = {("relative noise", 0), ("fading", 0)}
"""Where the weakest is barely felt: on embeddings, before any layer, 15 dB of SNR cost 0.1 % of
perplexity and a fading of m = 30 costs 0.3 %, for every seed tried; a few hundred tokens are too
few to tell that from chance."""


@pytest.mark.parametrize("impairment", STRENGTHS)
def test_perplexity_rises_with_the_impairment_at_every_split(bench: Bench, impairment: str) -> None:
    """From the embeddings alone (0) to all but the final norm and the head (16) at the UE."""
    for split in (0, 1, 5, 9, 14, 16):
        ideal, *perplexities = (
            bench.score(split, channel, max_tokens=600)["perplexity"]
            for channel in ("ideal", *STRENGTHS[impairment])
        )
        assert perplexities == sorted(perplexities), f"p = {split}: {perplexities}"
        assert perplexities[-1] > 1.02 * ideal
        weakest = perplexities[0]
        if (impairment, split) in BARELY:
            ideal, weakest = (
                bench.score(split, channel, max_tokens=4000)["perplexity"]
                for channel in ("ideal", STRENGTHS[impairment][0])
            )
        assert weakest > ideal, f"p = {split}: {weakest} from {ideal}"


def test_under_absolute_noise_an_earlier_split_is_worse(bench: Bench) -> None:
    """The trade-off that the policy lives on; its sign under other impairments is another."""
    perplexities = [bench.score(p, "awgn,sigma=2")["perplexity"] for p in (1, 3, 6, 12)]
    assert perplexities == sorted(perplexities, reverse=True)
    assert perplexities[0] > 2 * perplexities[-1]


def test_chunks_change_nothing_that_the_channel_does(bench: Bench) -> None:
    """Draws are keyed by position, so frames of another size meet the same noise."""
    coarse = bench.score(3, "nakagami,sigma=0.7,m=2", chunk=256)
    fine = bench.score(3, "nakagami,sigma=0.7,m=2", chunk=40)
    assert fine["perplexity"] == pytest.approx(coarse["perplexity"], rel=1e-4)
    assert len(fine["channel"]["measured"]) == 4


def test_the_channel_is_told_beside_the_result(bench: Bench) -> None:
    channel = bench.score(3, "awgn,sigma=0.8")["channel"]
    assert channel["config"]["sigma"] == 0.8
    assert channel["measured"]["sigma"] == pytest.approx(0.8, rel=0.02)
    assert channel["estimate"]["sigma"] == pytest.approx(0.8, rel=0.15)


def test_a_partial_change_keeps_the_rest(bench: Bench) -> None:
    bench.score(3, "awgn,sigma=0.8", max_tokens=200)
    before: ChannelConfig = parse_channel("awgn,sigma=0.8,seed=11")
    state = bench.radio.ConfigureChannel(
        channel_pb2.ConfigureChannelRequest(config=changes_to_proto(before, {"sigma": "2"})),
        timeout=5,
    )
    assert (state.config.preset, state.config.sigma, state.config.seed) == ("awgn", 2.0, 11)


def test_a_whole_configuration_can_be_put_back(bench: Bench) -> None:
    bench.score(3, "nakagami,sigma=0.7,m=2,delay_ms=1", max_tokens=200)
    kept = bench.radio.GetChannel(channel_pb2.GetChannelRequest(), timeout=5).config
    bench.score(3, "awgn,snr_db=9,delay_ms=0", max_tokens=200)
    request = channel_pb2.ConfigureChannelRequest(config=kept)
    assert bench.radio.ConfigureChannel(request, timeout=5).config == kept
