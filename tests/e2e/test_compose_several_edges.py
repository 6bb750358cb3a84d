"""`--scale edge=2`: two edge containers behind one name and one emulator, then behind two."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.e2e import unsplit
from tests.e2e.compose_project import Project, docker

pytestmark = pytest.mark.compose

TOKENS = 500
GENERATE = ("generate", "--json", "--ignore-eos", "--max-new-tokens")
TWO = ("--scale", "edge=2")
SENT = re.compile(r"of UE (\S+) at \S+ goes to the edge server at edge-wired:50051 \(([\d.]+)\)")


@pytest.fixture(scope="module")
def stack() -> Iterator[Project]:
    name = f"airsplit-test-edges-{os.getpid()}"
    project = Project(name, ["docker-compose.yml"], {"CHANNEL": "ideal,delay_ms=15"})
    try:
        project.up(*TWO)
        yield project
    finally:
        project.down()
    assert project.left() == {}


def wired(project: Project) -> dict[str, dict[str, Any]]:
    """The edges' containers that run, each under its address in the network to the emulator."""
    found = {}
    for container in project.containers("edge"):
        network = container["NetworkSettings"]["Networks"][f"{project.name}_wired"]
        if container["State"]["Running"]:
            found[network["IPAddress"]] = container
    return found


def edge_of(project: Project, ue: str) -> str:
    """The address that a UE's session went to, by the emulators' logs."""
    ((_, address),) = [sent for sent in SENT.findall(project.logs("channel")) if sent[0] == ue]
    return str(address)


def test_sessions_spread_and_a_switch_finds_its_edge(stack: Project) -> None:
    ues = ("one", "two")
    jobs = [stack.ue(*GENERATE, str(TOKENS), "--ue-id", ue) for ue in ues]
    stack.wait_frames(20, sessions=2)
    stack.airsplit("controller", "split", "set", "13")
    for job in jobs:
        result = job.result()
        assert 13 in result["splits"]
        assert result["token_ids"] == unsplit.greedy_tokens(TOKENS)
    stack.airsplit("controller", "split", "release")
    assert {edge_of(stack, ue) for ue in ues} == set(wired(stack))
    said = re.findall(r"(edge-\d) +\| .*split 13 is to come", stack.logs("edge"))
    assert sorted(said) == ["edge-1", "edge-2"], "each its own session, and no other"


def test_an_edge_is_killed_and_the_other_goes_on(stack: Project) -> None:
    jobs = {ue: stack.ue(*GENERATE, str(TOKENS), "--ue-id", ue) for ue in ("three", "four")}
    stack.wait_frames(20, sessions=2)
    dead, alive = edge_of(stack, "three"), edge_of(stack, "four")
    docker("kill", wired(stack)[dead]["Id"])
    _, err = jobs["three"].end(code=2)
    assert f"edge server at edge-wired:50051 ({dead}) is unavailable" in err
    assert jobs["four"].result()["token_ids"] == unsplit.greedy_tokens(TOKENS)
    for ue in ("five", "six"):
        job = stack.ue(*GENERATE, "20", "--ue-id", ue)
        assert job.result()["token_ids"] == unsplit.greedy_tokens(TOKENS)[:20]
        assert edge_of(stack, ue) == alive
    stack.up(*TWO)
    assert len(wired(stack)) == 2


def test_several_emulators_and_several_edges(stack: Project) -> None:
    """By the configuration, which holds where `run` starts what is missing."""
    replicas = {"EDGE_REPLICAS": "2", "CHANNEL_REPLICAS": "2"}
    stack = replace(stack, environment={**stack.environment, **replicas})
    stack.up()
    stack.run("run", "--rm", "-T", "ue", "score", "--max-tokens", "50")
    assert len(stack.containers("edge")) == len(stack.containers("channel")) == 2
    ues = [f"ue-{number}" for number in range(4)]
    jobs = [stack.ue("score", "--json", "--max-tokens", "500", "--ue-id", ue) for ue in ues]
    for job in jobs:
        perplexity = job.result()["perplexity"]
        assert perplexity == pytest.approx(unsplit.perplexity(500), rel=1e-5)
    assert {edge_of(stack, ue) for ue in ues} <= set(wired(stack)), "each by one emulator"
    for index in ("1", "2"):
        stack.run("exec", "-T", "--index", index, "channel", "airsplit", "channel", "show")
