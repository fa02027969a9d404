"""Forward and backward pass of one tile by a team of two threads that share the units of every layer.

If the threads shared the samples instead, each would compute a gradient of all weights, the gradients would
have to be added, and in every step each thread would fetch the half of the weights that the other one has
changed. Here the units of every layer are divided into two parts. A part also has the weights from its units
to the next layer: a thread reads and updates the weights of its own part alone, which stay in its cache. Only
sums and derivatives of units move between the threads, a tenth of that traffic. The sums of a layer are the
sums over both parts, in a fixed order: results have the same bits for one thread and for two.

Most weights can be updated strip by strip, each strip as soon as its gradient is known. The whole gradient is
then never in memory, which leaves room in the cache for the state of the optimizer.

Shape letters: L layers, I inputs and J outputs of a layer, T samples of a tile (a whole number of
vectors), P parameters.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from .calls.prediction import (
    ACTIVATION,
    BIASES,
    DUNITS,
    INPUTS,
    OUTPUTS,
    SOURCE,
    STATISTICS,
    SUMS,
    UNITS,
    WEIGHTS,
)
from .calls.training import N_PARTS
from .compiler.jit import Kernel, kernel
from .compiler.pointer import call
from .gate import affine_backward, affine_forward, sample_sums_are_faster, sum_panels, transpose_to_panels
from .network import has_dropout, last_outputs, layer_inputs, normalise, normalise_backward
from .random import advance_stream, draw, dropout, dropout_backward
from .update import sum_parameter_squares
from .vectors.barrier import wait
from .vectors.product import outer_product, product_backward
from .vectors.tile import gather_rows
from .vectors.vector import flat, lanes, load, row, rows, store, view

__all__ = ["Change", "gather_part", "sum_part_squares", "team_gradient", "team_update"]

# Number of rows of weights in a strip: a multiple of the lanes of any vector, so that strips are whole
# vectors, and of the rows of a product's highest block.
STRIP = 96


class Change(NamedTuple):
    """Arguments of an `update` kernel for weights: state (S, P), coefficients (C,), the scalars l2 and l1."""

    state: np.ndarray
    coefficients: np.ndarray
    l2: float
    l1: float


class Team(NamedTuple):
    """A thread among those that share a step."""

    thread: int
    n_threads: int
    barrier: np.ndarray


@kernel
def find_part_units(n_units, part, n_lanes):
    """Return (begin, end) of the units of a part, `end` exclusive.

    The second part begins at a multiple of half a vector. The first thread also does the work that cannot be
    shared: the first part is never the larger one.
    """
    step = n_lanes // 2
    half = n_units // (2 * step) * step
    return (0, half) if part == 0 else (half, n_units)


@kernel
def find_part_weights(plan, layer, part, n_lanes):
    """Return (begin, end) of a part's weights of a layer in the parameters, both rounded up to whole vectors.

    A vector that contains weights of two parts, or of two layers, belongs to the first of them.
    """
    begin, end = find_part_units(plan[layer, INPUTS], part, n_lanes)
    begin = plan[layer, WEIGHTS] + begin * plan[layer, OUTPUTS]
    end = plan[layer, WEIGHTS] + end * plan[layer, OUTPUTS]
    return -(-begin // n_lanes) * n_lanes, -(-end // n_lanes) * n_lanes


@kernel
def sum_part_squares(plan, parameters, n_weights, thread, n_threads, squares):
    """Fill squares (L * N_PARTS,) with the sums of squares of the weights of every part of every layer.

    n_weights is not used: the signature is that of `options.sum_block_squares`.
    """
    for part in range(thread, N_PARTS, n_threads):
        for layer in range(plan.shape[0]):
            begin, end = find_part_weights(plan, layer, part, lanes(parameters))
            squares[layer * N_PARTS + part] = sum_parameter_squares(parameters, begin, end)


@kernel
def is_updated_in_strips(plan, layer, part, T, n_lanes):
    """Return True if a part's weights of a layer may be updated strip by strip.

    This requires that the weights are a whole number of vectors and that their gradient is computed with
    vectors of outputs (`gate.sample_sums_are_faster`).
    """
    n_inputs, n_outputs = plan[layer, INPUTS], plan[layer, OUTPUTS]
    begin, end = find_part_units(n_inputs, part, n_lanes)
    first, last = plan[layer, WEIGHTS] + begin * n_outputs, plan[layer, WEIGHTS] + end * n_outputs
    is_whole = first % n_lanes == 0 and last % n_lanes == 0
    return begin < end and is_whole and not sample_sums_are_faster(end - begin, n_outputs, T, n_lanes)


@kernel
def gather_part(X, indices, first, n, part, tile):
    """Gather a part's features of the samples ``indices[first : first + n]``, as `tile.gather_tile` does."""
    begin, end = find_part_units(X.shape[1], part, lanes(X))
    if begin < end:
        for t in range(0, tile.shape[1], lanes(X)):
            gather_rows(X, indices, first + t, first + n - 1, begin, rows(tile, begin, end), t)


