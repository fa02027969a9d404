"""Lines between the classes at the points of a lattice: marching squares, for any number of classes.

Lines are in the lattice's own coordinates: the point in column j and row i is at (j, i), and rows go upward.
A line runs through the squares whose four corners are not of one class, and has a vertex wherever it crosses
an edge of one. Every step is done for all squares, vertices or lines at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Line",
    "Seams",
    "Squares",
    "mixed_squares",
    "placed",
    "regions",
    "trace",
    "trace_pixels",
]

Array = NDArray[Any]
Floats = NDArray[np.float64]
ClassesAt = Callable[[Floats], Array]

# Halvings of an edge, and of a square that a junction is looked for in: a vertex is within 1/2048 of where
# the class changes.
HALVINGS = 10
# How far lines may be from their vertices when those that do not matter are left out. What joins two vertices
# in a square is nowhere farther from one of them than half a diagonal, 0.708: all together it is below 1.
SLACK = 0.29
# Steps of smoothing where only the pixels are known, and the nearest to an edge's end that a vertex gets.
SMOOTHINGS, NEAREST_TO_END = 60, 0.02

# Corners of a square, counter-clockwise, as (column, row); edge k goes from corner k to the next.
CORNERS = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])


class Squares(NamedTuple):
    """Squares of the lattice: the column and row of the lower left corner, and the classes (n, 4) of all,
    counter-clockwise from there."""

    columns: NDArray[np.int64]
    rows: NDArray[np.int64]
    corners: NDArray[np.int64]


class Line(NamedTuple):
    """A line between two classes, `left` < `right` as numbers, on its left and right hand.

    Its points (n, 2) end where they began, at the lattice's edge, or at a junction of three classes or more.
    """

    left: int
    right: int
    points: Floats


def mixed_squares(classes: Array, first_row: int = 0) -> Squares:
    """The squares of more than one class, of a lattice or of some rows of it, the first of which is given."""
    height, width = classes.shape
    flat = np.ascontiguousarray(classes).ravel()
    # Of neighbours in memory: the last point of a row and the first of the next one are none in the lattice.
    across = np.flatnonzero(flat[1:] != flat[:-1])
    upward = np.flatnonzero(flat[width:] != flat[:-width])
    across = across[(across + 1) % width != 0]
    # A square has the number of its lower left corner; an edge is one of two squares'.
    found = np.concatenate(
        [
            across[across < (height - 1) * width],
            across[across >= width] - width,
            upward[(upward + 1) % width != 0],
            upward[upward % width != 0] - 1,
        ]
    )
    found = np.unique(found)
    corners = np.stack([flat[found + row * width + column] for column, row in CORNERS], axis=1)
    return Squares(found % width, found // width + first_row, corners.astype(np.int64))


class Seams:
    """Joins what `mixed_squares` finds in strips of a lattice, which come from the lowest upward."""

    def __init__(self) -> None:
        self._parts: list[Squares] = []
        self._last: Array | None = None
        self._height = 0

    def add(self, squares: Squares, lowest: Array, highest: Array, height: int) -> None:
        """A strip of so many rows: its squares, its lowest and its highest row."""
        if self._last is not None:
            self._parts.append(mixed_squares(np.stack([self._last, lowest]), self._height - 1))
        self._parts.append(squares)
        self._last = highest
        self._height += height

    @property
    def squares(self) -> Squares:
        """Of all strips."""
        return Squares(*(np.concatenate(part) for part in zip(*self._parts, strict=True)))


def trace(squares: Squares, width: int, classes_at: ClassesAt | None = None) -> list[Line]:
    """The lines through squares.

    Parameters
    ----------
    squares : Squares
        All of a lattice that are of more than one class.
    width : int
        Points in a row of the lattice.
    classes_at : callable, optional
        Gives the classes at points (n, 2): vertices and junctions are put where they change. By default they
        are in the middle of edges and squares, and vertices then slide along their edges until the lines are
        smooth.

    Returns
    -------
    list of Line

    Notes
    -----
    Two corners of one class that lie across from each other, between two of other classes, are connected. If
    those are alike, too, the class in the middle of the square is the one that is connected; where the middle
    is of neither, or is not known, the one of the lower number.
    """
    if not len(squares.rows):
        return []
    corners = squares.corners
    following = np.roll(corners, -1, axis=1)
    # Seen from within a square, a line that has its lower class on the left enters where the next corner
    # is of a higher class, and leaves where it is of a lower one.
    enters, leaves = corners < following, corners > following
    numbers = 2 * (squares.rows * width + squares.columns)[:, None] + np.array([0, 3, 2 * width, 1])
    edges, places = np.unique(numbers[enters | leaves], return_inverse=True)
    vertices = np.zeros(numbers.shape, np.int64)
    vertices[enters | leaves] = places

    n_crossed = (enters | leaves).sum(axis=1)
    is_junction, cut = _decided(squares, n_crossed, classes_at)
    plain = n_crossed == 2
    tails = [vertices[enters & plain[:, None]]]
    heads = [vertices[leaves & plain[:, None]]]
    for corner in range(4):
        # The corner lies between the edge that comes to it and the one that leads on.
        before, after = vertices[:, corner - 1], vertices[:, corner]
        goes_round = enters[:, corner - 1]
        tails.append(np.where(goes_round, before, after)[cut[:, corner]])
        heads.append(np.where(goes_round, after, before)[cut[:, corner]])
    # In a junction every line has an end of its own.
    coming, going = enters & is_junction[:, None], leaves & is_junction[:, None]
    ends = np.arange(coming.sum() + going.sum()) + len(edges)
    tails += [vertices[coming], ends[coming.sum() :]]
    heads += [ends[: coming.sum()], vertices[going]]
    tail, head = np.concatenate(tails), np.concatenate(heads)
    n_vertices = len(edges) + len(ends)
    after, before = np.full((2, n_vertices), -1)
    after[tail], before[head] = head, tail

    starts, directions = _placed(edges, width)
    sides = _sides(squares, enters | leaves, places, len(edges))
    junctions = np.concatenate([np.nonzero(coming)[0], np.nonzero(going)[0]])
    centres = _junctions(squares, is_junction, classes_at)[junctions]
    if classes_at is None:
        points = _smoothed(starts, directions, centres, after, before)
    else:
        points = np.concatenate([_bisected(starts, directions, sides, classes_at), centres])
    order, first = _chained(after, before)
    # Of two points that follow each other in a line one is on an edge at least, which come first.
    pairs = np.sort(sides[np.minimum(order[first[:-1]], order[first[:-1] + 1])], axis=1)
    chain = points[order]
    kept = _simplified(chain, first)
    chain, first = chain[kept], np.concatenate([[0], np.cumsum(kept)])[first]
    return [
        Line(left, right, chain[begin:end])
        for (left, right), begin, end in zip(
            pairs.tolist(), first[:-1].tolist(), first[1:].tolist(), strict=True
        )
    ]


def trace_pixels(pixels: Array) -> list[Line]:
    """The lines between the classes of a picture's pixels (height, width), to its edges: the lattice has a
    column or a row more on each of them."""
    return trace(mixed_squares(np.pad(pixels, 1, mode="edge")), pixels.shape[1] + 2)


def placed(lines: Iterable[Line], xs: Floats, ys: Floats) -> list[Line]:
    """Lines in a lattice as lines in the plane, where its columns and rows are at `xs` and `ys`."""
    lines = list(lines)
    if not lines:
        return []
    # All at once: interpolation takes as long as the axis is, however few the points are.
    points = np.concatenate([line.points for line in lines])
    columns = zip(points.T, (xs, ys), strict=True)
    points = np.column_stack([np.interp(u, np.arange(at.size), at) for u, at in columns])
    ends = np.cumsum([len(line.points) for line in lines])
    parts = np.split(points, ends[:-1])
    return [line._replace(points=part) for line, part in zip(lines, parts, strict=True)]


def _decided(squares: Squares, n_crossed: Array, classes_at: ClassesAt | None) -> tuple[Array, Array]:
    """Which squares have a junction (n,), and which of their corners lines of their own cut off (n, 4)."""
    corners = squares.corners
    is_alike = corners[:, :2] == corners[:, 2:]
    cut = np.zeros(corners.shape, bool)
    ambiguous = np.flatnonzero((n_crossed == 4) & is_alike.any(axis=1))
    if ambiguous.size:
        a, b = corners[ambiguous, 0], corners[ambiguous, 1]
        # Whether corners 0 and 2 are connected, rather than 1 and 3.
        first = is_alike[ambiguous, 0] & (~is_alike[ambiguous, 1] | (a < b))
        if classes_at is not None:
            corner = np.column_stack([squares.columns, squares.rows])[ambiguous].astype(np.float64)
            is_saddle = is_alike[ambiguous].all(axis=1)
            found = classes_at(corner + 0.5)
            first = np.where(is_saddle & (found == a), True, np.where(is_saddle & (found == b), False, first))
        cut[ambiguous] = np.where(first[:, None], [False, True, False, True], [True, False, True, False])
    return (n_crossed > 2) & ~cut.any(axis=1), cut


def _placed(edges: Array, width: int) -> tuple[Floats, Floats]:
    """Where edges begin, and the way to their ends."""
    at, is_upward = edges // 2, edges % 2
    starts = np.column_stack([at % width, at // width]).astype(np.float64)
    return starts, np.column_stack([1 - is_upward, is_upward]).astype(np.float64)


def _sides(squares: Squares, crossed: Array, places: Array, n_edges: int) -> Array:
    """The classes at the beginning and the end of edges."""
    sides = np.empty((n_edges, 2), np.int64)
    # Counter-clockwise, the upper and the left edge are gone through backward.
    begins, ends = squares.corners[:, [0, 1, 3, 0]], squares.corners[:, [1, 2, 2, 3]]
    sides[places] = np.stack([begins[crossed], ends[crossed]], axis=1)
    return sides


def _bisected(starts: Floats, directions: Floats, sides: Array, classes_at: ClassesAt) -> Floats:
    """Where, along edges, the class at the beginning ends."""
    low = np.zeros(len(starts))
    step = 0.5
    for _ in range(HALVINGS):
        same = classes_at(starts + (low + step)[:, None] * directions) == sides[:, 0]
        low[same] += step
        step /= 2
    return starts + (low + step)[:, None] * directions


def _junctions(squares: Squares, is_junction: Array, classes_at: ClassesAt | None) -> Floats:
    """By square, where its lines meet: in its middle, or in that of ever smaller squares of three classes."""
    low = np.column_stack([squares.columns, squares.rows]).astype(np.float64)
    size = np.ones(len(low))
    active = np.flatnonzero(is_junction)
    for _ in range(HALVINGS if classes_at is not None else 0):
        if not active.size:
            break
        assert classes_at is not None
        steps = np.stack(np.meshgrid([0, 0.5, 1], [0, 0.5, 1]), axis=-1)
        around = low[active][:, None, None] + steps * size[active][:, None, None, None]
        classes = classes_at(around.reshape(-1, 2)).reshape(-1, 3, 3)
        parts = [classes[:, row : row + 2, column : column + 2] for row in (0, 1) for column in (0, 1)]
        quarters = np.stack([part.reshape(-1, 4) for part in parts], axis=1)
        quarters.sort(axis=2)
        is_met = (np.diff(quarters, axis=2) != 0).sum(axis=2) >= 2
        has = is_met.any(axis=1)
        active, quarter = active[has], is_met[has].argmax(axis=1)
        size[active] /= 2
        low[active] += size[active][:, None] * np.stack([quarter % 2, quarter // 2], axis=1)
    return low + size[:, None] / 2


def _smoothed(starts: Floats, directions: Floats, fixed: Floats, after: Array, before: Array) -> Floats:
    """Vertices on edges, and after them the fixed ones, where each has been moved, again and again, to where
    the straight line between its neighbours crosses its edge, or as near as the edge goes."""
    n = len(starts)
    itself = np.arange(n)
    following, previous = (_or_on(way, back)[:n] for way, back in ((after, before), (before, after)))
    points = np.concatenate([starts + directions / 2, fixed])
    # Of every vertex one coordinate is free, x or y.
    free = directions[:, 1].astype(np.int64)
    flat = points.reshape(-1)
    own, next_own, previous_own = (2 * at + free for at in (itself, following, previous))
    own_other, next_other, previous_other = (2 * at + 1 - free for at in (itself, following, previous))
    least = flat[own] - 0.5 + NEAREST_TO_END
    most = flat[own] + 0.5 - NEAREST_TO_END
    for _ in range(SMOOTHINGS):
        # The other coordinate tells where between the neighbours the edge is.
        way = flat[next_other] - flat[previous_other]
        is_level = np.abs(way) < 1e-9
        share = (flat[own_other] - flat[previous_other]) / np.where(is_level, 1, way)
        # It is beyond both at the picture's edge, half a pixel after the last one.
        share = np.where(is_level, 0.5, np.clip(share, -0.5, 1.5))
        crossing = flat[previous_own] + share * (flat[next_own] - flat[previous_own])
        # Half of the way: all are moved at once, and would swing otherwise.
        flat[own] = np.clip((flat[own] + crossing) / 2, least, most)
    return points


def _or_on(way: Array, back: Array) -> Array:
    """The next vertex one way; where there is none, the next but one the other way, if there is one."""
    next_but_one = np.where(back[back] < 0, back, back[back])
    return np.where(way < 0, next_but_one, way)


def _chained(after: Array, before: Array) -> tuple[Array, Array]:
    """The vertices of one line after the other, and where each begins, and the last ends; the first vertex of
    a closed line is its last one, too."""
    following = after.tolist()
    order: list[int] = []
    first: list[int] = []
    for start in np.flatnonzero(before < 0).tolist():
        first.append(len(order))
        at = start
        while at >= 0:
            order.append(at)
            following[at], at = -2, following[at]
    for start in np.flatnonzero(before >= 0).tolist():
        if following[start] == -2:
            continue
        first.append(len(order))
        at = start
        while following[at] != -2:
            order.append(at)
            following[at], at = -2, following[at]
        order.append(start)
    return np.array(order), np.array([*first, len(order)])


def _simplified(points: Floats, first: Array) -> NDArray[np.bool_]:
    """Which points of polylines, one after the other, Douglas and Peucker keep [1]_.

    shapely has it for one line after the other; here every step divides all stretches of all lines.

    References
    ----------
    .. [1] D. H. Douglas and T. K. Peucker, Algorithms for the reduction of the number of points required to
       represent a digitized line or its caricature, Cartographica 10 (1973), 112-122.
    """
    z = points.view(np.complex128)[:, 0]
    kept = np.zeros(len(points), bool)
    kept[first[:-1]] = kept[first[1:] - 1] = True
    # Stretches that may have to be divided, as their first and last points.
    begin, end = first[:-1], first[1:] - 1
    while True:
        is_long = end - begin > 1
        begin, end = begin[is_long], end[is_long]
        if not begin.size:
            return kept
        counts = end - begin - 1
        starts = np.cumsum(counts) - counts
        inner = np.arange(counts.sum()) + np.repeat(begin + 1 - starts, counts)
        chord = z[end] - z[begin]
        size = np.abs(chord)
        turn = np.where(size > 0, chord.conj() / np.maximum(size, 1e-300), 1)
        # Along the chord and across. Of a closed line it is a point.
        turned = (z[inner] - np.repeat(z[begin], counts)) * np.repeat(turn, counts)
        along = turned.real
        off = along - np.clip(along, 0, np.repeat(size, counts))
        distance = turned.imag**2 + off**2
        farthest = np.maximum.reduceat(distance, starts)
        divided = farthest > SLACK**2
        candidates = np.flatnonzero(distance == np.repeat(np.where(divided, farthest, -1), counts))
        # The first of each stretch.
        stretch = np.searchsorted(starts, candidates, "right")
        middle = inner[candidates[np.diff(stretch, prepend=0) > 0]]
        kept[middle] = True
        begin, end = begin[divided], end[divided]
        begin, end = np.concatenate([begin, middle]), np.concatenate([middle, end])


def regions(lines: Iterable[Line], corner: int, size: tuple[float, float]) -> dict[int, list[Floats]]:
    """The classes' regions in a rectangle from (0, 0) to `size`, as rings of points around and within them.

    Parameters
    ----------
    lines : iterable of Line
        All lines in it.
    corner : int
        The class in the lower left corner.
    size : (float, float)

    Returns
    -------
    dict of int to list of array (n, 2)
        By class. Every ring has its class on the left, so that either rule of filling, even-odd or nonzero,
        gives the region.
    """
    width, height = size
    rings: dict[int, list[Floats]] = {}
    pieces: dict[int, dict[tuple[float, ...], Floats]] = {}
    # Where lines meet the frame, counter-clockwise from the lower left corner: how far from there, where, and
    # the class beyond.
    met: list[tuple[float, Floats, int]] = []

    def add(number: int, points: Floats) -> None:
        pieces.setdefault(number, {})[tuple(points[0].tolist())] = points

    for left, right, points in lines:
        if (points[0] == points[-1]).all():
            rings.setdefault(left, []).append(points)
            rings.setdefault(right, []).append(points[::-1])
            continue
        add(left, points)
        add(right, points[::-1])
        for point, beyond in ((points[0], right), (points[-1], left)):
            x, y = point.tolist()
            if y == 0:
                met.append((x, point, beyond))
            elif x == width:
                met.append((width + y, point, beyond))
            elif y == height:
                met.append((2 * width + height - x, point, beyond))
            elif x == 0:
                met.append((2 * (width + height) - y, point, beyond))
    frame = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    if not met:
        rings.setdefault(corner, []).append(frame[[0, 1, 2, 3, 0]])
    met.sort(key=lambda item: item[0])
    at = np.array([0, width, width + height, 2 * width + height])
    for (begin, point, beyond), (end, next_point, _) in zip(met, met[1:] + met[:1], strict=True):
        if end > begin:
            between = frame[(at > begin) & (at < end)]
        else:  # past the corner where counting starts
            between = np.concatenate([frame[at > begin], frame[at < end]])
        add(beyond, np.vstack([point, between, next_point]))
    for number, parts in pieces.items():
        while parts:
            start, points = parts.popitem()
            ring = [points]
            while (goal := tuple(ring[-1][-1].tolist())) != start:
                ring.append(parts.pop(goal))
            rings.setdefault(number, []).append(np.concatenate([part[:-1] for part in ring] + [points[:1]]))
    return rings
