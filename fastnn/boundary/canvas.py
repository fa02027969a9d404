"""Painting of pictures: rectangles pass from a painter to a sink, on all cores, a few in memory at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from concurrent.futures import FIRST_COMPLETED, Executor, wait
from contextlib import closing, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn_kernels.compiler.interrupts import defer_signals, deliver_interrupts, let_interrupts_through

from ..network.description import Array
from ..system.memory import check_memory
from ..system.progress import make_progress_bar
from ..system.threads import Flag, acquire_cores, count_cores, map_in_order
from ..system.validation import check_count, check_flag, short_repr
from .grids import Tally
from .image import BoundaryImage, RenderStats
from .painters import Advance, Painter, never_stop
from .regions import Regions
from .sinks import Destination, open_sink
from .sinks.array import ArraySink
from .sinks.base import FileSink, Picture, Sink
from .view import Rect, View

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

    from .colours import Colours

# Numbers of pixels that were painted, statistics, and the seconds of encoding and writing.
Painted = Generator[tuple[int, Tally, float], None, None]

# Maximum number of pixels in a file. Painting this many takes half a day, far from a boundary.
MAX_PIXELS = 10**14
# Maximum number of threads of a picture, of which no more than there are cores paint at a time.
MAX_THREADS = 256
# Seconds between two checks for Ctrl-C while other processes paint.
POLL_SECONDS = 0.1


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
    tally, writing, n_painted = Tally(), 0.0, 0

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
            for rect, (encoded, own_tally, seconds) in results:
                check_interrupts()
                put_began = time.perf_counter()
                sink.put(rect, encoded)
                is_new = painter.is_threaded and rect.step == 1
                n_new = math.prod(rect.shape) if is_new else 0  # `advance` has counted the others
                yield n_new, own_tally, seconds + time.perf_counter() - put_began

    def paint_by_executor(executor: Executor) -> Painted:
        parts = sink.parts(regions)
        futures = {executor.submit(_paint_part, painter, view, part): rect for rect, part in parts}
        try:
            while futures:
                done, _ = wait(futures, POLL_SECONDS, FIRST_COMPLETED)
                check_interrupts()
                for future in done:
                    yield math.prod(futures.pop(future).shape), *future.result()
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
                    for n_new, own_tally, own_writing in painted:
                        tally += own_tally
                        writing += own_writing
                        bar.update(n_new)
                        n_painted += n_new
                bar.update(n_points - n_painted)  # squares of a known class
            check_interrupts()
            closing_began = time.perf_counter()
        writing += time.perf_counter() - closing_began
    seconds = {"bounding": tally.bounding, "evaluating": tally.evaluating, "filling": tally.filling}
    seconds |= {"writing": writing, "total": time.perf_counter() - began}
    counts = tally.points_evaluated, tally.points_filled, tally.cells_bounded
    if executor is not None:
        n_threads = 0
    stats = RenderStats(
        painter.method, n_points, *counts, n_threads, seconds, painter.subject.folded, painter.reason
    )
    return sink, stats


def _paint_rectangle(
    painter: Painter, view: View, sink: Sink, regions: Regions | None, advance: Advance, rect: Rect
) -> tuple[Any, Tally, float]:
    """Return what `sink.encode` makes of a rectangle, statistics, and the seconds of encoding."""
    # A model of another library may reserve cores itself. If one were reserved here, both could deadlock:
    # reserve a core for networks of fastnn alone.
    with acquire_cores(1) if painter.is_threaded else nullcontext():
        pixels, tally = paint_pixels(painter, view, regions, advance, rect, sink.target(rect))
        painted = time.perf_counter()
        encoded = None if advance() else sink.encode(rect, pixels)
    return encoded, tally, time.perf_counter() - painted


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


def _paint_part(painter: Painter, view: View, part: Sink) -> tuple[Tally, float]:
    """Paint and write a part of a picture, perhaps in another process; return statistics and seconds."""
    tally, writing = Tally(), 0.0
    with part:
        for rect in part.rectangles():
            encoded, own_tally, seconds = _paint_rectangle(painter, view, part, None, never_stop, rect)
            began = time.perf_counter()
            part.put(rect, encoded)
            tally += own_tally
            writing += seconds + time.perf_counter() - began
    return tally, writing


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
