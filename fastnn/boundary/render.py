"""Rendering of decision boundaries: from a model to a picture of any size.

A *painter* computes the pixels of a rectangle (``painters.py``). A *sink* divides the picture into rectangles
and writes their pixels to an array or a file (``sinks/``). `render` passes rectangles from the painter to the
sink on all cores, with a few rectangles in memory at a time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnn_kernels.compiler.interrupts import deliver_interrupts, held_interrupts, let_interrupts_through

from ..system.memory import check_memory
from ..system.progress import progress_bar
from ..system.threads import Flag, acquired_cores, available_cores, map_in_order
from ..system.validation import check_count, check_flag, check_number, shown
from .colours import check_colouring
from .grids import Tally
from .image import BoundaryImage, RenderStats, describe_picture
from .painters import PORTION_POINTS, Painter, make_painter
from .sinks import ArraySink, FileSink, Rect, Sink, check_coloured, open_sink
from .subjects import check_model

__all__ = ["Axis", "centres", "check_limits", "check_size", "check_view", "render", "render_boundary"]

Array = NDArray[Any]

# Largest ratio of the sides in pixels if the user gives only the longer side: sides whose lengths differ by
# more have different units.
MAX_ASPECT_RATIO = 8
# Upper bounds of the number of pixels painted per second, far from a boundary: by one thread for networks of
# fastnn, and by a model of another library.
FASTEST_NETWORK, FASTEST_OTHER = 2e9, 2e7
# Longest time in days that a picture may take at these rates.
MAX_DAYS = 3
# Maximum number of threads of a picture: all of them are started, although no more than there are cores paint
# at a time.
MAX_THREADS = 256


def render_boundary(
    model: Any,
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    size: int | tuple[int, int] = 1024,
    *,
    response: str = "class",
    method: str = "auto",
    class_of_interest: Any = None,
    features: tuple[Any, Any] | None = None,
    fill: Any = None,
    classes: ArrayLike | None = None,
    n_threads: int | None = None,
    progress: bool = False,
    out: Any = None,
    colours: Any = None,
    cmap: Any = None,
) -> BoundaryImage:
    """Render which class a model decides for, at every pixel of a rectangle.

    Parameters
    ----------
    model : Model, estimator, ensemble or callable
        A `Model` with a loss of classes, one of fastnn's classifiers, any classifier with scikit-learn's
        methods, or a function that takes an (n, n_features) array and returns a class for every row. Models
        of other libraries predict some 65,000 points at a time. A pipeline or fitted search of scikit-learn
        that ends in one of fastnn's classifiers is painted like that classifier, if the transformers before
        it are affine, such as scalers, `PCA` and selections of columns: see ``stats.folded``.
    xlim, ylim : (float, float)
        Edges of the picture.
    size : int or (int, int), default 1024
        Pixels: (width, height), or the longer side alone. The shorter side is then in proportion, so that
        pixels are square, but at least an eighth of the longer one: sides whose lengths differ by more have
        different units.
    response : {"class", "probability", "confidence", "margin"}, default "class"
        Content of the pixels: the number of the predicted class; the probability of one class; the
        probability of the predicted class; or its difference from the second highest. The probability of an
        ensemble is the members' mean. For a model that has `decision_function` and no
        `predict_proba`, such as scikit-learn's SVC, the margin is the difference between the two highest
        scores, or with two classes the distance of the score from 0; it may be above 1.
    method : {"auto", "dense", "certified"}, default "auto"
        "dense" evaluates every pixel. "certified" divides the picture into squares, proves by bounds that one
        class wins all over a square, fills it, and evaluates only the pixels that remain along the boundary:
        the same picture, bit for bit (with ``backend="numpy"`` up to rounding), at a cost that grows with the
        boundary's length. "auto" does so for classes, networks of fastnn and large pictures, and changes to
        "dense" where the bounds prove too little.
    class_of_interest : label, optional
        Class whose probability is rendered; by default the second of two. For a model of several labels,
        each of which a sample has or has not: the number of the label to render. An error with other
        responses of a model without labels, since it would have no effect.
    features : (int, int) or (str, str), optional
        Features along x and y, by number or, where the model knows names, by name. By default the first two.
    fill : float, array-like (n_features,), or mapping of names, optional
        Values of the other features; required if the model has more than two. The names of a pandas Series
        count where the model knows names.
    classes : array-like, optional
        Classes of a function, or of a model without `classes_`; they are numbered in sorted order. By default
        the classes that are predicted. These are not known in time for `out`, which requires the argument.
    n_threads : int, optional
        Threads that paint and encode; all available cores by default. A model of another library is called
        from one thread.
    progress : bool, default False
        Show a progress bar.
    out : array, str or path, optional
        Destination: an array or a ``numpy.memmap`` (height, width) that can hold the values; or a file, which
        is written during painting, in bounded memory: ``.png``, ``.tif``, ``.zarr``, ``.svg`` or ``.pdf``
        (the regions and the lines between them as shapes), or ``.dzi``, a pyramid of tiles with a page that
        shows it in a browser; see Notes.
    colours : sequence, mapping, str or Colormap, optional
        Colours of the classes, each as matplotlib takes it, and opaque: one per class in the order of
        `classes`; a mapping of labels to colours, which may have more labels; or a colormap or its name, of
        which a qualitative one, as "Set2", gives its colours in order, and another, as "viridis", evenly
        spaced ones from end to end. Files have exactly these colours, and `BoundaryImage.plot` paler ones
        under samples. By default ten colours, of which the first six differ to colour-blind readers too, or
        "turbo" for more than 10 classes, paler in files too. Where the classes are those that are predicted,
        the number of colours is checked when the picture is saved or drawn.
    cmap : str or Colormap, optional
        Colormap of a response, or its name: 0 has its first colour and 1 its last. In files, it is for
        ``.png`` and ``.dzi``. By default a response is grey.

    Returns
    -------
    BoundaryImage

    Raises
    ------
    ValueError
        For empty or reversed limits, a size below 1 or of more pixels than can be written within days, a
        regression model, arguments that do not go together, unknown features, an `out` that does not fit,
        invalid colours, a wrong number of colours, and colours for a format that stores none.
    TypeError
        For a model that cannot predict, as when the arguments are in another order.
    MemoryError
        At once, for a picture that does not fit into the free memory.
    ImportError
        For ``.tif`` without tifffile and ``.zarr`` without zarr. The message says how to install them.
    KeyboardInterrupt
        Within a fraction of a second of Ctrl-C; no half-written file is left.

    Notes
    -----
    A file is moved to its name when it is complete, and replaces an older picture of the same name. A process
    that is killed leaves a hidden folder, `.fastnn-...`, beside the file, with all that was not moved yet.

    The first row of an image file is the highest one; the rows of a Zarr array are those of `data`. Classes
    have a colour each, up to 256 of them (in ``.svg`` and ``.pdf`` all). A response is grey, in ``.png`` with
    16 bits, 0 for 0 and 65535 for 1, or with `cmap` in up to 256 colours. ``.tif`` and ``.zarr`` hold it as
    floats; they are the only formats for margins of a decision function, which may be above 1. The page of a
    ``.pdf`` is 8 inches along the longer side. Beside ``NAME.dzi`` stand the tiles, ``NAME_files``, and the
    page, ``NAME.html``; an address that ends in ``#x=0.5&y=1&zoom=8`` opens the page there. Pillow opens more
    than 178 million pixels after ``PIL.Image.MAX_IMAGE_PIXELS = None``.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(200, noise=0.20, random_state=0)
    >>> model = fastnn.Model([2, 3, 2], random_state=0)
    >>> history = model.train(X, y, num_passes=2000)
    >>> image = fastnn.render_boundary(model, (-2, 3), (-1.5, 2), size=(400, 300))
    >>> image.data.shape, image.data.dtype, image.classes.tolist()
    ((300, 400), dtype('uint8'), [0, 1])
    >>> image.stats.method, image.stats.points_evaluated
    ('dense', 120000)
    """
    check_model(model, "render_boundary(model, xlim, ylim)")
    (width, height), extent = check_view(xlim, ylim, size)
    count = available_cores() if n_threads is None else check_count(n_threads, "n_threads", 1)
    progress = check_flag(progress, "progress")
    painter = make_painter(
        model, response=response, method=method, class_of_interest=class_of_interest, features=features,
        fill=fill, classes=classes, n_pixels=width * height,
    )  # fmt: skip
    check_colouring(response, colours, cmap)
    if painter.finds_classes and out is not None:
        raise ValueError(
            "out is written while the picture is painted, when the classes are not all known yet: name them "
            "with classes=, or render without out="
        )
    if out is None:
        _check_memory(width, height, painter.dtype)
    else:
        _check_duration(width, height, painter.is_threaded, count)
    xs, ys = centres(extent[:2], width), centres(extent[2:], height)
    picture = describe_picture(
        (width, height), painter.dtype, extent, painter.classes, painter.is_bounded,
        None if painter.finds_classes else colours, cmap,
    )  # fmt: skip
    check_coloured(out, picture, colours, cmap)
    sink, stats = render(painter, xs, ys, lambda: open_sink(out, picture), count, progress)
    data, found = sink.pixels if isinstance(sink, ArraySink) else None, painter.classes
    if painter.finds_classes:
        assert data is not None
        assert found is not None
        data, found = _sorted_classes(data, found)
    return BoundaryImage(
        data, extent, found, stats, response, sink.path if isinstance(sink, FileSink) else None,
        painter.is_bounded, colours, cmap,
    )  # fmt: skip


def render(
    painter: Painter,
    xs: Axis,
    ys: Axis,
    open_destination: Callable[[], Any],
    n_threads: int = 1,
    progress: bool = False,
    n_points: int | None = None,
) -> tuple[Any, RenderStats]:
    """Paint the rectangles of a sink and close the sink, or discard it after an error.

    Parameters
    ----------
    painter : Painter
    xs, ys : Axis
        Centres of the pixels.
    open_destination : callable
        Function that opens and returns a `Sink`.
    n_threads : int
        Threads that paint and encode.
    progress : bool
        Show a progress bar.
    n_points : int, optional
        Points in the sink's rectangles; by default all pixels of the picture, each once.

    Returns
    -------
    sink : Sink
        The sink, closed.
    stats : RenderStats
        How the picture was rendered.
    """
    n_threads = min(n_threads, MAX_THREADS)
    began = time.perf_counter()
    n_points = xs.n_points * ys.n_points if n_points is None else n_points
    stop, interrupted = Flag(), Flag()
    writing = 0.0

    def interrupt() -> None:
        interrupted.set()
        stop.set()

    def paint(rect: Rect) -> tuple[Any, Tally, float]:
        target = sink.target(rect)
        if target is None:
            target = np.empty((rect.top - rect.bottom, rect.right - rect.left), painter.dtype)
        columns, rows = xs.points(rect.left, rect.right), ys.points(rect.bottom, rect.top)
        # A model of another library may reserve cores itself and would wait for ever for one reserved here:
        # reserve a core for networks of fastnn alone.
        with acquired_cores(1) if painter.is_threaded else nullcontext():
            if painter.is_threaded:
                tally = painter.paint(columns, rows, target, stop)
            else:
                tally = paint_bands(columns, rows, target)
            painted = time.perf_counter()
            encoded = None if stop() else sink.encode(rect, target)
        return encoded, tally, time.perf_counter() - painted

    def paint_bands(columns: Array, rows: Array, target: Array) -> Tally:
        """Paint a rectangle, which may take minutes, some rows at a time, and update the bar each time."""
        tally = Tally()
        count = max(1, PORTION_POINTS // columns.size)
        for first in range(0, rows.size, count):
            if stop():
                break
            band = slice(first, first + count)
            tally += painter.paint(columns, rows[band], target[band], stop)
            bar.update(target[band].size)
        return tally

    tally = Tally()
    n_threads = n_threads if painter.is_threaded else 1
    # Ctrl-C stops all threads. KeyboardInterrupt is raised after the threads have ended, so that no thread
    # writes to the sink when it is discarded.
    with held_interrupts(interrupt):
        with open_destination() as sink:
            _check_strips(sink, painter.dtype, n_threads)
            with progress_bar(total=n_points, unit="pixel", shown=progress, unit_scale=True) as bar:
                with let_interrupts_through():
                    painter.prepare()
                with closing(map_in_order(paint, sink.rectangles(), n_threads, stop.set)) as painted:
                    for rect, (encoded, own_tally, seconds) in painted:
                        deliver_interrupts()
                        if interrupted():
                            raise KeyboardInterrupt
                        put_began = time.perf_counter()
                        sink.put(rect, encoded)
                        tally += own_tally
                        writing += seconds + time.perf_counter() - put_began
                        if painter.is_threaded:
                            bar.update((rect.top - rect.bottom) * (rect.right - rect.left))
            if interrupted():
                raise KeyboardInterrupt
            closing_began = time.perf_counter()
        writing += time.perf_counter() - closing_began
    return sink, RenderStats(
        painter.method, n_points, tally.points_evaluated, tally.points_filled,
        tally.cells_bounded, n_threads,
        {
            "bounding": tally.bounding, "evaluating": tally.evaluating, "filling": tally.filling,
            "writing": writing, "total": time.perf_counter() - began,
        },
        painter.folded,
    )  # fmt: skip


def _sorted_classes(data: Array, found: Array) -> tuple[Array, Array]:
    """Return the sorted classes, and pixels that are indices into them, from indices into `found`."""
    order = np.argsort(found)
    numbers = np.empty(len(found), np.min_scalar_type(max(len(found) - 1, 0)))
    numbers[order] = np.arange(len(found))
    return numbers[data], found[order]


def check_view(xlim: Any, ylim: Any, size: Any) -> tuple[tuple[int, int], tuple[float, float, float, float]]:
    """Return (width, height) in pixels and the extent of a picture, given arguments of `render_boundary`."""
    sides = [high - low for low, high in (check_limits(xlim, 1, "xlim"), check_limits(ylim, 1, "ylim"))]
    width, height = check_size(size, *sides)
    return (width, height), (*check_limits(xlim, width, "xlim"), *check_limits(ylim, height, "ylim"))


def check_size(size: Any, across: float, up: float, *, name: str = "size") -> tuple[int, int]:
    """Return (width, height) in pixels.

    Parameters
    ----------
    size : (int, int) or int
        Both sides, or the longer one.
    across, up : float
        Lengths above 0 of the sides, whose ratio gives the shorter side, up to `MAX_ASPECT_RATIO`.
    name : str, default "size"
        Name of the argument in error messages.

    Raises
    ------
    ValueError
        If `size` is neither of the two, or a side is below 1.
    """
    if isinstance(size, (int, np.integer)):
        longer = check_count(size, name, 1)
        share = max(min(across, up) / max(across, up), 1 / MAX_ASPECT_RATIO)
        shorter = max(1, round(longer * share))
        return (longer, shorter) if across >= up else (shorter, longer)
    try:
        if isinstance(size, str):
            raise TypeError
        width, height = size
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be (width, height) in pixels, or one integer, got {shown(size)}"
        ) from None
    return check_count(width, "width", 1), check_count(height, "height", 1)


def check_limits(limits: Any, count: int, name: str) -> tuple[float, float]:
    """Return two edges; raise ValueError unless `count` pixels between them have a width above 0."""
    try:
        low, high = (check_number(limit, name, -math.inf) for limit in limits)
    except (TypeError, ValueError):
        low = high = np.nan
    step = (high - low) / count
    if np.isfinite([low, high]).all() and low < high and not (np.isfinite(step) and step > 0):
        raise ValueError(
            f"{name} must be two finite numbers whose difference, divided by {count}, is finite and above 0, "
            f"got {shown(limits)}"
        )
    if not (np.isfinite(step) and step > 0):
        raise ValueError(f"{name} must be two finite numbers, the lower first, got {shown(limits)}")
    return low, high


def _check_duration(width: int, height: int, is_threaded: bool, n_threads: int) -> None:
    """Raise ValueError for a picture that takes more than `MAX_DAYS` days even at the fastest rate."""
    rate = FASTEST_NETWORK * n_threads if is_threaded else FASTEST_OTHER
    days = width * height / rate / 86400
    if days > MAX_DAYS:
        most = math.isqrt(int(rate * MAX_DAYS * 86400))
        raise ValueError(
            f"size: a picture of {width} x {height} pixels takes more than {days:,.0f} days, at {rate:.0e} "
            f"pixels per second, which is as fast as it gets: choose at most {most} x {most} pixels, or "
            "limits around a part of the picture"
        )


class Axis(NamedTuple):
    """Coordinates of equally spaced points."""

    first: float
    step: float
    n_points: int

    def points(self, begin: int, end: int) -> NDArray[np.float64]:
        """Return the coordinates of the points with numbers from `begin` to before `end`."""
        return self.at(np.arange(begin, end))

    def at(self, steps: Array) -> NDArray[np.float64]:
        """Return the coordinates of positions given in steps, possibly fractions, from the first point."""
        return self.first + steps * np.float64(self.step)


def centres(limits: tuple[float, ...], count: int) -> Axis:
    """Return the centres of `count` pixels between two edges."""
    low, high = limits
    step = (high - low) / count
    return Axis(low + step / 2, step, count)


def _check_memory(width: int, height: int, dtype: np.dtype) -> None:
    check_memory(
        width * height * dtype.itemsize, f"a picture of {width} x {height} pixels takes",
        'write it to a file while it is painted, out="boundary.png", .tif, .zarr or .dzi, or into a '
        "numpy.memmap",
    )  # fmt: skip


def _check_strips(sink: Sink, dtype: np.dtype, n_threads: int) -> None:
    """Raise MemoryError if the rectangles in memory at a time do not fit into the free memory."""
    first = next(iter(sink.rectangles()))
    if sink.target(first) is not None:
        return
    points = (first.top - first.bottom) * (first.right - first.left)
    # A rectangle is in memory twice, painted and encoded. For each thread, one rectangle is in work and two
    # wait.
    check_memory(
        points * dtype.itemsize * 2 * 3 * n_threads, "a picture so wide is written in strips that take",
        "write it to .zarr or .dzi, which are written in squares, or choose a narrower size",
    )  # fmt: skip
