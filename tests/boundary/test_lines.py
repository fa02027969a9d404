"""The lines of a decision boundary: where they are, how exact they are, and files of regions and lines."""

import itertools
import xml.etree.ElementTree as ET

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import LineCollection
from views import X, y

import fastnn
from fastnn import boundary_lines
from fastnn.boundary import tracing
from fastnn.boundary.sinks import Picture, save_pixels
from fastnn.boundary.tracing import (
    Line,
    StripSquares,
    mixed_squares,
    regions,
    to_coordinates,
    trace,
    trace_pixels,
)

UNIT = (0.0, 1.0)
SVG = "{http://www.w3.org/2000/svg}"


def length(line):
    """Return the length of a polyline."""
    return np.hypot(*np.diff(line, axis=0).T).sum()


def is_closed(line):
    return (line[0] == line[-1]).all()


def distances(points, lines):
    """Return the distances of points from polylines."""
    corners = [line @ [1, 1j] for line in lines]
    begin = np.concatenate([each[:-1] for each in corners])
    way = np.concatenate([np.diff(each) for each in corners])
    apart = (points @ [1, 1j])[:, None] - begin
    share = np.clip((apart * way.conj()).real / np.maximum(np.abs(way) ** 2, 1e-300), 0, 1)
    return np.abs(apart - share * way).min(axis=1)


def points_along(line, step):
    """Return points on a polyline, each at most `step` from the next."""
    parts = [
        np.linspace(begin, end, 1 + int(np.ceil(np.hypot(*(end - begin)) / step)))
        for begin, end in itertools.pairwise(line)
    ]
    return np.concatenate(parts)


def all_lines(found):
    """Return the lines of all pairs of classes."""
    return [line for lines in found.values() for line in lines]


def inside(points, rings):
    """Return which points an odd number of rings encloses."""
    result = np.zeros(len(points), bool)
    x, y = points.T
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring[:-1].tolist(), ring[1:].tolist(), strict=True):
            crosses = (y0 > y) != (y1 > y)
            if y0 != y1:
                result ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
    return result


