"""The minimiser L-BFGS: kernels against the reference, the reference against SciPy and closed forms."""

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st
from strategies import seeds

from fastnn.reference import lbfgs as reference
from fastnn_kernels import lbfgs as compiled
from fastnn_kernels.calls import lbfgs as calls

LIMITS = {"maxiter": 100, "maxfun": 1000, "maxls": 20, "ftol": 1e-9, "gtol": 1e-6}


def quadratic(size, condition=1e3, seed=0):
    """Return a random convex quadratic function of `size` variables."""
    random = np.random.default_rng(seed)
    Q, _ = np.linalg.qr(random.standard_normal((size, size)))
    H, b = Q * np.geomspace(1, condition, size) @ Q.T, random.standard_normal(size)
    return lambda x: (0.5 * x @ H @ x - b @ x, H @ x - b)


def wavy(x):
    return np.sum(np.log1p(x * x) + 0.1 * np.cos(5 * x)), 2 * x / (1 + x * x) - 0.5 * np.sin(5 * x)


# Functions that return value and gradient, and their first points.
FUNCTIONS = {
    "rosenbrock": (lambda x: (scipy.optimize.rosen(x), scipy.optimize.rosen_der(x)), np.linspace(-1, 1.5, 8)),
    "quadratic": (quadratic(24), np.zeros(24)),
    "round": (quadratic(16, 1e2), np.ones(16)),
    "wavy": (wavy, np.linspace(-40, 20, 16)),
    "steep": (lambda x: (np.exp(4 * x).sum() + x @ x, 4 * np.exp(4 * x) + 2 * x), np.linspace(-3, 3, 8)),
    # The gradient has the wrong sign: no line search along it succeeds.
    "ascending": (lambda x: (0.5 * x @ x, -x), np.ones(8)),
    "stationary": (wavy, np.zeros(8)),
}


def kernel_iterates(function, x, maxcor, limits):
    """Return the iterates of the kernels, in the form of the reference's."""
    minimiser = calls.new_minimiser(x.size, maxcor)
    point, gradient = minimiser.vectors[calls.X], minimiser.vectors[calls.GRADIENT]
    point[...] = x
    counts, iterates = minimiser.counts, []
    while counts[calls.PHASE] != calls.ENDED and counts[calls.STATUS] == calls.RUNNING:
        if counts[calls.PHASE] != calls.ITERATED:
            minimiser.numbers[calls.VALUE], gradient[...] = function(point)
        if compiled.advance(minimiser, calls.Limits(**limits)) != calls.SEARCH:
            n_iterations, n_evaluations = counts[calls.N_ITERATIONS], counts[calls.N_EVALUATIONS]
            values = point.copy(), minimiser.numbers[calls.VALUE], gradient.copy(), counts[calls.STATUS]
            iterates.append(reference.Iterate(n_iterations, n_evaluations, *values))
    return iterates


def reference_iterates(function, x, maxcor, limits):
    with np.errstate(all="ignore"):
        return list(reference.minimise(function, x, maxcor, reference.Limits(**limits)))


def scipy_result(function, x, maxcor, limits):
    """Return SciPy's iterates (n, P) and result."""
    iterates = []

    def keep(intermediate_result):
        iterates.append(intermediate_result.x.copy())

    options = {**limits, "maxcor": maxcor}
    with np.errstate(all="ignore"):
        result = scipy.optimize.minimize(function, x, (), "L-BFGS-B", True, callback=keep, options=options)
    return np.array(iterates).reshape(-1, x.size), result


def assert_equal_runs(found, expected, n_compared=9):
    """Check that the first iterates agree; every iteration multiplies the rounding errors."""
    for one, other in zip(found[:n_compared], expected[:n_compared], strict=False):
        assert one.n_iterations == other.n_iterations
        np.testing.assert_allclose(one.x, other.x, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(one.gradient, other.gradient, rtol=1e-5, atol=1e-6)
        assert one.value == pytest.approx(other.value, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - {"round"}))
@pytest.mark.parametrize("maxcor", [1, 4, 50])
def test_iterates_match_the_reference_and_scipy(name, maxcor):
    function, x = FUNCTIONS[name]
    found, expected = (run(function, x, maxcor, LIMITS) for run in (kernel_iterates, reference_iterates))
    iterates, result = scipy_result(function, x, maxcor, LIMITS)
    assert_equal_runs(found, expected)
    points = np.array([iterate.x for iterate in expected if iterate.n_iterations]).reshape(-1, x.size)
    n_compared = min(len(iterates), len(points), 8)
    np.testing.assert_allclose(points[:n_compared], iterates[:n_compared], rtol=1e-6, atol=1e-8)
    if name != "quadratic" and maxcor > 1:  # runs of few iterations, in which rounding errors stay small
        assert found[-1].n_iterations == expected[-1].n_iterations == result.nit
        assert found[-1].status == expected[-1].status
        status = {reference.SEARCH_FAILED: 2, reference.MAX_ITERATIONS: 1, reference.MAX_EVALUATIONS: 1}
        assert status.get(expected[-1].status, 0) == result.status
        np.testing.assert_allclose(found[-1].x, result.x, rtol=1e-3, atol=1e-4)


