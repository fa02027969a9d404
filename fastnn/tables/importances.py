"""Importances of columns: how much networks lose when the values of a column are shuffled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..system.validation import Array

if TYPE_CHECKING:
    from .base import Tabular
    from .members import Member, Rows

# Largest number of rows of a fold on which the importances of the columns are estimated.
IMPORTANCE_ROWS = 400


def estimate_importances(
    estimator: Tabular,
    members: Sequence[Member],
    Z: Array,
    targets: Array,
    splits: Sequence[tuple[Rows, Rows]],
    n_rows: int = IMPORTANCE_ROWS,
) -> Array:
    """Return the mean increase (n_columns,) of the networks' losses when the values of a column are shuffled.

    The rows and targets are encoded; at most `n_rows` of the validation rows of every network are used.
    """
    random, widths = np.random.RandomState(0), estimator.encoder_._widths
    increases = []
    for member, (_, val) in zip(members, splits, strict=True):
        rows = random.permutation(val)[:n_rows]
        sample, truth = Z[rows], targets[rows]
        order = random.permutation(rows.size)
        before = estimator._compute_losses(member._compute_outputs(sample, "identity"), truth).mean()
        increases.append(
            [
                estimator._compute_losses(member._compute_outputs(one, "identity"), truth).mean() - before
                for one in shuffle_columns(sample, widths, order)
            ]
        )
    return np.mean(increases, axis=0)


def shuffle_columns(Z: Array, widths: Array, order: Array) -> Iterator[Array]:
    """Yield a copy of encoded rows for every column, with the column's features in another order."""
    end = 0
    for width in widths:
        begin, end = end, end + width
        other = Z.copy()
        other[:, begin:end] = Z[order, begin:end]
        yield other
