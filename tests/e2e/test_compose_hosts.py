"""Three hosts: projects on separate networks, joined by published ports alone."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from tests.e2e import unsplit
from tests.e2e.compose_project import Project

pytestmark = pytest.mark.compose

TOKENS = 200
SCORED = 2000


@dataclass
class Hosts:
    controller: Project
    edge: Project
    ue: Project
    addresses: dict[str, str]


def own_address() -> str:
    """This host's address on its way out, as other hosts would use it; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])


def free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    host = own_address()
    ports = {"CHANNEL_PORT": free_port(host), "CONTROLLER_PORT": free_port(host)}
    addresses = {
        "CHANNEL_ADDRESS": f"{host}:{ports['CHANNEL_PORT']}",
        "CONTROLLER_ADDRESS": f"{host}:{ports['CONTROLLER_PORT']}",
    }
    environment = {
        **{name: str(port) for name, port in ports.items()},
        **addresses,
        "BIND_ADDRESS": host,
        "CHANNEL": "ideal,delay_ms=15",
        "EDGE_LAYERS": "2:",
        "UE_LAYERS": ":12",
    }

    def project(role: str) -> Project:
        name = f"airsplit-test-{role}-{os.getpid()}"
        return Project(name, [f"docker/compose.{role}.yml"], environment)

    with ExitStack() as stack:
        found = Hosts(project("controller"), project("edge"), project("ue"), addresses)
        for project_ in (found.controller, found.edge, found.ue):
            stack.callback(project_.down)
        found.controller.up()
        found.edge.up()
        yield found
    assert [host.left() for host in (found.controller, found.edge, found.ue)] == [{}, {}, {}]


def test_they_share_no_network(hosts: Hosts) -> None:
    joined = [
        set(project.container(service)["NetworkSettings"]["Networks"])
        for project, service in ((hosts.controller, "controller"), (hosts.edge, "channel"))
    ]
    assert joined[0].isdisjoint(joined[1])


def test_the_edge_is_reached_through_the_emulator_alone(hosts: Hosts) -> None:
    """The edge's host publishes the emulator and no more, and no packet of the UE's gets to a
    container behind it. What keeps other machines from these ports is no matter of Compose."""
    published = {
        service: set(project.container(service)["HostConfig"]["PortBindings"] or {})
        for project, service in (
            *((hosts.edge, "edge"), (hosts.edge, "channel")),
            (hosts.controller, "controller"),
        )
    }
    assert published == {"edge": set(), "channel": {"50052/tcp"}, "controller": {"50053/tcp"}}
    joined = hosts.edge.container("edge")["NetworkSettings"]["Networks"]
    edges = [f"{network['IPAddress']}:50051" for network in joined.values()]
    assert len(edges) == 2
    assert not any(hosts.ue.reached("edge:50051", "edge-wired:50051", *edges))
    assert all(hosts.ue.reached(*hosts.addresses.values()))


def test_score_equals_the_unsplit_model(hosts: Hosts) -> None:
    result = hosts.ue.ue("score", "--json", "--max-tokens", str(SCORED)).result()
    assert result["perplexity"] == pytest.approx(unsplit.perplexity(SCORED), rel=1e-5)


def test_generate_with_an_operator_on_a_third_host(hosts: Hosts) -> None:
    job = hosts.ue.ue("generate", "--json", "--ignore-eos", "--max-new-tokens", str(TOKENS))
    hosts.edge.wait_frames(10)
    address = hosts.addresses["CONTROLLER_ADDRESS"]
    for split in ("4", "11"):
        hosts.ue.ue("split", "set", split, "--controller", address).end()
    result = job.result()
    assert {4, 11} <= set(result["splits"])
    assert result["token_ids"] == unsplit.greedy_tokens(TOKENS)


def test_each_end_holds_its_layers_alone(hosts: Hosts) -> None:
    _, err = hosts.ue.ue("score", "--split", "1").end(code=2)
    assert "2-12 (held by both ends)" in err


def test_an_emulator_that_is_away_is_named(hosts: Hosts) -> None:
    hosts.edge.run("stop", "channel")
    try:
        _, err = hosts.ue.ue("score", "--deadline", "2").end(code=2)
    finally:
        hosts.edge.up()
    assert f"at {hosts.addresses['CHANNEL_ADDRESS']} is unavailable" in err
