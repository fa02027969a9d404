"""Rendering of decision boundaries: from a model to a picture of any size.

A *subject* decides the class of a point (``subjects.py``), a *painter* computes the pixels of rectangles
(``painters.py``), and a *sink* divides the picture into rectangles and writes their pixels to an array or a
file (``sinks/``). Rectangles pass from the painter to the sink on all cores, a few in memory at a time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from concurrent.futures import FIRST_COMPLETED, Executor, wait
from contextlib import closing, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fastnn_kernels.compiler.interrupts import defer_signals, deliver_interrupts, let_interrupts_through

from ..network.description import Array
from ..system.memory import check_memory
from ..system.progress import make_progress_bar
from ..system.threads import Flag, acquire_cores, count_cores, map_in_order
from ..system.validation import check_count, check_flag, short_repr
from .colours import check_colouring
from .grids import Tally
from .image import BoundaryImage, RenderStats
from .painters import Advance, Painter, make_painter, never_stop
from .sinks import Destination, open_sink
from .sinks.array import ArraySink
from .sinks.base import FileSink, Picture, Sink
from .subjects import Features, Fill, make_subject
from .view import Rect, Regions, View, make_view

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

    from .colours import Colours

# Numbers of pixels that were painted, and statistics.
Painted = Generator[tuple[int, Tally], None, None]

# Maximum number of pixels in a file. Painting this many takes half a day, far from a boundary.
MAX_PIXELS = 10**14
# Maximum number of threads of a picture, of which no more than there are cores paint at a time.
MAX_THREADS = 256
# Seconds between two checks for Ctrl-C while other processes paint.
POLL_SECONDS = 0.1


def render_boundary(
    model: Any,
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    size: int | tuple[int, int] = 1024,
    *,
    response: str = "class",
    method: str = "auto",
    class_of_interest: Any = None,
    features: Features | None = None,
    fill: Fill | None = None,
    classes: ArrayLike | None = None,
    n_threads: int | None = None,
    executor: Executor | None = None,
    progress: bool = False,
    out: Destination = None,
    colours: Colours | None = None,
    cmap: str | Colormap | None = None,
) -> BoundaryImage:
    """Render which class a model decides for, at every pixel of a rectangle.

    Parameters
    ----------
    model : Model, estimator, ensemble or callable
        A `Model` with a loss of classes, any classifier with scikit-learn's methods, or a function of arrays
        (n, n_features) that returns a class for every row. A pipeline or fitted search that ends in one of
        fastnn's classifiers is painted like that classifier, if the transformers before it are affine, such
        as scalers, `PCA` and selections of columns: see ``stats``.
    xlim, ylim : (float, float)
        Edges of the picture.
    size : int or (int, int), default 1024
        Pixels: (width, height), or the longer side alone. Pixels are then square, but the shorter side is at
        least an eighth of the longer one.
    response : {"class", "probability", "confidence", "margin"}, default "class"
        Content of the pixels: the number of the predicted class; the probability of one class, of an ensemble
        the members' mean; the probability of the predicted class; or its difference from the second highest.
        Without `predict_proba`, the margin is the difference between the two highest scores of
        `decision_function`, or with two classes the distance of the score from 0; it may be above 1.
    method : {"auto", "dense", "certified"}, default "auto"
        "dense" evaluates every pixel. "certified" proves by bounds that one class wins all over a square,
        fills it, and evaluates the pixels that remain along the boundary: the same picture, bit for bit, at a
        cost that grows with the boundary's length. "auto" does so for large pictures of classes by networks
        of fastnn, unless the bounds prove too little; ``stats.reason`` says why it did not.
    class_of_interest : label, optional
        Class whose probability is rendered; by default the second of two. For a model of several labels: the
        number of the label to render. It is an error where it would have no effect.
    features : (int, int) or (str, str), optional
        Features along x and y, by number or, where the model knows names, by name. By default the first two.
    fill : float, array-like (n_features,), or mapping of names, optional
        Values of the other features; required if the model has more than two. A pandas Series is a mapping
        where the model knows names.
    classes : array-like, optional
        Classes of a function, or of a model without `classes_`, numbered in sorted order; by default the
        predicted ones. These are not known in time for `out`, which requires the argument.
    n_threads : int, optional
        Threads that paint and encode; all available cores by default. A model of another library is called
        from one thread, for some 65,000 points at a time.
    executor : concurrent.futures.Executor, optional
        Processes that paint a ``.zarr`` in place of threads and see the same file system, such as the workers
        of a Dask cluster, ``client.get_executor()``. A task writes a shard, up to 65,536 pixels to a side.
    progress : bool, default False
        Show a progress bar.
    out : array, str or path, optional
        Destination: an array or a ``numpy.memmap`` (height, width) that can hold the values; or a file, which
        is written during painting, in bounded memory: ``.png``, ``.zarr``, or ``.dzi``, a pyramid of tiles
        with a page that shows it in a browser; see Notes.
    colours : sequence, mapping, str or Colormap, optional
        Colours of the classes as matplotlib takes them, and opaque: one per class in the order of `classes`,
        a mapping from labels, or a colormap or its name, of which a qualitative one, as "Set2", gives its
        colours in order, and another evenly spaced ones. Files have exactly these colours, and
        `BoundaryImage.plot` paler ones under samples. By default twenty colours, of which the first six
        differ to colour-blind readers too, or "turbo" for more classes, paler in files too.
    cmap : str or Colormap, optional
        Colormap of a response: 0 has its first colour and 1 its last. In files, it is for ``.png`` and
        ``.dzi``. By default a response is grey.

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
        For a model that cannot predict, as when the arguments are in another order, and for an executor of
        another kind.
    MemoryError
        At once, for a picture that does not fit into the free memory.
    ImportError
        For ``.zarr`` without zarr. The message says how to install it.
    KeyboardInterrupt
        Within a fraction of a second of Ctrl-C; no half-written file is left.

    Notes
    -----
    A file is moved to its name when it is complete, and replaces an older picture of the same name. A process
    that is killed leaves a hidden folder, `.fastnn-...`, beside the file.

    The first row of an image file is the highest one; a Zarr array has the row order of `data`. Classes
    have a colour each, up to 256 of them. A response is grey, in ``.png`` with 16 bits, 0 for 0 and 65535 for
    1, or with `cmap` in up to 256 colours. ``.zarr`` holds it as floats; it is the only format for margins of
    a decision function. Beside ``NAME.dzi`` stand the tiles, ``NAME_files``, and the page, ``NAME.html``; an
    address that ends in ``#x=0.5&y=1&zoom=8`` opens the page there. Pillow opens more than 178 million pixels
    after ``PIL.Image.MAX_IMAGE_PIXELS = None``.

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
    call = "render_boundary(model, xlim, ylim)"
    subject = make_subject(model, call, features, fill, class_of_interest, classes)
    view = make_view(xlim, ylim, size)
    painter = make_painter(subject, response, method, class_of_interest, view.n_pixels)
    check_colouring(response, colours, cmap, classes=None if painter.finds_classes else painter.classes)
    return paint_picture(painter, view, n_threads, executor, progress, out, colours, cmap)


