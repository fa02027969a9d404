"""The activations: kernels against the reference, the reference against closed forms."""

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, Draw, counts, draws, padded, read_only, untouched, widths

import fastnn
from fastnn.reference import layer as reference
from fastnn_kernels import layer as compiled

NAMES = sorted(reference.ACTIVATIONS)
names = st.sampled_from(NAMES)
NEEDS_SUMS = {name for name in NAMES if reference.ACTIVATIONS[name].needs_sums}


def precise(Z):
    """Return Z in the widest format of the platform."""
    return Z.astype(np.longdouble)


def gelu_argument(Z):
    """Return the argument of the sigmoid in gelu."""
    Z = np.clip(precise(Z), -1e4, 1e4)
    return np.sqrt(8 / np.pi) * (Z + 0.044715 * Z**3)


def value_error(name, Z, expected):
    """Return the allowed error of a value: 4 ulp, and the spacing of subnormal numbers."""
    info = np.finfo(Z.dtype)
    ulps = np.full(Z.shape, 4.0)
    if name == "gelu":
        # The exponential magnifies the relative error of its argument u by |u|; beyond 800 it is 0.
        ulps += 4 * np.minimum(np.abs(gelu_argument(Z)), 800)
    # An activation that needs its sums is a product of z and a gate, which is flushed to 0 if subnormal.
    smallest = info.tiny * (np.maximum(np.abs(precise(Z)), 1) if name in NEEDS_SUMS else 1)
    return ulps * info.eps * np.abs(expected) + smallest


def slope_error(name, Z, A):
    """Return the allowed error of a slope: 4 ulp of the terms that it is the sum of."""
    terms = np.ones(Z.shape)
    if name == "selu":
        terms *= reference.Selu.SCALE * reference.Selu.ALPHA
    if name == "silu":
        terms = terms + scipy.special.expit(precise(Z)) * np.abs(precise(Z) - A)
    if name == "gelu":
        # The term g (1 - g) z (2 u)': errors of u count |u| times. Where 1 - g rounds to 0, there is no term.
        z, u = np.clip(precise(Z), -1e4, 1e4), gelu_argument(Z)
        gate = scipy.special.expit(u)
        bend = np.abs(z) * np.sqrt(8 / np.pi) * (1 + 3 * 0.044715 * z**2)
        steep = np.where(np.abs(u) < 800, bend * gate * (1 + (1 - gate) * np.abs(u)), 0)
        terms = terms + np.where(u < -np.log(np.finfo(Z.dtype).eps) + 6, steep, 0)
    return 4 * np.finfo(Z.dtype).eps * terms


def forward(name, Z):
    A = untouched(Z.shape, Z.dtype)
    compiled.activation_forward(name)(read_only(Z), A)
    return A


def backward(name, Z, A, dA):
    dZ = untouched(A.shape, A.dtype)
    compiled.activation_backward(name)(read_only(Z), read_only(A), read_only(dA), dZ)
    return dZ


@given(draws, names, widths, counts)
def test_forward_matches_the_reference(draw: Draw, name, n_units, count):
    Z = draw.array(n_units, draw.padded(count))
    A = forward(name, Z)
    expected = reference.activation_forward(name, precise(Z))
    assert (np.abs(A - expected) <= value_error(name, Z, expected)).all()


@given(draws, names, widths, counts)
def test_backward_matches_the_reference(draw: Draw, name, n_units, count):
    Z = draw.array(n_units, draw.padded(count))
    A = reference.activation_forward(name, precise(Z)).astype(draw.dtype)
    dA = draw.array(*Z.shape)
    dZ = backward(name, Z, A, dA)
    expected = reference.activation_backward(name, precise(Z), precise(A), precise(dA))
    assert (np.abs(dZ - expected) <= slope_error(name, Z, A) * np.abs(dA)).all()


