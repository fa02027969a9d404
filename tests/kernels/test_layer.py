"""The activations: kernels against the reference, the reference against closed forms."""

import numpy as np
import pytest
import scipy.special
from comparisons import call_kernel
from hypothesis import given
from hypothesis import strategies as st
from strategies import Draw, counts, draws, padded, untouched, widths

import fastnn
from fastnn.reference import layer as reference
from fastnn_kernels.calls.formulas import backward_table, forward_table

NAMES = sorted(reference.ACTIVATIONS)
NEEDS_SUMS = {name for name in NAMES if reference.ACTIVATIONS[name].needs_sums}
every_name = pytest.mark.parametrize("name", NAMES)


def precise(Z):
    return Z.astype(np.longdouble)


def allowed_error(function, exact, dtype, *arrays):
    """Return 4 ulp of the exact result, and of what it would be for arguments that differ by 4 ulp."""
    eps = np.finfo(dtype).eps
    nudged = [function(*(array * (1 + nudge * eps) for array in arrays)) for nudge in (-4, 4)]
    return 4 * eps * np.abs(exact) + np.maximum(*(np.abs(one - exact) for one in nudged))


def forward(name, Z):
    return call_kernel(forward_table((name,), Z.dtype).pointers[0], [Z], [untouched(Z.shape, Z.dtype)])[0]


def backward(name, Z, A, dA):
    (kernel,) = backward_table((name,), Z.dtype).pointers
    return call_kernel(kernel, [Z, A, dA], [untouched(Z.shape, Z.dtype)])[0]


def check(name, Z, dA):
    """Check kernels and reference, computed in the dtype of Z, against the reference in the widest format."""
    info, wide_Z = np.finfo(Z.dtype), precise(Z)
    exact = reference.activation_forward(name, wide_Z)
    error = allowed_error(lambda Z: reference.activation_forward(name, Z), exact, Z.dtype, wide_Z)
    # An activation that needs its sums is a product of z and a gate, which is flushed to 0 if subnormal.
    error += info.tiny * (np.maximum(np.abs(wide_Z), 1) if name in NEEDS_SUMS else 1)
    with np.errstate(under="ignore"):
        for A in (forward(name, Z), reference.activation_forward(name, Z)):
            assert A.dtype == Z.dtype
            assert (np.abs(A - exact) <= error).all()
        A = exact.astype(Z.dtype)

        def slope(Z, A):
            return reference.activation_backward(name, Z, A, np.ones_like(Z))

        exact = slope(wide_Z, precise(A))
        # Slopes are sums of terms of about 1. gelu multiplies the rounding error of a gate near 1.
        n_terms = 12 if name == "gelu" else 2
        error = 4 * info.eps * n_terms + allowed_error(slope, exact, Z.dtype, wide_Z, precise(A))
        for dZ in (backward(name, Z, A, dA), reference.activation_backward(name, Z, A, dA)):
            assert dZ.dtype == Z.dtype
            assert (np.abs(dZ - exact * dA) <= error * np.abs(dA)).all()


@given(draws, st.sampled_from(NAMES), widths, counts)
def test_values_and_derivatives_are_accurate(draw: Draw, name, n_units, count):
    Z, dA = draw.array(2, n_units, draw.padded(count))
    check(name, Z, dA)
    A = forward(name, Z)
    dZ = backward(name, Z, A, dA)
    if name not in NEEDS_SUMS:
        # Trainings overwrite the sums by the outputs: the derivative must not depend on the sums.
        np.testing.assert_array_equal(backward(name, A, A, dA), dZ)
    backward_table((name,), draw.dtype).pointers[0](Z, A, dA, dA)
    np.testing.assert_array_equal(dA, dZ, "in place")
    forward_table((name,), draw.dtype).pointers[0](Z, Z)
    np.testing.assert_array_equal(Z, A, "in place")


@every_name
def test_values_and_slopes_are_accurate_over_the_whole_line(name, dtype):
    """Near 0, at the limits of exp and tanh, and far away."""
    near, far = np.linspace(-30, 30, 24_001), np.geomspace(1e-30, 1e30, 3001)
    values = np.concatenate([near, far, -far, [0.0, -0.0, 88, -88, 104, -104, 710, -746]])
    Z = np.resize(values, padded(len(values), dtype)).astype(dtype)[None]
    check(name, Z, np.ones_like(Z))


