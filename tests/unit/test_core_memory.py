"""Freed memory is kept for what is allocated next."""

import ctypes
import subprocess
import sys

import pytest

CHILD = """
import asyncio, os, resource, signal, sys
from airsplit.memory import keep_freed_memory
from airsplit.serving import Service, serve

def allocate():
    for round in range(60):
        if round == 10:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        held = [bytearray(b"x") * (2 << 20) for _ in range(4)]
        del held
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

async def start(address):
    allocate()
    os.kill(os.getpid(), signal.SIGTERM)

if sys.argv[1] == "serve":
    asyncio.run(serve(Service("test", lambda server: [], start=start), "127.0.0.1:0"))
else:
    if sys.argv[1] == "keep":
        keep_freed_memory()
    allocate()
"""


def has_mallopt() -> bool:
    return sys.platform.startswith("linux") and hasattr(ctypes.CDLL(None), "mallopt")


def page_faults(how: str) -> int:
    command = [sys.executable, "-c", CHILD, how]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout.splitlines()[0])


@pytest.mark.skipif(not has_mallopt(), reason="glibc's settings")
@pytest.mark.parametrize("how", ["keep", "serve"])
def test_no_page_is_mapped_anew_for_every_frame(how: str) -> None:
    """Where a process says so, and in every service."""
    assert page_faults(how) * 20 < page_faults("leave")
