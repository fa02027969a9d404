"""Samples and targets in the forms that kernels and reference accept, and the sizes that depend on these."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastnn_kernels.calls.prediction import SparseTable, pack_weights, plan_packing

from ..network.description import Array, Network, allocate_empty
from ..system.memory import LARGE_BYTES
from .job import MatrixLike, is_sparse


def align(X: Array) -> Array:
    """Return an array, or a copy if its values do not lie at multiples of their size."""
    return X if X.flags.aligned else X.copy()


def make_dense(X: MatrixLike) -> Array:
    """Return samples as an array, which the reference takes."""
    return X.toarray() if is_sparse(X) else X


def shape_targets(network: Network, y: Array) -> Array:
    """Return targets in the reference's form: labels (n,), other targets (n, outputs)."""
    return y[:, 0] if network.loss.of_labels and y.shape[1] == 1 else y


def make_csr_table(X: MatrixLike, rows: NDArray[np.int64]) -> MatrixLike:
    """Return a CSR matrix as the kernels' `SparseTable`; `rows` are the numbers of its rows, in order."""
    # int32 is wide enough: no memory holds the weights of 2**31 features.
    columns, starts = X.indices.astype(np.int32, copy=False), X.indptr.astype(np.int64, copy=False)
    values, columns, starts = (align(np.ascontiguousarray(array)) for array in (X.data, columns, starts))
    return SparseTable(values, columns, starts, rows)


def pack_network_weights(plan: Array, parameters: Array, is_sparse: bool = False) -> tuple[Array, Array]:
    """Return a plan with packed weights, and these weights, a flat array.

    The weights of wide layers are copied in the order in which the kernels read them; a CSR matrix reads
    the weights of the first layer as they are. If there is nothing to copy, or a copy took much memory, the
    result is the plan itself and the parameters.
    """
    if parameters.nbytes <= LARGE_BYTES:
        new_plan = plan.copy()
        size = plan_packing()(new_plan, parameters.itemsize, is_sparse)
        if size:
            packed = allocate_empty(size, parameters.dtype)
            pack_weights(parameters.dtype)(new_plan, parameters, packed)
            return new_plan, packed
    return plan, parameters


def average_row_values(X: MatrixLike) -> float:
    """Return the mean number of stored values in a row of a CSR matrix; 0 without rows."""
    return X.nnz / max(1, X.shape[0])


def count_operations(network: Network, X: MatrixLike) -> int:
    """Return the FLOPs of one forward pass of one sample."""
    n_inputs, n_outputs = network.shapes[0]
    used = int(average_row_values(X)) if is_sparse(X) else n_inputs
    return network.operations - 2 * (n_inputs - used) * n_outputs
