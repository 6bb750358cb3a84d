"""All four processes at once: the policy reacts to the channel, an operator overrides it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from cli.main import main
from tests.conftest import StartServices

GOOD, BAD = "0.25", "4"
"""Absolute σ: at the one the trained policy settles at split 1, at the other beyond 12."""


@dataclass
class Live:
    edge: str
    controller: str
    capsys: pytest.CaptureFixture[str]

    def operate(self, *command: str) -> dict[str, Any]:
        """An `airsplit` command with --json, in this process."""
        self.capsys.readouterr()
        assert main([*command, "--json"]) == 0
        answer: dict[str, Any] = json.loads(self.capsys.readouterr().out)
        return answer

    def set_channel(self, *assignments: str) -> None:
        self.operate("channel", "set", *assignments, "--channel", self.edge)

    def split(self, *action: str) -> dict[str, Any]:
        return self.operate("split", *action, "--controller", self.controller)

    def wait_split(self, wanted: Callable[[int], bool], seconds: float = 15.0) -> int:
        """The committed split of the one session, once it is as wanted."""
        limit = time.monotonic() + seconds
        split = -1
        while time.monotonic() < limit:
            sessions = self.split("show").get("sessions", [])
            split = sessions[0].get("split", 0) if sessions else -1
            if wanted(split):
                return split
            time.sleep(0.1)
        pytest.fail(f"the split is {split} after {seconds:g} s")

    @contextmanager
    def generation(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        command = [
            *(sys.executable, "-m", "ue_client", "generate", "--threads", "1"),
            *("--edge", self.edge, "--controller", self.controller),
            *("--max-new-tokens", "1000", "--ignore-eos", *arguments),
        ]
        ue = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            self.wait_split(lambda split: split >= 0)
            yield ue
        finally:
            ue.kill()
            ue.communicate()


@pytest.fixture(scope="module")
def addresses(services: StartServices) -> tuple[str, str]:
    # A slow radio stretches the generation, so that there is time to act in.
    _, addresses = services(
        f"awgn,sigma={GOOD},delay_ms=8",
        controller=("--policy", "ppo", "--min-dwell-ms", "200", "--decision-interval-ms", "100"),
    )
    assert addresses.controller is not None
    return addresses.edge, addresses.controller


@pytest.fixture
def live(addresses: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> Live:
    live = Live(*addresses, capsys)
    live.set_channel(f"sigma={GOOD}")
    return live


def test_the_policy_follows_the_channel(live: Live) -> None:
    with live.generation("--split", "auto"):
        early = live.wait_split(lambda split: split <= 3)
        live.set_channel(f"sigma={BAD}")
        late = live.wait_split(lambda split: split >= 10)
        live.set_channel(f"sigma={GOOD}")
        live.wait_split(lambda split: split <= 3)
    assert early < late


def test_an_operator_overrides_and_releases(live: Live) -> None:
    with live.generation("--split", "auto"):
        live.wait_split(lambda split: split <= 3)
        answer = live.split("set", "15")
        assert answer["sessions"][0]["overridden"]
        live.wait_split(lambda split: split == 15)
        time.sleep(0.5)
        assert live.wait_split(lambda split: split == 15) == 15, "the policy stays away"
        live.split("release")
        live.wait_split(lambda split: split <= 3)


def test_a_chosen_split_is_the_operators_alone_to_move(live: Live) -> None:
    with live.generation("--split", "9"):
        live.set_channel(f"sigma={BAD}")
        time.sleep(1.0)
        assert live.wait_split(lambda split: split >= 0) == 9, "the policy leaves it alone"
        live.split("set", "2")
        live.wait_split(lambda split: split == 2)


def test_a_finished_generation_reports_what_was_done_to_it(live: Live) -> None:
    with live.generation("--split", "9", "--max-new-tokens", "150") as ue:
        live.split("set", "4")
        out, err = ue.communicate(timeout=60)
    assert ue.returncode == 0, err
    result = json.loads(out.splitlines()[-1])
    assert result["splits"][0] == 9
    assert result["splits"][-1] == 4
    (switch,) = result["switches"]
    assert (switch["from"], switch["to"]) == (9, 4)
    assert result["splits"][switch["token"]] == 4
    assert result["splits"][switch["token"] - 1] == 9
    positions = result["prompt_tokens"] + switch["token"] - 1
    assert switch["bytes"] == 5 * positions * 768, "5 layers of keys and values, 768 bytes a row"


def test_a_split_that_cannot_be_is_refused_in_one_line(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    with live.generation("--split", "9"):
        assert main(["split", "set", "40", "--controller", live.controller]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "40" in line
    assert "0-16" in line