# With few evaluations most line searches fail, and the next one starts along the negative gradient.
@pytest.mark.parametrize(
    ("name", "changed", "status"),
    [
        ("rosenbrock", {"maxiter": 3}, reference.MAX_ITERATIONS),
        ("rosenbrock", {"maxfun": 4}, reference.MAX_EVALUATIONS),
        ("rosenbrock", {"ftol": 0.5}, reference.CONVERGED_VALUE),
        ("rosenbrock", {"gtol": 30.0}, reference.CONVERGED_GRADIENT),
        ("rosenbrock", {"gtol": 1e9}, reference.CONVERGED_GRADIENT),
        ("rosenbrock", {"maxls": 1}, reference.SEARCH_FAILED),
        *(("round", {"maxls": maxls, "maxiter": 12}, None) for maxls in (1, 2, 3)),
    ],
)
def test_every_ending_matches_scipy(name, changed, status):
    function, x = FUNCTIONS[name]
    limits = LIMITS | changed
    iterates, result = scipy_result(function, x, 10, limits)
    for run in (kernel_iterates, reference_iterates):
        *_, last = found = run(function, x, 10, limits)
        assert status in (None, last.status)
        assert last.n_iterations == result.nit == len(iterates)
        assert last.n_evaluations == result.nfev
        np.testing.assert_allclose(last.x, result.x, rtol=1e-8, atol=1e-10)
        if last.status != reference.SEARCH_FAILED:  # SciPy then returns the value of the last trial
            assert last.value == pytest.approx(result.fun, rel=1e-9)
        assert all(iterate.status == reference.RUNNING for iterate in found[:-1])


@given(seeds, st.integers(1, 4), st.integers(1, 6), st.integers(0, 9))
def test_directions_match_the_reference_and_the_bfgs_matrix(seed, n_vectors, maxcor, n_pairs):
    random, size = np.random.default_rng(seed), 8 * n_vectors
    gradient = random.standard_normal(size)
    S = list(random.standard_normal((n_pairs, size)))
    Y = [s + 0.3 * random.standard_normal(size) for s in S]
    Y = [y if s @ y > 0 else s for s, y in zip(S, Y, strict=True)]
    S, Y = S[-maxcor:], Y[-maxcor:]
    expected = reference.direction(gradient, S, Y)

    H = np.eye(size) * ((S[-1] @ Y[-1]) / (Y[-1] @ Y[-1]) if S else 1)
    for s, y in zip(S, Y, strict=True):
        V = np.eye(size) - np.outer(y, s) / (s @ y)
        H = V.T @ H @ V + np.outer(s, s) / (s @ y)
    scale = np.abs(H).max() * np.linalg.norm(gradient) * size
    np.testing.assert_allclose(expected, -H @ gradient, rtol=1e-8, atol=1e-11 * scale)

    minimiser = calls.new_minimiser(size, maxcor)
    vectors, numbers, counts = minimiser
    vectors[calls.PAIRS :] = np.nan
    vectors[calls.X], vectors[calls.GRADIENT] = random.standard_normal(size), gradient
    x = vectors[calls.X].copy()
    for k, (s, y) in enumerate(zip(S, Y, strict=True)):  # the pairs begin anywhere in the ring
        at = counts[calls.NEWEST] = (k + n_pairs) % maxcor
        vectors[calls.PAIRS + at], vectors[calls.PAIRS + maxcor + at] = s, y
        numbers[calls.RHO + at], numbers[calls.THETA] = 1 / (s @ y), (y @ y) / (s @ y)
    counts[calls.N_PAIRS] = len(S)
    slope, square = compiled.direction(*minimiser)
    found = vectors[calls.DIRECTION]
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-11 * scale)
    assert slope == pytest.approx(gradient @ found, rel=1e-8, abs=1e-11 * scale)
    assert square == pytest.approx(found @ found, rel=1e-8)
    np.testing.assert_array_equal(vectors[calls.X_BEFORE], x)
    np.testing.assert_array_equal(vectors[calls.GRADIENT_BEFORE], gradient)
