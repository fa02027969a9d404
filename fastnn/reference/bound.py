"""Bounds of a network's scores over cells of the plane, by affine arithmetic.

A cell is a rectangle of inputs. Over a cell, a value of the network is bounded by an affine form:
``centre + dx slope_x + dy slope_y``, plus or minus `radius`, for dx and dy from -1 to 1 across the cell. The
bounds hold for the exact values and for values computed in the parameters' dtype. (Affine arithmetic, de
Figueiredo & Stolfi, 2004.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .curvature import curvature
from .layer import ACTIVATIONS

# Bounds of the errors of activations and slopes, in units of the dtype's eps; the real errors are several
# times smaller.
VALUE_ULPS, SLOPE_ULPS = 32.0, 64.0
# At this magnitude and beyond, the slopes of activations are constant and exact.
FAR = 100.0
# Bound of the errors of subnormal numbers.
TINY = 1e-30


class Form(NamedTuple):
    """An affine form for each value and cell: four arrays (n, j).

    Over a cell, a value is ``centre + dx slope_x + dy slope_y``, plus or minus `radius`, for dx and dy from
    -1 to 1.
    """

    centre: np.ndarray
    slope_x: np.ndarray
    slope_y: np.ndarray
    radius: np.ndarray


def bound_rounding(n_inputs, dtype):
    """Return a bound of the rounding error of a sum of `n_inputs` products and a bias.

    The bound is relative to the sum of the terms' magnitudes.
    """
    return dtype(2 * (n_inputs + 4)) * np.finfo(dtype).eps


def enclose_activation(name, centre, radius):
    """Return slope, middle and width of a strip that contains an activation's graph.

    ``|f(z) - slope z - middle| <= width`` for all z from centre - radius to centre + radius, where f is the
    activation `name`.
    """
    activation, shape = ACTIVATIONS[name], curvature(name)
    eps = np.finfo(centre.dtype).eps
    low, high = centre - radius, centre + radius
    f_low, f_c, f_high = values = [activation.value(z) for z in (low, centre, high)]
    s_low, s_c, s_high = (activation.slope(z, f) for z, f in zip((low, centre, high), values, strict=True))
    # By the mean value theorem, the graph is no farther from the line through its centre with the middle
    # slope than half of the range of slopes, times the radius.
    least, most = np.minimum(s_low, s_high), np.maximum(s_low, s_high)
    for knot in shape.knots:
        overlaps = ~(low > knot.end) & ~(high < knot.begin)
        least = np.where(overlaps, np.minimum(least, knot.least), least)
        most = np.where(overlaps, np.maximum(most, knot.most), most)
    slope = (least + most) / 2
    middle, spread = f_c - slope * centre, (most - least) / 2 * radius
    bottom, top = middle - spread, middle + spread
    # Over an interval without a knot the tangent at the centre is one side of the strip, and the other side
    # is the parallel through that end of the graph which is farther away.
    tangent, at_low, at_high = f_c - s_c * centre, f_low - s_c * low, f_high - s_c * high
    begins = [-np.inf, *(knot.end for knot in shape.knots)]
    ends = [*(knot.begin for knot in shape.knots), np.inf]
    for k, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        inside = (low > begin) & (high < end)
        is_convex = shape.begins_convex == (k % 2 == 0)
        bottom = np.where(inside, tangent if is_convex else np.minimum(at_low, at_high), bottom)
        top = np.where(inside, np.maximum(at_low, at_high) if is_convex else tangent, top)
        slope = np.where(inside, s_c, slope)
    farthest = np.maximum(np.abs(low), np.abs(high))
    magnitude = np.max(np.abs(values), axis=0) + np.abs(slope) * farthest + np.minimum(farthest, 1)
    width = (
        (top - bottom) / 2
        + VALUE_ULPS * eps * magnitude
        + SLOPE_ULPS * eps * (np.minimum(farthest, FAR) + 1) * radius
        + TINY
    )
    return slope, (bottom + top) / 2, width


def bound_pass(activations, W, b, cells):
    """Return the form (n, k) of the scores.

    cells is the form (n, 2) of the inputs, whose radius includes `bound_rounding` of the first layer.
    """
    dtype = W[0].dtype.type
    form = cells
    for layer, (name, weights, biases) in enumerate(zip(activations, W, b, strict=True)):
        layer_rounding = bound_rounding(len(weights), dtype)
        c, x, y = form.centre @ weights + biases, form.slope_x @ weights, form.slope_y @ weights
        error = (form.radius @ np.abs(weights) + layer_rounding * np.abs(biases)) * (1 + layer_rounding)
        # If the sum of the terms' magnitudes overflows, a partial sum may be infinite although the sum is
        # finite: the difference of two infinities makes the radius NaN.
        magnitudes = error * (4 / layer_rounding)
        error = error + (magnitudes - magnitudes)
        rounding = 8 * np.finfo(dtype).eps
        reach = np.abs(x) + np.abs(y) + error
        slope, middle, width = enclose_activation(name, c, reach + rounding * (reach + np.abs(c)))
        c, x, y = slope * c + middle, slope * x, slope * y
        error = np.abs(slope) * error + width
        following = bound_rounding(weights.shape[1], dtype) if layer + 1 < len(W) else 0
        largest = np.abs(c) + np.abs(x) + np.abs(y) + error
        form = Form(c, x, y, (error + (following + rounding) * largest).astype(dtype))
    return form


def is_won(form, t, winner):
    """Return True if the form of the scores proves that class `winner` wins everywhere in cell t.

    The class wins if its score is higher than every other score.
    """
    c, x, y, r = (array[t] for array in form)
    sizes = np.abs(c) + np.abs(x) + np.abs(y) + r
    reach = np.abs(x - x[winner]) + np.abs(y - y[winner]) + r + r[winner]
    reach = reach + 8 * np.finfo(c.dtype).eps * (sizes + sizes[winner])
    ahead = c[winner] - c > reach
    ahead[winner] = True
    return bool(ahead.all())
