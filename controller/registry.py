"""From `--policy` to a policy."""

from __future__ import annotations

import json
from pathlib import Path

from airsplit.errors import InputError
from controller.network import load_policy
from controller.policy import FixedPolicy, Policy, ThresholdPolicy

DEFAULT_DIRECTORY = Path(__file__).resolve().parent / "assets" / "airsplit-tiny"
"""The embedded policy, trained on the embedded model."""

FORMS = "fixed:P, threshold, threshold:FILE.json, ppo, ppo:DIR"


def parse_policy(text: str, field: str = "--policy") -> Policy:
    """The policy of a command-line value, one of `FORMS`.

    Raises:
        InputError: not of these forms, or its file is not what it should be.
    """
    kind, separator, argument = text.partition(":")
    if kind == "fixed" and argument.isdecimal():
        return FixedPolicy(int(argument))
    if bool(separator) == bool(argument):
        if kind == "threshold":
            return load_threshold(Path(argument)) if argument else ThresholdPolicy()
        if kind == "ppo":
            return load_policy(Path(argument) if argument else DEFAULT_DIRECTORY, text)
    raise InputError.of(field, text, FORMS)


def load_threshold(path: Path) -> ThresholdPolicy:
    """A threshold table from JSON: {"measure": "sigma", "thresholds": [...], "splits": [...]}.

    Raises:
        InputError: the file cannot be read, or the table is not monotone.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: is not JSON: {error}") from error
    keys = {"measure", "thresholds", "splits"}
    if not isinstance(table, dict) or set(table) != keys:
        found = sorted(table) if isinstance(table, dict) else type(table).__name__
        raise InputError.of(f"{path}: keys", found, ", ".join(sorted(keys)))
    try:
        thresholds = tuple(float(value) for value in table["thresholds"])
        splits = tuple(int(value) for value in table["splits"])
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error
    try:
        return ThresholdPolicy(str(table["measure"]), thresholds, splits)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
