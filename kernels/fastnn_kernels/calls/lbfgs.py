"""The iterations of L-BFGS and their arguments."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..compiler.entry import FunctionPointer
from ..compiler.kinds import FLOAT64, INT64, Array, Struct, get_kinds
from .formulas import backward_pointer
from .prediction import INDICES, PLAN, REALS
from .training import TEAM, GradientPointers, gradient_kind, gradient_pointers, training_kinds

# Indices of the array `search` (N_SEARCH,). STEP: the trial, or the accepted step. VALUE_BEFORE,
# SLOPE_BEFORE: at step 0. LOWER, UPPER: limits of the next step. WIDTH, WIDTH_BEFORE: widths of the last two
# intervals. BRACKETED: 1 if the interval contains a minimum. MODIFIED: 1 if the interval is still chosen for
# the value minus the least decrease. BEST and OTHER, three numbers each: step, value and slope at the best
# end of the interval, and at the other end.
STEP, VALUE_BEFORE, SLOPE_BEFORE, LOWER, UPPER, WIDTH, WIDTH_BEFORE, BRACKETED, MODIFIED = range(9)
BEST, OTHER, N_SEARCH = 9, 12, 15

# Phases of a minimisation, in ``counts[PHASE]``. START, SEARCH: `advance` needs value and gradient at x, the
# first point or a trial of a line search. ITERATED: x is an iterate. ENDED: a line search has failed, and x
# is the last iterate.
START, SEARCH, ITERATED, ENDED = range(4)
# Why a minimisation has ended, in ``counts[STATUS]``.
RUNNING, CONVERGED_GRADIENT, CONVERGED_VALUE, MAX_ITERATIONS, MAX_EVALUATIONS, SEARCH_FAILED = range(6)

# Indices in `Minimiser.counts`: phase and status; numbers of iterations, of evaluations, and of evaluations
# in the line search; the number of pairs, and the row of the newest.
PHASE, STATUS, N_ITERATIONS, N_EVALUATIONS, N_TRIALS, N_PAIRS, NEWEST, N_COUNTS = range(8)
# Indices in `Minimiser.numbers`, after the state of the line search: value at x, slope along the direction,
# y y / s y of the newest pair, and the first of M numbers 1 / s y, which M numbers for the recursion follow.
VALUE, SLOPE, THETA, RHO = range(N_SEARCH, N_SEARCH + 4)
# Rows of `Minimiser.vectors`: the point x, the gradient there, the direction of the line search, x and
# gradient at its beginning, and the first of M rows with the pairs' s, which M rows with their y follow.
X, GRADIENT, DIRECTION, X_BEFORE, GRADIENT_BEFORE, PAIRS = range(6)


class Minimiser(NamedTuple):
    """State of a minimisation (`new_minimiser`).

    vectors (`PAIRS` + 2 M, P) float64; numbers (`RHO` + 2 M,) float64, which begin with the state of the line
    search; counts (`N_COUNTS`,) int64. The pairs are a ring.
    """

    vectors: Any
    numbers: np.ndarray
    counts: np.ndarray


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


def new_minimiser(size: int, maxcor: int, empty: Callable[[int, type], np.ndarray] = np.empty) -> Minimiser:
    """Return the state of a minimisation that begins at x = 0, for `size` parameters and `maxcor` pairs.

    ``empty(n, dtype)`` returns an uninitialised array.
    """
    vectors = empty((PAIRS + 2 * maxcor) * size, np.float64).reshape(-1, size)
    vectors[X] = 0
    return Minimiser(vectors, np.zeros(RHO + 2 * maxcor), np.zeros(N_COUNTS, np.int64))


class MinimiserState(NamedTuple):
    """The arrays that a training by L-BFGS updates.

    parameters (P,) and statistics of the last iterate are always finite. minimiser: a
    `Minimiser` of the objective. point (P,): x in the network's dtype. gradients (G, P or more) and
    shard_losses (G,) float64: gradient and loss of every shard at the point. statistics_at_point: the running
    statistics, which every evaluation updates. losses (3,) float64: loss and penalty at the point, and the
    objective of the last iterate as it is recorded. progress (1,) int64: iterations recorded. evaluates (1,)
    int64: 1 if all threads are to evaluate the loss next, 0 if the call ends.
    """

    parameters: np.ndarray
    statistics: np.ndarray
    minimiser: Minimiser
    point: np.ndarray
    gradients: np.ndarray
    shard_losses: np.ndarray
    statistics_at_point: np.ndarray
    losses: np.ndarray
    progress: np.ndarray
    evaluates: np.ndarray


class LBFGSPointers(NamedTuple):
    """Pointers that the iterations of L-BFGS call."""

    gradients_of: GradientPointers
    advance: FunctionPointer  # `advance_pointer`


class Iterations(NamedTuple):
    """The iterations of a call, which ends after iteration `last_pass` or after `n_evaluations`."""

    last_pass: int
    n_evaluations: int


MINIMISER = Struct(Minimiser, {"vectors": Array(FLOAT64, 2), "numbers": REALS, "counts": INDICES})
LIMITS = Struct(
    Limits, {**dict.fromkeys(("maxiter", "maxfun", "maxls"), INT64), "ftol": FLOAT64, "gtol": FLOAT64}
)


@functools.cache
def advance_pointer() -> FunctionPointer:
    """Return the pointer to the kernel `lbfgs.advance`, which serves networks of both dtypes."""
    return FunctionPointer("lbfgs.advance", None, {"minimiser": MINIMISER, "limits": LIMITS}, INT64)


@functools.cache
def lbfgs_iterations(sparse: bool, dtype: np.dtype) -> FunctionPointer:
    of = get_kinds(dtype)
    loss = backward_pointer("squared_error", dtype)
    pointers = gradient_pointers(("tanh",), loss, False, False, sparse, False, dtype)
    state = dict.fromkeys(MinimiserState._fields, of.flat) | {
        "minimiser": MINIMISER,
        "gradients": of.matrix,
        "shard_losses": REALS,
        "losses": REALS,
        "progress": INDICES,
        "evaluates": INDICES,
    }
    kinds = {
        "team": TEAM,
        "pointers": Struct(
            LBFGSPointers, {"gradients_of": gradient_kind(pointers), "advance": advance_pointer().kind}
        ),
        "plan": PLAN,
        "state": Struct(MinimiserState, state),
        "limits": LIMITS,
        **training_kinds(False, sparse, dtype),
        "iterations": Struct(Iterations, dict.fromkeys(Iterations._fields, INT64)),
    }
    return FunctionPointer("lbfgs.lbfgs_iterations", (sparse,), kinds, INT64)
