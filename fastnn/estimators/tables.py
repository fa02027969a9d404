"""Samples as the kernels take them: contiguous tables, or CSR matrices where these are sparse enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from ..system.validation import all_finite

__all__ = ["Samples", "converted_to", "densified", "is_kernel_table"]

Array = NDArray[Any]

# Largest share of non-zero values at which the kernels are faster on a CSR matrix than on a dense one.
SPARSE_SHARE = 0.1


@dataclass(frozen=True)
class Samples:
    """Samples as the kernels take them, beside the targets and weights as scikit-learn's checks left them.

    Parameters
    ----------
    X : array (n, n_inputs) or CSR matrix
        Features.
    y : array (n, n_targets)
        Targets as the loss takes them.
    weights : array (n,)
        Weights, those of the classes included.
    given_y : array
        Checked targets before they were encoded for the loss.
    given_weights : array (n,), optional
        Checked `sample_weight`, None where none was given.
    rows : array of int, optional
        Rows of the caller's X that these samples are, None for all.
    """

    X: Array
    y: Array
    weights: NDArray[np.float64]
    given_y: Any
    given_weights: Any = None
    rows: NDArray[np.int64] | None = None

    def subset(self, rows: NDArray[np.int64]) -> Samples:
        """Return the samples of some rows."""
        given_weights = None if self.given_weights is None else self.given_weights[rows]
        return Samples(
            self.X[rows], self.y[rows], self.weights[rows], self.given_y[rows], given_weights, rows
        )  # fmt: skip


def is_kernel_table(X: Any, dtypes: tuple[Any, ...]) -> bool:
    """Return True if X can be used as it is: a finite C-contiguous table, not empty, of one of the dtypes.

    scikit-learn's validation would accept such a table unchanged, but takes longer than predicting a row.
    """
    return bool(
        type(X) is np.ndarray
        and X.dtype in dtypes
        and X.ndim == 2
        and 0 not in X.shape
        and X.flags.c_contiguous
        and X.flags.aligned
        and all_finite(X)
    )


def densified(X: Any) -> Any:
    """Return a sparse matrix as an array if too many of its values are not zero; anything else unchanged."""
    if scipy.sparse.issparse(X) and X.nnz > SPARSE_SHARE * X.shape[0] * X.shape[1]:
        return X.toarray(order="C")
    return X


def converted_to(dtype: np.dtype, X: Any) -> Any:
    """Return checked samples in the dtype that an estimator was fitted in.

    Raises
    ------
    ValueError
        For values beyond the largest number of that dtype.
    """
    if X.dtype == dtype:
        return X
    with np.errstate(over="ignore"):
        converted = X.astype(dtype)
    if not all_finite(converted.data if scipy.sparse.issparse(converted) else converted):
        raise ValueError(f"X holds values too large for {dtype}, which this estimator was fitted in: scale X")
    return converted
