"""Parts of a training step that only some trainings need, compiled only for those.

The training loop calls an option through a pointer. If the options were inlined in the loop, each loop would
take a third longer to compile, for the few trainings that use them all. Unused options have a null pointer,
so they are never compiled.

Several threads may share a step. A kernel with the argument `thread`, the number of a thread, is called by
every thread; if it has an argument `barrier`, it waits for the other threads. Samples are gathered by the
thread that computes their gradient; the other options are called by the first thread alone.

Shape letters: L layers, I inputs, Y targets of a sample, T samples of a tile, G shards, P parameters (a whole
number of cache lines), R records.
"""

import numpy as np

from .calls.prediction import INPUTS, OUTPUTS, WEIGHTS
from .calls.training import BLOCK
from .compiler.jit import kernel
from .small_batch import gather_columns, gather_samples
from .step import find_parameter_share
from .update import add_to_average, limit_norms, sum_gradient_squares, sum_parameter_squares
from .vectors.barrier import wait
from .vectors.value import reduce_add_squares
from .vectors.vector import lanes, load, view


@kernel
def gather_by_rows(X, y, indices, first, n, rows, tile):
    """Gather the n samples ``indices[first : first + n]`` of X to rows (n, I), and of y to a tile (Y, T)."""
    gather_samples(X, indices, first, rows)
    gather_columns(y, indices, first, n, tile)


@kernel
def sum_block_squares(plan, parameters, n_weights, thread, n_threads, squares):
    """Fill squares (P / BLOCK,) with the sum of squares of the weights in each block.

    The weights are the first `n_weights` parameters. plan is not used: the signature must equal
    `team.sum_part_squares`'s.
    """
    for block in range(thread, squares.shape[0], n_threads):
        begin, end = min(block * BLOCK, n_weights), min((block + 1) * BLOCK, n_weights)
        squares[block] = sum_parameter_squares(parameters, begin, end)


@kernel
def gradient_norm(gradients, size, thread, n_threads, barrier, partial):
    """Return the Euclidean norm of the sum of the gradients.

    gradients (G, P or more); size: P; partial (P / BLOCK,) is a workspace.
    """
    for block in range(thread, partial.shape[0], n_threads):
        partial[block] = sum_gradient_squares(gradients, block * BLOCK, min((block + 1) * BLOCK, size))
    wait(barrier, thread, n_threads)
    total = 0.0
    for block in range(partial.shape[0]):
        total += partial[block]
    return np.sqrt(total)


@kernel
def limit_all_norms(plan, parameters, limit):
    """Apply `update.limit_norms` to the weights of every layer."""
    for layer in range(plan.shape[0]):
        W = view(parameters, plan[layer, WEIGHTS], plan[layer, INPUTS], plan[layer, OUTPUTS])
        limit_norms(W, limit)


@kernel
def update_average(parameters, weight, thread, n_threads, average):
    """Apply `update.add_to_average` to this thread's share of parameters and average, both (P,)."""
    begin, end = find_parameter_share(parameters, thread, n_threads)
    add_to_average(parameters, parameters.dtype.type(weight), begin, end, average)


@kernel
def record_ratios(plan, parameters, before, record, ratios):
    """Write ``|W - W_before| / |W_before|`` for the weights W of every layer to ``ratios[record]``.

    parameters (P,) and before (P,) have the weights after and before the step; ratios (R, L).
    """
    new, old = view(parameters, 0, 1, parameters.shape[0]), view(before, 0, 1, before.shape[0])
    for layer in range(plan.shape[0]):
        begin, n_weights = plan[layer, WEIGHTS], plan[layer, INPUTS] * plan[layer, OUTPUTS]
        whole = begin + n_weights // lanes(parameters) * lanes(parameters)
        change, size = 0.0, 0.0
        for k in range(begin, whole, lanes(parameters)):
            W = load(old, 0, k)
            change += reduce_add_squares(load(new, 0, k) - W)
            size += reduce_add_squares(W)
        for k in range(whole, begin + n_weights):
            difference = np.float64(parameters[k]) - before[k]
            change += difference * difference
            size += np.float64(before[k]) * before[k]
        ratios[record, layer] = np.sqrt(change / size) if size > 0.0 else 0.0
