"""The line search of Moré & Thuente: kernels against the reference."""

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from fastnn.reference import line_search as reference
from fastnn.reference.line_search import Trial
from fastnn_kernels import line_search as compiled

numbers = st.floats(-10, 10, allow_subnormal=False)
slopes = numbers.filter(lambda slope: abs(slope) > 1e-3)
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
    search = np.zeros(compiled.N_SEARCH)
    compiled.begin_search(*function(0.0), step, search)
    steps = [search[compiled.STEP]]
    while not (ends := compiled.search_ends(*function(steps[-1]), search)) and len(steps) < most:
        steps.append(search[compiled.STEP])
    return steps, ends


def reference_trials(function, step, most):
    """Return the steps that the reference tries, and True if it accepts the last."""
    search = reference.LineSearch(*function(0.0), step)
    steps = [search.step]
    with np.errstate(all="ignore"):
        while not (ends := search.ends(*function(steps[-1]))) and len(steps) < most:
            steps.append(search.step)
    return steps, ends


def trials_at(step):
    return st.builds(Trial, step, numbers, slopes)


@given(trials_at(st.just(0.0)), trials_at(st.just(2.0)), trials_at(numbers), st.booleans())
def test_interpolation_matches_the_reference(best, other, trial, is_bracketed):
    assume(abs(trial.step) > 1e-3 and abs(trial.step - 2.0) > 1e-3)
    assume(abs(abs(trial.slope) - abs(best.slope)) > 1e-6 and abs(trial.value - best.value) > 1e-6)
    with np.errstate(all="ignore"):
        expected = reference.interpolate(best, other, trial, is_bracketed, 0.5, 4.0)
    found = compiled.interpolate(tuple(best), tuple(other), tuple(trial), is_bracketed, 0.5, 4.0)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6, atol=1e-9)
    assert found[1:] == tuple(tuple(part) if isinstance(part, Trial) else part for part in expected[1:])


@given(coefficients, first_steps)
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
