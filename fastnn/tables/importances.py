"""Importances of columns: how much networks lose when the values of a column are shuffled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import check_scoring
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.validation import check_is_fitted

from ..system.validation import check_count

__all__ = ["column_widths", "estimated_importances", "measured_importances"]

Array = NDArray[Any]

# Largest number of rows of a fold on which the importances of the columns are estimated.
IMPORTANCE_ROWS = 400


def measured_importances(estimator: Any, X: Any, y: Any, n_repeats: int, scoring: Any, random: Any) -> Bunch:
    """Return the result of ``feature_importances`` of a tabular estimator, whose arguments these are."""
    check_is_fitted(estimator)
    check_count(n_repeats, "n_repeats", 1)
    random = check_random_state(random)
    Z = estimator._prepared(X).encoded()
    shadow, widths = estimator._shadow(), column_widths(estimator.columns_)
    scorer = check_scoring(shadow, scoring)
    before = scorer(shadow, Z, y)
    orders = [random.permutation(Z.shape[0]) for _ in range(n_repeats)]
    falls = np.array(
        [[before - scorer(shadow, one, y) for one in _shuffled(Z, widths, order)] for order in orders]
    ).T
    return Bunch(
        importances=falls, importances_mean=falls.mean(axis=1), importances_std=falls.std(axis=1),
        names=[record["name"] for record in estimator.columns_],
    )  # fmt: skip


def estimated_importances(
    estimator: Any, members: list[Any], Z: Array, targets: Array, splits: list[Any],
    n_rows: int = IMPORTANCE_ROWS,
) -> Array:  # fmt: skip
    """Return the mean increase of the networks' losses when the values of a column are shuffled.

    Parameters
    ----------
    estimator : Tabular
        Tabular estimator.
    members : list of MLPClassifier or MLPRegressor
        Networks.
    Z, targets : array (n, n_features), array (n,)
        Encoded rows and targets.
    splits : list of two arrays of int
        Training rows and validation rows of every network; the latter are used.
    n_rows : int
        Largest number of rows for each network.

    Returns
    -------
    array (n_columns,)
        Increases.
    """
    random, widths = np.random.RandomState(0), column_widths(estimator.columns_)
    increases = []
    for member, (_, val) in zip(members, splits, strict=True):
        rows = random.permutation(val)[:n_rows]
        sample, truth = Z[rows], targets[rows]
        order = random.permutation(rows.size)
        before = estimator._losses(member._outputs(sample, "identity"), truth).mean()
        increases.append(
            [estimator._losses(member._outputs(one, "identity"), truth).mean() - before
             for one in _shuffled(sample, widths, order)]
        )  # fmt: skip
    return np.mean(increases, axis=0)


def column_widths(columns: list[dict[str, Any]]) -> NDArray[np.int64]:
    """Return the number of features of every column, given the columns' records."""
    return np.array([record["features"] for record in columns])


def _shuffled(Z: Array, widths: Array, order: Array) -> Iterator[Array]:
    """Yield a copy of encoded rows for every column, with the column's features in another order."""
    end = 0
    for width in widths:
        begin, end = end, end + width
        other = Z.copy()
        other[:, begin:end] = Z[order, begin:end]
        yield other
