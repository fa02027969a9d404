"""The pixels of a picture: their numbers, the points at their centres, and regions of known classes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..network.description import Array
from ..system.validation import check_count, check_number, short_repr

# Largest ratio of the sides in pixels by default. Sides whose lengths differ more have different units.
MAX_ASPECT_RATIO = 8


class Axis(NamedTuple):
    """Coordinates of equally spaced points."""

    first: float
    step: float
    n_points: int

    def points(self, begin: int, end: int, step: int = 1) -> NDArray[np.float64]:
        """Return the coordinates of every `step`-th point from number `begin` to before `end`."""
        return self.at(np.arange(begin, end, step))

    def at(self, steps: Array) -> NDArray[np.float64]:
        """Return the coordinates of positions given in steps, possibly fractions, from the first point."""
        return self.first + steps * np.float64(self.step)


class Rect(NamedTuple):
    """The pixels in rows ``bottom <= row < top`` and columns ``left <= column < right``.

    With a `step` above 1, they are every `step`-th of these rows and columns, from the first of each.
    """

    bottom: int
    top: int
    left: int
    right: int
    step: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return -(-(self.top - self.bottom) // self.step), -(-(self.right - self.left) // self.step)

    def cut(self, pixels: Array) -> Array:
        """Return the view of the rectangle in the pixels (height, width) of the whole picture."""
        return pixels[self.bottom : self.top : self.step, self.left : self.right : self.step]


class View(NamedTuple):
    """The pixels of a rectangle."""

    xs: Axis  # centres of the columns
    ys: Axis  # centres of the rows, from the lowest upward
    extent: tuple[float, float, float, float]  # left, right, bottom and top edge

    def __str__(self) -> str:
        return f"{self.xs.n_points} x {self.ys.n_points}"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.xs.n_points, self.ys.n_points

    @property
    def n_pixels(self) -> int:
        return self.xs.n_points * self.ys.n_points


@dataclass(frozen=True)
class Regions:
    """Squares of a picture with the class that provably wins in each: their pixels need not be painted."""

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


def make_view(xlim: Any, ylim: Any, size: Any) -> View:
    """Return the pixels of a picture, given arguments of `render_boundary`, which names the errors."""
    sides = [high - low for low, high in (check_limits(xlim, 1, "xlim"), check_limits(ylim, 1, "ylim"))]
    width, height = check_size(size, *sides)
    xlim, ylim = check_limits(xlim, width, "xlim"), check_limits(ylim, height, "ylim")
    return View(centres(xlim, width), centres(ylim, height), (*xlim, *ylim))


def centres(limits: tuple[float, ...], count: int) -> Axis:
    """Return the centres of `count` pixels between two edges."""
    low, high = limits
    step = (high - low) / count
    return Axis(low + step / 2, step, count)


def check_size(size: Any, across: float, up: float, *, name: str = "size") -> tuple[int, int]:
    """Return (width, height) of `size`, which may be the longer side alone; messages call it `name`."""
    if isinstance(size, (int, np.integer)):
        longer = check_count(size, name, 1)
        share = max(min(across, up) / max(across, up), 1 / MAX_ASPECT_RATIO)
        shorter = max(1, round(longer * share))
        return (longer, shorter) if across >= up else (shorter, longer)
    try:
        if isinstance(size, str):
            raise TypeError
        width, height = size
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be (width, height) in pixels, or one integer, got {short_repr(size)}"
        ) from None
    return check_count(width, "width", 1), check_count(height, "height", 1)


def check_limits(limits: Any, count: int, name: str) -> tuple[float, float]:
    """Return two edges; raise ValueError unless `count` pixels between them have a width above 0."""
    try:
        low, high = (check_number(limit, name, -math.inf) for limit in limits)
    except (TypeError, ValueError):
        low = high = np.nan
    step = (high - low) / count
    if np.isfinite(step) and step > 0:
        return low, high
    if np.isfinite([low, high]).all() and low < high:
        parts = f", divided by {count}," if count > 1 else ""
        raise ValueError(
            f"{name} must be two finite numbers whose difference{parts} is finite and above 0, got "
            f"{short_repr(limits)}"
        )
    raise ValueError(f"{name} must be two finite numbers, the lower first, got {short_repr(limits)}")
