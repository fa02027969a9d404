"""Forward and backward pass of one tile by a team of two threads that share the units of every layer.

If the threads shared the samples instead, each would compute a gradient of all weights, the gradients would
have to be added, and in every step each thread would fetch the half of the weights that the other one has
changed. Here the units of every layer are divided into two parts. A part also has the weights from its units
to the next layer, so a thread reads and updates the weights of its own part alone, which stay in its cache.
Only sums and derivatives of units move between the threads, a tenth of that traffic. The sums of a layer are
the sums over both parts, in a fixed order: results have the same bits for one thread and for two.

Shape letters: L layers, I inputs and J outputs of a layer, T samples of a tile (a whole number of
vectors), P parameters.
"""

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
from .compiler.jit import kernel
from .compiler.pointer import call
from .gate import affine_backward, affine_forward
from .network import has_dropout, last_outputs, layer_inputs, normalise, normalise_backward
from .random import advance_stream, draw, dropout, dropout_backward
from .update import sum_parameter_squares
from .vectors.barrier import wait
from .vectors.tile import gather_rows
from .vectors.vector import flat, lanes, load, row, rows, store, view


@kernel
def find_part_units(n_units, part, n_lanes):
    """Return (begin, end) of the units of a part, `end` exclusive.

    The second part begins at a multiple of half a vector. The first part is never the larger one, because the
    first thread also does the work that cannot be shared.
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

    n_weights is not used; the signature equals `options.sum_block_squares`'s.
    """
    for part in range(thread, N_PARTS, n_threads):
        for layer in range(plan.shape[0]):
            begin, end = find_part_weights(plan, layer, part, lanes(parameters))
            squares[layer * N_PARTS + part] = sum_parameter_squares(parameters, begin, end)


@kernel
def gather_part(X, indices, first, n, part, tile):
    """Gather a part's features of the samples ``indices[first : first + n]``, as `tile.gather_tile` does."""
    begin, end = find_part_units(X.shape[1], part, lanes(X))
    if begin < end:
        for t in range(0, tile.shape[1], lanes(X)):
            gather_rows(X, indices, first + t, first + n - 1, begin, rows(tile, begin, end), t)


@kernel
def drop_inputs(plan, layer, part, A, units, context):
    """Apply `random.dropout` to a part's inputs of a layer.

    A (I, T) has the inputs of both parts: the outputs of the layer below, or the samples. The results go to
    the layer's rows in the workspace `units`. Every unit has the random numbers that it also has if units are
    not shared.
    """
    begin, end = find_part_units(plan[layer, INPUTS], part, lanes(A))
    if begin < end:
        D = view(units, (plan[layer, SOURCE] + begin) * A.shape[1], end - begin, A.shape[1])
        key = advance_stream(draw(context.key, layer), begin)
        dropout(rows(A, begin, end), key, context.first, context.dropout[layer], D)


@kernel
def team_gradient(team, functions, plan, parameters, tile, context, wanted, buffers, adds, sums_and_zeros):
    """Compute the gradient of a tile, as `gradient.tile_gradient` does; all threads call it at the same time.

    Each thread normalises and drops the units of its part. The first row of sums_and_zeros is a workspace of
    twice the outputs of the widest layer times T elements; the second has the biases of the second part, all
    0, as many as the widest layer has outputs. All arguments except the number of the thread and its scratch
    are the same for all threads. The kernel returns the loss for the first thread and if `wanted`, else 0.
    """
    X, units, dunits = tile.X, buffers.units, buffers.dunits
    scratch, gradient = buffers.scratch, buffers.gradient
    weights, statistics = context.weights, context.statistics
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
            if layer == 0 and has_dropout(plan, 0):
                drop_inputs(plan, 0, part, X, units, context)
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
                if plan[layer, STATISTICS] >= 0:
                    normalise(plan, layer, begin, end, parameters, weights, statistics, units)
                call(functions.activate[plan[layer, ACTIVATION]], (rows(Z, begin, end), rows(A, begin, end)))
            if layer < last and has_dropout(plan, layer + 1):
                drop_inputs(plan, layer + 1, part, A, units, context)
    total = 0.0
    if thread == 0:
        dS = view(dunits, plan[last, DUNITS] * T, plan[last, OUTPUTS], T)
        scores, parameter = last_outputs(plan, T, units), context.loss_parameter
        total = call(functions.loss_backward, (scores, tile.y, weights, parameter, wanted, dS))

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
                if layer < last and has_dropout(plan, layer + 1):
                    D = view(units, plan[layer + 1, SOURCE] * T, n_outputs, T)
                    rate = context.dropout[layer + 1]
                    dropout_backward(rows(D, begin, end), dA_part, rate, dA_part)
                call(
                    functions.differentiate[plan[layer, ACTIVATION]],
                    (rows(Z, begin, end), rows(A, begin, end), dA_part, dA_part),
                )
                if plan[layer, STATISTICS] >= 0:
                    normalise_backward(
                        plan, layer, begin, end, parameters, weights, statistics, units, dunits, gradient
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
            if end > begin or part == 0:
                affine_backward(W, rows(inputs, begin, end), dA, dW, db, dX, scratch, adds)
    return total


@kernel
def find_part_outputs(plan, layer, part, n_lanes):
    """Return (begin, end) of the outputs of a layer that belong to a part.

    All outputs of the last layer belong to the first part, because the first thread computes the loss.
    """
    n_units = plan[layer, OUTPUTS]
    if layer < plan.shape[0] - 1:
        return find_part_units(n_units, part, n_lanes)
    return (0, n_units) if part == 0 else (n_units, n_units)


@kernel
def team_update(team, update, plan, gradients, parameters, n_weights, change):
    """Update the parameters of this thread's parts, and return True if all of them are still finite.

    The first thread updates the parameters from `n_weights` on, which are no weights.
    """
    state, numbers, l2, l2_others, weights_l1, shrink = change
    finite = True
    for part in range(team.thread, N_PARTS, team.n_threads):
        for layer in range(plan.shape[0]):
            begin, end = find_part_weights(plan, layer, part, lanes(gradients))
            finite &= call(
                update, (gradients, parameters, state, numbers, l2, weights_l1, shrink, begin, end)
            )
    if team.thread == 0:
        l1, size = parameters.dtype.type(0), parameters.shape[0]
        finite &= call(
            update, (gradients, parameters, state, numbers, l2_others, l1, shrink, n_weights, size)
        )
    return finite
