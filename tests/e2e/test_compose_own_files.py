"""What a user chooses or brings, with the words of docs/deployment.md: a folder with a model, read
offline, and scenarios of the radio, shipped and their own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airsplit.checkpoint import EMBEDDED, locate
from tests import families
from tests.e2e import unsplit
from tests.e2e.compose_project import Project

pytestmark = pytest.mark.compose

LAYERS = 2
SCORED = 1000
SCENARIO = """
[channel]
preset = "awgn"

[[phase]]
name = "near"
duration_s = 2
channel = { sigma = 0.25 }

[[phase]]
name = "far"
duration_s = 2
channel = { sigma = 2 }
"""


@dataclass
class Own:
    stack: Project
    model: Path


def readable(folder: Path) -> None:
    """By any user: the containers' is 10001."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Own]:
    models = tmp_path_factory.mktemp("models")
    embedded = locate(EMBEDDED)
    vocabulary = json.loads((embedded / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    sizes = {"vocab_size": vocabulary, "max_position_embeddings": 1024}
    families.make("llama", models / "mine", num_hidden_layers=LAYERS, **sizes)
    for file in embedded.glob("tokenizer*"):
        shutil.copy(file, models / "mine")
    readable(models)
    environment = {
        **{"MODELS": str(models), "MODEL": "/models/mine", "HF_HUB_OFFLINE": "1"},
        **{"POLICY": "threshold", "CHANNEL": "case-a"},
    }
    stack = Project(f"airsplit-test-own-{os.getpid()}", ["docker-compose.yml"], environment)
    try:
        stack.up()
        yield Own(stack, models / "mine")
    finally:
        stack.down()
    assert stack.left() == {}


def radio(stack: Project) -> dict[str, Any]:
    found = json.loads(stack.airsplit("channel", "channel", "show", "--json"))
    assert isinstance(found, dict)
    return found


def test_a_shipped_scenario_plays_from_the_start(own: Own) -> None:
    """Case A draws the loss anew each second of channel time: 10 ms a token,
    and a frame of up to 128 is served by one of them."""
    losses = []
    for tokens in (1, 150, 400):
        own.stack.ue("score", "--max-tokens", str(tokens), "--split", "1").end()
        state = radio(own.stack)
        assert (state["scenario"], state["config"]["preset"]) == ("case-a", "erasure")
        losses.append(state["config"]["loss"])
    assert len(set(losses)) == len(losses)
    assert 0 <= min(losses) < max(losses) <= 0.3


def test_a_scenario_of_ones_own_is_played_live(own: Own, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(SCENARIO, encoding="utf-8")
    readable(tmp_path)
    play = ("channel", "play", "/s/mine.toml", "--channel", "channel:50052")
    own.stack.run("run", "--rm", "-T", "-v", f"{tmp_path}:/s:ro", "ue", *play)
    sigmas = []
    for tokens in (100, 300):
        own.stack.ue("score", "--max-tokens", str(tokens), "--split", "1").end()
        state = radio(own.stack)
        assert state["scenario"] == "mine"
        sigmas.append(state["config"]["sigma"])
    assert sigmas == [0.25, 2.0]


@pytest.mark.parametrize("split", ["0", "1", "2"])
def test_an_offline_model_scores_as_the_unsplit_one(own: Own, split: str) -> None:
    own.stack.airsplit("channel", "channel", "set", "preset=ideal")
    result = own.stack.ue("score", "--json", "--max-tokens", str(SCORED), "--split", split).result()
    assert result["model"] == "/models/mine"
    expected = unsplit.perplexity(SCORED, str(own.model))
    assert result["perplexity"] == pytest.approx(expected, rel=1e-5)


def test_a_folder_that_is_not_there_is_named(own: Own) -> None:
    _, err = own.stack.ue("score", "--model", "/models/none").end(code=2)
    assert "--model: '/models/none' is not a directory" in err
