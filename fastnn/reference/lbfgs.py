"""Minimisation by L-BFGS: line searches along ``-H g``, where H approximates the inverse of the Hessian.

H follows from the last pairs: changes s of the parameters and y of the gradient g (Liu & Nocedal, "On the
limited memory BFGS method for large scale optimization", 1989). Convergence tests and restarts follow
L-BFGS-B without bounds (Zhu, Byrd, Lu & Nocedal, "Algorithm 778", 1997), so that the iterates equal SciPy's
except for rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .line_search import LONGEST_STEP, LineSearch

# Statuses of a minimisation: running, or the reason of its end.
RUNNING, CONVERGED_GRADIENT, CONVERGED_VALUE, MAX_ITERATIONS, MAX_EVALUATIONS, SEARCH_FAILED = range(6)

EPS = np.finfo(np.float64).eps


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


class Iterate(NamedTuple):
    """A point that a minimisation has reached: iterate 0 is the first point."""

    n_iterations: int
    n_evaluations: int
    x: np.ndarray  # (P,)
    value: float
    gradient: np.ndarray  # (P,)
    # `RUNNING`, or why the minimisation has ended. With `SEARCH_FAILED`, the point is the previous
    # iterate's.
    status: int
    before: float = np.nan  # value at the previous iterate; for iterate 0 the same as `value`
    # Pairs (P,) from which the next direction follows, the oldest first.
    S: tuple[np.ndarray, ...] = ()
    Y: tuple[np.ndarray, ...] = ()


def direction(gradient, S, Y):
    """Return ``-H g`` for the gradient g (P,), by the two-loop recursion.

    Nocedal, "Updating quasi-Newton matrices with limited storage", 1980. S and Y are lists of the pairs, the
    oldest first.
    """
    q, alphas = -gradient, []
    for s, y in zip(reversed(S), reversed(Y), strict=True):
        alphas.append((s @ q) / (s @ y))
        q = q - alphas[-1] * y
    if S:
        q = q * (S[-1] @ Y[-1]) / (Y[-1] @ Y[-1])
    for s, y in zip(S, Y, strict=True):
        q = q + (alphas.pop() - (y @ q) / (s @ y)) * s
    return q


def find_status(n_iterations, n_evaluations, before, value, gradient, limits):
    """Return the status of a minimisation at an iterate; `before` is the value of the previous iterate."""
    if n_iterations and n_iterations >= limits.maxiter:
        return MAX_ITERATIONS
    if n_iterations and n_evaluations > limits.maxfun:
        return MAX_EVALUATIONS
    if np.max(np.abs(gradient), initial=0.0) <= limits.gtol:
        return CONVERGED_GRADIENT
    if n_iterations and before - value <= limits.ftol * max(abs(before), abs(value), 1):
        return CONVERGED_VALUE
    return RUNNING


def apply_limits(iterate, limits):
    """Return an iterate with its status under other limits; `SEARCH_FAILED` remains."""
    if iterate.status == SEARCH_FAILED:
        return iterate
    n_iterations, n_evaluations, _, value, gradient, _, before, _, _ = iterate
    return iterate._replace(status=find_status(n_iterations, n_evaluations, before, value, gradient, limits))


def minimise(function, x, maxcor, limits, last=None):
    """Minimise a function, and yield an `Iterate` for the first point and after every iteration.

    The function of x (P,) returns the value and the gradient (P,), in float64; `x` is the first point, and
    `maxcor` the largest number of pairs. The iterate whose status is not `RUNNING` under the limits is the
    last. With `last`, an iterate of an earlier minimisation, that one resumes instead of a new one from `x`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference.lbfgs import Limits, minimise
    >>> def parabola(x):
    ...     return (x - 1) @ (x - 1), 2 * (x - 1)
    >>> *_, last = minimise(parabola, np.zeros(2), 10, Limits(15, 100, 20, 1e-9, 1e-5))
    >>> last.x
    array([1., 1.])
    """
    if last is None:
        value, gradient = function(x)
        last = Iterate(0, 1, x, value, gradient, find_status(0, 1, value, value, gradient, limits), value)
        yield last
    n_iterations, n_evaluations, x, value, gradient, status, before, *pairs = last
    S, Y = (list(vectors) for vectors in pairs)
    while status == RUNNING:
        # L-BFGS-B takes the direction as a difference of points: round in the same way.
        d = (x + direction(gradient, S, Y)) - x
        norm = np.sqrt(d @ d)
        step = 1.0 if n_iterations else min(1 / norm if norm else np.inf, LONGEST_STEP)
        search, n_trials, ends = LineSearch(value, gradient @ d, step), 0, False
        while not ends and n_trials < limits.maxls and not search.slope >= 0:
            n_trials, n_evaluations = n_trials + 1, n_evaluations + 1
            new_x = x + search.step * d
            new_value, new_gradient = function(new_x)
            slope = new_gradient @ d
            ends = search.ends(new_value, slope)
        if ends:
            n_iterations += 1
            status = find_status(n_iterations, n_evaluations, value, new_value, new_gradient, limits)
            # A pair without positive curvature would make H indefinite: leave such a pair out.
            if search.step * (slope - search.slope) > EPS * search.step * -search.slope:
                S.append(search.step * d)
                Y.append(new_gradient - gradient)
                del S[:-maxcor], Y[:-maxcor]
            x, before, value, gradient = new_x, value, new_value, new_gradient
            yield Iterate(n_iterations, n_evaluations, x, value, gradient, status, before, tuple(S), tuple(Y))
        elif S:  # forget the pairs, and search along the gradient
            S.clear()
            Y.clear()
        else:
            status = SEARCH_FAILED
            yield Iterate(n_iterations, n_evaluations, x, value, gradient, status, before)
