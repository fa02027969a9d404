"""Certified painting: the classes of `grid_classes`, at a cost that grows with the boundary's length.

Squares of pixels are divided into four until one class provably wins all over a square, which is then filled
without evaluating its pixels, or until the square is so small that its pixels are evaluated. The three steps
are kernels of their own, which pass lists of squares on: so a picture of any size takes bounded memory, and
Python sees interrupts between them.

Shape letters: H rows and W columns of pixels, K classes, T pixels of a tile or squares of a batch (a whole
number of vectors), N squares of a list.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .bound import Form, is_won, slack
from .committee import committee_bounds, committee_scores
from .compiler.jit import kernel
from .output import argmax
from .vectors.vector import fill_row, view

__all__ = ["evaluate", "fill_squares", "subdivide"]

# Places in the counts that `subdivide` updates: squares waiting to be bounded, won by a class, left to be
# evaluated, and bounded so far.
WAITING, WON, LEFT, BOUNDED = range(4)


@functools.cache
def subdivide(votes: bool) -> Any:
    """Return the kernel that bounds squares.

    Its arguments are
    ``(networks, xs, ys, leaf, most, waiting, batch, won, left, counts, cells, forms, total)``.

    The kernel bounds the squares `waiting` (N, 3), each a row, a column and a size that is a power of 2, the
    last first, and goes on with their quarters, until no square waits, `most` batches are done, or one of the
    lists is full: `won` (N, 4), whose fourth column is the class, and `left` (N, 3), squares of at most
    `leaf` pixels a side.

    networks: a `Committee` whose activations are a `bound.bounds_table`; counts (4,): see `WAITING`; `batch`
    (T, 3), `cells`, flat of 8 * T, `forms`, and `total`, a `Form` (K, T), are workspaces.
    """
    bounds = committee_bounds(votes)

    @kernel
    def subdivide(networks, xs, ys, leaf, most, waiting, batch, won, left, counts, cells, forms, total):
        T = cells.shape[0] // 8
        form = Form(
            view(cells, 0, 2, T), view(cells, 2 * T, 2, T), view(cells, 4 * T, 2, T), view(cells, 6 * T, 2, T)
        )
        form.slope_x[1, :] = 0
        form.slope_y[0, :] = 0
        n_rows, n_columns = ys.shape[0], xs.shape[0]
        for _ in range(most):
            if counts[WAITING] == 0 or counts[WON] + T > won.shape[0] or counts[LEFT] + T > left.shape[0]:
                break
            n = min(counts[WAITING], T)
            counts[WAITING] -= n
            first = counts[WAITING]
            for t in range(n):
                row, column, size = waiting[first + t, 0], waiting[first + t, 1], waiting[first + t, 2]
                take_interval(xs, column, min(column + size, n_columns), form, 0, t)
                take_interval(ys, row, min(row + size, n_rows), form, 1, t)
            for t in range(n, T):
                for i in range(2):
                    form.centre[i, t] = form.centre[i, 0]
                    form.radius[i, t] = form.radius[i, 0]
                form.slope_x[0, t] = form.slope_x[0, 0]
                form.slope_y[1, t] = form.slope_y[1, 0]
            scores = bounds(networks, form, forms, total)
            counts[BOUNDED] += n
            # Quarters will be written where the bounded squares lie: copy these first.
            for t in range(n):
                for i in range(3):
                    batch[t, i] = waiting[first + t, i]
            for t in range(n):
                row, column, size = batch[t, 0], batch[t, 1], batch[t, 2]
                winner = 0
                for k in range(1, scores.centre.shape[0]):
                    if scores.centre[k, t] > scores.centre[winner, t]:
                        winner = k
                if is_won(scores, t, winner):
                    at = counts[WON]
                    won[at, 0], won[at, 1], won[at, 2], won[at, 3] = row, column, size, winner
                    counts[WON] += 1
                elif size <= leaf or counts[WAITING] + 4 * T > waiting.shape[0]:
                    at = counts[LEFT]
                    left[at, 0], left[at, 1], left[at, 2] = row, column, size
                    counts[LEFT] += 1
                else:
                    half = size // 2
                    for r in range(row, min(row + size, n_rows), half):
                        for c in range(column, min(column + size, n_columns), half):
                            at = counts[WAITING]
                            waiting[at, 0], waiting[at, 1], waiting[at, 2] = r, c, half
                            counts[WAITING] += 1

    return subdivide


@kernel
def take_interval(axis, begin, end, form, i, t):
    """Fill coordinate i of cell t with the interval of the pixels `begin` to `end` of an axis."""
    dtype = axis.dtype.type
    low, high = axis[begin], axis[end - 1]
    centre = low + (high - low) * dtype(0.5)
    reach = max(high - centre, centre - low) * dtype(1 + 4 * np.finfo(dtype).eps)
    form.centre[i, t] = centre
    if i == 0:
        form.slope_x[0, t] = reach
    else:
        form.slope_y[1, t] = reach
    # Errors of subnormal coordinates are not relative: add the smallest normal number.
    form.radius[i, t] = slack(2, dtype) * (abs(centre) + reach) + dtype(np.finfo(dtype).tiny)


@functools.cache
def evaluate(votes: bool) -> Any:
    """Return the kernel ``(networks, xs, ys, squares, n, places, row, tile, units, total, classes)``.

    The kernel fills the pixels of the first n of `squares` (N, 3) in classes (H, W), of any integer dtype,
    with what `grid_classes` paints there. `places` (2, T), `row` (1, T) of the classes' dtype, `tile`, flat
    of 2 * T, `units` and `total` (K, T) are workspaces. Returns the number of pixels.
    """
    scores = committee_scores(votes)

    @kernel
    def evaluate(networks, xs, ys, squares, n, places, row, tile, units, total, classes):
        T = tile.shape[0] // 2
        X = view(tile, 0, 2, T)
        n_rows, n_columns = classes.shape
        count, n_pixels = 0, 0
        for k in range(n):
            first_row, first_column, size = squares[k, 0], squares[k, 1], squares[k, 2]
            for r in range(first_row, min(first_row + size, n_rows)):
                for c in range(first_column, min(first_column + size, n_columns)):
                    X[0, count], X[1, count] = xs[c], ys[r]
                    places[0, count], places[1, count] = r, c
                    count += 1
                    if count == T:
                        argmax(scores(networks, X, units, total), 0, 0, T, row)
                        for t in range(T):
                            classes[places[0, t], places[1, t]] = row[0, t]
                        n_pixels += count
                        count = 0
        if count:
            for t in range(count, T):
                X[0, t], X[1, t] = X[0, 0], X[1, 0]
            argmax(scores(networks, X, units, total), 0, 0, T, row)
            for t in range(count):
                classes[places[0, t], places[1, t]] = row[0, t]
            n_pixels += count
        return n_pixels

    return evaluate


@kernel
def fill_squares(squares, n, classes):
    """Fill the first n of `squares` (N, 4) in classes (H, W), each with its class.

    Return the pixels filled.
    """
    n_rows, n_columns = classes.shape
    n_pixels = 0
    for k in range(n):
        row, column, size = squares[k, 0], squares[k, 1], squares[k, 2]
        winner = classes.dtype.type(squares[k, 3])
        end_row, end_column = min(row + size, n_rows), min(column + size, n_columns)
        for r in range(row, end_row):
            fill_row(classes, r, column, end_column, winner)
        n_pixels += (end_row - row) * (end_column - column)
    return n_pixels
