"""Parts of every training step besides the gradient: weights of the batch, update, recorded losses.

Several threads may share a step. A kernel with an argument `thread` or `team` is called by every thread; if
it has an argument `barrier`, it waits for the other threads. The kernels `record_loss` and `update_plateau`
are called by the first thread alone. ``options.py`` has what only some trainings use.

Shape letters: N samples, T samples of a tile (a whole number of vectors), G shards, P parameters (a whole
number of cache lines).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from .calls.training import BLOCK
from .compiler.jit import Kernel, kernel
from .compiler.pointer import call
from .vectors.barrier import wait
from .vectors.processor import LINE_BYTES
from .vectors.value import fill
from .vectors.vector import lanes, store


class Step(NamedTuple):
    """A step of a training, the same for all threads."""

    first: int  # position of the batch's first sample in the order of the samples
    n_samples: int  # in the batch
    key: np.uint64  # key of the random numbers
    scale: float  # scale of the weights of the samples
    penalty: float  # factor of the L2 penalty
    is_last: bool  # True if the step ends an epoch
    is_recorded: bool  # True if the epoch is recorded
    is_observed: bool  # True if norms and ratios are recorded: in the last step of a recorded epoch
    record: int  # the epoch's index in the records


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
def record_loss(losses, squares, settings, step, records):
    """Add the loss of a step's batch, or its objective if `settings.of_objective`, to the recorded losses.

    losses (G,) are the losses of the shards; squares, the sums of squares of the weights (`State`).
    """
    loss = 0.0
    for shard in range(losses.shape[0]):
        loss += losses[shard]
    if settings.of_objective:
        loss *= settings.loss_share
        for k in range(squares.shape[0]):
            loss += 0.5 * step.penalty * squares[k]
        records.losses[step.record] += step.n_samples * loss
    else:
        records.losses[step.record] += loss / step.scale


@kernel
def update_plateau(objective, tol, plateau):
    """Update plateau (2,) after an epoch: the best objective, and the number of epochs without improvement.

    An improvement is an objective below the best one by at least `tol`. NaN never becomes the best.
    """
    plateau[1] = plateau[1] + 1.0 if objective > plateau[0] - tol else 0.0
    if objective < plateau[0]:
        plateau[0] = objective


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
def update_block(update, gradients, parameters, n_weights, change, begin, end):
    """Update the parameters from `begin` to `end`; return True if they are all finite.

    update: an `update.update_pointer`. The weights are the first `n_weights` parameters.
    """
    state, numbers, l2, l2_others, weights_l1, shrink = change
    # Parameters with the same penalties are updated together.
    n_first = parameters.shape[0] if l2 == l2_others and weights_l1 == 0 else n_weights
    middle = min(max(begin, n_first), end)
    finite = True
    if begin < middle:
        finite &= call(update, (gradients, parameters, state, numbers, l2, weights_l1, shrink, begin, middle))
    if middle < end:
        l1 = parameters.dtype.type(0)
        finite &= call(update, (gradients, parameters, state, numbers, l2_others, l1, shrink, middle, end))
    return finite


@functools.cache
def update_share(clears: bool) -> Kernel:
    """Return the kernel that updates this thread's share of the parameters; True if they are all finite.

    See `update_block` for the arguments. plan is not used: the signature equals `team.team_update`'s.

    clears: True to set the gradients to 0 after the update. Directly after the update of a block, the block's
    gradients are in the cache; later, all of them would have to be read from memory once more.
    """

    @kernel
    def update_share(team, update, plan, gradients, parameters, n_weights, change):
        first, last = find_parameter_share(parameters, team.thread, team.n_threads)
        finite = True
        for begin in range(first, last, BLOCK):
            end = min(begin + BLOCK, last)
            finite &= update_block(update, gradients, parameters, n_weights, change, begin, end)
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
