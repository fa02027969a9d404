"""Held-out rows of the tabular estimators: their encoding, calibration and scores by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_consistent_length

from ..system.validation import Array
from .importances import estimate_importances
from .members import check_validation_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .base import Tabular

__all__ = ["encode_validation", "evaluate_held_out"]

Rows = NDArray[np.int64]


def encode_validation(estimator: Tabular, X_val: Any, y_val: Any) -> tuple[Array, Array, Array]:
    """Return features, targets and weights of validation data."""
    try:
        Z, y_val = estimator._prepare(X_val).encode_all(), estimator._check_y(y_val, False)
        check_consistent_length(Z, y_val)
        return Z, estimator._encode_y(y_val), estimator._weigh_rows(y_val, np.ones(len(y_val)))
    except ValueError as error:
        raise ValueError(f"X_val, y_val: {error}") from error


def evaluate_held_out(
    estimator: Tabular,
    table: tuple[Array, ...],
    splits: Sequence[tuple[Rows, Rows]],
    is_separate: bool,
    row_weights: Array,
) -> None:
    """Calibrate and score by the rows that networks were not trained on, and estimate importances.

    The table has features, targets and weights; `row_weights` are those without the weights of classes. With
    `is_separate`, all networks are validated on all rows of the table, which were given separately.
    """
    Z, targets, weights = table
    heads = estimator._list_heads()
    if is_separate:
        scores = np.stack(
            [np.mean([estimator._score_rows_by(one, Z) for one in head], axis=0) for head in heads]
        )
        rows = np.arange(len(targets))
    else:
        totals = np.zeros((len(heads), len(targets), estimator._count_scores()))
        counts = np.zeros(len(targets))
        for h, head in enumerate(heads):
            for member, (_, val) in zip(head, splits, strict=True):
                totals[h, val] += estimator._score_rows_by(member, Z[val])
                counts[val] += h == 0
        rows = np.flatnonzero(counts)
        scores = totals[:, rows] / counts[rows, None]
    check_validation_weights(weights[rows])
    estimator.oof_rows_ = rows
    estimator._oof_targets = targets[rows]
    estimator._calibrate(scores, targets[rows], weights[rows])
    estimator._score_held_out(row_weights[rows])
    estimator.importances_ = estimate_importances(estimator, heads[0], Z, targets, splits)