# Closed forms, by functions of SciPy where there are any.
CLOSED_FORMS = {
    "identity": lambda x: x,
    "sigmoid": scipy.special.expit,
    "tanh": np.tanh,
    "relu": lambda x: (x + np.abs(x)) / 2,
    "leaky_relu": lambda x: np.maximum(x, x / 100),
    "elu": lambda x: np.maximum(x, 0) + scipy.special.expm1(np.minimum(x, 0)),
    "selu": lambda x: (
        1.0507009873554804934193349852946
        * (np.maximum(x, 0) + 1.6732632423543772848170429916717 * scipy.special.expm1(np.minimum(x, 0)))
    ),
    "softplus": lambda x: -scipy.special.log_expit(-x),
    "silu": lambda x: x * scipy.special.expit(x),
    "gelu": lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "mish": lambda x: x * np.tanh(-scipy.special.log_expit(-x)),
}


@every_name
def test_nan_stays_nan_and_infinities_lead_to_the_limits(name, dtype):
    # At -inf, activations with a gate compute 0 times -inf. Only a diverged network has such sums: test +inf.
    ends = np.array([1e30] if name in NEEDS_SUMS else [1e30, -1e30])
    far = CLOSED_FORMS.get(name, reference.ACTIVATIONS[name].value)(ends)
    expected = [np.nan, *np.where(np.abs(far) > 1e20, np.copysign(np.inf, far), far)]
    Z = np.zeros((1, padded(3, dtype)), dtype)
    Z[0, : len(expected)] = [np.nan, np.inf, -np.inf][: len(expected)]
    for A in (forward(name, Z), reference.activation_forward(name, Z)):
        np.testing.assert_allclose(A[0, : len(expected)], expected, rtol=np.finfo(dtype).eps)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_reference_matches_the_closed_form(name):
    x = np.concatenate([np.linspace(-30, 30, 601), [-800.0, 800.0, -0.0]])
    # In gelu's closed form, 1 + tanh cancels for negative x: the form is less accurate than the reference.
    atol = 4e-16 * 30 if name == "gelu" else 1e-300
    A = reference.ACTIVATIONS[name]().forward(x)
    np.testing.assert_allclose(A, CLOSED_FORMS[name](x), rtol=8e-16, atol=atol)


@every_name
def test_reference_slopes_match_central_differences(name):
    x = np.linspace(-4, 4, 80)  # without 0, where some activations have a kink
    layer, step = reference.ACTIVATIONS[name](), 1e-6
    expected = (layer.forward(x + step) - layer.forward(x - step)) / (2 * step)
    # `activation_backward`, which trainings call, takes the outputs.
    by_output = reference.activation_backward(name, x if name in NEEDS_SUMS else None, layer.forward(x), 1.0)
    for slopes in (layer.backward(x, np.ones_like(x)), by_output):
        np.testing.assert_allclose(slopes, expected, rtol=1e-7, atol=1e-9)


@every_name
def test_kinks_are_declared(name):
    """The derivative jumps or bends at the declared places, and nowhere else."""
    step = 1e-3
    x = step * (np.arange(-12_000, 12_000) + 0.4)
    curvature = np.diff(reference.ACTIVATIONS[name]().backward(x, np.ones(x.size))) / step
    found = x[1:-1][np.abs(np.diff(curvature)) > 0.1]
    kinks = reference.ACTIVATIONS[name].kinks
    assert all(np.abs(found - kink).min() < 2 * step for kink in kinks)
    assert all(min(abs(place - kink) for kink in kinks) < 2 * step for place in found)


@pytest.mark.parametrize(("name", "slope"), [("relu", 0), ("leaky_relu", 0.01)])
def test_the_slope_at_a_kink_is_the_left_one(name, slope, dtype):
    Z = np.zeros((1, padded(1, dtype)), dtype)
    for side in (backward, reference.activation_backward):
        np.testing.assert_array_equal(side(name, Z, Z, np.ones_like(Z)), dtype.type(slope))


def test_public_units_compute_the_activations_and_accept_integers():
    for dtype in (np.uint8, np.int8, np.int64, np.float64):
        x = np.array([[0, 100], [50, 20]], dtype)
        exact = x.astype(float)
        np.testing.assert_array_equal(fastnn.Tanh().forward(x), np.tanh(exact))
        np.testing.assert_array_equal(
            fastnn.Sigmoid().forward(x), reference.activation_forward("sigmoid", exact)
        )
        np.testing.assert_array_equal(fastnn.Softmax().predict(x), fastnn.Softmax().predict(exact))