def paint_picture(
    painter: Painter,
    view: View,
    n_threads: int | None = None,
    executor: Executor | None = None,
    progress: bool = False,
    out: Destination = None,
    colours: Colours | None = None,
    cmap: str | Colormap | None = None,
) -> BoundaryImage:
    """Paint the pixels of a view into an array or a file; for the options see `render_boundary`."""
    count = count_cores() if n_threads is None else check_count(n_threads, "n_threads", 1)
    check_flag(progress, "progress")
    if not isinstance(executor, Executor | None):
        raise TypeError(
            f"executor must be an Executor of concurrent.futures, got {short_repr(executor)}; for a Dask "
            "cluster pass client.get_executor()"
        )
    if executor is not None and n_threads is not None:
        raise ValueError("n_threads counts threads of this process, executor= uses others: leave one out")
    if out is not None:
        if painter.finds_classes:
            raise ValueError(
                "out is written while the picture is painted, when the classes are not all known yet: name "
                "them with classes=, or render without out="
            )
        if view.n_pixels > MAX_PIXELS:
            raise ValueError(
                f"size: a picture of {view} pixels takes days: choose at most {MAX_PIXELS:.0e} pixels, or "
                "limits around a part of the picture"
            )
    is_chosen = colours is not None or cmap is not None
    picture = Picture(
        *view.size, painter.dtype, view.extent, painter.classes, painter.is_bounded, colours, cmap, is_chosen
    )
    _check_range(painter, view)
    sink, stats = _paint(painter, view, lambda: open_sink(out, picture), count, executor, progress)
    data, found = sink.pixels if isinstance(sink, ArraySink) else None, painter.classes
    if painter.finds_classes:
        assert data is not None
        assert found is not None
        found, numbers = np.unique(found, return_inverse=True)
        data = numbers.astype(np.min_scalar_type(len(found) - 1))[data]
    path = sink.path if isinstance(sink, FileSink) else None
    known = painter.subject.classes if found is None else found
    more = path, painter.is_bounded, colours, cmap, known, painter.class_index
    return BoundaryImage(data, view.extent, found, stats, painter.response, *more)


