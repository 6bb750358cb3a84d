"""Freed memory is kept for what is allocated next."""

import subprocess
import sys

import pytest

CHILD = """
import resource, sys
from airsplit.memory import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
for round in range(60):
    if round == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [bytearray(b"x") * (2 << 20) for _ in range(4)]
    del held
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    command = [sys.executable, "-c", CHILD, how]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
def test_no_page_is_mapped_anew_for_every_frame() -> None:
    assert page_faults("keep") * 20 < page_faults("leave")
