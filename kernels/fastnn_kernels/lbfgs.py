"""Training by L-BFGS: the minimiser, and the loop of its iterations.

An iteration is a line search along ``-H g``, where g is the gradient and H approximates the inverse of the
Hessian by the last M pairs: changes s of the parameters and y of the gradient (Liu & Nocedal, "On the limited
memory BFGS method for large scale optimization", 1989). Line search, tests and restarts follow
L-BFGS-B without bounds (Zhu, Byrd, Lu & Nocedal, "Algorithm 778", 1997), so that the iterates equal SciPy's
except for rounding.

The minimiser does not evaluate the objective: `advance` returns whenever it needs value and gradient at x.
All numbers of the minimiser are float64, whatever the dtype of the network.

Shape letters: P parameters (a whole number of vectors), M pairs, G shards, R records, L layers.
"""

from __future__ import annotations

import functools

import numpy as np

from .calls.lbfgs import (
    CONVERGED_GRADIENT,
    CONVERGED_VALUE,
    DIRECTION,
    ENDED,
    GRADIENT,
    GRADIENT_BEFORE,
    ITERATED,
    MAX_EVALUATIONS,
    MAX_ITERATIONS,
    N_EVALUATIONS,
    N_ITERATIONS,
    N_PAIRS,
    N_TRIALS,
    NEWEST,
    PAIRS,
    PHASE,
    RHO,
    RUNNING,
    SEARCH,
    SEARCH_FAILED,
    SLOPE,
    SLOPE_BEFORE,
    START,
    STATUS,
    STEP,
    THETA,
    VALUE,
    VALUE_BEFORE,
    X_BEFORE,
    X,
)
from .calls.training import Buffers
from .compiler.jit import Kernel, kernel
from .compiler.pointer import call
from .line_search import LONGEST_STEP, begin_search, search_ends
from .options import record_ratios
from .train import loss_and_gradient
from .update import are_finite, sum_parameter_squares
from .vectors.barrier import wait
from .vectors.processor import flush_subnormals, restore_mode
from .vectors.value import add_product, fill, reduce_add_weighted
from .vectors.vector import lanes, load, row, store

EPS = float(np.finfo(np.float64).eps)


# --- the minimiser -------------------------------------------------------------------------------


@kernel
def add_and_dot(factor, i, j, q, vectors):
    """Add `factor` times row i to row q, and return the sum of products of the new row q and row j.

    vectors (R, P). One pass over row q instead of two.
    """
    size, step = vectors.shape[1], lanes(vectors)
    factors, even, odd = fill(vectors, factor), fill(vectors, 0), fill(vectors, 0)
    # An addition waits some cycles for the previous one to the same sum: two sums take half the time.
    end = size - size % (2 * step)
    for k in range(0, size, 2 * step):
        new = add_product(load(vectors, q, k), factors, load(vectors, i, k))
        store(vectors, q, k, new)
        even = add_product(even, new, load(vectors, j, k))
        if k < end:
            new = add_product(load(vectors, q, k + step), factors, load(vectors, i, k + step))
            store(vectors, q, k + step, new)
            odd = add_product(odd, new, load(vectors, j, k + step))
    return reduce_add_weighted(even + odd, fill(vectors, 1))