@kernel
def drop_inputs(plan, layer, part, A, units, batch):
    """Apply `random.dropout` to a part's inputs of a layer.

    A (I, T) has the inputs of both parts: the outputs of the layer below, or the samples. The results go to
    the layer's rows in the workspace `units`. Every unit has the random numbers that it also has if units are
    not shared.
    """
    begin, end = find_part_units(plan[layer, INPUTS], part, lanes(A))
    if begin < end:
        D = view(units, (plan[layer, SOURCE] + begin) * A.shape[1], end - begin, A.shape[1])
        key = advance_stream(draw(batch.key, layer), begin)
        dropout(rows(A, begin, end), key, batch.first, batch.dropout[layer], D)


@functools.cache
def team_gradient(batch_norm: bool, dropped: bool) -> Kernel:
    """Return the kernel that computes the gradient of a tile; all threads call it at the same time.

    batch_norm, dropped: True for batch normalisation and for dropout. Each thread normalises and drops the
    units of its part.

    Its arguments are ``(functions, update, plan, parameters, tile, batch, parameter, wanted, buffers,
    sums_and_zeros, adds, team, in_strips, change)``. update is the pointer of `train.train_steps`; team is
    the `Team` of this thread. The first row of sums_and_zeros is a workspace of twice the outputs of the
    widest layer times T elements; the second has the biases of the second part, all 0, as many as the widest
    layer has outputs. If `in_strips`, the weights for which `is_updated_in_strips` is True are updated with
    the `Change`, and their gradient is arbitrary afterwards. The other arguments are those of
    `gradient.tile_gradient`. All arguments except the number of the thread and its scratch are the same for
    all threads.

    The kernel returns the loss, for the first thread and if `wanted`, else 0; and True if all weights that
    this thread has updated are still finite.
    """

    @kernel
    def team_gradient(
        functions,
        update,
        plan,
        parameters,
        tile,
        batch,
        parameter,
        wanted,
        buffers,
        sums_and_zeros,
        adds,
        team,
        in_strips,
        change,
    ):
        X, units, dunits = tile.X, buffers.units, buffers.dunits
        scratch, gradient, weights = buffers.scratch, buffers.gradient, batch.weights
        sums, zeros = row(sums_and_zeros, 0), row(sums_and_zeros, 1)
        thread, n_threads, barrier = team
        T = X.shape[1]
        n_lanes = lanes(X)
        last = plan.shape[0] - 1
        half = sums.shape[0] // 2
        not_packed = view(parameters, 0, 1, 0)  # None would compile `affine_forward` once more
        for layer in range(plan.shape[0]):
            n_inputs, n_outputs = plan[layer, INPUTS], plan[layer, OUTPUTS]
            inputs = layer_inputs(plan, layer, X, units)
            Z = view(units, plan[layer, SUMS] * T, n_outputs, T)
            A = view(units, plan[layer, UNITS] * T, n_outputs, T)
            # The sums of the second part. Layers use the halves of the workspace in turns: the other thread
            # may still read the half of the previous layer.
            other = view(sums, layer % 2 * half, n_outputs, T)
            for part in range(thread, N_PARTS, n_threads):
                if dropped and layer == 0 and has_dropout(plan, 0):
                    drop_inputs(plan, 0, part, X, units, batch)
                begin, end = find_part_units(n_inputs, part, n_lanes)
                W = view(parameters, plan[layer, WEIGHTS] + begin * n_outputs, end - begin, n_outputs)
                if part == 0:
                    b = view(parameters, plan[layer, BIASES], 1, n_outputs)
                    affine_forward(W, b, rows(inputs, begin, end), not_packed, Z)
                else:
                    no_bias = view(zeros, 0, 1, n_outputs)
                    affine_forward(W, no_bias, rows(inputs, begin, end), not_packed, other)
            wait(barrier, thread, n_threads)
            for part in range(thread, N_PARTS, n_threads):
                begin, end = find_part_outputs(plan, layer, part, n_lanes)
                if end > begin:
                    Z_part, others = flat(rows(Z, begin, end)), flat(rows(other, begin, end))
                    for k in range(0, Z_part.shape[1], n_lanes):
                        store(Z_part, 0, k, load(Z_part, 0, k) + load(others, 0, k))
                    if batch_norm and plan[layer, STATISTICS] >= 0:
                        normalise(plan, layer, begin, end, parameters, weights, batch.statistics, units)
                    call(
                        functions.activate[plan[layer, ACTIVATION]],
                        (rows(Z, begin, end), rows(A, begin, end)),
                    )
                if dropped and layer < last and has_dropout(plan, layer + 1):
                    drop_inputs(plan, layer + 1, part, A, units, batch)
        total, finite = 0.0, True
        if thread == 0:
            dS = view(dunits, plan[last, DUNITS] * T, plan[last, OUTPUTS], T)
            total = call(
                functions.loss_backward,
                (last_outputs(plan, T, units), tile.y, weights, parameter, wanted, dS),
            )

        for layer in range(last, -1, -1):
            n_inputs, n_outputs = plan[layer, INPUTS], plan[layer, OUTPUTS]
            inputs = layer_inputs(plan, layer, X, units)
            Z = view(units, plan[layer, SUMS] * T, n_outputs, T)
            A = view(units, plan[layer, UNITS] * T, n_outputs, T)
            dA = view(dunits, plan[layer, DUNITS] * T, n_outputs, T)
            for part in range(thread, N_PARTS, n_threads):
                begin, end = find_part_outputs(plan, layer, part, n_lanes)
                if end > begin:
                    dA_part = rows(dA, begin, end)
                    if dropped and layer < last and has_dropout(plan, layer + 1):
                        D = view(units, plan[layer + 1, SOURCE] * T, n_outputs, T)
                        rate = batch.dropout[layer + 1]
                        dropout_backward(rows(D, begin, end), dA_part, rate, dA_part)
                    call(
                        functions.differentiate[plan[layer, ACTIVATION]],
                        (rows(Z, begin, end), rows(A, begin, end), dA_part, dA_part),
                    )
                    if batch_norm and plan[layer, STATISTICS] >= 0:
                        normalise_backward(
                            plan,
                            layer,
                            begin,
                            end,
                            parameters,
                            weights,
                            batch.statistics,
                            units,
                            dunits,
                            gradient,
                        )
            wait(barrier, thread, n_threads)
            for part in range(thread, N_PARTS, n_threads):
                begin, end = find_part_units(n_inputs, part, n_lanes)
                at = plan[layer, WEIGHTS] + begin * n_outputs
                W = view(parameters, at, end - begin, n_outputs)
                dW = view(gradient, at, end - begin, n_outputs)
                db = view(gradient, plan[layer, BIASES], 1, n_outputs)
                if part > 0:  # the first part computes db
                    db = view(sums, 0, 1, n_outputs)
                # The first layer has no derivatives below: an empty view, which must begin within the array.
                below = plan[layer - 1, DUNITS] + begin if layer else 0
                dX = view(dunits, below * T, end - begin if layer else 0, T)
                if in_strips and is_updated_in_strips(plan, layer, part, T, n_lanes):
                    finite &= update_strips(
                        update,
                        parameters,
                        at,
                        rows(inputs, begin, end),
                        dA,
                        gradient,
                        db,
                        dX,
                        scratch,
                        change,
                    )
                elif end > begin or part == 0:
                    affine_backward(W, rows(inputs, begin, end), dA, dW, db, dX, scratch, adds)
        return total, finite

    return team_gradient


