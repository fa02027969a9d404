"""Knots of the activations: kernels and reference find them where the exact derivative turns."""

import itertools

import mpmath
import numpy as np
import pytest

from fastnn.reference import curvature as reference
from fastnn.reference import layer as reference_layer
from fastnn_kernels import curvature as compiled
from fastnn_kernels.layer import ACTIVATIONS

every_name = pytest.mark.parametrize("name", sorted(ACTIVATIONS))


def sigmoid(z):
    return 1 / (1 + mpmath.exp(-z))


def selu_slope(z):
    scale = mpmath.mpf(reference_layer.Selu.SCALE)
    return scale if z >= 0 else scale * mpmath.mpf(reference_layer.Selu.ALPHA) * mpmath.exp(z)


def gelu_slope(z):
    k = mpmath.mpf(0.044715)
    gate = sigmoid(mpmath.sqrt(8 / mpmath.pi) * (z + k * z**3))
    return gate + gate * (1 - gate) * z * mpmath.sqrt(8 / mpmath.pi) * (1 + 3 * k * z**2)


def mish_slope(z):
    e = mpmath.exp(z)
    n = e * (e + 2)
    return n / (n + 2) + 4 * z * e * (1 + e) / (n + 2) ** 2


# Derivatives in mpmath's arithmetic; at a jump, the value to the right.
EXACT_SLOPES = {
    "identity": lambda z: mpmath.mpf(1),
    "sigmoid": lambda z: sigmoid(z) * (1 - sigmoid(z)),
    "tanh": lambda z: mpmath.sech(z) ** 2,
    "relu": lambda z: mpmath.mpf(z >= 0),
    "leaky_relu": lambda z: mpmath.mpf(1 if z >= 0 else 0.01),
    "elu": lambda z: mpmath.exp(min(z, 0)),
    "selu": selu_slope,
    "softplus": sigmoid,
    "silu": lambda z: sigmoid(z) * (1 + z * (1 - sigmoid(z))),
    "gelu": gelu_slope,
    "mish": mish_slope,
}


@pytest.mark.parametrize("name", EXACT_SLOPES)
def test_slopes_are_monotonic_between_knots_and_within_their_limits_in_knots(name):
    slope, found = EXACT_SLOPES[name], compiled.curvature(name)
    with mpmath.workdps(60):
        tiny, far = mpmath.mpf(10) ** -15, mpmath.mpf(40)
        begins = [-far, *(mpmath.mpf(knot.end) for knot in found.knots)]
        ends = [*(mpmath.mpf(knot.begin) for knot in found.knots), far]
        is_convex = found.begins_convex
        for begin, end in zip(begins, ends, strict=True):
            # Points that approach either end, and points in between.
            steps = [tiny * mpmath.mpf(2) ** k for k in range(60)]
            inner = [begin + step for step in steps] + [end - step for step in steps]
            inner += [begin + (end - begin) * k / 400 for k in range(1, 400)]
            inner = sorted(z for z in inner if begin < z < end)
            slopes = [slope(z) for z in inner]
            changes = [b - a for a, b in itertools.pairwise(slopes)]
            assert min(changes) >= 0 if is_convex else max(changes) <= 0
            is_convex = not is_convex
        for knot in found.knots:
            width = mpmath.mpf(knot.end) - mpmath.mpf(knot.begin)
            places = [knot.begin - tiny, *(knot.begin + width * k / 100 for k in range(101)), knot.end + tiny]
            slopes = [slope(z) for z in places]
            assert knot.least - 10 * tiny <= min(slopes)
            assert max(slopes) <= knot.most + 10 * tiny


@every_name
def test_kernels_and_reference_find_the_same_knots(name):
    kernel, twin = compiled.curvature(name), reference.curvature(name)
    assert (kernel.begins_convex, len(kernel.knots)) == (twin.begins_convex, len(twin.knots))
    for ours, theirs in zip(kernel.knots, twin.knots, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
