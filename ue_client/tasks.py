"""The UE's jobs from the command line: generate and score, with their results as plain data."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from airsplit.errors import InputError
from airsplit.perplexity import Perplexity, windows
from airsplit.telemetry import TokenTrace, latency_summary, write_lines
from airsplit.text import load_text
from ue_client.config import AUTO
from ue_client.generate import Token, generate
from ue_client.records import Answer, Switch
from ue_client.score import SCORE_CHUNK_TOKENS, score
from ue_client.session import UeSession
from ue_client.text_stream import TextStream
from ue_client.ue import Ue

DEFAULT_PROMPT = "The lighthouse stood at the end of a long finger of rock, and"


def add_generate_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("generation")
    group.add_argument(
        "--prompt", default=DEFAULT_PROMPT, metavar="TEXT", help=f"default: {DEFAULT_PROMPT!r}"
    )
    group.add_argument(
        "--max-new-tokens", type=int, default=64, metavar="N", help=">= 1 (default 64)"
    )
    group.add_argument(
        "--temperature", type=float, default=0.0, metavar="T", help="0 is greedy (default 0)"
    )
    group.add_argument(
        "--top-p", type=float, default=1.0, metavar="P", help="nucleus, above 0 to 1 (default 1)"
    )
    group.add_argument("--top-k", type=int, default=0, metavar="K", help="0 keeps all (default 0)")
    group.add_argument(
        "--ignore-eos", action="store_true", help="go on after an end-of-sequence token"
    )


def add_score_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("scoring")
    group.add_argument(
        "--dataset",
        default="sample",
        metavar="D",
        help="sample (embedded), wikitext-2 (hub), a text file, or a folder with test.txt",
    )
    group.add_argument(
        "--window", type=int, default=512, metavar="TOKENS", help="context length (default 512)"
    )
    group.add_argument(
        "--max-tokens",
        type=int,
        default=None,
        metavar="N",
        help="score the first N tokens only (default: all)",
    )
    group.add_argument(
        "--chunk",
        type=int,
        default=SCORE_CHUNK_TOKENS,
        metavar="TOKENS",
        help="tokens of a frame; the split can move between two (default %(default)s)",
    )


def check_generate(args: argparse.Namespace) -> None:
    """Raises: InputError: a value is out of its range."""
    write_traces(args.traces, [])  # what cannot be written is said before the work
    if args.max_new_tokens < 1:
        raise InputError.of("--max-new-tokens", args.max_new_tokens, ">= 1")
    if not 0 <= args.temperature <= 100:
        raise InputError.of("--temperature", args.temperature, "0 (greedy) to 100")
    if not 0 < args.top_p <= 1:
        raise InputError.of("--top-p", args.top_p, "above 0, up to 1")
    if not 0 <= args.top_k < 2**32:
        raise InputError.of("--top-k", args.top_k, "0 (all) to 2^32 - 1")


def check_score(args: argparse.Namespace) -> None:
    """Raises: InputError: a value is out of its range."""
    write_traces(args.traces, [])
    for field, least in (("window", 2), ("max_tokens", 1), ("chunk", 1)):
        value = getattr(args, field)
        if value is not None and value < least:
            raise InputError.of(f"--{field.replace('_', '-')}", value, f">= {least}")


def run_generate(
    ue: Ue, args: argparse.Namespace, on_text: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Generates from `args.prompt`; `on_text` gets the prompt and then the text as it comes.

    Raises:
        AirSplitError: bad input, or a peer refused or is gone.
    """
    check_generate(args)
    prompt_ids = ue.tokenizer.encode(args.prompt)
    if len(prompt_ids) >= ue.max_context:
        raise InputError.of(
            "--prompt", f"{len(prompt_ids)} tokens", f"1-{ue.max_context - 1} tokens"
        )
    stop = frozenset[int]() if args.ignore_eos else stop_ids(ue)
    sampling = {"temperature": args.temperature, "top_p": args.top_p, "top_k": args.top_k}
    with _session(ue, len(prompt_ids) + args.max_new_tokens, **sampling) as session:
        started = time.monotonic()
        first = started
        tokens: list[Token] = []
        text = TextStream(ue.tokenizer, on_text)
        if on_text:
            on_text(args.prompt)
        for token in generate(
            session, prompt_ids, args.max_new_tokens, stop_ids=stop, steering=ue.steering
        ):
            first = time.monotonic() if not tokens else first
            tokens.append(token)
            if on_text:
                text.add(token.token_id)
        elapsed = time.monotonic() - first
    write_traces(args.traces, [token.trace for token in tokens])
    ids = [token.token_id for token in tokens]
    decode = [token.trace for token in tokens[1:]] or [token.trace for token in tokens]
    return {
        "prompt": args.prompt,
        "text": ue.tokenizer.decode(ids, skip_special_tokens=True),
        "token_ids": ids,
        "prompt_tokens": len(prompt_ids),
        "finish_reason": _finish_reason(args, ids, stop),
        "splits": [token.split for token in tokens],
        "switches": [switch_dict(t.switch, token=t.index) for t in tokens if t.switch is not None],
        "tokens_per_second": _rate(len(tokens) - 1, elapsed),
        "ttft_ms": round((first - started) * 1e3, 3),
        "latency_ms": latency_summary(decode),
        "uplink_bytes": sum(token.trace.uplink_bytes for token in tokens),
        "channel": channel_summary(ue, [token.trace for token in tokens]),
        **_configuration(ue),
    }


