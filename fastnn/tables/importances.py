"""Importances of columns: how much networks lose when the values of a column are shuffled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import check_scoring
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.validation import check_is_fitted

from ..system.validation import Array, check_count

if TYPE_CHECKING:
    from ..system.frames import TableLike
    from .base import Tabular
    from .members import Member, Rows

# Largest number of rows of a fold on which the importances of the columns are estimated.
IMPORTANCE_ROWS = 400


def measure_importances(
    estimator: Tabular,
    X: TableLike,
    y: ArrayLike,
    n_repeats: int,
    scoring: str | Callable[..., float] | None,
    random_state: int | np.random.RandomState | None,
) -> Bunch:
    """Return the result of ``feature_importances`` of a tabular estimator, whose arguments these are."""
    check_is_fitted(estimator)
    check_count(n_repeats, "n_repeats", 1)
    generator = check_random_state(random_state)
    Z = estimator._prepare(X).encode_all()
    shadow, widths = estimator._make_shadow(), estimator.encoder_._widths
    scorer = check_scoring(shadow, scoring)
    before = scorer(shadow, Z, y)
    orders = [generator.permutation(Z.shape[0]) for _ in range(n_repeats)]
    falls = np.array(
        [[before - scorer(shadow, one, y) for one in _shuffle_columns(Z, widths, order)] for order in orders]
    ).T
    return Bunch(
        importances=falls,
        importances_mean=falls.mean(axis=1),
        importances_std=falls.std(axis=1),
        names=[record["name"] for record in estimator.columns_],
    )


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
                for one in _shuffle_columns(sample, widths, order)
            ]
        )
    return np.mean(increases, axis=0)


def _shuffle_columns(Z: Array, widths: Array, order: Array) -> Iterator[Array]:
    """Yield a copy of encoded rows for every column, with the column's features in another order."""
    end = 0
    for width in widths:
        begin, end = end, end + width
        other = Z.copy()
        other[:, begin:end] = Z[order, begin:end]
        yield other
