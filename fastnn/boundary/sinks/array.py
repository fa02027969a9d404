"""The sink that paints into an array, and the division of pictures into strips of whole rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Picture, Rect, Sink

__all__ = ["ArraySink", "strips"]

# Number of rectangles of an array, and limits of their rows: few enough rows that every thread gets several
# rectangles, and enough rows for squares of certified painting.
ARRAY_RECTANGLES, MIN_ROWS, MAX_ROWS = 16, 64, 512
# Number of pixels in a strip, if its rows are within these limits.
STRIP_POINTS = 1 << 20


class ArraySink(Sink):
    """The sink of an array `out`, or of a new array if `out` is None; the attribute `pixels` is the array."""

    def __init__(self, out: NDArray[Any] | None, picture: Picture) -> None:
        shape = (picture.height, picture.width)
        self.pixels = np.empty(shape, picture.dtype) if out is None else _check_array(out, shape, picture)
        self.rows = min(max(picture.height // ARRAY_RECTANGLES, MIN_ROWS), MAX_ROWS)
        flags = self.pixels.flags
        self.painted_in_place = (
            flags.c_contiguous and flags.aligned and self.pixels.dtype == picture.dtype
            and not isinstance(self.pixels, np.ma.MaskedArray)  # an assignment removes the mask
        )  # fmt: skip

    def rectangles(self) -> Iterator[Rect]:
        """Yield bands of whole rows, from the lowest upward."""
        height, width = self.pixels.shape
        for bottom in range(0, height, self.rows):
            yield Rect(bottom, min(bottom + self.rows, height), 0, width)

    def target(self, rect: Rect) -> NDArray[Any] | None:
        """Return a view of the rectangle if pixels can be painted into the array directly, else None."""
        return self._view(rect) if self.painted_in_place else None

    def encode(self, rect: Rect, pixels: NDArray[Any]) -> None:
        """Copy the pixels to the array, unless they were painted into it directly."""
        if not self.painted_in_place:
            self._view(rect)[:] = pixels

    def _view(self, rect: Rect) -> NDArray[Any]:
        return self.pixels[rect.bottom : rect.top, rect.left : rect.right]


def _check_array(out: NDArray[Any], shape: tuple[int, int], picture: Picture) -> NDArray[Any]:
    """Return the caller's array; raise ValueError if it cannot hold the picture."""
    if out.shape != shape:
        raise ValueError(f"out must be an array of shape {shape} (height, width), got shape {out.shape}")
    if not out.flags.writeable:
        raise ValueError("out must be an array that can be written to, got a read-only one")
    is_number = out.dtype.kind in "iuf"
    if picture.colours is None:
        kind, needed = "a response", picture.dtype
        holds = is_number and np.can_cast(needed, out.dtype, "same_kind")
    else:
        highest = max(len(picture.colours) - 1, 0)
        kind, needed = f"{highest + 1} classes", np.min_scalar_type(highest)
        # A signed dtype of the same width may be sufficient, too.
        holds = is_number and (
            np.can_cast(needed, out.dtype) or np.can_cast(np.min_scalar_type(-highest - 1), out.dtype)
        )
    if not holds:
        raise ValueError(
            f"out must have a dtype that holds {kind}, as {needed} does, got an array of {out.dtype}"
        )
    return out


def strips(width: int, height: int) -> Iterator[Rect]:
    """Yield strips of whole rows from the lowest upward, high enough for squares of certified painting."""
    rows = min(max(STRIP_POINTS // width, MIN_ROWS), MAX_ROWS)
    for bottom in range(0, height, rows):
        yield Rect(bottom, min(bottom + rows, height), 0, width)
