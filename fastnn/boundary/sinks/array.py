"""The sink that paints into an array."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from ...network.description import Array
from ...system.memory import check_memory
from ..view import Rect, Regions
from .base import Picture, Sink

# Rows of a rectangle: MAX_ROWS with regions, whose squares are divided once each, or fewer where that gives
# each thread several of about ARRAY_RECTANGLES rectangles.
MAX_ROWS, ARRAY_RECTANGLES, MIN_ROWS = 512, 16, 64


class ArraySink(Sink):
    """The sink of an array `out`, or of a new array if `out` is None; the attribute `pixels` is the array."""

    square = MAX_ROWS

    def __init__(self, out: Array | None, picture: Picture) -> None:
        shape = (picture.height, picture.width)
        if out is None:
            check_memory(
                math.prod(shape) * picture.dtype.itemsize,
                f"a picture of {picture.width} x {picture.height} pixels takes",
                'write it to a file while it is painted, out="boundary.png", .zarr or .dzi, or into a '
                "numpy.memmap",
            )
        self.pixels = np.empty(shape, picture.dtype) if out is None else _check_array(out, shape, picture)
        flags = self.pixels.flags
        is_plain = out is None or not isinstance(out, np.ma.MaskedArray)  # an assignment removes the mask
        is_contiguous = flags.c_contiguous and flags.aligned
        self.is_painted_in_place = is_plain and is_contiguous and self.pixels.dtype == picture.dtype

    def rectangles(self, regions: Regions | None = None) -> Iterator[Rect]:
        height, width = self.pixels.shape
        rows = MAX_ROWS if regions else min(max(height // ARRAY_RECTANGLES, MIN_ROWS), MAX_ROWS)
        for bottom in range(0, height, rows):
            yield Rect(bottom, min(bottom + rows, height), 0, width)

    def target(self, rect: Rect) -> Array | None:
        return rect.cut(self.pixels) if self.is_painted_in_place else None

    def encode(self, rect: Rect, pixels: Array) -> None:
        if not self.is_painted_in_place:
            rect.cut(self.pixels)[:] = pixels


def _check_array(out: Array, shape: tuple[int, int], picture: Picture) -> Array:
    """Return the caller's array; raise ValueError if it cannot hold the picture."""
    if out.shape != shape:
        raise ValueError(f"out must be an array of shape {shape} (height, width), got shape {out.shape}")
    if not out.flags.writeable:
        raise ValueError("out must be an array that can be written to, got a read-only one")
    is_number = out.dtype.kind in "iuf"
    if picture.classes is None:
        kind, needed = "a response", picture.dtype
        holds = is_number and np.can_cast(needed, out.dtype, "same_kind")
    else:
        highest = max(len(picture.classes) - 1, 0)
        kind, needed = f"{highest + 1} classes", np.min_scalar_type(highest)
        # A signed dtype of the same width may be sufficient, too.
        holds = is_number and (
            np.can_cast(needed, out.dtype) or np.can_cast(np.min_scalar_type(-highest - 1), out.dtype)
        )
    if not holds:
        raise ValueError(f"out must have a dtype that holds {kind}, as {needed} does, got {out.dtype}")
    return out