@kernel
def update_strips(update, parameters, at, X, dZ, gradient, db, dX, scratch, change):
    """Compute db and dX as `gate.affine_backward` does, and update the weights W (I, J), strip by strip.

    W begins at the parameter `at`. The gradient of one strip at a time is written to gradient (P,), from `at`
    on. Return True if all updated weights are still finite.
    """
    n_inputs = X.shape[0]
    n_outputs = dZ.shape[0]
    panels = transpose_to_panels(dZ, scratch)
    sum_panels(panels, db, False)
    if dX.shape[0] > 0:  # dX needs the weights before the update
        product_backward(view(parameters, at, n_inputs, n_outputs), dZ, dX)
    finite = True
    for i in range(0, n_inputs, STRIP):
        n = min(STRIP, n_inputs - i)
        outer_product(rows(X, i, i + n), panels, view(gradient, at, n, n_outputs), False)
        begin, size = at + i * n_outputs, n * n_outputs
        numbers = change.l2, change.l1, gradient.dtype.type(1)
        finite &= call(
            update,
            (
                view(gradient, at, 1, size),
                parameters,
                change.state,
                change.coefficients,
                *numbers,
                begin,
                begin + size,
                begin,
            ),
        )
    return finite


@kernel
def find_part_outputs(plan, layer, part, n_lanes):
    """Return (begin, end) of the outputs of a layer that belong to a part.

    All outputs of the last layer belong to the first part: the first thread computes the loss.
    """
    n_units = plan[layer, OUTPUTS]
    if layer < plan.shape[0] - 1:
        return find_part_units(n_units, part, n_lanes)
    return (0, n_units) if part == 0 else (n_units, n_units)


@kernel
def team_update(
    update, plan, gradients, parameters, change, l2_others, shrink, n_weights, thread, n_threads, T
):
    """Update the parameters of this thread's parts, and return True if all of them are still finite.

    Weights are updated with the `Change`. The parameters from `n_weights` on have the L2 factor l2_others,
    and the first thread updates them. If T > 0, the weights that `team_gradient` has updated in strips, with
    tiles of T samples, are left out.
    """
    n_lanes = lanes(gradients)
    state, numbers = change.state, change.coefficients
    finite = True
    for part in range(thread, N_PARTS, n_threads):
        for layer in range(plan.shape[0]):
            if T == 0 or not is_updated_in_strips(plan, layer, part, T, n_lanes):
                begin, end = find_part_weights(plan, layer, part, n_lanes)
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
