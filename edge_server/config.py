"""Configuration of the edge server."""

from __future__ import annotations

import math
from dataclasses import dataclass

from airsplit.checkpoint import EMBEDDED
from airsplit.errors import InputError


@dataclass(frozen=True, slots=True)
class EdgeConfig:
    """What one edge process serves and how much it admits."""

    model: str = EMBEDDED
    """Embedded model, local directory or hub id."""

    layers: str = ":"
    """START:STOP of the layers to hold; empty sides mean the model's ends. STOP must be L."""

    device: str = "cpu"
    dtype: str = "fp32"

    max_sessions: int = 8
    """Sessions served at a time, 1 to 2^31 - 1."""

    kv_budget_mib: float = 4096.0
    """MiB that the K/V of all sessions may reserve, above 0, finite."""

    max_context: int | None = None
    """Longest context of a session in tokens, >= 1; the model's own limit when None."""

    credits: int = 4
    """Frames of one session that may be unanswered at a time, 1 to 2^31 - 1."""

    idle_timeout_s: float = 300.0
    """A session without a frame for so long is closed, above 0, finite."""

    allow_logits: bool = False
    """Whether a session may ask for logits (debug)."""

    threads: int | None = None
    """Threads of torch's CPU operators; half of the cores when None."""

    def __post_init__(self) -> None:
        for field in ("max_sessions", "max_context", "credits", "threads"):
            value = getattr(self, field)
            if value is not None and not 1 <= value < 2**31:
                raise InputError.of(f"--{field.replace('_', '-')}", value, "1 to 2^31 - 1")
        for flag, amount in (
            ("--kv-budget-mib", self.kv_budget_mib),
            ("--idle-timeout", self.idle_timeout_s),
        ):
            if not 0 < amount < math.inf:
                raise InputError.of(flag, amount, "above 0, finite")

    @property
    def kv_budget_bytes(self) -> int:
        return int(self.kv_budget_mib * 2**20)
