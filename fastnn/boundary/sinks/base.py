"""Base classes of sinks, which write pictures to their destinations, and functions for file formats."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...system.extras import import_extra
from ...system.files import Draft, check_file_name, check_replaceable
from ..colours import PALETTE

__all__ = [
    "FileSink",
    "OneColourTiles",
    "Picture",
    "Rect",
    "Sink",
    "deflate_header",
    "deflated",
    "rectangles_from_top",
]


class Rect(NamedTuple):
    """The pixels in rows ``bottom <= row < top`` and columns ``left <= column < right``."""

    bottom: int
    top: int
    left: int
    right: int


@dataclass(frozen=True)
class Picture:
    """A description of a picture, known before it is painted.

    Parameters
    ----------
    width, height : int
        Size in pixels.
    dtype : dtype
        Type of the pixels: uint8 or uint16 for numbers of classes, floating for a response.
    extent : (float, float, float, float)
        Left, right, bottom and top edge in the coordinates of the data.
    colours : array (n_classes, 3) of uint8, optional
        Red, green and blue of the classes; None for a response.
    classes : tuple, optional
        Labels of the classes, any objects; None for a response.
    response_colours : array (n, 3) of uint8, optional
        Red, green and blue of a response at evenly spaced values from 0 to 1, at most 256; None for grey.
    is_bounded : bool
        False for a response that may be above 1.
    """

    width: int
    height: int
    dtype: np.dtype[Any]
    extent: tuple[float, float, float, float]
    colours: NDArray[np.uint8] | None = None
    classes: tuple[Any, ...] | None = None
    response_colours: NDArray[np.uint8] | None = None
    is_bounded: bool = True

    def __post_init__(self) -> None:
        n_colours = None if self.colours is None else len(self.colours)
        if self.classes is not None and len(self.classes) != n_colours:
            raise ValueError(f"{len(self.classes)} classes must have a colour each, got {n_colours} colours")

    @property
    def description(self) -> dict[str, Any]:
        """Extent and labels as objects that JSON can represent."""
        labels = None if self.classes is None else [_plain(label) for label in self.classes]
        return {"extent": [float(edge) for edge in self.extent], "classes": labels}


def _plain(label: Any) -> Any:
    """Return a label as an object that JSON can represent."""
    if isinstance(label, np.generic):
        label = label.item()
    return label if isinstance(label, (str, int, float, bool)) else str(label)


class Sink(ABC):
    """The destination of a picture, which is written rectangle by rectangle.

    On exit from its context a sink is closed, or discarded after an error.
    """

    @abstractmethod
    def rectangles(self) -> Iterable[Rect]:
        """Return the rectangles to paint, which cover each pixel once, in the order of the calls of `put`."""

    def target(self, rect: Rect) -> NDArray[Any] | None:
        """Return the array to paint a rectangle into, or None to paint into a new C-contiguous array."""
        return None

    @abstractmethod
    def encode(self, rect: Rect, pixels: NDArray[Any]) -> Any:
        """Return painted pixels in the form that `put` writes; the result must not refer to `pixels`.

        The method is called from several threads, in any order.
        """

    def put(self, rect: Rect, encoded: Any) -> None:  # noqa: B027
        """Write a result of `encode`; called from one thread, in the order of `rectangles`."""

    def close(self) -> None:  # noqa: B027
        """Finish the picture and move it to its final name; called after the last `put`."""

    def discard(self) -> None:  # noqa: B027
        """Remove an unfinished picture."""

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        """Close the sink, or discard it after an error."""
        if kind is not None:
            self.discard()
            return
        try:
            self.close()
        except BaseException:
            self.discard()
            raise


class FileSink(Sink):
    """A file or folder that is being written; in most formats the highest row comes first.

    Attributes
    ----------
    max_side : int
        Maximum number of pixels per side in the format.
    max_classes : int
        Maximum number of classes in the format.
    max_coloured_classes : int
        Maximum number of classes that the format can store with colours.
    colours_responses : bool
        True if the format can store a response with colours.
    is_grey : bool
        True if the format stores a response in grey, from 0 (black) to 1 (white).
    package : str or None
        Required package of the extra ``render``, if any.
    """

    max_side = 2**31 - 1
    max_classes = 1 << 16
    max_coloured_classes = PALETTE
    colours_responses = False
    is_grey = False
    package: str | None = None

    def __init__(self, path: Path, picture: Picture, argument: str = "out") -> None:
        self.path, self.picture, self.argument = path, picture, argument
        suffix = path.suffix.lower()
        if self.package is not None:
            self.module = import_extra(self.package, "render", f"{self.argument}: a {suffix} file")
        dtypes = (np.floating,) if picture.colours is None else (np.uint8, np.uint16)
        if not any(np.issubdtype(picture.dtype, dtype) for dtype in dtypes):
            kind = "a response: floating" if picture.colours is None else "classes: uint8 or uint16"
            raise ValueError(
                f"{self.argument}: pixels of {path} must be of a dtype for {kind}, not {picture.dtype}"
            )
        if self.is_grey and not picture.is_bounded:
            raise ValueError(
                f"{self.argument}: a {suffix} picture holds a response from 0 to 1, but margins of a "
                "decision function may be above 1: .tif and .zarr hold them"
            )
        if max(picture.width, picture.height) > self.max_side:
            raise ValueError(
                f"{self.argument}: a side of a {suffix} picture has at most {self.max_side} pixels, "
                f"but it is {picture.width} x {picture.height}; .zarr has no limit"
            )
        if picture.colours is not None and len(picture.colours) > self.max_classes:
            remedy = "; .tif and .zarr hold more" if self.max_classes < FileSink.max_classes else ""
            raise ValueError(
                f"{self.argument}: a {suffix} picture has at most {self.max_classes} classes, "
                f"but there are {len(picture.colours)}{remedy}"
            )
        for final in self.final_names():
            check_file_name(final, self.argument)
        self.check_place()
        self.draft = Draft(*self.final_names())
        try:
            self.begin()
        except BaseException:
            self.discard()
            raise

    @abstractmethod
    def begin(self) -> None:
        """Open the files of the draft, which `close` moves to their final names."""

    def final_names(self) -> tuple[Path, ...]:
        """Return the final names of all files and folders, in the order in which the draft is moved there."""
        return (self.path,)

    def check_place(self) -> None:
        """Raise ValueError if the name is that of something that must not be replaced."""
        check_replaceable(self.path, self.argument)

    def discard(self) -> None:
        """Remove the draft."""
        self.draft.discard()


def rectangles_from_top(picture: Picture, rows: int, columns: int) -> Iterator[Rect]:
    """Yield rectangles of this many rows and columns that cover the picture, row by row from the top left."""
    for top in range(picture.height, 0, -rows):
        for left in range(0, picture.width, columns):
            yield Rect(max(top - rows, 0), top, left, min(left + columns, picture.width))


class OneColourTiles:
    """Compression of tiles with a cache of those that have a single class."""

    def __init__(self, compress: Any) -> None:
        self.compress = compress
        self.cache: dict[tuple[Any, ...], bytes] = {}

    def encode(self, pixels: NDArray[Any]) -> bytes:
        """Return the compressed bytes of a tile."""
        first = pixels[0, 0]
        # Most tiles with two classes have both in their first row: compare that row first.
        if first.dtype.kind == "f" or (pixels[0] != first).any() or (pixels != first).any():
            return self.compress(pixels)
        key = (*pixels.shape, int(first))
        if key not in self.cache:
            self.cache[key] = self.compress(pixels)
        return self.cache[key]


# Level of Deflate in PNG, Deep Zoom and TIFF: the fastest.
DEFLATE_LEVEL = 1


def deflate_header() -> bytes:
    """Return the header of a compressed stream, which `deflated` leaves out of segments."""
    return zlib.compress(b"", DEFLATE_LEVEL)[:2]


def deflated(data: NDArray[Any], is_flat: bool, segment: bool = False) -> bytes:
    """Return data compressed with Deflate.

    Parameters
    ----------
    data : array
        Bytes, C-contiguous.
    is_flat : bool
        True if most neighbours are equal. Run-length encoding then gives a third of the bytes of the default
        strategy, in the same time.
    segment : bool, default False
        Leave out the header and the end of the stream, so that concatenated segments form one stream;
        `PngSink.close` ends it by an empty last block.
    """
    strategy = zlib.Z_RLE if is_flat else zlib.Z_DEFAULT_STRATEGY
    window = -zlib.MAX_WBITS if segment else zlib.MAX_WBITS
    stream = zlib.compressobj(DEFLATE_LEVEL, zlib.DEFLATED, window, zlib.DEF_MEM_LEVEL, strategy)
    return stream.compress(data.data) + stream.flush(zlib.Z_SYNC_FLUSH if segment else zlib.Z_FINISH)
