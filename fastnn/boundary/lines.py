"""Decision boundaries as lines: the function `boundary_lines`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..network.description import Array
from ..system.threads import count_cores
from ..system.validation import check_count, check_flag, check_real_array, short_repr
from .canvas import paint
from .contours import BLOCK, Lines, find_contours, join_lines
from .painters import Painter, make_painter
from .regions import Regions
from .sinks import Sink
from .subjects import make_subject
from .view import Axis, Rect, check_limits

__all__ = ["boundary_lines"]

# Default number of squares per side of the rectangle; a square's side is the tolerance.
DEFAULT_SQUARES = 2000
# The search for lines costs about this many times as much as the points.
SEARCH = 64
# Maximum number of squares per side: the coordinates of all columns and rows are in memory.
MAX_SQUARES = 10_000_000
# Number of squares per side of the blocks for which a model of another library predicts in one call.
OTHER_BLOCK = 255
# Maximum number of points to evaluate: painting them takes a minute or two.
MAX_POINTS = 1e9


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
    line crosses an edge of a square is interpolated from the margins of the decision.

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
        rectangle's edges and, within the tolerance, where three or more classes meet. Empty for a single
        class.

    Raises
    ------
    ValueError
        For empty or reversed limits, a tolerance that is not above 0, a regression model, and unknown
        features. For a tolerance so small that it divides a side into more than 10 million squares, or that
        more than 10^9 points must be evaluated, of the whole lattice or, for a network, near the boundary.
    TypeError
        For a model that cannot predict.

    Notes
    -----
    A line between two classes is the zero contour of the margin (the difference of the two highest
    probabilities, or scores of a decision function), with the sign of the class. So lines are usually far
    nearer to the boundary than the tolerance. A function that returns classes has no margins: its lines cross
    the edges of squares in the middle.

    Blocks of the lattice in which a network provably gives all points one class, by the bounds of
    ``render_boundary(method="certified")``, hold no line and are skipped.

    Examples
    --------
    >>> import fastnn
    >>> (line,) = fastnn.boundary_lines(lambda X: X[:, 0] > X[:, 1] + 0.5, (0, 1), (0, 1))[False, True]
    >>> line[[0, -1]].round(2).tolist()
    [[0.5, 0.0], [1.0, 0.5]]
    """
    subject = make_subject(
        model,
        "boundary_lines(model, xlim, ylim)",
        features=features,
        fill=fill,
        class_of_interest=class_of_interest,
        classes=classes,
    )
    xlim, ylim = check_limits(xlim, 1, "xlim"), check_limits(ylim, 1, "ylim")
    width, height = _count_squares(tolerance, xlim, ylim)
    count = count_cores() if n_threads is None else check_count(n_threads, "n_threads", 1)
    check_flag(progress, "progress")
    n_points = (width + 1) * (height + 1)
    # A block of one class saves its search for lines, too, which costs more than its points.
    painter = make_painter(subject, class_of_interest=class_of_interest, n_pixels=SEARCH * n_points)
    has_margins = subject.committee is not None or subject.scores is not None
    margins = make_painter(subject, "margin") if has_margins else None
    across, up = axes = [
        Axis(low, (high - low) / side, side + 1) for (low, high), side in ((xlim, width), (ylim, height))
    ]
    xs, ys = (axis.points(0, axis.n_points) for axis in axes)
    rects, n_points = _find_blocks(painter, xs, ys, tolerance)
    if not rects:
        return {}
    sink, _ = paint(
        painter, across, up, lambda: _LineSink(rects, across, up, margins), count, progress, n_points
    )
    labels = painter.classes
    assert labels is not None
    numbers = np.arange(len(labels))
    if painter.finds_classes:
        # The painter numbers classes in the order in which it finds them: renumber them in sorted order.
        numbers[np.argsort(labels)] = np.arange(len(labels))
    found: Lines = {}
    for pair, pieces in sink.pieces.items():
        left, right = (int(numbers[number]) for number in pair)
        lines = []
        for line in join_lines(pieces):
            x, y = across.at(line[:, 0]).clip(*xlim), up.at(line[:, 1]).clip(*ylim)
            lines.append(np.column_stack([x, y])[:: 1 if left < right else -1])
        found[min(left, right), max(left, right)] = lines
    names = labels[np.argsort(numbers)].tolist()
    return {(names[left], names[right]): found[left, right] for left, right in sorted(found)}


