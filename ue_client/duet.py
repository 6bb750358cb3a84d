"""Two sessions in one UE: it tells stories and scores a text, in turns, each session steered by
itself. One JSON line per event on standard output, as it happens."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, TextIO

from airsplit.errors import InputError
from airsplit.perplexity import windows
from airsplit.text import load_text
from ue_client.generate import generate
from ue_client.records import Answer
from ue_client.score import score
from ue_client.session import UeSession
from ue_client.steering import Steering
from ue_client.tasks import stop_ids, switch_dict
from ue_client.text_stream import TextStream
from ue_client.ue import Ue

STORY = "story"
SCORE = "score"

STORY_TOKENS = 240
"""A story that has not ended by then is cut, and the next one begins."""

OPENINGS = (
    "There was once an old clockmaker who lived above the harbour, and every evening",
    "The winter that the river froze was long remembered in the village, because",
    "She had been told never to open the green door, but that morning",
    "The last train had gone, and the two travellers sat down on the platform and",
    "In the little house at the end of the lane there lived a girl who",
    "The captain put the letter into his pocket and looked out over the water.",
    "Nobody knew where the stranger had come from, though it was said that",
    "The mill had stood empty for eleven years when, one night in October,",
)
"""How stories begin; the seed shuffles them."""

PARENT_GRACE_S = 3.0
"""Time to end in order after the parent has gone, seconds; then this process just ends."""


def add_duet_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("duet")
    group.add_argument(
        "--duration",
        type=float,
        default=40.0,
        metavar="S",
        help="> 0 seconds (default %(default)g)",
    )
    group.add_argument(
        "--dataset", default="sample", metavar="D", help="text to score, again and again"
    )
    group.add_argument(
        "--window", type=int, default=256, metavar="TOKENS", help="scored context (default 256)"
    )
    group.add_argument(
        "--chunk",
        type=int,
        default=32,
        metavar="TOKENS",
        help="tokens of a scoring frame; the split can move between two (default %(default)s)",
    )
    group.add_argument(
        "--story-tokens-per-frame",
        type=int,
        default=1,
        metavar="N",
        help="new story tokens after each scoring frame, >= 1 (default %(default)s)",
    )
    group.add_argument(
        "--temperature", type=float, default=0.8, metavar="T", help="of stories (default 0.8)"
    )
    group.add_argument(
        "--top-p", type=float, default=0.95, metavar="P", help="of stories (default 0.95)"
    )
    group.add_argument(
        "--stop-with-parent",
        action="store_true",
        help="stop when standard input closes, so that no child outlives who started it",
    )


def run_duet(ue: Ue, args: argparse.Namespace, file: TextIO | None = None) -> None:
    """Works until `--duration` has passed, SIGTERM, or (if asked for) the parent's end.

    Events, one JSON object a line on `file` (standard output), each with `time_s` since the start:

    - started: what is run, and `windows`, how many there are of the text
    - story: a new one begins, with its `opening`
    - frame: `session`, the fields of `TokenTrace`, `switch` (or null); scored ones with `nll_sum`,
      `scored_tokens` and `text_window`, which of the text's windows it is of
    - text: a `piece` of the story
    - ended

    Raises:
        InputError: a value is out of its range.
        AirSplitError: a peer refused or is gone.
    """
    _check(ue, args)
    token_ids = ue.tokenizer.encode(load_text(args.dataset), add_special_tokens=False)
    texts = list(windows(token_ids, args.window, ue.tokenizer.bos_token_id))
    if not texts:
        raise InputError(f"--dataset: {args.dataset!r} is too short to score")
    stopping = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    if args.stop_with_parent:
        watch_parent(stopping)
    out = Events(file or sys.stdout)
    with ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGTERM, before)
        # Each session has channel draws of its own.
        scoring = ue.open(args.window, stream=(ue.config.seed + 1) % 2**64)
        stack.callback(ue.close_session, scoring)
        telling = ue.open(
            max(map(len, _prompts(ue))) + STORY_TOKENS,
            temperature=args.temperature,
            top_p=args.top_p,
        )
        stack.callback(ue.close_session, telling)
        frames = score(
            scoring,
            cycle(texts),
            chunk_tokens=args.chunk,
            steering=Recorder(ue.steering, out, SCORE, len(texts)),
        )
        tokens = tell(ue, telling, Recorder(ue.steering, out, STORY), out)
        deadline = time.monotonic() + args.duration
        with suppress(BrokenPipeError):  # nobody listens any more
            out.emit("started", **_facts(ue, scoring), windows=len(texts))
            while not stopping.is_set() and time.monotonic() < deadline:
                next(frames)
                for _ in range(args.story_tokens_per_frame):
                    next(tokens)
            out.emit("ended")
            return
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tell(ue: Ue, session: UeSession, steering: Steering, out: Events) -> Iterator[None]:
    """Tells one story after the other, for ever; yields after every new token."""
    prompts = list(zip(OPENINGS, _prompts(ue), strict=True))
    random.Random(ue.config.seed).shuffle(prompts)  # noqa: S311 - no secret
    stop = stop_ids(ue)
    for opening, prompt in cycle(prompts):
        session.begin_window()
        out.emit("story", opening=opening)
        stream = TextStream(ue.tokenizer, lambda piece: out.emit("text", piece=piece))
        for token in generate(session, prompt, STORY_TOKENS, stop_ids=stop, steering=steering):
            stream.add(token.token_id)
            yield


@dataclass
class Events:
    """Writes events; time counts from its creation."""

    file: TextIO
    started: float = field(default_factory=time.monotonic)

    def emit(self, event: str, **fields: Any) -> None:
        """Raises: BrokenPipeError: nobody reads any more."""
        time_s = round(time.monotonic() - self.started, 4)
        line = json.dumps({"event": event, "time_s": time_s, **fields}, allow_nan=False)
        print(line, file=self.file, flush=True)


@dataclass
class Recorder:
    """A steering that writes down every answered frame and leaves the steering to `inner`."""

    inner: Steering
    out: Events
    session: str
    windows: int = 1
    """Windows of the scored text; it begins again after the last."""

    def target(self, session: UeSession, index: int) -> int | None:
        return self.inner.target(session, index)

    def answered(self, session: UeSession, answer: Answer) -> None:
        self.inner.answered(session, answer)
        fields = {"session": self.session, **answer.trace.to_dict()}
        fields["switch"] = None if answer.switch is None else switch_dict(answer.switch)
        if answer.nll:
            fields["nll_sum"] = sum(answer.nll)
            fields["scored_tokens"] = len(answer.nll)
            fields["text_window"] = answer.frame.window % self.windows
        self.out.emit("frame", **fields)

    def rejected(self, session: UeSession, split: int, reason: str) -> None:
        self.inner.rejected(session, split, reason)


def watch_parent(stopping: threading.Event) -> None:
    """Sets `stopping` when standard input ends: the parent has gone, however it went.

    Whatever this process waits for then, it is gone itself `PARENT_GRACE_S` later.
    """

    def watch() -> None:
        while os.read(0, 4096):
            pass
        stopping.set()
        time.sleep(PARENT_GRACE_S)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _prompts(ue: Ue) -> list[list[int]]:
    return [ue.tokenizer.encode(opening) for opening in OPENINGS]


def _facts(ue: Ue, session: UeSession) -> dict[str, Any]:
    return {
        "model": ue.config.model,
        "layers": session.partition.facts.layers,
        "splits": [session.splits.start, session.splits.stop - 1],
        "split": session.split,
    }


def _check(ue: Ue, args: argparse.Namespace) -> None:
    """Raises: InputError: a value is out of its range."""
    if args.json or args.traces:
        raise InputError("--json, --traces: not for duet, it always writes every frame as JSON")
    if not args.duration > 0:
        raise InputError.of("--duration", args.duration, "> 0 seconds")
    if not 2 <= args.window <= ue.max_context:
        raise InputError.of("--window", args.window, f"2-{ue.max_context} tokens")
    for name in ("chunk", "story_tokens_per_frame"):
        if getattr(args, name) < 1:
            raise InputError.of(f"--{name.replace('_', '-')}", getattr(args, name), ">= 1")
