"""Elementary functions on vectors: errors of at most 2 ulp in float64 and 4 ulp in float32 for all floats."""

import functools
import math

import mpmath
import numpy as np
import pytest
import scipy.special

from fastnn_kernels.compiler.jit import kernel
from fastnn_kernels.vectors import vmath
from fastnn_kernels.vectors.value import emitter
from fastnn_kernels.vectors.vector import lanes, load, store


def exact_sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


# By name: a function, the same function of float64 by NumPy or SciPy, and by mpmath.
FUNCTIONS = {
    "exp": (vmath.exp, np.exp, mpmath.exp),
    "log": (vmath.log, np.log, mpmath.log),
    "tanh": (vmath.tanh, np.tanh, mpmath.tanh),
    "sigmoid": (vmath.sigmoid, scipy.special.expit, exact_sigmoid),
    "expm1_below": (emitter(vmath.expm1_below), np.expm1, mpmath.expm1),
    "softplus": (
        emitter(vmath.compute_softplus),
        lambda x: np.logaddexp(0, x),
        lambda x: mpmath.log1p(mpmath.exp(x)),
    ),
    "sigmoid_to_zero": (emitter(vmath.sigmoid_to_zero), scipy.special.expit, exact_sigmoid),
    "exp_to_zero": (vmath.exp_to_zero, np.exp, mpmath.exp),
}
# Functions that return 0 where the exact result is subnormal, and functions of arguments up to 0.
FLUSHED_TO_ZERO = {"softplus", "sigmoid_to_zero", "exp_to_zero"}
UP_TO_ZERO = {"expm1_below", "exp_to_zero"}
# Largest errors in ulp; one ulp is the distance from a float to the next.
MAX_ERROR = {np.float64: 2.0, np.float32: 4.0}


@functools.cache
def compiled(name):
    function = FUNCTIONS[name][0]

    @kernel
    def run(x, y):
        for t in range(0, x.shape[1], lanes(x)):
            store(y, 0, t, function(load(x, 0, t)))

    return run


def apply(name, x):
    padded = np.zeros((1, -(-len(x) // 16) * 16), x.dtype)
    padded[0, : len(x)] = x
    y = np.empty_like(padded)
    compiled(name)(padded, y)
    return y[0, : len(x)]


def within_domain(name, x):
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
    # Every 997th bit pattern, and all those around 0, -0 and 1.
    one = np.float32(1).view(np.uint32).item()
    patterns = np.concatenate(
        [np.arange(0, 2**32, 997), np.arange(5000), 2**31 + np.arange(5000), one + np.arange(-5000, 5000)]
    )
    x = within_domain(name, patterns.astype(np.uint32).view(np.float32))
    tiny = np.finfo(np.float32).tiny
    for part in np.array_split(x, len(x) // 20_000):  # the arrays of a part stay in the processor's cache
        with np.errstate(over="ignore", under="ignore"):
            expected = FUNCTIONS[name][1](part.astype(np.float64))
            y = apply(name, part)
            errors = errors_in_ulp(y, expected)
        if name in FLUSHED_TO_ZERO:
            assert (y[expected < tiny * (1 - 1e-6)] == 0).all()
            errors[expected < tiny * (1 + 1e-6)] = 0
        assert errors.max() <= MAX_ERROR[np.float32], part[errors.argmax()]


@functools.cache
def exact(function, x):
    """Return the exact result, rounded to a float, and what remains."""
    with mpmath.workprec(200):
        value = function(mpmath.mpf(x))
        rounded = float(value)
        return rounded, 0.0 if math.isinf(rounded) else float(value - rounded)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float64_errors_are_small_over_the_whole_line(name):
    random = np.random.default_rng(0)
    scales = 2.0 ** random.uniform(-1074, 1023, 1500)
    near = np.concatenate(
        [random.normal(size=4000), random.uniform(-40, 40, 3000), random.uniform(-760, 760, 1500)]
    )
    # Both sides of the points where the range reduction moves on to the next integer.
    log2 = math.log(2)
    edges = (np.arange(-30, 30) + 0.5) * log2
    edges = np.concatenate([edges * f for f in (0.5, 1.0)])
    edges = np.concatenate([edges, np.nextafter(edges, 0)])
    # Arguments where large errors of tanh and sigmoid were found.
    known = [0.5293775158548852, 18.368485302631626, 0.6555624343028523, -1.1375811725411349]
    x = np.concatenate([scales, -scales, near, edges, known, 1 + 2.0**-52 * np.arange(-300, 300)])
    x = within_domain(name, x if name != "log" else np.abs(x))
    y = apply(name, x)
    tiny = np.finfo(np.float64).tiny
    rounded, rest = np.transpose([exact(FUNCTIONS[name][2], value) for value in x.tolist()])
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        errors = np.abs((y - rounded) - rest) / np.spacing(np.abs(rounded))
    errors[np.isinf(rounded) & (y == rounded)] = 0
    if name in FLUSHED_TO_ZERO:
        assert (y[rounded < tiny * (1 - 1e-12)] == 0).all()
        errors[(rounded < tiny * (1 + 1e-12)) & (y == 0)] = 0
    assert (errors <= MAX_ERROR[np.float64]).all(), x[errors.argmax()]


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
