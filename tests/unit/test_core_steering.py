"""Schedules as people write them, and what the UE takes for a configuration."""

from __future__ import annotations

from typing import Any

import pytest

from airsplit.errors import InputError
from ue_client.config import UeConfig
from ue_client.steering import Schedule


@pytest.mark.parametrize(
    ("text", "moves"),
    [
        ("16:3,32:9", {16: 3, 32: 9}),
        ("0:0", {0: 0}),
        (" 5:1 , 2:4 ", {5: 1, 2: 4}),
        ("007:01", {7: 1}),
    ],
)
def test_schedules(text: str, moves: dict[int, int]) -> None:
    schedule = Schedule.parse("--switch-schedule", text)
    assert schedule.moves == moves
    assert [schedule.target(None, index) for index in moves] == list(moves.values())  # type: ignore[arg-type]
    assert schedule.target(None, 99) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        *("", ",", "3", "3:", ":3", "a:1", "1:b", "-1:3", "1:-3", "1.5:2"),
        *("1:2,", "1:2,1:3", "1:2:3", "²:1", "1:" + "9" * 5000),
    ],
)
def test_no_schedules(text: str) -> None:
    with pytest.raises(InputError) as raised:
        Schedule.parse("--switch-schedule", text)
    assert str(raised.value) == (
        f"--switch-schedule: {text!r} is not allowed; "
        "allowed: INDEX:SPLIT[,INDEX:SPLIT...], each index once"
    )


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"edge": "nowhere"}, "--edge: 'nowhere' is not allowed; allowed: HOST:PORT"),
        ({"controller": "c:x"}, "--controller: 'c:x'"),
        ({"split": "-1"}, "--split: '-1' is not allowed; allowed: a layer count 0-L, or auto"),
        ({"split": "²"}, "--split: '²'"),
        ({"split": "auto"}, "--split: auto needs a --controller"),
        ({"deadline_s": 0.0}, "--deadline: 0.0"),
        ({"deadline_s": float("nan")}, "--deadline: nan"),
        ({"deadline_s": float("inf")}, "--deadline: inf"),
        ({"seed": -1}, "--seed: -1 is not allowed; allowed: 0 to 2"),
        ({"seed": 2**64}, "--seed: 18446744073709551616"),
        ({"threads": 0}, "--threads: 0 is not allowed; allowed: >= 1"),
    ],
)
def test_configurations_out_of_range(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as raised:
        UeConfig(**{"edge": "e:1", "split": "3", **fields})
    assert says in str(raised.value)


def test_who_moves_the_split() -> None:
    assert UeConfig("e:1", split="3").pinned
    assert not UeConfig("e:1", controller="c:1").pinned
    assert UeConfig("e:1", controller="c:1", switch_schedule="1:2").pinned
