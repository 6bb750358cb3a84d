"""The whole system in containers on one host: its numbers, its switches, and what it does when a
part of it dies. The tests share one stack and leave it whole; the last ones stop it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import unsplit
from tests.e2e.compose_project import ROOT, Project, docker

pytestmark = pytest.mark.compose

SERVICES = ("controller", "edge", "channel")
README = ROOT / "README.md"
LONG = 700
"""New tokens of a session that something is done to while it lasts."""

SCORED = 2000
IDEAL = "ideal,delay_ms=15"
"""Nothing is damaged; the delay gives an operator time to act."""

GENERATE = ("generate", "--json", "--ignore-eos", "--max-new-tokens")


@pytest.fixture(scope="module")
def stack() -> Iterator[Project]:
    name = f"airsplit-test-{os.getpid()}"
    environment = {"CHANNEL": IDEAL, "POLICY": "ppo", "SEED": "3"}
    project = Project(name, ["docker-compose.yml"], environment)
    try:
        project.up()
        yield project
    finally:
        project.down()


@pytest.fixture
def ideal(stack: Project) -> Iterator[Project]:
    """The stack, with its channel as it began also afterwards."""
    try:
        yield stack
    finally:
        stack.up()
        stack.airsplit("channel", "channel", "set", "preset=ideal", "delay_ms=15")


def score(project: Project, *arguments: str) -> float:
    job = project.ue("score", "--json", "--max-tokens", str(SCORED), *arguments)
    return float(job.result()["perplexity"])


def require_locked_up(found: dict[str, Any], *, restarts: bool) -> None:
    """By the engine's word, and by the kernel's."""
    host = found["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert (host["RestartPolicy"]["Name"] == "unless-stopped") is restarts
    assert host["Memory"] > 0
    assert host["PidsLimit"] > 0
    assert host["PortBindings"] in ({}, None), "nothing is published"
    assert found["Config"]["User"] == "airsplit"
    status = docker("exec", found["Id"], "cat", "/proc/1/status")
    held = dict(re.findall(r"^(Uid|Cap\w+|NoNewPrivs):\s+(\w+)", status, re.MULTILINE))
    assert held.pop("Uid") == "10001"
    assert held.pop("NoNewPrivs") == "1"
    assert len(held) == 5
    assert {int(mask, 16) for mask in held.values()} == {0}, "no capability of any kind"
    with pytest.raises(AssertionError, match="Read-only file system"):
        docker("exec", found["Id"], "touch", "/opt/venv/x")
    docker("exec", found["Id"], "touch", "/tmp/x")  # noqa: S108 - of the container


def test_services_are_locked_up(stack: Project) -> None:
    for service in SERVICES:
        require_locked_up(stack.container(service), restarts=True)


def test_only_the_emulator_joins_both_networks(stack: Project) -> None:
    """By the engine's word, and by trying: no packet gets from the UE to the edge."""
    networks = {
        service: set(stack.container(service)["NetworkSettings"]["Networks"])
        for service in SERVICES
    }
    radio, wired = f"{stack.name}_radio", f"{stack.name}_wired"
    both = [service for service, joined in networks.items() if {radio, wired} <= joined]
    assert both == ["channel"]
    joined = stack.container("edge")["NetworkSettings"]["Networks"]
    edges = [network["IPAddress"] for network in joined.values()]
    assert stack.reached("channel:50052", "controller:50053") == [True, True]
    assert not any(stack.reached(*(f"{host}:50051" for host in ("edge", "edge-wired", *edges))))


@pytest.mark.parametrize("split", ["0", "16", "auto"])
def test_an_ideal_channel_scores_as_the_unsplit_model(stack: Project, split: str) -> None:
    assert score(stack, "--split", split) == pytest.approx(unsplit.perplexity(SCORED), rel=1e-5)


def test_an_operator_moves_the_split(ideal: Project) -> None:
    job = ideal.ue(*GENERATE, str(LONG))
    ideal.wait_frames(20)
    for split in ("3", "12"):
        ideal.airsplit("controller", "split", "set", split)
    ideal.airsplit("controller", "split", "release")
    result = job.result()
    assert {3, 12} <= set(result["splits"])
    assert len(result["switches"]) >= 2
    assert result["token_ids"] == unsplit.greedy_tokens(LONG), "a switch changes nothing"
    assert result["seed"] == 3


def test_a_score_goes_on_while_its_split_is_moved(ideal: Project) -> None:
    """By the policy, which wants few layers on a good channel, and by an operator."""
    job = ideal.ue(
        *("score", "--json", "--max-tokens", str(SCORED)), *("--chunk", "2", "--split", "auto")
    )
    ideal.wait_frames(100)
    ideal.airsplit("controller", "split", "set", "12")
    result = job.result()
    splits = result["splits"]
    assert min(splits) < splits[0], "the policy moved it"
    assert splits[-1] == 12, "the operator moved it"
    assert result["perplexity"] == pytest.approx(unsplit.perplexity(SCORED), rel=1e-5)


