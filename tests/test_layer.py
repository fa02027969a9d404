"""The activations: kernels against the reference, the reference against closed forms."""

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, Draw, counts, draws, read_only, untouched, widths

import fastnn
from fastnn.reference import layer as reference
from fastnn_kernels import layer as compiled

names = st.sampled_from(sorted(reference.ACTIVATIONS))


@given(draws, names, widths, counts)
def test_forward_is_the_reference(draw: Draw, name, n_units, count):
    Z = draw.array(n_units, draw.padded(count))
    A = untouched(Z.shape, draw.dtype)
    compiled.activation_forward(name)(read_only(Z), A)
    expected = reference.activation_forward(name, Z.astype(np.float64))
    eps, tiny = np.finfo(draw.dtype).eps, np.finfo(draw.dtype).tiny
    np.testing.assert_allclose(A, expected, rtol=4 * eps, atol=tiny)
    assert A.dtype == draw.dtype


@given(draws, names, widths, counts)
def test_backward_is_the_reference(draw: Draw, name, n_units, count):
    T = draw.padded(count)
    A = reference.activation_forward(name, draw.array(n_units, T)).astype(draw.dtype)
    dA, dZ = draw.array(n_units, T), untouched((n_units, T), draw.dtype)
    compiled.activation_backward(name)(read_only(A), read_only(dA), dZ)
    expected = reference.activation_backward(name, A.astype(np.float64), dA.astype(np.float64))
    # The slopes are differences of numbers up to 1, so 1 is what their error is relative to.
    eps = np.finfo(draw.dtype).eps
    assert (np.abs(dZ - expected) <= 4 * eps * np.abs(dA)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(reference.ACTIVATIONS))
def test_kernels_work_in_place(name, dtype):
    Z = np.linspace(-5, 5, 64, dtype=dtype).reshape(2, 32)
    A, in_place = np.empty_like(Z), Z.copy()
    compiled.activation_forward(name)(Z, A)
    compiled.activation_forward(name)(in_place, in_place)
    np.testing.assert_array_equal(in_place, A)
    dA = np.ones_like(A)
    dZ = np.empty_like(A)
    compiled.activation_backward(name)(A, dA, dZ)
    compiled.activation_backward(name)(A, dA, dA)
    np.testing.assert_array_equal(dA, dZ)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(reference.ACTIVATIONS))
def test_not_a_number_stays_one(name, dtype):
    Z = np.full((1, 64 // dtype.itemsize), np.nan, dtype)
    A = np.zeros_like(Z)
    compiled.activation_forward(name)(Z, A)
    assert np.isnan(A).all()


def test_by_code_runs_the_activation_named():
    names = ("identity", "sigmoid", "tanh")
    activate = compiled.by_code(compiled.activation_forward, names)
    Z = np.linspace(-2, 2, 8).reshape(1, 8)
    for code, name in enumerate(names):
        A = np.empty_like(Z)
        activate(code, Z, A)
        np.testing.assert_allclose(A, reference.activation_forward(name, Z), rtol=1e-15)


@pytest.mark.parametrize(
    ("layer", "truth"),
    [(fastnn.Tanh, np.tanh), (fastnn.Sigmoid, scipy.special.expit), (reference.Identity, lambda x: x)],
)
def test_reference_is_the_closed_form(layer, truth):
    x = np.concatenate([np.linspace(-30, 30, 601), [-800.0, 800.0, -0.0]])
    np.testing.assert_allclose(layer().forward(x), truth(x), rtol=4e-16, atol=1e-300)


@pytest.mark.parametrize("name", sorted(reference.ACTIVATIONS))
def test_reference_slopes_are_central_differences(name):
    x = np.linspace(-4, 4, 81)
    layer = reference.ACTIVATIONS[name]()
    step = 1e-6
    expected = (layer.forward(x + step) - layer.forward(x - step)) / (2 * step)
    np.testing.assert_allclose(layer.backward(x, np.ones_like(x)), expected, rtol=1e-7, atol=1e-9)
    # Given as one function of the output, too: the form the training uses.
    A = layer.forward(x)
    np.testing.assert_allclose(
        reference.activation_backward(name, A, 2.0), 2 * expected, rtol=1e-7, atol=1e-9
    )


def test_every_activation_has_its_twin():
    assert compiled.ACTIVATIONS.keys() == reference.ACTIVATIONS.keys()


def test_the_base_is_no_activation():
    with pytest.raises(TypeError, match="Tanh"):
        reference.Layer().forward(np.zeros(1))
