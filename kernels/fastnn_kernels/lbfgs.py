"""Training by L-BFGS: the minimiser, and the loop of its iterations.

An iteration is a line search along ``-H g``, where g is the gradient and H approximates the inverse of the
Hessian by the last M pairs: changes s of the parameters and y of the gradient (Liu & Nocedal, "On the limited
memory BFGS method for large scale optimization", 1989). Line search, tests and restarts are those of
L-BFGS-B without bounds (Zhu, Byrd, Lu & Nocedal, "Algorithm 778", 1997), so that the iterates equal SciPy's
except for rounding.

The minimiser evaluates nothing itself: `advance` says where it needs value and gradient. All its numbers are
float64, whatever the dtype of the network.

Shape letters: P parameters (a whole number of vectors), M pairs, R records, L layers.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import types

from .compiler.jit import kernel
from .compiler.pointer import FunctionPointer, array_types, call
from .line_search import (
    LONGEST_STEP,
    N_SEARCH,
    SLOPE_BEFORE,
    STEP,
    VALUE_BEFORE,
    begin_search,
    search_ends,
)
from .step import record_ratios
from .train import loss_and_gradient
from .update import are_finite, parameter_square_sum
from .vectors.processor import flush_subnormals, restore_mode
from .vectors.value import fill, reduce_add_weighted
from .vectors.vector import borrow, lanes, load, row, store, view

__all__ = [
    "CONVERGED_GRADIENT",
    "CONVERGED_VALUE",
    "ENDED",
    "ITERATED",
    "MOST_EVALUATIONS",
    "MOST_ITERATIONS",
    "N_EVALUATIONS",
    "N_ITERATIONS",
    "PHASE",
    "RUNNING",
    "SEARCH",
    "SEARCH_FAILED",
    "STATUS",
    "VALUE",
    "Limits",
    "Minimiser",
    "MinimiserState",
    "advance",
    "advance_pointer",
    "direction",
    "lbfgs_iterations",
    "new_minimiser",
]

# What `advance` needs next, in ``counts[PHASE]``. START, SEARCH: value and gradient at x, the first point or
# a trial of a line search. ITERATED: nothing, x is an iterate. ENDED: nothing, a line search has failed and x
# is the last iterate.
START, SEARCH, ITERATED, ENDED = range(4)
# Why a minimisation has ended, in ``counts[STATUS]``.
RUNNING, CONVERGED_GRADIENT, CONVERGED_VALUE, MOST_ITERATIONS, MOST_EVALUATIONS, SEARCH_FAILED = range(6)

# Indices in `Minimiser.counts`: phase and status; numbers of iterations, of evaluations, and of evaluations
# in the line search; the number of pairs, and the row of the newest.
PHASE, STATUS, N_ITERATIONS, N_EVALUATIONS, N_TRIALS, N_PAIRS, NEWEST, N_COUNTS = range(8)
# Indices in `Minimiser.numbers`: value at x, slope along the direction, and y y / s y of the newest pair.
VALUE, SLOPE, THETA, N_NUMBERS = range(4)

EPS = float(np.finfo(np.float64).eps)


class Minimiser(NamedTuple):
    """State of a minimisation, arrays of float64 (`new_minimiser`).

    x (P,): the point, and value (``numbers[VALUE]``) and gradient (P,) of the function there; direction (P,)
    of the line search; x_before, gradient_before (P,): at its beginning. S, Y (M, P): pairs, a ring; rho
    (M,): 1 / (s y); alpha (M,): workspace. search (N_SEARCH,): state of the line search; numbers
    (N_NUMBERS,); counts (N_COUNTS,) int64.
    """

    x: Any
    gradient: Any
    direction: Any
    x_before: Any
    gradient_before: Any
    S: Any
    Y: Any
    rho: Any
    alpha: Any
    search: Any
    numbers: Any
    counts: Any


class Limits(NamedTuple):
    """Limits of a minimisation.

    maxiter, maxfun: largest numbers of iterations and evaluations; maxls: largest number of evaluations in a
    line search. A minimisation has converged if an iteration reduces the value by at most `ftol` times the
    larger value, or 1, or if no derivative exceeds `gtol`.
    """

    maxiter: int
    maxfun: int
    maxls: int
    ftol: float
    gtol: float


def new_minimiser(size: int, maxcor: int, empty: Any = np.empty) -> Minimiser:
    """Return the state of a minimisation that begins at x = 0, for `size` parameters and `maxcor` pairs.

    ``empty(n, dtype)`` returns an uninitialised array.
    """
    rows = empty((5 + 2 * maxcor) * size, np.float64).reshape(-1, size)
    x, gradient, along, x_before, gradient_before = rows[:5]
    S, Y = rows[5 : 5 + maxcor], rows[5 + maxcor :]
    x[...] = 0
    return Minimiser(
        x, gradient, along, x_before, gradient_before, S, Y, np.zeros(maxcor), np.zeros(maxcor),
        np.zeros(N_SEARCH), np.zeros(N_NUMBERS), np.zeros(N_COUNTS, np.int64),
    )  # fmt: skip


# --- vectors -------------------------------------------------------------------------------------


@kernel
def dot(a, b):
    """Return the sum of products of a (P,) and b (P,)."""
    size, step = a.shape[0], lanes(a)
    a, b = view(a, 0, 1, size), view(b, 0, 1, size)
    # An addition waits some cycles for the previous one to the same sum: two sums take half the time.
    even, odd = fill(a, 0), fill(a, 0)
    end = size - size % (2 * step)
    for k in range(0, end, 2 * step):
        even = even + load(a, 0, k) * load(b, 0, k)
        odd = odd + load(a, 0, k + step) * load(b, 0, k + step)
    if end < size:
        even = even + load(a, 0, end) * load(b, 0, end)
    return reduce_add_weighted(even + odd, fill(a, 1))


@kernel
def add_and_dot(factor, A, i, B, j, q):
    """Compute ``q += factor A[i]``, and return the sum of products of the new q (P,) and ``B[j]``.

    A, B (M, P). One pass over q instead of two.
    """
    size, step = q.shape[0], lanes(q)
    q = view(q, 0, 1, size)
    factors = fill(q, factor)
    even, odd = fill(q, 0), fill(q, 0)
    end = size - size % (2 * step)
    for k in range(0, end, 2 * step):
        first = load(q, 0, k) + factors * load(A, i, k)
        second = load(q, 0, k + step) + factors * load(A, i, k + step)
        store(q, 0, k, first)
        store(q, 0, k + step, second)
        even = even + first * load(B, j, k)
        odd = odd + second * load(B, j, k + step)
    if end < size:
        first = load(q, 0, end) + factors * load(A, i, end)
        store(q, 0, end, first)
        even = even + first * load(B, j, end)
    return reduce_add_weighted(even + odd, fill(q, 1))


@kernel
def add_pair(minimiser, step):
    """Write the pair of the last iteration, of length `step` along the direction, to the ring of pairs."""
    counts, numbers, S, Y = minimiser.counts, minimiser.numbers, minimiser.S, minimiser.Y
    size = S.shape[1]
    newest = (counts[NEWEST] + 1) % S.shape[0]
    squares = fill(S, 0)
    for k in range(0, size, lanes(S)):
        store(S, newest, k, load(view(minimiser.direction, 0, 1, size), 0, k) * fill(S, step))
        y = load(view(minimiser.gradient, 0, 1, size), 0, k) - load(
            view(minimiser.gradient_before, 0, 1, size), 0, k
        )
        store(Y, newest, k, y)
        squares = squares + y * y
    product = step * (numbers[SLOPE] - minimiser.search[SLOPE_BEFORE])
    minimiser.rho[newest] = 1.0 / product
    numbers[THETA] = reduce_add_weighted(squares, fill(S, 1)) / product
    counts[NEWEST], counts[N_PAIRS] = newest, min(counts[N_PAIRS] + 1, S.shape[0])


@kernel
def is_within(gradient, limit):
    """Return True if no absolute value in gradient (P,) is NaN or exceeds `limit`."""
    for k in range(gradient.shape[0]):  # noqa: SIM110  (kernels have no generators)
        if not abs(gradient[k]) <= limit:
            return False
    return True


# --- the minimiser -------------------------------------------------------------------------------


@kernel
def direction(gradient, S, Y, rho, theta, n_pairs, newest, alpha, d):
    """Fill d (P,) with ``-theta H g``: with H = 1 / theta before the updates by `n_pairs` pairs.

    The two-loop recursion (Nocedal, "Updating quasi-Newton matrices with limited storage", 1980): S, Y (M,
    P), a ring whose newest pair is in the row `newest`; rho (M,), 1 / (s y); alpha (M,) is a workspace.
    """
    for k in range(d.shape[0]):
        d[k] = -gradient[k]
    if n_pairs == 0:
        return
    M = S.shape[0]
    product = dot(d, row(S, newest))
    j = newest
    for k in range(2 * n_pairs):  # from the newest pair to the oldest, and back
        if k < n_pairs:
            alpha[j] = rho[j] * product
            factor, added = -alpha[j], Y
            turns = k == n_pairs - 1
            after = j if turns else (j - 1 + M) % M
            other = Y if turns else S
        else:
            factor, added = theta * alpha[j] - rho[j] * product, S
            after = (j + 1) % M if k < 2 * n_pairs - 1 else j
            other = Y
        product = add_and_dot(factor, added, j, other, after, d)
        j = after


@kernel
def turn(minimiser):
    """Find the direction of the line search from x, and return the slope and the square of the direction."""
    counts, numbers = minimiser.counts, minimiser.numbers
    gradient, d, size = minimiser.gradient, minimiser.direction, minimiser.x.shape[0]
    theta = numbers[THETA] if counts[N_PAIRS] > 0 else 1.0
    direction(
        gradient, minimiser.S, minimiser.Y, minimiser.rho, theta, counts[N_PAIRS], counts[NEWEST],
        minimiser.alpha, d,
    )  # fmt: skip
    xs, gs, ds = view(minimiser.x, 0, 1, size), view(gradient, 0, 1, size), view(d, 0, 1, size)
    before, gradient_before = (
        view(minimiser.x_before, 0, 1, size),
        view(minimiser.gradient_before, 0, 1, size),
    )
    shares = fill(xs, 1.0 / theta)
    slopes, squares = fill(xs, 0), fill(xs, 0)
    for k in range(0, size, lanes(xs)):
        x, g = load(xs, 0, k), load(gs, 0, k)
        # The direction is a difference of points, as in L-BFGS-B: x plus the direction has no rounding error.
        along = (x + load(ds, 0, k) * shares) - x
        store(ds, 0, k, along)
        store(before, 0, k, x)
        store(gradient_before, 0, k, g)
        slopes, squares = slopes + g * along, squares + along * along
    one = fill(xs, 1)
    return reduce_add_weighted(slopes, one), reduce_add_weighted(squares, one)


@kernel
def move(minimiser):
    """Move x to the trial: `STEP` times the direction from the point before the line search."""
    x, before, d, step = minimiser.x, minimiser.x_before, minimiser.direction, minimiser.search[STEP]
    for k in range(x.shape[0]):
        x[k] = before[k] + step * d[k]


@kernel
def status_of_iterate(minimiser, limits):
    """Return the status of a minimisation whose x is an iterate."""
    counts, value, before = minimiser.counts, minimiser.numbers[VALUE], minimiser.search[VALUE_BEFORE]
    if counts[N_ITERATIONS] > 0:
        if counts[N_ITERATIONS] >= limits.maxiter:
            return MOST_ITERATIONS
        if counts[N_EVALUATIONS] > limits.maxfun:
            return MOST_EVALUATIONS
    if is_within(minimiser.gradient, limits.gtol):
        return CONVERGED_GRADIENT
    if counts[N_ITERATIONS] > 0 and before - value <= limits.ftol * max(abs(before), abs(value), 1.0):
        return CONVERGED_VALUE
    return RUNNING


@kernel
def advance(minimiser, limits):
    """Advance a minimisation until it needs value and gradient at x, or x is an iterate, or it ends.

    minimiser, limits: a `Minimiser` and its `Limits`. Value and gradient at x must be up to date if
    ``counts[PHASE]`` is START or SEARCH; the kernel returns the next phase. After ITERATED, a minimisation
    continues with the next call if ``counts[STATUS]`` is RUNNING.
    """
    counts, numbers, search = minimiser.counts, minimiser.numbers, minimiser.search
    x, gradient = minimiser.x, minimiser.gradient
    phase = counts[PHASE]
    is_iterate, fails = phase == START, False
    if phase == START:
        counts[N_EVALUATIONS] = 1
    elif phase == SEARCH:
        numbers[SLOPE] = dot(gradient, minimiser.direction)
        is_iterate = search_ends(numbers[VALUE], numbers[SLOPE], search)
        if is_iterate:
            counts[N_ITERATIONS] += 1
        else:
            fails = counts[N_TRIALS] == limits.maxls
    elif counts[N_ITERATIONS] > 0:
        step = search[STEP]
        # A pair without positive curvature would make H indefinite: leave such a pair out.
        if step * (numbers[SLOPE] - search[SLOPE_BEFORE]) > EPS * step * -search[SLOPE_BEFORE]:
            add_pair(minimiser, step)
    if is_iterate:
        counts[STATUS], counts[PHASE] = status_of_iterate(minimiser, limits), ITERATED
        return ITERATED

    begins = fails or phase == ITERATED
    while begins:
        if fails:  # return to the last iterate, and search along the gradient unless that has failed
            numbers[VALUE] = search[VALUE_BEFORE]
            for k in range(x.shape[0]):
                x[k], gradient[k] = minimiser.x_before[k], minimiser.gradient_before[k]
            if counts[N_PAIRS] == 0:
                counts[STATUS], counts[PHASE] = SEARCH_FAILED, ENDED
                return ENDED
            counts[N_PAIRS] = 0
        slope, square = turn(minimiser)
        step = min(1.0 / np.sqrt(square), LONGEST_STEP) if counts[N_ITERATIONS] == 0 else 1.0
        begin_search(numbers[VALUE], slope, step, search)
        counts[N_TRIALS] = 0
        fails = begins = slope >= 0.0
    move(minimiser)
    counts[N_TRIALS] += 1
    counts[N_EVALUATIONS] += 1
    counts[PHASE] = SEARCH
    return SEARCH


@functools.cache
def advance_pointer() -> FunctionPointer:
    """Return a pointer to `advance`, which is compiled once for networks of both dtypes."""
    of = array_types(np.dtype(np.float64))
    flat, matrix = of.flat, of.matrix
    fields = (*[flat] * 5, matrix, matrix, *[flat] * 4, types.Array(types.int64, 1, "C"))
    limits = (types.int64, types.int64, types.int64, types.float64, types.float64)
    return FunctionPointer(advance, (types.NamedTuple(fields, Minimiser), types.NamedTuple(limits, Limits)))


# --- the training loop ---------------------------------------------------------------------------


class MinimiserState(NamedTuple):
    """The arrays that a training by L-BFGS updates.

    parameters (P,) and statistics: those of the last iterate, which are always finite. minimiser: a
    `Minimiser` of the objective. point (P,), gradient (P,): x and the gradient of the loss in the network's
    dtype; statistics_at_point: the running statistics, which every evaluation updates. losses (3,) float64:
    loss and penalty at the point, and the objective of the last iterate as it is recorded. progress (2,)
    int64: iterations recorded, and tiles of the present evaluation done.
    """

    parameters: Any
    statistics: Any
    minimiser: Any
    point: Any
    gradient: Any
    statistics_at_point: Any
    losses: Any
    progress: Any


@kernel
def keep_iterate(plan, state, settings, records):
    """Record the iterate at `point`, and copy it to parameters and statistics.

    The kernel returns the number of the first of these that is not finite: 1, a parameter; 2, a running
    statistic; 3, the loss. It returns 0, and copies and records, if all are finite.
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
                records.norms[record] = np.sqrt(parameter_square_sum(minimiser.gradient, 0, size))
                record_ratios(plan, point, parameters, record, records.ratios)
        for k in range(size):
            parameters[k] = point[k]
    for k in range(state.statistics.shape[0]):
        state.statistics[k] = state.statistics_at_point[k]
    return 0


