"""The first layer of a network, on rows of a sparse table.

Only the values of a sample that are not 0 count: each adds the weights of its feature, a row of W, to the
sums of all units, and on the way back the derivatives of all units to that row of dW. So the tile has a
sample a row here, and is transposed before and after; samples are read from the table one by one, and never
copied to a dense table.

Shape letters: N samples, Q values that are not 0, I features, J outputs of the layer, T samples of a tile (a
whole number of vectors), V outputs, filled up to whole cache lines, P parameters.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from .compiler.jit import kernel
from .compiler.pointer import array_types
from .random import draw
from .vectors.product import column_sums
from .vectors.tile import transpose
from .vectors.value import fill
from .vectors.vector import lanes, load, store, view

__all__ = ["SparseTile", "Table", "sparse_affine_backward", "sparse_affine_forward", "tile_type"]


class Table(NamedTuple):
    """A CSR matrix and the order of its samples.

    values (Q,); columns (Q,) int32; starts int64: where each row of the matrix begins, and the end of the
    last; rows (N,) int64: the rows that are the samples, in their order.
    """

    values: Any
    columns: Any
    starts: Any
    rows: Any


class SparseTile(NamedTuple):
    """The samples of a table from `first` to `last`, then the last one again, T in all.

    turned (T, V): workspace, a sample a row.
    """

    table: Table
    first: Any
    last: Any
    turned: Any


def tile_type(dtype: np.dtype) -> Any:
    """Return the numba type of a `SparseTile`."""
    of = array_types(dtype)
    read = [types.Array(item, 1, "C", readonly=True) for item in (of.scalar, types.int32, types.int64)]
    table = types.NamedTuple((*read, types.Array(types.int64, 1, "C")), Table)
    return types.NamedTuple((table, types.intp, types.intp, of.matrix), SparseTile)


@kernel
def kept(key, feature, position, rate):
    """Return the factor of dropout for a feature of a sample, as `random.dropout` draws it."""
    if rate == 0.0:
        return 1.0
    bits = draw(draw(key, feature), position // 2)
    if position % 2:
        bits = bits >> np.uint64(32)
    is_kept = np.int64(bits & np.uint64(0xFFFFFFFF)) >= np.int64(rate * 4294967296.0)
    return 1.0 / (1.0 - rate) if is_kept else 0.0


@kernel
def entry(table, k, key, position, rate):
    """Return the feature and the value at k in a table, after dropout."""
    feature = table.columns[k]
    factor = kept(key, feature, position, rate)
    return feature, table.values[k] * table.values.dtype.type(factor)


@kernel
def sparse_affine_forward(parameters, at, b, X, key, position, rate, Z):
    """Compute ``Z = W^T X + b`` for a `SparseTile`.

    Parameters
    ----------
    parameters : array (P,)
    at : int
        Where W (I, J) begins among the parameters; there is room for a vector behind its end.
    b : array (1, J)
    X : SparseTile
    key, position, rate : uint64, int, float
        Dropout: stream, position of the first sample in the batch, rate.
    Z : array (J, T)
        Overwritten.
    """
    n_outputs, T = Z.shape
    table, turned, flat = X.table, X.turned, view(parameters, 0, 1, parameters.shape[0])
    for t in range(T):
        for j in range(n_outputs):
            turned[t, j] = b[0, j]
        row = table.rows[min(X.first + t, X.last)]
        for k in range(table.starts[row], table.starts[row + 1]):
            feature, number = entry(table, k, key, position + t, rate)
            begin, value = at + feature * n_outputs, fill(turned, number)
            # Whole vectors: what is computed behind the last output is not used.
            for j in range(0, n_outputs, lanes(turned)):
                store(turned, t, j, load(turned, t, j) + value * load(flat, 0, begin + j))
    transpose(turned, Z)


@kernel
def sparse_affine_backward(X, dZ, gradient, at, dW, db, key, position, rate, adds):
    """Compute ``dW = X dZ^T`` and ``db = dZ's row sums`` for a `SparseTile`, or add to both if `adds`.

    Parameters
    ----------
    X : SparseTile
    dZ : array (J, T)
    gradient : array (P,)
    at : int
        Where dW begins in the gradient; there is room for a vector behind its end.
    dW : array (I, J)
        A view of the gradient.
    db : array (1, J)
    key, position, rate : uint64, int, float
        Dropout, as in the forward pass.
    adds : bool
    """
    n_inputs, n_outputs = dW.shape
    T = dZ.shape[1]
    table, turned, flat = X.table, X.turned, view(gradient, 0, 1, gradient.shape[0])
    transpose(dZ, turned)
    column_sums(turned, db, adds)
    for t in range(T):  # vectors behind the end of a row of dW add 0
        for j in range(n_outputs, turned.shape[1]):
            turned[t, j] = 0
    if not adds:
        for i in range(n_inputs):
            for j in range(n_outputs):
                dW[i, j] = 0
    # The padding behind the last sample has derivatives of 0: leave it out.
    for t in range(X.last - X.first + 1):
        row = table.rows[X.first + t]
        for k in range(table.starts[row], table.starts[row + 1]):
            feature, number = entry(table, k, key, position + t, rate)
            begin, value = at + feature * n_outputs, fill(turned, number)
            for j in range(0, n_outputs, lanes(turned)):
                store(flat, 0, begin + j, load(flat, 0, begin + j) + value * load(turned, t, j))
