"""Reads files that a person names: text and TOML, of bounded size and depth."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from airsplit.errors import InputError

MAX_FILE_BYTES = 16 << 20
MAX_DEPTH = 32
"""Of lists and tables within each other."""


def read_text(what: str, path: Path) -> str:
    """A file in UTF-8, with or without a byte order mark.

    Args:
        what: it is to be, for errors.

    Raises:
        InputError: names the file and why it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            allowed = f"at most {MAX_FILE_BYTES >> 20} MiB"
            raise InputError.of(f"{what}: {path}: size", "more", allowed)
        return data.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{what}: {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{what}: {path} is not text: {error}") from error
    except ValueError as error:  # no name of a file
        raise InputError(f"{what}: {str(path)!r} cannot be read: {error}") from error


def read_toml(what: str, path: Path) -> dict[str, Any]:
    """Raises: InputError: as `read_text` and `parse_toml`."""
    return parse_toml(f"{what}: {path}", read_text(what, path))


def parse_toml(where: str, text: str) -> dict[str, Any]:
    """Raises: InputError: begins with `where`, and says why the text is not TOML."""
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not TOML: {error}") from error
    level: list[Any] = [found]
    for _ in range(
        MAX_DEPTH
    ):  # level by level: what is deep cannot be walked, or shown, recursively
        level = [value for part in level for value in _parts(part)]
    if level:
        raise InputError(f"{where} is not TOML: nested too deep; allowed: {MAX_DEPTH} levels")
    return found


def _parts(value: Any) -> list[Any]:
    """Lists and tables right within a list or table."""
    inner = value.values() if isinstance(value, dict) else value
    return [part for part in inner if isinstance(part, dict | list)]
