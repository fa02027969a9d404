"""A tile through all layers, forward and back, in parts that two threads may share.

Threads that share the samples each compute a gradient of all weights, which have to be added, and in
every step fetch the half of the weights that the other has changed. Here a part has some of the units of
every layer, and the weights that lead on from them: a thread reads and updates the weights of its part
alone, which stay in its cache, and what goes from one to the other are sums and derivatives of a layer's
units, a tenth of that. A layer's sum is one of its parts' sums, whoever computes them: the result has the
same bits for one thread and for two.

Most weights can be changed as soon as their gradient is known, a strip of them after the other: a gradient
that is never written to memory leaves room in the cache for what else there is of a parameter.

Shape letters: L layers, I inputs and J outputs of a layer, T samples of a tile (a whole number of
vectors), P parameters.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .compiler.jit import kernel
from .compiler.pointer import call
from .gate import affine_backward, affine_forward, sums_pay
from .network import (
    ACTIVATION,
    BIASES,
    DUNITS,
    INPUTS,
    OUTPUTS,
    SUMS,
    UNITS,
    WEIGHTS,
    last_outputs,
    layer_inputs,
)
from .update import sum_of_squares
from .vectors.barrier import wait
from .vectors.product import column_sums, outer_product, product_backward
from .vectors.tile import gather_rows, transpose
from .vectors.vector import flat, lanes, load, rows, store, view

__all__ = ["N_PARTS", "Change", "gather_part", "part_squares", "team_gradient", "team_update"]

N_PARTS = 2
# Rows of weights in a strip, a multiple of the lanes of any vector: strips are whole vectors.
STRIP = 16


class Change(NamedTuple):
    """How weights change: state, coefficients, l2 and l1 as an `update` kernel takes them."""

    state: Any
    coefficients: Any
    l2: Any
    l1: Any


@kernel
def bounds(n_units, part, n_lanes):
    """The first unit of a part, and the one behind its last; the second part's first is a multiple of
    half a vector. The first thread does what cannot be shared, so the first part is the smaller one.
    """
    step = n_lanes // 2
    half = n_units // (2 * step) * step
    return (0, half) if part == 0 else (half, n_units)


@kernel
def part_weights(plan, layer, part, n_lanes):
    """Where a part's weights of a layer begin and end among the parameters, in whole vectors.

    One that has values of two parts, or layers, is the former's.
    """
    begin, end = bounds(plan[layer, INPUTS], part, n_lanes)
    begin = plan[layer, WEIGHTS] + begin * plan[layer, OUTPUTS]
    end = plan[layer, WEIGHTS] + end * plan[layer, OUTPUTS]
    return -(-begin // n_lanes) * n_lanes, -(-end // n_lanes) * n_lanes


@kernel
def part_squares(plan, parameters, thread, n_threads, squares):
    """Sums of the squares of the weights of every part of every layer; squares (L * N_PARTS,)."""
    for part in range(thread, N_PARTS, n_threads):
        for layer in range(plan.shape[0]):
            begin, end = part_weights(plan, layer, part, lanes(parameters))
            squares[layer * N_PARTS + part] = sum_of_squares(parameters, begin, end)


@kernel
def is_strips(plan, layer, part, T, n_lanes):
    """Whether a part's weights of a layer, whole vectors then, are changed strip by strip."""
    n_inputs, n_outputs = plan[layer, INPUTS], plan[layer, OUTPUTS]
    begin, end = bounds(n_inputs, part, n_lanes)
    first, last = plan[layer, WEIGHTS] + begin * n_outputs, plan[layer, WEIGHTS] + end * n_outputs
    is_whole = first % n_lanes == 0 and last % n_lanes == 0
    return begin < end and is_whole and not sums_pay(end - begin, n_outputs, T, n_lanes)


@kernel
def gather_part(X, indices, first, n, part, tile):
    """The features that are a part's of what `tile.gather_tile` gathers."""
    begin, end = bounds(X.shape[1], part, lanes(X))
    if begin < end:
        for t in range(0, tile.shape[1], lanes(X)):
            gather_rows(X, indices, first + t, first + n - 1, begin, rows(tile, begin, end), t)


