"""Scoring: the perplexity of a text, window by window, the split moving between frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from airsplit.frames import Task
from ue_client.records import Answer
from ue_client.session import UeSession
from ue_client.steering import Stay, Steering, move, refusal

SCORE_CHUNK_TOKENS = 128
"""Tokens of a scoring frame: the split can move between two of them."""


def score(
    session: UeSession,
    windows: Iterable[list[int]],
    *,
    chunk_tokens: int = SCORE_CHUNK_TOKENS,
    steering: Steering | None = None,
) -> Iterator[Answer]:
    """Scores every token but the first of each window; yields the answers in order.

    Frames are pipelined up to the edge's credits; a move of the split waits for all answers, and
    its first frame is answered before the next one follows.

    Raises:
        AirSplitError: a peer refused or is gone.
    """
    steering = steering or Stay()
    chunk = min(session.max_frame_tokens, chunk_tokens)
    index = 0
    for ids in windows:
        if session.position:
            yield from _collect(session, steering, leave=0)
            session.begin_window()
        for start in range(0, len(ids), chunk):
            piece, targets = ids[start : start + chunk], ids[start + 1 : start + chunk + 1]
            # What the answers so far led to is known before it is asked for.
            yield from _collect(session, steering, leave=session.credits - 1)
            if steering.target(session, index) not in (None, session.split):
                yield from _collect(session, steering, leave=0)
                move(session, steering, index)
            index += 1
            if session.uncommitted:
                refused = refusal(session, steering)
                answer = session.step(piece, Task.TASK_SCORE, targets, on_refused=refused)
                steering.answered(session, answer)
                yield answer
                continue
            session.submit(piece, Task.TASK_SCORE, targets)
    yield from _collect(session, steering, leave=0)


def _collect(session: UeSession, steering: Steering, leave: int) -> Iterator[Answer]:
    """Answers until at most `leave` frames are in flight."""
    while session.in_flight > leave:
        answer = session.collect()
        steering.answered(session, answer)
        yield answer
