"""Classes and responses of networks at the pixels of a picture.

The coordinates of the pixels are given as one axis of columns and one of rows, not as a table of samples.

Shape letters: H rows and W columns of pixels, K classes, T pixels of a tile (a whole number of vectors).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from .committee import committee_scores
from .compiler.jit import Kernel, kernel
from .output import argmax, find_column_max
from .vectors import vmath
from .vectors.value import fill
from .vectors.vector import lanes, load, store, view


@functools.cache
def grid_classes(votes: bool) -> Kernel:
    """Return the kernel of the classes.

    It fills classes (H, W), of any integer dtype, with the class of `networks`, a `PackedCommittee`,
    at the pixels' centres (xs[column], ys[row]); xs is (W,) and ys (H,). tile, flat of 2 * T elements, units,
    flat, and total (K, T) are workspaces. See `committee.committee_scores` for `votes`.
    """
    scores = committee_scores(votes)

    @kernel
    def grid_classes(networks, xs, ys, tile, units, total, classes):
        T = tile.shape[0] // 2
        X = view(tile, 0, 2, T)
        n_columns = classes.shape[1]
        # The outer loop runs over columns: x is written once a tile, and only y changes from row to row.
        for first in range(0, n_columns, T):
            n = min(n_columns - first, T)
            fill_x(xs, first, n, X)
            for row in range(classes.shape[0]):
                fill_y(ys[row], X)
                argmax(scores(networks, X, units, total), row, first, n, classes)

    return grid_classes


@functools.cache
def grid_values(response: str) -> Kernel:
    """Return the kernel that fills values (H, W) with a response, one of `RESPONSES`.

    class_index is the number of the class for the response "probability". See `grid_classes` for the others.
    """
    scores = committee_scores(True)
    respond = RESPONSES[response]

    @kernel
    def grid_values(networks, xs, ys, class_index, tile, units, total, values):
        T = tile.shape[0] // 2
        X = view(tile, 0, 2, T)
        n_columns = values.shape[1]
        for first in range(0, n_columns, T):
            n = min(n_columns - first, T)
            fill_x(xs, first, n, X)
            for row in range(values.shape[0]):
                fill_y(ys[row], X)
                P = scores(networks, X, units, total)
                share = fill(P, P.dtype.type(1) / P.dtype.type(networks.first.shape[0] - 1))
                for t in range(0, T, lanes(P)):
                    store(P, 0, t, respond(P, t, class_index) * share)
                for t in range(n):
                    values[row, first + t] = P[0, t]

    return grid_values


@kernel
def fill_x(xs, first, n, X):
    """Fill the first input of a tile X (2, T) with ``xs[first : first + n]``, and pad with ``xs[first]``."""
    for t in range(n):
        X[0, t] = xs[first + t]
    for t in range(n, X.shape[1]):
        X[0, t] = xs[first]


@kernel
def fill_y(y, X):
    """Fill the second input of a tile X (2, T) with y."""
    value = fill(X, y)
    for t in range(0, X.shape[1], lanes(X)):
        store(X, 1, t, value)


@kernel
def probability(P, t, class_index):
    """Return the probability of the class `class_index`, summed over the networks."""
    return load(P, class_index, t)


@kernel
def confidence(P, t, class_index):
    """Return the highest of the classes' summed probabilities."""
    return find_column_max(P, t)


@kernel
def margin(P, t, class_index):
    """Return the difference between the highest and the second highest of the summed probabilities."""
    first, second = load(P, 0, t), fill(P, 0)
    for k in range(1, P.shape[0]):
        p = load(P, k, t)
        second = vmath.maximum(second, vmath.minimum(p, first))
        first = vmath.maximum(first, p)
    return first - second


# Kernels ``(P, t, class_index)`` by name. P (K, T) are summed probabilities; the result is a vector of the
# pixels t, t + 1, ...
RESPONSES: dict[str, Callable] = {"probability": probability, "margin": margin, "confidence": confidence}