def test_the_policy_follows_a_channel_that_is_changed_live(ideal: Project) -> None:
    job = ideal.ue(*GENERATE, str(LONG))
    ideal.wait_frames(100)
    ideal.airsplit("channel", "channel", "set", "preset=awgn", "sigma=3", "delay_ms=15")
    result = job.result()
    splits = result["splits"]
    assert min(splits) < splits[0], "an earlier split while the channel was good"
    assert splits[-1] > min(splits), "a later one when it became bad"
    decisions = ideal.run("exec", "-T", "controller", "cat", "/reports/decisions.jsonl").stdout
    events = [json.loads(line)["event"] for line in decisions.splitlines()]
    assert {"decision", "committed"} <= set(events)


def test_noise_costs_perplexity_and_less_at_a_later_split(ideal: Project) -> None:
    ideal.airsplit("channel", "channel", "set", "preset=awgn", "sigma=2", "delay_ms=0")
    early, late = score(ideal, "--split", "1"), score(ideal, "--split", "12")
    assert early > 2 * late > 2 * unsplit.perplexity(SCORED)


def test_the_first_score_is_what_the_readme_says(ideal: Project) -> None:
    """Over the default radio, with the policy, whose moves are not the same in every run."""
    ideal.airsplit("channel", "channel", "set", "preset=awgn", "sigma=0.5", "delay_ms=0")
    result = ideal.ue("score", "--json").result()
    (said,) = re.findall(
        r"prints `perplexity ([\d.]+) over (\d+) tokens", README.read_text(encoding="utf-8")
    )
    assert result["tokens"] == int(said[1])
    assert result["perplexity"] == pytest.approx(float(said[0]), abs=0.3)
    assert result["perplexity"] > unsplit.perplexity(10**9)


def test_several_ues_at_once(stack: Project) -> None:
    jobs = [stack.ue(*GENERATE, "60", "--split", split) for split in ("2", "9", "auto")]
    for job in jobs:
        assert job.result()["token_ids"] == unsplit.greedy_tokens(LONG)[:60]


def test_ues_by_scale(ideal: Project) -> None:
    """The service's default: each scores the sample and ends."""
    ideal.airsplit("channel", "channel", "set", "delay_ms=0")
    ideal.run("--profile", "ue", "up", "-d", "--no-recreate", "--scale", "ue=2", "ue")
    names = ideal.run("--profile", "ue", "ps", "-a", "-q", "ue").stdout.split()
    codes = [docker("wait", name) for name in names]
    texts = [docker("logs", name) for name in names]
    docker("rm", *names)
    assert codes == ["0", "0"]
    for text in texts:
        assert text.startswith("perplexity ")
        assert float(text.split()[1]) == pytest.approx(unsplit.perplexity(10**9), rel=1e-5)


def test_bad_input_ends_with_code_2(stack: Project) -> None:
    _, err = stack.ue("score", "--split", "17").end(code=2)
    assert "airsplit score: error: --split: 17 is not allowed; allowed: 0-16" in err


def test_a_ue_is_locked_up_and_frees_its_session_when_stopped(stack: Project) -> None:
    job = stack.ue(*GENERATE, str(LONG))
    stack.wait_frames(5)
    (found,) = json.loads(docker("inspect", job.name))
    require_locked_up(found, restarts=False)
    docker("stop", job.name)
    _, err = job.end(code=130)
    assert "interrupted" in err
    assert json.loads(stack.airsplit("channel", "channel", "show", "--json"))["sessions"] == 0


def test_without_the_controller_the_last_split_goes_on(ideal: Project) -> None:
    job = ideal.ue(*GENERATE, str(LONG))
    ideal.wait_frames(20)
    ideal.airsplit("controller", "split", "set", "5")
    ideal.run("kill", "controller")
    result = job.result()
    assert set(result["splits"][-200:]) == {5}
    assert result["token_ids"] == unsplit.greedy_tokens(LONG)
    for service in ("edge", "channel"):
        assert "controller at controller:50053" in ideal.logs(service)


def test_a_dead_edge_is_named_and_comes_back(ideal: Project) -> None:
    job = ideal.ue(*GENERATE, str(LONG))
    ideal.wait_frames(20)
    before = ideal.container("edge")["State"]["StartedAt"]
    ideal.crash("edge")
    out, err = job.end(code=2)
    lines = [line for line in err.splitlines() if "airsplit generate: error: " in line]
    assert len(lines) == 1
    assert re.search(r"edge server at edge-wired:50051 \([\d.]+\) is unavailable", lines[0])
    assert out == ""
    ideal.up()
    edge = ideal.container("edge")
    assert edge["RestartCount"] == 1
    assert edge["State"]["StartedAt"] != before
    assert score(ideal) == pytest.approx(unsplit.perplexity(SCORED), rel=1e-5)


def test_a_stop_is_graceful(stack: Project) -> None:
    stack.run("stop")
    ended = {service: stack.container(service)["State"]["ExitCode"] for service in SERVICES}
    assert ended == dict.fromkeys(SERVICES, 0)
    for service in SERVICES:
        assert " stopped" in stack.logs(service)


def test_only_the_volumes_are_left_as_documented(stack: Project) -> None:
    """UEs that have ended are gone as well."""
    stack.run("--profile", "ue", "up", "-d", "--no-deps", "--scale", "ue=2", "ue")
    assert set(stack.left()) == {"containers", "networks", "volumes"}
    stack.run("--profile", "ue", "down")
    left = stack.left()
    assert set(left) == {"volumes"}
    assert set(left["volumes"].split()) == {f"{stack.name}_models", f"{stack.name}_reports"}
    stack.down()
    assert stack.left() == {}
