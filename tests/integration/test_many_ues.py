"""Several UEs on one edge at a time: each gets what it would get alone, and the next is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from airsplit import errors
from airsplit.checkpoint import Checkpoint
from airsplit.partition import ModelPartition
from tests.conftest import StartServices
from ue_client.generate import generate
from ue_client.link import Link
from ue_client.records import SessionRequest
from ue_client.session import UeSession
from ue_client.steering import Schedule

UES = 4
NEW_TOKENS = 40


def tell(embedded: Checkpoint, address: str, number: int) -> list[int]:
    """The tokens of UE `number`: its own split, moves, prompt, stream and sampling seed."""
    partition = ModelPartition(embedded, head=False)
    prompt = [0, *range(300 + 20 * number, 310 + 20 * number)]
    schedule = Schedule({5 + number: 3 * number, 20: 16 - number})
    with Link(address) as link:
        request = SessionRequest(
            "m",
            4 * number,
            len(prompt) + NEW_TOKENS,
            stream=number,
            temperature=0.9,
            top_p=0.9,
            seed=number,
        )
        session = UeSession(partition, link, request)
        try:
            steps = generate(session, prompt, NEW_TOKENS, steering=schedule)
            return [step.token_id for step in steps]
        finally:
            session.close()


def test_each_gets_what_it_would_get_alone(services: StartServices, embedded: Checkpoint) -> None:
    _, addresses = services("nakagami,sigma=0.4,m=4", seed=1)
    alone = [tell(embedded, addresses.edge, number) for number in range(UES)]
    with ThreadPoolExecutor(UES) as pool:
        together = list(pool.map(lambda number: tell(embedded, addresses.edge, number), range(UES)))
    assert together == alone
    assert len({tuple(tokens) for tokens in alone}) == UES


def test_the_next_session_and_the_next_byte_are_refused_by_name(
    services: StartServices, embedded: Checkpoint
) -> None:
    row_bytes, layers = 768, 16
    budget_mib = 3 * 100 * row_bytes * layers / 2**20
    _, addresses = services(
        "ideal", edge=("--max-sessions", "3", "--kv-budget-mib", str(budget_mib))
    )
    partition = ModelPartition(embedded, head=False)
    with Link(addresses.edge) as link:

        def open_session(max_context: int) -> UeSession:
            return UeSession(partition, link, SessionRequest("m", 4, max_context))

        first, second = open_session(100), open_session(100)
        with pytest.raises(errors.KvBudgetError, match="--kv-budget-mib"):
            open_session(101)
        third = open_session(100)
        with pytest.raises(errors.SessionLimitError, match="allowed: 3"):
            open_session(1)
        first.close()
        fourth = open_session(100)
        for session in (second, third, fourth):
            session.close()
        assert link.describe().kv_reserved_bytes == 0
