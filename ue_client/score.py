"""Scoring: the perplexity of a text, window by window, the split moving between frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from airsplit.frames import Task
from airsplit.telemetry import TokenTrace
from ue_client.generate import Steering, move, stay
from ue_client.session import Answer, Switch, UeSession

SCORE_CHUNK_TOKENS = 128
"""Tokens of a scoring frame: the split can move between two of them."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The targets of one frame and their negative log-likelihoods."""

    window: int
    position: int
    nll: tuple[float, ...]
    split: int
    trace: TokenTrace
    logits: bytes
    switch: Switch | None


def score(
    session: UeSession,
    windows: Iterator[list[int]] | Sequence[list[int]],
    *,
    chunk_tokens: int = SCORE_CHUNK_TOKENS,
    steer: Steering = stay,
) -> Iterator[Scored]:
    """Scores every token but the first of each window.

    Frames are pipelined up to the edge's credits; a move of the split waits for all answers, and
    its first frame is answered before the next one follows.

    Raises:
        AirSplitError: a peer refused or is gone.
    """
    chunk = min(session.max_frame_tokens, chunk_tokens)
    index = 0
    for ids in windows:
        if session.position:
            yield from _collect_all(session)
            session.begin_window()
        for start in range(0, len(ids), chunk):
            wanted = steer(session, index)
            switch = None
            if wanted is not None and wanted != session.split:
                yield from _collect_all(session)
                switch = move(session, wanted)
            piece = ids[start : start + chunk]
            targets = ids[start + 1 : start + chunk + 1]
            if session.uncommitted:
                yield _scored(session.step(piece, Task.TASK_SCORE, targets), switch)
            else:
                if session.in_flight >= session.credits:
                    yield _scored(session.collect(), None)
                session.submit(piece, Task.TASK_SCORE, targets)
            index += 1
    yield from _collect_all(session)


def _collect_all(session: UeSession) -> Iterator[Scored]:
    while session.in_flight:
        yield _scored(session.collect(), None)


def _scored(answer: Answer, switch: Switch | None) -> Scored:
    return Scored(
        window=answer.frame.window,
        position=answer.frame.position,
        nll=answer.nll,
        split=answer.frame.split,
        trace=answer.trace,
        logits=answer.logits,
        switch=switch,
    )