def _check_range(painter: Painter, view: View) -> None:
    """Predict the corners of a picture whose scores may overflow: kernels would silently paint NaN."""
    subject, (left, right, bottom, top) = painter.subject, view.extent
    if subject.committee is None or subject.predict is None:
        return
    if max(map(abs, view.extent)) > float(np.finfo(subject.committee.dtype).max) ** 0.5:
        corners = np.array([[left, left, right, right], [bottom, top, bottom, top]])
        try:
            subject.predict(subject.section.samples(*corners))
        except ValueError as error:
            raise ValueError(f"the model takes no points at the corners of xlim and ylim: {error}") from error


def _paint(
    painter: Painter,
    view: View,
    open_destination: Callable[[], Sink],
    n_threads: int,
    executor: Executor | None,
    progress: bool,
) -> tuple[Sink, RenderStats]:
    """Paint a picture, and close its sink, or discard it after an error."""
    n_threads = min(n_threads, MAX_THREADS) if painter.is_threaded else 1
    began = time.perf_counter()
    n_points = view.n_pixels
    stop, interrupted = Flag(), Flag()
    regions: Regions | None = None
    tally, n_painted = Tally(), 0

    def interrupt() -> None:
        interrupted.set()
        stop.set()

    def check_interrupts() -> None:
        deliver_interrupts()
        if interrupted():
            raise KeyboardInterrupt

    def advance(n_pixels: int = 0) -> bool:
        nonlocal n_painted
        if n_pixels and not painter.is_threaded:
            bar.update(n_pixels)
            n_painted += n_pixels
        return stop()

    def paint_by_threads() -> Painted:
        work = partial(_paint_rectangle, painter, view, sink, regions, advance)
        with closing(map_in_order(work, sink.rectangles(regions), n_threads, stop.set)) as results:
            for rect, (encoded, own_tally) in results:
                check_interrupts()
                put_began = time.perf_counter()
                sink.put(rect, encoded)
                is_new = painter.is_threaded and rect.step == 1
                n_new = math.prod(rect.shape) if is_new else 0  # `advance` has counted the others
                yield n_new, own_tally + Tally(writing=time.perf_counter() - put_began)

    def paint_by_executor(executor: Executor) -> Painted:
        parts = sink.parts(regions)
        futures = {executor.submit(_paint_part, painter, view, part): rect for rect, part in parts}
        try:
            while futures:
                done, _ = wait(futures, POLL_SECONDS, FIRST_COMPLETED)
                check_interrupts()
                for future in done:
                    yield math.prod(futures.pop(future).shape), future.result()
        finally:
            for future in futures:
                future.cancel()

    # Ctrl-C stops all threads. KeyboardInterrupt is raised after the threads have ended, so that no thread
    # writes to the sink when it is discarded.
    with defer_signals(interrupt):
        with open_destination() as sink:
            _check_memory(sink, painter.dtype, n_threads)
            with make_progress_bar(total=n_points, unit="pixel", shown=progress, unit_scale=True) as bar:
                with let_interrupts_through():
                    painter.compile()  # in this thread, which Ctrl-C can interrupt
                if sink.square:
                    regions, tally = painter.find_regions(view, sink.square, stop)
                painted = paint_by_threads() if executor is None else paint_by_executor(executor)
                with closing(painted):
                    for n_new, own_tally in painted:
                        tally += own_tally
                        bar.update(n_new)
                        n_painted += n_new
                bar.update(n_points - n_painted)  # squares of a known class
            check_interrupts()
            closing_began = time.perf_counter()
        tally += Tally(writing=time.perf_counter() - closing_began)
    seconds = {name: getattr(tally, name) for name in ("bounding", "evaluating", "filling", "writing")}
    seconds["total"] = time.perf_counter() - began
    counts = tally.points_evaluated, tally.points_filled, tally.cells_bounded
    n_threads = n_threads if executor is None else 0
    folded, reason = painter.subject.folded, painter.reason
    return sink, RenderStats(painter.method, n_points, *counts, n_threads, seconds, folded, reason)


