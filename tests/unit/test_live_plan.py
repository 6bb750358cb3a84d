"""What a live comparison is to run: its form, its refusals, and that it cannot be mixed up."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from airsplit.checkpoint import EMBEDDED, Checkpoint, locate
from airsplit.command_line import Parser
from airsplit.errors import InputError, ModelMismatchError
from channel_emulator.start import parse_start
from cli import evaluate_live
from controller.learning.reward import RewardForm
from controller.registry import DEFAULT_DIRECTORY
from experiments.live import compare, read_runs
from experiments.live_plan import ABSOLUTE, CLEAN, FORMAT, Plan, Run, scenario_path


def plan(**changes: Any) -> Plan:
    values: dict[str, Any] = {
        "policies": ("threshold", "fixed:2"),
        "scenarios": ("burst", "swell"),
        "seeds": (0, 1),
        "reference": "threshold",
    }
    return Plan(**{**values, **changes})


def arguments(*flags: str) -> argparse.Namespace:
    parser = Parser(prog="airsplit evaluate")
    evaluate_live.add_arguments(parser)
    return parser.parse_args(["--out", "live", *flags])


def test_every_policy_meets_every_channel_and_the_clean_run_comes_first() -> None:
    first, *runs = plan().runs()
    assert first.scenario == CLEAN
    assert len(runs) == len(set(runs)) == 2 * 2 * 2
    assert runs[:3] == [
        Run("burst", "threshold", 0),
        Run("burst", "fixed:2", 0),
        Run("burst", "threshold", 1),
    ]


@pytest.mark.parametrize("name", [*ABSOLUTE, "pedestrian"])
def test_the_text_lasts_for_the_scenario(name: str) -> None:
    start = parse_start(plan(scenarios=(name,), max_tokens=1000).channel(Run(name, "ppo", 0)))
    assert start.scenario is not None
    lasts_ms = 1000 * start.config.token_interval_ms
    assert lasts_ms == pytest.approx(start.scenario.duration_ns / 1e6, rel=1e-3)


def test_the_token_interval_can_be_chosen() -> None:
    channel = plan(token_interval_ms=7.5).channel(Run("burst", "ppo", 0))
    assert parse_start(channel).config.token_interval_ms == 7.5


@pytest.mark.parametrize("name", ABSOLUTE)
def test_own_scenarios_have_absolute_noise(name: str) -> None:
    start = parse_start(scenario_path(name))
    assert start.scenario is not None
    configs = [snapshot.config for snapshot in start.timeline().snapshots]
    noise = [config.sigma for config in configs if config.sigma is not None]
    assert len(noise) == len(configs)
    assert min(noise) < 0.3 < 1.9 < max(noise)


def test_policies_that_plan_do_so_for_the_objective_they_are_measured_by() -> None:
    chosen = plan(cost_weight=0.3, form=RewardForm.LOG)
    assert chosen.served("greedy") == "greedy,lambda=0.3,form=log"
    assert chosen.served("optimal,moves=1,lambda=0.2") == "optimal,moves=1,lambda=0.2,form=log"
    assert chosen.served("greedy:reward.pth") == "greedy:reward.pth"
    for policy in ("ppo", "threshold", "random:3", "fixed:4"):
        assert chosen.served(policy) == policy


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"policies": ()}, "--policy: ''"),
        ({"policies": ("threshold", "threshold")}, "--policy: 'threshold threshold'"),
        ({"policies": ("threshold", "nope")}, "--policy: 'nope'"),
        ({"reference": "ppo"}, "--reference: 'ppo'"),
        ({"scenarios": ("moon",)}, "--scenario: 'moon'"),
        ({"seeds": (0, -1)}, "--seeds"),
        ({"window": 1}, "--window: 1"),
        ({"chunk": 0}, "--chunk: 0"),
        ({"max_tokens": 0}, "--max-tokens: 0"),
        ({"decision_interval_tokens": 0}, "--decision-interval-tokens: 0"),
        ({"confirmations": 0}, "--confirmations: 0"),
        ({"cost_weight": float("nan")}, "--lambda: nan"),
        ({"cost_weight": -1}, "--lambda: -1"),
        ({"token_interval_ms": 0}, "--token-interval-ms: 0"),
    ],
)
def test_what_is_wrong_is_named_before_anything_runs(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError) as refused:
        plan(**changes)
    assert str(refused.value).startswith(line)


def test_a_folder_keeps_to_one_plan(tmp_path: Path) -> None:
    plan().write(tmp_path)
    plan().write(tmp_path)
    with pytest.raises(InputError, match=r"another plan \(cost_weight differ\)"):
        plan(cost_weight=0.2).write(tmp_path)


def test_a_plan_knows_its_files_by_their_contents(tmp_path: Path) -> None:
    table, out = tmp_path / "stairs.json", tmp_path / "out"
    stairs = {"measure": "sigma", "thresholds": [1.0], "splits": [2, 6]}
    table.write_text(json.dumps(stairs))
    policy = f"threshold:{table}"
    plan(policies=(policy,), reference=policy).write(out)
    table.write_text(json.dumps({**stairs, "splits": [2, 7]}))
    with pytest.raises(InputError, match="policy_sha256"):
        plan(policies=(policy,), reference=policy).write(out)


def digests(**changes: Any) -> dict[str, Any]:
    return plan(**changes).to_dict()


def test_what_a_default_is_read_from_is_known_by_its_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where a file of a policy's name means nothing
    (tmp_path / "threshold").write_text("x")
    policies = ("ppo", "greedy", "optimal,moves=1", "threshold", "random:3", "fixed:2")
    found = digests(policies=policies, reference="ppo")["policy_sha256"]
    assert found.keys() == {"ppo", "greedy", "optimal,moves=1"}
    same = digests(policies=(f"ppo:{DEFAULT_DIRECTORY}",), reference=f"ppo:{DEFAULT_DIRECTORY}")
    assert found["ppo"] in same["policy_sha256"].values()
    table = tmp_path / "table.json"
    table.write_bytes((DEFAULT_DIRECTORY / "table.json").read_bytes())
    monkeypatch.setattr("experiments.live_plan.DEFAULT_TABLE", table)
    assert digests(policies=("greedy",), reference="greedy")["policy_sha256"] == {
        "greedy": found["greedy"]
    }
    table.write_text(table.read_text() + " ")
    again = digests(policies=policies, reference="ppo")["policy_sha256"]
    assert again["ppo"] == found["ppo"]
    assert again["greedy"] != found["greedy"]


def test_a_plan_knows_its_model_by_its_weights() -> None:
    assert digests()["model_fingerprint"] == Checkpoint(locate(EMBEDDED)).fingerprint


def test_a_plan_knows_the_traces_of_its_scenarios(tmp_path: Path) -> None:
    scenario, trace = tmp_path / "s.toml", tmp_path / "rate.csv"
    scenario.write_text(
        'uplink = { file = "rate.csv", column = "rate_mbps" }\n'
        '[channel]\npreset = "awgn"\nsigma = 1\n[[phase]]\nduration_s = 5\n'
    )
    found = set()
    for rate in (10, 11):
        trace.write_text("time_s,rate_mbps\n0,10\n1,20\n2," + f"{rate}\n")
        found.add(digests(scenarios=(str(scenario),))["scenario_sha256"][str(scenario)])
    assert len(found) == 2


@pytest.mark.parametrize(
    ("text", "why"), [("[]", "not a plan but a list"), ("[" * 100_000, "deep")]
)
def test_a_plan_that_is_none_is_one_line(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(InputError, match=why):
        plan().write(tmp_path)


def test_a_line_cut_short_is_removed_and_the_rest_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    record = {"format": FORMAT, "scenario": "burst", "policy": "ppo", "seed": 3, "tokens": 5}
    whole = json.dumps(record) + "\n"
    path.write_text(whole + '{"format": "airs')
    assert read_runs(path) == {("burst", "ppo", 3): record}
    assert path.read_text() == whole


@pytest.mark.parametrize("line", ["{}", "no JSON", "[" * 100_000, '{"format": "other/1"}', "[1]"])
def test_a_file_of_something_else_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(InputError, match=r"runs\.jsonl:1"):
        read_runs(path)


def test_a_policy_that_does_not_fit_the_model_is_refused_before_anything_runs(
    tmp_path: Path,
) -> None:
    config = json.loads((DEFAULT_DIRECTORY / "policy.json").read_text(encoding="utf-8"))
    config["model"]["name"] = "another"
    (tmp_path / "policy.json").write_text(json.dumps(config), encoding="utf-8")
    weights = (DEFAULT_DIRECTORY / "policy.safetensors").read_bytes()
    (tmp_path / "policy.safetensors").write_bytes(weights)
    with pytest.raises(ModelMismatchError, match="trained for another"):
        compare(plan(policies=(f"ppo:{tmp_path}", "threshold")), tmp_path / "out")
    with pytest.raises(InputError, match="fixed:17"):
        compare(plan(policies=("fixed:17", "threshold")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_arguments_become_a_plan() -> None:
    found = evaluate_live.plan_of(
        arguments(
            *("--policy", "threshold", "random", "--fixed", "4", "--reference", "fixed:4"),
            *("--scenario", "swell", "--seeds", "2", "--lambda", "0.3", "--form", "log"),
            *("--max-tokens", "99", "--window", "64", "--chunk", "4"),
            *("--decision-interval-tokens", "12", "--confirmations", "2"),
            *("--token-interval-ms", "5", "--dataset", "text.txt"),
        )
    )
    assert found == Plan(
        policies=("threshold", "random", "fixed:4"),
        scenarios=("swell",),
        seeds=(0, 1),
        reference="fixed:4",
        dataset="text.txt",
        window=64,
        chunk=4,
        max_tokens=99,
        cost_weight=0.3,
        form=RewardForm.LOG,
        decision_interval_tokens=12,
        confirmations=2,
        token_interval_ms=5.0,
    )


def test_the_first_policy_is_the_reference_unless_said_otherwise() -> None:
    found = evaluate_live.plan_of(arguments("--policy", "random", "threshold"))
    assert found.reference == "random"
    assert len(found.scenarios) >= 3


def test_no_seeds_are_refused() -> None:
    with pytest.raises(InputError, match="--seeds: 0"):
        evaluate_live.plan_of(arguments("--seeds", "0"))
