"""The first layer of a network, for samples in a CSR matrix.

Only the stored values of a sample are read, one by one; samples are never copied to a dense table. In the
forward pass, a value adds the weights of its feature, a row of W, to the sums of all units. In the backward
pass, it adds the derivatives by the sums of all units to the same row of dW. Both run along the units, so
that a sample is a row here; `network.forward_pass` transposes the sums to a tile, in which a sample is a
column, and `network.backward_pass` transposes the derivatives back.

Threads share both: the forward pass by samples, the backward pass by features. A thread then adds to rows of
dW that no other thread touches, each in the order of the samples, whatever the number of threads.

Shape letters: N samples, Q stored values, I features, J outputs of the layer, T samples of a tile (a whole
number of vectors), V outputs rounded up to whole cache lines, P parameters.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .calls.prediction import SparseTable
from .compiler.jit import kernel
from .random import draw, dropout_threshold
from .vectors.value import add_product, fill
from .vectors.vector import lanes, load, store, view


class SparseTile(NamedTuple):
    """The samples `first` to `last` (inclusive) of a table, padded with the last one to T samples.

    sums (T, V): the sums of the layer or the derivatives by them, in which a sample is a row.
    """

    table: SparseTable
    first: int
    last: int
    sums: np.ndarray


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
def read_entry(table, k, key, position, rate):
    """Return the feature of stored value k of a table, and the value after dropout."""
    feature, value = table.columns[k], table.values[k]
    if rate != 0.0:
        value *= table.values.dtype.type(dropout_factor(key, feature, position, rate))
    return feature, value


@kernel
def sparse_affine_forward(X, parameters, at, b, key, position, rate, begin, end):
    """Compute ``X W + b`` for the samples from `begin` to `end` of a `SparseTile`: rows of its `sums`.

    X is a `SparseTile`, whose `sums` are overwritten from row `begin` to row `end`; columns past the last
    output are arbitrary. at is the offset of W (I, J) in the parameters (P,), where there is room for one
    vector after the end of W, which is read. b is (1, J). key, position and rate belong to dropout: key of
    the random stream, position of the first sample in the batch, rate. Threads may compute different samples
    of a tile.
    """
    n_outputs = b.shape[1]
    table, sums, flat = X.table, X.sums, view(parameters, 0, 1, parameters.shape[0])
    for t in range(begin, end):
        for j in range(n_outputs):
            sums[t, j] = b[0, j]
        row = table.rows[min(X.first + t, X.last)]
        for k in range(table.starts[row], table.starts[row + 1]):
            feature, number = read_entry(table, k, key, position + t, rate)
            start, value = at + feature * n_outputs, fill(sums, number)
            # Whole vectors are computed; their lanes past the last output are not used.
            for j in range(0, n_outputs, lanes(sums)):
                store(sums, t, j, add_product(load(sums, t, j), value, load(flat, 0, start + j)))


@kernel
def sparse_affine_backward(X, gradient, at, n_outputs, key, position, rate, begin, end):
    """Add ``X^T dZ`` to the rows from `begin` to `end` of dW, for the derivatives dZ in a `SparseTile`.

    X is a `SparseTile`, whose `sums` are dZ; their columns past the last output are 0. at is the offset of dW
    (I, J) in the gradient (P,); n_outputs is J; see the forward pass for the others. Threads may compute
    different features, and each reads and writes only its own rows: equal numbers of features, not of values.
    """
    table, sums, flat = X.table, X.sums, view(gradient, 0, 1, gradient.shape[0])
    n_whole, last = n_outputs // lanes(sums) * lanes(sums), at + end * n_outputs
    # The padding after the last sample has derivatives of 0: leave it out.
    for t in range(X.last - X.first + 1):
        row = table.rows[X.first + t]
        for k in range(table.starts[row], table.starts[row + 1]):
            if not begin <= table.columns[k] < end:
                continue
            feature, number = read_entry(table, k, key, position + t, rate)
            start, value = at + feature * n_outputs, fill(sums, number)
            for j in range(0, n_whole, lanes(sums)):
                store(flat, 0, start + j, add_product(load(flat, 0, start + j), value, load(sums, t, j)))
            if n_whole < n_outputs:
                add_rest(gradient, start, sums, t, n_whole, n_outputs, number, last)


@kernel
def add_rest(gradient, start, sums, t, n_whole, n_outputs, number, last):
    """Add ``number sums[t]`` from column `n_whole` on, less than a vector, to the row of dW at `start`.

    A vector also adds 0 to what follows the row. From index `last` of the gradient on, another thread may
    change it at the same time: if a vector would reach beyond, the columns are added one by one, with the
    same result.
    """
    if start + n_whole + lanes(sums) > last:
        for j in range(n_whole, n_outputs):
            gradient[start + j] = add_product(gradient[start + j], number, sums[t, j])
    else:
        flat, value = view(gradient, 0, 1, gradient.shape[0]), fill(sums, number)
        total = add_product(load(flat, 0, start + n_whole), value, load(sums, t, n_whole))
        store(flat, 0, start + n_whole, total)
