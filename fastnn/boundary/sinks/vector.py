"""Pictures as shapes: the regions of the classes and the lines between them, traced from the pixels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..tracing import Line, StripSquares, mixed_squares, regions, to_coordinates, trace
from .array import strips
from .base import FileSink, Rect

__all__ = ["STROKE", "Shapes", "VectorSink"]

# Colour of the lines.
STROKE = "#404040"


class Shapes(NamedTuple):
    """The shapes of a document, in coordinates of pixels from the lower left corner.

    Parameters
    ----------
    lines : sequence of Line
        All lines between the regions.
    corner : int
        Number of the class in the lower left corner.
    size : (int, int)
        Width and height.
    colours : array (n_classes, 3) of uint8
        Red, green and blue of the classes.
    labels : sequence
        Labels of the classes.
    description : dict
        Extent and labels, to be stored as JSON.
    """

    lines: Sequence[Line]
    corner: int
    size: tuple[int, int]
    colours: NDArray[np.uint8]
    labels: Sequence[Any]
    description: dict[str, Any]

    @property
    def regions(self) -> list[tuple[int, list[NDArray[np.float64]]]]:
        """Numbers of the classes in ascending order, each with the rings around the class's region."""
        return sorted(regions(self.lines, self.corner, self.size).items())


class VectorSink(FileSink):
    """A document with the regions of the classes and the lines between them as shapes.

    The lines follow the edges of the pixels and are smoothed, so that their error is about one pixel. The
    memory in use grows with the length of the lines.
    """

    max_coloured_classes = FileSink.max_classes

    def begin(self) -> None:
        """Start the collection of mixed squares; raise ValueError for a response, which has no lines."""
        if self.picture.colours is None:
            raise ValueError(
                f"{self.argument}: {self.path} holds lines between classes, but a response has none"
            )
        self.squares = StripSquares()
        self.corner = 0

    def rectangles(self) -> Iterator[Rect]:
        """Return strips of whole rows, from the lowest upward."""
        return strips(self.picture.width, self.picture.height)

    def encode(self, rect: Rect, pixels: NDArray[Any]) -> tuple[Any, ...]:
        """Return the arguments of `StripSquares.add` for a strip."""
        # Lines end at the picture's edges, half a pixel beyond the centres of the outermost pixels: pad each
        # side with a row or column.
        is_lowest, is_highest = rect.bottom == 0, rect.top == self.picture.height
        lattice = np.pad(pixels, ((is_lowest, is_highest), (1, 1)), mode="edge")
        squares = mixed_squares(lattice, rect.bottom + (not is_lowest))
        return squares, lattice[0].copy(), lattice[-1].copy(), len(lattice)

    def put(self, rect: Rect, encoded: tuple[Any, ...]) -> None:
        """Add a strip."""
        if rect.bottom == 0:
            self.corner = int(encoded[1][0])
        self.squares.add(*encoded)

    def close(self) -> None:
        """Trace the lines, write the document, and move it to its final name."""
        picture = self.picture
        lines = trace(self.squares.squares, picture.width + 2)
        xs, ys = (
            np.concatenate([[0], np.arange(side) + 0.5, [side]]) for side in (picture.width, picture.height)
        )
        assert picture.colours is not None
        labels = range(len(picture.colours)) if picture.classes is None else picture.classes
        shapes = Shapes(
            to_coordinates(lines, xs, ys), self.corner, (picture.width, picture.height), picture.colours,
            labels, picture.description,
        )  # fmt: skip
        self.draft.name(self.path).write_bytes(self.document(shapes))
        self.draft.publish()

    @abstractmethod
    def document(self, shapes: Shapes) -> bytes:
        """Return the bytes of a document."""
