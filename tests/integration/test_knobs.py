"""Every flag of UE, edge and duet that is not tested elsewhere changes a number that is measured.

Edges run in this process where that is the same, set up from their own flags.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import edge_server.__main__
import ue_client.config
import ue_client.duet
from airsplit import errors
from airsplit.checkpoint import ASSETS, Checkpoint
from airsplit.frames import Task
from airsplit.partition import ModelPartition
from airsplit.perplexity import windows
from airsplit.text import load_text, load_tokenizer
from cli.main import main
from edge_server.engine import Priority
from edge_server.service import EdgeServicer
from experiments.stack import Stack, start_services
from tests.serving import edge_serving
from ue_client.__main__ import main as ue_main
from ue_client.link import Link
from ue_client.session import SessionRequest, UeSession
from ue_client.ue import Ue

pytestmark = pytest.mark.timeout(120)

Run = Callable[..., dict[str, Any]]
Refuse = Callable[..., str]

ROW_BYTES = 768
"""Key and value of one token in one layer of the embedded model, fp32."""


@pytest.fixture(autouse=True)
def _process_state() -> Iterator[None]:
    """Commands handle SIGTERM and set torch's threads; give both back."""
    handler, threads = signal.getsignal(signal.SIGTERM), torch.get_num_threads()
    yield
    signal.signal(signal.SIGTERM, handler)
    torch.set_num_threads(threads)


@contextmanager
def edge_with(*flags: str) -> Iterator[tuple[str, EdgeServicer]]:
    """An edge in this process, as `python -m edge_server FLAGS` sets it up."""
    parser = argparse.ArgumentParser()
    edge_server.__main__.add_arguments(parser)
    config = edge_server.__main__.config_of(parser.parse_args(flags))
    threads = torch.get_num_threads()
    try:
        with edge_serving(edge_server.__main__.load(config), config) as served:
            yield served
    finally:
        torch.set_num_threads(threads)


def ue_with(*flags: str) -> Ue:
    """A UE, as `airsplit generate FLAGS` sets it up."""
    parser = argparse.ArgumentParser()
    ue_client.config.add_arguments(parser, edge_required=True)
    return Ue(ue_client.config.config_of(parser.parse_args(flags)))


@pytest.fixture(scope="module")
def edge() -> Iterator[str]:
    with edge_with() as (address, _):
        yield address