def sectors(points):
    """Return the classes of three sectors of 120 degrees around (0.2, 0.1)."""
    angle = np.arctan2(points[:, 1] - 0.1, points[:, 0] - 0.2) % (2 * np.pi)
    return np.array(["east", "north", "south"])[(angle // (2 * np.pi / 3)).astype(int)]


@pytest.fixture(scope="module", params=["numba", "numpy"])
def network(request):
    """Return a network of three classes, trained on either backend."""
    classes = np.where(X[:, 0] > 1, 2, y)
    model = fastnn.Model([2, 8, 3], random_state=0, backend=request.param)
    model.train(X, classes, num_passes=300)
    return model


# ---- where the lines are ----


@pytest.mark.parametrize("tolerance", [None, 0.03, 0.001])
def test_a_straight_boundary_is_one_line_of_two_points(tolerance):
    found = boundary_lines(lambda P: P @ [2, -3] > 0.25, UNIT, UNIT, tolerance=tolerance)
    ((pair, (line,)),) = found.items()
    assert pair == (False, True)
    assert line.shape == (2, 2)
    assert line.dtype == np.float64
    # From the lower edge to the right one, with False on the left.
    np.testing.assert_allclose(line, [(0.125, 0), (1, 1.75 / 3)], atol=1e-3 * (tolerance or 1 / 2000))


def test_the_boundary_of_a_linear_model_is_its_line():
    model = fastnn.Model([2, 2], random_state=0)
    model.train(X, y, num_passes=300)
    W, b = model.W[0], model.b[0].ravel()
    normal, offset = W[:, 1] - W[:, 0], b[1] - b[0]
    (line,) = boundary_lines(model, (-2, 3), (-1.5, 2))[0, 1]
    assert len(line) <= 3
    assert np.abs(line @ normal + offset).max() / np.hypot(*normal) < 1e-5


@pytest.mark.parametrize("radius", [0.1, 0.7])
def test_a_circle_is_one_closed_line(radius):
    found = boundary_lines(lambda P: np.hypot(*(P - 0.01).T) < radius, (-1, 1), (-1, 1), tolerance=0.004)
    (line,) = found[False, True]
    assert is_closed(line)
    assert np.abs(np.hypot(*(points_along(line, 1e-3) - 0.01).T) - radius).max() < 0.3 * 0.004
    assert length(line) == pytest.approx(2 * np.pi * radius, rel=0.01)
    assert len(line) < 200 * np.sqrt(radius)
    # Clockwise: the outside, the first class of the pair, is on the left.
    (x, y), (x_next, y_next) = line[:-1].T, line[1:].T
    assert (x * y_next - y * x_next).sum() < 0


def test_the_first_class_is_on_the_left(network):
    found = boundary_lines(network, (-2, 3), (-1.5, 2), tolerance=0.005)
    assert len(all_lines(found)) > 1
    for (left, right), lines in found.items():
        for line in lines:
            begin, end = line[:-1], line[1:]
            way = end - begin
            aside = np.column_stack([-way[:, 1], way[:, 0]]) / np.hypot(*way.T)[:, None] * 0.01
            middle = (begin + end) / 2
            is_clear = np.hypot(*way.T) > 0.03
            assert is_clear.any()
            assert (network.predict((middle + aside)[is_clear]) == left).all()
            assert (network.predict((middle - aside)[is_clear]) == right).all()


def test_lines_of_three_classes_meet_in_one_point():
    found = boundary_lines(sectors, (-1, 1), (-1, 1), tolerance=0.01)
    assert list(found) == [("east", "north"), ("east", "south"), ("north", "south")]
    for lines in found.values():
        (line,) = lines
        assert len(line) == 2
        edge = np.abs(line).max(axis=1)
        assert (edge == 1).sum() == 1
        np.testing.assert_allclose(line[edge < 1], [(0.2, 0.1)], atol=1e-4)
    ends = {tuple(end) for line in all_lines(found) for end in line[[0, -1]] if np.abs(end).max() < 1}
    assert len(ends) == 1, "the three lines end in exactly the same point"


def test_lines_of_four_classes_meet():
    def quarters(P):
        return 2 * (P[:, 0] > 0.503) + (P[:, 1] > 0.501)

    found = boundary_lines(quarters, UNIT, UNIT, tolerance=0.01)
    assert list(found) == [(0, 1), (0, 2), (1, 3), (2, 3)]
    assert all(len(lines) == 1 for lines in found.values())
    assert sum(map(length, all_lines(found))) == pytest.approx(2, abs=0.001)


@pytest.mark.parametrize("middle", [0, 1])
def test_the_middle_of_a_square_decides_a_saddle(middle):
    def saddle(P):
        x, y = P.T - 0.5
        return np.where(np.hypot(x, y) < 0.2, middle, x * y < 0)

    lines = boundary_lines(saddle, UNIT, UNIT, tolerance=1)[0, 1]
    assert len(lines) == 2
    # Each line cuts off a corner of the class that is not in the middle.
    corners = {tuple(np.round(line.mean(axis=0)).astype(int)) for line in lines}
    assert corners == ({(0, 0), (1, 1)} if middle else {(0, 1), (1, 0)})


def test_diagonal_pixels_are_connected_if_their_class_is_the_lower_one():
    for pixels in (np.eye(2, dtype=np.uint8), 1 - np.eye(2, dtype=np.uint8)):
        board = np.pad(pixels, 2)
        assert len(trace_pixels(board)) == 2  # two pixels of class 1, each with a line around it
        assert len(trace_pixels(1 - board)) == 1  # two pixels of class 0, with one line around both


def test_diagonal_pixels_between_two_other_classes_are_connected():
    pixels = np.array([[1, 0], [2, 1]])
    assert sorted(line[:2] for line in trace_pixels(pixels)) == [(0, 1), (1, 2)]


def test_a_boundary_through_the_corners_of_squares_is_straight():
    (line,) = boundary_lines(lambda P: P[:, 0] > P[:, 1], UNIT, UNIT)[False, True]
    assert len(line) == 2
    np.testing.assert_allclose(line, [(0, 0), (1, 1)], atol=1e-3)


def test_closed_lines_may_lie_within_each_other():
    found = boundary_lines(
        lambda P: (np.hypot(*P.T) * 4).astype(int).clip(max=4) % 3, (-1.2, 1.2), (-1.2, 1.2)
    )
    assert list(found) == [(0, 1), (0, 2), (1, 2)]
    assert [[is_closed(line) for line in lines] for lines in found.values()] == [[True] * 2, [True], [True]]
    total = sum(map(length, all_lines(found)))
    assert total == pytest.approx(2 * np.pi * (0.25 + 0.5 + 0.75 + 1), rel=1e-3)


@pytest.mark.parametrize("points", [[(0.5, 0.5)], [(0.25, 0.5), (0.75, 0.5)]])
def test_lines_that_are_points_are_left_out(points):
    """The region around a point of the lattice is far smaller than the tolerance."""

    def classes(P):
        found = np.where(P[:, 0] < 0.6, 0, 1) if len(points) > 1 else np.zeros(len(P), int)
        near = [np.hypot(*(P - point).T) < 0.0005 for point in points]
        return np.where(np.any(near, axis=0), 2, found)

    found = boundary_lines(classes, UNIT, UNIT, tolerance=0.01)
    assert list(found) == [(0, 1)] * (len(points) > 1)
    assert all(len(np.unique(line, axis=0)) > 1 for line in all_lines(found))


def test_one_class_has_no_lines():
    assert boundary_lines(lambda P: np.zeros(len(P)), UNIT, UNIT) == {}
    assert boundary_lines(lambda P: np.full(len(P), "a"), UNIT, UNIT, tolerance=5) == {}


def test_pairs_are_in_the_order_of_the_classes():
    found = boundary_lines(lambda P: np.where(P[:, 0] < 0.5, "b", "a"), UNIT, UNIT, tolerance=0.1)
    ((pair, (line,)),) = found.items()
    assert pair == ("a", "b")
    # The line goes down, with a on its left.
    np.testing.assert_allclose(line, [(0.5, 1), (0.5, 0)], atol=1e-3)
    named = boundary_lines(
        lambda P: np.where(P[:, 0] < 0.5, "b", "a"), UNIT, UNIT, tolerance=0.1, classes=["a", "b", "c"]
    )
    np.testing.assert_array_equal(named["a", "b"][0], line)


def test_pairs_are_labels_of_the_estimator():
    model = fastnn.MLPClassifier((4,), max_iter=300, tol=1e-3, learning_rate_init=0.05, random_state=0)
    model.fit(X, np.array(["lower", "upper"])[y])
    assert list(boundary_lines(model, (-2, 3), (-1.5, 2), tolerance=0.02)) == [("lower", "upper")]


def test_lines_of_an_ensemble_for_four_features_separate_its_classes():
    member = fastnn.MLPClassifier((4,), max_iter=300, tol=1e-3, learning_rate_init=0.05)
    model = fastnn.MLPEnsembleClassifier(member, 3, random_state=0)
    model.fit(np.column_stack([X, X[:, ::-1]]), y)
    options = {"features": (3, 0), "fill": 0.3}
    found = boundary_lines(model, (-1, 2), (-2, 3), tolerance=0.01, **options)
    steps = np.array([1, 0, 0, -1]) * 0.03
    lines = all_lines(found)
    assert lines
    points = np.concatenate([points_along(line, 0.02) for line in lines])
    rows = np.full((len(points), 4), 0.3)
    rows[:, [3, 0]] = points
    around = [model.predict(rows + step * sign) for step in (steps, steps[::-1]) for sign in (1, -1)]
    assert (np.ptp(around, axis=0) > 0).all(), "both classes are near every point"


# ---- the tolerance ----


@pytest.mark.parametrize("tolerance", [0.2, 0.03])
def test_lines_and_boundary_are_within_the_tolerance_of_each_other(network, tolerance):
    lines = all_lines(boundary_lines(network, (-2, 3), (-1.5, 2), tolerance=tolerance))
    image = fastnn.render_boundary(network, (-2, 3), (-1.5, 2), size=(1000, 700))
    pixel = 0.005
    fine = to_coordinates(
        trace_pixels(image.data),
        np.concatenate([[-2], np.arange(1000) * pixel - 2 + pixel / 2, [3]]),
        np.concatenate([[-1.5], np.arange(700) * pixel - 1.5 + pixel / 2, [2]]),
    )
    boundary = [line.points for line in fine]
    for line in lines:
        assert distances(points_along(line, pixel), boundary).max() <= tolerance + pixel
    for line in boundary:
        assert distances(points_along(line, pixel), lines).max() <= tolerance + pixel


def test_each_axis_may_have_its_own_tolerance():
    def circle(P):
        return np.hypot(P[:, 0] / 1e6, P[:, 1]) < 0.5

    for tolerance in ((1e4, 0.01), None):
        (line,) = boundary_lines(circle, (-1e6, 1e6), (-1, 1), tolerance=tolerance)[False, True]
        assert np.abs(np.hypot(line[:, 0] / 1e6, line[:, 1]) - 0.5).max() < 1e-4
        assert length(line / [1e6, 1]) == pytest.approx(np.pi, rel=0.01)


def test_lines_separate_the_classes(network):
    """Between any two neighbours of different classes, there is a line within the tolerance."""
    tolerance = 0.05
    found = boundary_lines(network, (-2, 3), (-1.5, 2), tolerance=tolerance)
    xs, ys = np.linspace(-2, 3, 51), np.linspace(-1.5, 2, 36)
    points = np.stack(np.meshgrid(xs, ys), axis=-1)
    classes = network.predict(points.reshape(-1, 2)).reshape(36, 51)
    for here, there in (((slice(None), slice(1, None)), (slice(None), slice(-1))),
                        ((slice(1, None), slice(None)), (slice(-1), slice(None)))):  # fmt: skip
        differ = classes[here] != classes[there]
        middle = (points[here] + points[there])[differ] / 2
        assert len(middle)
        assert distances(middle, all_lines(found)).max() <= 0.05 + tolerance


@pytest.mark.parametrize("n_threads", [1, 3])
def test_lines_do_not_depend_on_blocks_and_threads(network, n_threads, monkeypatch):
    expected = boundary_lines(network, (-2, 3), (-1.5, 2), tolerance=0.06)
    for size in (3, 7, 64):
        monkeypatch.setattr("fastnn.boundary.lines.BLOCK", size)
        found = boundary_lines(network, (-2, 3), (-1.5, 2), tolerance=0.06, n_threads=n_threads)
        assert list(found) == list(expected)
        for pair, some in found.items():
            assert len(some) == len(expected[pair])
            for line, other in zip(some, expected[pair], strict=True):
                np.testing.assert_array_equal(line, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tolerance": 0}, "tolerance must be a number above 0"),
        ({"tolerance": -1.0}, "tolerance must be a number above 0"),
        ({"tolerance": np.nan}, "tolerance must be a number above 0"),
        ({"tolerance": (1, 2, 3)}, "tolerance must be a number above 0"),
        ({"tolerance": "fine"}, "tolerance must be a number above 0"),
        ({"tolerance": 1e-12}, "tolerance=1e-12 is too small: it divides a side into 1e\\+12 squares"),
        ({"xlim": (1, 0)}, "xlim must be two finite numbers, the lower first"),
        ({"ylim": (0, np.inf)}, "ylim must be two finite numbers, the lower first"),
        ({"n_threads": 0}, "n_threads must be an integer of at least 1"),
        ({"progress": 1}, "progress must be"),
        ({"features": (0, 5)}, "features must be"),
        ({"model": fastnn.Model([2, 1], loss="squared_error")}, "is a regression"),
    ],
)
def test_wrong_arguments_are_refused(change, message):
    arguments = {"model": lambda P: P[:, 0] > 0, "xlim": UNIT, "ylim": UNIT} | change
    with pytest.raises(ValueError, match=message):
        boundary_lines(**arguments)


def test_a_number_is_refused_as_a_model():
    with pytest.raises(TypeError, match="model must be"):
        boundary_lines(3, UNIT, UNIT)


# ---- tracing pictures of pixels ----


@st.composite
def pictures(draw):
    """Draw a small picture of up to five classes."""
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    seed, n_classes = draw(st.integers(0, 10**6)), draw(st.integers(1, 5))
    return np.random.default_rng(seed).integers(0, n_classes, (height, width), np.uint8)


def lines_of(pixels):
    """Return the lines of a picture, in coordinates with pixels of size 1."""
    height, width = pixels.shape
    xs, ys = (np.concatenate([[0], np.arange(side) + 0.5, [side]]) for side in (width, height))
    return to_coordinates(trace_pixels(pixels), xs, ys)


@given(pictures())
def test_regions_hold_the_pixels_of_their_class(pixels):
    lines = lines_of(pixels)
    height, width = pixels.shape
    found = regions(lines, int(pixels[0, 0]), (width, height))
    assert set(found) == set(np.unique(pixels).tolist())
    row, column = np.mgrid[:height, :width]
    centres = np.column_stack([column.ravel() + 0.5, row.ravel() + 0.5])
    # The tolerance holds on the lattice, whose outer columns and rows are half as wide in the picture.
    lattice = [line.points for line in trace_pixels(pixels)]
    clear = distances(centres + 0.5, lattice) > tracing.TOLERANCE if lattice else slice(None)
    for number, rings in found.items():
        expected = (pixels == number).ravel()
        np.testing.assert_array_equal(inside(centres[clear], rings), expected[clear])


@given(pictures())
def test_regions_without_simplification_hold_exactly_their_pixels(pixels):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "TOLERANCE", 0.0)
        lines = lines_of(pixels)
    height, width = pixels.shape
    row, column = np.mgrid[:height, :width]
    centres = np.column_stack([column.ravel() + 0.5, row.ravel() + 0.5])
    for number, rings in regions(lines, int(pixels[0, 0]), (width, height)).items():
        np.testing.assert_array_equal(inside(centres, rings), (pixels == number).ravel())


