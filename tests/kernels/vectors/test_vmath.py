"""Elementary functions on vectors: errors of at most 2 ulp in float64 and 4 ulp in float32 for all floats."""

import functools
import math

import mpmath
import numba
import numpy as np
import pytest
import scipy.special

from fastnn_kernels.compiler.jit import OPTIONS
from fastnn_kernels.vectors import vmath
from fastnn_kernels.vectors.value import emitter
from fastnn_kernels.vectors.vector import lanes, load, store

FUNCTIONS = {
    "exp": vmath.exp,
    "log": vmath.log,
    "tanh": vmath.tanh,
    "sigmoid": vmath.sigmoid,
    "expm1_below": emitter(vmath.expm1_below),
    "softplus": emitter(vmath.softplus_of),
    "sigmoid_to_zero": emitter(vmath.sigmoid_to_zero),
    "exp_to_zero": vmath.exp_to_zero,
}
# Functions that return 0 where the exact result is subnormal, and functions of arguments up to 0.
FLUSHED_TO_ZERO = {"softplus", "sigmoid_to_zero", "exp_to_zero"}
UP_TO_ZERO = {"expm1_below", "exp_to_zero"}
# Largest errors in ulp; one ulp is the distance from a float to the next.
MAX_ERROR = {np.float64: 2.0, np.float32: 4.0}


@functools.cache
def compiled(name):
    """Return the kernel ``(x, y)`` that writes the function `name` of every value of x to y."""
    function = FUNCTIONS[name]

    @numba.njit(**OPTIONS)  # not @kernel, whose cache on disk does not notice changes of this file
    def run(x, y):
        for t in range(0, x.shape[1], lanes(x)):
            store(y, 0, t, function(load(x, 0, t)))

    return run


