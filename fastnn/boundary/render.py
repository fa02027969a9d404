"""Decision boundaries as pictures of any size.

The way from a model to a picture: a *painter* says what is at the pixels of a rectangle (``painters.py``), a
*sink* says which rectangles it wants and takes them to where the picture goes (``sinks/``), and `render`
runs between the two on all cores, holding a few rectangles at a time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnn_kernels.compiler.interrupts import deliver_interrupts, held_interrupts, let_interrupts_through

from ..system.progress import progress_bar
from ..system.threads import Flag, available_cores, in_turn, taken_cores
from ..system.validation import check_count, check_flag, check_memory, check_number, shown
from .colours import check_colouring, region_colours, response_colours
from .grids import Tally
from .painters import PORTION_POINTS, Painter, check_model, make_painter
from .sinks import ArraySink, FileSink, Picture, PngCoding, Rect, Sink, check_coloured, open_sink, save_pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["BoundaryImage", "RenderStats", "render_boundary"]

Array = NDArray[Any]

# Pixels of a side of the picture that a notebook shows: more than a screen has room for.
SHOWN_PIXELS = 1024
# By how many times the longer side of a picture has more pixels than the shorter at the most, unless both are
# given. Sides of a rectangle whose lengths differ by more have different units.
MOST_ELONGATED = 8
# Pixels a second that are never exceeded, far from a boundary: by a thread, and by somebody else's model.
FASTEST_NETWORK, FASTEST_OTHER = 2e9, 2e7
# Days that a picture may take at that rate.
MOST_DAYS = 3
# Threads of a picture: no more than there are cores paint at a time, and each is started.
MOST_THREADS = 256


@dataclass(frozen=True)
class RenderStats:
    """What a picture took.

    Attributes
    ----------
    method : str
        "dense", "certified", or "certified, then dense" where the bounds did not close.
    points : int
        Pixels of the picture.
    points_evaluated : int
        Pixels that the model was evaluated at.
    points_filled : int
        Pixels in squares in which one class provably wins.
    cells_bounded : int
        Squares that were looked at for that.
    n_threads : int
        Threads that painted.
    seconds : dict of str to float
        Of "bounding", "evaluating", "filling" and "writing", summed over the threads; and "total", which
        passed meanwhile, compiling included if kernels had to be compiled first.
    folded : str
        The transformers of a pipeline that were folded into the first layer of its network, such as
        "StandardScaler, PCA"; or why the pipeline was asked as it is, such as "not folded: PolynomialFeatures
        is not known to be affine". Empty where there was nothing to fold.
    """

    method: str
    points: int
    points_evaluated: int
    points_filled: int
    cells_bounded: int
    n_threads: int
    seconds: dict[str, float] = field(default_factory=dict)
    folded: str = ""


class BoundaryImage:
    """A picture of a decision boundary, made by `render_boundary`. Notebooks show it.

    Attributes
    ----------
    data : array (height, width) or None
        Rows from the lower edge upward, values at the pixels' centres: numbers into `classes`, or a response.
        None where the picture went to a file.
    extent : (float, float, float, float)
        Its edges: left, right, bottom, top, as matplotlib's ``imshow`` takes them with ``origin="lower"``.
    classes : array (n_classes,) or None
        The classes; None for a response.
    stats : RenderStats
        What it took.
    response : str
        What the pixels hold, as `render_boundary` was told.
    path : pathlib.Path or None
        The file that the picture went to.
    is_bounded : bool
        False for margins of a decision function, which may be above 1; other responses are from 0 to 1.
    colours, cmap
        The colours that `render_boundary` was given, or None: `save` and `plot` take them unless they are
        given others.

    Examples
    --------
    >>> import fastnn
    >>> image = fastnn.render_boundary(lambda points: points[:, 0] > 0.5, (0, 1), (0, 1), size=4)
    >>> image.data[0], image.classes
    (array([0, 0, 1, 1], dtype=uint8), array([False,  True]))
    >>> image.extent
    (0.0, 1.0, 0.0, 1.0)
    """

    def __init__(
        self,
        data: Array | None,
        extent: tuple[float, float, float, float],
        classes: Array | None,
        stats: RenderStats,
        response: str = "class",
        path: Path | None = None,
        is_bounded: bool = True,
        colours: Any = None,
        cmap: Any = None,
    ) -> None:
        self.data, self.extent, self.classes, self.stats = data, extent, classes, stats
        self.response, self.path, self.is_bounded = response, path, is_bounded
        self.colours, self.cmap = colours, cmap

    def save(self, path: str | PathLike[str], *, colours: Any = None, cmap: Any = None) -> None:
        """Write the picture to a file.

        Parameters
        ----------
        path : str or path
            The suffix says what is written: ``.png``, ``.tif`` or ``.tiff``, ``.zarr``, ``.dzi`` (a pyramid
            of tiles, and a page that shows it), ``.svg`` or ``.pdf`` (the regions and the lines between them
            as shapes); see the Notes of `render_boundary`.
        colours : sequence, mapping, str or Colormap, optional
            Colours of the classes, as `render_boundary` takes them and by default those that it was given.
        cmap : str or Colormap, optional
            Colormap of a response, by default the one that `render_boundary` was given.

        Raises
        ------
        ValueError
            For another suffix, a folder that is not there, a picture that went to a file already, colours
            that are none or not as many as the classes, or that are given for a file that shows none, margins
            of a decision function in a format that holds numbers from 0 to 1.
        ImportError
            For ``.tif`` without tifffile, ``.zarr`` without zarr. The message says how to install them.
        """
        data = self._pixels("save it")
        check_colouring(self.response, colours, cmap)
        picture = self._picture(data, colours, cmap)
        check_coloured(path, picture, colours, cmap)
        save_pixels(data, path, picture)

    def plot(
        self,
        ax: Axes | None = None,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        colours: Any = None,
        cmap: Any = None,
    ) -> Axes:
        """Draw the picture with matplotlib.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; the current axes by default.
        X : array-like (n, 2), optional
            Samples to draw on it.
        y : array-like (n,), optional
            Their classes.
        colours : sequence, mapping, str or Colormap, optional
            Colours of the classes, as `render_boundary` takes them and by default those that it was given.
            Samples have them, and regions are pale versions. Where y has labels that are none of `classes`,
            a sequence is in the sorted order of all.
        cmap : str or Colormap, optional
            Colormap of a response, by default the one that `render_boundary` was given, else "gray".

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ValueError
            For a picture that went to a file, X without y, labels that cannot be the model's, and colours
            that are none or not as many as the classes.
        """
        from ..plotting.boundary import draw_image

        self._pixels("draw it")
        return draw_image(self, ax, X, y, colours, cmap)

    def _repr_png_(self) -> bytes | None:
        """Return a PNG of at most 1024 pixels a side, in the colours of a saved one; None without `data`."""
        if self.data is None:
            return None
        stride = -(-max(self.data.shape) // SHOWN_PIXELS)
        pixels = self.data[::-stride, ::stride] if stride > 1 else self.data[::-1]
        if self.classes is not None:
            pixels = pixels.astype(np.min_scalar_type(len(self.classes) - 1))
        elif not self.is_bounded:
            least = np.finfo(pixels.dtype).tiny
            pixels = pixels / pixels.max(initial=least, where=np.isfinite(pixels))
        picture = self._picture(pixels, is_bounded=True)
        return PngCoding(picture, grey_bits=16).file(np.ascontiguousarray(pixels))

    def _picture(
        self, pixels: Array, colours: Any = None, cmap: Any = None, is_bounded: bool | None = None
    ) -> Picture:
        """Describe pixels of this picture for a file, in its own colours unless others are given."""
        return _picture(
            (pixels.shape[1], pixels.shape[0]), pixels.dtype, self.extent, self.classes,
            self.is_bounded if is_bounded is None else is_bounded,
            self.colours if colours is None else colours, self.cmap if cmap is None else cmap,
        )  # fmt: skip

    def _pixels(self, purpose: str) -> Array:
        if self.data is None:
            raise ValueError(f"the picture is in {self.path}: render it without out= to {purpose}")
        return self.data

    def __repr__(self) -> str:
        stats = self.stats
        where = f", path={str(self.path)!r}" if self.path else ""
        size = "" if self.data is None else f"{self.data.shape[1]} x {self.data.shape[0]}, "
        return f"BoundaryImage({size}{stats.method}, {stats.seconds['total']:.3g} s{where})"


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
        A `Model` of a loss of classes, one of fastnn's classifiers, any classifier with scikit-learn's
        methods, or a function that takes an (n, n_features) array and gives a class for every row. What is
        not fastnn's is asked for some 65,000 points at a time. A pipeline or fitted search of scikit-learn
        that ends in one of fastnn's classifiers is painted as that is, if the transformers before it are
        affine, such as scalers, `PCA` and selections of columns: see ``stats.folded``.
    xlim, ylim : (float, float)
        The picture's edges.
    size : int or (int, int), default 1024
        Pixels: (width, height), or those of the longer side as one number. The shorter side then has as many
        in proportion, so that pixels are square, but at least an eighth: sides whose lengths differ by more
        have different units.
    response : {"class", "probability", "confidence", "margin"}, default "class"
        What the pixels hold: the number of the class; the probability of one class; that of the class decided
        for; or by how much that is above the next one. The probability of an ensemble is the members' mean.
        The margin of a model that has `decision_function` and no `predict_proba`, such as scikit-learn's SVC,
        is that of its scores: by how much the highest is above the next one, or, of two classes, how far the
        score is from 0. It may be above 1.
    method : {"auto", "dense", "certified"}, default "auto"
        "dense" evaluates every pixel. "certified" divides the picture into squares, proves by bounds that one
        class wins all over a square, fills it, and evaluates only what is left along the boundary: the same
        picture, bit for bit (with ``backend="numpy"`` up to rounding), at a cost that grows with the
        boundary's length. "auto" does that where it pays:
        for classes, networks of fastnn and large pictures; it goes over to "dense" where the bounds do not
        close.
    class_of_interest : label, optional
        The class that the probability is of; by default the second of two. For a model of several labels,
        each of which a sample has or has not: the number of the label that is looked at.
    features : (int, int) or (str, str), optional
        The features along x and y, by number or, where the model knows names, by name. By default the first
        two.
    fill : float, array-like (n_features,), or mapping of names, optional
        Values of the other features; needed where the model has more than two. A pandas Series is taken by
        its names where the model knows names.
    classes : array-like, optional
        The classes of a function, or of a model without `classes_`; they are numbered in sorted order. By
        default those that come up, which with `out` nobody knows in time: there it is needed.
    n_threads : int, optional
        Threads that paint and encode; all available cores by default. Somebody else's model is asked by one.
    progress : bool, default False
        Show a bar.
    out : array, str or path, optional
        Where the picture goes: an array or a ``numpy.memmap`` (height, width) that holds its values; or a
        file, written while it is painted, in bounded memory: ``.png``, ``.tif``, ``.zarr``, ``.svg`` or
        ``.pdf`` (the regions and the lines between them as shapes), or ``.dzi``, a pyramid of tiles with a
        page that shows it in a browser; see Notes.
    colours : sequence, mapping, str or Colormap, optional
        Colours of the classes, each as matplotlib takes it, and opaque: one a class in the order of
        `classes`; a mapping of labels to colours, which may have more labels; or a colormap or its name, of
        which a qualitative one, as "Set2", gives its colours in order, and another, as "viridis", evenly
        spaced ones from end to end. Files have exactly these colours, and `BoundaryImage.plot` pale versions
        under samples. By default "tab10", or "turbo" for more than 10 classes, pale in files too. Where the
        classes are those that come up, their number is compared when the picture is saved or drawn.
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
        model of regression, responses and methods that do not go together, features that there are not, an
        `out` that does not fit, colours that are none, not as many as the classes, or given for a file that
        shows none.
    TypeError
        For a model that cannot predict, as where the arguments have another order.
    MemoryError
        At once, for a picture that the memory does not hold.
    ImportError
        For ``.tif`` without tifffile, ``.zarr`` without zarr. The message says how to install them.
    KeyboardInterrupt
        Within a fraction of a second of Ctrl-C; no half-written file is left.

    Notes
    -----
    Files are moved to their names when they are whole, and replace older pictures of the same name; a
    process that is killed before leaves a hidden folder, `.fastnn-...`, beside them, which goes when the
    next picture is written there. Their first row is the highest, as image files have it, but for Zarr,
    whose rows are those of `data`. Classes have a colour each, up to 256 of them (in ``.svg`` and ``.pdf``
    all); a response is grey, in ``.png`` with 16 bits, 0 for 0 and 65535 for 1, or with `cmap` in up to 256
    colours, and in ``.tif`` and ``.zarr`` it is a float; margins of a decision function, which may be above
    1, go to these two alone. The page of a ``.pdf`` is 8 inches along the longer side. Beside ``NAME.dzi``
    stand the tiles, ``NAME_files``, and the page, ``NAME.html``; an address that ends in
    ``#x=0.5&y=1&zoom=8`` opens it there. Pillow opens more than 178 million pixels once
    ``PIL.Image.MAX_IMAGE_PIXELS = None``.

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
            "out takes numbers of classes as they are painted, but nobody knows yet which there are: name "
            "them with classes=, or do without out="
        )
    if out is None:
        _check_memory(width, height, painter.dtype)
    else:
        _check_duration(width, height, painter.is_threaded, count)
    xs, ys = centres(extent[:2], width), centres(extent[2:], height)
    picture = _picture(
        (width, height), painter.dtype, extent, painter.classes, painter.is_bounded,
        None if painter.finds_classes else colours, cmap,
    )  # fmt: skip
    check_coloured(out, picture, colours, cmap)
    sink, stats = render(painter, xs, ys, lambda: open_sink(out, picture), count, progress)
    data, found = sink.pixels if isinstance(sink, ArraySink) else None, painter.classes
    if painter.finds_classes:
        assert data is not None
        assert found is not None
        data, found = _in_order(data, found)
    return BoundaryImage(
        data, extent, found, stats, response, sink.path if isinstance(sink, FileSink) else None,
        painter.is_bounded, colours, cmap,
    )  # fmt: skip


def render(
    painter: Painter,
    xs: Axis,
    ys: Axis,
    opened: Callable[[], Any],
    n_threads: int = 1,
    progress: bool = False,
    n_points: int | None = None,
) -> tuple[Any, RenderStats]:
    """Paint the rectangles that a sink wants, and close it; or discard it, whatever goes wrong.

    Parameters
    ----------
    painter : Painter
    xs, ys : Axis
        Centres of the pixels.
    opened : callable
        Opens the sink, a `Sink`.
    n_threads : int
    progress : bool
    n_points : int, optional
        Points in the sink's rectangles; by default all of the picture, each once.

    Returns
    -------
    Sink
    RenderStats
    """
    n_threads = min(n_threads, MOST_THREADS)
    began = time.perf_counter()
    n_points = xs.n_points * ys.n_points if n_points is None else n_points
    stop, interrupted = Flag(), Flag()
    writing = 0.0

    def interrupt() -> None:
        interrupted.hoist()
        stop.hoist()

    def paint(rect: Rect) -> tuple[Any, Tally, float]:
        target = sink.target(rect)
        if target is None:
            target = np.empty((rect.top - rect.bottom, rect.right - rect.left), painter.dtype)
        columns, rows = xs.part(rect.left, rect.right), ys.part(rect.bottom, rect.top)
        # Somebody else's model may itself want a core.
        with taken_cores(1) if painter.is_threaded else nullcontext():
            if painter.is_threaded:
                tally = painter.paint(columns, rows, target, stop)
            else:
                tally = paint_bands(columns, rows, target)
            painted = time.perf_counter()
            encoded = None if stop() else sink.encode(rect, target)
        return encoded, tally, time.perf_counter() - painted

    def paint_bands(columns: Array, rows: Array, target: Array) -> Tally:
        """Paint a rectangle some rows at a time, and move the bar after each: it may take minutes."""
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
    # Ctrl-C is what all threads are told, and raised when they have ended and the sink is discarded.
    with held_interrupts(interrupt):
        with opened() as sink:
            _check_strips(sink, painter.dtype, n_threads)
            with progress_bar(total=n_points, unit="pixel", shown=progress, unit_scale=True) as bar:
                with let_interrupts_through():
                    painter.prepare()
                with closing(in_turn(paint, sink.rectangles(), n_threads, stop.hoist)) as painted:
                    for rect, (encoded, part, seconds) in painted:
                        deliver_interrupts()
                        if interrupted():
                            raise KeyboardInterrupt
                        put = time.perf_counter()
                        sink.put(rect, encoded)
                        tally += part
                        writing += seconds + time.perf_counter() - put
                        if painter.is_threaded:
                            bar.update((rect.top - rect.bottom) * (rect.right - rect.left))
            if interrupted():
                raise KeyboardInterrupt
            put_all = time.perf_counter()
        writing += time.perf_counter() - put_all
    return sink, RenderStats(
        painter.method, n_points, tally.points_evaluated, tally.points_filled,
        tally.cells_bounded, n_threads,
        {
            "bounding": tally.bounding, "evaluating": tally.evaluating, "filling": tally.filling,
            "writing": writing, "total": time.perf_counter() - began,
        },
        painter.folded,
    )  # fmt: skip


def _picture(
    size: tuple[int, int],
    dtype: np.dtype,
    extent: tuple[float, float, float, float],
    classes: Array | None,
    is_bounded: bool = True,
    colours: Any = None,
    cmap: Any = None,
) -> Picture:
    if classes is None:
        table = None if cmap is None else response_colours(cmap)
        return Picture(*size, dtype, extent, is_bounded=is_bounded, response_colours=table)
    return Picture(*size, dtype, extent, region_colours(classes, colours), tuple(classes.tolist()))


def _in_order(data: Array, found: Array) -> tuple[Array, Array]:
    """Numbers of classes that were counted as they came up, as numbers of the sorted ones."""
    order = np.argsort(found)
    numbers = np.empty(len(found), np.min_scalar_type(max(len(found) - 1, 0)))
    numbers[order] = np.arange(len(found))
    return numbers[data], found[order]


def check_view(xlim: Any, ylim: Any, size: Any) -> tuple[tuple[int, int], tuple[float, float, float, float]]:
    """Return (width, height) in pixels and the extent of a picture, as users give its edges and its size."""
    sides = [high - low for low, high in (check_limits(xlim, 1, "xlim"), check_limits(ylim, 1, "ylim"))]
    width, height = check_size(size, *sides)
    return (width, height), (*check_limits(xlim, width, "xlim"), *check_limits(ylim, height, "ylim"))


def check_size(size: Any, across: float, up: float) -> tuple[int, int]:
    """Return (width, height) in pixels.

    Parameters
    ----------
    size : (int, int) or int
        Both, or the pixels of the longer side.
    across, up : float
        Lengths above 0 that one number is divided in proportion to; it is divided by `MOST_ELONGATED` at the
        most.

    Raises
    ------
    ValueError
        For anything else, and sides below 1.
    """
    if isinstance(size, (int, np.integer)):
        longer = check_count(size, "size", 1)
        share = max(min(across, up) / max(across, up), 1 / MOST_ELONGATED)
        shorter = max(1, round(longer * share))
        return (longer, shorter) if across >= up else (shorter, longer)
    try:
        if isinstance(size, str):
            raise TypeError
        width, height = size
    except (TypeError, ValueError):
        raise ValueError(f"size must be pixels, (width, height) or one number, got {size!r}") from None
    return check_count(width, "width", 1), check_count(height, "height", 1)


def check_limits(limits: Any, count: int, name: str) -> tuple[float, float]:
    """The two edges, between which `count` pixels have a size."""
    try:
        low, high = (check_number(limit, name, -math.inf) for limit in limits)
    except (TypeError, ValueError):
        low = high = np.nan
    step = (high - low) / count
    if not (np.isfinite(step) and step > 0):
        raise ValueError(f"{name} must be two finite numbers, the lower first, got {shown(limits)}")
    return low, high


def _check_duration(width: int, height: int, is_threaded: bool, n_threads: int) -> None:
    """Raise ValueError for a picture that even the fastest painting would take longer than some days for."""
    rate = FASTEST_NETWORK * n_threads if is_threaded else FASTEST_OTHER
    days = width * height / rate / 86400
    if days > MOST_DAYS:
        most = math.isqrt(int(rate * MOST_DAYS * 86400))
        raise ValueError(
            f"size: a picture of {width} x {height} pixels takes more than {days:,.0f} days, at {rate:.0e} "
            f"pixels a second, which is as fast as it gets: choose at most {most} x {most} pixels, or limits "
            "around a part of the picture"
        )


class Axis(NamedTuple):
    """Coordinates of points one step apart."""

    first: float
    step: float
    n_points: int

    def part(self, begin: int, end: int) -> NDArray[np.float64]:
        """Those from the point `begin` to the one before `end`."""
        return self.at(np.arange(begin, end))

    def at(self, places: Array) -> NDArray[np.float64]:
        """Return the coordinates of places, which are counted in steps from the first point."""
        return self.first + places * np.float64(self.step)


def centres(limits: tuple[float, ...], count: int) -> Axis:
    """Centres of `count` pixels between two edges."""
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
    """Whether there is memory for the rectangles that are held at a time."""
    first = next(iter(sink.rectangles()))
    if sink.target(first) is not None:
        return
    points = (first.top - first.bottom) * (first.right - first.left)
    # Painted, and as much again to encode it; of every thread two wait.
    check_memory(
        points * dtype.itemsize * 2 * 3 * n_threads, "a picture so wide is written in strips that take",
        "write it to .zarr or .dzi, which are written in squares, or choose a narrower size",
    )  # fmt: skip
