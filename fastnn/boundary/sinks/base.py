"""Base classes of sinks, which write pictures to their destinations, and functions for file formats."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ...network.description import Array
from ...system.files import Draft, check_file_name, check_replaceable, raise_written
from ..colours import PALETTE, region_colours, response_colours
from ..view import Rect, Regions

if TYPE_CHECKING:
    from matplotlib.colors import Colormap

    from ..colours import Colours


@dataclass(frozen=True)
class Picture:
    """A description of a picture, known before it is painted."""

    width: int
    height: int
    dtype: np.dtype[Any]  # uint8 or uint16 for numbers of classes, floating for a response
    extent: tuple[float, float, float, float]  # left, right, bottom and top edge
    classes: Array | None = None  # labels; None for a response
    is_bounded: bool = True  # False for a response that may be above 1
    colours: Colours | None = None  # as in `render_boundary`
    cmap: str | Colormap | None = None
    is_chosen: bool = False  # True if the user chose them for this file: one without colours is then refused

    @functools.cached_property
    def palette(self) -> NDArray[np.uint8] | None:
        """Red, green and blue (n, 3) of the classes, or of a response from 0 to 1; None for grey."""
        if self.classes is None:
            return None if self.cmap is None else response_colours(self.cmap)
        return region_colours(self.classes, self.colours)

    @property
    def description(self) -> dict[str, Any]:
        """Extent and labels as objects that JSON can represent."""
        labels = None if self.classes is None else [_convert_label(label) for label in self.classes.tolist()]
        return {"extent": [float(edge) for edge in self.extent], "classes": labels}


def _convert_label(label: Any) -> Any:
    if isinstance(label, np.generic):
        label = label.item()
    return label if isinstance(label, (str, int, float, bool)) else str(label)


class Sink(ABC):
    """The destination of a picture, written rectangle by rectangle; its context closes or discards it."""

    # Pixels to a side of the squares whose classes the sink wants to know before the picture is painted: its
    # rectangles consist of these squares, or of rows of them. 0 if it wants to know none.
    square = 0

    @abstractmethod
    def rectangles(self, regions: Regions | None = None) -> Iterable[Rect]:
        """Return the rectangles to paint, in the order of `put`, without known squares, which it writes."""

    def parts(self, regions: Regions | None = None) -> Iterable[tuple[Rect, Sink]]:
        """Return the parts of the picture that another process can write, and their sinks."""
        raise ValueError('executor: other processes can write only a .zarr: choose out="boundary.zarr"')

    def target(self, rect: Rect) -> Array | None:
        """Return the array to paint a rectangle into, or None to paint into a new C-contiguous array."""
        return None

    @abstractmethod
    def encode(self, rect: Rect, pixels: Array) -> Any:
        """Return the pixels of a rectangle in the form that `put` writes.

        The result must not refer to `pixels`. Where one class is known to win, `pixels` repeat a single value
        in memory; see `is_constant`. The method is called from several threads, in any order.
        """

    def put(self, rect: Rect, encoded: Any) -> None:  # noqa: B027
        """Write a result of `encode`; called from one thread, in the order of `rectangles`."""

    def close(self) -> None:  # noqa: B027
        """Finish the picture and move it to its final name; called after the last `put`."""

    def discard(self) -> None:  # noqa: B027
        """Remove an unfinished picture."""

    def __enter__(self) -> Self:
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
    """A file or folder that is being written; in most formats the highest row comes first."""

    # Maximum number of pixels per side, and of classes, in the format.
    max_side: ClassVar[int] = 2**31 - 1
    max_classes: ClassVar[int] = 1 << 16
    # True if the format stores up to `PALETTE` classes in colours, and a response from 0 to 1 in colours or
    # in grey; False if it stores numbers.
    is_coloured: ClassVar[bool] = True

    def __init__(self, path: Path, picture: Picture, argument: str = "out") -> None:
        self.path, self.picture, self.argument = path, picture, argument
        suffix = path.suffix.lower()
        n_classes = 0 if picture.classes is None else len(picture.classes)
        if picture.is_chosen and not self.is_coloured:
            raise ValueError(
                f"colours, cmap: a {suffix} file holds numbers, without colours: choose .png or .dzi"
            )
        if picture.is_chosen and n_classes > PALETTE:
            raise ValueError(
                f"colours: a {suffix} file holds at most {PALETTE} colours, but there are {n_classes} "
                "classes: leave colours out"
            )
        if self.is_coloured and not picture.is_bounded:
            raise ValueError(
                f"{self.argument}: a {suffix} picture holds a response from 0 to 1, but margins of a "
                "decision function may be above 1: .zarr holds them"
            )
        if max(picture.width, picture.height) > self.max_side:
            raise ValueError(
                f"{self.argument}: a side of a {suffix} picture has at most {self.max_side} pixels, "
                f"but it is {picture.width} x {picture.height}; .zarr has no limit"
            )
        if n_classes > self.max_classes:
            remedy = "; .png and .zarr hold more" if self.max_classes < FileSink.max_classes else ""
            raise ValueError(
                f"{self.argument}: a {suffix} picture has at most {self.max_classes} classes, "
                f"but there are {n_classes}{remedy}"
            )
        for final in self.final_names():
            check_file_name(final, self.argument)
        self.check_place()
        self.draft = Draft(*self.final_names())
        try:
            self.begin()
        except BaseException as error:
            self.__exit__(type(error), error)
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None = None, *_: Any) -> None:
        try:
            super().__exit__(kind)
        except OSError as late:
            raise_written(late, self.path, self.draft.folder)
            raise
        raise_written(error, self.path, self.draft.folder)

    @abstractmethod
    def begin(self) -> None:
        """Open the files of the draft, which `close` moves to their final names."""

    def final_names(self) -> tuple[Path, ...]:
        """Return the final names of all files and folders, in the order in which the draft is moved there."""
        return (self.path,)

    def check_place(self) -> None:
        """Raise ValueError if what has this name already must not be replaced."""
        check_replaceable(self.path, self.argument)

    def discard(self) -> None:
        self.draft.discard()


def is_constant(pixels: Array) -> bool:
    """Return True if pixels repeat a single value in memory, as `Regions.constant` makes them."""
    return not any(pixels.strides)