def apply(name, x):
    """Return the kernel function `name` of every value of the one-dimensional x."""
    padded = np.zeros((1, -(-len(x) // 16) * 16), x.dtype)
    padded[0, : len(x)] = x
    y = np.empty_like(padded)
    compiled(name)(padded, y)
    return y[0, : len(x)]


def within_domain(name, x):
    """Return the numbers of x in the domain of the function `name`."""
    x = x[np.isfinite(x)]
    if name == "log":
        return x[x > 0]
    return x[x <= 0] if name in UP_TO_ZERO else x


def errors_in_ulp(y, truth):
    """Return the distance of y from the truth, an array of a wider dtype, in ulp of y's dtype."""
    truth_rounded = truth.astype(y.dtype)
    ulp = np.spacing(np.abs(truth_rounded)).astype(truth.dtype)
    with np.errstate(invalid="ignore"):
        error = np.abs((y.astype(truth.dtype) - truth) / ulp)
    return np.where(np.isinf(truth_rounded), np.where(y == truth_rounded, 0.0, np.inf), error)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_errors_are_small_over_the_whole_line(name):
    truth = {
        "exp": np.exp,
        "log": np.log,
        "tanh": np.tanh,
        "sigmoid": scipy.special.expit,
        "expm1_below": np.expm1,
        "softplus": lambda x: np.logaddexp(0, x),
        "sigmoid_to_zero": scipy.special.expit,
        "exp_to_zero": np.exp,
    }[name]
    # Every 499th bit pattern, and all those around 0, -0 and 1.
    one = np.float32(1).view(np.uint32).item()
    patterns = np.concatenate(
        [np.arange(0, 2**32, 499), np.arange(5000), 2**31 + np.arange(5000), one + np.arange(-5000, 5000)]
    )
    x = patterns.astype(np.uint32).view(np.float32)
    x = within_domain(name, x)
    tiny = np.finfo(np.float32).tiny
    for part in np.array_split(x, len(x) // 20_000):  # the arrays of a part stay in the processor's cache
        with np.errstate(over="ignore", under="ignore"):
            expected = truth(part.astype(np.float64))
            y = apply(name, part)
            errors = errors_in_ulp(y, expected)
        if name in FLUSHED_TO_ZERO:
            assert (y[expected < tiny * (1 - 1e-6)] == 0).all()
            errors[expected < tiny * (1 + 1e-6)] = 0
        assert errors.max() <= MAX_ERROR[np.float32], part[errors.argmax()]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float64_errors_are_small_over_the_whole_line(name):
    truth = {
        "exp": mpmath.exp,
        "log": mpmath.log,
        "tanh": mpmath.tanh,
        "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
        "expm1_below": mpmath.expm1,
        "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
        "sigmoid_to_zero": lambda x: 1 / (1 + mpmath.exp(-x)),
        "exp_to_zero": mpmath.exp,
    }[name]
    random = np.random.default_rng(0)
    scales = 2.0 ** random.uniform(-1074, 1023, 1500)
    near = np.concatenate(
        [random.normal(size=4000), random.uniform(-40, 40, 3000), random.uniform(-760, 760, 1500)]
    )
    # Both sides of the points where the range reduction moves on to the next integer.
    log2 = math.log(2)
    edges = (np.arange(-30, 30) + 0.5) * log2
    edges = np.concatenate([edges * f for f in (0.5, 1.0)])
    edges = np.concatenate([edges, np.nextafter(edges, 0), edges + 0.0866, edges - 0.0866])
    x = np.concatenate([scales, -scales, near, edges, 1 + 2.0**-52 * np.arange(-300, 300)])
    x = within_domain(name, x if name != "log" else np.abs(x))
    y = apply(name, x)
    tiny = np.finfo(np.float64).tiny
    with mpmath.workprec(200), np.errstate(over="ignore", under="ignore"):
        for value, result in zip(x, y, strict=True):
            exact = truth(mpmath.mpf(float(value)))
            rounded = float(exact)
            if name in FLUSHED_TO_ZERO and rounded < tiny * (1 + 1e-12):
                assert result == 0 or rounded > tiny * (1 - 1e-12)
                continue
            if math.isinf(rounded):
                assert result == rounded
                continue
            error = abs(mpmath.mpf(float(result)) - exact) / float(np.spacing(abs(rounded)))
            assert error <= MAX_ERROR[np.float64], value


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("name", "cases"),
    [
        ("exp", [(0.0, 1.0), (-0.0, 1.0), (math.inf, math.inf), (-math.inf, 0.0), (math.nan, math.nan)]),
        ("log", [(0.0, -math.inf), (-0.0, -math.inf), (1.0, 0.0), (math.inf, math.inf)]),
        ("log", [(-1.0, math.nan), (-math.inf, math.nan), (-1e-45, math.nan), (math.nan, math.nan)]),
        ("tanh", [(0.0, 0.0), (-0.0, -0.0), (math.inf, 1.0), (-math.inf, -1.0), (math.nan, math.nan)]),
        ("sigmoid", [(0.0, 0.5), (-0.0, 0.5), (math.inf, 1.0), (-math.inf, 0.0), (math.nan, math.nan)]),
        ("sigmoid_to_zero", [(0.0, 0.5), (math.inf, 1.0), (-math.inf, 0.0), (math.nan, math.nan)]),
        ("expm1_below", [(0.0, 0.0), (-math.inf, -1.0), (math.nan, math.nan)]),
        ("exp_to_zero", [(0.0, 1.0), (-0.0, 1.0), (-math.inf, 0.0), (math.nan, math.nan)]),
        ("softplus", [(-math.inf, 0.0), (math.inf, math.inf), (math.nan, math.nan)]),
    ],
)
def test_special_arguments_have_exact_values(name, cases, dtype):
    x, expected = np.array(cases, dtype).T
    y = apply(name, x)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(np.signbit(y)[~np.isnan(y)], np.signbit(expected)[~np.isnan(y)])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_tanh_is_odd_and_stays_within_one(dtype):
    x = np.linspace(0, 25, 200_001).astype(dtype)
    y = apply("tanh", x)
    np.testing.assert_array_equal(apply("tanh", -x), -y)
    assert y.max() == 1
    assert (y <= 1).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_divide_is_within_0_51_ulp(dtype):
    @numba.njit(**OPTIONS)
    def run(x, y, z):
        for t in range(0, x.shape[1], lanes(x)):
            store(z, 0, t, vmath.divide(load(x, 0, t), load(y, 0, t)))

    random = np.random.default_rng(0)
    x = random.normal(size=(1, 40_000)).astype(dtype)
    y = (10.0 ** random.uniform(-30, 30, x.shape)).astype(dtype)
    z = np.empty_like(x)
    run(x, y, z)
    truth = x.astype(np.longdouble) / y
    np.testing.assert_array_less(np.abs(z - truth), 0.51 * np.spacing(np.abs(truth).astype(dtype)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_quotient_is_the_division_of_the_processor(dtype):
    @numba.njit(**OPTIONS)
    def run(x, y, out):
        for t in range(0, x.shape[1], lanes(x)):
            store(out, 0, t, vmath.quotient(load(x, 0, t), load(y, 0, t)))

    random = np.random.default_rng(0)
    info = np.finfo(dtype)
    x, y = (2.0 ** random.uniform(info.minexp, info.maxexp, (2, 1, 4000))).astype(dtype)
    x[0, :3], y[0, :3] = [np.nan, 1, 0], [3, 0, 0]
    out = np.empty_like(x)
    run(x, y, out)
    with np.errstate(all="ignore"):
        # quotient() replaces a denominator below the normal range by the smallest normal number.
        np.testing.assert_array_equal(out, x / np.maximum(y, info.tiny))
    assert out[0, 2] == 0


@pytest.mark.parametrize("offset", [0.0, 1e-8, 0.5])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_over_root_divides_by_the_root_plus_offset(dtype, offset):
    @numba.njit(**OPTIONS)
    def run(x, square, offset, out):
        for t in range(0, x.shape[1], lanes(x)):
            store(out, 0, t, vmath.over_root(load(x, 0, t), load(square, 0, t), offset))

    random = np.random.default_rng(0)
    info = np.finfo(dtype)
    square = (2.0 ** random.uniform(info.minexp, info.maxexp, (1, 40_000))).astype(dtype)
    x = (random.normal(size=square.shape) * np.sqrt(square)).astype(dtype)
    # 0 for 0 / 0 and for a finite number / infinity; NaN if an operand is NaN and for infinity / infinity.
    x[0, :7], square[0, :7] = (
        [0, 3, -3, 1, np.nan, np.inf, np.nan],
        [0, np.inf, np.inf, np.nan, 1, np.inf, np.inf],
    )
    square[0, 7], x[0, 7] = info.max, 1
    offset = dtype(offset)
    out = np.empty_like(x)
    run(x, square, offset, out)
    assert (out[0, :3] == 0).all()
    assert np.isnan(out[0, 3:7]).all()
    truth = x[0, 7:] / (np.sqrt(square[0, 7:].astype(np.longdouble)) + offset)
    # 4 ulp: one of the root, two of the divisor, one of the quotient.
    assert (np.abs(out[0, 7:] - truth) <= 4 * info.eps * np.abs(truth)).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_selections_handle_ties_and_nan(dtype):
    @numba.njit(**OPTIONS)
    def run(x, y, out):
        for t in range(0, x.shape[1], lanes(x)):
            a, b = load(x, 0, t), load(y, 0, t)
            store(out, 0, t, vmath.maximum(a, b))
            store(out, 1, t, vmath.where_equal(a, b, 1.0, b))
            store(out, 2, t, vmath.where_greater(a, b, a, 7.0))
            store(out, 3, t, vmath.sign(a))

    x = np.zeros((1, 64 // dtype().itemsize), dtype)
    y = np.zeros_like(x)
    x[0, :6], y[0, :6] = [1, 5, 3, math.nan, -2, -0.0], [2, 4, 3, 1, math.nan, 0]
    out = np.full((4, x.shape[1]), 99, dtype)
    run(x, y, out)
    np.testing.assert_array_equal(out[0, 3:5], [math.nan, -2])  # NaN only if a is NaN
    np.testing.assert_array_equal(out[1, 3:5], [1, math.nan])  # NaN equals nothing
    np.testing.assert_array_equal(out[2, 3:5], [7, 7])  # NaN is not greater than anything
    np.testing.assert_array_equal(out[3, 3:6], [0, -1, 0])
    np.testing.assert_array_equal(out[1, :3], [2, 4, 1])
    np.testing.assert_array_equal(out[0, :3], [2, 5, 3])
    np.testing.assert_array_equal(out[2, :3], [7, 5, 7])
    np.testing.assert_array_equal(out[3, :3], [1, 1, 1])
