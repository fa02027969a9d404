"""Fits of the networks of a tabular estimator, each on other rows of an encoded table."""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import check_scoring

from ..schedules import CosineLog
from .holdout import weights_for
from .members import fit_members

__all__ = ["MemberScorer", "TableFits", "column_scales", "mean_score"]

Array = NDArray[Any]
Rows = NDArray[np.int64]

# Number of the most important columns whose mean importance is that of a column with the scale 1.
N_LEADING = 3
# Smallest scale of a column.
LEAST_SCALE = 0.1


class TableFits:
    """Fits of networks to an encoded table, in groups that run side by side.

    Parameters
    ----------
    table : tuple of three arrays
        Features (n, n_features), encoded targets (n,) and weights (n,).
    held_out : tuple of three arrays, optional
        Validation data of all networks in the same form; None for networks that set aside rows of the table.
    schedule : CosineLog
        Schedule of the fits.
    n_fits : int
        Number of fits in all groups.
    end : float, optional
        Time, by ``time.perf_counter``, at which all fits should have ended.
    n_jobs : int, optional
        Number of threads, by default the number of cores.
    bar : progress bar
        Bar that counts the passes of all networks.
    """

    def __init__(
        self, table: tuple[Array, ...], held_out: tuple[Array, ...] | None, schedule: CosineLog,
        n_fits: int, end: float | None, n_jobs: int | None, bar: Any,
    ) -> None:  # fmt: skip
        self._table, self._held_out, self._schedule = table, held_out, schedule
        self._n_left, self._end, self._n_jobs, self._bar = n_fits, end, n_jobs, bar

    def run(
        self, members: Sequence[Any], parts: Sequence[tuple[Rows, Rows]], scales: Sequence[Array | None]
    ) -> None:
        """Fit a group of networks in place.

        Parameters
        ----------
        members : sequence of MLPClassifier or MLPRegressor
            Networks, which take the features unscaled after the fit.
        parts : sequence of two arrays of int
            Training rows and validation rows of every network.
        scales : sequence of array (n_features,) or None
            Factors of the features during the fit of every network; None for features as they are.
        """
        seconds = None
        if self._end is not None:
            seconds = max(0.0, self._end - time.perf_counter()) * len(members) / self._n_left
        self._n_left -= len(members)
        data = [functools.partial(self._rows, *pair) for pair in zip(parts, scales, strict=True)]
        fit_members(members, data, self._schedule, seconds, self._n_jobs, self._bar)
        for member, factors in zip(members, scales, strict=True):
            if factors is not None:  # the network takes the features without them
                first, *others = member.coefs_
                member.coefs_ = [factors[:, np.newaxis] * first, *others]

    def _rows(self, part: tuple[Rows, Rows], scales: Array | None) -> tuple[Array, ...]:
        """Return training data and validation data of a network."""
        train, val = part
        if self._held_out is None:
            own = [one[train] for one in self._table], [one[val] for one in self._table]
        else:
            own = list(self._table), list(self._held_out)
        if scales is not None:
            for data in own:
                data[0] = data[0] * scales
        return (*own[0], *own[1])


def column_scales(importances: Array, widths: Array) -> NDArray[np.float32]:
    """Return the factors of all features, by the importances of their columns.

    A network learns slowly from small features, and so fits less noise with them. The factor of a column is
    the square root of its importance relative to the leading columns, from `LEAST_SCALE` to 1.

    Parameters
    ----------
    importances : array (n_columns,)
        Increase of the loss when the values of a column are shuffled.
    widths : array (n_columns,) of int
        Number of features of every column.

    Returns
    -------
    array (n_features,)
        Factors; all are 1 if no column is important.
    """
    gains = np.maximum(importances, 0.0)
    leading = np.sort(gains)[-N_LEADING:].mean()
    if not leading:
        return np.ones(int(widths.sum()), np.float32)
    scales = np.clip(np.sqrt(gains / leading), LEAST_SCALE, 1.0)
    return np.repeat(scales, widths).astype(np.float32)


def mean_score(members: Sequence[Any]) -> float:
    """Return the mean of the best validation scores of networks."""
    return float(np.mean([member.best_validation_score_ for member in members]))


class MemberScorer:
    """Score of one network during its fit, by a scorer of the tabular estimator.

    Parameters
    ----------
    shadow : Tabular
        Copy of the estimator that predicts encoded rows.
    scoring : str or callable
        Scorer.
    """

    def __init__(self, shadow: Any, scoring: Any) -> None:
        self._shadow, self._scoring = shadow, scoring

    def __call__(self, member: Any, X: Array, y: Array, sample_weight: Any = None) -> float:
        """Return the score of a network for encoded rows and targets, with their weights."""
        shadow = copy.copy(self._shadow)
        shadow.estimators_ = [member]
        scorer = check_scoring(shadow, self._scoring)
        return float(scorer(shadow, X, shadow._decoded_y(y), **weights_for(scorer, sample_weight)))
