"""Grids, which evaluate a committee at the pixels of a rectangle by kernels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn_kernels.calls import pictures
from fastnn_kernels.calls.formulas import Form, bounds_table, forward_table
from fastnn_kernels.compiler.entry import FunctionPointer, PointerTable

from ..engine.arrays import pack_network_weights
from ..engine.tiles import choose_tile_width
from ..network.description import Array, allocate_empty, allocate_zeros
from .committee import Committee

# Number of squares that are bounded together. A number for each of them fills a few cache lines.
BATCH = 64
# Sides in pixels of the first squares, and of squares that are no longer divided but evaluated.
MAX_SQUARE, MIN_SQUARE = 512, 8
# Maximum length of a list of squares, and maximum number of operations, between two checks for Ctrl-C.
MAX_SQUARES, CALL_OPERATIONS = 4096, 2e9


class Tally(NamedTuple):
    """Statistics of painting: numbers of squares and pixels, and times in seconds."""

    cells_bounded: int = 0
    points_evaluated: int = 0
    points_filled: int = 0
    bounding: float = 0.0
    evaluating: float = 0.0
    filling: float = 0.0
    writing: float = 0.0

    def __add__(self, other: Any) -> Tally:
        return Tally(*(a + b for a, b in zip(self, other, strict=True)))


class Grid:
    """The evaluation of a committee at the points of a grid.

    Coordinates of columns and rows, `xs` and `ys`, are arrays of the committee's dtype. Targets
    (len(ys), len(xs)) are C-contiguous and overwritten. A call of `classes` or `values` should take at most
    `CALL_OPERATIONS` operations, so that Ctrl-C is handled between the calls.
    """

    def __init__(self, committee: Committee) -> None:
        self._committee, activations = committee, committee.activations
        n_parameters = sum(parameters.size for _, parameters in committee.members)
        flat = allocate_empty(n_parameters, committee.dtype)
        magnitudes = allocate_zeros(n_parameters, committee.dtype)
        plans, first, at = [], [0], 0
        for network, parameters in committee.members:
            codes = [activations.index(name) for name in network.activations]
            plans.append(pictures.relocate_plan(network.layout.plan, at, codes))
            first.append(first[-1] + len(codes))
            place = slice(at, at + parameters.size)
            flat[place] = parameters
            sizes = network.weights(magnitudes[place])
            for W, size in zip(network.weights(parameters), sizes, strict=True):
                np.abs(W, out=size)
            at += parameters.size
        table = forward_table(activations, committee.dtype)
        plan, packed = pack_network_weights(np.concatenate(plans), flat)
        self._networks = pictures.PackedCommittee(
            table, plan, np.array(first, np.int64), flat, packed, magnitudes
        )
        self._n_units = max(network.layout.n_units for network, _ in committee.members)

    def __reduce__(self) -> tuple[type[Grid], tuple[Committee]]:
        """Return the committee: the addresses of kernels hold in this process alone."""
        return Grid, (self._committee,)

    def _workspace(self, n_columns: int) -> tuple[Array, Array, Array]:
        """Return workspaces for a tile of pixels, for the layers' units, and for sums of probabilities."""
        width = min(choose_tile_width(network, n_columns) for network, _ in self._committee.members)
        dtype, n_classes = self._committee.dtype, self._committee.n_classes
        return (
            allocate_empty(2 * width, dtype),
            allocate_empty(self._n_units * width, dtype),
            allocate_empty(n_classes * width, dtype).reshape(n_classes, width),
        )

    def compile(self, response: str, target: np.dtype, certified: bool) -> None:
        """Find, load or compile the kernels that paint a response, "class" as numbers of a dtype."""
        votes, dtype = self._committee.votes, self._committee.dtype
        pointers: list[FunctionPointer | PointerTable] = [self._networks.activations]
        if response != "class":
            pointers += [pictures.grid_values(response, dtype)]
        elif certified:
            pointers += [pictures.subdivide(votes, dtype), bounds_table(self._committee.activations, dtype)]
            pointers += [pictures.evaluate(votes, dtype, target), pictures.fill_squares(target)]
        else:
            pointers += [pictures.grid_classes(votes, dtype, target)]
        for pointer in pointers:
            _ = pointer.address

    def classes(self, xs: Array, ys: Array, target: Array) -> None:
        kernel = pictures.grid_classes(self._committee.votes, self._committee.dtype, target.dtype)
        kernel(self._networks, xs, ys, *self._workspace(xs.size), target)

    def values(self, response: str, class_index: int, xs: Array, ys: Array, target: Array) -> None:
        """Fill the target, of the committee's dtype, with a response; `class_index` is for "probability"."""
        kernel = pictures.grid_values(response, self._committee.dtype)
        kernel(self._networks, xs, ys, class_index, *self._workspace(xs.size), target)

    def certified_classes(
        self,
        xs: Array,
        ys: Array,
        target: Array,
        stopped: Callable[[], bool],
        squares: NDArray[np.int64] | None = None,
    ) -> Tally:
        """Fill the target with class numbers; squares in which one class provably wins are not evaluated.

        If `stopped` returns True, the target may be incomplete. `squares` (n, 3) are the squares to
        fill: row, column, and size, `MIN_SQUARE` times a power of 2 and the same for all. By default they
        cover the target.
        """
        kernel = pictures.evaluate(self._committee.votes, self._committee.dtype, target.dtype)
        fill_squares = pictures.fill_squares(target.dtype)
        tile, units, sums = self._workspace(MAX_SQUARES)
        places, row = np.empty((2, tile.size // 2), np.int64), np.empty((1, tile.size // 2), target.dtype)
        # Number of squares in a call of the kernel.
        step = max(1, int(CALL_OPERATIONS / (MIN_SQUARE**2 * self._committee.operations)))
        if squares is None:
            squares = _first_squares(xs, ys, MIN_SQUARE, MAX_SQUARE)
        tally, began = Tally(), time.perf_counter()
        for won, undecided, n_bounded in self._divide(xs, ys, squares, MIN_SQUARE, stopped):
            divided, n_evaluated = time.perf_counter(), 0
            for first in range(0, len(undecided), step):
                if stopped():
                    break
                batch = undecided[first : first + step]
                n_evaluated += kernel(self._networks, xs, ys, batch, places, row, tile, units, sums, target)
            evaluated = time.perf_counter()
            n_filled = fill_squares(won, target)
            filled = time.perf_counter()
            seconds = divided - began, evaluated - divided, filled - evaluated
            tally += Tally(n_bounded, n_evaluated, n_filled, *seconds)
            began = filled
        return tally

    def divide_cells(
        self, xs: Array, ys: Array, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], int]]:
        """Divide a plane until one class provably wins a group of cells, or a single cell is undecided.

        `xs` (2 * n_columns,) and `ys` (2 * n_rows,) are the coordinates of the first and the last point in
        every column and row of cells. Yields squares of cells that one class wins (n_won, 4), as row, column,
        size and class; row and column (n_undecided, 2) of cells that no class provably wins; and the number
        of squares whose scores were bounded.
        """
        squares = _first_squares(xs, ys, 2, max(xs.size, ys.size))
        for won, undecided, n_bounded in self._divide(xs, ys, squares, 2, stopped):
            yield won // (2, 2, 2, 1), undecided[:, :2] // 2, n_bounded

    def _divide(
        self, xs: Array, ys: Array, squares: NDArray[np.int64], leaf_size: int, stopped: Callable[[], bool]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], int]]:
        """Divide squares (n, 3) until one class provably wins a square or its side is `leaf_size` pixels.

        Yields what `divide_cells` does, in pixels: the next item overwrites the arrays, and undecided squares
        (n_undecided, 3) have their size, `leaf_size`.
        """
        committee, dtype, n_classes = self._committee, self._committee.dtype, self._committee.n_classes
        subdivide = pictures.subdivide(committee.votes, dtype)
        table = bounds_table(committee.activations, dtype)
        bounded = self._networks._replace(activations=table)
        n_levels = int(squares[0, 2] // leaf_size).bit_length()
        # The smallest squares are divided first, so that few squares of every larger size wait at a time:
        # room for the quarters of a batch on every level is enough.
        waiting = np.empty((len(squares) + 4 * BATCH * (n_levels + 1), 3), np.int64)
        waiting[: len(squares)] = squares
        won, undecided = np.empty((MAX_SQUARES, 4), np.int64), np.empty((MAX_SQUARES, 3), np.int64)
        counts = np.array([len(squares), 0, 0, 0], np.int64)
        cells = allocate_empty(8 * BATCH, dtype)
        forms = allocate_empty(4 * self._n_units * BATCH, dtype)
        total = Form(*(allocate_empty(n_classes * BATCH, dtype).reshape(n_classes, BATCH) for _ in range(4)))
        batch = np.empty((BATCH, 3), np.int64)
        # Batches in a call of `subdivide`. Bounding a square takes as long as evaluating four pixels.
        n_batches = max(1, int(CALL_OPERATIONS / (4 * BATCH * committee.operations)))
        lists = pictures.Squares(waiting, batch, won, undecided, counts)
        while counts[pictures.WAITING] and not stopped():
            counts[[pictures.WON, pictures.UNDECIDED, pictures.BOUNDED]] = 0
            subdivide(bounded, xs, ys, leaf_size, n_batches, lists, cells, forms, total)
            n_won, n_undecided = counts[pictures.WON], counts[pictures.UNDECIDED]
            yield won[:n_won], undecided[:n_undecided], int(counts[pictures.BOUNDED])


def _first_squares(xs: Array, ys: Array, smallest: int, largest: int) -> NDArray[np.int64]:
    """Return squares (n, 3) that cover all pixels: row, column, and side, `smallest` times a power of 2."""
    size = smallest
    while size < min(largest, max(xs.size, ys.size)):
        size *= 2
    corners = np.mgrid[0 : ys.size : size, 0 : xs.size : size].reshape(2, -1).T
    return np.column_stack([corners, np.full(len(corners), size)])
