"""Grids, which evaluate a committee at the pixels of a rectangle by kernels or by the reference."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn_kernels.calls import pictures
from fastnn_kernels.calls.formulas import Form, bounds_table, forward_table

from ..engine.arrays import with_packed_weights
from ..engine.tiles import check_tile_width, tile_width
from ..network.description import aligned_empty
from .committee import Committee

__all__ = ["GRIDS", "Grid", "NumbaGrid", "NumpyGrid", "Tally"]

Array = NDArray[Any]

# Number of squares that are bounded together: a number for each of them fills a few cache lines.
BATCH = 64
# Sides in pixels of the first squares, and of squares that are no longer divided but evaluated.
MAX_SQUARE, MIN_SQUARE = 512, 8
# Maximum length of a list of squares, and maximum number of operations by kernels and by NumPy, between two
# checks for Ctrl-C.
MAX_SQUARES = 4096
CALL_OPERATIONS, NUMPY_OPERATIONS = 2e9, 2e7


class Tally(NamedTuple):
    """Statistics of painting: numbers of squares and pixels, and times in seconds."""

    cells_bounded: int = 0
    points_evaluated: int = 0
    points_filled: int = 0
    bounding: float = 0.0
    evaluating: float = 0.0
    filling: float = 0.0

    def __add__(self, other: Any) -> Tally:
        return Tally(*(a + b for a, b in zip(self, other, strict=True)))


class Grid(ABC):
    """The evaluation of a committee at the points of a grid.

    Coordinates of columns and rows, `xs` and `ys`, are arrays of the committee's dtype. Targets
    (len(ys), len(xs)) are C-contiguous and overwritten. A call of `classes` or `values` should take at most
    `call_operations` operations, so that Ctrl-C is handled between the calls.
    """

    call_operations: float

    @abstractmethod
    def classes(self, xs: Array, ys: Array, target: Array) -> None:
        """Fill the target with class numbers."""

    @abstractmethod
    def values(self, response: str, class_index: int, xs: Array, ys: Array, target: Array) -> None:
        """Fill the target with a response.

        Parameters
        ----------
        response : str
            One of ``fastnn.reference.grid.RESPONSES``.
        class_index : int
            Number of the class for the response "probability".
        xs, ys : array
            Coordinates.
        target : array
            Array of the committee's dtype.
        """

    def certified(self, xs: Array, ys: Array, target: Array, stopped: Callable[[], bool]) -> Tally:
        """Fill the target with class numbers; squares in which one class provably wins are not evaluated.

        The function `stopped` returns True if painting should stop; the target may then be incomplete.
        """
        evaluate, fill = self._filling(xs, ys, target, stopped)
        tally, began = Tally(), time.perf_counter()
        squares = _first_squares(xs, ys, MIN_SQUARE, MAX_SQUARE)
        for won, undecided, n_bounded in self._divided(xs, ys, squares, MIN_SQUARE, stopped):
            subdivided = time.perf_counter()
            n_evaluated = evaluate(undecided)
            evaluated = time.perf_counter()
            n_filled = fill(won)
            filled = time.perf_counter()
            tally += Tally(
                n_bounded, n_evaluated, n_filled, subdivided - began, evaluated - subdivided,
                filled - evaluated,
            )  # fmt: skip
            began = filled
        return tally

    @abstractmethod
    def _filling(
        self, xs: Array, ys: Array, target: Array, stopped: Callable[[], bool]
    ) -> tuple[Callable[[Any], int], Callable[[Any], int]]:
        """Return functions that fill undecided and won squares of the target, and count the points."""

    def undecided_blocks(self, xs: Array, ys: Array, size: int) -> Iterator[NDArray[np.int64]]:
        """Yield the blocks of a lattice that may contain points of two classes.

        Parameters
        ----------
        xs : array (n_columns,)
            Coordinates of the lattice's columns; at least two.
        ys : array (n_rows,)
            Coordinates of the lattice's rows; at least two.
        size : int
            Number of lattice squares per side of a block; blocks at the upper and the right edge may have
            fewer.

        Yields
        ------
        array (n, 2)
            Row and column of the lower left points of n blocks. Blocks share the points on a common edge:
            all corners of a lattice square in a block that is not yielded have one class.
        """
        # Blocks share the points on their edges, but squares of pixels do not overlap: repeat every inner
        # point, as the end of one square and the beginning of the next.
        xs, ys = np.repeat(xs, 2)[1:-1], np.repeat(ys, 2)[1:-1]
        squares = _first_squares(xs, ys, 2 * size, max(xs.size, ys.size))
        for _, undecided, _ in self._divided(xs, ys, squares, 2 * size, lambda: False):
            if len(undecided):
                yield np.array(undecided)[:, :2] // 2

    @abstractmethod
    def _divided(
        self, xs: Array, ys: Array, squares: Array, leaf_size: int, stopped: Callable[[], bool]
    ) -> Iterator[tuple[Any, Any, int]]:
        """Divide squares (n, 3) until one class provably wins a square or its side is `leaf_size` pixels.

        Yields
        ------
        won : array (n_won, 4)
            Squares that one class wins, with the class in the fourth column. The next item overwrites them.
        undecided : array (n_undecided, 3)
            Squares of `leaf_size` pixels a side that no class provably wins. The next item overwrites them.
        n_bounded : int
            Number of squares whose scores were bounded.
        """


class NumbaGrid(Grid):
    """The evaluation by compiled kernels."""

    call_operations = CALL_OPERATIONS

    def __init__(self, committee: Committee) -> None:
        self._committee, activations = committee, committee.activations
        plans, first, n_parameters = [], [0], 0
        for network, parameters in committee.members:
            codes = [activations.index(name) for name in network.activations]
            plans.append(pictures.relocated_plan(network.layout.plan, n_parameters, codes))
            first.append(first[-1] + len(codes))
            n_parameters += parameters.size
        flat = aligned_empty(n_parameters, committee.dtype)
        magnitudes = aligned_empty(n_parameters, committee.dtype)
        magnitudes[...] = 0
        at = 0
        for network, parameters in committee.members:
            place = slice(at, at + parameters.size)
            flat[place] = parameters
            sizes = network.weights(magnitudes[place])
            for W, size in zip(network.weights(parameters), sizes, strict=True):
                np.abs(W, out=size)
            at += parameters.size
        table = forward_table(activations, committee.dtype)
        plan, packed = with_packed_weights(np.concatenate(plans), flat)
        self._networks = pictures.PackedCommittee(table, plan, np.array(first), flat, packed, magnitudes)
        self._n_units = max(network.layout.n_units for network, _ in committee.members)

    def _workspace(self, n_columns: int) -> tuple[Array, Array, Array]:
        """Return workspaces for a tile of pixels, for the layers' units, and for sums of probabilities."""
        width = min(tile_width(network, n_columns) for network, _ in self._committee.members)
        for network, _ in self._committee.members:
            check_tile_width(network, width)
        dtype, n_classes = self._committee.dtype, self._committee.n_classes
        return (
            aligned_empty(2 * width, dtype),
            aligned_empty(self._n_units * width, dtype),
            aligned_empty(n_classes * width, dtype).reshape(n_classes, width),
        )

    def classes(self, xs: Array, ys: Array, target: Array) -> None:
        """Fill the target with class numbers."""
        kernel = pictures.grid_classes(self._committee.votes, self._committee.dtype, target.dtype)
        kernel(self._networks, xs, ys, *self._workspace(xs.size), target)

    def values(self, response: str, class_index: int, xs: Array, ys: Array, target: Array) -> None:
        """Fill the target with a response."""
        kernel = pictures.grid_values(response, self._committee.dtype)
        kernel(self._networks, xs, ys, class_index, *self._workspace(xs.size), target)

    def _filling(
        self, xs: Array, ys: Array, target: Array, stopped: Callable[[], bool]
    ) -> tuple[Callable[[Any], int], Callable[[Any], int]]:
        kernel = pictures.evaluate(self._committee.votes, self._committee.dtype, target.dtype)
        fill_squares = pictures.fill_squares(target.dtype)
        tile, units, sums = self._workspace(MAX_SQUARES)
        places, row = np.empty((2, tile.size // 2), np.int64), np.empty((1, tile.size // 2), target.dtype)
        # Number of squares in a call of the kernel.
        step = max(1, int(CALL_OPERATIONS / (MIN_SQUARE**2 * self._committee.operations)))

        def evaluate(undecided: Any) -> int:
            n = 0
            for first in range(0, len(undecided), step):
                if stopped():
                    break
                batch = undecided[first : first + step]
                n += kernel(self._networks, xs, ys, batch, len(batch), places, row, tile, units, sums, target)
            return n

        return evaluate, lambda won: fill_squares(won, len(won), target)

    def _divided(
        self, xs: Array, ys: Array, squares: Array, leaf_size: int, stopped: Callable[[], bool]
    ) -> Iterator[tuple[Any, Any, int]]:
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
        counts = np.array([len(squares), 0, 0, 0])
        cells = aligned_empty(8 * BATCH, dtype)
        forms = aligned_empty(4 * self._n_units * BATCH, dtype)
        total = Form(*(aligned_empty(n_classes * BATCH, dtype).reshape(n_classes, BATCH) for _ in range(4)))
        batch = np.empty((BATCH, 3), np.int64)
        # Number of batches in a call of `subdivide`: bounding a square takes as long as evaluating four
        # pixels.
        most = max(1, int(CALL_OPERATIONS / (4 * BATCH * committee.operations)))
        while counts[pictures.WAITING] and not stopped():
            counts[[pictures.WON, pictures.UNDECIDED, pictures.BOUNDED]] = 0
            subdivide(
                bounded, xs, ys, leaf_size, most, waiting, batch, won, undecided, counts, cells, forms, total
            )
            n_won, n_undecided = counts[pictures.WON], counts[pictures.UNDECIDED]
            yield won[:n_won], undecided[:n_undecided], int(counts[pictures.BOUNDED])


class NumpyGrid(Grid):
    """The evaluation by the reference, without NumPy's warnings: infinities and NaN are expected."""

    call_operations = NUMPY_OPERATIONS

    def __init__(self, committee: Committee) -> None:
        from ..reference import grid, quadtree

        self._grid, self._quadtree, self._votes = grid, quadtree, committee.votes
        self._networks = [
            (network.activations, network.weights(parameters), network.biases(parameters))
            for network, parameters in committee.members
        ]

    def classes(self, xs: Array, ys: Array, target: Array) -> None:
        """Fill the target with class numbers."""
        with np.errstate(all="ignore"):
            self._grid.grid_classes(self._networks, self._votes, xs, ys, target)

    def values(self, response: str, class_index: int, xs: Array, ys: Array, target: Array) -> None:
        """Fill the target with a response."""
        with np.errstate(all="ignore"):
            self._grid.grid_values(self._networks, response, xs, ys, class_index, target)

    def _filling(
        self, xs: Array, ys: Array, target: Array, stopped: Callable[[], bool]
    ) -> tuple[Callable[[Any], int], Callable[[Any], int]]:
        def evaluate(undecided: Any) -> int:
            with np.errstate(all="ignore"):
                return self._quadtree.evaluate(self._networks, self._votes, xs, ys, undecided, target)

        return evaluate, lambda won: self._quadtree.fill_squares(won, target)

    def _divided(
        self, xs: Array, ys: Array, squares: Array, leaf_size: int, stopped: Callable[[], bool]
    ) -> Iterator[tuple[Any, Any, int]]:
        while len(squares) and not stopped():
            n_bounded = len(squares)
            with np.errstate(all="ignore"):
                won, undecided, squares = self._quadtree.subdivide(
                    self._networks, self._votes, xs, ys, leaf_size, squares
                )
            yield won, undecided, n_bounded


# Classes of grids by the names of backends.
GRIDS: dict[str, Callable[[Committee], Grid]] = {"numba": NumbaGrid, "numpy": NumpyGrid}


def _first_squares(xs: Array, ys: Array, smallest: int, largest: int) -> NDArray[np.int64]:
    """Return squares (n, 3) that cover all pixels: row, column, and size, which is the same for all.

    The size is `smallest` times a power of 2, and at least `largest` or the picture's longer side, whichever
    is less.
    """
    size = smallest
    while size < min(largest, max(xs.size, ys.size)):
        size *= 2
    corners = np.mgrid[0 : ys.size : size, 0 : xs.size : size].reshape(2, -1).T
    return np.column_stack([corners, np.full(len(corners), size)])