@kernel
def direction(vectors, numbers, counts):
    """Fill the row `DIRECTION` with ``-H g``, and return the slope and the square of the direction.

    The two-loop recursion (Nocedal, "Updating quasi-Newton matrices with limited storage", 1980) computes
    ``-theta H g``, so that H is the unit matrix before the pairs are taken into account. The kernel also
    copies x and gradient to `X_BEFORE` and `GRADIENT_BEFORE`.
    """
    M, n_pairs, j = (vectors.shape[0] - PAIRS) // 2, counts[N_PAIRS], counts[NEWEST]
    theta = numbers[THETA] if n_pairs > 0 else 1.0
    zero = fill(vectors, 0)
    for k in range(0, vectors.shape[1], lanes(vectors)):
        store(vectors, DIRECTION, k, zero - load(vectors, GRADIENT, k))
    product = 0.0
    for k in range(-1, 2 * n_pairs):  # from the newest pair to the oldest, and back
        # Row to be added and its factor, and the row whose product with the sum comes next.
        added, factor, after, is_back = PAIRS + j, 0.0, j, k >= n_pairs
        if k >= 0 and not is_back:
            numbers[RHO + M + j] = numbers[RHO + j] * product
            added, factor = PAIRS + M + j, -numbers[RHO + M + j]
            after = (j - 1 + M) % M if k < n_pairs - 1 else j
        elif is_back:
            factor = theta * numbers[RHO + M + j] - numbers[RHO + j] * product
            after = (j + 1) % M
        row_after = PAIRS + after + (M if k >= n_pairs - 1 else 0)
        if n_pairs > 0:
            product = add_and_dot(factor, added, row_after, DIRECTION, vectors)
        j = after
    share, slopes, squares = fill(vectors, 1.0 / theta), zero, zero
    for k in range(0, vectors.shape[1], lanes(vectors)):
        x, g = load(vectors, X, k), load(vectors, GRADIENT, k)
        # The direction is a difference of points, as in L-BFGS-B: x plus the direction has no rounding error.
        d = add_product(x, share, load(vectors, DIRECTION, k)) - x
        store(vectors, DIRECTION, k, d)
        store(vectors, X_BEFORE, k, x)
        store(vectors, GRADIENT_BEFORE, k, g)
        slopes, squares = add_product(slopes, g, d), add_product(squares, d, d)
    one = fill(vectors, 1)
    return reduce_add_weighted(slopes, one), reduce_add_weighted(squares, one)


@kernel
def add_pair(vectors, numbers, counts):
    """Add the pair of the last iteration to the ring of pairs, if its curvature is positive."""
    step = numbers[STEP]
    product = step * (numbers[SLOPE] - numbers[SLOPE_BEFORE])
    if not product > EPS * step * -numbers[SLOPE_BEFORE]:  # such a pair would make H indefinite
        return
    M = (vectors.shape[0] - PAIRS) // 2
    newest = (counts[NEWEST] + 1) % M
    steps, squares = fill(vectors, step), fill(vectors, 0)
    for k in range(0, vectors.shape[1], lanes(vectors)):
        store(vectors, PAIRS + newest, k, load(vectors, DIRECTION, k) * steps)
        y = load(vectors, GRADIENT, k) - load(vectors, GRADIENT_BEFORE, k)
        store(vectors, PAIRS + M + newest, k, y)
        squares = add_product(squares, y, y)
    numbers[RHO + newest] = 1.0 / product
    numbers[THETA] = reduce_add_weighted(squares, fill(vectors, 1)) / product
    counts[NEWEST], counts[N_PAIRS] = newest, min(counts[N_PAIRS] + 1, M)


@kernel
def move(step, vectors):
    """Move x to the trial at `step` times the direction from the point before the line search."""
    steps = fill(vectors, step)
    for k in range(0, vectors.shape[1], lanes(vectors)):
        store(vectors, X, k, add_product(load(vectors, X_BEFORE, k), steps, load(vectors, DIRECTION, k)))


@kernel
def find_status(vectors, numbers, counts, limits):
    """Return the status of a minimisation whose x is an iterate."""
    n_iterations = counts[N_ITERATIONS]
    if n_iterations > 0 and n_iterations >= limits.maxiter:
        return MAX_ITERATIONS
    if n_iterations > 0 and counts[N_EVALUATIONS] > limits.maxfun:
        return MAX_EVALUATIONS
    is_flat = True
    for k in range(vectors.shape[1]):
        if not abs(vectors[GRADIENT, k]) <= limits.gtol:
            is_flat = False
            break
    if is_flat:
        return CONVERGED_GRADIENT
    before, value = numbers[VALUE_BEFORE], numbers[VALUE]
    if n_iterations > 0 and before - value <= limits.ftol * max(abs(before), abs(value), 1.0):
        return CONVERGED_VALUE
    return RUNNING


