"""How the C library keeps memory that has been freed."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # <malloc.h>

_KEPT_BYTES = 64 << 20

_MAPPED_BYTES = 32 << 20
"""The most that glibc takes."""


def keep_freed_memory() -> None:
    """Lets this process keep freed memory for its next allocations.

    Up to 64 MiB at the end of each of glibc's arenas, of which there is one for every few threads.

    Frames of a mebibyte are allocated and freed several times over on their way. By default glibc
    gives that memory back to the system at once, and has every page of it mapped anew and zeroed
    for the next frame, which takes longer than all that is computed. Without glibc nothing changes.

    All services call it: what MALLOC_TRIM_THRESHOLD_ says does not count in them.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