def run_score(
    ue: Ue, args: argparse.Namespace, on_answer: Callable[[Answer, Perplexity], None] | None = None
) -> dict[str, Any]:
    """Scores `args.dataset`; `on_answer` sees every frame and the perplexity so far.

    Raises:
        AirSplitError: bad input, or a peer refused or is gone.
    """
    check_score(args)
    if args.window > ue.max_context:
        raise InputError.of("--window", args.window, f"2-{ue.max_context} tokens")
    token_ids = ue.tokenizer.encode(load_text(args.dataset), add_special_tokens=False)
    bos = ue.tokenizer.bos_token_id
    texts = windows(token_ids, args.window, bos, args.max_tokens)
    with _session(ue, args.window) as session:
        started = time.monotonic()
        total = Perplexity()
        traces: list[TokenTrace] = []
        splits: list[int] = []
        switches: list[dict[str, Any]] = []
        for answer in score(session, texts, chunk_tokens=args.chunk, steering=ue.steering):
            total.add(answer.nll)
            traces.append(answer.trace)
            splits += [answer.frame.split] * len(answer.nll)
            if answer.switch is not None:
                where = {"window": answer.frame.window, "position": answer.frame.position}
                switches.append(switch_dict(answer.switch, **where))
            if on_answer:
                on_answer(answer, total)
        elapsed = time.monotonic() - started
    if total.tokens == 0:
        raise InputError(f"--dataset: {args.dataset!r} is too short to score")
    write_traces(args.traces, traces)
    return {
        "perplexity": total.value if math.isfinite(total.value) else None,
        "nll_sum": total.nll_sum,
        "tokens": total.tokens,
        "splits": splits,
        "switches": switches,
        "tokens_per_second": _rate(total.tokens, elapsed),
        "latency_ms": latency_summary(traces),
        "uplink_bytes": sum(trace.uplink_bytes for trace in traces),
        "channel": channel_summary(ue, traces),
        "dataset": args.dataset,
        "window": args.window,
        **_configuration(ue),
    }


def stop_ids(ue: Ue) -> frozenset[int]:
    """The tokens that end a text."""
    eos = ue.tokenizer.eos_token_id
    configured = ue.partition.config.eos_token_id
    ids = {eos, *(configured if isinstance(configured, list) else [configured])}
    return frozenset(int(token) for token in ids if token is not None)


def switch_dict(switch: Switch, **where: int) -> dict[str, Any]:
    return {
        "from": switch.split_from,
        "to": switch.split_to,
        **where,
        "bytes": switch.bytes,
        "gap_ms": round(switch.gap_ms, 4),
    }


def channel_summary(ue: Ue, traces: Sequence[TokenTrace]) -> dict[str, Any] | None:
    """The radio's configuration, what was measured on it, and the receiver's last estimate."""
    state = ue.channel()
    seen = [trace.channel for trace in traces if trace.channel is not None]
    if state is None or not seen:
        return None
    measured = {
        key: _mean([report["truth"][key] for report in seen])
        for key in ("sigma", "mean_gain", "loss", "snr_db")
    }
    return {**state, "measured": measured, "estimate": seen[-1]["estimate"]}


def write_traces(path: str | None, traces: Sequence[TokenTrace]) -> None:
    """One JSON line per frame.

    Raises:
        InputError: the file cannot be written.
    """
    if path is None:
        return
    try:
        with Path(path).open("w", encoding="utf-8") as file:
            write_lines(file, (trace.to_dict() for trace in traces))
    except OSError as error:
        raise InputError(f"--traces: {path!r} cannot be written: {error.strerror}") from error


@contextmanager
def _session(ue: Ue, max_context: int, **request: Any) -> Iterator[UeSession]:
    session = ue.open(max_context, **request)
    try:
        yield session
    finally:
        ue.close_session(session)


def _mean(values: Sequence[Any]) -> float | None:
    numbers = [value for value in values if isinstance(value, float | int)]
    return round(float(np.mean(numbers)), 6) if numbers else None


def _finish_reason(args: argparse.Namespace, ids: Sequence[int], stop: frozenset[int]) -> str:
    if ids[-1] in stop:
        return "stop"
    return "length" if len(ids) == args.max_new_tokens else "context"


def _rate(count: int, seconds: float) -> float | None:
    return round(count / seconds, 3) if count > 0 and seconds > 0 else None


def _configuration(ue: Ue) -> dict[str, Any]:
    split = ue.config.split
    return {
        "model": ue.config.model,
        "split": split if split == AUTO else int(split),
        "seed": ue.config.seed,
    }
