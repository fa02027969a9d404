"""Knots of the activations: kernels and reference find them where the derivative turns."""

import numpy as np
import pytest

from fastnn.reference import curvature as reference
from fastnn.reference import layer as reference_layer
from fastnn_kernels import curvature as compiled
from fastnn_kernels.layer import ACTIVATIONS

every_name = pytest.mark.parametrize("name", sorted(ACTIVATIONS))
# Rounding errors of slopes in the widest format.
NOISE = 200 * float(np.finfo(np.longdouble).eps)


@every_name
def test_slopes_are_monotonic_between_knots_and_within_their_limits_in_knots(name):
    found = compiled.curvature(name)

    def slope(z):
        z = z.astype(np.longdouble)
        return reference_layer.activation_backward(name, z, reference_layer.activation_forward(name, z), 1.0)

    ends = [-40.0, *(end for knot in found.knots for end in knot[:2]), 40.0]
    for k, (begin, end) in enumerate(zip(ends[::2], ends[1::2], strict=True)):
        near = (end - begin) * 2.0 ** -np.arange(2, 40)  # points that approach either end
        z = np.unique(np.concatenate([begin + near, end - near, np.linspace(begin, end, 4001)[1:-1]]))
        changes = np.diff(slope(z))
        is_convex = found.begins_convex == (k % 2 == 0)
        assert changes.min() >= -NOISE if is_convex else changes.max() <= NOISE
    for knot in found.knots:
        slopes = slope(np.linspace(knot.begin, knot.end, 101))
        assert knot.least - NOISE <= slopes.min()
        assert slopes.max() <= knot.most + NOISE


@every_name
def test_kernels_and_reference_find_the_same_knots(name):
    kernel, twin = compiled.curvature(name), reference.curvature(name)
    assert (kernel.begins_convex, len(kernel.knots)) == (twin.begins_convex, len(twin.knots))
    for ours, theirs in zip(kernel.knots, twin.knots, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
