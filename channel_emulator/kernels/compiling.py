"""How the kernels are compiled: by numba, when their module is imported.

They release the interpreter, so that sessions on several threads run on several cores. Arithmetic
is as it is written, never relaxed: the same bits on every machine. Arrays are in C order.

Compiled code is kept beside its module, or where NUMBA_CACHE_DIR says: only the first import takes
seconds, and no frame ever waits for a compiler. It is renewed when the kernel's own file or the
options change, so a kernel's parts are in that file too. numba keeps no recursive functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

Kernel = Callable[..., Any]

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def kernel(signature: str) -> Callable[[Kernel], Kernel]:
    """Compiles a function for arguments of these types."""

    def compiled(function: Kernel) -> Kernel:
        # numba names what it keeps by this alone, and so would take what other options made.
        function.__qualname__ += "".join(f"-{name}={value}" for name, value in _OPTIONS.items())
        try:
            found: Kernel = njit(signature, cache=True, **_OPTIONS)(function)
        except (RuntimeError, OSError):  # nowhere to keep it: a read-only or a full file system
            found = njit(signature, **_OPTIONS)(function)
        return found

    return compiled


def part(function: Kernel) -> Kernel:
    """A function for kernels of its file to call."""
    found: Kernel = njit(**_OPTIONS)(function)
    return found
