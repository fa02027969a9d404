"""Encoding of numbers: smooth scaling, and positions within intervals.

Unlike other kernels, these write a table with a sample a row: x is float64, a column of a table of any
numbers, and the features are float32, a row for each sample.

Shape letters: N samples, T intervals, F features of a sample.
"""

import numpy as np

from .calls.encoding import FAR
from .compiler.jit import kernel

_MAX = float(np.finfo(np.float64).max)


@kernel
def smooth_scaled(x, center, scale, limit, out, column):
    """Compute ``u / sqrt(1 + (u / limit)^2)`` with ``u = (x - center) / scale``; NaN stays NaN.

    x (N,); `scale` and `limit` are above 0. The column `column` of out (N, F) is overwritten.
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

    x (N,); low and width (T,): lower ends and widths of the intervals, times `factor`. factor is 1, or a
    power of 2 below 1 for numbers whose differences would overflow. The columns ``column : column + T`` of
    out (N, F) are overwritten.
    """
    for n in range(x.shape[0]):
        value = factor * x[n]
        # All quotients are computed, 8 in a vector: that is faster than a search for the interval of x.
        for t in range(low.shape[0]):
            part = (value - low[t]) / width[t]
            out[n, column + t] = 0.0 if part < 0.0 else (1.0 if part > 1.0 else part)
