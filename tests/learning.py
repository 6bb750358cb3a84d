"""Small measured qualities, by a formula, for the tests of what learns on them."""

from __future__ import annotations

from math import inf, log
from pathlib import Path

import numpy as np
import pytest

from controller.learning.quality import TableQuality
from controller.learning.reward import ObjectiveReward
from controller.policy import ModelId
from controller.table import PerplexityTable

LAYERS = 6
SIGMA = (0.0, 0.5, 2.0)
M = (inf, 4.0, 1.0)
CLEAN = 2.0

PUBLISHED = Path(__file__).resolve().parents[2] / "shared" / "paper"


def published(suffix: str) -> Path:
    """The authors' reward model; skips where it is not beside the project."""
    path = PUBLISHED / f"reward_predictor{suffix}"
    if not path.is_file():
        pytest.skip(f"the published reward model is not at hand (../shared/paper/{path.name})")
    return path


def small_table() -> PerplexityTable:
    """Excess NLL = sigma * (1 + 1/m) * exp(-p): an earlier split suffers more."""
    sigma = np.array(SIGMA)[:, None, None]
    fading = np.array([0.0, 0.25, 1.0])[None, :, None]
    nll = CLEAN + sigma * (1 + fading) * np.exp(-np.arange(LAYERS + 1.0))
    return PerplexityTable(
        ModelId("small", LAYERS), SIGMA, M, nll, np.zeros_like(nll), CLEAN, log(4096), {"seed": 0}
    )


def small_reward(cost_weight: float = 0.1) -> ObjectiveReward:
    return ObjectiveReward(TableQuality(small_table()), cost_weight)
