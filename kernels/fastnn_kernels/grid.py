"""Classes at the pixels of a picture, without a table of their coordinates.

Shape letters: T pixels of a tile (a whole number of vectors).
"""

from __future__ import annotations

import functools
from typing import Any

from .jit import kernel
from .network import forward_pass, last_outputs
from .output import argmax
from .simd import view

__all__ = ["grid_classes"]


@functools.cache
def grid_classes(activations: tuple[str, ...]) -> Any:
    """The kernel ``(plan, parameters, x0, dx, y0, dy, begin, end, tile, units, classes)``.

    It fills the rows `begin` to `end` of classes (rows, columns), of any integer dtype, with the
    class of the network's two inputs at (x0 + column * dx, y0 + row * dy). `tile`, flat of 2 * T,
    and `units` are workspaces.
    """
    forward = forward_pass(activations)

    @kernel
    def grid_classes(plan, parameters, x0, dx, y0, dy, begin, end, tile, units, classes):
        T = tile.shape[0] // 2
        X = view(tile, 0, 2, T)
        S = last_outputs(plan, T, units)
        n_columns = classes.shape[1]
        # A tile's columns in the outer loop: its x stand, only y changes from row to row.
        for first in range(0, n_columns, T):
            for t in range(T):
                X[0, t] = x0 + (first + t) * dx
            n = min(n_columns - first, T)
            for row in range(begin, end):
                y = y0 + row * dy
                for t in range(T):
                    X[1, t] = y
                forward(plan, parameters, X, units, None)
                argmax(S, row, first, n, classes)

    return grid_classes
