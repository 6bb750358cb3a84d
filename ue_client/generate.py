"""Generation: prompt in, tokens out, the split moving in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from airsplit.errors import AirSplitError, InputError
from airsplit.frames import Task
from airsplit.telemetry import TokenTrace
from ue_client.session import Answer, Switch, UeSession


@dataclass(frozen=True, slots=True)
class Token:
    """One new token and what it cost."""

    index: int
    token_id: int
    split: int
    trace: TokenTrace
    logits: bytes
    """fp32 [vocab_size] where the session asked for them."""

    switch: Switch | None
    """The move of the split that this token's frame committed."""


Steering = Callable[[UeSession, int], int | None]
"""Asked before the frame of new token `index`: the split to move to, or None."""


def stay(session: UeSession, index: int) -> int | None:
    """The split does not move."""
    return None


def generate(
    session: UeSession,
    prompt_ids: Sequence[int],
    max_new_tokens: int,
    *,
    stop_ids: frozenset[int] = frozenset(),
    steer: Steering = stay,
) -> Iterator[Token]:
    """Yields new tokens until `max_new_tokens`, a stop token, or the end of the context.

    Raises:
        InputError: the prompt is empty or leaves no room.
        AirSplitError: a peer refused or is gone.
    """
    _require_room(session, prompt_ids)
    pending = list(prompt_ids)
    for index in range(max_new_tokens):
        switch = move(session, steer(session, index))
        prefill(session, pending[:-1])
        answer = session.step(pending[-1:], Task.TASK_SAMPLE)
        token = _token(index, answer, switch if session.split == answer.frame.split else None)
        yield token
        if token.token_id in stop_ids or session.position >= session.request.max_context:
            return
        pending = [token.token_id]


def prefill(session: UeSession, token_ids: Sequence[int]) -> None:
    """Sends context in chunks, as many at a time as there are credits."""
    chunk = min(session.max_frame_tokens, PREFILL_CHUNK_TOKENS)
    for start in range(0, len(token_ids), chunk):
        if session.in_flight >= (1 if session.uncommitted else session.credits):
            session.collect()
        session.submit(token_ids[start : start + chunk], Task.TASK_PREFILL)
    while session.in_flight:
        session.collect()


def move(session: UeSession, split: int | None) -> Switch | None:
    """Hands the split over to `split`; None, or the split in force, moves nothing."""
    if split is None or split == session.split:
        return None
    return session.switch(split)


PREFILL_CHUNK_TOKENS = 128
"""Tokens of a prefill frame: long enough to compute well, short enough to overlap with the link."""


def _token(index: int, answer: Answer, switch: Switch | None) -> Token:
    if answer.token_id is None:
        raise AirSplitError("the edge answered a SAMPLE frame without a token")
    return Token(
        index=index,
        token_id=answer.token_id,
        split=answer.frame.split,
        trace=answer.trace,
        logits=answer.logits,
        switch=switch,
    )


def _require_room(session: UeSession, prompt_ids: Sequence[int]) -> None:
    room = session.request.max_context - session.position
    if not 1 <= len(prompt_ids) <= room:
        raise InputError.of("--prompt", f"{len(prompt_ids)} tokens", f"1-{room} tokens")
