"""The same bits in every run: hashes of what arrives, on numpy's generators.

`python -m tests.channel_replay` writes them anew. A change of a hash is a change of every replay:
it belongs into CHANGELOG.md.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.channel_replay import GOLDEN, ROWS, golden

FROZEN = json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def found():
    return golden()


@pytest.mark.parametrize("name", [row.name for row in ROWS])
def test_what_arrives_is_what_always_arrived(found, name):
    assert found[name] == FROZEN[name]


def test_no_hash_is_left_over_and_no_two_are_the_same():
    assert FROZEN.keys() == {row.name for row in ROWS}
    assert len(set(FROZEN.values())) == len(ROWS)


def test_another_process_meets_the_same_channel(found):
    code = "import json; from tests.channel_replay import golden; print(json.dumps(golden()))"
    environment = os.environ | {"PYTHONHASHSEED": "4711"}
    output = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True
    )
    assert json.loads(output.stdout) == found
