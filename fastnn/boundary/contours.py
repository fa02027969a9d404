"""Lines between the classes at the points of a lattice, found by contourpy.

The coordinates of lines are those of the lattice: the point in column j and row i is (j, i), and rows go
upward.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
from contourpy import contour_generator
from numpy.typing import NDArray

from ..network.description import Array

__all__ = ["BLOCK", "Lines", "find_contours", "join_lines", "trace_pixels"]

Floats = NDArray[np.float64]
Lines = dict[tuple[int, int], list[Floats]]  # by the numbers of the classes on their left and right

# Smallest margin: a line between two points of different classes must not run through one of them.
MIN_MARGIN = 1e-9
# Number of decimals by which the ends of lines are compared: contourpy may round further ones differently.
DECIMALS = 6
# Number of squares per side of the blocks in which lines are searched for: small enough for the cache.
BLOCK = 64
# Standard deviation of the filter that smooths the steps of pixels, in vertices of a line.
SMOOTHING = 3.0


def find_contours(classes: Array, margins: Array | None = None) -> Lines:
    """Return the lines between the classes at the points of a lattice.

    Parameters
    ----------
    classes : array (height, width)
        Numbers of the classes.
    margins : array (height, width), optional
        How much higher the score of a point's class is than the second highest. Lines cross an edge of the
        lattice where the margin is interpolated as 0; by default in the middle.

    Returns
    -------
    dict of (int, int) to list of array (n, 2)
        Lines by pairs of classes, the lower one first, which is on the left. They end at the edges of the
        lattice and in squares with three or more classes.
    """
    sizes = np.ones(classes.shape) if margins is None else np.maximum(np.nan_to_num(margins), MIN_MARGIN)
    numbers, found = np.unique(classes).tolist(), Lines()
    for left, right in itertools.combinations(numbers, 2):
        is_left = classes == left
        signed = np.where(is_left, sizes, -sizes)
        if len(numbers) > 2:
            signed = np.ma.array(signed, mask=~(is_left | (classes == right)))
        lines: Any = contour_generator(z=signed, corner_mask=True).lines(0.0)
        if lines:
            found[left, right] = lines
    return found


def join_lines(pieces: Iterable[Floats]) -> list[Floats]:
    """Return lines (n, 2) made of all pieces, joined where one ends at the point at which another begins."""
    beginning = defaultdict(list)
    ends = set()
    for piece in pieces:
        beginning[_place(piece[0])].append(piece)
        ends.add(_place(piece[-1]))
    # Lines that begin where no other ends come first: what is left then are closed lines.
    lines = []
    for start in [*(place for place in beginning if place not in ends), *beginning]:
        while beginning[start]:
            chain = [beginning[start].pop()]
            while beginning.get(_place(chain[-1][-1])):
                chain.append(beginning[_place(chain[-1][-1])].pop())
            lines.append(np.concatenate([chain[0][:1], *(piece[1:] for piece in chain)]))
    return lines


def _place(point: Floats) -> tuple[float, float]:
    x, y = point.round(DECIMALS).tolist()
    return x, y


def trace_pixels(pixels: Array) -> list[Floats]:
    """Return the lines between the classes of pixels (height, width), smoothed by about a pixel.

    Coordinates are in pixels from the lower left corner. The ends of lines are not moved.
    """
    from scipy.ndimage import gaussian_filter1d

    height, width = pixels.shape
    lattice = np.pad(pixels, 1, mode="edge")
    pieces: dict[tuple[int, int], list[Floats]] = defaultdict(list)
    for bottom, left in itertools.product(range(0, height + 1, BLOCK), range(0, width + 1, BLOCK)):
        block = lattice[bottom : bottom + BLOCK + 1, left : left + BLOCK + 1]
        if (block != block[0, 0]).any():
            for pair, lines in find_contours(block).items():
                pieces[pair] += [line + (left, bottom) for line in lines]
    lines = []
    for line in itertools.chain.from_iterable(map(join_lines, pieces.values())):
        is_closed = (line[0] == line[-1]).all()
        smooth = gaussian_filter1d(
            line[int(is_closed) :], SMOOTHING, axis=0, mode="wrap" if is_closed else "nearest"
        )
        if is_closed:
            smooth = np.concatenate([smooth[-1:], smooth])
        else:
            smooth[[0, -1]] = line[[0, -1]]
        # A pixel's centre is half a pixel from its edges, and the lattice ends at the picture's edges.
        lines.append(np.clip(smooth - 0.5, 0, (width, height)))
    return lines
