"""Which channels are recorded: grids, and random designs for surrogates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import inf, isfinite, isinf, isnan

import numpy as np

from airsplit.errors import InputError
from channel_emulator.config import ALLOWED, PRESETS, ChannelConfig
from channel_emulator.knobs import Range
from controller.features import inverse_m
from controller.learning.space import ChannelSpace


def fading(sigma: float, m: float, seed: int) -> ChannelConfig:
    """Absolute noise, and below m = inf Nakagami fading per element (Eq. 3-5 of the paper)."""
    if isinf(m):
        return PRESETS["awgn"].changed({"sigma": sigma, "seed": seed})
    return PRESETS["nakagami"].changed({"sigma": sigma, "m": m, "seed": seed})


def erasure(loss: float, seed: int) -> ChannelConfig:
    """Elements zeroed, each by itself, with probability `loss`."""
    return PRESETS["erasure"].changed({"loss": loss, "seed": seed})


def snr(snr_db: float, seed: int) -> ChannelConfig:
    """Noise relative to each token's own power."""
    return PRESETS["awgn"].changed({"snr_db": snr_db, "seed": seed})


def grid(
    sigmas: Sequence[float],
    shapes: Sequence[float],
    losses: Sequence[float],
    snrs: Sequence[float],
    seed: int,
    draws: int = 1,
) -> Iterator[ChannelConfig]:
    """Every (sigma, m), then every loss, then every SNR, each with seeds seed..seed + draws - 1.

    Raises:
        InputError: a value is out of its range.
    """
    if draws < 1:
        raise InputError.of("--draws", draws, "at least 1")
    for n in range(seed, seed + draws):
        for sigma in sigmas:
            yield from (fading(sigma, m, n) for m in shapes)
        yield from (erasure(loss, n) for loss in losses)
        yield from (snr(snr_db, n) for snr_db in snrs)


def random_fading(
    count: int, sigmas: Sequence[float], shapes: Sequence[float], seed: int, draws: int = 1
) -> list[ChannelConfig]:
    """`count` channels uniform in (log(1 + sigma/0.25), 1/m) between the ends of the ranges.

    Channel i has seeds of its own, seed + i * draws and on: no two channels share their luck.

    Raises:
        InputError: a range is empty, or a value is out of its range.
    """
    low_sigma, high_sigma = _ends("--sigma", sigmas)
    low_m, high_m = _ends("--m", shapes)
    space = ChannelSpace(
        ("sigma", "inverse_m"), (low_sigma, inverse_m(high_m)), (high_sigma, inverse_m(low_m))
    )
    largest = ALLOWED["m"].high if isinstance(ALLOWED["m"], Range) else inf
    points = _uniform(space, count, seed, draws)
    return [
        fading(sigma, 1 / share if share * largest >= 1 else inf, n) for n, (sigma, share) in points
    ]


def random_erasure(
    count: int, losses: Sequence[float], seed: int, draws: int = 1
) -> list[ChannelConfig]:
    """`count` losses uniform between the ends of the range; seeds as in `random_fading`."""
    low, high = _ends("--loss", losses)
    points = _uniform(ChannelSpace(("loss",), (low,), (high,)), count, seed, draws)
    return [erasure(loss, n) for n, (loss,) in points]


def _uniform(
    space: ChannelSpace, count: int, seed: int, draws: int
) -> Iterator[tuple[int, list[float]]]:
    """(seed, coordinates) of every channel and draw; digits that a person can read.

    The first channels are the corners of the space: a surrogate answers only within what was
    recorded, and what it is asked for begins at no noise and no fading.
    """
    for flag, value, least in (("--random", count, 1), ("--draws", draws, 1), ("--seed", seed, 0)):
        if value < least:
            raise InputError.of(flag, value, f"at least {least}")
    unit = np.random.default_rng(seed).random((count, len(space.names)))
    corners = np.array(list(product((0.0, 1.0), repeat=len(space.names))))[:count]
    unit[: len(corners)] = corners
    for i, point in enumerate(space.clip(np.round(space.from_unit(unit), 6)).tolist()):
        for draw in range(draws):
            yield seed + i * draws + draw, point


def _ends(flag: str, values: Sequence[float]) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else (inf, -inf)
    if not low < high:
        raise InputError.of(flag, list(values), "2 numbers, the ends of a range, with --random")
    return low, high


def parse_splits(text: str, layers: int) -> tuple[int, ...]:
    """`all`, or numbers and ranges such as `0,4,8-16`, ascending.

    Raises:
        InputError: it is none of these, or beyond the model.
    """
    if text == "all":
        return tuple(range(layers + 1))
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        numbers = (first, last) if dash else (first, first)
        if not all(number.isdecimal() for number in numbers):
            raise InputError.of("--split", text, "all, or numbers and ranges as in 0,4,8-16")
        low, high = int(numbers[0]), int(numbers[1])
        if not low <= high <= layers:
            raise InputError.of("--split", text, f"0-{layers}, the splits of the model")
        found.update(range(low, high + 1))
    return tuple(sorted(found))


def parse_number(text: str) -> float:
    """A number, `inf` among them; for argparse."""
    value = float(text)
    if isnan(value) or not (isfinite(value) or value > 0):
        raise ValueError(text)
    return value