@functools.cache
def lbfgs_iterations(sparse: bool) -> Any:
    """Return the kernel of the iterations, on data stored in tiles or on a sparse table.

    Its arguments are ``(gradient_of, activate, differentiate, slope, advance, plan, state, limits, data,
    settings, records, work, last_pass, n_rounds)``. The first four are the `train.GradientPointers`; advance,
    the `advance_pointer`; state, a `MinimiserState`; limits, the `Limits` of the minimiser; data, settings
    and work, a `train.Data`, `train.Settings` and a `train.Workspace`; records, those of `train.train_steps`.
    The kernel returns after iteration `last_pass`, after `n_rounds` tiles, or at the end of the minimisation.

    Its result is 0, or the result of `keep_iterate` if an iterate is not finite: then parameters, statistics
    and records are those of the iterate before.
    """
    add_tiles = loss_and_gradient(sparse)

    @kernel
    def lbfgs_iterations(
        gradient_of, activate, differentiate, slope, advance, plan, state, limits, data, settings, records,
        work, last_pass, n_rounds,
    ):  # fmt: skip
        minimiser, progress, losses = state.minimiser, borrow(state.progress), borrow(state.losses)
        counts, x, objective_gradient = (
            borrow(minimiser.counts),
            borrow(minimiser.x),
            borrow(minimiser.gradient),
        )
        point, gradient = borrow(state.point), borrow(state.gradient)
        size, dtype = x.shape[0], point.dtype.type
        reg_lambda = settings.reg_lambda * (settings.weight_scale if settings.of_objective else 1.0)
        result = 0
        mode = flush_subnormals()
        while result == 0 and counts[PHASE] != ENDED:
            if counts[PHASE] == ITERATED:
                if counts[STATUS] != RUNNING or progress[0] >= last_pass:
                    break
            else:
                if n_rounds <= 0:
                    break
                begin = progress[1]
                end = min(begin + n_rounds, settings.n_rounds)
                if begin == 0:
                    losses[0] = 0.0
                    for k in range(size):
                        point[k] = dtype(x[k])
                        gradient[k] = 0
                losses[0] += add_tiles(
                    gradient_of, activate, differentiate, slope, plan, point, state.statistics_at_point, data,
                    settings, settings.seed, (begin, end), work, gradient,
                )  # fmt: skip
                n_rounds -= end - begin
                progress[1] = end % settings.n_rounds
                if end < settings.n_rounds:
                    break
                n_weights = settings.n_weights
                for k in range(size):
                    objective_gradient[k] = np.float64(gradient[k])
                for k in range(n_weights):
                    objective_gradient[k] += reg_lambda * x[k]
                losses[1] = 0.5 * reg_lambda * parameter_square_sum(x, 0, n_weights)
                minimiser.numbers[VALUE] = losses[0] + losses[1]
            phase = call(advance, (minimiser, limits))
            if phase == ITERATED:
                result = keep_iterate(plan, state, settings, records)
            elif phase == ENDED and not abs(losses[0] + losses[1]) < np.inf:  # all trials overflowed
                result = 3
        restore_mode(mode)
        return result

    return lbfgs_iterations
