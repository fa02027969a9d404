"""Gradient of a small batch, with vectors of units instead of vectors of samples.

A tile has a column per sample, and at least as many columns as a vector has lanes. With one sample or a few,
most columns would be padding. Here a sample is a row, and the units of each layer are padded to whole
vectors. Only the loss is computed with vectors of samples, by the kernels that serve tiles as well.

Networks with normalisation or dropout and sparse samples are computed in tiles, whatever the batch size.

Shape letters: L layers, N samples, I inputs and J outputs of a layer, V units rounded up to whole vectors, T
samples of a tile (a whole number of vectors, at least N), P parameters.
"""

from __future__ import annotations

import functools

from .calls.passes import EACH, SUM
from .calls.prediction import ACTIVATION, BIASES, DUNITS, INPUTS, OUTPUTS, SUMS, UNITS, WEIGHTS
from .compiler.jit import Kernel, kernel
from .compiler.pointer import call
from .vectors.narrow_product import (
    is_narrow,
    narrow_outer_product,
    narrow_product_backward,
    narrow_product_forward,
)
from .vectors.row_product import (
    load_part,
    row_outer_product,
    row_product_backward,
    row_product_forward,
    single_product_forward,
    store_part,
)
from .vectors.value import fill
from .vectors.vector import lanes, load, rows, store, view


@kernel
def gather_samples(X, indices, first, rows):
    """Copy the samples ``indices[first : first + N]`` of X (samples, I) to rows (N, I), without padding."""
    for t in range(rows.shape[0]):
        sample = indices[first + t]
        for i in range(rows.shape[1]):
            rows[t, i] = X[sample, i]


@kernel
def gather_columns(table, indices, first, n, tile):
    """Copy the samples ``indices[first : first + n]`` of a table to columns; pad with the last of them.

    table (samples, Y); tile (Y, T); 1 <= n <= T. The result equals `tile.gather_tile`'s, faster for few
    samples and few columns.
    """
    last = indices[first + n - 1]
    for k in range(tile.shape[0]):
        for t in range(0, tile.shape[1], lanes(tile)):
            store(tile, k, t, fill(tile, table[last, k]))
        for t in range(n - 1):
            tile[k, t] = table[indices[first + t], k]


