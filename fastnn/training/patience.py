"""Patience: the rule of early stopping, for every training that Python ends early."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from ..system.validation import Array

# Choices between several epochs with the best value.
TIES = ("earliest", "latest")


@dataclass
class BestEpoch:
    """Parameters and running statistics of the best epoch by the validation data."""

    value: float  # validation loss or negated score of the epoch
    n_pass: int  # number of the first epoch with this value, from 0, from which the patience counts
    parameters: Array  # flat vectors after the epoch
    statistics: Array


@dataclass
class Patience:
    """Best value of a training so far, and the number of epochs without an improvement.

    A lower value is better: negate scores. NaN is never the best. The kernels follow the same rule, with
    `keeps_small`, for the training loss (`update_plateau`).

    False in `keeps_small` ignores decreases that do not exceed `tolerance`, as `EarlyStopping` does. True
    lets every decrease set the best value, and a decrease of `tolerance` itself is an improvement, as in
    scikit-learn: with a tolerance of 0, so is an equal value.
    """

    limit: float  # number of epochs without an improvement after which the training is over
    tolerance: float = 0.0  # smallest decrease that counts as an improvement
    ties: str = "earliest"  # which of several epochs with the best value is kept, one of `TIES`
    keeps_small: bool = False
    # Numbers of epochs done at the ends of cycles, at which alone values are compared; None for all.
    cycles: Collection[int] | None = None
    best: float = np.inf
    count: int = 0  # number of epochs without an improvement
    n_done: int = 0  # number of epochs done at the last value

    @property
    def is_over(self) -> bool:
        """True if the patience is used up."""
        return self.count >= self.limit

    def observe(self, value: float, n_done: int) -> bool:
        """Take in the value after `n_done` epochs; return True if the epoch is the one to keep."""
        if self.cycles is not None and n_done not in self.cycles:
            return False
        threshold = self.best - self.tolerance
        if self.keeps_small:
            is_best, is_improvement = value < self.best, not value > threshold
        else:
            is_best = is_improvement = value < threshold
        self.count = 0 if is_improvement else self.count + n_done - self.n_done
        self.n_done = n_done
        is_kept = bool(is_best or (value == self.best and self.ties == "latest"))
        if is_kept:
            self.best = value
        return is_kept