@given(pictures())
def test_lines_end_at_the_edge_or_where_three_classes_meet(pixels):
    height, width = pixels.shape
    lines = lines_of(pixels)
    pairs_at = {}
    for left, right, points in lines:
        assert left < right
        if not is_closed(points):
            for x, y in points[[0, -1]].tolist():
                if x not in (0, width) and y not in (0, height):
                    pairs_at.setdefault((x, y), set()).add((left, right))
    assert all(len(pairs) >= 3 for pairs in pairs_at.values())
    assert all(len(set().union(*pairs)) >= 3 for pairs in pairs_at.values())


@given(pictures())
def test_simplified_lines_are_near_all_vertices(pixels):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracing, "TOLERANCE", 0.0)
        full_lines = trace_pixels(pixels)
    for line, full in zip(trace_pixels(pixels), full_lines, strict=True):
        assert line[:2] == full[:2]
        assert distances(full.points, [line.points]).max() <= tracing.TOLERANCE + 1e-12


def test_squares_do_not_join_the_end_of_a_row_to_the_next_row():
    squares = mixed_squares(np.array([[0, 0, 1], [0, 0, 1], [0, 0, 1]]))
    assert list(zip(squares.columns, squares.rows, strict=True)) == [(1, 0), (1, 1)]
    assert trace(mixed_squares(np.zeros((4, 5), np.uint8)), 5) == []


