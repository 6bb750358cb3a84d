"""Configuration of the edge server."""

from __future__ import annotations

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
    """Sessions served at a time, >= 1."""

    kv_budget_mib: float = 4096.0
    """MiB that the K/V of all sessions may reserve, > 0."""

    max_context: int | None = None
    """Longest context of a session in tokens; the model's own limit when None."""

    credits: int = 4
    """Frames of one session that may be unanswered at a time, >= 1."""

    idle_timeout_s: float = 300.0
    """A session without a frame for so long is closed, > 0."""

    allow_logits: bool = False
    """Whether a session may ask for logits (debug)."""

    threads: int | None = None
    """Threads of torch's CPU operators; torch's own choice when None."""

    def __post_init__(self) -> None:
        for field, least in (("max_sessions", 1), ("credits", 1), ("threads", 1)):
            value = getattr(self, field)
            if value is not None and value < least:
                raise InputError.of(f"--{field.replace('_', '-')}", value, f">= {least}")
        for field in ("kv_budget_mib", "idle_timeout_s"):
            if not getattr(self, field) > 0:
                raise InputError.of(f"--{field.replace('_', '-')}", getattr(self, field), "> 0")

    @property
    def kv_budget_bytes(self) -> int:
        return int(self.kv_budget_mib * 2**20)
