"""Who moves the split, seen from the UE: asked before every frame, told what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from airsplit.errors import InputError, StaleCacheError
from ue_client.records import Answer
from ue_client.session import UeSession


class Steering(Protocol):
    """`index` counts what the caller yields: new tokens when generating, frames when scoring."""

    def target(self, session: UeSession, index: int) -> int | None:
        """The split to move to before frame `index`, or None to stay."""

    def answered(self, session: UeSession, answer: Answer) -> None:
        """A frame was answered; `answer.switch` says whether it committed a move."""

    def rejected(self, session: UeSession, split: int, reason: str) -> None:
        """The move to `split` did not happen; the old split goes on."""


class Stay:
    """The split does not move."""

    def target(self, session: UeSession, index: int) -> int | None:
        return None

    def answered(self, session: UeSession, answer: Answer) -> None:
        pass

    def rejected(self, session: UeSession, split: int, reason: str) -> None:
        pass


class Schedule(Stay):
    """Moves the split at given indices: for experiments."""

    def __init__(self, moves: Mapping[int, int]) -> None:
        self.moves = dict(moves)

    @classmethod
    def parse(cls, field: str, text: str) -> Schedule:
        """`"16:3,32:9"`: before index 16 to split 3, before 32 to split 9.

        Raises:
            InputError: not of that form, or an index twice.
        """
        moves: dict[int, int] = {}
        for part in text.split(","):
            index, _, split = part.strip().partition(":")
            if not (_is_count(index) and _is_count(split)) or int(index) in moves:
                raise InputError.of(field, text, "INDEX:SPLIT[,INDEX:SPLIT...], each index once")
            moves[int(index)] = int(split)
        return cls(moves)

    def target(self, session: UeSession, index: int) -> int | None:
        return self.moves.get(index)


def _is_count(text: str) -> bool:
    return text.isdecimal() and len(text) <= 9


def refusal(session: UeSession, steering: Steering) -> Callable[[int, str], None]:
    """Tells `steering` that the edge refused a frame with a new split."""
    return lambda split, reason: steering.rejected(session, split, reason)


def move(session: UeSession, steering: Steering, index: int) -> None:
    """Asks, and hands the split over if it is to move. Nothing may be in flight.

    An edge that lacks rows keeps the old split going; other errors are the caller's.
    """
    split = steering.target(session, index)
    if split is None or split == session.split:
        return
    try:
        session.switch(split)
    except StaleCacheError as error:
        steering.rejected(session, split, str(error))
