"""docs/adding-an-impairment.md is true: its example, applied to a copy of the source, runs."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.channel_replay import GOLDEN

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "adding-an-impairment.md").read_text(encoding="utf-8")
STEPS = re.findall(r"`([\w./]+)`:\n\n```(diff|python)\n(.*?)^```$", TEXT, re.M | re.S)
"""Path, kind and text of each."""

COPIED = ["channel_emulator", "airsplit", "proto", "scripts", "pyproject.toml"]
TESTS = ["channel_replay", "unit/test_channel_config", "unit/test_channel_radio"]


def patched(source: str, hunk: str) -> str:
    before = "".join(line[1:] for line in hunk.splitlines(True) if line[0] in " -")
    after = "".join(line[1:] for line in hunk.splitlines(True) if line[0] in " +")
    assert source.count(before) == 1, f"not once in the source:\n{before}"
    return source.replace(before, after)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source with the example in it."""
    tree = tmp_path_factory.mktemp("guide")
    for name in COPIED:
        source, ignored = ROOT / name, shutil.ignore_patterns("__pycache__", "kernels")
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=ignored)
        else:
            shutil.copy(source, tree / name)
    # As it is, and with what was compiled: nothing is changed in it.
    (tree / "channel_emulator" / "kernels").symlink_to(ROOT / "channel_emulator" / "kernels")
    (tree / "tests" / "unit").mkdir(parents=True)
    for name in ("__init__", "unit/__init__", *TESTS):
        shutil.copy(ROOT / "tests" / f"{name}.py", tree / "tests" / f"{name}.py")
    for path, kind, text in STEPS:
        if kind == "python":
            (tree / path).write_text(text, encoding="utf-8")
            continue
        changed = (tree / path).read_text(encoding="utf-8")
        for hunk in text.split("@@\n"):
            changed = patched(changed, hunk)
        (tree / path).write_text(changed, encoding="utf-8")
    run(tree, "scripts/generate_proto.py")
    return tree


def run(tree: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=tree,
        env={"PYTHONPATH": str(tree), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_every_block_of_the_example_is_a_step() -> None:
    assert len(STEPS) == len(re.findall(r"^```(?:diff|python)$", TEXT, re.M))
    assert len({path for path, _, _ in STEPS}) == len(STEPS) == 10


def test_its_tests_and_those_that_it_says_would_fail_pass(tree: Path) -> None:
    one = "tests/unit/test_channel_radio.py::test_every_knob_of_the_radio_changes_what_arrives"
    tests = ["tests/unit/test_channel_impulse.py", "tests/unit/test_channel_config.py", one]
    found = run(tree, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    assert "passed" in found


def test_it_adds_a_row_of_golden_hashes_and_changes_no_other(tree: Path) -> None:
    run(tree, "-m", "tests.channel_replay")
    found = json.loads((tree / "tests" / "unit" / GOLDEN.name).read_text(encoding="utf-8"))
    row = found.pop("impulse noise")
    assert len(set(row.values())) == 1, "a yes in every cell"
    assert found == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_a_channel_knows_the_knob_by_name(tree: Path) -> None:
    code = """
import channel_emulator.impulse
from channel_emulator.spec import parse_channel
from channel_emulator.wire import from_proto, to_proto
config = parse_channel("awgn,sigma=0.5,impulse=0.01")
assert from_proto(to_proto(config)) == config
print(channel_emulator.impulse.__file__, config.to_dict()["impulse"])
"""
    assert run(tree, "-c", code).split() == [f"{tree}/channel_emulator/impulse.py", "0.01"]
