"""Pictures as shapes: the regions of the classes, and the lines between them, traced from the pixels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..tracing import Line, Seams, mixed_squares, placed, trace
from .array import strips
from .base import FileSink, Rect
from .pdf import pdf_document
from .svg import svg_document

__all__ = ["PdfSink", "SvgSink"]


class VectorSink(FileSink):
    """The lines between the regions of the classes, along the pixels and smoothed within them, in a document.

    Nothing is known but the pixels, so that a line may be off by about one. What is held grows with the
    length of the lines.
    """

    most_coloured = FileSink.most_classes

    def begin(self) -> None:
        if self.picture.colours is None:
            raise ValueError(
                f"{self.argument}: {self.path} holds lines between classes, and a response has none"
            )
        self.seams = Seams()
        self.corner = 0

    def rectangles(self) -> Iterator[Rect]:
        return strips(self.picture.width, self.picture.height)

    def encode(self, rect: Rect, pixels: NDArray[Any]) -> tuple[Any, ...]:
        # The lines go on to the edges: a column and a row of the lattice are on each.
        is_lowest, is_highest = rect.bottom == 0, rect.top == self.picture.height
        lattice = np.pad(pixels, ((is_lowest, is_highest), (1, 1)), mode="edge")
        squares = mixed_squares(lattice, rect.bottom + (not is_lowest))
        return squares, lattice[0].copy(), lattice[-1].copy(), len(lattice)

    def put(self, rect: Rect, encoded: tuple[Any, ...]) -> None:
        if rect.bottom == 0:
            self.corner = int(encoded[1][0])
        self.seams.add(*encoded)

    def close(self) -> None:
        picture = self.picture
        lines = trace(self.seams.squares, picture.width + 2)
        xs, ys = (
            np.concatenate([[0], np.arange(side) + 0.5, [side]]) for side in (picture.width, picture.height)
        )
        assert picture.colours is not None
        document = self.document(placed(lines, xs, ys), picture.colours)
        self.draft.name(self.path).write_bytes(document)
        self.draft.publish()

    @abstractmethod
    def document(self, lines: Sequence[Line], colours: NDArray[np.uint8]) -> bytes:
        """Return the file of all lines, in pixels from the lower left corner, and the regions they bound."""


class SvgSink(VectorSink):
    """An SVG whose units are the pixels."""

    def document(self, lines: Sequence[Line], colours: NDArray[np.uint8]) -> bytes:
        picture = self.picture
        labels = range(len(colours)) if picture.classes is None else picture.classes
        size = picture.width, picture.height
        text = svg_document(lines, self.corner, size, colours, labels, picture.description)
        return text.encode("utf-8")


class PdfSink(VectorSink):
    """A PDF of one page."""

    def document(self, lines: Sequence[Line], colours: NDArray[np.uint8]) -> bytes:
        picture = self.picture
        size = picture.width, picture.height
        return pdf_document(lines, self.corner, size, colours, picture.description)
