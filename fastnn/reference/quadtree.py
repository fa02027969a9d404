"""Certified painting: the classes of ``grid.py``, by squares of pixels in which one class provably wins.

A square is a tuple (row, column, size); a square that one class wins has the class as a fourth item.
"""

import numpy as np

from .bound import Form, bound_rounding, is_won
from .committee import committee_bounds, committee_scores
from .output import argmax


def subdivide(networks, votes, xs, ys, leaf_size, waiting):
    """Bound the scores over the squares `waiting`, and return three lists of squares.

    The lists are the squares that one class provably wins, the others of at most `leaf_size` pixels a side,
    and the quarters of the rest.
    """
    sides = []
    for axis, at in ((xs, 1), (ys, 0)):
        low = np.array([axis[square[at]] for square in waiting])
        high = np.array([axis[min(square[at] + square[2], len(axis)) - 1] for square in waiting])
        centre = low + (high - low) / 2
        sides.append((centre, np.maximum(high - centre, centre - low) * (1 + 4 * np.finfo(xs.dtype).eps)))
    (x, x_reach), (y, y_reach) = sides
    zero = np.zeros_like(x)
    off, tiny = bound_rounding(2, xs.dtype.type), np.finfo(xs.dtype).smallest_normal
    cells = Form(
        np.column_stack([x, y]),
        np.column_stack([x_reach, zero]),
        np.column_stack([zero, y_reach]),
        np.column_stack([off * (np.abs(x) + x_reach) + tiny, off * (np.abs(y) + y_reach) + tiny]),
    )
    form = committee_bounds(networks, votes, Form(*(array.astype(xs.dtype) for array in cells)))
    won, undecided, quarters = [], [], []
    for t, ((row, column, size), winner) in enumerate(zip(waiting, argmax(form.centre), strict=True)):
        if is_won(form, t, winner):
            won.append((row, column, size, winner))
        elif size <= leaf_size:
            undecided.append((row, column, size))
        else:
            half = size // 2
            quarters += [
                (r, c, half)
                for r in range(row, min(row + size, len(ys)), half)
                for c in range(column, min(column + size, len(xs)), half)
            ]
    return won, undecided, quarters


def evaluate(networks, votes, xs, ys, squares, classes):
    """Write the classes of the pixels in the squares to `classes`, and return the number of pixels."""
    n_pixels = 0
    for row, column, size in squares:
        block = classes[row : row + size, column : column + size]
        x, y = np.meshgrid(xs[column : column + size], ys[row : row + size])
        X = np.column_stack([x.ravel(), y.ravel()])
        block[...] = argmax(committee_scores(networks, votes, X)).reshape(block.shape)
        n_pixels += block.size
    return n_pixels


def fill_squares(squares, classes):
    """Fill the squares in `classes`, each with its class, and return the number of pixels."""
    n_pixels = 0
    for row, column, size, winner in squares:
        block = classes[row : row + size, column : column + size]
        block[...] = winner
        n_pixels += block.size
    return n_pixels