def _paint_rectangle(
    painter: Painter, view: View, sink: Sink, regions: Regions | None, advance: Advance, rect: Rect
) -> tuple[Any, Tally]:
    """Return what `sink.encode` makes of a rectangle, and statistics."""
    # A model of another library may reserve cores itself. If one were reserved here, both could deadlock:
    # reserve a core for networks of fastnn alone.
    with acquire_cores(1) if painter.is_threaded else nullcontext():
        pixels, tally = paint_pixels(painter, view, regions, advance, rect, sink.target(rect))
        painted = time.perf_counter()
        encoded = None if advance() else sink.encode(rect, pixels)
    return encoded, tally + Tally(writing=time.perf_counter() - painted)


def paint_pixels(
    painter: Painter,
    view: View,
    regions: Regions | None,
    advance: Advance,
    rect: Rect,
    target: Array | None = None,
) -> tuple[Array, Tally]:
    """Return the pixels of a rectangle, painted into `target` or a new array, and statistics."""
    tally = Tally()
    if target is None:
        pixels = None if regions is None else regions.constant(rect)
        if pixels is not None:
            return pixels, tally
        target = np.empty(rect.shape, painter.dtype)
    columns = view.xs.points(rect.left, rect.right, rect.step)
    rows = view.ys.points(rect.bottom, rect.top, rect.step)
    if rect.step > 1:  # pixels that another rectangle has counted
        painter.paint(columns, rows, target, lambda n_pixels=0: advance())
        return target, tally
    for own, squares in [(slice(None), None)] if regions is None else regions.fill(rect, target):
        tally += painter.paint(columns, rows[own], target[own], advance, squares)
    return target, tally


def _paint_part(painter: Painter, view: View, part: Sink) -> Tally:
    """Paint and write a part of a picture, perhaps in another process; return statistics."""
    tally = Tally()
    with part:
        for rect in part.rectangles():
            encoded, own_tally = _paint_rectangle(painter, view, part, None, never_stop, rect)
            began = time.perf_counter()
            part.put(rect, encoded)
            tally += own_tally + Tally(writing=time.perf_counter() - began)
    return tally


def _check_memory(sink: Sink, dtype: np.dtype, n_threads: int) -> None:
    """Raise MemoryError if the rectangles in memory at a time do not fit into the free memory."""
    first = next(iter(sink.rectangles()))
    if sink.target(first) is not None:
        return
    points = math.prod(first.shape)
    # A rectangle is in memory twice, painted and encoded. For each thread, one is in work and two wait.
    check_memory(
        points * dtype.itemsize * 2 * 3 * n_threads,
        "a picture so wide is written in strips that take",
        "write it to .zarr or .dzi, which are written in squares, or choose a narrower size",
    )
