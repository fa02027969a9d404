"""Held-out rows of the tabular estimators: their encoding, calibration and scores by them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_consistent_length

from .importances import estimated_importances
from .members import check_validation_weights

__all__ = ["encoded_validation", "evaluate"]

Array = NDArray[Any]


def encoded_validation(estimator: Any, X_val: Any, y_val: Any) -> tuple[Array, Array, Array]:
    """Return features, targets and weights of validation data."""
    try:
        Z, y_val = estimator._prepared(X_val).encoded(), estimator._checked_y(y_val, False)
        check_consistent_length(Z, y_val)
        return Z, estimator._encoded_y(y_val), estimator._row_weights(y_val, np.ones(len(y_val)))
    except ValueError as error:
        raise ValueError(f"X_val, y_val: {error}") from error


def evaluate(
    estimator: Any, table: tuple[Array, ...], splits: list[Any], is_separate: bool, row_weights: Array
) -> None:
    """Calibrate and score by the rows that networks were not trained on, and estimate importances.

    Parameters
    ----------
    estimator : Tabular
        Estimator with its networks.
    table : tuple of three arrays
        Features, targets and weights of a table with the validation rows.
    splits : list of two arrays of int
        Training rows and validation rows of every network.
    is_separate : bool
        True if all networks are validated on all rows of the table, which were given separately.
    row_weights : array (n,)
        Weights of the rows of the table, without those of their classes.
    """
    Z, targets, weights = table
    heads = estimator._heads()
    if is_separate:
        scores = np.stack(
            [np.mean([estimator._member_scores(one, Z) for one in head], axis=0) for head in heads]
        )
        rows = np.arange(len(targets))
    else:
        totals = np.zeros((len(heads), len(targets), estimator._n_scores()))
        counts = np.zeros(len(targets))
        for h, head in enumerate(heads):
            for member, (_, val) in zip(head, splits, strict=True):
                totals[h, val] += estimator._member_scores(member, Z[val])
                counts[val] += h == 0
        rows = np.flatnonzero(counts)
        scores = totals[:, rows] / counts[rows, None]
    check_validation_weights(weights[rows])
    estimator.oof_rows_ = rows
    estimator._oof_targets = estimator._decoded_y(targets[rows])
    estimator._calibrate(scores, targets[rows], weights[rows])
    estimator._score_held_out(row_weights[rows])
    estimator.importances_ = estimated_importances(estimator, heads[0], Z, targets, splits)
