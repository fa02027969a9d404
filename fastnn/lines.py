"""Decision boundaries as lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .boundary import Axis, check_limits, render
from .painters import make_painter
from .sinks import Rect, Sink, strips
from .threads import available_cores
from .tracing import Seams, mixed_squares, placed, trace
from .validation import check_count, check_flag, real_array, shown

__all__ = ["boundary_lines"]

Array = NDArray[Any]

# Tolerances of a side, unless they are given.
TOLERANCES = 2000
# Squares of a side at most: strips of rows of them are held in memory.
MOST_SQUARES = 2_000_000
# Squares of a lattice that are painted in a minute or two.
MOST_POINTS = 1e11


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
    """The lines between the regions a model decides for, in a rectangle.

    The model is asked at the points of a lattice whose squares have the tolerance as their sides; where a
    line crosses an edge of a square, the place is found by bisection; points that do
    not change a line by more than the tolerance are left out.

    Parameters
    ----------
    model : Model, estimator, ensemble or callable
        As `render_boundary` takes it. Networks of fastnn are looked at along the boundary, but the lattice is
        painted, some billion points a second; what is not fastnn's is asked at the whole lattice, 4 million
        points by default.
    xlim, ylim : (float, float)
        The rectangle's edges.
    tolerance : float or (float, float), optional
        The greatest distance of the lines from the boundary, in the units of the data. Two numbers are for x
        and y, whose units may differ: distances are then in them, and at most 1. By default 1/2000 of the
        rectangle's sides. Regions that are smaller or narrower than the tolerance may be missed.
    class_of_interest : label, optional
        For a model of several labels: the number of the one that is looked at.
    features : (int, int) or (str, str), optional
        The features along x and y, where the model has more than two. By default the first two.
    fill : float or array-like (n_features,), optional
        Values of the other features.
    classes : array-like, optional
        The classes of a function, or of a model that does not tell them. By default those that come up.
    n_threads : int, optional
        Threads that evaluate a network; all available cores by default.
    progress : bool, default False
        Show a bar.

    Returns
    -------
    dict of (label, label) to list of array (n, 2)
        By pairs of classes that touch, in the order of the classes: the lines between them, as points. On the
        left of a line is the first of the two. A closed line ends with the point that it began with; others
        begin and end at the rectangle's edges and where three or more classes meet. Of one class alone, none.

    Raises
    ------
    ValueError
        For empty or reversed limits, a tolerance that is not above 0 or too small, a model of regression,
        features that there are not.
    TypeError
        For a model that cannot predict.

    Notes
    -----
    Marching squares [1]_ for any number of classes, simplified as by Douglas and Peucker. In a square whose
    corners are of two classes crosswise, the class in its middle is the one that is connected.

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
    xlim, ylim = check_limits(xlim, 1, "xlim"), check_limits(ylim, 1, "ylim")
    width, height = _counts(tolerance, xlim, ylim)
    count = available_cores() if n_threads is None else check_count(n_threads, "n_threads", 1)
    progress = check_flag(progress, "progress")
    painter = make_painter(
        model, class_of_interest=class_of_interest, features=features, fill=fill, classes=classes,
        n_pixels=(width + 1) * (height + 1),
    )  # fmt: skip
    axes = [Axis(low, (high - low) / side, side + 1) for (low, high), side in ((xlim, width), (ylim, height))]
    xs, ys = (axis.part(0, axis.n_points) for axis in axes)
    across, up = axes
    sink, _ = render(painter, across, up, lambda: _SquaresSink(width + 1, height + 1), count, progress)
    columns, rows = np.arange(width + 1), np.arange(height + 1)

    def classes_at(points: NDArray[np.float64]) -> Array:
        x, y = points.T
        return painter.classes_at(np.column_stack([np.interp(x, columns, xs), np.interp(y, rows, ys)]))

    lines = placed(trace(sink.seams.squares, width + 1, classes_at), xs, ys)
    labels = painter.classes
    assert labels is not None
    numbers = np.arange(len(labels))
    if painter.finds_classes:
        # They are numbered as they came up.
        numbers[np.argsort(labels)] = np.arange(len(labels))
    by_pair: dict[tuple[int, int], list[NDArray[np.float64]]] = {}
    for line in lines:
        left, right, points = int(numbers[line.left]), int(numbers[line.right]), line.points
        if left > right:
            left, right, points = right, left, points[::-1].copy()
        by_pair.setdefault((left, right), []).append(points)
    names = labels[np.argsort(numbers)].tolist()
    return {(names[left], names[right]): by_pair[left, right] for left, right in sorted(by_pair)}


def _counts(tolerance: Any, xlim: tuple[float, float], ylim: tuple[float, float]) -> tuple[int, int]:
    """How many squares there are to a side."""
    if tolerance is None:
        return TOLERANCES, TOLERANCES
    try:
        both = np.broadcast_to(real_array(tolerance, "tolerance"), (2,))
    except ValueError:
        both = np.zeros(2)
    if not ((both > 0).all() and np.isfinite(both).all()):
        raise ValueError(f"tolerance must be a number above 0, or two for x and y, got {shown(tolerance)}")
    with np.errstate(over="ignore"):
        counts = np.ceil(np.array([xlim[1] - xlim[0], ylim[1] - ylim[0]]) / both)
    if counts.max() > MOST_SQUARES:
        raise ValueError(
            f"tolerance is too small: {tolerance!r} divides a side into {counts.max():.3g} squares"
        )
    if counts.prod() > MOST_POINTS:
        raise ValueError(
            f"tolerance is too small: {tolerance!r} divides the rectangle into {counts.prod():.3g} squares, "
            f"and more than {MOST_POINTS:.0e} take minutes: choose a larger one, or smaller rectangles"
        )
    return max(1, int(counts[0])), max(1, int(counts[1]))


class _SquaresSink(Sink):
    """Keeps, of a lattice that passes in strips of rows, the squares of more than one class."""

    def __init__(self, width: int, height: int) -> None:
        self.size = width, height
        self.seams = Seams()

    def rectangles(self) -> Iterator[Rect]:
        return strips(*self.size)

    def encode(self, rect: Rect, pixels: Array) -> tuple[Any, ...]:
        return mixed_squares(pixels, rect.bottom), pixels[0].copy(), pixels[-1].copy(), len(pixels)

    def put(self, rect: Rect, encoded: tuple[Any, ...]) -> None:
        self.seams.add(*encoded)
