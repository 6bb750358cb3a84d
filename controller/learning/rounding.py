"""How far one model on one text may come out apart: other machines sum in another order."""

from __future__ import annotations

from math import sqrt

_OF_A_TOKEN = {"fp32": 0.005, "bf16": 0.1, "fp16": 0.015}
"""Nats. The embedded model with oneDNN's kernels and without: the NLL of a token differs by a
standard deviation of 0.014 in bf16, 0.0019 in fp16, of one token as much as of the next and with
either sign. This is seven of them, and 0.04 of that between the tokens of a text, about 2.7. In
fp32 they gave the same there; 0.005 leaves room for machines that do not."""


def nll_rounding(dtype: str, tokens: int) -> float:
    """Nats by which the mean NLL of `tokens` may differ between two machines, or compiled or not.

    Rounding is independent from token to token, so that it falls with 1/√tokens, as the difference
    between two texts does. A dtype that is not known counts as the coarsest.
    """
    return _OF_A_TOKEN.get(dtype, max(_OF_A_TOKEN.values())) / sqrt(tokens)
