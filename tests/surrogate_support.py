"""Records of a known function, for tests of the surrogate."""

from __future__ import annotations

import json
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

LAYERS = 8
CLEAN_NLL = 3.5

Line = dict[str, Any]


def true_nll(sigma: float, m: float, loss: float, split: int) -> float:
    """Worse with noise, fading and loss; for noise an early split is the worse one."""
    noise = np.log1p(2 * sigma**2 / (1 + 2 * split))
    return float(CLEAN_NLL + noise + 0.3 / m * (1 - split / LAYERS) + loss * (1 + split / LAYERS))


def record(
    sigma: float = 0.0, m: float = inf, loss: float = 0.0, split: int = 0, seed: int = 0
) -> Line:
    """One record without error."""
    preset = "erasure" if loss else "awgn" if m == inf else "nakagami"
    nll = true_nll(sigma, m, loss, split)
    return {
        "format": "airsplit-record/1",
        "model": {"name": "tiny", "layers": LAYERS, "fingerprint": "f00d"},
        "dataset": "sample",
        "window": 256,
        "windows": 4,
        "tokens": 1020,
        "dtype": "fp32",
        "channel": {"preset": preset, "h_th": 0.1, "seed": seed},
        "sigma": sigma,
        "m": "inf" if m == inf else m,
        "loss": loss,
        "split": split,
        "seed": seed,
        "nll": nll,
        "nll_se": 0.02,
        "clean_nll": CLEAN_NLL,
        "perplexity": float(np.exp(nll)),
        "perplexity_low": float(np.exp(nll - 0.04)),
        "perplexity_high": float(np.exp(nll + 0.04)),
        "seconds": 0.1,
    }


def fading(channels: int = 24, seed: int = 0) -> list[Line]:
    """Random (sigma, m) and the corners of the box, with every split."""
    chance = np.random.default_rng(seed)
    at = [(sigma, m) for sigma in (0.0, 4.0) for m in (inf, 1.0)]
    at += [
        (float(sigma), float(1 / share))
        for sigma, share in chance.uniform((0, 0.01), (4, 1), (channels, 2))
    ]
    return [record(sigma, m, split=p) for sigma, m in at for p in range(LAYERS + 1)]


def erasure(channels: int = 12) -> list[Line]:
    return [
        record(loss=float(loss), split=p)
        for loss in np.linspace(0, 0.3, channels)
        for p in range(LAYERS + 1)
    ]


def written(path: Path, lines: list[Line]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
