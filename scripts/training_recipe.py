"""What a model is trained with: each number, its default and its range."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training_text import SMALLEST_VOCABULARY

from airsplit.errors import InputError


def option(default: float | None, unit: str, what: str) -> Any:
    """A field of `Recipe` and its flag on the command line."""
    return field(default=default, metadata={"unit": unit, "what": what})


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is trained on what. Defaults make the embedded model."""

    text: tuple[str, ...]
    """UTF-8 files, plain or .xz, each as FILE or FILE:REPEAT."""

    out: Path
    """Folder to write; new or empty."""

    steps: int = option(1300, "STEPS", "optimizer steps")
    batch: int = option(16, "SEQUENCES", "sequences of a step")
    context: int = option(512, "TOKENS", "tokens of a sequence")
    learning_rate: float = option(3e-3, "RATE", "highest learning rate")
    warm_up: int = option(100, "STEPS", "steps in which the learning rate rises")
    seed: int = option(0, "N", "of the weights and of the order of the text")
    vocab_size: int = option(4096, "TOKENS", "tokens of the byte-level vocabulary, at least 258")
    layers: int = option(16, "LAYERS", "decoder layers")
    hidden_size: int = option(192, "WIDTH", "elements of the residual stream")
    heads: int = option(6, "HEADS", "attention heads")
    kv_heads: int = option(3, "HEADS", "heads of keys and values")
    ffn_size: int = option(512, "WIDTH", "elements within a feed-forward block")
    max_context: int = option(1024, "TOKENS", "longest context of the finished model")
    threads: int | None = option(None, "N", "CPU threads")
    log_every: int = option(10, "STEPS", "steps between two lines of progress")

    def __post_init__(self) -> None:
        counts = "steps batch context layers hidden_size heads kv_heads ffn_size threads log_every"
        for name in counts.split():
            self._require(name, getattr(self, name) is None or getattr(self, name) >= 1, ">= 1")
        self._require("seed", 0 <= self.seed < 2**63, "0-9223372036854775807")
        self._require("warm_up", self.warm_up >= 0, ">= 0 steps")
        self._require("learning_rate", 0 < self.learning_rate <= 1, "above 0, up to 1")
        self._require(
            "vocab_size",
            self.vocab_size >= SMALLEST_VOCABULARY,
            f">= {SMALLEST_VOCABULARY} (every byte and two special tokens)",
        )
        self._require(
            "hidden_size",
            self.hidden_size % (2 * self.heads) == 0,
            f"multiples of {2 * self.heads} (twice --heads)",
        )
        self._require(
            "kv_heads", self.heads % self.kv_heads == 0, f"divisors of {self.heads} (--heads)"
        )
        self._require(
            "max_context", self.max_context >= self.context, f">= {self.context} (--context)"
        )

    def _require(self, name: str, fits: bool, allowed: str) -> None:
        if not fits:
            raise InputError.of(f"--{name.replace('_', '-')}", getattr(self, name), allowed)
