"""Lines between the classes at the points of a lattice: marching squares, for any number of classes.

The coordinates of lines are those of the lattice: the point in column j and row i is (j, i), and rows go
upward. A line passes through *mixed squares*, whose corners have more than one class, and has a vertex on
every edge of such a square that it crosses. All functions are vectorised over squares, vertices or lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.ma  # np.unique would import it while a thread trains: a child forked then would wait forever
from numpy.typing import NDArray

__all__ = [
    "Line",
    "Squares",
    "StripSquares",
    "mixed_squares",
    "regions",
    "to_coordinates",
    "trace",
    "trace_pixels",
]

Array = NDArray[Any]
Floats = NDArray[np.float64]
ClassesAt = Callable[[Floats], Array]

# Number of bisections of an edge, or of a square with a junction: a vertex is within 1/2048 of the point at
# which the class changes.
HALVINGS = 10
# Largest distance of a simplified line from a vertex that it leaves out. A line between two vertices of a
# square is within half a diagonal, 0.708, of one of them: the total error is below 1.
TOLERANCE = 0.29
# Number of smoothing steps if only the pixels are known, and the least distance of a vertex from the ends of
# its edge.
SMOOTHINGS, NEAREST_TO_END = 60, 0.02

# Corners of a square, counter-clockwise, as (column, row); edge k goes from corner k to the next.
CORNERS = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])


class Squares(NamedTuple):
    """Mixed squares of a lattice, in arrays.

    Parameters
    ----------
    columns, rows : array (n,)
        Column and row of the lower left corners.
    corners : array (n, 4)
        Classes of the four corners, counter-clockwise from the lower left one.
    """

    columns: NDArray[np.int64]
    rows: NDArray[np.int64]
    corners: NDArray[np.int64]


class Line(NamedTuple):
    """A line between two classes.

    Parameters
    ----------
    left, right : int
        Numbers of the classes on the left and on the right of the line; `left` < `right`.
    points : array (n, 2)
        Vertices. A closed line ends with its first vertex. Other lines begin and end at the edges of the
        lattice and at junctions of three or more classes.
    """

    left: int
    right: int
    points: Floats


def mixed_squares(classes: Array, first_row: int = 0) -> Squares:
    """Return the mixed squares of a lattice.

    Parameters
    ----------
    classes : array (height, width)
        Classes at the points of a lattice, or at those of some consecutive rows.
    first_row : int
        Number of the first row.
    """
    width = classes.shape[1]
    flat = np.ascontiguousarray(classes).ravel()
    # Points that are neighbours in memory are compared. The last point of a row and the first of the next row
    # are not neighbours in the lattice: drop these pairs.
    across = np.flatnonzero(flat[1:] != flat[:-1])
    upward = np.flatnonzero(flat[width:] != flat[:-width])
    across = across[(across + 1) % width != 0]
    # A square has the number of its lower left corner. On the way around a square the class changes never or
    # at least twice: the changes along upper, left and right edges find every mixed square.
    left, right = upward[upward % width != 0] - 1, upward[(upward + 1) % width != 0]
    found = np.unique(np.concatenate([across[across >= width] - width, left, right]))
    corners = np.stack([flat[found + row * width + column] for column, row in CORNERS], axis=1)
    return Squares(found % width, found // width + first_row, corners.astype(np.int64))


class StripSquares:
    """Collector of the mixed squares of a lattice that is given in strips of rows, from the lowest upward."""

    def __init__(self) -> None:
        self._strips: list[Squares] = []
        self._last: Array | None = None
        self._height = 0

    def add(self, squares: Squares, lowest: Array, highest: Array, height: int) -> None:
        """Add a strip, and find the mixed squares between the last two strips.

        Parameters
        ----------
        squares : Squares
            Result of `mixed_squares` for the strip.
        lowest, highest : array (width,)
            Classes of the lowest and the highest row.
        height : int
            Number of rows.
        """
        if self._last is not None:
            self._strips.append(mixed_squares(np.stack([self._last, lowest]), self._height - 1))
        self._strips.append(squares)
        self._last = highest
        self._height += height

    @property
    def squares(self) -> Squares:
        """Mixed squares of all strips added so far."""
        return Squares(*(np.concatenate(field) for field in zip(*self._strips, strict=True)))


def trace(squares: Squares, width: int, classes_at: ClassesAt | None = None) -> list[Line]:
    """Return the lines between the classes of a lattice.

    Parameters
    ----------
    squares : Squares
        All mixed squares of the lattice.
    width : int
        Number of points in a row of the lattice.
    classes_at : callable, optional
        Function that returns the classes at points (n, 2). With it, vertices and junctions are at the points
        where the class changes, found by bisection. By default they are in the middle of edges and squares,
        and vertices then slide along their edges until the lines are smooth.

    Returns
    -------
    list of Line
        Lines of all pairs of classes.

    Notes
    -----
    If two opposite corners of a square have one class and the other corners have other classes, the two
    corners are connected. If the other two corners also have one class, the class in the middle of the square
    is connected; if the middle has neither class or is not known, the class with the lower number is.
    """
    if not len(squares.rows):
        return []
    corners = squares.corners
    following = np.roll(corners, -1, axis=1)
    # Lines have the class of the lower number on the left. Going around a square counter-clockwise, a line
    # enters through an edge along which the class number rises and leaves through one along which it falls.
    rises, falls = corners < following, corners > following
    numbers = 2 * (squares.rows * width + squares.columns)[:, None] + np.array([0, 3, 2 * width, 1])
    edges, places = np.unique(numbers[rises | falls], return_inverse=True)
    vertices = np.zeros(numbers.shape, np.int64)
    vertices[rises | falls] = places

    n_crossed = (rises | falls).sum(axis=1)
    is_junction, cut = _junctions_and_cuts(squares, n_crossed, classes_at)
    plain = n_crossed == 2
    tails = [vertices[rises & plain[:, None]]]
    heads = [vertices[falls & plain[:, None]]]
    for corner in range(4):
        # A line that cuts off a corner crosses the edge before the corner and the edge after it.
        before, after = vertices[:, corner - 1], vertices[:, corner]
        enters_before = rises[:, corner - 1]
        tails.append(np.where(enters_before, before, after)[cut[:, corner]])
        heads.append(np.where(enters_before, after, before)[cut[:, corner]])
    # Every line that ends at a junction has its own end vertex, which has the position of the junction.
    into_junction, out_of_junction = rises & is_junction[:, None], falls & is_junction[:, None]
    ends = np.arange(into_junction.sum() + out_of_junction.sum()) + len(edges)
    tails += [vertices[into_junction], ends[into_junction.sum() :]]
    heads += [ends[: into_junction.sum()], vertices[out_of_junction]]
    tail, head = np.concatenate(tails), np.concatenate(heads)
    n_vertices = len(edges) + len(ends)
    after, before = np.full((2, n_vertices), -1)
    after[tail], before[head] = head, tail

    starts, directions = _edge_vectors(edges, width)
    sides = _edge_classes(squares, rises | falls, places, len(edges))
    junctions = np.concatenate([np.nonzero(into_junction)[0], np.nonzero(out_of_junction)[0]])
    centres = _junctions(squares, is_junction, classes_at)[junctions]
    if classes_at is None:
        points = _smoothed(starts, directions, centres, after, before)
    else:
        points = np.concatenate([_crossings(starts, directions, sides, classes_at), centres])
    order, first = _ordered_vertices(after, before)
    # At least one of two successive vertices is on an edge, and vertices on edges have lower numbers than
    # junctions: the smaller of the two numbers gives the classes beside the line.
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
    """Return the lines between the classes of pixels (height, width).

    The lattice has one more row or column on each side than the picture, so that lines reach the picture's
    edges.
    """
    return trace(mixed_squares(np.pad(pixels, 1, mode="edge")), pixels.shape[1] + 2)


def to_coordinates(lines: Iterable[Line], xs: Floats, ys: Floats) -> list[Line]:
    """Return lines with lattice coordinates replaced by coordinates of the plane.

    `xs` and `ys` are the coordinates of the lattice's columns and rows.
    """
    lines = list(lines)
    if not lines:
        return []
    # An interpolation takes time in proportion to the axis, however few points there are: interpolate the
    # points of all lines at once.
    points = np.concatenate([line.points for line in lines])
    columns = zip(points.T, (xs, ys), strict=True)
    points = np.column_stack([np.interp(u, np.arange(at.size), at) for u, at in columns])
    ends = np.cumsum([len(line.points) for line in lines])
    by_line = np.split(points, ends[:-1])
    return [line._replace(points=of_line) for line, of_line in zip(lines, by_line, strict=True)]


def _junctions_and_cuts(
    squares: Squares, n_crossed: Array, classes_at: ClassesAt | None
) -> tuple[Array, Array]:
    """Return the mask (n,) of squares with a junction, and the mask (n, 4) of corners that a line cuts off.

    Only squares with more than two crossed edges have either; `n_crossed` (n,) counts the crossed edges.
    """
    corners = squares.corners
    is_alike = corners[:, :2] == corners[:, 2:]
    cut = np.zeros(corners.shape, bool)
    ambiguous = np.flatnonzero((n_crossed == 4) & is_alike.any(axis=1))
    if ambiguous.size:
        a, b = corners[ambiguous, 0], corners[ambiguous, 1]
        # True where corners 0 and 2 are connected, False where corners 1 and 3 are.
        joins_even = is_alike[ambiguous, 0] & (~is_alike[ambiguous, 1] | (a < b))
        if classes_at is not None:
            corner = np.column_stack([squares.columns, squares.rows])[ambiguous].astype(np.float64)
            is_saddle = is_alike[ambiguous].all(axis=1)
            found = classes_at(corner + 0.5)
            joins_even = (joins_even | (is_saddle & (found == a))) & ~(is_saddle & (found == b))
        cut[ambiguous] = np.where(joins_even[:, None], [False, True, False, True], [True, False, True, False])
    return (n_crossed > 2) & ~cut.any(axis=1), cut


def _edge_vectors(edges: Array, width: int) -> tuple[Floats, Floats]:
    """Return the starting points (n, 2) of edges, and the vectors (n, 2) from there to their ends."""
    at, is_upward = edges // 2, edges % 2
    starts = np.column_stack([at % width, at // width]).astype(np.float64)
    return starts, np.column_stack([1 - is_upward, is_upward]).astype(np.float64)


def _edge_classes(squares: Squares, crossed: Array, places: Array, n_edges: int) -> Array:
    """Return the classes (n_edges, 2) at the starting points and the ends of edges."""
    sides = np.empty((n_edges, 2), np.int64)
    # Edges point to the right or upward: going around a square counter-clockwise, the upper and the left edge
    # are traversed backward.
    begins, ends = squares.corners[:, [0, 1, 3, 0]], squares.corners[:, [1, 2, 2, 3]]
    sides[places] = np.stack([begins[crossed], ends[crossed]], axis=1)
    return sides


def _crossings(starts: Floats, directions: Floats, sides: Array, classes_at: ClassesAt) -> Floats:
    """Return the points (n, 2) on edges at which the class changes from that of the starting point."""
    low = np.zeros(len(starts))
    step = 0.5
    for _ in range(HALVINGS):
        same = classes_at(starts + (low + step)[:, None] * directions) == sides[:, 0]
        low[same] += step
        step /= 2
    return starts + (low + step)[:, None] * directions


def _junctions(squares: Squares, is_junction: Array, classes_at: ClassesAt | None) -> Floats:
    """Return the point of every square at which its lines would meet.

    The point is the middle of the square. At a junction, if `classes_at` is given, the square is quartered
    repeatedly: the point is the middle of the smallest quarter whose corners have three classes.
    """
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
        by_quarter = [classes[:, row : row + 2, column : column + 2] for row in (0, 1) for column in (0, 1)]
        quarters = np.stack([corners.reshape(-1, 4) for corners in by_quarter], axis=1)
        quarters.sort(axis=2)
        is_met = (np.diff(quarters, axis=2) != 0).sum(axis=2) >= 2
        has = is_met.any(axis=1)
        active, quarter = active[has], is_met[has].argmax(axis=1)
        size[active] /= 2
        low[active] += size[active][:, None] * np.stack([quarter % 2, quarter // 2], axis=1)
    return low + size[:, None] / 2


def _smoothed(starts: Floats, directions: Floats, fixed: Floats, after: Array, before: Array) -> Floats:
    """Return the smoothed vertices on edges, followed by the vertices `fixed`, which do not move.

    In every step a vertex moves along its edge toward the straight line between its neighbours. `after` and
    `before` are the numbers of a vertex's neighbours, -1 at the ends of lines.
    """
    n = len(starts)
    itself = np.arange(n)
    following, previous = (_neighbours(way, back)[:n] for way, back in ((after, before), (before, after)))
    points = np.concatenate([starts + directions / 2, fixed])
    # A vertex moves along its edge: one of its coordinates is free, the other is fixed.
    free = directions[:, 1].astype(np.int64)
    flat = points.reshape(-1)
    free_places, next_free, previous_free = (2 * at + free for at in (itself, following, previous))
    fixed_places, next_fixed, previous_fixed = (2 * at + 1 - free for at in (itself, following, previous))
    least = flat[free_places] - 0.5 + NEAREST_TO_END
    most = flat[free_places] + 0.5 - NEAREST_TO_END
    for _ in range(SMOOTHINGS):
        # The fixed coordinate gives the position of the edge between the two neighbours, as a fraction.
        way = flat[next_fixed] - flat[previous_fixed]
        is_level = np.abs(way) < 1e-9
        share = (flat[fixed_places] - flat[previous_fixed]) / np.where(is_level, 1, way)
        # At the picture's edge, half a pixel after the last vertex, the fraction may be outside of 0 to 1.
        share = np.where(is_level, 0.5, np.clip(share, -0.5, 1.5))
        crossing = flat[previous_free] + share * (flat[next_free] - flat[previous_free])
        # All vertices move at the same time and would oscillate: move each only half of the way.
        flat[free_places] = np.clip((flat[free_places] + crossing) / 2, least, most)
    return points


def _neighbours(way: Array, back: Array) -> Array:
    """Return each vertex's neighbour in the direction `way`.

    At the end of a line the result is the second neighbour in the direction `back`, or the first if there is
    no second.
    """
    next_but_one = np.where(back[back] < 0, back, back[back])
    return np.where(way < 0, next_but_one, way)


def _ordered_vertices(after: Array, before: Array) -> tuple[Array, Array]:
    """Return the vertices of all lines, one line after another, and the index at which each line begins.

    The array of indices ends with the number of all vertices. A closed line ends with its first vertex.
    """
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
    """Return the mask of the points of polylines that the algorithm of Douglas and Peucker keeps [1]_.

    `points` has the polylines one after another; `first` has the index at which each begins, and the number
    of all points. A step divides the sections of all lines at once, which is faster than line by line.

    References
    ----------
    .. [1] D. H. Douglas and T. K. Peucker, Algorithms for the reduction of the number of points required to
       represent a digitized line or its caricature, Cartographica 10 (1973), 112-122.
    """
    z = points.view(np.complex128)[:, 0]
    kept = np.zeros(len(points), bool)
    kept[first[:-1]] = kept[first[1:] - 1] = True
    # First and last points of the sections that may have to be divided.
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
        # Rotate the points: real parts are along the chord, imaginary parts across it. The chord of a closed
        # line has length 0.
        rotated = (z[inner] - np.repeat(z[begin], counts)) * np.repeat(turn, counts)
        along = rotated.real
        off = along - np.clip(along, 0, np.repeat(size, counts))
        distance = rotated.imag**2 + off**2
        farthest = np.maximum.reduceat(distance, starts)
        divided = farthest > TOLERANCE**2
        candidates = np.flatnonzero(distance == np.repeat(np.where(divided, farthest, -1), counts))
        # A section is divided at the first of its farthest points.
        section = np.searchsorted(starts, candidates, "right")
        middle = inner[candidates[np.diff(section, prepend=0) > 0]]
        kept[middle] = True
        begin, end = begin[divided], end[divided]
        begin, end = np.concatenate([begin, middle]), np.concatenate([middle, end])


def regions(lines: Iterable[Line], corner: int, size: tuple[float, float]) -> dict[int, list[Floats]]:
    """Return the regions of the classes in a rectangle whose lower left corner is (0, 0), as rings of points.

    Parameters
    ----------
    lines : iterable of Line
        All lines in the rectangle.
    corner : int
        Number of the class in the lower left corner.
    size : (float, float)
        Width and height of the rectangle.

    Returns
    -------
    dict of int to list of array (n, 2)
        Outer and inner rings by the number of the class. A ring has its class on the left, so that both the
        even-odd and the nonzero rule fill the region.
    """
    width, height = size
    rings: dict[int, list[Floats]] = {}
    pieces: dict[int, dict[tuple[float, ...], Floats]] = {}
    # Points at which lines meet the frame, as tuples: distance along the frame, counter-clockwise from the
    # lower left corner; the point; the class that follows along the frame.
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
    corners = np.array([0, width, width + height, 2 * width + height])  # their distances along the frame
    for (begin, point, beyond), (end, next_point, _) in zip(met, met[1:] + met[:1], strict=True):
        if end > begin:
            between = frame[(corners > begin) & (corners < end)]
        else:  # the section of the frame contains the lower left corner
            between = np.concatenate([frame[corners > begin], frame[corners < end]])
        add(beyond, np.vstack([point, between, next_point]))
    for number, sections in pieces.items():
        while sections:
            start, points = sections.popitem()
            ring = [points]
            while (goal := tuple(ring[-1][-1].tolist())) != start:
                ring.append(sections.pop(goal))
            rings.setdefault(number, []).append(
                np.concatenate([section[:-1] for section in ring] + [points[:1]])
            )
    return rings
