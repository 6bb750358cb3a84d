"""How long a child service may take to start."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest

from airsplit.errors import AirSplitError
from experiments.stack import START_S, Child, start_limit_s


def test_a_large_model_has_more_time(tmp_path: Path) -> None:
    assert start_limit_s(tmp_path) == START_S
    for name in ("model-1.safetensors", "model-2.safetensors"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(8 * 10**9)  # takes no room
    assert start_limit_s(tmp_path) == START_S + 800


def test_a_service_that_does_not_listen_in_time_is_named() -> None:
    process = subprocess.Popen(["sleep", "60"], stdout=subprocess.PIPE)
    with tempfile.TemporaryFile() as log:
        child = Child("edge server", process, log)
        says = r"^edge server did not listen within 0\.05 s: no message$"
        with pytest.raises(AirSplitError, match=says):
            child.wait_listening(0.05)
        child.stop()
