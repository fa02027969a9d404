"""The first layer of a network, for samples in a CSR matrix.

Only the stored values of a sample are read, one by one; samples are never copied to a dense table. In the
forward pass, a value adds the weights of its feature, a row of W, to the sums of all units. In the backward
pass, it adds the derivatives by the sums of all units to the same row of dW. Both run along the units, so
that a sample is a row here; the sums are transposed to a tile, in which a sample is a column, and derivatives
are transposed back.

Shape letters: N samples, Q stored values, I features, J outputs of the layer, T samples of a tile (a whole
number of vectors), V outputs rounded up to whole cache lines, P parameters.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from .compiler.jit import kernel
from .compiler.pointer import array_types
from .random import draw, dropout_threshold
from .vectors.sample_sums import column_sums
from .vectors.tile import transpose
from .vectors.value import fill
from .vectors.vector import lanes, load, store, view

__all__ = [
    "SparseTile",
    "Table",
    "sparse_affine_backward",
    "sparse_affine_forward",
    "table_type",
    "tile_type",
]


class Table(NamedTuple):
    """A CSR matrix, and the rows of it that are samples.

    values (Q,): the stored values, row by row; columns (Q,) int32: their features; starts, int64: the index
    in `values` at which each row begins, and Q; rows (N,) int64: the row of each sample.
    """

    values: Any
    columns: Any
    starts: Any
    rows: Any


class SparseTile(NamedTuple):
    """The samples `first` to `last` (inclusive) of a table, padded with the last one to T samples.

    transposed (T, V): workspace for the sums or derivatives, in which a sample is a row.
    """

    table: Table
    first: Any
    last: Any
    transposed: Any


def table_type(dtype: np.dtype) -> Any:
    """Return the numba type of a `Table`."""
    items = array_types(dtype).scalar, types.int32, types.int64
    read = [types.Array(item, 1, "C", readonly=True) for item in items]
    return types.NamedTuple((*read, types.Array(types.int64, 1, "C")), Table)


def tile_type(dtype: np.dtype) -> Any:
    """Return the numba type of a `SparseTile`."""
    fields = table_type(dtype), types.intp, types.intp, array_types(dtype).matrix
    return types.NamedTuple(fields, SparseTile)


@kernel
def dropout_factor(key, feature, position, rate):
    """Return 0 if `random.dropout` drops this feature of the sample at `position`, else 1 / (1 - rate)."""
    if rate == 0.0:
        return 1.0
    bits = draw(draw(key, feature), position // 2)
    if position % 2:
        bits = bits >> np.uint64(32)
    is_kept = np.int64(bits & np.uint64(0xFFFFFFFF)) >= dropout_threshold(rate)
    return 1.0 / (1.0 - rate) if is_kept else 0.0


@kernel
def entry(table, k, key, position, rate):
    """Return the feature of stored value k of a table, and the value after dropout."""
    feature = table.columns[k]
    factor = dropout_factor(key, feature, position, rate)
    return feature, table.values[k] * table.values.dtype.type(factor)


@kernel
def sparse_affine_forward(parameters, at, b, X, key, position, rate, Z):
    """Compute ``Z = W^T X + b`` for a `SparseTile`.

    Parameters
    ----------
    parameters : array (P,)
    at : int
        Offset of W (I, J) in the parameters. There is room for one vector after the end of W, which is read.
    b : array (1, J)
    X : SparseTile
    key, position, rate : uint64, int, float
        Dropout: key of the random stream, position of the first sample in the batch, rate.
    Z : array (J, T)
        Overwritten.
    """
    n_outputs, T = Z.shape
    table, transposed, flat = X.table, X.transposed, view(parameters, 0, 1, parameters.shape[0])
    for t in range(T):
        for j in range(n_outputs):
            transposed[t, j] = b[0, j]
        row = table.rows[min(X.first + t, X.last)]
        for k in range(table.starts[row], table.starts[row + 1]):
            feature, number = entry(table, k, key, position + t, rate)
            begin, value = at + feature * n_outputs, fill(transposed, number)
            # Whole vectors are computed; their lanes past the last output are not used.
            for j in range(0, n_outputs, lanes(transposed)):
                store(transposed, t, j, load(transposed, t, j) + value * load(flat, 0, begin + j))
    transpose(transposed, Z)


@kernel
def sparse_affine_backward(X, dZ, gradient, at, dW, db, key, position, rate, adds):
    """Compute ``dW = X dZ^T`` and ``db = dZ's row sums`` for a `SparseTile`, or add to both if `adds`.

    Parameters
    ----------
    X : SparseTile
    dZ : array (J, T)
    gradient : array (P,)
    at : int
        Offset of dW in the gradient. There is room for one vector after the end of dW, to which 0 is added.
    dW : array (I, J)
        The window of the gradient at `at`.
    db : array (1, J)
    key, position, rate : uint64, int, float
        Arguments of the forward pass.
    adds : bool
        True to add to dW and db, False to overwrite them.
    """
    n_inputs, n_outputs = dW.shape
    T = dZ.shape[1]
    table, transposed, flat = X.table, X.transposed, view(gradient, 0, 1, gradient.shape[0])
    transpose(dZ, transposed)
    column_sums(transposed, db, adds)
    for t in range(T):  # lanes past the last output add 0 to what follows a row of dW
        for j in range(n_outputs, transposed.shape[1]):
            transposed[t, j] = 0
    if not adds:
        for i in range(n_inputs):
            for j in range(n_outputs):
                dW[i, j] = 0
    # The padding after the last sample has derivatives of 0: leave it out.
    for t in range(X.last - X.first + 1):
        row = table.rows[X.first + t]
        for k in range(table.starts[row], table.starts[row + 1]):
            feature, number = entry(table, k, key, position + t, rate)
            begin, value = at + feature * n_outputs, fill(transposed, number)
            for j in range(0, n_outputs, lanes(transposed)):
                store(flat, 0, begin + j, load(flat, 0, begin + j) + value * load(transposed, t, j))