@given(pictures(), st.integers(1, 9))
def test_mixed_squares_of_a_picture_and_of_its_strips_are_the_same(pixels, most):
    """A square is mixed if two of its corners differ, within a strip or between two strips."""
    corners = np.stack([pixels[:-1, :-1], pixels[:-1, 1:], pixels[1:, 1:], pixels[1:, :-1]])
    rows, columns = np.nonzero((corners != corners[0]).any(axis=0))
    seams = StripSquares()
    for bottom in range(0, len(pixels), most):
        strip = pixels[bottom : bottom + most]
        seams.add(mixed_squares(strip, bottom), strip[0].copy(), strip[-1].copy(), len(strip))
    for squares in (mixed_squares(pixels), seams.squares):
        order = np.lexsort([squares.columns, squares.rows])
        np.testing.assert_array_equal(squares.rows[order], rows)
        np.testing.assert_array_equal(squares.columns[order], columns)
        np.testing.assert_array_equal(squares.corners[order], corners[:, rows, columns].T)


# ---- lines of a plot ----


@pytest.mark.parametrize("axis", [0, 1])
def test_lines_of_a_plot_are_where_the_class_changes(axis):
    xlim, ylim = (-1.0, 3.0), (5.0, 6.0)
    place = (0.4, 5.7)[axis]
    image = fastnn.render_boundary(lambda P: P[:, axis] > place, xlim, ylim, size=(40, 25))
    ax = image.plot(plt.figure().add_subplot())
    (lines,) = (artist for artist in ax.collections if isinstance(artist, LineCollection))
    (line,) = lines.get_segments()
    pixel = (4 / 40, 1 / 25)[axis]
    assert np.abs(line[:, axis] - place).max() < pixel
    # The line goes from one edge of the picture to the other.
    np.testing.assert_allclose(sorted(line[[0, -1], 1 - axis]), (ylim, xlim)[axis], rtol=1e-12)