@pytest.fixture
def airsplit(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command with --json in this process."""

    def run(*arguments: str) -> dict[str, Any]:
        capsys.readouterr()
        assert main([*arguments, "--json"]) == 0, capsys.readouterr().err
        answer: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return answer

    return run


@pytest.fixture
def generate(airsplit: Run, edge: str) -> Run:
    """24 greedy tokens at split 4, unless the flags say otherwise."""
    base = ("generate", "--edge", edge, "--split", "4", "--max-new-tokens", "24", "--ignore-eos")
    return lambda *flags: airsplit(*base, *flags)


@pytest.fixture
def score(airsplit: Run, edge: str) -> Run:
    """400 tokens at split 4 in windows of 128, unless the flags say otherwise."""
    base = ("score", "--edge", edge, "--split", "4", "--max-tokens", "400", "--window", "128")
    return lambda *flags: airsplit(*base, *flags)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refuse:
    """The one line with which a command refuses."""

    def run(*arguments: str) -> str:
        capsys.readouterr()
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return run


# Generation.


def test_prompt(generate: Run) -> None:
    sea, king = generate("--prompt", "The sea"), generate("--prompt", "The king was old, and")
    assert (sea["prompt"], king["prompt"]) == ("The sea", "The king was old, and")
    assert sea["prompt_tokens"] < king["prompt_tokens"]
    assert sea["token_ids"] != king["token_ids"]


def test_max_new_tokens(generate: Run) -> None:
    long = generate()["token_ids"]
    assert len(long) == 24
    for count in (1, 7):
        assert generate("--max-new-tokens", str(count))["token_ids"] == long[:count]


def test_temperature(generate: Run) -> None:
    greedy = generate()["token_ids"]
    assert generate("--temperature", "0")["token_ids"] == greedy
    assert generate("--temperature", "1e-6")["token_ids"] == greedy
    mild = generate("--temperature", "0.7", "--seed", "3")["token_ids"]
    wild = generate("--temperature", "2", "--seed", "3")["token_ids"]
    assert len({tuple(greedy), tuple(mild), tuple(wild)}) == 3


@pytest.mark.parametrize(
    ("flag", "narrow", "wider"), [("--top-p", "1e-6", "0.5"), ("--top-k", "1", "5")]
)
def test_narrow_sampling_is_greedy(generate: Run, flag: str, narrow: str, wider: str) -> None:
    hot = ("--temperature", "1", "--seed", "5")
    greedy, free = generate()["token_ids"], generate(*hot)["token_ids"]
    assert generate(*hot, flag, narrow)["token_ids"] == greedy
    assert len({*map(tuple, (greedy, free, generate(*hot, flag, wider)["token_ids"]))}) == 3


def test_seed_of_sampling(generate: Run) -> None:
    def tell(seed: int) -> list[int]:
        result = generate("--temperature", "1", "--seed", str(seed))
        assert result["seed"] == seed
        tokens: list[int] = result["token_ids"]
        return tokens

    assert tell(8) == tell(8)
    assert tell(8) != tell(9)
    assert generate("--seed", "8")["token_ids"] == generate("--seed", "9")["token_ids"], "greedy"


def test_ignore_eos(airsplit: Run, embedded: Checkpoint, tmp_path: Path, generate: Run) -> None:
    """On a copy of the embedded model whose texts end at a token that its greedy text has."""
    greedy = generate()["token_ids"]
    last = next(i for i, token in enumerate(greedy) if i >= 4 and token not in greedy[:i])
    for file in embedded.path.iterdir():
        (tmp_path / file.name).symlink_to(file)
    config = json.loads((embedded.path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(
        json.dumps({**config, "eos_token_id": [1, greedy[last]]}), encoding="utf-8"
    )
    with edge_with("--model", str(tmp_path)) as (address, _):
        arguments = ("generate", "--edge", address, "--split", "4", "--model", str(tmp_path))
        arguments += ("--max-new-tokens", "24")
        ended, ignored = airsplit(*arguments), airsplit(*arguments, "--ignore-eos")
    assert ended["token_ids"] == greedy[: last + 1], "the stop token is the last one"
    assert ended["finish_reason"] == "stop"
    assert len(ended["splits"]) == last + 1
    assert ignored["token_ids"] == greedy
    assert ignored["finish_reason"] == "length"
    assert ended["model"] == str(tmp_path)


def test_switch_schedule(generate: Run) -> None:
    stay = generate()
    moved = generate("--switch-schedule", "3:7,10:0,20:16")
    assert moved["splits"] == [4] * 3 + [7] * 7 + [0] * 10 + [16] * 4
    assert [(s["from"], s["to"], s["token"]) for s in moved["switches"]] == [
        *((4, 7, 3), (7, 0, 10), (0, 16, 20))
    ]
    assert moved["token_ids"] == stay["token_ids"], "moving changes where, not what"
    assert (stay["splits"], stay["switches"]) == ([4] * 24, [])


# Scoring.


def test_window(score: Run) -> None:
    short, long = score("--window", "16"), score("--window", "400")
    assert (short["window"], long["window"]) == (16, 400)
    assert short["perplexity"] > 1.1 * long["perplexity"], "less context, more surprise"


def test_max_tokens(score: Run) -> None:
    for count in (1, 150):
        result = score("--max-tokens", str(count))
        assert result["tokens"] == len(result["splits"]) == count


def test_chunk(score: Run, tmp_path: Path) -> None:
    def frames(chunk: int) -> tuple[list[int], float]:
        file = tmp_path / "traces.jsonl"
        flags = ("--chunk", str(chunk), "--max-tokens", "200", "--window", "256")
        result = score(*flags, "--traces", str(file))
        lines = file.read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["tokens"] for line in lines], result["perplexity"]

    fine, coarse = frames(40), frames(128)
    # Behind the first token of the text stands one that begins the window.
    assert fine[0] == [40] * 5 + [1]
    assert coarse[0] == [128, 73]
    assert fine[1] == pytest.approx(coarse[1], rel=1e-5)


def test_dataset(score: Run, tmp_path: Path) -> None:
    text = "The sea was calm and the boats came home. " * 8
    (tmp_path / "test.txt").write_text(text, encoding="utf-8")
    tokens = len(load_tokenizer(ASSETS / "airsplit-tiny").encode(text, add_special_tokens=False))
    file, folder = score("--dataset", str(tmp_path / "test.txt")), score("--dataset", str(tmp_path))
    assert file["dataset"] == str(tmp_path / "test.txt")
    assert file["tokens"] == folder["tokens"] == tokens
    assert file["nll_sum"] == folder["nll_sum"]
    assert file["perplexity"] < 0.8 * score()["perplexity"], "it repeats itself"


# The model at both ends.


def test_wire_dtype(score: Run) -> None:
    full, half = score(), score("--wire-dtype", "fp16")
    assert half["uplink_bytes"] == full["uplink_bytes"] / 2
    assert half["perplexity"] != full["perplexity"]
    assert half["perplexity"] == pytest.approx(full["perplexity"], rel=0.01)


@pytest.mark.parametrize(("dtype", "close"), [("bf16", 0.05), ("fp16", 0.01)])
def test_dtype(edge: str, score: Run, dtype: str, close: float) -> None:
    full = score()
    with Link(edge) as link, edge_with("--dtype", dtype) as (address, servicer):
        assert 2 * servicer.partition.weight_bytes == link.describe().weight_bytes
        half = score("--edge", address, "--dtype", dtype)
    assert half["uplink_bytes"] == full["uplink_bytes"] / 2
    assert half["perplexity"] != full["perplexity"]
    assert half["perplexity"] == pytest.approx(full["perplexity"], rel=close)


def test_device(edge: str, score: Run, refused: Refuse) -> None:
    assert score("--device", "cpu")["nll_sum"] == score()["nll_sum"]
    line = refused("score", "--edge", edge, "--split", "4", "--device", "cuda:99")
    assert "--device: 'cuda:99' is not allowed; allowed: cpu, cuda, cuda:N" in line


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")
def test_cuda_device(score: Run) -> None:
    before = torch.cuda.memory_allocated()
    with edge_with("--device", "cuda") as (address, servicer):
        assert torch.cuda.memory_allocated() - before >= servicer.partition.weight_bytes
        result = score("--edge", address, "--device", "cuda")
    assert result["perplexity"] == pytest.approx(score()["perplexity"], rel=1e-3)


def test_layers_at_the_ue(edge: str, generate: Run, refused: Refuse) -> None:
    def weight_bytes(layers: str) -> int:
        with ue_with("--edge", edge, "--split", "0", "--layers", layers) as ue:
            return ue.partition.weight_bytes

    none, four, every = weight_bytes("0:0"), weight_bytes(":4"), weight_bytes(":")
    assert every - none == 4 * (four - none) > 0, "4 of 16 layers"
    assert generate("--layers", ":4")["token_ids"] == generate()["token_ids"]
    line = refused("generate", "--edge", edge, "--layers", ":4", "--split", "5")
    assert "--split: 5 is not allowed; allowed: 0-4" in line


def test_layers_at_the_edge(generate: Run, refused: Refuse) -> None:
    described = {}
    for layers in ("16:16", "12:", ":"):
        with edge_with("--layers", layers) as (address, _), Link(address) as link:
            described[layers] = link.describe()
            if layers != "12:":
                continue
            line = refused("generate", "--edge", address, "--split", "11")
            assert "--split: 11 is not allowed; allowed: 12-16" in line
            part = generate("--edge", address, "--split", "13")
            assert part["token_ids"] == generate("--split", "13")["token_ids"]
            session = session_at(link, 100, split=12)
            assert link.describe().kv_reserved_bytes == 4 * 100 * ROW_BYTES
            session.close()
    none, four, every = (described[layers].weight_bytes for layers in ("16:16", "12:", ":"))
    assert every - none == 4 * (four - none) > 0, "4 of 16 layers"
    assert (described["12:"].edge_layers.start, described["12:"].edge_layers.stop) == (12, 16)


def test_threads(generate: Run) -> None:
    few = ("--max-new-tokens", "4", "--threads")
    one = generate(*few, "1")["token_ids"]
    assert torch.get_num_threads() == 1
    assert generate(*few, "2")["token_ids"] == one
    assert torch.get_num_threads() == 2
    with edge_with("--threads", "3") as (_, servicer):
        # What counts is the thread that computes.
        job = servicer.engine.run(Priority.DECODE, torch.get_num_threads)
        assert asyncio.run(_completed(job)) == 3


async def _completed(job: Any) -> Any:
    return await job


# The edge's limits.


@pytest.fixture(scope="module")
def talkative() -> Iterator[tuple[str, Stack]]:
    """Real processes: a small context, few credits, and lines of what they do."""
    info = ("--log-level", "info")
    with Stack() as stack:
        addresses = start_services(
            stack,
            channel="ideal",
            seed=0,
            edge_arguments=["--max-context", "64", "--credits", "2", "--threads", "1", *info],
            channel_arguments=info,
            controller_arguments=["--policy", "fixed:3", *info],
        )
        yield addresses.edge, stack


@pytest.fixture(scope="module")
def quiet() -> Iterator[tuple[str, Stack]]:
    """The same with what they do by default."""
    with Stack() as stack:
        addresses = start_services(
            stack,
            channel="ideal",
            seed=0,
            edge_arguments=["--threads", "1"],
            controller_arguments=["--policy", "fixed:3"],
        )
        yield addresses.edge, stack


def session_at(link: Link, max_context: int, *, split: int = 4, **wishes: Any) -> UeSession:
    partition = ModelPartition(Checkpoint(ASSETS / "airsplit-tiny"), head=False)
    return UeSession(partition, link, SessionRequest("m", split, max_context, **wishes))


def test_max_context(
    talkative: tuple[str, Stack], quiet: tuple[str, Stack], refused: Refuse, airsplit: Run
) -> None:
    (small, _), (large, _) = talkative, quiet
    line = refused("score", "--edge", small, "--split", "4", "--window", "65")
    assert "--window: 65 is not allowed; allowed: 2-64 tokens" in line
    with Link(small) as link, pytest.raises(errors.InputError, match=r"max_context: 65 .* 1-64"):
        session_at(link, 65)
    base = ("generate", "--split", "4", "--max-new-tokens", "80", "--ignore-eos", "--edge")
    cut, whole = airsplit(*base, small), airsplit(*base, large)
    assert cut["prompt_tokens"] + len(cut["token_ids"]) - 1 == 64, "all positions were used"
    assert len(whole["token_ids"]) == 80
    assert whole["token_ids"][: len(cut["token_ids"])] == cut["token_ids"]


@pytest.mark.parametrize(("name", "credits_"), [("talkative", 2), ("quiet", 4)])
def test_credits(request: pytest.FixtureRequest, name: str, credits_: int) -> None:
    address, _ = request.getfixturevalue(name)
    with Link(address) as link:
        session = session_at(link, 64)
        assert session.credits == credits_
        for _ in range(credits_):
            session.submit([7], Task.TASK_PREFILL)
        with pytest.raises(errors.CreditError, match=f"{credits_} unanswered"):
            session.submit([7], Task.TASK_PREFILL)
        for _ in range(credits_):
            session.collect()
        session.close()


def test_log_level(talkative: tuple[str, Stack], quiet: tuple[str, Stack]) -> None:
    says = {
        "edge server": "holds layers [0, 16) of airsplit-tiny",
        "channel emulator": "ideal",
        "controller": "policy fixed:3",
    }

    def log_of(stack: Stack, name: str) -> str:
        # The child writes where we stand in the file, so it is read without moving.
        return os.pread(stack.children[name].log.fileno(), 1 << 20, 0).decode()

    for name, part in says.items():
        lines = log_of(talkative[1], name)
        assert "INFO" in lines
        assert part in lines
        assert log_of(quiet[1], name) == ""


def test_idle_timeout() -> None:
    with edge_with("--idle-timeout", "0.3") as (address, servicer), Link(address) as link:
        session = session_at(link, 16)
        assert len(servicer.sessions) == 1
        limit = time.monotonic() + 20
        while len(servicer.sessions) and time.monotonic() < limit:
            time.sleep(0.05)
        assert servicer.sessions.kv_reserved_bytes == 0
        message = r"no frame within 0.3 s \(--idle-timeout\)"
        with pytest.raises(errors.PeerTimeoutError, match=message):
            session.step([7], Task.TASK_PREFILL)
        session.close()


def test_allow_logits() -> None:
    for flags in ((), ("--allow-logits",)):
        with edge_with(*flags) as (address, servicer), Link(address) as link:
            if not flags:
                with pytest.raises(errors.InputError, match="--allow-logits"):
                    session_at(link, 16, return_logits=True)
                continue
            session = session_at(link, 16, return_logits=True)
            logits = session.step([7], Task.TASK_SAMPLE).logits
            assert len(logits) == 4 * servicer.partition.facts.vocab_size
            session.close()


# The duet.


@pytest.fixture
def duet(capsys: pytest.CaptureFixture[str], edge: str) -> Callable[..., list[dict[str, Any]]]:
    """The events of a short one."""

    def run(*flags: str) -> list[dict[str, Any]]:
        capsys.readouterr()
        base = ["duet", "--edge", edge, "--split", "4", "--duration", "0.8"]
        assert ue_main([*base, *flags]) == 0, capsys.readouterr().err
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def frames_of(events: list[dict[str, Any]], session: str) -> list[dict[str, Any]]:
    return [e for e in events if e["event"] == "frame" and e["session"] == session]


def first_story(events: list[dict[str, Any]]) -> tuple[str, str]:
    """Its opening, and what was told of it."""
    begin, *more = [i for i, event in enumerate(events) if event["event"] == "story"]
    pieces = [e["piece"] for e in events[begin : more[0] if more else None] if e["event"] == "text"]
    return events[begin]["opening"], "".join(pieces)


def windows_of(dataset: str, window: int) -> int:
    tokenizer = load_tokenizer(ASSETS / "airsplit-tiny")
    ids = tokenizer.encode(load_text(dataset), add_special_tokens=False)
    return len(list(windows(ids, window, tokenizer.bos_token_id)))


def test_duet_scoring_knobs(duet: Callable[..., list[dict[str, Any]]], tmp_path: Path) -> None:
    usual = duet()
    assert (usual[0]["event"], usual[-1]["event"]) == ("started", "ended")
    assert usual[0]["windows"] == windows_of("sample", 256)
    scored = frames_of(usual, "score")
    assert {frame["tokens"] for frame in scored[:8]} == {32}
    assert [frame["position"] for frame in scored[:9]] == [*range(0, 256, 32), 0]
    assert [frame["scored_tokens"] for frame in scored[:8]] == [32] * 7 + [31]

    file = tmp_path / "text.txt"
    file.write_text(load_text("sample")[:3000], encoding="utf-8")
    flags = ("--window", "50", "--chunk", "10", "--dataset", str(file), "--duration", "0.5")
    other = duet(*flags)
    count = windows_of(str(file), 50)
    assert other[0]["windows"] == count
    assert count < usual[0]["windows"]
    scored = frames_of(other, "score")
    assert [frame["position"] for frame in scored[:6]] == [0, 10, 20, 30, 40, 0]
    assert {frame["tokens"] for frame in scored[:5]} == {10}
    assert {frame["text_window"] for frame in scored} <= set(range(count))
    assert other[-1]["time_s"] >= 0.5
    assert usual[-1]["time_s"] >= 0.8


def test_duet_story_knobs(
    duet: Callable[..., list[dict[str, Any]]], airsplit: Run, edge: str
) -> None:
    def ratio(events: list[dict[str, Any]]) -> float:
        return len(frames_of(events, "story")) / len(frames_of(events, "score"))

    thrice = ("--story-tokens-per-frame", "3")
    usual = duet("--seed", "3")
    greedy = duet("--seed", "3", *thrice, "--temperature", "0")
    narrow = duet("--seed", "3", *thrice, "--top-p", "1e-6")
    assert ratio(usual) == 1
    assert ratio(greedy) == ratio(narrow) == 3

    opening, told = first_story(usual)
    limit = ("--max-new-tokens", str(ue_client.duet.STORY_TOKENS))
    text = airsplit("generate", "--edge", edge, "--split", "4", "--prompt", opening, *limit)["text"]
    assert not text.startswith(told), "a temperature of 0.8"
    for events in (greedy, narrow):
        begun, told = first_story(events)
        assert begun == opening
        assert len(told) > 20
        assert text.startswith(told)


# Services of its own.


def test_local_channel_and_seed(airsplit: Run, quiet: tuple[str, Stack], tmp_path: Path) -> None:
    """What it starts is what one starts by hand: the same draws for the same seeds."""
    address, _ = quiet
    few = ("score", "--split", "3", "--max-tokens", "200", "--seed")

    def by_hand(seed: int, *channel: str) -> float:
        airsplit("channel", "set", *channel, "--channel", address)
        nll_sum: float = airsplit(*few, str(seed), "--edge", address)["nll_sum"]
        return nll_sum

    file = tmp_path / "radio.toml"
    file.write_text('preset = "awgn"\nsigma = 0.2\n', encoding="utf-8")
    local = airsplit(*few, "7", "--channel", f"{file},sigma=1.5", "--threads", "1")
    config = local["channel"]["config"]
    assert (config["preset"], config["sigma"], config["seed"]) == ("awgn", 1.5, 7)
    ideal = by_hand(7, "preset=ideal")
    assert local["perplexity"] > 1.2 * math.exp(ideal / 200)
    assert by_hand(7, "preset=awgn", "sigma=1.5", "seed=7") == local["nll_sum"], "bit for bit"
    others = {by_hand(8, "seed=7"), by_hand(7, "seed=8"), by_hand(7, "sigma=0.2", "seed=7")}
    assert len({local["nll_sum"], ideal, *others}) == 5
    by_hand(7, "preset=ideal", "seed=0")
