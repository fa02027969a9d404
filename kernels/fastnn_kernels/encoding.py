"""Encoding of numbers: smooth scaling, and positions within intervals.

Unlike other kernels, these write a table with a sample a row: x is float64, a column of a table of any
numbers, and the features are float32, a row for each sample.

Shape letters: N samples, T intervals, F features of a sample.
"""

from __future__ import annotations

import numpy as np

from .calls.encoding import FAR
from .compiler.jit import kernel

__all__ = ["piecewise_linear", "smooth_scaled"]

_MAX = float(np.finfo(np.float64).max)


@kernel
def smooth_scaled(x, center, scale, limit, out, column):
    """Compute ``u / sqrt(1 + (u / limit)^2)`` with ``u = (x - center) / scale``; NaN stays NaN.

    Parameters
    ----------
    x : array (N,)
    center, scale, limit : float
        `scale` and `limit` are above 0.
    out : array (N, F)
        The column `column` is overwritten.
    column : int
        0 <= column < F.
    """
    largest = min(FAR * limit, _MAX)
    for n in range(x.shape[0]):
        u = (x[n] - center) / scale
        u = largest if u > largest else (-largest if u < -largest else u)
        v = u / limit
        out[n, column] = u / np.sqrt(1.0 + v * v)


@kernel
def piecewise_linear(x, low, width, factor, out, column):
    """Compute ``clip((factor x - low) / width, 0, 1)`` for every interval; NaN stays NaN.

    Parameters
    ----------
    x : array (N,)
    low, width : array (T,)
        Lower ends and widths of the intervals, times `factor`.
    factor : float
        1, or a power of 2 below 1 for numbers whose differences would overflow.
    out : array (N, F)
        The columns ``column : column + T`` are overwritten.
    column : int
        0 <= column <= F - T.
    """
    for n in range(x.shape[0]):
        value = factor * x[n]
        # All quotients are computed, 8 in a vector: that is faster than a search for the interval of x.
        for t in range(low.shape[0]):
            part = (value - low[t]) / width[t]
            out[n, column + t] = 0.0 if part < 0.0 else (1.0 if part > 1.0 else part)
