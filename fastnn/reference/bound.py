"""Bounds of a network's scores over cells of the plane: affine forms, and how far they may be off.

A form has four arrays (n, j), a cell a row: ``centre + dx slope_x + dy slope_y``, plus or minus a radius, for
dx and dy from -1 to 1. It holds for the exact values of the network and for those computed in the parameters'
dtype. (Affine arithmetic, de Figueiredo & Stolfi, 2004.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .curvature import curvature
from .layer import ACTIVATIONS

__all__ = ["Form", "bound_pass", "is_won", "slack"]

VALUE_ULPS, SLOPE_ULPS = 32.0, 64.0
FAR = 100.0
TINY = 1e-30


class Form(NamedTuple):
    """An affine form for each value and cell: four arrays (n, j).

    Over a cell, a value is ``centre + dx slope_x + dy slope_y``, plus or minus `radius`, for dx and dy from
    -1 to 1.
    """

    centre: Any
    slope_x: Any
    slope_y: Any
    radius: Any


def slack(n_inputs, dtype):
    """Return the rounding error of a sum of products and a bias, relative to the sum of the magnitudes."""
    return dtype(2 * (n_inputs + 4)) * np.finfo(dtype).eps


def enclosing_strip(name, centre, radius):
    """Return a line and a strip around it that contains the graph: slope, middle and half width."""
    activation, shape = ACTIVATIONS[name], curvature(name)
    eps = np.finfo(centre.dtype).eps
    low, high = centre - radius, centre + radius
    f_low, f_c, f_high = values = [activation.value(z) for z in (low, centre, high)]
    s_low, s_c, s_high = (activation.slope(f, z) for f, z in zip(values, (low, centre, high), strict=True))
    # By the mean value theorem, the range of the slopes bounds how far the graph leaves the line.
    least, most = np.minimum(s_low, s_high), np.maximum(s_low, s_high)
    for knot in shape.knots:
        has = ~(low > knot.end) & ~(high < knot.begin)
        least = np.where(has, np.minimum(least, knot.least), least)
        most = np.where(has, np.maximum(most, knot.most), most)
    slope = (least + most) / 2
    middle, spread = f_c - slope * centre, (most - least) / 2 * radius
    bottom, top = middle - spread, middle + spread
    # Between two knots the tangent is one side of the strip; the farther of the ends gives the other.
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
    off = np.max(np.abs(values), axis=0) + np.abs(slope) * farthest + np.minimum(farthest, 1)
    width = (
        (top - bottom) / 2
        + VALUE_ULPS * eps * off
        + SLOPE_ULPS * eps * (np.minimum(farthest, FAR) + 1) * radius
        + TINY
    )
    return slope, (bottom + top) / 2, width


def bound_pass(activations, W, b, cells):
    """Return the form of the scores, given that of the inputs, whose radius holds their rounding errors."""
    dtype = W[0].dtype.type
    form = cells
    for layer, (name, weights, biases) in enumerate(zip(activations, W, b, strict=True)):
        layer_slack = slack(len(weights), dtype)
        c, x, y = form.centre @ weights + biases, form.slope_x @ weights, form.slope_y @ weights
        error = (form.radius @ np.abs(weights) + layer_slack * np.abs(biases)) * (1 + layer_slack)
        all_parts = error * (
            4 / layer_slack
        )  # at least: the magnitudes that are added up, which may overflow on the way
        error = error + (all_parts - all_parts)
        rounding = 8 * np.finfo(dtype).eps
        reach = np.abs(x) + np.abs(y) + error
        slope, middle, width = enclosing_strip(name, c, reach + rounding * (reach + np.abs(c)))
        c, x, y = slope * c + middle, slope * x, slope * y
        error = np.abs(slope) * error + width
        following = slack(weights.shape[1], dtype) if layer + 1 < len(W) else 0
        largest = np.abs(c) + np.abs(x) + np.abs(y) + error
        form = Form(c, x, y, (error + (following + rounding) * largest).astype(dtype))
    return form


def is_won(form, t, winner):
    """Return True if the class `winner` alone has the highest score everywhere in cell t."""
    c, x, y, r = (array[t] for array in form)
    sizes = np.abs(c) + np.abs(x) + np.abs(y) + r
    reach = np.abs(x - x[winner]) + np.abs(y - y[winner]) + r + r[winner]
    reach = reach + 8 * np.finfo(c.dtype).eps * (sizes + sizes[winner])
    ahead = c[winner] - c > reach
    ahead[winner] = True
    return bool(ahead.all())
