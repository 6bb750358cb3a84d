"""How a surrogate is trained. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from airsplit.errors import InputError


@dataclass(frozen=True, slots=True)
class SurrogateConfig:
    """How a surrogate is trained.

    Raises:
        InputError: a value is out of its range.
    """

    hidden: tuple[int, ...] = (128, 128)
    """Sizes of the hidden layers; the released surrogate's."""

    folds: int = 5
    """K of the cross-validation."""

    epochs: int = 300
    """At most; early stopping mostly ends sooner."""

    patience: int = 30
    """Epochs without a better fold after which its training stops."""

    learning_rate: float = 3e-3
    """Of Adam."""

    batch_size: int = 128
    test_share: float = 0.2
    """Of the channels, held out for the test."""

    seed: int = 0
    """Of what is held out, the first weights and the order of the records."""

    def __post_init__(self) -> None:
        sizes_fit = 1 <= len(self.hidden) <= 4 and all(1 <= size <= 4096 for size in self.hidden)
        for flag, value, fits, allowed in (
            ("--hidden", list(self.hidden), sizes_fit, "1 to 4 sizes, each 1-4096"),
            ("--folds", self.folds, 2 <= self.folds <= 100, "2-100"),
            ("--epochs", self.epochs, 1 <= self.epochs <= 100_000, "1-100000"),
            ("--patience", self.patience, 1 <= self.patience <= 100_000, "1-100000"),
            ("--lr", self.learning_rate, 0 < self.learning_rate <= 1, "above 0-1"),
            ("--batch-size", self.batch_size, 1 <= self.batch_size <= 65536, "1-65536"),
            ("--test-share", self.test_share, 0.01 <= self.test_share <= 0.9, "0.01-0.9"),
            ("--seed", self.seed, 0 <= self.seed < 2**32, "0-4294967295"),
        ):
            if not fits:
                raise InputError.of(flag, value, allowed)
