"""Certified painting: the classes of `grid.grid_classes`, at a cost that grows with the boundary's length.

Squares of pixels are divided into quarters until one class provably wins everywhere in a square, or the
square is small. A square that is won is filled with its class, without evaluating its pixels; the pixels of a
small square are evaluated. Dividing, filling and evaluating are separate kernels that work on lists of
squares of bounded length, so a picture of any size takes bounded memory, and Python handles interrupts
between the calls.

Shape letters: H rows and W columns of pixels, K classes, T pixels of a tile or squares of a batch (a whole
number of vectors), N squares of a list.
"""

from __future__ import annotations

import functools

import numpy as np

from .bound import bound_rounding, is_won
from .calls.formulas import Form
from .calls.pictures import BOUNDED, UNDECIDED, WAITING, WON
from .committee import committee_bounds, committee_scores
from .compiler.jit import Kernel, kernel
from .output import argmax
from .vectors.vector import fill_row, view


@functools.cache
def subdivide(votes: bool) -> Kernel:
    """Return the kernel that divides squares and bounds the scores over them.

    The kernel takes squares from the end of the list `waiting` of squares, `Squares`, a batch of T at a time.
    The size of a square is `leaf_size` times a power of 2. A square in which one class provably wins goes to
    the list `won`. A square of at most `leaf_size` pixels a side goes to the list `undecided`, and so does a
    larger one if `waiting` is full. The quarters of any other square are added to `waiting`. The kernel
    returns when no square waits, `max_batches` batches are done, or `won` or `undecided` is full.

    networks: a `PackedCommittee` whose activations are a `bound.bounds_table`; xs (W,) and ys (H,): centres
    of the pixels. cells, flat of 8 * T elements, forms, flat, and total, a `Form` (K, T), are workspaces.
    """
    bounds = committee_bounds(votes)

    @kernel
    def subdivide(networks, xs, ys, leaf_size, max_batches, squares, cells, forms, total):
        waiting, batch, won, undecided, counts = squares
        T = cells.shape[0] // 8
        form = Form(
            view(cells, 0, 2, T), view(cells, 2 * T, 2, T), view(cells, 4 * T, 2, T), view(cells, 6 * T, 2, T)
        )
        form.slope_x[1, :] = 0
        form.slope_y[0, :] = 0
        n_rows, n_columns = ys.shape[0], xs.shape[0]
        for _ in range(max_batches):
            if (
                counts[WAITING] == 0
                or counts[WON] + T > won.shape[0]
                or counts[UNDECIDED] + T > undecided.shape[0]
            ):
                break
            n = min(counts[WAITING], T)
            counts[WAITING] -= n
            first = counts[WAITING]
            for t in range(n):
                row, column, size = waiting[first + t, 0], waiting[first + t, 1], waiting[first + t, 2]
                fill_interval(xs, column, min(column + size, n_columns), form, 0, t)
                fill_interval(ys, row, min(row + size, n_rows), form, 1, t)
            for t in range(n, T):
                for i in range(2):
                    form.centre[i, t] = form.centre[i, 0]
                    form.radius[i, t] = form.radius[i, 0]
                form.slope_x[0, t] = form.slope_x[0, 0]
                form.slope_y[1, t] = form.slope_y[1, 0]
            scores = bounds(networks, form, forms, total)
            counts[BOUNDED] += n
            # The quarters overwrite the bounded squares in `waiting`: copy the batch first.
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
                elif size <= leaf_size or counts[WAITING] + 4 * T > waiting.shape[0]:
                    at = counts[UNDECIDED]
                    undecided[at, 0], undecided[at, 1], undecided[at, 2] = row, column, size
                    counts[UNDECIDED] += 1
                else:
                    half = size // 2
                    for r in range(row, min(row + size, n_rows), half):
                        for c in range(column, min(column + size, n_columns), half):
                            at = counts[WAITING]
                            waiting[at, 0], waiting[at, 1], waiting[at, 2] = r, c, half
                            counts[WAITING] += 1

    return subdivide


@kernel
def fill_interval(axis, begin, end, form, i, t):
    """Set coordinate i of cell t of a `Form` to the interval ``axis[begin]`` to ``axis[end - 1]``."""
    dtype = axis.dtype.type
    low, high = axis[begin], axis[end - 1]
    centre = low + (high - low) * dtype(0.5)
    reach = max(high - centre, centre - low) * dtype(1 + 4 * np.finfo(dtype).eps)
    form.centre[i, t] = centre
    if i == 0:
        form.slope_x[0, t] = reach
    else:
        form.slope_y[1, t] = reach
    # The rounding error of a subnormal number is absolute, not relative: add the smallest normal number.
    form.radius[i, t] = bound_rounding(2, dtype) * (abs(centre) + reach) + dtype(np.finfo(dtype).tiny)


@functools.cache
def evaluate(votes: bool) -> Kernel:
    """Return the kernel that evaluates the pixels of squares (N, 3).

    It writes their classes to classes (H, W), of any integer dtype, and returns the number of pixels. places
    (2, T) of int64, row (1, T) of the dtype of classes, tile, flat of 2 * T elements, units, flat, and total
    (K, T) are workspaces. See `grid.grid_classes` for the other arguments.
    """
    scores = committee_scores(votes)

    @kernel
    def evaluate(networks, xs, ys, squares, places, row, tile, units, total, classes):
        T = tile.shape[0] // 2
        X = view(tile, 0, 2, T)
        n_rows, n_columns = classes.shape
        count, n_pixels = 0, 0
        for k in range(squares.shape[0]):
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
def fill_squares(squares, classes):
    """Fill squares (N, 4) in classes (H, W) with their classes; return the number of pixels.

    Parts of a square outside of the picture are left out.
    """
    n_rows, n_columns = classes.shape
    n_pixels = 0
    for k in range(squares.shape[0]):
        row, column, size = squares[k, 0], squares[k, 1], squares[k, 2]
        winner = classes.dtype.type(squares[k, 3])
        end_row, end_column = min(row + size, n_rows), min(column + size, n_columns)
        for r in range(row, end_row):
            fill_row(classes, r, column, end_column, winner)
        n_pixels += (end_row - row) * (end_column - column)
    return n_pixels
