"""Samples in the form that the kernels accept: contiguous arrays, or CSR matrices if sparse enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import scipy.sparse
from numpy.typing import DTypeLike, NDArray

from ..system.validation import Array, all_finite, check_weights
from .targets import FLOATS, Weights

if TYPE_CHECKING:
    from .base import BaseMLP

# Largest fraction of non-zero values at which the kernels are faster on a CSR matrix than on a dense array.
SPARSE_FRACTION = 0.1


@dataclass(frozen=True)
class Samples:
    """Samples in the kernels' form, with the checked targets and weights in the user's form."""

    X: Array  # (n, n_inputs), or a CSR matrix
    y: Array  # (n, n_targets), encoded for the loss
    weights: NDArray[np.float64]  # (n,), weights of samples times weights of classes
    given_y: Array  # checked targets before encoding: classes, labels or numbers
    given_weights: NDArray[np.float64] | None = None  # checked `sample_weight`, if the user passed it
    rows: NDArray[np.int64] | None = None  # indices of these samples in the user's X; None for all samples

    def take_rows(self, rows: NDArray[np.int64]) -> Samples:
        """Return the samples with the indices `rows`."""
        given_weights = None if self.given_weights is None else self.given_weights[rows]
        return Samples(
            self.X[rows], self.y[rows], self.weights[rows], self.given_y[rows], given_weights, rows
        )


def check_samples(estimator: BaseMLP, X: Any, y: Any, sample_weight: Weights, use: str) -> Samples:
    """Check samples; `use` has the meaning documented in `Targets._check_targets`."""
    begins = use in ("new", "first")
    if (
        is_kernel_table(X, FLOATS)
        and type(y) is np.ndarray
        and y.shape[:1] == X.shape[:1]
        and y.ndim <= 2
        and y.size
        and (y.dtype.kind in "ib" or (y.dtype in FLOATS and all_finite(y)))
        and (
            begins or (X.shape[1] == estimator.n_features_in_ and not hasattr(estimator, "feature_names_in_"))
        )
    ):
        estimator.n_features_in_ = X.shape[1]
        estimator.__dict__.pop("feature_names_in_", None)
    else:
        X, y = estimator._validate_data(X, y, reset=begins)
    y = estimator._check_targets(y, use)
    X = densify(X)
    if not begins:
        X = cast_samples(estimator._state.network.dtype, X)
    weights = estimator._validate_weights(sample_weight, X)
    given_weights = None if sample_weight is None else weights
    if (factors := estimator._weigh_samples(y)) is not None:
        weights = check_weights(weights * factors, X.shape[0])
    return Samples(X, estimator._encode(y, X.dtype), weights, y, given_weights)


def is_kernel_table(X: object, dtypes: tuple[DTypeLike, ...]) -> TypeGuard[Array]:
    """Return True if X is a finite, C-contiguous, non-empty array (n, n_features) of one of the dtypes.

    scikit-learn's validation would return such an array unchanged, but takes longer than predicting a row.
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


def densify(X: Any) -> Any:
    """Convert a sparse matrix with many non-zero values to an array; return anything else unchanged."""
    if scipy.sparse.issparse(X) and X.nnz > SPARSE_FRACTION * X.shape[0] * X.shape[1]:
        return X.toarray(order="C")
    return X


def cast_samples(dtype: np.dtype, X: Any) -> Any:
    """Convert checked samples to the dtype of the last fit; raise ValueError for values too large for it."""
    if X.dtype == dtype:
        return X
    with np.errstate(over="ignore"):
        converted = X.astype(dtype)
    if not all_finite(converted.data if scipy.sparse.issparse(converted) else converted):
        raise ValueError(f"X holds values too large for {dtype}, which this estimator was fitted in: scale X")
    return converted
