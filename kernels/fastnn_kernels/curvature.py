"""Curvature of activations: the intervals on which an activation is convex or concave.

Bounds of scores (``bound.py``) need these intervals: where an activation is convex or concave, its graph lies
on one side of every tangent. The intervals are found from the derivative, which is evaluated in Python
(``vectors/plain.py``) when a kernel of bounds is compiled.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .layer import ACTIVATIONS
from .vectors.plain import evaluate

# The slopes are compared at points from -REACH to REACH, STEP apart.
REACH, STEP = 40.0, 2.0**-8
# Extension of a knot at both ends: in float32 the curvature changes at a slightly different point.
MARGIN = 2.0**-16
# Differences of slopes up to NOISE * (1 + |z|) may be rounding errors.
NOISE = 64 * float(np.finfo(np.float64).eps)


class Knot(NamedTuple):
    """An interval from `begin` to `end` within which an activation changes between convex and concave.

    The slopes of the activation in this interval are between `least` and `most`.
    """

    begin: float
    end: float
    least: float
    most: float


class Curvature(NamedTuple):
    """The knots of a function, between which it is alternately convex and concave.

    `begins_convex` is True if the function is convex to the left of the first knot; knots are in ascending
    order.
    """

    begins_convex: bool
    knots: tuple[Knot, ...]


def find_curvature(slope: Callable[[np.ndarray], np.ndarray]) -> Curvature:
    """Return where the function with the derivative `slope` is convex and where it is concave.

    The function is convex where its slope increases and concave where its slope decreases. The slopes are
    compared at points from -`REACH` to `REACH`, `STEP` apart. All knots must lie in this range, and any two
    of them farther apart than `STEP`.
    """
    begins_convex, intervals = find_turns(slope, np.arange(-REACH, REACH + STEP, STEP))
    knots = []
    for begin, end in intervals:
        # Refine the interval until it has no turn: then its differences of slopes are rounding errors, except
        # for one jump.
        for _ in range(8):
            _, finer = find_turns(slope, np.linspace(begin, end, 257))
            if not finer:
                break
            begin, end = finer[0][0], finer[-1][1]
        points = np.append(np.linspace(begin - MARGIN, end + MARGIN, 65), [begin, end])
        slopes, noise = slope(points), NOISE * (1 + abs(end))
        knots.append(Knot(points[0], points[64], slopes.min() - noise, slopes.max() + noise))
    return Curvature(begins_convex, tuple(Knot(*map(float, knot)) for knot in knots))


def find_turns(
    slope: Callable[[np.ndarray], np.ndarray], z: np.ndarray
) -> tuple[bool, list[tuple[float, float]]]:
    """Return True if `slope` increases at first, and the intervals in which it turns.

    z has the points, in ascending order, at which slopes are compared. In an interval (begin, end) of two of
    these points, the slope changes from increasing to decreasing or back.
    """
    rise = np.diff(slope(z))
    sign = np.sign(rise) * (np.abs(rise) > NOISE * (1 + np.abs(z[1:])))
    (changed,) = np.nonzero(sign)
    turns = np.flatnonzero(np.diff(sign[changed]))
    intervals = [(float(z[changed[k]]), float(z[changed[k + 1] + 1])) for k in turns]
    return not (sign[changed[:1]] < 0).any(), intervals


@functools.cache
def curvature(name: str) -> Curvature:
    value, slope = ACTIVATIONS[name].value.formula, ACTIVATIONS[name].slope.formula
    return find_curvature(lambda z: evaluate(slope, z, evaluate(value, z)))
