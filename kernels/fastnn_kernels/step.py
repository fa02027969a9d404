"""Parts of every training step besides the gradient: weights of the batch, update, recorded losses.

Several threads may share a step. A kernel with the argument `thread`, the number of a thread, is called by
every thread; if it has an argument `barrier`, it waits for the other threads. The kernels `record_loss` and
`update_plateau` are called by the first thread alone. Parts that only some trainings use are in
``options.py``.

Shape letters: N samples, T samples of a tile (a whole number of vectors), G shards, P parameters (a whole
number of cache lines).
"""

from __future__ import annotations

import functools

import numpy as np

from .calls.training import BLOCK
from .compiler.jit import Kernel, kernel
from .compiler.pointer import call
from .vectors.barrier import wait
from .vectors.processor import LINE_BYTES
from .vectors.value import fill
from .vectors.vector import lanes, load, store, view

__all__ = [
    "all_are_finite",
    "compute_batch_scale",
    "compute_shrink_factor",
    "copy_share",
    "find_parameter_share",
    "find_share",
    "gather_weights",
    "record_loss",
    "update_plateau",
    "update_share",
]


@kernel
def compute_batch_scale(weights, indices, begin, end, common):
    """Return ``1 / s``, where s is the sum of the weights of the samples ``indices[begin:end]``; 0 if s is 0.

    weights (N,); common: the weight of every sample, 0 if weights differ.
    """
    total = common * (end - begin)
    if total == 0.0:
        for k in range(begin, end):
            total += weights[indices[k]]
    return 1.0 / total if total > 0.0 else 0.0


@kernel
def gather_weights(weights, indices, first, n, common, scale, row):
    """Fill row (1, T) with ``scale`` times the weights of the samples ``indices[first : first + n]``, then 0.

    weights (N,); common: the weight of every sample, 0 if weights differ.
    """
    for t in range(row.shape[1]):
        weight = common
        if weight == 0.0:
            weight = weights[indices[first + min(t, n - 1)]]
        row[0, t] = row.dtype.type(scale * weight) if t < n else row.dtype.type(0)


@kernel
def record_loss(losses, squares, scale, penalty, settings, n_batch, record, records):
    """Add the loss of a batch, or its objective if `settings.of_objective`, to ``records.losses[record]``.

    losses (G,) are the losses of the batch's shards; squares, the sums of squares of parts of the weights.
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
def update_plateau(objective, tol, plateau):
    """Update plateau (2,) after an epoch: the best objective, and the number of epochs without improvement.

    An improvement is an objective below the best one by at least `tol`. NaN never becomes the best.
    """
    plateau[1] = plateau[1] + 1.0 if objective > plateau[0] - tol else 0.0
    if objective < plateau[0]:
        plateau[0] = objective


@kernel
def compute_shrink_factor(norm, clip_norm):
    """Return the factor that scales a gradient of norm `norm` to `clip_norm`.

    The factor is 1 if the norm is smaller, or `clip_norm` is 0.
    """
    if not (clip_norm > 0.0 and norm > clip_norm):
        return 1.0
    # No factor scales an infinite norm: return NaN, which ends the training.
    return clip_norm / norm if norm < np.inf else np.nan


@kernel
def find_share(count, thread, n_threads):
    """Return (begin, end) of a thread's share of `count` items, `end` exclusive."""
    return count * thread // n_threads, count * (thread + 1) // n_threads


@kernel
def find_parameter_share(parameters, thread, n_threads):
    """Return (begin, end) of a thread's share of parameters (P,), `end` exclusive.

    Shares are whole cache lines, and differ by one line at most.
    """
    line = LINE_BYTES // parameters.itemsize
    begin, end = find_share(parameters.shape[0] // line, thread, n_threads)
    return begin * line, end * line


@kernel
def copy_share(parameters, thread, n_threads, copy):
    """Copy this thread's share of parameters (P,) to copy (P,)."""
    begin, end = find_parameter_share(parameters, thread, n_threads)
    source, result = view(parameters, 0, 1, parameters.shape[0]), view(copy, 0, 1, copy.shape[0])
    for k in range(begin, end, lanes(parameters)):
        store(result, 0, k, load(source, 0, k))


@functools.cache
def update_share(clears: bool) -> Kernel:
    """Return the kernel that updates this thread's share of the parameters.

    Its arguments are ``(update, plan, gradients, parameters, change, l2_others, shrink, n_weights, thread,
    n_threads, T)``. update: an `update.update_pointer`; change: a `team.Change` for the weights, the first
    `n_weights` parameters; l2_others: the L2 factor of the other parameters. plan and T are not used: the
    signature is that of `team.team_update`. The kernel returns True if all updated parameters are finite.

    clears: True to set the gradients to 0 after the update. Directly after the update of a block, the block's
    gradients are in the cache; later, all of them would have to be read from memory once more.
    """

    @kernel
    def update_share(
        update, plan, gradients, parameters, change, l2_others, shrink, n_weights, thread, n_threads, T
    ):
        first, last = find_parameter_share(parameters, thread, n_threads)
        state, numbers = change.state, change.coefficients
        # Parameters with the same penalties are updated together.
        n_first = parameters.shape[0] if change.l2 == l2_others and change.l1 == 0 else n_weights
        finite = True
        for begin in range(first, last, BLOCK):
            end = min(begin + BLOCK, last)
            middle = min(max(begin, n_first), end)
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
            if clears:
                for shard in range(gradients.shape[0]):
                    for k in range(begin, end, lanes(gradients)):
                        store(gradients, shard, k, fill(gradients, 0))
        return finite

    return update_share


@kernel
def all_are_finite(finite, thread, n_threads, barrier, flags):
    """Return True if `finite` is True in every thread.

    flags (n_threads,) of int64 are all 1 before the first call.
    """
    if n_threads == 1:
        return finite
    if not finite:  # an unconditional store would move the cache line from core to core in every step
        flags[thread] = 0
    wait(barrier, thread, n_threads)
    for other in range(n_threads):
        finite &= flags[other] != 0
    return finite
