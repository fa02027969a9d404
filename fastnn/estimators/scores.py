"""The default scores of `early_stopping`: accuracy and R2 of checked targets, to the last bit scikit-learn's.

scikit-learn's own functions check their arguments in every call, which takes longer than an epoch. Here,
what depends on the targets alone is computed once, and `np.add.reduce` avoids methods written in Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..system.validation import Array, all_finite

# Function of the predictions of the samples for which the score was made.
Score: TypeAlias = Callable[[Array], float]


def make_accuracy(y: Array, weights: NDArray[np.float64]) -> Score:
    """Return the score that is the weighted fraction of the samples whose class, or all labels, are right."""
    total = weights.sum()

    def score(predicted: Array) -> float:
        is_right = y == predicted
        if is_right.ndim == 2:
            is_right = is_right.all(axis=1)
        return float(np.add.reduce(is_right * weights) / total)

    return score


# Finite targets and predictions can still have an infinite square.
_let_overflow = np.errstate(over="ignore")


@_let_overflow
def make_r2(y: Array, weights: NDArray[np.float64] | None, dtype: np.dtype) -> Score:
    """Return the coefficient of determination of predictions of a dtype, the mean over the outputs.

    An output that is predicted exactly counts 1; another whose targets are constant counts 0. The score of
    less than two samples, or of predictions that are not finite, is NaN.
    """
    floats = [array.dtype for array in (y, weights) if array is not None and array.dtype.kind == "f"]
    dtype = np.result_type(dtype, *floats)
    y = y.astype(dtype, copy=False).reshape(len(y), -1)
    factors = None if weights is None else weights[:, None]

    def sum_squares(differences: Array) -> Array:
        squares = differences**2
        return np.add.reduce(squares if factors is None else factors * squares)

    total = sum_squares(y - np.average(y, axis=0, weights=weights))
    constant = np.flatnonzero(total == 0)
    total[constant] = 1

    @_let_overflow
    def score(predicted: Array) -> float:
        if len(y) < 2 or not all_finite(predicted):
            return float("nan")
        residual = sum_squares(y - predicted.astype(dtype, copy=False).reshape(y.shape))
        unexplained = residual / total
        if constant.size:
            unexplained[constant] = residual[constant] != 0
        return float(np.add.reduce(1 - unexplained) / unexplained.size)

    return score