@kernel
def advance(minimiser, limits):
    """Advance a minimisation until it needs value and gradient at x, or x is an iterate, or it ends.

    minimiser, limits: a `Minimiser` and its `Limits`. Value and gradient at x must be up to date if
    ``counts[PHASE]`` is START or SEARCH; the kernel returns the next phase. After ITERATED, a minimisation
    continues with the next call if ``counts[STATUS]`` is RUNNING.
    """
    vectors, numbers, counts = minimiser.vectors, minimiser.numbers, minimiser.counts
    phase = counts[PHASE]
    is_iterate, fails = phase == START, False
    if phase == START:
        counts[N_EVALUATIONS] = 1
    elif phase == SEARCH:
        numbers[SLOPE] = add_and_dot(0.0, DIRECTION, DIRECTION, GRADIENT, vectors)
        is_iterate = search_ends(numbers[VALUE], numbers[SLOPE], numbers)
        if is_iterate:
            counts[N_ITERATIONS] += 1
        else:
            fails = counts[N_TRIALS] == limits.maxls
    elif counts[N_ITERATIONS] > 0:
        add_pair(vectors, numbers, counts)
    if is_iterate:
        counts[STATUS], counts[PHASE] = find_status(vectors, numbers, counts, limits), ITERATED
        return ITERATED

    begins = fails or phase == ITERATED
    while begins:
        if fails:  # return to the last iterate, and search along the gradient unless that has failed
            numbers[VALUE] = numbers[VALUE_BEFORE]
            for k in range(vectors.shape[1]):
                vectors[X, k] = vectors[X_BEFORE, k]
                vectors[GRADIENT, k] = vectors[GRADIENT_BEFORE, k]
            if counts[N_PAIRS] == 0:
                counts[STATUS], counts[PHASE] = SEARCH_FAILED, ENDED
                return ENDED
            counts[N_PAIRS] = 0
        slope, square = direction(vectors, numbers, counts)
        step = min(1.0 / np.sqrt(square), LONGEST_STEP) if counts[N_ITERATIONS] == 0 else 1.0
        begin_search(numbers[VALUE], slope, step, numbers)
        counts[N_TRIALS] = 0
        fails = begins = slope >= 0.0
    move(numbers[STEP], vectors)
    counts[N_TRIALS] += 1
    counts[N_EVALUATIONS] += 1
    counts[PHASE] = SEARCH
    return SEARCH


# --- the training loop ---------------------------------------------------------------------------


