"""The minimiser L-BFGS and its line search: kernels, reference, SciPy and closed forms."""

import numpy as np
import pytest
import scipy.optimize
from hypothesis import assume, example, given
from hypothesis import strategies as st

from fastnn.reference import lbfgs as reference
from fastnn.reference.line_search import LineSearch
from fastnn_kernels import line_search
from fastnn_kernels.calls import lbfgs as calls

LIMITS = {"maxiter": 100, "maxfun": 1000, "maxls": 20, "ftol": 1e-9, "gtol": 1e-6}


def quadratic(size, condition=1e3, seed=0):
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
    "wavy": (wavy, np.linspace(-40, 20, 16)),
    "steep": (lambda x: (np.exp(4 * x).sum() + x @ x, 4 * np.exp(4 * x) + 2 * x), np.linspace(-3, 3, 8)),
    # The gradient has the wrong sign: no line search along it succeeds.
    "ascending": (lambda x: (0.5 * x @ x, -x), np.ones(8)),
    "stationary": (wavy, np.zeros(8)),
}


def kernel_iterates(function, x, maxcor, limits):
    minimiser, advance = calls.new_minimiser(x.size, maxcor), calls.advance_pointer()
    point, gradient = minimiser.vectors[calls.X], minimiser.vectors[calls.GRADIENT]
    point[...] = x
    counts, iterates = minimiser.counts, []
    while counts[calls.PHASE] != calls.ENDED and counts[calls.STATUS] == calls.RUNNING:
        if counts[calls.PHASE] != calls.ITERATED:
            minimiser.numbers[calls.VALUE], gradient[...] = function(point)
        if advance(minimiser, calls.Limits(**limits)) != calls.SEARCH:
            n_iterations, n_evaluations = counts[calls.N_ITERATIONS], counts[calls.N_EVALUATIONS]
            values = point.copy(), minimiser.numbers[calls.VALUE], gradient.copy(), counts[calls.STATUS]
            iterates.append(reference.Iterate(n_iterations, n_evaluations, *values))
    return iterates


def reference_iterates(function, x, maxcor, limits):
    with np.errstate(all="ignore"):
        return list(reference.minimise(function, x, maxcor, reference.Limits(**limits)))


def scipy_result(function, x, maxcor, limits):
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


@pytest.mark.parametrize("name", FUNCTIONS)
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


@pytest.mark.parametrize("maxls", [1, 2, 3])
def test_a_search_along_the_gradient_follows_one_that_fails(maxls):
    """With few evaluations most line searches fail."""
    limits, problem = LIMITS | {"maxls": maxls, "maxiter": 12}, (quadratic(16, 1e2), np.ones(16))
    _, result = scipy_result(*problem, 10, limits)
    for run in (kernel_iterates, reference_iterates):
        *_, last = run(*problem, 10, limits)
        assert (last.n_iterations, last.n_evaluations) == (result.nit, result.nfev)
        np.testing.assert_allclose(last.x, result.x, rtol=1e-8, atol=1e-10)


# Coefficients of functions of the step: sums of a polynomial, a wave and an exponential.
coefficients = st.lists(st.floats(-3, 3, allow_subnormal=False), min_size=5, max_size=5)
first_steps = st.sampled_from([1e-3, 0.1, 1.0, 7.0, 1e3])


def function_of(a):
    """Return a function of the step that returns value and slope; the slope at 0 is negative."""
    fall = abs(a[0]) + 0.1

    def value_and_slope(step):
        value = a[1] ** 2 * step**2 - fall * step + a[2] * np.sin(a[3] * step) - a[2] * a[3] * step
        slope = 2 * a[1] ** 2 * step - fall + a[2] * a[3] * np.cos(a[3] * step) - a[2] * a[3]
        with np.errstate(over="ignore"):
            return float(value + np.exp(a[4] * step)), float(slope + a[4] * np.exp(a[4] * step) - a[4])

    return value_and_slope


def kernel_trials(function, step, most):
    """Return the steps that the kernels try, and True if they accept the last."""
    search = np.zeros(calls.N_SEARCH)
    line_search.begin_search(*function(0.0), step, search)
    steps = [search[calls.STEP]]
    while not (ends := line_search.search_ends(*function(steps[-1]), search)) and len(steps) < most:
        steps.append(search[calls.STEP])
    return steps, ends


def reference_trials(function, step, most):
    """Return the steps that the reference tries, and True if it accepts the last."""
    search = LineSearch(*function(0.0), step)
    steps = [search.step]
    with np.errstate(all="ignore"):
        while not (ends := search.ends(*function(steps[-1]))) and len(steps) < most:
            steps.append(search.step)
    return steps, ends


@given(coefficients, first_steps)
@example([0.0, 1.0, 0.0, 0.0, 0.0], 0.1)  # falls at first, and is as high as at 0 again
@example([0.0, 1.0, 0.0, 0.0, 0.0], 0.09999)
def test_trials_match_the_reference(a, step):
    function = function_of(a)
    (steps, ends), (expected, expected_ends) = (
        trials(function, step, 6) for trials in (kernel_trials, reference_trials)
    )
    # Rounding errors may change the outcome of a comparison within the search: skip such examples.
    assume(len(steps) == len(expected))
    assert ends == expected_ends
    np.testing.assert_allclose(steps, expected, rtol=1e-5)


def test_infinite_values_lead_back_to_the_first_point():
    for trials in (kernel_trials, reference_trials):
        steps, ends = trials(lambda step: (np.inf, 1.0) if step else (0.0, -1.0), 1.0, 20)
        assert (steps, ends) == ([1.0, 0.0], True)
