"""The parameter update: kernel against the reference, the reference against the rule by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, Draw, draws, read_only, tolerance

from fastnn.reference import update as reference
from fastnn_kernels import update as compiled

rates = st.sampled_from([0.0, 1e-3, 0.1, 2.0])


@given(draws, st.integers(0, 200), st.integers(0, 40), rates, rates)
def test_kernel_is_the_reference(draw: Draw, n_weights, n_biases, epsilon, reg_lambda):
    gradient, parameters = draw.array(n_weights + n_biases), draw.array(n_weights + n_biases)
    expected = parameters.astype(np.float64)
    assert reference.gradient_descent(gradient.astype(np.float64), n_weights, epsilon, reg_lambda, expected)
    scale = np.abs(parameters) + epsilon * (np.abs(gradient) + reg_lambda * np.abs(parameters))
    rates = draw.dtype.type(epsilon), draw.dtype.type(reg_lambda)
    assert compiled.gradient_descent(read_only(gradient), n_weights, *rates, parameters)
    assert parameters.dtype == draw.dtype
    assert (np.abs(parameters - expected) <= tolerance(draw.dtype) * scale).all()


@pytest.mark.parametrize("update", [compiled.gradient_descent, reference.gradient_descent])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_not_finite_is_told(update, dtype, value):
    for position in (0, 3, 4, 6):
        parameters, gradient = np.ones(7, dtype), np.zeros(7, dtype)
        gradient[position] = value
        assert not update(gradient, 4, dtype.type(0.1), dtype.type(0), parameters)


def test_reference_decays_weights_only():
    parameters = np.array([1.0, -2.0, 3.0])
    assert reference.gradient_descent(np.array([0.5, 0.5, 0.5]), 2, 0.1, 0.2, parameters)
    np.testing.assert_allclose(parameters, [1 - 0.1 * (0.5 + 0.2), -2 - 0.1 * (0.5 - 0.4), 3 - 0.1 * 0.5])
