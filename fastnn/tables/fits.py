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

from ..estimators.holdout import weights_for
from ..schedules import CosineLog
from .members import fit_members

__all__ = ["MemberScorer", "TableFits"]

Array = NDArray[Any]
Rows = NDArray[np.int64]


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
    n_passes : int
        Number of passes of all fits in all groups.
    end : float, optional
        Time, by ``time.perf_counter``, at which all fits should have ended.
    n_jobs : int, optional
        Number of threads, by default the number of cores.
    bar : progress bar
        Bar that counts the passes of all networks.
    """

    def __init__(
        self, table: tuple[Array, ...], held_out: tuple[Array, ...] | None, schedule: CosineLog,
        n_passes: int, end: float | None, n_jobs: int | None, bar: Any,
    ) -> None:  # fmt: skip
        self._table, self._held_out, self._schedule = table, held_out, schedule
        self._n_left, self._end, self._n_jobs, self._bar = n_passes, end, n_jobs, bar

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
        n_passes = sum(int(member.max_iter) for member in members)
        if self._end is not None:
            seconds = max(0.0, self._end - time.perf_counter()) * n_passes / self._n_left
        self._n_left -= n_passes
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

    def __call__(self, member: Any, X: Array, y: Array, sample_weight: Any = None) -> Any:
        """Return the score of a network for encoded rows and targets, with their weights; fits check it."""
        shadow = copy.copy(self._shadow)
        shadow.estimators_ = [member]
        shadow._quantiles = []  # a regressor's network that is scored predicts the mean
        scorer = check_scoring(shadow, self._scoring)
        try:
            return scorer(shadow, X, shadow._decoded_y(y), **weights_for(scorer, sample_weight))
        except ValueError as error:
            if callable(self._scoring):
                raise
            raise ValueError(
                f"scoring={self._scoring!r} cannot score these targets, choose another scorer: {error}"
            ) from error