@kernel
def keep_iterate(plan, state, settings, records):
    """Record the iterate at `point`, and copy it to parameters and statistics.

    The kernel returns 0 if all numbers are finite. Otherwise it neither records nor copies, and returns 1 for
    a parameter, 2 for a running statistic, or 3 for the loss.
    """
    point, parameters, minimiser = state.point, state.parameters, state.minimiser
    counts, size = minimiser.counts, point.shape[0]
    is_first = counts[N_ITERATIONS] == 0
    loss, penalty = state.losses[0], state.losses[1]
    is_finite = abs(loss + penalty) < np.inf
    if is_first and not is_finite:
        return 3
    if not are_finite(point, 0, size):
        return 1
    for k in range(state.statistics.shape[0]):
        if not abs(state.statistics_at_point[k]) < np.inf:
            return 2
    if not is_finite:
        return 3
    if not is_first:
        n_pass = state.progress[0]
        state.progress[0] = n_pass + 1
        state.losses[2] = settings.loss_share * loss + penalty
        if n_pass % settings.record_every == 0 or n_pass == settings.last_pass:
            record = -(-n_pass // settings.record_every)
            if settings.of_objective:
                records.losses[record] = state.losses[2] * settings.n_samples
            else:
                records.losses[record] = loss / settings.weight_scale
                gradient = row(minimiser.vectors, GRADIENT)
                records.norms[record] = np.sqrt(sum_parameter_squares(gradient, 0, size))
                record_ratios(plan, point, parameters, record, records.ratios)
        for k in range(size):
            parameters[k] = point[k]
    for k in range(state.statistics.shape[0]):
        state.statistics[k] = state.statistics_at_point[k]
    return 0


@kernel
def begin_evaluation(state):
    """Copy x to `point`, in the network's dtype."""
    point, x = state.point, row(state.minimiser.vectors, X)
    for k in range(x.shape[0]):
        point[k] = point.dtype.type(x[k])


@kernel
def end_evaluation(state, settings):
    """Compute the value and the gradient of the objective at x from the shards' losses and gradients."""
    minimiser, losses, gradients = state.minimiser, state.losses, state.gradients
    x, gradient = row(minimiser.vectors, X), row(minimiser.vectors, GRADIENT)
    losses[0] = 0.0
    for shard in range(gradients.shape[0]):
        losses[0] += state.shard_losses[shard]
        if shard == 0:
            for k in range(x.shape[0]):
                gradient[k] = np.float64(gradients[0, k])
        else:
            for k in range(x.shape[0]):
                gradient[k] += np.float64(gradients[shard, k])
    n_weights = settings.n_weights
    reg_lambda = settings.reg_lambda * (settings.weight_scale if settings.of_objective else 1.0)
    for k in range(n_weights):
        gradient[k] += reg_lambda * x[k]
    losses[1] = 0.5 * reg_lambda * sum_parameter_squares(x, 0, n_weights)
    minimiser.numbers[VALUE] = settings.loss_share * losses[0] + losses[1]


@kernel
def advance_training(pointers, plan, state, limits, settings, records):
    """Advance the minimiser, and keep an iterate; return 0 or what is not finite (`keep_iterate`)."""
    phase = call(pointers.advance, (state.minimiser, limits))
    if phase == ITERATED:
        return keep_iterate(plan, state, settings, records)
    if phase == ENDED and not abs(state.losses[0] + state.losses[1]) < np.inf:  # all trials overflowed
        return 3
    return 0


@functools.cache
def lbfgs_iterations(sparse: bool) -> Kernel:
    """Return the kernel of the iterations, on data stored in tiles or on a sparse table.

    Every thread of a `Team` calls the kernel. All threads evaluate the loss, each for some of the shards, and
    the first one does everything else. `train.train_steps` has the same shards.

    The kernel returns after the `Iterations`, or at the end of the minimisation. The result of the first
    thread is 0, or the result of `keep_iterate` if an iterate is not finite: then parameters, statistics and
    records have the values of the iterate before.
    """
    evaluate = loss_and_gradient(sparse)

    @kernel
    def lbfgs_iterations(team, pointers, plan, state, limits, data, settings, records, work, iterations):
        thread, n_threads, barrier = team
        counts, evaluates, gradients = state.minimiser.counts, state.evaluates, state.gradients
        n_samples, size, n_left = settings.n_samples, settings.shard_size, iterations.n_evaluations
        result = 0
        mode = flush_subnormals()
        while True:
            if thread == 0:
                goes_on = counts[STATUS] == RUNNING and state.progress[0] < iterations.last_pass
                if result == 0 and counts[PHASE] == ITERATED and goes_on:
                    result = advance_training(pointers, plan, state, limits, settings, records)
                evaluates[0] = 0
                if result == 0 and n_left > 0 and (counts[PHASE] == START or counts[PHASE] == SEARCH):
                    evaluates[0] = 1
                    begin_evaluation(state)
            wait(barrier, thread, n_threads)
            if evaluates[0] == 0:
                break
            for k in range(thread, gradients.shape[0], n_threads):
                gradient = row(gradients, k)
                for i in range(state.point.shape[0]):
                    gradient[i] = 0
                shard = min(k * size, n_samples), min((k + 1) * size, n_samples)
                units, dunits = row(work.units, thread), row(work.dunits, thread)
                buffers = Buffers(units, dunits, row(work.scratch, thread), gradient)
                state.shard_losses[k] = evaluate(
                    pointers.gradients_of,
                    plan,
                    state.point,
                    state.statistics_at_point,
                    data,
                    settings,
                    shard,
                    row(work.tiles, thread),
                    buffers,
                )
            n_left -= 1
            wait(barrier, thread, n_threads)
            if thread == 0:
                end_evaluation(state, settings)
                result = advance_training(pointers, plan, state, limits, settings, records)
        restore_mode(mode)
        return result

    return lbfgs_iterations