@kernel
def round_up(n, n_lanes):
    """Return n rounded up to whole vectors."""
    return -(-n // n_lanes) * n_lanes


@kernel
def view_units(plan, layer, column, n, units):
    """Return the window (N, V) of the workspace `units` for a layer's sums or outputs.

    `column` of the plan is `SUMS` or `UNITS`. Layers follow one another, each with its outputs first.
    Rounding adds less than a vector to each window.
    """
    n_lanes = lanes(units)
    n_windows = 2 * layer + (1 if plan[layer, column] != plan[layer, UNITS] else 0)
    begin = round_up(plan[layer, column], n_lanes) + n_windows * n_lanes
    return view(units, n * begin, n, round_up(plan[layer, OUTPUTS], n_lanes))


@kernel
def view_derivatives(plan, layer, n, dunits):
    """Return the window (n, V) of the workspace `dunits` for the derivatives by a layer's outputs."""
    n_lanes = lanes(dunits)
    begin = round_up(plan[layer, DUNITS], n_lanes) + layer % 2 * n_lanes
    return view(dunits, n * begin, n, round_up(plan[layer, OUTPUTS], n_lanes))


@kernel
def small_batch_gradient(functions, plan, parameters, tile, context, wanted, buffers, adds):
    """Compute the gradient of a few samples, as `gradient.tile_gradient` does of a tile.

    The tile's X (N, I) has no padding; its y (Y, T) and the weights of the batch have, with weights of 0. The
    buffers' units and dunits have N times as many elements as plan has rows of units and of their
    derivatives, and N vectors more for each window (`view_units`, `view_derivatives`); scratch has 2 J T
    elements, where J is the number of outputs of the last layer.
    """
    X, units, dunits = tile.X, buffers.units, buffers.dunits
    n, last = X.shape[0], plan.shape[0] - 1
    rows_forward_pass(functions.activate, plan, parameters, X, units)
    loss = row_loss_backward(
        functions.loss_backward,
        view_units(plan, last, UNITS, n, units),
        plan[last, OUTPUTS],
        tile.y,
        context.weights,
        context.loss_parameter,
        wanted,
        buffers.scratch,
        view_derivatives(plan, last, n, dunits),
    )
    dX = view(dunits, 0, 0, 0)  # the derivative by the samples is not needed
    sum_gradients(functions.differentiate, plan, parameters, X, units, dunits, buffers.gradient, adds, dX)
    return loss


@kernel
def rows_forward_pass(activations, plan, parameters, X, units):
    """Fill `units` with the sums and outputs of every layer for the samples X (N, I)."""
    n = X.shape[0]
    for layer in range(plan.shape[0]):
        n_outputs = plan[layer, OUTPUTS]
        W = view(parameters, plan[layer, WEIGHTS], plan[layer, INPUTS], n_outputs)
        b = view(parameters, plan[layer, BIASES], 1, n_outputs)
        Z, A = view_units(plan, layer, SUMS, n, units), view_units(plan, layer, UNITS, n, units)
        inputs = X if layer == 0 else view_units(plan, layer - 1, UNITS, n, units)
        rows_forward(W, b, inputs, Z)
        call(activations[plan[layer, ACTIVATION]], (Z, A))


@functools.cache
def rows_backward_pass(wanted: int) -> Kernel:
    """Return the kernel of `network.backward_pass` in the layout of `rows_forward_pass`.

    dX (N, V), or (0, V), is overwritten with
    the derivatives by the samples. If `wanted` is `EACH`, gradient has a gradient (P,) for every sample, one
    after another.
    """

    @kernel
    def rows_backward_pass(activations, plan, parameters, X, units, dunits, gradient, adds, dX):
        n, none = X.shape[0], view(dunits, 0, 0, 0)
        for layer in range(plan.shape[0] - 1, -1, -1):
            n_inputs, n_outputs = plan[layer, INPUTS], plan[layer, OUTPUTS]
            W = view(parameters, plan[layer, WEIGHTS], n_inputs, n_outputs)
            Z, A = view_units(plan, layer, SUMS, n, units), view_units(plan, layer, UNITS, n, units)
            dA = view_derivatives(plan, layer, n, dunits)
            call(activations[plan[layer, ACTIVATION]], (Z, A, dA, dA))
            inputs = X if layer == 0 else view_units(plan, layer - 1, UNITS, n, units)
            below = dX if layer == 0 else view_derivatives(plan, layer - 1, n, dunits)
            dW = view(gradient, plan[layer, WEIGHTS], n_inputs, n_outputs)
            db = view(gradient, plan[layer, BIASES], 1, n_outputs)
            if wanted == SUM:
                rows_backward(W, inputs, dA, dW, db, below, adds)
            else:
                if wanted == EACH:
                    size = gradient.shape[0] // n
                    for t in range(n):
                        dW = view(gradient, t * size + plan[layer, WEIGHTS], n_inputs, n_outputs)
                        db = view(gradient, t * size + plan[layer, BIASES], 1, n_outputs)
                        rows_backward(W, rows(inputs, t, t + 1), rows(dA, t, t + 1), dW, db, none, False)
                rows_product_backward(W, dA, below)

    return rows_backward_pass


sum_gradients = rows_backward_pass(SUM)


@kernel
def rows_forward(W, b, X, Z):
    """Compute ``Z = X W + b``.

    W (I, J); b (1, J); X (N, I or more). Z (N, V) is overwritten; its columns from J on become 0.
    """
    n_outputs = W.shape[1]
    if is_narrow(W):
        for t in range(Z.shape[0]):
            narrow_product_forward(X, W, b, t, Z)
    elif Z.shape[0] == 1:
        single_product_forward(X, W, b, Z)
    else:
        for j in range(0, Z.shape[1], lanes(Z)):
            biases = load_part(b, 0, j, n_outputs - j)
            for t in range(Z.shape[0]):
                store(Z, t, j, biases)
        row_product_forward(X, W, Z)


@kernel
def rows_backward(W, X, dZ, dW, db, dX, adds):
    """Compute ``dW = X^T dZ``, ``db = sum of the rows of dZ``, ``dX = dZ W^T``.

    W (I, J); X (N, I or more); dZ (N, V), whose columns from J on are 0. dW (I, J) and db (1, J) are
    overwritten, or added to if `adds`. dX (N, V) is overwritten, its columns from I on become 0; it has no
    rows if it is not needed.
    """
    sum_rows(dZ, db, adds)
    if is_narrow(W):
        narrow_outer_product(X, dZ, dW, adds)
    else:
        row_outer_product(X, dZ, dW, adds)
    rows_product_backward(W, dZ, dX)


@kernel
def rows_product_backward(W, dZ, dX):
    """Compute ``dX = dZ W^T`` for the rows of dX (N, V) or (0, V); the columns from I on become 0."""
    if is_narrow(W):
        for t in range(dX.shape[0]):
            narrow_product_backward(W, dZ, t, dX)
    else:
        for t in range(dX.shape[0]):
            row_product_backward(W, dZ, t, dX)


@kernel
def row_loss_backward(loss_backward, scores, n_scores, y, weights, parameter, wanted, scratch, dA):
    """Fill dA (N, V) with the derivative of the loss by scores (N, V), 0 in the padding; return the loss."""
    n, T = scores.shape[0], weights.shape[1]
    S, dS = view(scratch, 0, n_scores, T), view(scratch, n_scores * T, n_scores, T)
    for k in range(n_scores):
        # The padding repeats the last sample: it overflows only if a sample does.
        for t in range(0, T, lanes(S)):
            store(S, k, t, fill(S, scores[n - 1, k]))
        for t in range(n - 1):
            S[k, t] = scores[t, k]
    loss = call(loss_backward, (S, y, weights, parameter, wanted, dS))
    for t in range(n):
        for k in range(0, dA.shape[1], lanes(dA)):
            store(dA, t, k, fill(dA, 0))
        for k in range(n_scores):
            dA[t, k] = dS[k, t]
    return loss


@kernel
def sum_rows(dZ, db, adds):
    """Compute the sum of the rows of dZ (N, V), or add the sum to db (1, J) if `adds`."""
    n_outputs, n_lanes = db.shape[1], lanes(dZ)
    end = n_outputs // n_lanes * n_lanes  # of the whole vectors
    for j in range(0, end, n_lanes):
        total = sum_column(dZ, j)
        store(db, 0, j, total + load(db, 0, j) if adds else total)
    if end < n_outputs:
        total, rest = sum_column(dZ, end), n_outputs - end
        store_part(db, 0, end, rest, total + load_part(db, 0, end, rest) if adds else total)


@kernel
def sum_column(dZ, j):
    """Return the sum of the rows of dZ (N, V), for the vector of columns from j on."""
    total = load(dZ, 0, j)
    for t in range(1, dZ.shape[0]):
        total = total + load(dZ, t, j)
    return total
