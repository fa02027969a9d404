"""Decision boundaries as Dask arrays, with one task per chunk."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from fastnn_kernels.compiler.interrupts import defer_signals

from ..network.description import Array
from ..system.extras import import_extra
from ..system.threads import Flag, acquire_cores
from ..system.validation import check_count
from .painters import Painter, make_painter
from .render import paint_pixels
from .subjects import Features, Fill, make_subject
from .view import Rect, Regions, View, make_view

if TYPE_CHECKING:
    import dask.array

# Maximum number of chunks of an array. Each is a task, and Dask's schedulers manage about a million.
MAX_CHUNKS = 1_000_000


def boundary_array(
    model: Any,
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    size: int | tuple[int, int] = 1024,
    *,
    chunks: int = 2048,
    response: str = "class",
    method: str = "auto",
    class_of_interest: Any = None,
    features: Features | None = None,
    fill: Fill | None = None,
    classes: ArrayLike | None = None,
) -> dask.array.Array:
    """Return the picture of `render_boundary` as a Dask array that is painted when it is computed.

    Every chunk is a task. Chunks in which one class provably wins are found when the array is created; they
    are not painted, and repeat a single value in memory. Requires the extra ``dask``.

    The method `to_zarr` of the array compresses every chunk. To store a large picture, let the workers write
    only what holds a boundary: ``render_boundary(..., out="boundary.zarr", executor=client.get_executor())``.

    Parameters
    ----------
    model, xlim, ylim, size
        See `render_boundary`.
    chunks : int, default 2048
        Pixels to a side of a chunk.
    response, method, class_of_interest, features, fill, classes : optional
        See `render_boundary`; a function, or a model without `classes_`, requires `classes`.

    Returns
    -------
    dask.array.Array (height, width)
        Rows from ``ylim[0]`` upward: indices into the model's classes, or a response.

    Raises
    ------
    ValueError, TypeError
        When the array is created, in the cases of `render_boundary` and for more than a million chunks.
    ImportError
        If Dask is not installed. The message says how to install it.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Model([2, 3, 2], random_state=0)
    >>> array = fastnn.boundary_array(model, (-2, 3), (-1.5, 2), size=(3000, 2000), chunks=1024)
    >>> array.numblocks, array.dtype
    ((2, 3), dtype('uint8'))
    >>> image = fastnn.render_boundary(model, (-2, 3), (-1.5, 2), size=(3000, 2000))
    >>> bool((array.compute() == image.data).all())
    True
    """
    import_extra("dask.array", "dask", "boundary_array")
    import dask.array

    call = "boundary_array(model, xlim, ylim)"
    subject = make_subject(model, call, features, fill, class_of_interest, classes)
    view, side = make_view(xlim, ylim, size), check_count(chunks, "chunks", 1)
    width, height = view.size
    n_chunks = -(-width // side) * -(-height // side)
    if n_chunks > MAX_CHUNKS:
        raise ValueError(
            f"chunks: a picture of {width} x {height} pixels has {n_chunks:,} chunks of {side} x {side}, but "
            f"Dask manages some {MAX_CHUNKS:,} tasks: choose larger chunks or fewer pixels"
        )
    painter = make_painter(subject, response, method, class_of_interest, view.n_pixels)
    if painter.finds_classes:
        raise ValueError("classes must be known before a chunk is painted: name them with classes=")
    interrupted = Flag()
    with defer_signals(interrupted.set):
        regions, _ = painter.find_regions(view, side, interrupted)
    if interrupted():
        raise KeyboardInterrupt
    return dask.array.map_blocks(
        _paint_chunk,
        chunks=dask.array.core.normalize_chunks(side, (height, width)),
        dtype=painter.dtype,
        meta=np.empty((0, 0), painter.dtype),
        picture=dask.delayed((painter, view, side, regions), traverse=False),  # type: ignore[attr-defined]
    )


def _paint_chunk(*, block_id: tuple[int, int], picture: tuple[Painter, View, int, Regions | None]) -> Array:
    painter, view, side, regions = picture
    (bottom, top), (left, right) = (
        (k * side, min((k + 1) * side, count)) for k, count in zip(block_id, view.size[::-1], strict=True)
    )
    interrupted = Flag()
    with defer_signals(interrupted.set), acquire_cores(1) if painter.is_threaded else nullcontext():
        rect = Rect(bottom, top, left, right)
        # A chunk of one class is a single value in memory, as in the arrays of `dask.array.full`.
        pixels, _ = paint_pixels(painter, view, regions, lambda n=0: interrupted(), rect)
    # A signal handler might not raise, but the chunk is incomplete.
    if interrupted():
        raise KeyboardInterrupt
    return pixels
