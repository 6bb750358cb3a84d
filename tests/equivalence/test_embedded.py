"""The embedded model over real processes: every p, random switches, and under noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from airsplit.checkpoint import Checkpoint
from airsplit.kv_cache import KvCache
from airsplit.layer_range import LayerRange
from airsplit.partition import ModelPartition
from airsplit.text import load_tokenizer
from channel_emulator.place import Place
from channel_emulator.radio import Radio
from channel_emulator.spec import parse_channel
from tests.conftest import StartServices
from tests.equivalence.harness import Reference, random_schedule, reference_of
from ue_client.generate import generate
from ue_client.link import Link
from ue_client.records import SessionRequest
from ue_client.session import UeSession
from ue_client.steering import Schedule

NEW_TOKENS = 24
NOISE = "nakagami,sigma=0.5,m=3,h_th=0.2"
STREAM = 5


@pytest.fixture(scope="module")
def reference(embedded: Checkpoint) -> Reference:
    model = AutoModelForCausalLM.from_pretrained(embedded.path, dtype=torch.float32).eval()
    tokenizer = load_tokenizer(embedded.path)
    prompt = tokenizer.encode("The keeper of the light was a tall, stooping person, and")
    return reference_of(model, prompt, NEW_TOKENS)


@dataclass(frozen=True)
class Wire:
    ue: ModelPartition
    link: Link
    reference: Reference

    def run(
        self, split: int, schedule: dict[int, int] | None = None, steering: Schedule | None = None
    ) -> tuple[list[int], np.ndarray]:
        """Tokens, and logits [tokens, vocab_size]."""
        length = len(self.reference.prompt) + NEW_TOKENS
        request = SessionRequest("m", split, length, stream=STREAM, return_logits=True)
        session = UeSession(self.ue, self.link, request)
        try:
            steps = list(
                generate(
                    session,
                    self.reference.prompt,
                    NEW_TOKENS,
                    steering=steering or Schedule(schedule or {}),
                )
            )
        finally:
            session.close()
        logits = [np.frombuffer(step.logits, dtype=np.float32) for step in steps]
        return [step.token_id for step in steps], np.stack(logits)


@pytest.fixture(scope="module")
def ue(embedded: Checkpoint) -> ModelPartition:
    return ModelPartition(embedded, head=False)


@pytest.fixture(scope="module")
def ideal(services: StartServices, ue: ModelPartition, reference: Reference) -> Iterator[Wire]:
    _, addresses = services("ideal")
    with Link(addresses.edge) as link:
        yield Wire(ue, link, reference)


@pytest.fixture(scope="module")
def noisy(services: StartServices, ue: ModelPartition, reference: Reference) -> Iterator[Wire]:
    _, addresses = services(NOISE, seed=3)
    with Link(addresses.edge) as link:
        yield Wire(ue, link, reference)


def require_equivalent(tokens: list[int], logits: np.ndarray, reference: Reference) -> None:
    assert float(np.abs(logits - reference.logits).max()) <= reference.tolerance
    assert tokens == reference.tokens


def test_every_split(ideal: Wire) -> None:
    for split in range(17):
        require_equivalent(*ideal.run(split), ideal.reference)


@pytest.mark.parametrize("seed", range(4))
def test_random_switches(ideal: Wire, seed: int) -> None:
    generator = np.random.default_rng(seed)
    schedule = random_schedule(generator, 16, NEW_TOKENS)
    tokens, logits = ideal.run(int(generator.integers(0, 17)), schedule)
    require_equivalent(tokens, logits, ideal.reference)


class Detour(Schedule):
    """Between two tokens to another split and back: rows travel, and nothing is left of it."""

    def target(self, session: UeSession, index: int) -> int | None:
        home = session.split
        if index in self.moves:
            session.switch(self.moves[index])
        return home


def test_there_and_back_under_noise_changes_no_bit(noisy: Wire) -> None:
    tokens, logits = noisy.run(6)
    detoured, logits_detoured = noisy.run(6, steering=Detour({3: 12, 9: 0, 10: 16, 15: 5}))
    assert tokens == detoured
    assert logits.tobytes() == logits_detoured.tobytes()


def test_a_noisy_run_repeats_bit_for_bit(noisy: Wire) -> None:
    tokens, logits = noisy.run(9, {7: 3})
    again, logits_again = noisy.run(9, {7: 3})
    assert (tokens, logits.tobytes()) == (again, logits_again.tobytes())
    assert tokens != noisy.reference.tokens, "the noise has to matter for this to say anything"


@pytest.mark.parametrize(
    "schedule", [{}, {5: 2, 11: 13, 12: 12, 17: 0, 20: 16}], ids=["fixed", "switched"]
)
def test_a_noisy_run_is_the_unsplit_model_with_the_channel_inside(
    noisy: Wire, whole: ModelPartition, schedule: dict[int, int]
) -> None:
    """The strongest form of the invariant: one process with one cache, the channel applied at the
    boundary of the moment, no handoff, gives the same bits as the processes that hand over."""
    tokens, logits = noisy.run(6, schedule)
    expected_tokens, expected_logits = in_process(whole, noisy.reference.prompt, 6, schedule)
    assert tokens == expected_tokens
    assert logits.tobytes() == expected_logits.tobytes()


def in_process(
    whole: ModelPartition, prompt: list[int], split: int, schedule: dict[int, int]
) -> tuple[list[int], np.ndarray]:
    radio = Radio(parse_channel(f"{NOISE},seed=3"))
    cache = whole.new_cache(len(prompt) + NEW_TOKENS)
    tokens: list[int] = []
    logits: list[np.ndarray] = []
    pending, position = prompt, 0
    for index in range(NEW_TOKENS):
        split = schedule.get(index, split)
        hidden = through(whole, cache, radio, pending, position, split)
        position += len(pending)
        row = whole.logits(hidden[:, -1:])[0]
        tokens.append(int(row.argmax()))
        logits.append(row.numpy())
        pending = tokens[-1:]
    return tokens, np.stack(logits)


def through(
    whole: ModelPartition,
    cache: KvCache,
    radio: Radio,
    ids: list[int],
    position: int,
    split: int,
) -> torch.Tensor:
    hidden = whole.run(whole.embed(torch.tensor(ids)), LayerRange(0, split), cache, position)
    place = Place.replay(radio.config, len(ids), stream=STREAM, position=position)
    received = radio.transmit(hidden[0].numpy(), place)
    after = torch.from_numpy(received.values.copy())[None]
    return whole.run(after, LayerRange(split, whole.facts.layers), cache, position)
