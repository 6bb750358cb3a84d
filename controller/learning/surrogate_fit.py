"""Fits the surrogate's network to records: Adam on normalised targets, with early stopping."""

from __future__ import annotations

import copy
from itertools import pairwise
from math import inf

import numpy as np
import torch

from airsplit.errors import AirSplitError, InputError
from controller.learning.records import Records
from controller.learning.surrogate import Layer, Surrogate, encode
from controller.learning.surrogate_config import SurrogateConfig

AVERAGING_EPOCHS = 5
"""Half-life of the running mean of the weights that is kept: it takes out the jitter of single
steps, as a falling learning rate would, at whatever epoch the training stops."""

DIVERGED = "training diverged, the network is not finite; a smaller --lr may help"


def fit(records: Records, config: SurrogateConfig, epochs: int) -> Surrogate:
    """A surrogate of all these records after `epochs` epochs, without scores.

    Raises:
        InputError: there are fewer than two splits, or all NLLs are the same.
    """
    found = _Training(records, config).run(epochs)
    if not all(np.isfinite(part).all() for layer in found.layers for part in layer):
        raise AirSplitError(DIVERGED)
    return found


def fit_until(records: Records, outside: Records, config: SurrogateConfig) -> tuple[Surrogate, int]:
    """The surrogate of the epoch that was best on `outside`, and that epoch's number, from 1.

    Training stops once `config.patience` epochs in a row were no better, or after `config.epochs`.
    """
    training = _Training(records, config)
    best, best_error, best_epoch = training.surrogate(), inf, 0
    for epoch in range(1, config.epochs + 1):
        found = training.run(1)
        answer = found.nll(outside.channels, outside.split)
        error = float(((answer - outside.nll) ** 2).mean())
        if error < best_error:
            best, best_error, best_epoch = found, error, epoch
        elif epoch - best_epoch >= config.patience:
            break
    if best_epoch == 0:
        raise AirSplitError(DIVERGED)
    return best, best_epoch


class _Training:
    """Adam on the mean squared error of the normalised excess NLL (Eq. 14)."""

    def __init__(self, records: Records, config: SurrogateConfig) -> None:
        if len(records.splits) < 2:
            raise InputError.of("records: splits", str(records.splits), "two or more")
        excess = records.nll - records.clean_nll
        self.records, self.config = records, config
        self.mean, self.scale = float(excess.mean()), float(excess.std())
        if not self.scale > 0:
            raise InputError("records: nll: all the same; allowed: values that differ")
        x = encode(records.space, records.splits, records.channels, records.split)
        self.x = torch.tensor(x, dtype=torch.float32)
        self.y = torch.tensor((excess - self.mean) / self.scale, dtype=torch.float32)
        self.network = _mlp(self.x.shape[1], config)
        self.averaged = copy.deepcopy(self.network)
        steps = -(-len(records) // config.batch_size)
        self.averaging = 1 - 0.5 ** (1 / (AVERAGING_EPOCHS * steps))
        self.steps = 0
        self.adam = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate, fused=True)
        self.chance = np.random.default_rng((config.seed, 1))

    def run(self, epochs: int) -> Surrogate:
        """Goes on for `epochs` passes over the records."""
        for _ in range(epochs):
            order = torch.from_numpy(self.chance.permutation(len(self.y)))
            for batch in torch.split(order, self.config.batch_size):
                self._step(self.x[batch], self.y[batch])
        return self.surrogate()

    def _step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        loss = torch.nn.functional.mse_loss(self.network(x)[:, 0], y)
        self.adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.adam.step()
        self.steps += 1
        share = max(self.averaging, 1 / self.steps)  # at first a plain mean, free of the start
        with torch.no_grad():
            parts = zip(self.averaged.parameters(), self.network.parameters(), strict=True)
            for mean, now in parts:
                mean.lerp_(now, share)

    def surrogate(self) -> Surrogate:
        """The averaged network as it is now, in numpy."""
        records = self.records
        return Surrogate(
            model=records.model,
            space=records.space,
            splits=records.splits,
            clean_nll=records.clean_nll,
            mean=self.mean,
            scale=self.scale,
            layers=_layers(self.averaged),
        )


def _mlp(inputs: int, config: SurrogateConfig) -> torch.nn.Sequential:
    sizes = (inputs, *config.hidden, 1)
    parts: list[torch.nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        for before, after in pairwise(sizes):
            parts += [torch.nn.Linear(before, after), torch.nn.ReLU()]
    return torch.nn.Sequential(*parts[:-1])


def _layers(network: torch.nn.Sequential) -> tuple[Layer, ...]:
    return tuple(
        (part.weight.detach().numpy().copy(), part.bias.detach().numpy().copy())
        for part in network
        if isinstance(part, torch.nn.Linear)
    )