def whole_line(dtype):
    """Return a row of values over the whole line: near 0, at the limits of exp and tanh, and far away."""
    near = np.linspace(-30, 30, 24_001)
    far = np.geomspace(1e-30, 1e30, 3001)
    values = np.concatenate([near, far, -far, [0.0, -0.0, 88, -88, 104, -104, 710, -746]])
    return np.resize(values, padded(len(values), dtype)).astype(dtype)[None]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_values_are_accurate_over_the_whole_line(name, dtype):
    Z = whole_line(dtype)
    expected = reference.activation_forward(name, precise(Z))
    A = forward(name, Z)
    assert (np.abs(A - expected) <= value_error(name, Z, expected)).all()
    # The reference computed in this dtype is as accurate.
    with np.errstate(under="ignore"):
        A = reference.activation_forward(name, Z)
    assert A.dtype == dtype
    assert (np.abs(A - expected) <= value_error(name, Z, expected)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_slopes_are_accurate_over_the_whole_line(name, dtype):
    Z = whole_line(dtype)
    A = reference.activation_forward(name, precise(Z)).astype(dtype)
    expected = reference.activation_backward(name, precise(Z), precise(A), np.longdouble(1))
    bound = slope_error(name, Z, A)
    assert (np.abs(backward(name, Z, A, np.ones_like(A)) - expected) <= bound).all()
    with np.errstate(under="ignore"):
        dZ = reference.activation_backward(name, Z, A, np.ones_like(A))
    assert dZ.dtype == dtype
    assert (np.abs(dZ - expected) <= bound).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_kernels_work_in_place(name, dtype):
    Z = np.linspace(-5, 5, 64, dtype=dtype).reshape(2, 32)
    A, in_place = forward(name, Z), Z.copy()
    compiled.activation_forward(name)(read_only(in_place), in_place)
    np.testing.assert_array_equal(in_place, A)
    dA = np.linspace(1, 2, 64, dtype=dtype).reshape(2, 32)
    dZ = backward(name, Z, A, dA)
    compiled.activation_backward(name)(read_only(Z), read_only(A), read_only(dA), dA)
    np.testing.assert_array_equal(dA, dZ)
    if name not in NEEDS_SUMS:
        # Trainings overwrite the sums by the outputs: the derivative must not depend on the sums.
        dA = np.linspace(1, 2, 64, dtype=dtype).reshape(2, 32)
        np.testing.assert_array_equal(backward(name, A, A, dA), dZ)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_nan_stays_nan(name, dtype):
    Z = np.full((1, padded(1, dtype)), np.nan, dtype)
    assert np.isnan(forward(name, Z)).all()
    assert np.isnan(reference.activation_forward(name, Z)).all()


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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_infinities_lead_to_the_limits(name, dtype):
    # At -inf, activations with a gate compute 0 times -inf. Only a diverged network has such sums: test +inf.
    ends = np.array([1e30] if name in NEEDS_SUMS else [1e30, -1e30])
    far = CLOSED_FORMS.get(name, reference.ACTIVATIONS[name].value)(ends)
    limits = np.where(np.abs(far) > 1e20, np.copysign(np.inf, far), far)
    Z = np.zeros((1, padded(2, dtype)), dtype)
    Z[0, : len(limits)] = [np.inf, -np.inf][: len(limits)]
    for A in (forward(name, Z), reference.activation_forward(name, Z)):
        np.testing.assert_allclose(A[0, : len(limits)], limits, rtol=np.finfo(dtype).eps)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_reference_matches_the_closed_form(name):
    x = np.concatenate([np.linspace(-30, 30, 601), [-800.0, 800.0, -0.0]])
    # In gelu's closed form, 1 + tanh cancels for negative x: the form is less accurate than the reference.
    atol = 4e-16 * 30 if name == "gelu" else 1e-300
    A = reference.ACTIVATIONS[name]().forward(x)
    np.testing.assert_allclose(A, CLOSED_FORMS[name](x), rtol=8e-16, atol=atol)


def test_gelu_approximates_x_times_the_normal_distribution_function():
    x = np.linspace(-8, 8, 1601)
    np.testing.assert_allclose(
        reference.Gelu().forward(x), x * scipy.special.ndtr(x), rtol=0, atol=5e-4
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_reference_slopes_match_central_differences(name):
    x = np.linspace(-4, 4, 80)  # without 0, where some activations have a kink
    layer = reference.ACTIVATIONS[name]()
    step = 1e-6
    expected = (layer.forward(x + step) - layer.forward(x - step)) / (2 * step)
    np.testing.assert_allclose(layer.backward(x, np.ones_like(x)), expected, rtol=1e-7, atol=1e-9)
    # `activation_backward`, which trainings call, takes the outputs.
    A = layer.forward(x)
    Z = x if name in NEEDS_SUMS else None
    np.testing.assert_allclose(
        reference.activation_backward(name, Z, A, 2.0), 2 * expected, rtol=1e-7, atol=1e-9
    )


@pytest.mark.parametrize("name", NAMES)
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
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_slope_at_a_kink_is_the_left_one(name, slope, dtype):
    Z = np.zeros((1, padded(1, dtype)), dtype)
    for dZ in (
        backward(name, Z, Z, np.ones_like(Z)),
        reference.activation_backward(name, Z, Z, np.ones_like(Z)),
    ):
        np.testing.assert_array_equal(dZ, dtype.type(slope))


def test_kernels_and_reference_have_the_same_activations():
    assert compiled.ACTIVATIONS.keys() == reference.ACTIVATIONS.keys()
    for name, activation in compiled.ACTIVATIONS.items():
        assert activation.needs_sums == reference.ACTIVATIONS[name].needs_sums


def test_public_units_compute_the_activations():
    x = np.linspace(-3, 3, 7)
    np.testing.assert_array_equal(fastnn.Tanh().forward(x), np.tanh(x))
    np.testing.assert_array_equal(fastnn.Sigmoid().forward(x), reference.activation_forward("sigmoid", x))


def test_the_base_class_refers_to_its_subclasses():
    for call in (
        lambda: reference.Layer().forward(np.zeros(1)),
        lambda: reference.Layer().backward(np.zeros(1), np.ones(1)),
    ):
        with pytest.raises(TypeError, match="Tanh"):
            call()
