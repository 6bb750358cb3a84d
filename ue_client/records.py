"""What goes into a session of the UE and what comes out of it, as values."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from airsplit.frames import Frame
from airsplit.telemetry import TokenTrace
from airsplit.v1 import channel_pb2


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """What a session is opened with."""

    model: str
    """Name of the model, for people; the fingerprint decides."""

    split: int
    max_context: int
    ue_id: str = "ue"
    stream: int = 0
    """Key of this session's random draws in the channel."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0
    return_logits: bool = False
    wire_dtype: torch.dtype | None = None
    """Dtype that crosses the radio; the partition's own when None."""


@dataclass(frozen=True, slots=True)
class Switch:
    """One move of the split."""

    split_from: int
    split_to: int
    window: int
    position: int
    bytes: int
    """K/V bytes that crossed the link."""

    gap_ms: float
    """How long decoding stood still for it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the edge said of one frame."""

    frame: Frame
    token_id: int | None
    """TASK_SAMPLE: the token after the frame's last one."""

    nll: tuple[float, ...]
    """TASK_SCORE: one per target, natural logarithm."""

    logits: bytes
    """fp32, where the session asked for them: [vocab_size] or [tokens, vocab_size]."""

    switch: Switch | None
    """The move of the split that this frame committed."""

    channel: channel_pb2.ChannelReport | None
    """What the frame met on its way up; None without an emulator."""

    trace: TokenTrace
