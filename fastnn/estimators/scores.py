"""The default scores of `early_stopping`: accuracy and R2 of checked targets, to the last bit scikit-learn's.

scikit-learn's own functions check their arguments in every call, which takes longer than an epoch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..system.validation import Array


def compute_accuracy(y: Array, predicted: Array, weights: NDArray[np.float64]) -> float:
    """Return the weighted fraction of the samples whose class, or all labels, are predicted."""
    is_right = y == predicted
    if is_right.ndim == 2:
        is_right = is_right.all(axis=1)
    return float((is_right * weights).sum() / weights.sum())


def compute_r2(y: Array, predicted: Array, weights: NDArray[np.float64] | None) -> float:
    """Return the coefficient of determination, the mean over the outputs; NaN for less than two samples.

    An output that is predicted exactly counts 1; another whose targets are constant counts 0.
    """
    if len(y) < 2:
        return float("nan")
    floats = [array for array in (y, predicted, weights) if array is not None and array.dtype.kind == "f"]
    dtype = np.result_type(*floats)
    y, predicted = (array.astype(dtype, copy=False).reshape(len(y), -1) for array in (y, predicted))
    factors = 1.0 if weights is None else weights[:, None]
    residual = (factors * (y - predicted) ** 2).sum(axis=0)
    total = (factors * (y - np.average(y, axis=0, weights=weights)) ** 2).sum(axis=0)
    unexplained = np.divide(
        residual, total, out=(residual != 0).astype(dtype), where=(residual != 0) & (total != 0)
    )
    return float((1 - unexplained).mean())
