"""Fixtures: the embedded model, and real processes that serve it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from airsplit.checkpoint import EMBEDDED, Checkpoint, locate
from airsplit.partition import ModelPartition
from experiments.stack import Addresses, Stack, start_services

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# A shell that runs the tests in the background has them ignore Ctrl-C, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)  # as the processes that the tests start: same shapes, same threads

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def wikitext() -> Path:
    """The folder with WikiText-2's test.txt; skips where it is not at hand."""
    folder = SHARED / "data" / "wikitext-2"
    if not (folder / "test.txt").is_file():
        pytest.skip("WikiText-2 is not beside the project (../shared/data/wikitext-2)")
    return folder


@pytest.fixture(scope="session")
def embedded() -> Checkpoint:
    return Checkpoint(locate(EMBEDDED))


@pytest.fixture(scope="session")
def whole(embedded: Checkpoint) -> ModelPartition:
    """The unsplit embedded model."""
    return ModelPartition(embedded)


StartServices = Callable[..., tuple[Stack, Addresses]]


@pytest.fixture(scope="module")
def services() -> Iterator[StartServices]:
    """Starts real edge and emulator processes (and a controller if asked for) per call."""
    with ExitStack() as stacks:

        def start(
            channel: str = "ideal",
            *,
            seed: int = 0,
            edge: tuple[str, ...] = (),
            controller: tuple[str, ...] | None = None,
        ) -> tuple[Stack, Addresses]:
            stack = stacks.enter_context(Stack())
            addresses = start_services(
                stack,
                channel=channel,
                seed=seed,
                edge_arguments=["--threads", "1", "--allow-logits", *edge],
                controller_arguments=controller,
            )
            return stack, addresses

        yield start
