"""Curvature of an activation: the pieces on which it is convex or concave, found from its derivative.

The formulas are run in Python (``vectors/plain.py``), when kernels of bounds are compiled.

Bounds of scores (``bound.py``) need to know: over an interval without a knot the tangent is one side of the
activation's graph.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .layer import ACTIVATIONS
from .vectors.plain import evaluate

__all__ = ["Curvature", "Knot", "curvature", "find_curvature"]

REACH, STEP = 40.0, 2.0**-8
# A knot is made this much longer at both ends, so that it holds in float32, too.
MARGIN = 2.0**-16
# Differences of slopes up to this, times 1 + |z|, may be rounding errors.
NOISE = 64 * float(np.finfo(np.float64).eps)


class Knot(NamedTuple):
    """A place where an activation changes from convex to concave or back: anywhere from `begin` to `end`.

    Its slopes there lie between `least` and `most`.
    """

    begin: float
    end: float
    least: float
    most: float


class Curvature(NamedTuple):
    """Pieces of a function that are convex and concave in turns, from one knot to the next."""

    begins_convex: bool
    knots: tuple[Knot, ...]


def find_curvature(slope: Callable[[np.ndarray], np.ndarray]) -> Curvature:
    """Return where the function with the derivative `slope` is convex and where concave.

    The function is convex where its slopes rise and concave where they fall. They are compared every `STEP`
    from -`REACH` to `REACH`: beyond lies no knot, and no two knots lie closer together.
    """
    begins_convex, intervals = find_turns(slope, np.arange(-REACH, REACH + STEP, STEP))
    knots = []
    for begin, end in intervals:
        # Finer and finer, until slopes differ by no more than rounding; at a jump, until there is none finer.
        for _ in range(8):
            _, finer = find_turns(slope, np.linspace(begin, end, 257))
            if not finer:
                break
            begin, end = finer[0][0], finer[-1][1]
        places = np.append(np.linspace(begin - MARGIN, end + MARGIN, 65), [begin, end])
        slopes, noise = slope(places), NOISE * (1 + abs(end))
        knots.append(Knot(places[0], places[64], slopes.min() - noise, slopes.max() + noise))
    return Curvature(begins_convex, tuple(Knot(*map(float, knot)) for knot in knots))


def find_turns(
    slope: Callable[[np.ndarray], np.ndarray], z: np.ndarray
) -> tuple[bool, list[tuple[float, float]]]:
    """Return whether slopes rise at first, and the intervals between places z in which they turn."""
    rise = np.diff(slope(z))
    sign = np.sign(rise) * (np.abs(rise) > NOISE * (1 + np.abs(z[1:])))
    (places,) = np.nonzero(sign)
    turns = np.flatnonzero(np.diff(sign[places]))
    intervals = [(float(z[places[k]]), float(z[places[k + 1] + 1])) for k in turns]
    return not (sign[places[:1]] < 0).any(), intervals


@functools.cache
def curvature(name: str) -> Curvature:
    """Return the curvature of the activation `name`."""
    value, slope = ACTIVATIONS[name].value.formula, ACTIVATIONS[name].slope.formula
    return find_curvature(lambda z: evaluate(slope, z, evaluate(value, z)))
