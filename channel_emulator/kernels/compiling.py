"""How the kernels are compiled: by numba, when their module is imported.

They release the interpreter, so that sessions on several threads run on several cores. Arithmetic
is as it is written, never relaxed: the same bits on every machine. Arrays are in C order.

Compiled code is kept beside its module, or where NUMBA_CACHE_DIR says: only the first import takes
seconds, and no frame ever waits for a compiler. It is renewed when any file of this folder or the
options change. numba keeps no recursive functions.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

Kernel = Callable[..., Any]
Function = TypeVar("Function", bound=Kernel)

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def _digest(folder: Path = Path(__file__).parent) -> str:
    """Of these options and of all kernels and their parts, which may be in each other's files."""
    sources = sorted(folder.glob("*.py"))
    text = b"".join(source.read_bytes() for source in sources) + repr(_OPTIONS).encode()
    return blake2b(text, digest_size=8).hexdigest()


_DIGEST = _digest()


def kernel(signature: str) -> Callable[[Kernel], Kernel]:
    """Compiles a function for arguments of these types."""

    def compiled(function: Kernel) -> Kernel:
        # numba names what it keeps by this and by the function's own file alone.
        function.__qualname__ += f"-{_DIGEST}"
        try:
            found: Kernel = njit(signature, cache=True, **_OPTIONS)(function)
        except (RuntimeError, OSError):  # nowhere to keep it: a read-only or a full file system
            found = njit(signature, **_OPTIONS)(function)
        return found

    return compiled


def part(function: Function) -> Function:
    """A function for kernels to call."""
    return cast(Function, njit(**_OPTIONS)(function))


def inlined(function: Function) -> Function:
    """A part that is put in place of its calls, which LLVM decides by its size otherwise."""
    return cast(Function, njit(forceinline=True, **_OPTIONS)(function))
