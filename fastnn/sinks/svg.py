"""Scalable Vector Graphics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..svg import svg_document
from ..tracing import Seams, mixed_squares, placed, trace
from .array import strips
from .base import FileSink, Rect

__all__ = ["SvgSink"]


class SvgSink(FileSink):
    """The lines between the regions of the classes as an SVG, along its pixels, and smoothed within them.

    Nothing is known but the pixels, so that a line may be off by about one. What is held grows with the
    length of the lines.
    """

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
        assert picture.colours is not None
        lines = trace(self.seams.squares, picture.width + 2)
        xs, ys = (
            np.concatenate([[0], np.arange(side) + 0.5, [side]]) for side in (picture.width, picture.height)
        )
        labels = range(len(picture.colours)) if picture.classes is None else picture.classes
        text = svg_document(
            placed(lines, xs, ys), self.corner, (picture.width, picture.height), picture.colours, labels,
            picture.description,
        )  # fmt: skip
        self.draft.name(self.path).write_text(text, encoding="utf-8")
        self.draft.publish()
