"""Samples and workspaces in the form that the kernels take."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network.description import Network
from .job import is_sparse

__all__ = ["csr_table", "n_operations", "read_only", "tile_rows"]

Array = NDArray[Any]


def read_only(X: Array) -> Array:
    """A view that is read-only, so that users' read-only arrays need no kernels of their own."""
    X = X.view()
    X.flags.writeable = False
    return X


def csr_table(X: Any, rows: NDArray[np.int64]) -> Any:
    """A sparse table as the kernels take it; rows: which samples, in which order."""
    from fastnn_kernels.sparse import Table

    # Weights for more features than an int32 counts would fit into no memory.
    columns, starts = X.indices.astype(np.int32, copy=False), X.indptr.astype(np.int64, copy=False)
    values, columns, starts = (read_only(np.ascontiguousarray(array)) for array in (X.data, columns, starts))
    return Table(values, columns, starts, rows)


def tile_rows(network: Network, is_sparse: bool) -> int:
    """Rows of a tile of samples, or, of a sparse table, columns of what its tiles need instead."""
    return network.whole_tile(network.shapes[0][1]) if is_sparse else network.n_inputs


def n_operations(network: Network, X: Any) -> int:
    """Of a sample on its way through the network."""
    n_inputs, n_outputs = network.shapes[0]
    used = X.nnz // max(1, X.shape[0]) if is_sparse(X) else n_inputs
    return 2 * (network.n_parameters - (n_inputs - used) * n_outputs)
