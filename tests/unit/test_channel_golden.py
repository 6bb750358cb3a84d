"""The same bits in every run: hashes of what arrives, on numpy's generators.

`python -m tests.channel_replay` writes them anew. A change of a hash is a change of every replay:
it belongs into CHANGELOG.md.
"""

import json
import os
import subprocess
import sys

import pytest

from tests.channel_replay import CELLS, GOLDEN, ROWS, RUNS, golden

FROZEN = json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def found():
    return golden()


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
@pytest.mark.parametrize("cell", CELLS)
def test_what_arrives_is_what_always_arrived(found, row, cell):
    """Each cell of the replay table: a yes has the hash of the plain run, a no another one."""
    assert found[row.name][cell] == FROZEN[row.name][cell]
    assert (found[row.name][cell] == FROZEN[row.name][RUNS]) is (cell not in row.no)


def test_no_hash_is_left_over_and_no_two_rows_have_the_same():
    assert {name: tuple(cells) for name, cells in FROZEN.items()} == {r.name: CELLS for r in ROWS}
    each = [set(cells.values()) for cells in FROZEN.values()]
    assert len(set().union(*each)) == sum(len(hashes) for hashes in each)


def test_another_process_meets_the_same_channel(found):
    code = "import json; from tests.channel_replay import golden; print(json.dumps(golden()))"
    environment = os.environ | {"PYTHONHASHSEED": "4711"}
    output = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True, text=True
    )
    assert json.loads(output.stdout) == found