# ---- SVG ----


def path_of(element):
    """Return the polylines of a path's data."""
    return [
        np.array([pair.split(",") for pair in part.rstrip("Z").split()], float)
        for part in element.get("d").split("M")[1:]
    ]


def read_svg(path):
    """Return the root of an SVG file, and the elements of its groups by their titles."""
    root = ET.parse(path).getroot()
    groups = {group.get("id"): group for group in root.findall(f"{SVG}g")}
    return root, {
        name: {element.findtext(f"{SVG}title"): element for element in group}
        for name, group in groups.items()
    }


def test_svg_has_a_shape_for_each_class_and_lines_for_each_pair(tmp_path):
    image = fastnn.render_boundary(lambda P: P @ [1, 1] > 1, UNIT, UNIT, size=(40, 20), classes=[False, True])
    image.save(tmp_path / "a.svg")
    root, groups = read_svg(tmp_path / "a.svg")
    assert root.get("viewBox") == "0 0 40 20"
    assert list(groups["regions"]) == ["False", "True"]
    ((title, element),) = groups["lines"].items()
    assert title == "False | True"
    assert element.get("vector-effect") == "non-scaling-stroke"
    (line,) = path_of(element)
    # The line x + y = 1 goes from corner to corner; SVG's y points down.
    assert np.abs(line[:, 0] / 2 - line[:, 1]).max() < 1
    assert {tuple(np.round(line[0] / [40, 20])), tuple(np.round(line[-1] / [40, 20]))} == {(0, 0), (1, 1)}
    (ring,) = path_of(groups["regions"]["False"])
    lower_left, upper_right = inside(np.array([(2.0, 18.0), (38.0, 2.0)]), [np.vstack([ring, ring[:1]])])
    assert lower_left
    assert not upper_right