@kernel
def team_gradient(
    activate, differentiate, slope, update, plan, parameters, X, y, weights, parameter, wanted, units, dunits,
    sums, zeros, scratch, gradient, adds, thread, n_threads, barrier, changes, change,
):  # fmt: skip
    """Compute a tile's gradient; called by all `n_threads` at once.

    activate, differentiate, slope, update: pointers and tables of pointers, as `train.train_steps` takes
    them; the next as `train.tile_gradient`. sums, flat: room for the outputs of the widest layer, twice, T
    samples of them; zeros, as many as it has outputs: the biases of the second part. If it `changes`, the
    weights that come in strips (`is_strips`) are changed by `update` as the `Change` says, and their gradient
    is arbitrary. All but `scratch` and `thread` are the same for all threads.

    It returns the first thread's loss if it is `wanted`, else 0, and whether all that this thread changed
    is finite still.
    """
    T = X.shape[1]
    n_lanes = lanes(X)
    last = plan.shape[0] - 1
    half = sums.shape[0] // 2
    for layer in range(plan.shape[0]):
        n_inputs, n_outputs = plan[layer, INPUTS], plan[layer, OUTPUTS]
        inputs = layer_inputs(plan, layer, X, units)
        Z = view(units, plan[layer, SUMS] * T, n_outputs, T)
        A = view(units, plan[layer, UNITS] * T, n_outputs, T)
        # The second part's; another for the next layer, where the other thread may still read this.
        other = view(sums, layer % 2 * half, n_outputs, T)
        for part in range(thread, N_PARTS, n_threads):
            begin, end = bounds(n_inputs, part, n_lanes)
            W = view(parameters, plan[layer, WEIGHTS] + begin * n_outputs, end - begin, n_outputs)
            if part == 0:
                b = view(parameters, plan[layer, BIASES], 1, n_outputs)
                affine_forward(W, b, rows(inputs, begin, end), Z)
            else:
                affine_forward(W, view(zeros, 0, 1, n_outputs), rows(inputs, begin, end), other)
        wait(barrier, n_threads)
        for part in range(thread, N_PARTS, n_threads):
            begin, end = own(plan, layer, part, n_lanes)
            if end > begin:
                Z_own, others = flat(rows(Z, begin, end)), flat(rows(other, begin, end))
                for k in range(0, Z_own.shape[1], n_lanes):
                    store(Z_own, 0, k, load(Z_own, 0, k) + load(others, 0, k))
                call(activate[plan[layer, ACTIVATION]], (rows(Z, begin, end), rows(A, begin, end)))
    total, finite = 0.0, True
    if thread == 0:
        dS = view(dunits, plan[last, DUNITS] * T, plan[last, OUTPUTS], T)
        total = call(slope, (last_outputs(plan, T, units), y, weights, parameter, wanted, dS))

    for layer in range(last, -1, -1):
        n_inputs, n_outputs = plan[layer, INPUTS], plan[layer, OUTPUTS]
        inputs = layer_inputs(plan, layer, X, units)
        Z = view(units, plan[layer, SUMS] * T, n_outputs, T)
        A = view(units, plan[layer, UNITS] * T, n_outputs, T)
        dA = view(dunits, plan[layer, DUNITS] * T, n_outputs, T)
        for part in range(thread, N_PARTS, n_threads):
            begin, end = own(plan, layer, part, n_lanes)
            if end > begin:
                dA_own = rows(dA, begin, end)
                call(
                    differentiate[plan[layer, ACTIVATION]],
                    (rows(Z, begin, end), rows(A, begin, end), dA_own, dA_own),
                )
        wait(barrier, n_threads)
        for part in range(thread, N_PARTS, n_threads):
            begin, end = bounds(n_inputs, part, n_lanes)
            at = plan[layer, WEIGHTS] + begin * n_outputs
            W = view(parameters, at, end - begin, n_outputs)
            dW = view(gradient, at, end - begin, n_outputs)
            db = view(gradient, plan[layer, BIASES], 1, n_outputs)
            if part > 0:  # which the first computes
                db = view(sums, 0, 1, n_outputs)
            below = plan[max(layer - 1, 0), DUNITS] + begin
            dX = view(dunits, below * T, end - begin if layer else 0, T)
            if changes and is_strips(plan, layer, part, T, n_lanes):
                finite &= change_strips(
                    update, parameters, at, rows(inputs, begin, end), dA, gradient, db, dX, scratch, change
                )
            elif end > begin or part == 0:
                affine_backward(W, rows(inputs, begin, end), dA, dW, db, dX, scratch, adds)
    return total, finite


@kernel
def change_strips(update, parameters, at, X, dZ, gradient, db, dX, scratch, change):
    """What `affine_backward` does, and `update` to the weights, whose place among the parameters begins `at`.

    gradient (P,) is overwritten from there on, with the gradient of one strip. Returns whether all of the
    weights are finite still.
    """
    n_inputs = X.shape[0]
    n_outputs, T = dZ.shape
    transposed = view(scratch, 0, T, -(-n_outputs // lanes(dZ)) * lanes(dZ))
    transpose(dZ, transposed)
    column_sums(transposed, db, False)
    if dX.shape[0] > 0:  # by the weights as they are
        product_backward(view(parameters, at, n_inputs, n_outputs), dZ, dX)
    finite = True
    for i in range(0, n_inputs, STRIP):
        n = min(STRIP, n_inputs - i)
        outer_product(rows(X, i, i + n), transposed, view(gradient, at, n, n_outputs), False)
        begin, size = at + i * n_outputs, n * n_outputs
        numbers = change.l2, change.l1, gradient.dtype.type(1)
        finite &= call(update, (
            view(gradient, at, 1, size), parameters, change.state, change.coefficients, *numbers, begin,
            begin + size, begin,
        ))  # fmt: skip
    return finite


@kernel
def own(plan, layer, part, n_lanes):
    """The units of a layer that a part has; the last layer's, which the loss takes, are all the first's."""
    n_units = plan[layer, OUTPUTS]
    if layer < plan.shape[0] - 1:
        return bounds(n_units, part, n_lanes)
    return (0, n_units) if part == 0 else (n_units, n_units)


@kernel
def team_update(
    update, plan, gradients, parameters, change, l2_others, shrink, n_weights, thread, n_threads, T
):  # fmt: skip
    """`update` the parameters of a thread's parts.

    Weights change as the `Change` says, and by l2_others all behind `n_weights`, which are the first
    thread's. If T > 0 it leaves out what `team_gradient` has changed, by tiles of so many samples. Returns
    whether all that it changes are finite still.
    """
    n_lanes = lanes(gradients)
    state, numbers = change.state, change.coefficients
    finite = True
    for part in range(thread, N_PARTS, n_threads):
        for layer in range(plan.shape[0]):
            if T == 0 or not is_strips(plan, layer, part, T, n_lanes):
                begin, end = part_weights(plan, layer, part, n_lanes)
                finite &= call(
                    update,
                    (gradients, parameters, state, numbers, change.l2, change.l1, shrink, begin, end, 0),
                )
    if thread == 0:
        l1, size = parameters.dtype.type(0), parameters.shape[0]
        finite &= call(
            update, (gradients, parameters, state, numbers, l2_others, l1, shrink, n_weights, size, 0)
        )
    return finite
