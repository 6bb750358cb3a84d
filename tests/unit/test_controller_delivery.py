"""Outboxes are bounded and keep the newest; the decision log is strict JSON and never fatal."""

from __future__ import annotations

import asyncio
import json
from math import inf, nan
from pathlib import Path

import pytest

from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from airsplit.v1 import controller_pb2
from controller.decision_log import DecisionLog, decision_record
from controller.decisions import Consideration, Decision
from controller.ends import End
from controller.outbox import Outbox
from controller.policy import Action, Observation


def decision(session_id: str, version: int) -> Decision:
    return Decision("ue", session_id, version, split=version, reason="policy")


def test_outbox_keeps_the_newest_decision_of_each_session() -> None:
    async def collect() -> list[tuple[str, int]]:
        outbox = Outbox()
        for version in range(1, 1001):
            outbox.put(decision("a", version))
        outbox.put(decision("b", 1))
        outbox.put(decision("gone", 1))
        outbox.discard("gone")
        found = []
        async for sent in outbox:
            found.append((sent.session_id, sent.version))
            if sent.session_id == "b":
                outbox.close()
        return found

    assert asyncio.run(collect()) == [("a", 1000), ("b", 1)]


def test_outbox_wakes_its_reader() -> None:
    async def wait() -> list[int]:
        outbox = Outbox()

        async def read() -> list[int]:
            return [sent.version async for sent in outbox]

        reader = asyncio.create_task(read())
        for version in (1, 2):
            await asyncio.sleep(0)
            outbox.put(decision("a", version))
            await asyncio.sleep(0.01)
        outbox.close()
        return await reader

    assert asyncio.run(wait()) == [1, 2]


@pytest.mark.parametrize(
    ("address", "named"),
    [
        ("10.0.0.2:50051", "10.0.0.2:50051"),
        ("0.0.0.0:50051", "ipv4:10.0.0.9:4711"),
        ("[::]:50051", "ipv4:10.0.0.9:4711"),
        ("", "ipv4:10.0.0.9:4711"),
    ],
)
def test_an_end_is_named_by_an_address_that_says_where_it_is(address: str, named: str) -> None:
    hello = controller_pb2.Hello(role=controller_pb2.ROLE_EDGE, id="edge", address=address)
    assert End(1, hello, "ipv4:10.0.0.9:4711").named == f"edge server 'edge' at {named}"


def test_decision_lines_are_strict_json(tmp_path: Path) -> None:
    seen = Observation(nan, inf, 0.5, -inf, 4, LayerRange(0, 17))
    held = Action(4, "held", hold=True)
    considered = Consideration("ue", "s", seen, held, 5, "held: why", None, standing=3, tokens=64)
    path = tmp_path / "log.jsonl"
    log = DecisionLog(path)
    log.write(decision_record(considered, 12.3456789, "abcd", "ppo"))
    log.close()
    log.write({"after": "close"})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {
            "event": "decision",
            "time_unix_s": 12.345679,
            "ue_id": "ue",
            "session_id": "s",
            "controller_instance": "abcd",
            "policy": "ppo",
            "tokens": 64,
            "observation": {
                "sigma": None,
                "m": "inf",
                "loss": 0.5,
                "snr_db": "-inf",
                "splits": [0, 17],
            },
            "committed": 4,
            "target": 5,
            "action": 4,
            "probabilities": None,
            "value": None,
            "reason": "held: why",
            "version": None,
        }
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_ends_the_log_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    log = DecisionLog(Path("/dev/full"))
    for _ in range(3):
        log.write({"event": "decision"})
    assert caplog.text.count("ends here") == 1


def test_a_log_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--decision-log"):
        DecisionLog(tmp_path / "missing" / "log")
