"""Both sides of painting: what a committee says at the pixels of a rectangle, by kernels or the reference."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from .committee import Committee
from .network import aligned_empty

__all__ = ["Grid", "NumbaGrid", "NumpyGrid", "Tally"]

Array = NDArray[Any]

# Squares that are bounded together: rows of a few cache lines.
BATCH = 64
# Squares that the picture is divided into to begin with, and those that are evaluated, in pixels a side.
LARGEST_SQUARE, SMALLEST_SQUARE = 512, 8
# Squares of a list, between two looks for Ctrl-C; and operations in between, by kernels and by NumPy.
MOST_SQUARES = 4096
CALL_OPERATIONS, NUMPY_OPERATIONS = 2e9, 2e7


class Tally(NamedTuple):
    """What was done to paint pixels, and the seconds it took."""

    cells_bounded: int = 0
    points_evaluated: int = 0
    points_filled: int = 0
    bounding: float = 0.0
    evaluating: float = 0.0
    filling: float = 0.0

    def __add__(self, other: Any) -> Tally:
        return Tally(*(a + b for a, b in zip(self, other, strict=True)))


class Grid(Protocol):
    """A side's way to paint a committee. Coordinates of pixels are arrays of its dtype.

    Targets (len(ys), len(xs)) are C-contiguous and overwritten. `call_operations` are as many as a call
    should take at the most, so that Ctrl-C is heard.
    """

    call_operations: float

    def classes(self, xs: Array, ys: Array, target: Array) -> None:
        """The class at every pixel, as a number."""

    def values(self, response: str, which: int, xs: Array, ys: Array, target: Array) -> None:
        """A response at every pixel: one of ``fastnn.reference.grid.RESPONSES``, of the class `which`."""

    def certified(self, xs: Array, ys: Array, target: Array, stopped: Callable[[], bool]) -> Tally:
        """What `classes` paints, by squares in which one class provably wins."""


class NumbaGrid:
    """The kernels."""

    call_operations = CALL_OPERATIONS

    def __init__(self, committee: Committee) -> None:
        from fastnn_kernels import bound, grid, quadtree
        from fastnn_kernels.committee import Committee as Networks
        from fastnn_kernels.committee import placed
        from fastnn_kernels.layer import forward_table

        self._bound, self._grid, self._quadtree = bound, grid, quadtree
        self._committee, activations = committee, committee.activations
        plans, first, n_parameters = [], [0], 0
        for network, parameters in committee.members:
            codes = [activations.index(name) for name in network.activations]
            plans.append(placed(network.layout.plan, n_parameters, codes))
            first.append(first[-1] + len(codes))
            n_parameters += parameters.size
        flat = aligned_empty(n_parameters, committee.dtype)
        magnitudes = aligned_empty(n_parameters, committee.dtype)
        magnitudes[...] = 0
        at = 0
        for network, parameters in committee.members:
            part = slice(at, at + parameters.size)
            flat[part] = parameters
            for size, W in zip(network.weights(magnitudes[part]), network.weights(parameters), strict=True):
                np.abs(W, out=size)
            at += parameters.size
        table = forward_table(activations, committee.dtype)
        self._networks = Networks(table, np.concatenate(plans), np.array(first), flat, magnitudes)
        self._n_units = max(network.layout.n_units for network, _ in committee.members)

    def _workspace(self, n_columns: int) -> tuple[Array, Array, Array]:
        """A tile of pixels, what its units take, and the sums of the votes."""
        width = min(network.tile_width(n_columns) for network, _ in self._committee.members)
        dtype, n_classes = self._committee.dtype, self._committee.n_classes
        return (
            aligned_empty(2 * width, dtype),
            aligned_empty(self._n_units * width, dtype),
            aligned_empty(n_classes * width, dtype).reshape(n_classes, width),
        )

    def classes(self, xs: Array, ys: Array, target: Array) -> None:
        kernel = self._grid.grid_classes(self._committee.votes)
        kernel(self._networks, xs, ys, *self._workspace(xs.size), target)

    def values(self, response: str, which: int, xs: Array, ys: Array, target: Array) -> None:
        kernel = self._grid.grid_values(response)
        kernel(self._networks, xs, ys, which, *self._workspace(xs.size), target)

    def certified(self, xs: Array, ys: Array, target: Array, stopped: Callable[[], bool]) -> Tally:
        committee, dtype, n_classes = self._committee, self._committee.dtype, self._committee.n_classes
        subdivide = self._quadtree.subdivide(committee.votes)
        evaluate = self._quadtree.evaluate(committee.votes)
        table = self._bound.bounds_table(committee.activations, dtype)
        bounded = self._networks._replace(activations=table)
        squares = _first_squares(xs, ys)
        n_levels = int(squares[0, 2] // SMALLEST_SQUARE).bit_length()
        # The deepest are divided first: of every level above at most three quarters of a batch wait.
        waiting = np.empty((len(squares) + 4 * BATCH * (n_levels + 1), 3), np.int64)
        waiting[: len(squares)] = squares
        won, left = np.empty((MOST_SQUARES, 4), np.int64), np.empty((MOST_SQUARES, 3), np.int64)
        counts = np.array([len(squares), 0, 0, 0])
        cells = aligned_empty(8 * BATCH, dtype)
        forms = aligned_empty(4 * self._n_units * BATCH, dtype)
        total = self._bound.Form(
            *(aligned_empty(n_classes * BATCH, dtype).reshape(n_classes, BATCH) for _ in range(4))
        )
        taken = np.empty((BATCH, 3), np.int64)
        tile, units, sums = self._workspace(MOST_SQUARES)
        places, row = np.empty((2, tile.size // 2), np.int64), np.empty((1, tile.size // 2), target.dtype)
        # Of a call: batches that are bounded, each cell for about four pixels; squares that are evaluated.
        most = max(1, int(CALL_OPERATIONS / (4 * BATCH * committee.operations)))
        step = max(1, int(CALL_OPERATIONS / (SMALLEST_SQUARE**2 * committee.operations)))
        names = self._quadtree
        tally = Tally()
        while counts[names.WAITING] and not stopped():
            began = time.perf_counter()
            subdivide(
                bounded, xs, ys, SMALLEST_SQUARE, most, waiting, taken, won, left, counts, cells,
                forms, total,
            )  # fmt: skip
            subdivided = time.perf_counter()
            n = 0
            for first in range(0, counts[names.LEFT], step):
                if stopped():
                    break
                squares = left[first : min(first + step, counts[names.LEFT])]
                n += evaluate(
                    self._networks, xs, ys, squares, len(squares), places, row, tile, units, sums, target
                )
            evaluated = time.perf_counter()
            n_filled = self._quadtree.fill_squares(won, counts[names.WON], target)
            tally += Tally(
                0, n, n_filled, subdivided - began, evaluated - subdivided, time.perf_counter() - evaluated
            )
            counts[[names.WON, names.LEFT]] = 0
        return tally._replace(cells_bounded=int(counts[names.BOUNDED]))


class NumpyGrid:
    """The reference."""

    call_operations = NUMPY_OPERATIONS

    def __init__(self, committee: Committee) -> None:
        from .reference import grid, quadtree

        self._grid, self._quadtree, self._votes = grid, quadtree, committee.votes
        self._networks = [
            (network.activations, network.weights(parameters), network.biases(parameters))
            for network, parameters in committee.members
        ]

    def classes(self, xs: Array, ys: Array, target: Array) -> None:
        with _quiet():
            self._grid.grid_classes(self._networks, self._votes, xs, ys, target)

    def values(self, response: str, which: int, xs: Array, ys: Array, target: Array) -> None:
        with _quiet():
            self._grid.grid_values(self._networks, response, xs, ys, which, target)

    def certified(self, xs: Array, ys: Array, target: Array, stopped: Callable[[], bool]) -> Tally:
        tally = Tally()
        squares = _first_squares(xs, ys)
        with _quiet():
            while len(squares) and not stopped():
                n, began = len(squares), time.perf_counter()
                won, left, squares = self._quadtree.subdivide(
                    self._networks, self._votes, xs, ys, SMALLEST_SQUARE, squares
                )
                subdivided = time.perf_counter()
                n_evaluated = self._quadtree.evaluate(self._networks, self._votes, xs, ys, left, target)
                evaluated = time.perf_counter()
                n_filled = self._quadtree.fill_squares(won, target)
                tally += Tally(
                    n, n_evaluated, n_filled, subdivided - began, evaluated - subdivided,
                    time.perf_counter() - evaluated,
                )  # fmt: skip
        return tally


def _first_squares(xs: Array, ys: Array) -> NDArray[np.int64]:
    """Squares (N, 3) that cover all pixels: row, column and size."""
    size = SMALLEST_SQUARE
    while size < min(LARGEST_SQUARE, max(xs.size, ys.size)):
        size *= 2
    corners = np.mgrid[0 : ys.size : size, 0 : xs.size : size].reshape(2, -1).T
    return np.column_stack([corners, np.full(len(corners), size)])


def _quiet() -> Any:
    return np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore")
