"""The lines of a decision boundary: where they are, how exact they are, and which they are in a plot."""

import functools
import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC
from views import X, y

import fastnn
from fastnn import boundary_lines

UNIT = (0.0, 1.0)
VIEW = (-2, 3), (-1.5, 2)


def length(line):
    return np.hypot(*np.diff(line, axis=0).T).sum()


def distances(points, lines):
    corners = [line @ [1, 1j] for line in lines]
    begin = np.concatenate([each[:-1] for each in corners])
    way = np.concatenate([np.diff(each) for each in corners])
    apart = (points @ [1, 1j])[:, None] - begin
    fraction = np.clip((apart * way.conj()).real / np.maximum(np.abs(way) ** 2, 1e-300), 0, 1)
    return np.abs(apart - fraction * way).min(axis=1)


def all_lines(found):
    return list(itertools.chain.from_iterable(found.values()))


def changes(classes_at, xlim, ylim, n):
    """Return points (k, 2) of the boundary: middles between neighbours of different classes in a lattice."""
    points = np.stack(np.meshgrid(np.linspace(*xlim, n), np.linspace(*ylim, n)), axis=-1)
    classes = classes_at(points.reshape(-1, 2)).reshape(n, n)
    across, up = classes[:, 1:] != classes[:, :-1], classes[1:] != classes[:-1]
    return np.concatenate(
        [((points[:, 1:] + points[:, :-1]) / 2)[across], ((points[1:] + points[:-1]) / 2)[up]]
    )


def three_classes(**options):
    """Return a network of three classes, and no options of its lines."""
    model = fastnn.Model([2, 8, 3], random_state=0, **options)
    model.train(X, np.where(X[:, 0] > 1, 2, y), num_passes=300)
    return model, {}


def one_label_of_two():
    """Return a model of two labels, and the option that chooses the second one."""
    model = fastnn.Model([2, 6, 2], loss="sigmoid_binary_cross_entropy", random_state=1)
    model.train(X, np.column_stack([y, X[:, 0] > 0.3]), num_passes=300)
    return model, {"class_of_interest": 1}


def ensemble():
    """Return an ensemble for four features, and the options that choose two of them."""
    member = fastnn.MLPClassifier((4,), max_iter=100, tol=1e-2, learning_rate_init=0.05)
    model = fastnn.MLPEnsembleClassifier(member, 3, random_state=0)
    return model.fit(np.column_stack([X, X[:, ::-1]]), y), {"features": (0, 3), "fill": 0.3}


MODELS = {
    "kernels": three_classes,
    "kernels, float32": lambda: three_classes(dtype="float32"),
    "numpy": lambda: three_classes(backend="numpy"),
    "a label": one_label_of_two,
    "an ensemble": ensemble,
    "probabilities": lambda: (LogisticRegression().fit(X, y), {}),
    "scores": lambda: (SVC(gamma=2).fit(X[::4], y[::4]), {}),
    "classes": lambda: (lambda points: (np.hypot(*(points - 0.5).T) * 3).astype(int).clip(max=2), {}),
}


@functools.cache
def make(name):
    return MODELS[name]()


