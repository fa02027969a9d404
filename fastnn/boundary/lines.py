"""Decision boundaries as lines: the function `boundary_lines`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..system.progress import make_progress_bar
from ..system.validation import check_count, check_flag, check_real_array, short_repr
from .contours import STEPS, TILE, Tiles, cut_tiles, trace_lines
from .painters import NetworkPainter, Painter, make_painter
from .subjects import Features, Fill, make_subject
from .view import Axis, check_limits

# Default number of squares per side of the rectangle; a square's side is the tolerance.
DEFAULT_SQUARES = 2000
# The search for lines costs about this many times as much as the points.
SEARCH = 64
# Maximum number of squares per side, since the coordinates of all columns and rows are in memory.
MAX_SQUARES = 10_000_000
# Squares per side of the blocks that other models predict in one call: a multiple of `TILE`.
BLOCK = 248
# Number of tiles that networks evaluate in one call, of some 80 points each.
BATCH = 1 << 12
# Maximum number of points to evaluate, which takes a minute or two.
MAX_POINTS = 1e9


def boundary_lines(
    model: Any,
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    *,
    tolerance: float | tuple[float, float] | None = None,
    class_of_interest: Any = None,
    features: Features | None = None,
    fill: Fill | None = None,
    classes: ArrayLike | None = None,
    n_threads: int | None = None,
    progress: bool = False,
) -> dict[tuple[Any, Any], list[NDArray[np.float64]]]:
    """Trace the lines between the regions of a model's classes in a rectangle.

    The model is evaluated at the points of a lattice whose squares have the tolerance as their sides.

    Parameters
    ----------
    model : Model, estimator, ensemble or callable
        Anything that `render_boundary` takes. In a large lattice, networks of fastnn are evaluated along the
        boundary alone, other models on the whole lattice, 4 million points by default.
    xlim, ylim : (float, float)
        Edges of the rectangle.
    tolerance : float or (float, float), optional
        Largest distance of the lines from the boundary, along x and y if there are two numbers. By default
        1/2000 of the rectangle's sides. Regions that are smaller or narrower than it may be missed.
    class_of_interest, features, fill, classes : optional
        See `render_boundary`.
    n_threads : int, optional
        Threads that evaluate a network; all available cores by default.
    progress : bool, default False
        Show a progress bar.

    Returns
    -------
    dict of (label, label) to list of array (n, 2)
        Lines by the pairs of classes that touch, both in the order of the classes. The first class of a pair
        lies on the left of a line. A closed line ends with its first point; other lines begin and end at the
        rectangle's edges and, within the tolerance, where three or more classes meet. Empty for a single
        class.

    Raises
    ------
    ValueError
        For empty or reversed limits, a regression model, unknown features, a tolerance that is not above 0,
        and one that divides a side into more than 10 million squares or takes more than 10^9 evaluations.
    TypeError
        For a model that cannot predict.

    Notes
    -----
    A line between two classes is the zero contour of the margin (the difference of the two highest scores, or
    probabilities of an ensemble), with the sign of the class. So lines are usually far nearer to the boundary
    than the tolerance. Without margins, as of a function, lines cross the edges of squares in the middle.

    Squares in which a network provably gives all points one class, by the bounds of
    ``render_boundary(method="certified")``, hold no line and are skipped.

    Examples
    --------
    >>> import fastnn
    >>> (line,) = fastnn.boundary_lines(lambda X: X[:, 0] > X[:, 1] + 0.5, (0, 1), (0, 1))[False, True]
    >>> line[[0, -1]].round(2).tolist()
    [[0.5, 0.0], [1.0, 0.5]]
    """
    call = "boundary_lines(model, xlim, ylim)"
    subject = make_subject(model, call, features, fill, class_of_interest, classes)
    xlim, ylim = check_limits(xlim, 1, "xlim"), check_limits(ylim, 1, "ylim")
    across, up = (
        Axis(low, (high - low) / count, count + 1)
        for (low, high), count in zip((xlim, ylim), _count_squares(tolerance, xlim, ylim), strict=True)
    )
    n_threads = 0 if n_threads is None else check_count(n_threads, "n_threads", 1)
    check_flag(progress, "progress")
    # A tile of one class saves its search for lines, too, which costs more than its points.
    n_points = SEARCH * across.n_points * up.n_points
    painter = make_painter(subject, class_of_interest=class_of_interest, n_pixels=n_points)
    if isinstance(painter, NetworkPainter):
        found = _evaluate_tiles(painter, across, up, tolerance, n_threads, progress)
    else:
        margins = None if subject.scores is None else make_painter(subject, "margin")
        found = _evaluate_blocks(painter, margins, across, up, tolerance, progress)
    tiles = Tiles(*map(np.concatenate, zip(*found, strict=True)))
    labels = painter.classes
    assert labels is not None
    if painter.finds_classes:
        # The painter numbers classes in the order in which it finds them, so renumber them in sorted order.
        labels, numbers = np.unique(labels, return_inverse=True)
        tiles = tiles._replace(classes=np.append(numbers, -1)[tiles.classes])
    names = labels.tolist()
    return {
        (names[left], names[right]): [
            np.column_stack([across.at(line[:, 0]).clip(*xlim), up.at(line[:, 1]).clip(*ylim)])
            for line in lines
        ]
        for (left, right), lines in trace_lines(tiles).items()
    }


def _count_squares(tolerance: Any, xlim: tuple[float, float], ylim: tuple[float, float]) -> tuple[int, int]:
    if tolerance is None:
        return DEFAULT_SQUARES, DEFAULT_SQUARES
    try:
        both = np.broadcast_to(check_real_array(tolerance, "tolerance"), (2,))
    except ValueError:
        both = np.zeros(2)
    if not ((both > 0).all() and np.isfinite(both).all()):
        raise ValueError(f"tolerance must be a number above 0, or two (x and y), got {short_repr(tolerance)}")
    with np.errstate(over="ignore"):
        counts = np.ceil(np.array([xlim[1] - xlim[0], ylim[1] - ylim[0]]) / both)
    if counts.max() > MAX_SQUARES:
        raise ValueError(
            f"tolerance={tolerance!r} is too small: it divides a side into {counts.max():.3g} squares, more "
            f"than {MAX_SQUARES:,}. Choose a larger tolerance or a smaller rectangle"
        )
    return max(1, int(counts[0])), max(1, int(counts[1]))


def _check_points(n_points: float, across: Axis, up: Axis, tolerance: Any) -> None:
    if n_points > MAX_POINTS:
        n_squares = (across.n_points - 1) * (up.n_points - 1)
        raise ValueError(
            f"tolerance={tolerance!r} is too small: of {n_squares:.3g} squares, more than {MAX_POINTS:.0e} "
            "points would have to be evaluated, which takes minutes. Choose a larger tolerance or a smaller "
            "rectangle"
        )


def _evaluate_tiles(
    painter: NetworkPainter, across: Axis, up: Axis, tolerance: Any, n_threads: int, progress: bool
) -> Iterator[Tiles]:
    """Yield the tiles of a lattice in which networks decide for two classes."""
    batches, n_points = [np.empty((0, 2), np.int64)], 0
    for corners in painter.undecided_blocks(across, up, TILE):
        batches.append(corners)
        n_points += len(corners) * STEPS.size**2
        _check_points(n_points, across, up, tolerance)
    corners = np.concatenate(batches)
    with make_progress_bar(total=n_points, unit="point", shown=progress, unit_scale=True) as bar:
        for first in range(0, max(len(corners), 1), BATCH):
            batch = corners[first : first + BATCH]
            rows, columns = batch[:, :1] + STEPS, batch[:, 1:] + STEPS
            classes, margins = painter.decide(across.at(columns)[:, None], up.at(rows)[:, :, None], n_threads)
            is_crossed = (classes != classes[:, :1, :1]).any(axis=(1, 2))
            classes[(rows >= up.n_points)[:, :, None] | (columns >= across.n_points)[:, None]] = -1
            yield Tiles(batch, classes, margins).select(is_crossed)
            bar.update(classes.size)


def _evaluate_blocks(
    painter: Painter, margins: Painter | None, across: Axis, up: Axis, tolerance: Any, progress: bool
) -> Iterator[Tiles]:
    """Yield the tiles of a lattice in which any other model decides for two classes."""
    n_points = across.n_points * up.n_points
    _check_points(n_points, across, up, tolerance)
    with make_progress_bar(total=n_points, unit="point", shown=progress, unit_scale=True) as bar:
        for bottom in range(0, up.n_points - 1, BLOCK):
            for left in range(0, across.n_points - 1, BLOCK):
                xs, ys = (
                    axis.points(first, min(first + BLOCK + 1, axis.n_points))
                    for axis, first in ((across, left), (up, bottom))
                )
                classes, sizes = np.empty((ys.size, xs.size), painter.dtype), None
                painter.paint(xs, ys, classes)
                bar.update(classes.size)
                if margins is not None and (classes != classes[0, 0]).any():
                    sizes = np.empty(classes.shape, margins.dtype)
                    margins.paint(xs, ys, sizes)
                tiles = cut_tiles(classes, sizes)
                yield tiles._replace(corners=tiles.corners + (bottom, left))
