"""Classes and responses of networks at the pixels of a picture, without a table of the coordinates.

Shape letters: H rows and W columns of pixels, K classes, T pixels of a tile (a whole number of vectors).
"""

from __future__ import annotations

import functools
from typing import Any

from .committee import committee_scores
from .compiler.jit import kernel
from .output import argmax, column_max
from .vectors import vmath
from .vectors.value import fill
from .vectors.vector import lanes, load, store, view

__all__ = ["RESPONSES", "grid_classes", "grid_values"]


@functools.cache
def grid_classes(votes: bool) -> Any:
    """Return the kernel ``(networks, xs, ys, tile, units, total, classes)``.

    The kernel fills classes (H, W), of any integer dtype, with the class of `networks`, a `Committee`, at the
    centres (xs[column], ys[row]), xs (W,) and ys (H,). `tile`, flat of 2 * T, `units` and `total` (K, T) are
    workspaces.
    """
    scores = committee_scores(votes)

    @kernel
    def grid_classes(networks, xs, ys, tile, units, total, classes):
        T = tile.shape[0] // 2
        X = view(tile, 0, 2, T)
        n_columns = classes.shape[1]
        # The outer loop runs over columns: the x of a tile stay, and only y changes from row to row.
        for first in range(0, n_columns, T):
            n = min(n_columns - first, T)
            take_columns(xs, first, n, X)
            for row in range(classes.shape[0]):
                take_row(ys[row], X)
                argmax(scores(networks, X, units, total), row, first, n, classes)

    return grid_classes


@functools.cache
def grid_values(response: str) -> Any:
    """Return the kernel ``(networks, xs, ys, which, tile, units, total, values)``.

    The kernel fills values (H, W) with one of `RESPONSES`; `which` is the class whose probability is wanted.
    The other arguments are as in `grid_classes`.
    """
    scores = committee_scores(True)
    respond = RESPONSES[response]

    @kernel
    def grid_values(networks, xs, ys, which, tile, units, total, values):
        T = tile.shape[0] // 2
        X = view(tile, 0, 2, T)
        n_columns = values.shape[1]
        for first in range(0, n_columns, T):
            n = min(n_columns - first, T)
            take_columns(xs, first, n, X)
            for row in range(values.shape[0]):
                take_row(ys[row], X)
                P = scores(networks, X, units, total)
                share = fill(P, P.dtype.type(1) / P.dtype.type(networks.first.shape[0] - 1))
                for t in range(0, T, lanes(P)):
                    store(P, 0, t, respond(P, t, which) * share)
                for t in range(n):
                    values[row, first + t] = P[0, t]

    return grid_values


@kernel
def take_columns(xs, first, n, X):
    """Fill the first input of a tile with n of xs (W,) from `first` on, and padding."""
    for t in range(n):
        X[0, t] = xs[first + t]
    for t in range(n, X.shape[1]):
        X[0, t] = xs[first]


@kernel
def take_row(y, X):
    """Fill the second input of a tile with y."""
    value = fill(X, y)
    for t in range(0, X.shape[1], lanes(X)):
        store(X, 1, t, value)


@kernel
def probability(P, t, which):
    """Return the summed probabilities of one class."""
    return load(P, which, t)


@kernel
def confidence(P, t, which):
    """Return the highest of the summed probabilities."""
    return column_max(P, t)


@kernel
def margin(P, t, which):
    """Return by how much the highest of the summed probabilities exceeds the second."""
    first, second = load(P, 0, t), fill(P, 0)
    for k in range(1, P.shape[0]):
        p = load(P, k, t)
        second = vmath.maximum(second, vmath.minimum(p, first))
        first = vmath.maximum(first, p)
    return first - second


# Kernels ``(P, t, which)`` of the summed probabilities P (K, T), for the vector that begins at column t.
RESPONSES: dict[str, Any] = {"probability": probability, "confidence": confidence, "margin": margin}
