"""What the command line says when all is well: the keys of its JSON, its text, its traces; and how
it ends when the computation or whoever reads its output does not hold."""

from __future__ import annotations

import argparse
import json
import math
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

from airsplit.checkpoint import Checkpoint
from airsplit.partition import ModelPartition
from airsplit.text import load_tokenizer
from cli.main import main
from experiments.stack import Addresses, Stack
from tests.conftest import StartServices
from tests.serving import edge_serving
from ue_client.config import add_arguments, config_of
from ue_client.generate import generate
from ue_client.ue import Ue

pytestmark = pytest.mark.timeout(120)

STAGES = {"ue", "uplink", "queue", "edge", "downlink", "transport"}
TRACE_FIELDS = {
    *("task", "window", "position", "tokens", "split", "split_version"),
    *("total_ms", "ue_ms", "uplink_ms", "queue_ms", "edge_ms", "downlink_ms", "transport_ms"),
    *("uplink_bytes", "channel"),
}
MEASURED = {"sigma", "mean_gain", "loss", "snr_db"}
HIDDEN_BYTES = 192 * 4
"""What one token of the embedded model takes on the radio, fp32."""


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """The command handles SIGTERM; give it back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def addresses(services: StartServices) -> Addresses:
    _, addresses = services("awgn,sigma=0.5,delay_ms=1", controller=("--policy", "fixed:3"))
    return addresses


def last_line(out: str) -> dict[str, Any]:
    """The JSON object that a command prints last."""
    answer: dict[str, Any] = json.loads(out.splitlines()[-1])
    return answer


def require_numbers(values: dict[str, Any], names: set[str]) -> None:
    assert names <= values.keys()
    for name in names:
        assert isinstance(values[name], float | int), name
        assert not isinstance(values[name], bool), name
        assert math.isfinite(values[name]), name


def require_traces(path: Path, uplink_bytes: int) -> list[dict[str, Any]]:
    """The frames of a --traces file, each complete, together what the result says."""
    traces = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for trace in traces:
        assert trace.keys() >= TRACE_FIELDS
        assert trace["channel"].keys() >= {"estimate", "truth", "radio_time_ms", "transmissions"}
        spans = [trace[f"{stage}_ms"] for stage in STAGES]
        assert min(spans) >= 0
        # Stages are rounded one by one; a negative rest of the round trip would count as none.
        assert sum(spans) == pytest.approx(trace["total_ms"], abs=1e-3)
    assert sum(trace["uplink_bytes"] for trace in traces) == uplink_bytes
    return traces


def test_generate_with_services_of_its_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, embedded: Checkpoint
) -> None:
    file = tmp_path / "traces.jsonl"
    arguments = ["generate", "--json", "--channel", "awgn,sigma=0.4,delay_ms=2", "--seed", "4"]
    arguments += ["--split", "auto", "--policy", "fixed:3", "--max-new-tokens", "32"]
    arguments += ["--prompt", "The sea was calm", "--ignore-eos", "--threads", "1"]
    assert main([*arguments, "--traces", str(file)]) == 0
    result = last_line(capsys.readouterr().out)

    tokenizer = load_tokenizer(embedded.path)
    assert result["prompt"] == "The sea was calm"
    assert result["prompt_tokens"] == len(tokenizer.encode("The sea was calm"))
    assert len(result["token_ids"]) == 32, "new tokens only"
    assert all(type(token) is int for token in result["token_ids"])
    assert result["text"] == tokenizer.decode(result["token_ids"], skip_special_tokens=True)
    assert result["finish_reason"] == "length"

    # The session starts in the middle; the policy moves it once, to stay.
    assert len(result["splits"]) == 32
    assert result["splits"][0] == 8
    assert result["splits"][-1] == 3, "where --policy fixed:3 puts it"
    (switch,) = result["switches"]
    assert switch.keys() == {"from", "to", "token", "bytes", "gap_ms"}
    assert (switch["from"], switch["to"]) == (8, 3)
    assert result["splits"] == [8] * switch["token"] + [3] * (32 - switch["token"])
    positions = result["prompt_tokens"] + switch["token"] - 1
    assert switch["bytes"] == 5 * positions * 768, "5 layers of keys and values, 768 bytes a row"
    require_numbers(switch, {"gap_ms"})
    assert switch["gap_ms"] > 0

    require_numbers(result, {"tokens_per_second", "ttft_ms"})
    require_numbers(result["latency_ms"], {"p50", "p95", *STAGES})
    latency = result["latency_ms"]
    assert latency["uplink"] == latency["downlink"] == 2.0, "the delay, there being no airtime"
    assert 4 < latency["p50"] <= latency["p95"]
    assert result["tokens_per_second"] < 1e3 / 4
    assert result["ttft_ms"] > 4
    assert result["uplink_bytes"] == (result["prompt_tokens"] + 31) * HIDDEN_BYTES

    channel = result["channel"]
    assert channel["config"]["preset"] == "awgn"
    assert (channel["config"]["sigma"], channel["config"]["seed"]) == (0.4, 4)
    assert channel["handoff_bytes"] == switch["bytes"]
    require_numbers(channel["measured"], MEASURED)
    assert channel["measured"]["sigma"] == pytest.approx(0.4, rel=0.03)
    assert (result["model"], result["split"], result["seed"]) == ("airsplit-tiny", "auto", 4)

    traces = require_traces(file, result["uplink_bytes"])
    assert [trace["split"] for trace in traces] == result["splits"]
    assert {trace["task"] for trace in traces} == {"sample"}
    assert [trace["tokens"] for trace in traces] == [result["prompt_tokens"]] + [1] * 31


def test_score_with_services_of_its_own(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "traces.jsonl"
    arguments = ["score", "--json", "--channel", "nakagami,sigma=0.3,m=4", "--seed", "6"]
    arguments += ["--split", "auto", "--policy", "fixed:12", "--max-tokens", "700", "--chunk", "16"]
    arguments += ["--window", "256", "--threads", "1", "--traces", str(file)]
    assert main(arguments) == 0
    result = last_line(capsys.readouterr().out)

    require_numbers(result, {"perplexity", "nll_sum", "tokens_per_second", "uplink_bytes"})
    assert result["tokens"] == 700
    assert result["perplexity"] == pytest.approx(math.exp(result["nll_sum"] / 700))
    assert len(result["splits"]) == 700
    assert (result["splits"][0], result["splits"][-1]) == (8, 12), "--policy fixed:12"
    (switch,) = result["switches"]
    assert switch.keys() == {"from", "to", "window", "position", "bytes", "gap_ms"}
    assert (switch["from"], switch["to"]) == (8, 12)
    assert switch["bytes"] == 4 * switch["position"] * 768
    require_numbers(result["latency_ms"], {"p50", "p95", *STAGES})
    assert 0 < result["latency_ms"]["p50"] <= result["latency_ms"]["p95"]
    # Each of the three windows begins with one token that is sent, but not scored.
    assert result["uplink_bytes"] == (700 + 3) * HIDDEN_BYTES
    config = result["channel"]["config"]
    assert (config["preset"], config["sigma"], config["m"], config["seed"]) == (
        *("nakagami", 0.3, 4, 6),
    )
    require_numbers(result["channel"]["measured"], MEASURED)
    assert (result["dataset"], result["window"]) == ("sample", 256)
    assert (result["model"], result["split"], result["seed"]) == ("airsplit-tiny", "auto", 6)

    traces = require_traces(file, result["uplink_bytes"])
    assert {trace["task"] for trace in traces} == {"score"}
    assert sum(trace["tokens"] for trace in traces) == 703
    assert [trace["window"] for trace in traces] == [0] * 16 + [1] * 16 + [2] * 12


def test_generate_as_text(
    capsys: pytest.CaptureFixture[str], addresses: Addresses, embedded: Checkpoint
) -> None:
    arguments = ["generate", "--edge", addresses.edge, "--split", "6", "--prompt", "The sea"]
    arguments += ["--max-new-tokens", "12", "--switch-schedule", "5:2"]
    assert main([*arguments, "--json"]) == 0
    result = last_line(capsys.readouterr().out)
    assert main(arguments) == 0
    story, summary = capsys.readouterr().out.split("\n\n")
    assert story == "The sea" + result["text"]
    tokens, switch = summary.splitlines()
    assert tokens.startswith("12 tokens, ")
    for part in ("tokens/s, first after ", " ms; per token p50 ", " ms, p95 "):
        assert part in tokens
    assert tokens.endswith(f"; {result['uplink_bytes']} bytes up")
    bytes_ = result["switches"][0]["bytes"]
    assert switch.startswith(f"split 6 -> 2 at token 5: {bytes_} bytes of K/V, ")
    assert switch.endswith(" ms")


def test_score_as_text(capsys: pytest.CaptureFixture[str], addresses: Addresses) -> None:
    arguments = ["score", "--edge", addresses.edge, "--split", "6", "--switch-schedule", "1:2"]
    arguments += ["--max-tokens", "200", "--window", "128", "--chunk", "64"]
    assert main([*arguments, "--json"]) == 0
    result = last_line(capsys.readouterr().out)
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == "", "progress is for terminals"
    perplexity, splits, frames = captured.out.splitlines()
    assert perplexity == (
        f"perplexity {result['perplexity']:.4f} over 200 tokens of sample, window 128"
    )
    assert splits == "tokens by split: 2: 136, 6: 64; 1 switches"
    assert frames.startswith("frame p50 ")
    assert frames.endswith(f"; {result['uplink_bytes']} bytes up")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"airsplit {version('airsplit')}\n"


@contextmanager
def attached(addresses: Addresses, *names: str) -> Iterator[list[Any]]:
    """One UE per name, each with a session that has told a few tokens."""
    parser = argparse.ArgumentParser()
    add_arguments(parser, edge_required=True)
    with ExitStack() as stack:
        sessions = []
        for name in names:
            flags = ["--edge", addresses.edge, "--controller", str(addresses.controller)]
            args = parser.parse_args([*flags, "--split", "9", "--ue-id", name])
            ue = stack.enter_context(Ue(config_of(args)))
            session = ue.open(64)
            stack.callback(ue.close_session, session)
            list(generate(session, [0, 300, 301], 2))
            sessions.append(session)
        yield sessions


def test_split_show_as_a_table(
    capsys: pytest.CaptureFixture[str], addresses: Addresses, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert addresses.controller is not None
    monkeypatch.setenv("COLUMNS", "120")
    with attached(addresses, "alice", "bob") as sessions:
        assert main(["split", "show", "--controller", addresses.controller]) == 0
        out = capsys.readouterr().out
    assert "policy fixed:3" in out
    for column in ("session", "UE", "split", "target", "range", "switches", "held by", "sigma"):
        assert column in out
    for name, session in zip(("alice", "bob"), sessions, strict=True):
        (row,) = [line for line in out.splitlines() if name in line]
        cells = [cell.strip() for cell in row.strip("│ ").split("│")]
        assert cells[:6] == [session.id[:8], name, "9", "9", "0-16", "0"]


def test_a_session_is_chosen_by_its_id(
    capsys: pytest.CaptureFixture[str], addresses: Addresses
) -> None:
    assert addresses.controller is not None

    def ask(*action: str) -> dict[str, dict[str, Any]]:
        assert main(["split", *action, "--controller", str(addresses.controller), "--json"]) == 0
        sessions = last_line(capsys.readouterr().out)["sessions"]
        return {session["ue_id"]: session for session in sessions}

    with attached(addresses, "alice", "bob") as (alice, bob):
        assert ask("show").keys() == {"alice", "bob"}
        assert ask("show", "--session", bob.id).keys() == {"bob"}
        answer = ask("set", "5", "--session", bob.id)
        assert answer.keys() == {"bob"}
        assert (answer["bob"]["target"], answer["bob"]["overridden"]) == (5, True)
        both = ask("show")
        assert (both["alice"]["target"], both["alice"]["overridden"]) == (9, False)
        assert (both["bob"]["target"], both["bob"]["overridden"]) == (5, True)
        ask("release", "--session", alice.id)
        assert ask("show")["bob"]["overridden"], "alice's release is not bob's"
        ask("release", "--session", bob.id)
        assert not ask("show")["bob"]["overridden"]
        unknown = "0" * 32
        where = ["--controller", addresses.controller, "--session", unknown]
        assert main(["split", "show", *where]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert unknown in line


def test_channel_show_as_text(capsys: pytest.CaptureFixture[str], addresses: Addresses) -> None:
    with attached(addresses, "carol") as (session,):
        assert main(["channel", "show", "--channel", addresses.edge]) == 0
        head, *rest = capsys.readouterr().out.splitlines()
    assert head.startswith("version 1, 1 sessions, ")
    assert head.endswith(" frames")
    *knobs, link = rest
    assert "  preset = awgn" in knobs
    assert "  sigma = 0.5" in knobs
    assert "  delay_ms = 1.0" in knobs
    assert link.startswith(f"session {session.id[:8]} of carol: 2 frames, last: sigma ")


@pytest.fixture(scope="module")
def half_precision(embedded: Checkpoint) -> Iterator[str]:
    """A radio with absurd noise in front of an edge that computes in fp16."""
    partition = ModelPartition(embedded, embedding=False, dtype=torch.float16)
    with edge_serving(partition) as (edge, _), Stack() as stack:
        noise = ["--edge", edge, "--channel", "awgn,sigma=200000"]
        emulator = stack.launch("channel emulator", "channel_emulator", noise)
        emulator.wait_listening()
        yield emulator.address


@pytest.mark.parametrize("task", ["generate", "score"])
def test_what_overflows_at_the_edge_is_refused_by_name(
    capfd: pytest.CaptureFixture[str], half_precision: str, task: str
) -> None:
    """Noise that the radio can carry in fp32, and layers that compute in fp16."""
    arguments = [task, "--edge", half_precision, "--split", "8", "--json"]
    arguments += ["--dtype", "fp16", "--wire-dtype", "fp32"]
    limit = ["--max-new-tokens", "8"] if task == "generate" else ["--max-tokens", "64"]
    assert main([*arguments, *limit]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith(f"airsplit {task}: error: ")
    assert "finite" in line


def test_nobody_reads_the_story(addresses: Addresses) -> None:
    """As `airsplit generate | head -c 1` has it."""
    command = [sys.executable, "-m", "cli.main", "generate", "--edge", addresses.edge]
    command += ["--split", "6", "--threads", "1", "--max-new-tokens", "400", "--ignore-eos"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1) == b"T"
        process.stdout.close()
        err = process.stderr.read()
        process.wait(timeout=30)
    assert err == b""
    assert process.returncode in (0, 141)


def test_nobody_reads_an_answer(addresses: Addresses) -> None:
    """What is printed last is still in a buffer when the command is done."""
    assert addresses.controller is not None
    command = [sys.executable, "-m", "cli.main", "split", "show", "--json"]
    command += ["--controller", addresses.controller]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
        process.wait(timeout=30)
    assert err == b""
    assert process.returncode in (0, 141)
