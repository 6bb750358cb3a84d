"""Every decision, and what became of it, as one line of JSON.

`event` is "decision" (one per look at a session, also where the split was held), "committed" or
"rejected". NaN is written as null and infinity as "inf": the lines are strict JSON.
"""

from __future__ import annotations

import contextlib
import json
import logging
from math import isinf, isnan
from pathlib import Path
from typing import Any, TextIO

from airsplit.errors import InputError
from controller.decisions import Consideration

log = logging.getLogger(__name__)


class DecisionLog:
    """Appends to a file, line by line, so that a kill loses at most the last line.

    A disk that fails later is reported once and ends the log, not the process.

    Raises:
        InputError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file: TextIO | None = path.open("a", buffering=1, encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"--decision-log: {path} cannot be written: {error.strerror}"
            ) from error

    def write(self, record: dict[str, Any]) -> None:
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(record, allow_nan=False) + "\n")
        except OSError as error:
            log.error("decision log %s ends here: %s", self._path, error)
            with contextlib.suppress(OSError):  # what is buffered cannot be written either
                self._file.close()
            self._file = None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def decision_record(
    considered: Consideration, time_unix_s: float, controller_instance: str, policy: str
) -> dict[str, Any]:
    """The line of one look: state, what the policy wanted, what came of it and why.

    `committed` is where the split is, `action` where the policy wants it, `target` where it is to
    be. `version` is that of a new decision, null where there is none.
    """
    seen, action = considered.observation, considered.action
    return {
        "event": "decision",
        "time_unix_s": round(time_unix_s, 6),
        "ue_id": considered.ue_id,
        "session_id": considered.session_id,
        "controller_instance": controller_instance,
        "policy": policy,
        "tokens": considered.tokens,
        "observation": {
            "sigma": _number(seen.sigma),
            "m": _number(seen.m),
            "loss": _number(seen.loss),
            "snr_db": _number(seen.snr_db),
            "splits": [seen.splits.start, seen.splits.stop],
        },
        "committed": seen.split,
        "target": considered.target,
        "action": action.split,
        "probabilities": action.probabilities
        and [round(share, 6) for share in action.probabilities],
        "value": _number(action.value),
        "reason": considered.reason,
        "version": considered.decision.version if considered.decision else None,
    }


def _number(value: float | None) -> float | str | None:
    if value is None or isnan(value):
        return None
    if isinf(value):
        return "inf" if value > 0 else "-inf"
    return round(value, 6)
