"""Generation: prompt in, tokens out, the split moving in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from airsplit.errors import FrameError, InputError
from airsplit.frames import Task
from airsplit.telemetry import TokenTrace
from ue_client.records import Answer, Switch
from ue_client.session import UeSession
from ue_client.steering import Stay, Steering, move, refusal

PREFILL_CHUNK_TOKENS = 128
"""Tokens of a prefill frame: long enough to compute well, short enough to overlap with the link."""


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
    """The move of the split that this token's frame, or its prompt's first one, committed."""


def generate(
    session: UeSession,
    prompt_ids: Sequence[int],
    max_new_tokens: int,
    *,
    stop_ids: frozenset[int] = frozenset(),
    steering: Steering | None = None,
) -> Iterator[Token]:
    """Yields new tokens until `max_new_tokens`, a stop token, or the end of the context.

    Raises:
        InputError: the prompt is empty or leaves no room.
        AirSplitError: a peer refused or is gone.
    """
    _require_room(session, prompt_ids)
    steering = steering or Stay()
    chunk = min(session.max_frame_tokens, PREFILL_CHUNK_TOKENS)
    pending = list(prompt_ids)
    for index in range(max_new_tokens):
        move(session, steering, index)
        last = (len(pending) - 1) // chunk * chunk
        switch = prefill(session, pending[:last], chunk, steering)
        refused = refusal(session, steering)
        answer = session.step(pending[last:], Task.TASK_SAMPLE, on_refused=refused)
        steering.answered(session, answer)
        token = _token(index, answer, switch or answer.switch)
        yield token
        if token.token_id in stop_ids or session.position >= session.request.max_context:
            return
        pending = [token.token_id]


def prefill(
    session: UeSession, token_ids: Sequence[int], chunk: int, steering: Steering
) -> Switch | None:
    """Sends context in chunks, as many at a time as there are credits; the move it committed."""
    answers: list[Answer] = []
    for start in range(0, len(token_ids), chunk):
        piece = token_ids[start : start + chunk]
        if session.uncommitted:
            refused = refusal(session, steering)
            answers.append(session.step(piece, Task.TASK_PREFILL, on_refused=refused))
            continue
        if session.in_flight >= session.credits:
            answers.append(session.collect())
        session.submit(piece, Task.TASK_PREFILL)
    while session.in_flight:
        answers.append(session.collect())
    for answer in answers:
        steering.answered(session, answer)
    return next((answer.switch for answer in answers if answer.switch), None)


def _token(index: int, answer: Answer, switch: Switch | None) -> Token:
    if answer.token_id is None:
        raise FrameError("token_id: missing in the answer to a SAMPLE frame")
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
