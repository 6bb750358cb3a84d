"""Reading stored JSON and safetensors, never a pickle: one clear line for what is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from airsplit.errors import InputError


def parse_json(text: str | bytes) -> Any:
    """Raises: ValueError: it is not JSON, or is nested too deeply for any that is meant."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_record(path: Path, form: str) -> dict[str, Any]:
    """The JSON object of a file whose `format` is `form`.

    Raises:
        InputError: the file cannot be read or is something else.
    """
    try:
        record = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: is not JSON: {error}") from error
    if not isinstance(record, dict) or record.get("format") != form:
        found = record.get("format") if isinstance(record, dict) else type(record).__name__
        raise InputError.of(f"{path}: format", found, form)
    return record


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a safetensors file.

    Raises:
        InputError: the file cannot be read or is something else.
    """
    try:
        tensors: dict[str, np.ndarray] = load_file(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise InputError(f"{path}: is not a safetensors file: {error}") from error
    except (TypeError, KeyError) as error:  # bfloat16 and others that numpy does not have
        raise InputError(f"{path}: holds a type of numbers that numpy lacks: {error}") from error
    return tensors
