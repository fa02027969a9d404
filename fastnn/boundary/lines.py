"""Decision boundaries as lines: the function `boundary_lines`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import psutil
from numpy.typing import ArrayLike, NDArray

from ..system.threads import available_cores
from ..system.validation import check_count, check_flag, real_array, shown
from .painters import Painter, make_painter
from .render import Axis, check_limits, render
from .sinks import Rect, Sink
from .subjects import check_model
from .tracing import Squares, mixed_squares, to_coordinates, trace

__all__ = ["boundary_lines"]

Array = NDArray[Any]

# Default number of squares per side of the rectangle; a square's side is the tolerance.
DEFAULT_SQUARES = 2000
# Maximum number of squares per side: the coordinates of all columns and rows are in memory.
MAX_SQUARES = 10_000_000
# Number of squares per side of the blocks that are painted: small enough for the cache.
BLOCK = 512
# Maximum number of points to evaluate: painting them takes a minute or two.
MAX_POINTS = 1e11
# Upper bound of the memory in bytes per mixed square while lines are traced.
SQUARE_BYTES = 500


def boundary_lines(
    model: Any,
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    *,
    tolerance: float | tuple[float, float] | None = None,
    class_of_interest: Any = None,
    features: tuple[Any, Any] | None = None,
    fill: Any = None,
    classes: ArrayLike | None = None,
    n_threads: int | None = None,
    progress: bool = False,
) -> dict[tuple[Any, Any], list[NDArray[np.float64]]]:
    """Trace the lines between the regions of a model's classes in a rectangle.

    The model is evaluated at the points of a lattice whose squares have the tolerance as their sides. Where a
    line crosses an edge of a square, the crossing is found by bisection. Points that do not change a line by
    more than the tolerance are dropped.

    Parameters
    ----------
    model : Model, estimator, ensemble or callable
        Anything that `render_boundary` takes. In a large lattice, networks of fastnn are evaluated along the
        boundary alone: time and memory grow with its length in tolerances. Models of other libraries are
        evaluated on the whole lattice, 4 million points by default.
    xlim, ylim : (float, float)
        Edges of the rectangle.
    tolerance : float or (float, float), optional
        Largest distance of the lines from the boundary, in the units of the data. Two numbers are the units
        of x and y, which may differ: in these units the distance is at most 1. By default 1/2000 of the
        rectangle's sides. Regions that are smaller or narrower than the tolerance may be missed.
    class_of_interest : label, optional
        For a model of several labels: number of the label to trace.
    features : (int, int) or (str, str), optional
        Features along x and y, if the model has more than two. By default the first two.
    fill : float or array-like (n_features,), optional
        Values of the other features.
    classes : array-like, optional
        Classes of a function, or of a model without `classes_`. By default the classes that are predicted.
    n_threads : int, optional
        Threads that evaluate a network; all available cores by default.
    progress : bool, default False
        Show a progress bar.

    Returns
    -------
    dict of (label, label) to list of array (n, 2)
        Lines by the pairs of classes that touch, both in the order of the classes. The first class of a pair
        lies on the left of a line. A closed line ends with its first point; other lines begin and end at the
        rectangle's edges and where three or more classes meet. Every line has at least two different points.
        Empty for a single class.

    Raises
    ------
    ValueError
        For empty or reversed limits, a tolerance that is not above 0, a regression model, and unknown
        features. For a tolerance so small that it divides a side into more than 10 million squares, or that
        more than 10^11 points must be evaluated, of the whole lattice or, for a network, near the boundary.
    TypeError
        For a model that cannot predict.
    MemoryError
        For lines that are longer, in tolerances, than the free memory can hold.

    Notes
    -----
    The algorithm is marching squares [1]_ for any number of classes, with the simplification of Douglas and
    Peucker. In a square around whose corners two classes alternate, the class in the middle is connected.

    Blocks of the lattice in which a network provably gives all points one class, by the bounds of
    ``render_boundary(method="certified")``, hold no line and are skipped; the lines are those of the whole
    lattice.

    References
    ----------
    .. [1] W. E. Lorensen and H. E. Cline, Marching cubes: a high resolution 3D surface construction
       algorithm, Computer Graphics 21 (1987), 163-169.

    Examples
    --------
    >>> import fastnn
    >>> lines = fastnn.boundary_lines(lambda X: X[:, 0] > X[:, 1] + 0.5, (0, 1), (0, 1))
    >>> [line.round(3).tolist() for line in lines[False, True]]
    [[[0.5, 0.0], [1.0, 0.5]]]
    """
    check_model(model, "boundary_lines(model, xlim, ylim)")
    xlim, ylim = check_limits(xlim, 1, "xlim"), check_limits(ylim, 1, "ylim")
    width, height = _counts(tolerance, xlim, ylim)
    count = available_cores() if n_threads is None else check_count(n_threads, "n_threads", 1)
    progress = check_flag(progress, "progress")
    painter = make_painter(
        model, class_of_interest=class_of_interest, features=features, fill=fill, classes=classes,
        n_pixels=(width + 1) * (height + 1),
    )  # fmt: skip
    axes = [Axis(low, (high - low) / side, side + 1) for (low, high), side in ((xlim, width), (ylim, height))]
    across, up = axes
    xs, ys = (axis.points(0, axis.n_points) for axis in axes)
    rects, n_points = _blocks(painter, xs, ys, tolerance)
    if not rects:
        return {}
    sink, _ = render(painter, across, up, lambda: _SquaresSink(rects, tolerance), count, progress, n_points)

    def classes_at(points: NDArray[np.float64]) -> Array:
        return painter.classes_at(np.column_stack([across.at(points[:, 0]), up.at(points[:, 1])]))

    lines = to_coordinates(trace(sink.squares(width), width + 1, classes_at), xs, ys)
    labels = painter.classes
    assert labels is not None
    numbers = np.arange(len(labels))
    if painter.finds_classes:
        # The painter numbers classes in the order in which it finds them: renumber them in sorted order.
        numbers[np.argsort(labels)] = np.arange(len(labels))
    by_pair: dict[tuple[int, int], list[NDArray[np.float64]]] = {}
    for line in lines:
        left, right, points = int(numbers[line.left]), int(numbers[line.right]), line.points
        if (points == points[0]).all():  # around a region so small that its line is simplified to a point
            continue
        if left > right:
            left, right, points = right, left, points[::-1].copy()
        by_pair.setdefault((left, right), []).append(points)
    names = labels[np.argsort(numbers)].tolist()
    return {(names[left], names[right]): by_pair[left, right] for left, right in sorted(by_pair)}


def _counts(tolerance: Any, xlim: tuple[float, float], ylim: tuple[float, float]) -> tuple[int, int]:
    """Return the numbers of squares along x and y; raise ValueError if they are too many."""
    if tolerance is None:
        return DEFAULT_SQUARES, DEFAULT_SQUARES
    try:
        both = np.broadcast_to(real_array(tolerance, "tolerance"), (2,))
    except ValueError:
        both = np.zeros(2)
    if not ((both > 0).all() and np.isfinite(both).all()):
        raise ValueError(f"tolerance must be a number above 0, or two for x and y, got {shown(tolerance)}")
    with np.errstate(over="ignore"):
        counts = np.ceil(np.array([xlim[1] - xlim[0], ylim[1] - ylim[0]]) / both)
    if counts.max() > MAX_SQUARES:
        raise ValueError(
            f"tolerance={tolerance!r} is too small: it divides a side into {counts.max():.3g} squares, more "
            f"than {MAX_SQUARES:,}. Choose a larger tolerance or a smaller rectangle"
        )
    return max(1, int(counts[0])), max(1, int(counts[1]))


def _blocks(painter: Painter, xs: Array, ys: Array, tolerance: Any) -> tuple[list[Rect], int]:
    """Return the blocks of a lattice that must be painted, and the number of points in them.

    Blocks share the points on their common edges.
    """
    batches, n_points = [], 0
    for corners in painter.undecided_blocks(xs, ys, BLOCK):
        # The columns of a batch are bottom, top, left, right, as in `Rect`.
        ends = np.minimum(corners + BLOCK + 1, [ys.size, xs.size])
        batches.append(np.stack([corners, ends], axis=2).reshape(-1, 4))
        n_points += int((ends - corners).prod(axis=1).sum())
        if n_points > MAX_POINTS:
            raise ValueError(
                f"tolerance={tolerance!r} is too small: of {(xs.size - 1) * (ys.size - 1):.3g} squares, more "
                f"than {MAX_POINTS:.0e} points would have to be evaluated, which takes minutes. Choose a "
                "larger tolerance or a smaller rectangle"
            )
    return [Rect(*place) for rects in batches for place in rects.tolist()], n_points


class _SquaresSink(Sink):
    """A sink that collects the mixed squares of a lattice, block by block."""

    def __init__(self, rects: list[Rect], tolerance: Any) -> None:
        self._rects, self._tolerance = rects, tolerance
        self._collected: list[Squares] = []
        self._n_squares, self._memory = 0, psutil.virtual_memory().available

    def rectangles(self) -> Iterable[Rect]:
        return self._rects

    def encode(self, rect: Rect, pixels: Array) -> Squares:
        squares = mixed_squares(pixels, rect.bottom)
        return squares._replace(columns=squares.columns + rect.left)

    def put(self, rect: Rect, encoded: Squares) -> None:
        self._collected.append(encoded)
        self._n_squares += len(encoded.rows)
        needed = self._n_squares * SQUARE_BYTES
        if needed > self._memory:
            raise MemoryError(
                f"lines through more than {self._n_squares:,} squares of a side of {self._tolerance!r} take "
                f"{needed:,} bytes, and {self._memory:,} are free: choose a larger tolerance, or smaller "
                "rectangles"
            )

    def squares(self, width: int) -> Squares:
        """Return the collected squares, row by row; a row of the lattice has `width` squares."""
        all_squares = Squares(*(np.concatenate(field) for field in zip(*self._collected, strict=True)))
        order = np.argsort(all_squares.rows * width + all_squares.columns)
        return Squares(*(field[order] for field in all_squares))