def test_rendering_to_svg_is_saving_the_picture(network, tmp_path):
    image = fastnn.render_boundary(network, (-2, 3), (-1.5, 2), size=(300, 200))
    image.save(tmp_path / "saved.svg")
    fastnn.render_boundary(network, (-2, 3), (-1.5, 2), size=(300, 200), out=tmp_path / "rendered.svg")
    assert (tmp_path / "saved.svg").read_bytes() == (tmp_path / "rendered.svg").read_bytes()
    _, groups = read_svg(tmp_path / "saved.svg")
    exact = boundary_lines(network, (-2, 3), (-1.5, 2))
    assert list(groups["lines"]) == [f"{left} | {right}" for left, right in exact]
    for element, lines in zip(groups["lines"].values(), exact.values(), strict=True):
        pixels = [(line - [-2, -1.5]) / [5, 3.5] * [300, 200] for line in lines]
        for line in path_of(element):
            # Both lines cross the same edge between two pixels, at most a pixel apart. At the border, they
            # may also be half a pixel apart along it.
            assert distances(line * [1, -1] + [0, 200], pixels).max() < np.hypot(1, 0.5)


@given(pictures())
def test_svg_is_valid_for_any_picture_and_label(pixels):
    import tempfile
    from pathlib import Path

    height, width = pixels.shape
    colours = np.arange(15, dtype=np.uint8).reshape(5, 3)
    labels = ("<&>", 'a"b', "\x00\ud800\x1b", 3, None)
    picture = Picture(width, height, pixels.dtype, (0, 1, 0, 1), colours, labels)
    with tempfile.TemporaryDirectory() as folder:
        save_pixels(pixels, Path(folder) / "a.svg", picture)
        _, groups = read_svg(Path(folder) / "a.svg")
    titles = ["<&>", 'a"b', "\ufffd" * 3, "3", "None"]
    assert list(groups["regions"]) == [titles[number] for number in np.unique(pixels)]
    fills = [element.get("fill") for element in groups["regions"].values()]
    assert fills == [f"#{bytes(colours[number]).hex()}" for number in np.unique(pixels)]


def test_svg_of_a_response_is_refused(network, tmp_path):
    with pytest.raises(ValueError, match="holds lines between classes, but a response has none"):
        fastnn.render_boundary(
            network, UNIT, UNIT, size=10, response="margin", out=tmp_path / "a.svg", method="dense"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_region_around_another_has_two_rings():
    """The outer ring is the edge of the picture, which no line touches."""
    square = np.array([(1, 1), (1, 2), (2, 2), (2, 1), (1, 1)], float)
    found = regions([Line(0, 1, square)], 0, (3, 3))
    assert len(found[0]) == 2
    assert len(found[1]) == 1
    assert inside(np.array([(0.5, 0.5), (1.5, 1.5)]), found[0]).tolist() == [True, False]
