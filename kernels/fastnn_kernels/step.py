"""The work of a training step around its gradient: weights of the batch, clipping, update, records.

Where several threads share a step, each calls the kernels that take the number of a thread, with its own
number; kernels that take a barrier wait for the other threads. Kernels that record or limit something are
called by the first thread alone.

Shape letters: L layers, N samples, T samples of a tile (a whole number of vectors), G shards, P parameters
(a whole number of vectors), R records.
"""

from __future__ import annotations

import numpy as np

from .compiler.jit import kernel
from .compiler.pointer import call
from .network import INPUTS, OUTPUTS, WEIGHTS
from .update import add_to_average, limit_norms, square_sum, sum_of_squares
from .vectors.barrier import wait
from .vectors.vector import view

__all__ = [
    "BLOCK",
    "add_blocks_to_average",
    "all_are_finite",
    "batch_scale",
    "block_squares",
    "block_update",
    "copy_blocks",
    "gather_weights",
    "gradient_norm",
    "limit_all_norms",
    "note_loss",
    "note_plateau",
    "note_ratios",
    "shrink_factor",
]

# Parameters that one thread updates at a time, a whole number of vectors. Sums over the parameters are added
# up block by block, so that they do not depend on which thread computed a block.
BLOCK = 4096


@kernel
def batch_scale(weights, indices, begin, end, common):
    """Return one over the sum of the weights of the samples ``indices[begin:end]``, 0 where that sum is 0.

    common: the weight of every sample, 0 where they differ.
    """
    total = common * (end - begin)
    if total == 0.0:
        for k in range(begin, end):
            total += weights[indices[k]]
    return 1.0 / total if total > 0.0 else 0.0


@kernel
def gather_weights(weights, indices, first, n, common, scale, row):
    """Fill row (1, T) with the scaled weights of the samples ``indices[first : first + n]``, then 0.

    weights (N,); common: as in `batch_scale`.
    """
    for t in range(row.shape[1]):
        weight = common
        if weight == 0.0:
            weight = weights[indices[first + min(t, n - 1)]]
        row[0, t] = row.dtype.type(scale * weight) if t < n else row.dtype.type(0)


@kernel
def block_squares(parameters, n_weights, thread, n_threads, squares):
    """Fill squares (P / BLOCK,) with the blocks' sums of squares of the first `n_weights` parameters."""
    for block in range(thread, squares.shape[0], n_threads):
        begin, end = min(block * BLOCK, n_weights), min((block + 1) * BLOCK, n_weights)
        squares[block] = sum_of_squares(parameters, begin, end)


@kernel
def note_loss(losses, squares, scale, penalty, settings, n_batch, record, records):
    """Add a batch's loss, the sum of its shards' losses (G,), to that of the pass.

    Or its objective, if recorded.
    """
    loss = 0.0
    for shard in range(losses.shape[0]):
        loss += losses[shard]
    if settings.of_objective:
        loss *= settings.loss_share
        for k in range(squares.shape[0]):
            loss += 0.5 * penalty * squares[k]
        records.losses[record] += n_batch * loss
    else:
        records.losses[record] += loss / scale


@kernel
def note_plateau(objective, tol, plateau):
    """Count a pass in plateau: the best objective so far, and passes since one was below it by `tol`."""
    plateau[1] = plateau[1] + 1.0 if objective > plateau[0] - tol else 0.0
    plateau[0] = min(plateau[0], objective) if objective == objective else plateau[0]


@kernel
def gradient_norm(gradients, thread, n_threads, barrier, partial):
    """Return the norm of the sum of gradients (G, P); partial (P / BLOCK,) is overwritten."""
    size = gradients.shape[1]
    for block in range(thread, partial.shape[0], n_threads):
        partial[block] = square_sum(gradients, block * BLOCK, min((block + 1) * BLOCK, size))
    wait(barrier, n_threads)
    total = 0.0
    for block in range(partial.shape[0]):
        total += partial[block]
    return np.sqrt(total)


@kernel
def shrink_factor(norm, clip_norm):
    """Return the factor that shrinks a gradient of this norm to `clip_norm`.

    1 for a smaller norm, or no limit.
    """
    if not (clip_norm > 0.0 and norm > clip_norm):
        return 1.0
    # An infinite norm has no factor: NaN ends the training.
    return clip_norm / norm if norm < np.inf else np.nan


@kernel
def copy_blocks(parameters, thread, n_threads, copy):
    """Copy the blocks of a thread from parameters (P,) to copy (P,)."""
    for block in range(thread, -(-parameters.shape[0] // BLOCK), n_threads):
        for k in range(block * BLOCK, min((block + 1) * BLOCK, parameters.shape[0])):
            copy[k] = parameters[k]


@kernel
def block_update(
    update, plan, gradients, parameters, change, l2_others, shrink, n_weights, thread, n_threads, T
):  # fmt: skip
    """Update a thread's blocks of the parameters, and return True if they are all still finite.

    update: an `update.update_pointer`; change: a `team.Change` for the weights, which end at `n_weights`; the
    other parameters change by l2_others. plan and T are not used: `team.team_update` has the same signature.
    """
    size = parameters.shape[0]
    state, numbers = change.state, change.coefficients
    finite = True
    for block in range(thread, -(-size // BLOCK), n_threads):
        begin, end = block * BLOCK, min((block + 1) * BLOCK, size)
        middle = min(max(begin, n_weights), end)
        if begin < middle:
            finite &= call(
                update,
                (gradients, parameters, state, numbers, change.l2, change.l1, shrink, begin, middle, 0),
            )
        if middle < end:
            l1 = parameters.dtype.type(0)
            finite &= call(
                update, (gradients, parameters, state, numbers, l2_others, l1, shrink, middle, end, 0)
            )
    return finite


@kernel
def all_are_finite(finite, thread, n_threads, barrier, flags):
    """Return True if `finite` is True in every thread; flags (n,) of int64 is overwritten."""
    if n_threads == 1:
        return finite
    flags[thread] = finite
    wait(barrier, n_threads)
    for other in range(n_threads):
        finite &= flags[other] != 0
    return finite


@kernel
def limit_all_norms(plan, parameters, limit):
    """Limit the norms of the weights of all layers (`update.limit_norms`)."""
    for layer in range(plan.shape[0]):
        W = view(parameters, plan[layer, WEIGHTS], plan[layer, INPUTS], plan[layer, OUTPUTS])
        limit_norms(W, limit)


@kernel
def add_blocks_to_average(parameters, share, thread, n_threads, average):
    """Move the average of a thread's blocks (`update.add_to_average`)."""
    for block in range(thread, -(-parameters.shape[0] // BLOCK), n_threads):
        begin, end = block * BLOCK, min((block + 1) * BLOCK, parameters.shape[0])
        add_to_average(parameters, parameters.dtype.type(share), begin, end, average)


@kernel
def note_ratios(plan, parameters, before, record, ratios):
    """Record in ratios (R, L) the norms of the changes of every layer's weights, relative to the weights."""
    for layer in range(plan.shape[0]):
        begin = plan[layer, WEIGHTS]
        moved, size = 0.0, 0.0
        for k in range(begin, begin + plan[layer, INPUTS] * plan[layer, OUTPUTS]):
            difference = np.float64(parameters[k]) - before[k]
            moved += difference * difference
            size += np.float64(before[k]) * before[k]
        ratios[record, layer] = np.sqrt(moved / size) if size > 0.0 else 0.0