def _count_squares(tolerance: Any, xlim: tuple[float, float], ylim: tuple[float, float]) -> tuple[int, int]:
    """Return the numbers of squares along x and y; raise ValueError if they are too many."""
    if tolerance is None:
        return DEFAULT_SQUARES, DEFAULT_SQUARES
    try:
        both = np.broadcast_to(check_real_array(tolerance, "tolerance"), (2,))
    except ValueError:
        both = np.zeros(2)
    if not ((both > 0).all() and np.isfinite(both).all()):
        raise ValueError(
            f"tolerance must be a number above 0, or two for x and y, got {short_repr(tolerance)}"
        )
    with np.errstate(over="ignore"):
        counts = np.ceil(np.array([xlim[1] - xlim[0], ylim[1] - ylim[0]]) / both)
    if counts.max() > MAX_SQUARES:
        raise ValueError(
            f"tolerance={tolerance!r} is too small: it divides a side into {counts.max():.3g} squares, more "
            f"than {MAX_SQUARES:,}. Choose a larger tolerance or a smaller rectangle"
        )
    return max(1, int(counts[0])), max(1, int(counts[1]))


def _find_blocks(painter: Painter, xs: Array, ys: Array, tolerance: Any) -> tuple[list[Rect], int]:
    """Return the blocks of a lattice that must be painted, and the number of points in them.

    Blocks share the points on their common edges.
    """
    size = BLOCK if painter.is_threaded else OTHER_BLOCK
    batches, n_points = [], 0
    for corners in painter.undecided_blocks(xs, ys, size):
        # The columns of a batch are bottom, top, left, right, as in `Rect`.
        ends = np.minimum(corners + size + 1, [ys.size, xs.size])
        batches.append(np.stack([corners, ends], axis=2).reshape(-1, 4))
        n_points += int((ends - corners).prod(axis=1).sum())
        if n_points > MAX_POINTS:
            raise ValueError(
                f"tolerance={tolerance!r} is too small: of {(xs.size - 1) * (ys.size - 1):.3g} squares, more "
                f"than {MAX_POINTS:.0e} points would have to be evaluated, which takes minutes. Choose a "
                "larger tolerance or a smaller rectangle"
            )
    return [Rect(*place) for rects in batches for place in rects.tolist()], n_points


class _LineSink(Sink):
    """A sink that finds the lines in blocks of a lattice, in the coordinates of the lattice."""

    def __init__(self, rects: list[Rect], across: Axis, up: Axis, margins: Painter | None) -> None:
        self._rects, self._across, self._up, self._margins = rects, across, up, margins
        self.pieces: Lines = defaultdict(list)

    def rectangles(self, regions: Regions | None = None) -> Iterable[Rect]:
        return self._rects

    def encode(self, rect: Rect, pixels: Array) -> Lines:
        if (pixels == pixels[0, 0]).all():
            return {}
        margins = None
        if self._margins is not None:
            xs, ys = self._across.points(rect.left, rect.right), self._up.points(rect.bottom, rect.top)
            margins = np.empty(pixels.shape, self._margins.dtype)
            self._margins.paint(xs, ys, margins, lambda n=0: False)
        found = find_contours(pixels, margins)
        return {pair: [line + (rect.left, rect.bottom) for line in lines] for pair, lines in found.items()}

    def put(self, rect: Rect, encoded: Lines) -> None:
        for pair, lines in encoded.items():
            self.pieces[pair] += lines
