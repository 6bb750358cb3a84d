"""Policies side by side over real processes, on a short text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from airsplit.command_line import Parser
from airsplit.partition import ModelPartition
from airsplit.perplexity import Perplexity, unsplit_nll, windows
from airsplit.text import load_text, load_tokenizer
from cli import evaluate_live
from controller.learning.flops import counted_layer_flops, layer_flops
from experiments.live import compare
from experiments.live_plan import CLEAN, RUNS_FILE, Plan

pytestmark = pytest.mark.timeout(200)

TOKENS, WINDOW, CHUNK = 240, 128, 8
CLOCKS = ("ms_per_token", "air_ms_per_token", "seconds")
"""What a run does not repeat: how long it took."""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def plan(**changes: Any) -> Plan:
    values: dict[str, Any] = {
        "policies": ("threshold", "fixed:2"),
        "scenarios": ("flicker",),
        "seeds": (0,),
        "reference": "threshold",
        "max_tokens": TOKENS,
        "window": WINDOW,
        "chunk": CHUNK,
    }
    return Plan(**{**values, **changes})


def repeated(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in CLOCKS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("live")


@pytest.fixture(scope="module")
def records(folder: Path) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    return compare(plan(), folder)


def test_a_clean_channel_gives_the_unsplit_perplexity(
    records: list[dict[str, Any]], whole: ModelPartition
) -> None:
    from airsplit.checkpoint import EMBEDDED, locate

    tokenizer = load_tokenizer(locate(EMBEDDED))
    ids = tokenizer.encode(load_text("sample"), add_special_tokens=False)
    total = Perplexity()
    for text in windows(ids, WINDOW, tokenizer.bos_token_id, TOKENS):
        total.add(unsplit_nll(whole, text))
    assert records[0]["scenario"] == CLEAN
    assert records[0]["tokens"] == TOKENS
    assert records[0]["perplexity"] == pytest.approx(total.value, rel=1e-5)


def test_a_fixed_split_is_held_from_the_first_token(
    records: list[dict[str, Any]], whole: ModelPartition
) -> None:
    fixed = records[2]
    assert {frame["split"] for frame in fixed["course"]} == {2}
    assert (fixed["switches"], fixed["handoff_bytes"], fixed["reasons"]) == (0, 0, {})
    crossed = sum(frame["tokens"] for frame in fixed["course"])
    per_layer = layer_flops(WINDOW, 192, 6) / WINDOW
    assert fixed["ue_flops"] == pytest.approx(2 * crossed * per_layer)
    counted = counted_layer_flops(whole, 0, WINDOW) / WINDOW
    assert fixed["ue_flops_counted"] == pytest.approx(2 * crossed * counted)


def test_a_policy_moves_and_what_it_costs_is_counted(records: list[dict[str, Any]]) -> None:
    moved = records[1]
    splits = [frame["split"] for frame in moved["course"]]
    assert moved["switches"] > 0
    assert len(set(splits)) > 1
    assert moved["handoff_bytes"] > 0
    weighted = sum(frame["split"] * frame["tokens"] for frame in moved["course"])
    assert moved["mean_split"] == pytest.approx(
        weighted / sum(f["tokens"] for f in moved["course"])
    )


def test_every_policy_meets_the_same_channel(records: list[dict[str, Any]]) -> None:
    sigmas = [[frame["sigma"] for frame in record["course"]] for record in records[1:]]
    assert sigmas[0] == sigmas[1]
    assert max(sigmas[0]) > 1.5 > 0.5 > min(sigmas[0])


def test_every_look_is_in_the_decision_log(folder: Path, records: list[dict[str, Any]]) -> None:
    text = (folder / "decisions" / "00001.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    looks = [line for line in lines if line["event"] == "decision"]
    assert len(looks) == sum(records[1]["reasons"].values()) == 15
    assert [look["tokens"] for look in looks] == [16 * n for n in range(1, 16)]
    assert {"sigma", "m", "loss"} <= set(looks[0]["observation"])
    stayed = [look for look in looks if look["version"] is None]
    assert stayed
    assert all(look["reason"] and look["target"] == look["action"] for look in stayed)
    committed = [line for line in lines if line["event"] == "committed"]
    assert len(committed) == records[1]["switches"]
    assert sum(line["handoff_bytes"] for line in committed) == records[1]["handoff_bytes"]


def test_a_run_repeats_and_a_kill_loses_no_more_than_one(
    folder: Path, records: list[dict[str, Any]]
) -> None:
    path = folder / RUNS_FILE
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[2] + lines[1][:40])
    said: list[str] = []
    again = compare(plan(), folder, said.append)
    assert said == ["run 2 of 3: flicker, threshold, 0"]
    assert [repeated(record) for record in again] == [repeated(record) for record in records]


def test_another_seed_is_another_channel(tmp_path: Path, records: list[dict[str, Any]]) -> None:
    _, other = compare(plan(policies=("fixed:2",), reference="fixed:2", seeds=(1,)), tmp_path)
    assert other["nll_sum"] != records[2]["nll_sum"]


@pytest.mark.parametrize(
    "changes", [{"decision_interval_tokens": 48}, {"confirmations": 3}], ids=lambda c: next(iter(c))
)
def test_deciding_less_often_and_hysteresis_move_less(
    tmp_path: Path, records: list[dict[str, Any]], changes: dict[str, Any]
) -> None:
    _, calm = compare(plan(policies=("threshold",), **changes), tmp_path)
    assert calm["switches"] < records[1]["switches"]
    looks = sum(calm["reasons"].values())
    assert looks == (5 if "decision_interval_tokens" in changes else 15)
    held = sum(number for reason, number in calm["reasons"].items() if reason.startswith("held"))
    assert (held > 0) == ("confirmations" in changes)


def test_the_command_writes_its_files(
    folder: Path, records: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """On runs that are there already: nothing is run again."""
    parser = Parser(prog="airsplit evaluate")
    evaluate_live.add_arguments(parser)
    flags = ["--policy", "threshold", "--fixed", "2", "--scenario", "flicker"]
    flags += ["--seeds", "1", "--max-tokens", str(TOKENS), "--window", str(WINDOW)]
    args = parser.parse_args([*flags, "--chunk", str(CHUNK), "--out", str(folder), "--json"])
    assert evaluate_live.run(args) == 0
    out, err = capsys.readouterr()
    assert "run" not in err
    result = json.loads(out.splitlines()[-1])["scenarios"]["flicker"]
    assert result["fixed:2"]["mean_split"] == 2
    assert result["fixed:2"]["best_fixed"] is True
    assert result["threshold"]["objective_difference"] == 0
    assert all((folder / name).stat().st_size > 0 for name in evaluate_live.SUMMARY_FILES)
