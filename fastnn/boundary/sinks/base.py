"""What a sink is, what it takes, and what those of files have in common."""

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

__all__ = ["PALETTE", "FileSink", "OneColourTiles", "Picture", "Rect", "Sink", "deflated", "from_the_top"]

# Colours of a palette in a file.
PALETTE = 256


class Rect(NamedTuple):
    """The pixels in rows ``bottom <= row < top`` and columns ``left <= column < right``."""

    bottom: int
    top: int
    left: int
    right: int


@dataclass(frozen=True)
class Picture:
    """What is known of a picture before it is painted.

    Parameters
    ----------
    width, height : int
        Pixels.
    dtype : dtype
        Of the pixels: uint8 or uint16 for numbers of classes, or floating for a response.
    extent : (float, float, float, float)
        The picture's edges in the data's coordinates: left, right, bottom, top.
    colours : array (n_classes, 3) of uint8, optional
        Red, green and blue of the classes; None for a response.
    classes : tuple, optional
        Labels of the classes, any objects; None for a response.
    response_colours : array (n, 3) of uint8, optional
        Red, green and blue of a response, evenly spaced from 0 to 1, at most 256; None for grey.
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
        """The extent and the labels as JSON can hold them."""
        labels = None if self.classes is None else [_plain(label) for label in self.classes]
        return {"extent": [float(edge) for edge in self.extent], "classes": labels}


def _plain(label: Any) -> Any:
    """A label as JSON can hold it."""
    if isinstance(label, np.generic):
        label = label.item()
    return label if isinstance(label, (str, int, float, bool)) else str(label)


class Sink(ABC):
    """Takes a picture, rectangle by rectangle.

    As a context manager it is closed at the end, and discarded if something was raised.
    """

    @abstractmethod
    def rectangles(self) -> Iterable[Rect]:
        """What to paint, in the order in which `put` wants it: every pixel once."""

    def target(self, rect: Rect) -> NDArray[Any] | None:
        """Where to paint `rect`; None if that is to be a C-contiguous array of the painter's own."""
        return None

    @abstractmethod
    def encode(self, rect: Rect, pixels: NDArray[Any]) -> Any:
        """What `put` needs of the painted pixels, which it does not keep. On any thread, in any order."""

    def put(self, rect: Rect, encoded: Any) -> None:  # noqa: B027
        """Take what `encode` gave. On one thread, in the order of `rectangles`."""

    def close(self) -> None:  # noqa: B027
        """Everything was put: finish it, and move it to where it belongs."""

    def discard(self) -> None:  # noqa: B027
        """It will not be finished: leave nothing behind."""

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is not None:
            self.discard()
            return
        try:
            self.close()
        except BaseException:
            self.discard()
            raise


class FileSink(Sink):
    """A file in the making, with its highest row first unless it says otherwise."""

    longest = 2**31 - 1  # pixels of a side that the format can hold
    most_classes = 1 << 16
    most_coloured = PALETTE  # classes of a picture that shows them in colours
    colours_responses = False
    is_grey = False  # a response is: 0 is black and 1 is white
    package: str | None = None  # that it needs, and that is not installed with fastnn

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
        if max(picture.width, picture.height) > self.longest:
            raise ValueError(
                f"{self.argument}: a side of a {suffix} picture has at most {self.longest} pixels, "
                f"but it is {picture.width} x {picture.height}; .zarr has no limit"
            )
        if picture.colours is not None and len(picture.colours) > self.most_classes:
            remedy = "; .tif and .zarr hold more" if self.most_classes < FileSink.most_classes else ""
            raise ValueError(
                f"{self.argument}: a {suffix} picture has at most {self.most_classes} classes, "
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
        """Open what is written, in the draft."""

    def final_names(self) -> tuple[Path, ...]:
        return (self.path,)

    def check_place(self) -> None:
        check_replaceable(self.path, self.argument)

    def discard(self) -> None:
        self.draft.discard()


def from_the_top(picture: Picture, rows: int, columns: int) -> Iterator[Rect]:
    """Rectangles of so many pixels, as a file has them: from the top left, row by row."""
    for top in range(picture.height, 0, -rows):
        for left in range(0, picture.width, columns):
            yield Rect(max(top - rows, 0), top, left, min(left + columns, picture.width))


class OneColourTiles:
    """Compresses tiles, those of a single class only once."""

    def __init__(self, compress: Any) -> None:
        self.compress = compress
        self.known: dict[tuple[Any, ...], bytes] = {}

    def encode(self, pixels: NDArray[Any]) -> bytes:
        first = pixels[0, 0]
        # Most tiles that have two classes show it in their first row.
        if first.dtype.kind == "f" or (pixels[0] != first).any() or (pixels != first).any():
            return self.compress(pixels)
        key = (*pixels.shape, int(first))
        if key not in self.known:
            self.known[key] = self.compress(pixels)
        return self.known[key]


def deflated(data: NDArray[Any], is_flat: bool, part: bool = False) -> bytes:
    """A zlib stream; as a part, one without head and end, to be followed by others.

    Where most neighbours are equal (`is_flat`), looking for runs alone gives a third of the bytes that
    looking for any repetition at the same level does, in the same time.
    """
    strategy = zlib.Z_RLE if is_flat else zlib.Z_DEFAULT_STRATEGY
    window = -zlib.MAX_WBITS if part else zlib.MAX_WBITS
    stream = zlib.compressobj(1, zlib.DEFLATED, window, zlib.DEF_MEM_LEVEL, strategy)
    return stream.compress(data.data) + stream.flush(zlib.Z_SYNC_FLUSH if part else zlib.Z_FINISH)
