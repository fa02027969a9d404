"""Regions of a picture in which one class provably wins: they need not be painted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..network.description import Array
from .view import Rect


@dataclass(frozen=True)
class Regions:
    """The classes of the squares of a picture, known before a pixel is painted."""

    # Pixels to a side of a square. Squares begin at the lower left, and may be cut off at the other edges.
    side: int
    winners: NDArray[np.signedinteger]  # (n_rows, n_columns): class of all pixels of a square; -1 if unknown
    dtype: np.dtype  # of the pixels

    def in_rect(self, rect: Rect) -> NDArray[np.signedinteger]:
        rows, columns = (
            slice(begin // self.side, -(-end // self.side))
            for begin, end in ((rect.bottom, rect.top), (rect.left, rect.right))
        )
        return self.winners[rows, columns]

    def constant(self, rect: Rect) -> Array | None:
        """Return the pixels of a rectangle of one class, a single value in memory; None for others."""
        winners = self.in_rect(rect)
        if winners[0, 0] < 0 or (winners != winners[0, 0]).any():
            return None
        return np.broadcast_to(winners[0, 0].astype(self.dtype), rect.shape)

    def fill(self, rect: Rect, target: Array) -> Iterator[tuple[slice, NDArray[np.int64] | None]]:
        """Fill the known squares in the pixels of a rectangle, and yield what must be painted.

        The rectangle begins at the left edge of a square, and its step is 1. Each item is the rows of the
        target that belong to one row of squares, and the unknown squares (n, 3): row and column, counted from
        the first of these rows, and size; None if all squares in these rows are unknown.
        """
        height, width = target.shape
        for k, winners in enumerate(self.in_rect(rect), start=rect.bottom // self.side):
            bottom = k * self.side - rect.bottom
            rows = slice(max(bottom, 0), min(bottom + self.side, height))
            unknown = np.flatnonzero(winners < 0)
            if unknown.size == winners.size:
                yield rows, None
                continue
            target[rows] = np.repeat(winners.astype(self.dtype), self.side)[:width]
            if unknown.size:
                first, size = np.zeros_like(unknown), np.full_like(unknown, self.side)
                yield rows, np.column_stack([first, unknown * self.side, size])
