"""Encoding of numbers: smooth scaling, and positions within intervals.

Shapes: x (n,), low and width (T,). Intervals are given times `factor`, a power of 2 that keeps differences
finite.
"""

import numpy as np


def smooth_scaled(x, center, scale, limit):
    """Return ``u / sqrt(1 + (u / limit)^2)`` with ``u = (x - center) / scale``; NaN stays NaN."""
    largest = np.finfo(x.dtype).max * min(1.0, limit)  # u / limit does not overflow
    with np.errstate(over="ignore"):
        u = np.clip((x - center) / scale, -largest, largest)
        return u / np.hypot(1, u / limit)  # hypot squares no large number


def piecewise_linear(x, low, width, factor):
    """Return ``clip((factor x - low) / width, 0, 1)`` (n, T); NaN stays NaN."""
    with np.errstate(over="ignore"):  # the quotient of a number far outside a narrow interval
        return np.clip((factor * x[:, None] - low) / width, 0, 1)
