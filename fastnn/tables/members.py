"""Networks of a tabular estimator, fitted side by side, each judged on rows that it is not trained on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..estimators.many import Task, count_threads, fit_one, run_side_by_side
from ..schedules import CosineLog
from ..training.loop import Hook, Training
from ..training.patience import Patience
from ..training.progress import ShowProgress

__all__ = [
    "Deadline",
    "StopInValleys",
    "WeightlessPartError",
    "assign_folds",
    "batch_size",
    "check_judging_weights",
    "check_part_weights",
    "fit_members",
    "fold_count",
    "training_rows",
]

Array = NDArray[Any]
Rows = NDArray[np.int64]

# Least number of folds: a network is trained on four fifths of the rows, or more.
LEAST_FOLDS = 5
# The batches of small tables shrink until a pass has LEAST_STEPS steps, but not below LEAST_BATCH rows.
LEAST_STEPS, LEAST_BATCH = 16, 32


def fold_count(n_networks: int, n_rows: int) -> int:
    """Return the number of folds of the rows, of which each network sets aside one."""
    return min(max(LEAST_FOLDS, n_networks), n_rows)


def batch_size(n_rows: int, largest: int) -> int:
    """Return the number of rows in a step, of which a pass over a small table still has several."""
    wanted = max(LEAST_BATCH, n_rows // LEAST_STEPS)
    return min(largest, 1 << (wanted.bit_length() - 1), n_rows)


def assign_folds(n_rows: int, n_folds: int, classes: Array | None, random: np.random.RandomState) -> Rows:
    """Return the fold of every row (n_rows,), at random, with about equal shares of every class in each fold.

    scikit-learn's `StratifiedKFold` warns of classes with fewer rows than folds, which are common in tables.
    """
    order = random.permutation(n_rows)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    folds = np.empty(n_rows, np.int64)
    folds[order] = np.arange(n_rows) % n_folds
    return folds


def training_rows(folds: Rows, fold: int) -> tuple[Rows, Rows]:
    """Return the indices of the rows outside of a fold, and of those in it."""
    return np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)


class StopInValleys(Hook):
    """Hook that ends a fit in a valley of `CosineLog` if the score is no better than in the last valley.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Estimator that is fitted with `early_stopping`.
    schedule : CosineLog
        Schedule of the fit.
    """

    def __init__(self, estimator: Any, schedule: CosineLog) -> None:
        self._estimator = estimator
        self._patience = Patience(1, cycles=schedule.valleys(int(estimator.max_iter)).tolist())

    def at_stop(self, training: Training) -> None:
        """In a valley, compare the best score with the best score of the last valley."""
        estimator = self._estimator
        self._patience.observe(-estimator.best_validation_score_, estimator.n_iter_)

    def after_chunk(self, training: Training) -> bool:
        """Return True if the comparison in `at_stop` ends the fit."""
        # A chunk may also end within a pass: the comparison takes place once a pass, in `at_stop`.
        return self._patience.is_over


class Deadline(Hook):
    """Hook that ends a fit after some seconds, but not before its first pass.

    Parameters
    ----------
    seconds : float
        Time from the beginning of the fit.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end: float | None = None

    def begin(self, training: Training) -> None:
        """Start the clock at the first training of the fit, which may have several."""
        if self._end is None:
            self._end = time.monotonic() + self._seconds

    def after_chunk(self, training: Training) -> bool:
        """Return True if the time is over."""
        assert self._end is not None
        return training.n_passes > 0 and time.monotonic() >= self._end


def fit_members(
    members: Sequence[Any],
    data: Sequence[Callable[[], tuple[Any, ...]]],
    schedule: CosineLog,
    seconds: float | None,
    n_jobs: int | None,
    bar: Any,
) -> None:
    """Fit networks side by side on threads.

    Parameters
    ----------
    members : sequence of MLPClassifier or MLPRegressor
        Networks, fitted in place. Attributes derived from y are already set.
    data : sequence of callable
        For every network a function that returns X, y, weights, X_val, y_val and the weights of the
        validation rows. The function is called when the fit begins: only running fits hold copies of rows.
    schedule : CosineLog
        Schedule of the fits.
    seconds : float, optional
        Longest time of all fits, of which each has its share.
    n_jobs : int, optional
        Number of threads, by default the number of cores.
    bar : progress bar
        Bar that counts the passes of all networks.
    """
    n_rounds = -(-len(members) // count_threads(n_jobs))

    def task(member: Any, rows: Callable[[], tuple[Any, ...]]) -> Task:
        def run(stopped: Callable[[], bool]) -> None:
            X, y, weights, X_val, y_val, weights_val = rows()
            progress = ShowProgress(bar, lambda _: member.n_iter_)  # the fit may have several trainings
            hooks: list[Hook] = [StopInValleys(member, schedule), progress]
            if seconds is not None:
                hooks.append(Deadline(seconds / n_rounds))
            fit_one(member, X, y, weights, stopped, True, X_val, y_val, hooks, weights_val)
            progress.show(int(member.max_iter))  # a fit that ended early has no more passes to do

        return run

    tasks = [task(member, rows) for member, rows in zip(members, data, strict=True)]
    run_side_by_side(tasks, n_jobs)


class WeightlessPartError(ValueError):
    """All rows that a network is trained on, or all that it is judged by, have the weight 0.

    Parameters
    ----------
    part : str
        What the rows are for, in words.
    remedy : str
        A remedy other than to pass validation rows.
    """

    def __init__(self, part: str, remedy: str) -> None:
        super().__init__(part, remedy)
        self.part, self.remedy = part, remedy

    def __str__(self) -> str:
        return self.advice("pass X_val and y_val")

    def advice(self, how: str) -> str:
        """Return the message, given how the caller passes validation rows."""
        return f"all rows that {self.part} have the weight 0: {how}, or {self.remedy}"


def check_judging_weights(weights: NDArray[Any]) -> None:
    """Raise `WeightlessPartError` if all rows that a network is judged by have the weight 0."""
    if not weights.any():
        raise WeightlessPartError("are set aside to judge a network", "leave out rows of weight 0")


def check_part_weights(weights: NDArray[Any], train: Rows, val: Rows) -> None:
    """Raise `WeightlessPartError` if no training row, or no row that judges, has a weight above 0."""
    check_judging_weights(weights[val])
    if not weights[train].any():
        raise WeightlessPartError("a network is trained on", "more rows of a weight above 0")
