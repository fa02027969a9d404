"""Decision boundaries as Dask arrays, with one task per chunk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnn_kernels.compiler.interrupts import held_interrupts

from ..system.extras import import_extra
from ..system.threads import Flag, acquired_cores
from ..system.validation import check_count
from .painters import make_painter
from .render import centres, check_view
from .subjects import check_model

if TYPE_CHECKING:
    import dask.array

__all__ = ["boundary_array"]

# Maximum number of chunks of an array: each is a task, and Dask's schedulers manage about a million.
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
    features: tuple[Any, Any] | None = None,
    fill: Any = None,
    classes: ArrayLike | None = None,
) -> dask.array.Array:
    """Return the picture of `render_boundary` as a Dask array that is painted when it is computed.

    Every chunk is a task, on the threads of this process or the workers of a cluster, to which `model` is
    sent once. ``boundary_array(...).to_zarr("boundary.zarr")`` writes the picture in chunks. Requires the
    extra ``dask``.

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

    check_model(model, "boundary_array(model, xlim, ylim)")
    (width, height), extent = check_view(xlim, ylim, size)
    side = check_count(chunks, "chunks", 1)
    n_chunks = -(-width // side) * -(-height // side)
    if n_chunks > MAX_CHUNKS:
        raise ValueError(
            f"chunks: a picture of {width} x {height} pixels has {n_chunks:,} chunks of {side} x {side}, but "
            f"Dask manages some {MAX_CHUNKS:,} tasks: choose larger chunks or fewer pixels"
        )
    options = {
        "response": response, "method": method, "class_of_interest": class_of_interest, "features": features,
        "fill": fill, "classes": classes, "n_pixels": width * height,
    }  # fmt: skip
    painter = make_painter(model, **options)  # raises errors here rather than in a worker
    if painter.finds_classes:
        raise ValueError("classes must be known before a chunk is painted: name them with classes=")
    return dask.array.map_blocks(
        _paint_chunk,
        chunks=tuple(
            tuple(min(side, count - first) for first in range(0, count, side)) for count in (height, width)
        ),
        dtype=painter.dtype,
        meta=np.empty((0, 0), painter.dtype),
        model=dask.delayed(model, traverse=False),  # type: ignore[attr-defined]
        extent=extent,
        shape=(height, width),
        options=options,
    )


def _paint_chunk(
    *, block_info: Any, model: Any, extent: tuple[float, ...], shape: tuple[int, int], options: dict[str, Any]
) -> NDArray[Any]:
    """Return the pixels of one chunk; called in a worker."""
    painter = make_painter(model, **options)
    rows, columns = (slice(*place) for place in block_info[None]["array-location"])
    xs = centres(extent[:2], shape[1]).points(columns.start, columns.stop)
    ys = centres(extent[2:], shape[0]).points(rows.start, rows.stop)
    target = np.empty((ys.size, xs.size), painter.dtype)
    if not painter.is_threaded:
        painter.paint(xs, ys, target, lambda: False)
        return target
    interrupted = Flag()
    with held_interrupts(interrupted.set), acquired_cores(1):
        painter.paint(xs, ys, target, interrupted)
    # A signal handler might not raise, but the chunk is incomplete.
    if interrupted():
        raise KeyboardInterrupt
    return target
