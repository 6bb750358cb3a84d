"""Trains a surrogate of NLL on measured records (Sec. 4.3 of the paper), top to bottom.

1. Whole channels are held out for the test; those at the edge of the range always train.
2. k-fold cross-validation over the other channels, each fold stopped early by its own records.
3. The surrogate: trained on all but the test, for the folds' median number of epochs.
4. Scored on the held-out channels, beside plainer ways to answer and the records' own error.
5. Once more on held-out channels *and* splits, by networks that never saw those splits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airsplit.errors import InputError
from controller.learning import surrogate_scores as scores
from controller.learning.records import Records
from controller.learning.space import Floats
from controller.learning.surrogate import Surrogate
from controller.learning.surrogate_config import SurrogateConfig
from controller.learning.surrogate_fit import fit, fit_until
from controller.learning.threads import one_thread

Mask = NDArray[np.bool_]

SPLIT_FOLDS = 4
"""Every fourth split is left out at a time, so that its neighbours are seen."""


def train_surrogate(
    records: Records,
    config: SurrogateConfig | None = None,
    progress: Callable[[str], None] = print,
) -> Surrogate:
    """A surrogate of what the records measured; its scores are in its `record`.

    Raises:
        InputError: too few channels to hold some out, or fewer than two splits.
    """
    config = config or SurrogateConfig()
    started = time.monotonic()
    chance = np.random.default_rng(config.seed)
    test = hold_out(records, config.test_share, chance)
    known = records.chosen(~test)
    with one_thread():
        folds = list(cross_validate(known, config, chance, progress))
        epochs = int(np.median([fold["epochs"] for fold in folds]))
        surrogate = fit(known, config, epochs)
        progress(f"surrogate: {epochs} epochs, the folds' median, on {len(known)} records")
        unseen = unseen_splits(records, test, config, epochs)
    unit = surrogate.scale
    held_out = records.chosen(test)
    answer = surrogate.nll(held_out.channels, held_out.split)
    found: dict[str, Any] = {
        "test": scores.errors(held_out, answer, unit),
        "test_unseen_splits": scores.errors(*unseen, unit) if unseen else None,
        "train": scores.errors(known, surrogate.nll(known.channels, known.split), unit),
        "cross_validation": folds,
        "baselines": {
            name: scores.errors(held_out, guess, unit)
            for name, guess in scores.baselines(known, held_out).items()
        },
        "draw_spread_nll": records.draw_spread(),
    }
    record = {
        "records": len(records),
        "channels": int(records.channel_number().max()) + 1,
        "test_channels": int(held_out.channel_number().max()) + 1,
        "splits_seen": np.unique(records.split).tolist(),
        "epochs": epochs,
        "config": asdict(config),
        "provenance": dict(records.provenance),
        "scores": found,
        "seconds": round(time.monotonic() - started, 3),
    }
    return replace(surrogate, record=record)


def hold_out(records: Records, share: float, chance: np.random.Generator) -> Mask:
    """Which records are of channels that are held out: bool [n].

    A channel with the least or greatest value of a coordinate is never held out: the surrogate
    answers up to there, and has to have seen it.

    Raises:
        InputError: there are too few channels between.
    """
    number = records.channel_number()
    at_edge = (records.channels == records.space.low) | (records.channels == records.space.high)
    inner = np.setdiff1d(number, number[at_edge.any(axis=1)])
    wanted = max(1, round(share * (int(number.max()) + 1)))
    if wanted > len(inner):
        found = f"{len(inner)} channels between the least and greatest values"
        raise InputError.of("records", found, f"at least {wanted}, to hold out for the test")
    return np.isin(number, chance.choice(inner, wanted, replace=False))


def cross_validate(
    records: Records,
    config: SurrogateConfig,
    chance: np.random.Generator,
    progress: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Per fold of channels: its errors, and the epoch that was best for it.

    Raises:
        InputError: there are fewer channels than folds.
    """
    number = records.channel_number()
    count = int(number.max()) + 1
    if count < config.folds:
        allowed = f"up to {count}, the channels that are not held out"
        raise InputError.of("--folds", config.folds, allowed)
    fold_of = (chance.permutation(count) % config.folds)[number]
    for fold in range(config.folds):
        outside = records.chosen(fold_of == fold)
        surrogate, epochs = fit_until(records.chosen(fold_of != fold), outside, config)
        answer = surrogate.nll(outside.channels, outside.split)
        found = scores.errors(outside, answer, surrogate.scale)
        progress(
            f"fold {fold + 1} of {config.folds}: best after {epochs} epochs, "
            f"mean absolute error {found['mae_nll']:.4f} nats"
        )
        yield {"epochs": epochs, **found}


def unseen_splits(
    records: Records, test: Mask, config: SurrogateConfig, epochs: int
) -> tuple[Records, Floats] | None:
    """Held-out channels at splits that the answering network has not seen at any channel, and its
    answers, [n]; the first and last split are always seen. None where there are no others.
    """
    inner = np.unique(records.split)[1:-1]
    if not len(inner):
        return None
    answers = np.full(len(records), np.nan)
    for fold in range(min(SPLIT_FOLDS, len(inner))):
        left_out = np.isin(records.split, inner[fold::SPLIT_FOLDS])
        asked = test & left_out
        if not asked.any():  # where not every channel was recorded at every split
            continue
        network = fit(records.chosen(~test & ~left_out), config, epochs)
        some = records.chosen(asked)
        answers[asked] = network.nll(some.channels, some.split)
    which = ~np.isnan(answers)
    return (records.chosen(which), answers[which]) if which.any() else None