@pytest.mark.parametrize("name", MODELS)
def test_lines_and_boundary_are_within_the_tolerance_of_each_other(name):
    model, options = make(name)
    image = fastnn.render_boundary(model, *VIEW, size=(1000, 700), method="dense", **options)
    pixel = 0.005

    def classes_at(points):
        columns, rows = ((points - [-2, -1.5]) / pixel).astype(int).clip(0, [999, 699]).T
        return image.data[rows, columns]

    boundary = changes(classes_at, (-1.99, 2.99), (-1.49, 1.99), 700)
    for tolerance in (0.2, 0.03):
        lines = all_lines(boundary_lines(model, *VIEW, tolerance=tolerance, **options))
        assert distances(boundary, lines).max() <= tolerance + 2 * pixel
        middles = np.concatenate([(line[1:] + line[:-1]) / 2 for line in lines])
        about_a_hundred = middles[:: len(middles) // 100 + 1]
        for point in about_a_hundred:
            assert np.hypot(*(boundary - point).T).min() <= tolerance + 2 * pixel


def points_beside(line, distance):
    """Return the points at a distance on the left and on the right of every 50th corner away from the ends.

    The direction is taken over seven segments: a single one may follow the lattice.
    """
    corners = np.arange(33, len(line) - 34, 50)
    along = line[corners + 4] - line[corners - 3]
    left = np.column_stack([-along[:, 1], along[:, 0]]) / np.hypot(*along.T)[:, None]
    return line[corners] + distance * left, line[corners] - distance * left


def render_pixel(model, point, half_width, **options):
    (u, v), w = point, half_width
    return fastnn.render_boundary(model, (u - w, u + w), (v - w, v + w), 1, **options)


@pytest.mark.parametrize("name", MODELS)
def test_the_first_class_is_on_the_left_of_a_line(name):
    model, options = make(name)
    for pair, lines in boundary_lines(model, *VIEW, tolerance=0.005, **options).items():
        for line in lines:
            for label, points in zip(pair, points_beside(line, 0.015), strict=True):
                for point in points.tolist():
                    pixel = render_pixel(model, point, 1e-6, **options)
                    assert pixel.classes[pixel.data[0, 0]] == label


@pytest.mark.parametrize("name", sorted(MODELS.keys() - {"classes"}))  # classes alone have no margins
def test_margins_bring_lines_nearer_than_the_tolerance(name):
    model, options = make(name)
    for line in all_lines(boundary_lines(model, *VIEW, tolerance=0.005, **options)):
        about_ten = line[:: len(line) // 10 + 1]
        for point in about_ten.tolist():
            assert render_pixel(model, point, 1e-9, response="margin", **options).data < 0.01


def test_a_boundary_may_run_anywhere_between_the_points_and_through_them():
    model = fastnn.Model([2, 2])
    model.W[0][...] = [[-1, 1], [0, 0]]
    for place in (63.5, 64.0, 64.25, 100.0):
        model.b[0][...] = [[place, -place]]
        (line,) = boundary_lines(model, (0, 200), (0, 130), tolerance=1)[0, 1]
        np.testing.assert_allclose(line[[0, -1]], [(place, 0), (place, 130)], atol=0.1)
        assert length(line) == pytest.approx(130)


def test_lines_of_three_and_of_four_classes_meet_within_the_tolerance():
    def sectors(points):
        angle = np.arctan2(points[:, 1] - 0.1, points[:, 0] - 0.2) % (2 * np.pi)
        return np.array(["east", "north", "south"])[(angle // (2 * np.pi / 3)).astype(int)]

    found = boundary_lines(sectors, (-1, 1), (-1, 1), tolerance=0.01)
    assert list(found) == [("east", "north"), ("east", "south"), ("north", "south")]
    for (line,) in found.values():
        inner, outer = sorted(line[[0, -1]].tolist(), key=lambda end: max(np.abs(end)))
        assert np.hypot(inner[0] - 0.2, inner[1] - 0.1) < 1.5 * 0.01
        assert max(np.abs(outer)) == 1

    found = boundary_lines(lambda P: 2 * (P[:, 0] > 0.503) + (P[:, 1] > 0.501), UNIT, UNIT, tolerance=0.01)
    assert list(found) == [(0, 1), (0, 2), (1, 3), (2, 3)]
    assert all(len(lines) == 1 for lines in found.values())
    assert sum(map(length, all_lines(found))) == pytest.approx(2, abs=4 * 0.01)


def test_pairs_are_in_the_order_of_the_classes():
    def predict(points):
        return np.where(points[:, 0] < 0.5, "b", "a")

    for options in ({}, {"classes": ["a", "b", "c"]}):
        ((pair, (line,)),) = boundary_lines(predict, UNIT, UNIT, tolerance=0.1, **options).items()
        assert pair == ("a", "b")
        # The line goes down, with a on its left.
        np.testing.assert_allclose(line[[0, -1]], [(0.5, 1), (0.5, 0)], atol=0.1)
    assert boundary_lines(predict, (0.6, 1), UNIT) == {}  # of one class

    class Broken(SVC):
        def decision_function(self, X):
            return np.where(X[:, 1] > 0, np.nan, np.inf)

    found = boundary_lines(Broken(gamma=2).fit(X, y), *VIEW, tolerance=0.1)
    assert np.isfinite(np.concatenate(all_lines(found))).all()


@pytest.mark.parametrize(("width", "tolerance"), [(1, 0.01), (1e6, (1e4, 0.01)), (1e6, None)])
@pytest.mark.parametrize("radius", [0.1, 0.7])
def test_circles_are_closed_lines_that_may_lie_within_each_other(radius, width, tolerance):
    def circles(P):
        return (np.hypot(P[:, 0] / width, P[:, 1]) / radius).astype(int).clip(max=2) % 2

    view = (-2 * width, 2 * width), (-2, 2)
    lines = boundary_lines(circles, *view, tolerance=tolerance)[0, 1]
    assert all((line[0] == line[-1]).all() for line in lines)
    areas = []
    for line in lines:
        (x, y), (x_next, y_next) = line[:-1].T / [[width], [1]], line[1:].T / [[width], [1]]
        areas.append((x * y_next - y * x_next).sum() / 2 / (np.pi * radius**2))
    # The first class is on the left: inside of the smaller circle, and outside of the larger one, clockwise.
    np.testing.assert_allclose(sorted(areas), [-4, 1], rtol=0.25 if radius == 0.1 else 0.03)


def test_lattices_of_any_size_take_time_along_the_boundary_alone():
    model, _ = make("kernels")
    coarse, fine = (boundary_lines(model, *VIEW, tolerance=5 / n) for n in (500, 20_000))
    assert list(fine) == list(coarse)
    assert sum(map(length, all_lines(fine))) == pytest.approx(sum(map(length, all_lines(coarse))), rel=0.01)
    # A rectangle of one class, with 10^12 squares.
    assert boundary_lines(model, (3, 3.1), (1.9, 2), tolerance=1e-7) == {}


REFUSED = [
    *(({"tolerance": value}, "must be a number above 0") for value in (0, -1.0, np.nan, (1, 2, 3), "fine")),
    ({"tolerance": 1e-12}, "tolerance=1e-12 is too small: it divides a side into 1e\\+12 squares"),
    ({"tolerance": 1e-6}, "tolerance=1e-06 is too small: of 1e\\+12 squares"),
    ({"xlim": (1, 0)}, "xlim must be two finite numbers, the lower first"),
    ({"n_threads": 0}, "n_threads must be an integer of at least 1"),
    ({"progress": 1}, "progress must be"),
    ({"features": (0, 5)}, "features must be"),
    ({"model": fastnn.Model([2, 1], loss="squared_error")}, "is a regression"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_wrong_arguments_are_refused_before_the_model_predicts(change, message):
    arguments = {"model": lambda P: pytest.fail("predicted"), "xlim": UNIT, "ylim": UNIT} | change
    with pytest.raises(ValueError, match=message):
        boundary_lines(**arguments)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("size", [(40, 25), (1300, 2100)])
def test_lines_of_a_plot_are_where_the_class_changes(axis, size):
    xlim, ylim = (-1.0, 3.0), (5.0, 6.0)
    place = (0.4, 5.7)[axis]
    image = fastnn.render_boundary(lambda P: P[:, axis] > place, xlim, ylim, size=size)
    artists = image.plot(plt.figure().add_subplot()).collections
    ((line,),) = (artist.get_segments() for artist in artists if isinstance(artist, LineCollection))
    pixel = max((4 / size[0], 1 / size[1])[axis], (4, 1)[axis] / 500)
    assert np.abs(line[:, axis] - place).max() < pixel
    # The line goes from one edge of the picture to the other.
    np.testing.assert_allclose(sorted(line[[0, -1], 1 - axis]), (ylim, xlim)[axis], rtol=1e-12)
