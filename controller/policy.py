"""Policies: from what is observed of a session to the split that it should move to. Pure.

A policy is asked once per decision and answers with a value; whether and when the answer becomes
a decision is for `Hysteresis` and the session book to say. The networks live in
`controller.network`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, isnan
from typing import Protocol

from airsplit.errors import AirSplitError, InputError, ModelMismatchError
from airsplit.layer_range import LayerRange


class PolicyError(AirSplitError):
    """A policy could not decide; the session keeps its split."""


@dataclass(frozen=True, slots=True)
class ModelId:
    """What a session runs, as far as a policy cares."""

    name: str
    """Hub id or directory name."""

    layers: int


@dataclass(frozen=True, slots=True)
class Observation:
    """One session at one time: the channel as estimated, never its truth. NaN: not known."""

    sigma: float
    """Absolute standard deviation of the noise on the values, >= 0."""

    m: float
    """Nakagami shape; +infinity where h does not vary."""

    loss: float
    """Share of erased elements, [0, 1]."""

    snr_db: float
    """Mean received power over noise power; +infinity without noise."""

    split: int
    """p that is committed."""

    splits: LayerRange
    """p may be start, ..., stop - 1."""


@dataclass(frozen=True, slots=True)
class Action:
    """The split that a policy wants, and why."""

    split: int
    reason: str = "policy"
    probabilities: tuple[float, ...] | None = None
    """Of the policy's actions {-u, ..., u}, in this order; None where it has none."""

    value: float | None = None
    """The critic's estimate of the discounted return; None where there is no critic."""

    hold: bool = False
    """The policy cannot tell: nothing is to change, not even what is still to be committed."""


class Policy(Protocol):
    """An interchangeable decision rule."""

    @property
    def name(self) -> str:
        """As it is given on the command line, e.g. "fixed:4"."""

    def check(self, model: ModelId) -> None:
        """Raises: ModelMismatchError: the policy is not for this model."""

    def decide(self, observation: Observation) -> Action:
        """Raises: PolicyError: no decision can be made."""


def require_same(policy: str, trained: ModelId, model: ModelId) -> None:
    """A model is known by the last part of its name, wherever it lies.

    Raises:
        ModelMismatchError: the policy was made for another model.
    """
    if (_basename(model.name), model.layers) != (_basename(trained.name), trained.layers):
        raise ModelMismatchError(
            f"policy {policy}: trained for {trained.name} with {trained.layers} layers, "
            f"not for {model.name} with {model.layers}"
        )


def _basename(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2]


def clamp(split: int, splits: LayerRange) -> int:
    """The allowed split nearest to `split`."""
    return min(max(split, splits.start), splits.stop - 1)


def hold(observation: Observation, reason: str) -> Action:
    """No change, for want of something to decide on."""
    return Action(observation.split, f"held: {reason}", hold=True)


@dataclass(frozen=True, slots=True)
class FixedPolicy:
    """Always the same split."""

    split: int

    @property
    def name(self) -> str:
        return f"fixed:{self.split}"

    def check(self, model: ModelId) -> None:
        """Any model: the split is clamped to what the session allows."""

    def decide(self, observation: Observation) -> Action:
        return Action(clamp(self.split, observation.splits))


MEASURES = ("sigma", "snr_db")


@dataclass(frozen=True, slots=True)
class ThresholdPolicy:
    """A staircase: the more noise, the later the split. One table, monotone.

    `thresholds` are ascending values of `measure`; `splits` has one more entry. With n thresholds
    at or below the observed value the split is `splits[n]`. Under `sigma` the splits never
    decrease, under `snr_db` they never increase.

    Raises:
        InputError: the table is not of that form.
    """

    measure: str = "sigma"
    thresholds: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    splits: tuple[int, ...] = (2, 3, 5, 7, 9, 12)

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise InputError.of("measure", self.measure, " or ".join(MEASURES))
        steps = pairwise(self.thresholds)
        if not all(map(isfinite, self.thresholds)) or any(low >= high for low, high in steps):
            raise InputError.of("thresholds", list(self.thresholds), "finite, ascending numbers")
        if len(self.splits) != len(self.thresholds) + 1:
            allowed = f"{len(self.thresholds) + 1} splits, one more than thresholds"
            raise InputError.of("splits", list(self.splits), allowed)
        order = sorted(self.splits, reverse=self.measure == "snr_db")
        if list(self.splits) != order or min(self.splits) < 0:
            word = "increasing" if self.measure == "snr_db" else "decreasing"
            raise InputError.of("splits", list(self.splits), f"never negative, never {word}")

    @property
    def name(self) -> str:
        return "threshold"

    def check(self, model: ModelId) -> None:
        """Any model: splits are clamped to what the session allows."""

    def decide(self, observation: Observation) -> Action:
        value = observation.sigma if self.measure == "sigma" else observation.snr_db
        if isnan(value):
            return hold(observation, f"{self.measure} is not known")
        passed = sum(threshold <= value for threshold in self.thresholds)
        return Action(clamp(self.splits[passed], observation.splits))
