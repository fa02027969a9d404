"""Lines between the classes at the points of a lattice, found by contourpy.

Lines have the coordinates of the lattice: the point in column j and row i is (j, i), and rows go
upward. Lines are searched for in *tiles* alone, small squares of the lattice whose points differ in class.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any, NamedTuple

import numpy as np
from contourpy import LineType, contour_generator
from numpy.typing import NDArray

from ..network.description import Array

Floats = NDArray[np.float64]
Lines = dict[tuple[int, int], list[Floats]]  # by the numbers of the classes on their left and right

# Number of lattice squares per side of a tile, and the columns or rows of its points, from its first.
TILE = 8
STEPS = np.arange(TILE + 1)
# Smallest margin. A line between two points of different classes must not run through one of them.
MIN_MARGIN = 1e-9
# Number of decimals by which the ends of lines are compared. contourpy may round the rest differently.
DECIMALS = 6
# Standard deviation of the filter that smooths the steps of pixels, in vertices of a line.
SMOOTHING = 3.0


class Tiles(NamedTuple):
    """Tiles of a lattice, which share the points on a common edge."""

    corners: NDArray[np.int64]  # (n, 2): row and column of the first point of each
    classes: NDArray[np.int64]  # (n, TILE + 1, TILE + 1): classes of the points; -1 beyond the lattice
    # (n, TILE + 1, TILE + 1): how much higher the score of a point's class is than the second highest. Lines
    # cross an edge of the lattice where the margin is interpolated as 0.
    margins: Floats

    def select(self, is_chosen: NDArray[np.bool_]) -> Tiles:
        return Tiles(self.corners[is_chosen], self.classes[is_chosen], self.margins[is_chosen])


def cut_tiles(classes: Array, margins: Array | None = None) -> Tiles:
    """Return the tiles whose points differ in class; without `margins`, lines cross edges in the middle."""
    differs = classes[1:] != classes[:-1]
    is_crossed = differs[:, 1:] | differs[:, :-1]  # squares of the lattice
    differs = classes[:, 1:] != classes[:, :-1]
    is_crossed |= differs[1:] | differs[:-1]
    rows, columns = np.nonzero(is_crossed)
    n_columns = classes.shape[1]
    numbers = np.unique(rows // TILE * n_columns + columns // TILE)
    corners = np.column_stack([numbers // n_columns, numbers % n_columns]) * TILE
    rows, columns = corners[:, :1, None] + STEPS[:, None], corners[:, 1:, None] + STEPS
    is_outside = (rows >= classes.shape[0]) | (columns >= n_columns)
    places = np.minimum(rows, classes.shape[0] - 1), np.minimum(columns, n_columns - 1)
    found = np.where(is_outside, -1, classes[places].astype(np.int64))
    return Tiles(corners, found, np.ones(found.shape) if margins is None else margins[places])


def trace_lines(tiles: Tiles) -> Lines:
    """Return the lines, arrays (n, 2), by pairs of classes, of which the lower is first and on the left."""
    found = Lines()
    numbers = np.flatnonzero(np.bincount(tiles.classes.ravel() + 1)[1:])
    holds = {number: (tiles.classes == number).any(axis=(1, 2)) for number in numbers.tolist()}
    for left, right in itertools.combinations(holds, 2):
        lines = _trace_pair(tiles.select(holds[left] & holds[right]), left, right)
        if lines:
            found[left, right] = lines
    return found


def _trace_pair(tiles: Tiles, left: int, right: int) -> list[Floats]:
    """Return the lines between two classes, of which the first is on the left."""
    if not len(tiles.corners):
        return []
    sizes = np.maximum(np.nan_to_num(tiles.margins), MIN_MARGIN)
    # The tiles stand upon each other in one array, a row of NaN between them, where no line can be.
    shape = (len(sizes), TILE + 2, TILE + 1)
    z, x, y = np.full(shape, np.nan), np.empty(shape), np.empty(shape)
    is_left, is_right = tiles.classes == left, tiles.classes == right
    z[:, :-1] = np.where(is_left, sizes, np.where(is_right, -sizes, np.nan))
    x[...] = tiles.corners[:, 1:, None] + STEPS
    y[...] = tiles.corners[:, :1, None] + np.arange(TILE + 2)[:, None]
    stacked = (array.reshape(-1, TILE + 1) for array in (x, y, z))
    generator = contour_generator(*stacked, line_type=LineType.ChunkCombinedOffset, corner_mask=True)
    traced: Any = generator.lines(0.0)
    (points,), (offsets,) = traced
    return [] if points is None or offsets is None else _join_pieces(points, offsets.astype(np.int64))


def _join_pieces(points: Floats, offsets: NDArray[np.int64]) -> list[Floats]:
    """Return lines (n, 2) of the pieces that begin at `offsets`, joined where one ends and another begins."""
    n_pieces = offsets.size - 1
    ends = points[np.concatenate([offsets[:-1], offsets[1:] - 1])].round(DECIMALS)
    _, numbers = np.unique(ends @ [1, 1j], return_inverse=True)
    starts, stops = numbers[:n_pieces].tolist(), numbers[n_pieces:].tolist()
    following = defaultdict(list)
    for k, start in enumerate(starts):
        following[start].append(k)
    reached, bounds, lines = set(stops), offsets.tolist(), []
    # Lines that begin where no other ends come first: what is left then are closed lines.
    for start in [*(start for start in following if start not in reached), *following]:
        while following[start]:
            k = following[start].pop()
            chain = [points[bounds[k] : bounds[k + 1]]]
            while following.get(stops[k]):
                k = following[stops[k]].pop()
                chain.append(points[bounds[k] + 1 : bounds[k + 1]])
            lines.append(np.concatenate(chain))
    return lines


def trace_pixels(pixels: Array) -> list[Floats]:
    """Return the lines (n, 2) between classes of pixels, smoothed by about a pixel but for their ends."""
    from scipy.ndimage import gaussian_filter1d

    height, width = pixels.shape
    lines = []
    traced = trace_lines(cut_tiles(np.pad(pixels, 1, mode="edge")))
    for line in itertools.chain.from_iterable(traced.values()):
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
