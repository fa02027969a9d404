"""The method "certified": it is chosen for large pictures, and paints the same pixels as "dense"."""

from itertools import product

import numpy as np
import pytest
from committees import SETS, single, voting
from example_counts import with_examples
from hypothesis import given
from hypothesis import strategies as st
from kernel_uses import make_network_painter
from strategies import DTYPES
from views import XLIM, YLIM, along, picture

import fastnn
from fastnn import render_boundary
from fastnn.boundary.committee import Committee
from fastnn.network.description import Network


def test_small_pictures_are_dense_and_large_ones_certified(trained):
    assert render_boundary(trained, XLIM, YLIM, (200, 100)).stats.method == "dense"
    image = render_boundary(trained, XLIM, YLIM, (8000, 6000))
    stats = image.stats
    assert stats.method == "certified"
    assert stats.points_evaluated + stats.points_filled == stats.points == 48_000_000
    assert 0 < stats.points_evaluated < stats.points_filled / 10
    assert 0 < stats.cells_bounded < 20_000
    assert stats.seconds["total"] > 0
    assert set(stats.seconds) == {"bounding", "evaluating", "filling", "writing", "total"}
    np.testing.assert_array_equal(image.data, picture(trained, (8000, 6000), method="dense"))
    response = render_boundary(trained, XLIM, YLIM, (200, 100), response="confidence")
    assert response.stats.method == "dense"
    assert response.stats.reason == "response 'confidence' differs from pixel to pixel"


@pytest.mark.parametrize("n_threads", [1, 2])
def test_every_pixel_is_evaluated_where_bounds_decide_nothing(n_threads):
    model = fastnn.Model([2, 3, 2], random_state=0)
    for array in (*model.W, *model.b):
        array[...] = 0  # all scores are equal
    size = (8000, 6000)
    image = render_boundary(model, XLIM, YLIM, size, n_threads=n_threads)
    assert image.stats.method == "certified, then dense"
    assert image.stats.reason == "the bounds proved too little"
    assert not image.data.any()
    assert image.stats.points_evaluated == image.stats.points == 48_000_000
    assert image.stats.points_filled == 0
    # If the caller demands the method, bounds are computed to the end.
    certified = render_boundary(model, XLIM, YLIM, (1600, 1200), method="certified").stats
    assert certified.method == "certified"
    assert certified.cells_bounded > certified.points / 64
    assert image.stats.cells_bounded < image.stats.points / 64 / 2


def paint(committee, xs, ys, method):
    """Return the picture of a committee, and the numbers of pixels evaluated and filled."""
    painter = make_network_painter(committee, method)
    target = np.full((len(ys), len(xs)), 99, painter.dtype)
    return target, painter.paint(xs, ys, target, lambda: False)


def check_certified(committee, at, reach, size):
    """Compare the methods in a view around a point; return the picture and the fraction of filled pixels."""
    xs, ys = (along((a - r, a + r), n) for a, r, n in zip(at, reach, size, strict=True))
    expected, _ = paint(committee, xs, ys, "dense")
    classes, tally = paint(committee, xs, ys, "certified")
    np.testing.assert_array_equal(classes, expected)
    assert tally.points_evaluated + tally.points_filled == classes.size
    return classes, tally.points_filled / classes.size


def find_boundary(committee):
    xs = np.linspace(-3, 3, 200)
    classes, _ = paint(committee, xs, xs, "dense")
    rows, columns = np.nonzero(classes[:, 1:] != classes[:, :-1])
    middle = len(rows) // 2
    return (xs[columns[middle]], xs[rows[middle]]) if len(rows) else (0.0, 0.0)


# Reaches of views: wide ones, those that shrink around the boundary, and far ones.
reaches = st.sampled_from([3.0, 3.0, 1.0, 1e-2, 1e-5, 1e-9, 1e3, 1e30])
lengths = st.sampled_from([1, 9, 41, 64, 97, 150, 300])


@with_examples(200)
@given(st.one_of(single(), voting()), st.sampled_from(["", "tied", "biased", "not finite"]), st.data())
def test_certified_is_dense(drawn, special, data):
    """Of networks of any kind, where classes are tied, biases huge or scores not finite, and in any view."""
    committee, random = drawn
    for network, parameters in committee.members:
        weights, biases = network.weights(parameters), network.biases(parameters)
        if special == "tied":  # the scores of two classes are equal, or of all
            which = slice(1, data.draw(st.sampled_from([2, None])))
            for views in (weights, biases):
                views[-1][:, which] = views[-1][:, :1]
        if special == "not finite":  # or so large that products overflow
            values = [np.nan, np.inf, -np.inf, np.finfo(network.dtype).max, -np.finfo(network.dtype).max]
            array = data.draw(st.sampled_from([*weights, *biases]))
            array[0, random.integers(array.shape[1])] = data.draw(st.sampled_from(values))
        for b in biases[:-1] if special == "biased" else ():
            b[:, random.random(b.shape[1]) < 0.6] = data.draw(st.sampled_from([-1e3, -30.0, 1e3, 1e30]))
    at = data.draw(st.sampled_from([(0.0, 0.0), find_boundary(committee), (1e3, -1e6), (1e30, 0.0)]))
    reach = data.draw(st.tuples(reaches, reaches))
    check_certified(committee, at, reach, data.draw(st.tuples(lengths, lengths)))


@pytest.mark.parametrize("direction", [(1.0, 0.0), (0.0, 1.0), (1.0, -1.0), (1.0, -2.0)], ids=str)
@pytest.mark.parametrize("names", SETS, ids="-".join)
def test_certified_is_dense_where_the_boundary_goes_through_centres(names, direction):
    # Pixels are 1/64 wide: centres and scores are exact.
    constant = {0.0: 0.5 / 64, 1.0: 0.5 / 64, -1.0: 0.0, -2.0: 1 / 64}[direction[1]]
    name = next((name for name in names if name != "identity"), "identity")
    for dtype, steep in product(DTYPES, (1.0, -1.0, 64.0, -1e-3)):
        network = Network((2, 2, 2), (name, "identity" if "identity" in names else name), dtype)
        parameters = network.make_neutral_parameters()
        (W, V), (b, _) = network.weights(parameters), network.biases(parameters)
        W[:, 0], b[0, 0], V[...] = steep * np.array(direction), -steep * constant, np.eye(2)
        for size, reach in (((128, 128), (1.0, 1.0)), ((192, 64), (1.5, 0.5))):
            committee = Committee([(network, parameters)], votes=False)
            classes, filled = check_certified(committee, (0.0, 0.0), reach, size)
            assert filled > 0.25  # half of the plane is tied where an activation is 0
            if steep == 1.0 and name not in ("relu", "identity"):
                assert len(np.unique(classes)) == 2


def test_certified_sees_a_class_of_a_single_pixel():
    """Two units form a bump along each axis: their sum exceeds the threshold where the bumps cross."""
    model, (column, row) = fastnn.Model([2, 4, 2], activation="tanh", output_activation="identity"), (77, 31)
    x, y = ((2 * (k + 0.5) / 150 - 1) for k in (column, row))
    for array in (*model.W, *model.b):
        array[...] = 0
    model.W[0][...] = 300 * np.repeat(np.eye(2), 2, axis=1)
    model.b[0][...] = [1 - 300 * np.array([x, x, y, y]) - [0, 2, 0, 2]]
    model.W[1][:, 1], model.b[1][0, 0] = [1, -1, 1, -1], 2
    view = (-1, 1), (-1, 1), 150
    dense, certified = (render_boundary(model, *view, method=method) for method in ("dense", "certified"))
    np.testing.assert_array_equal(certified.data, dense.data)
    assert np.argwhere(dense.data == 1).tolist() == [[row, column]]
    assert certified.stats.points_filled > 0.25 * 150**2


@pytest.mark.parametrize("scores", [(0, np.nan), (np.nan, 1), (0, 2, np.nan), (1, np.nan, 2)])
def test_pixels_whose_scores_are_nan_have_the_predicted_class(scores, dtype):
    model = fastnn.Model([2, len(scores)], random_state=0, dtype=dtype)
    model.W[0][...] = 0
    model.b[0][...] = scores
    with pytest.warns(RuntimeWarning, match="NaN or infinite"):
        (expected,) = model.predict([[0.0, 0.0]])
    assert expected == np.argmax(scores)
    for method in ("dense", "certified"):
        assert (picture(model, (37, 3), method=method) == expected).all()


def test_methods_agree_where_partial_sums_overflow(dtype):
    model = fastnn.Model([2, 3, 2], activation="relu", output_activation="identity", dtype=dtype)
    largest = float(np.finfo(dtype).max)
    model.W[0][...] = [[1, 1, 1], [0, 0, 0]]
    model.b[0][...] = 0
    model.W[1][...] = [[0.3 * largest, 0], [0.3 * largest, 0], [-0.6 * largest, 0]]
    model.b[1][...] = [[0, 0.1 * largest]]
    for view in (((1.5, 1.75), (0, 1)), ((0.1, 0.2), (0, 1)), ((-3, 3), (-1, 1))):
        dense, certified = (render_boundary(model, *view, 64, method=m).data for m in ("dense", "certified"))
        np.testing.assert_array_equal(certified, dense)


def test_methods_agree_for_subnormal_coordinates():
    model = fastnn.Model([2, 2], output_activation="identity", dtype=np.float32)
    w = 5.024695685830084e37
    model.W[0][...] = [[w, 0], [-w, 0]]
    view = (5.14e-42, 5.149e-42), (5.14e-42, 5.149e-42), 35  # few numbers, which many pixels share
    # The score is w x - w y. Rounding leaves a remainder where x equals y.
    for threshold in np.linspace(-4e-11, 4e-11, 41):
        model.b[0][...] = [[0, threshold]]
        dense, certified = (render_boundary(model, *view, method=m).data for m in ("dense", "certified"))
        np.testing.assert_array_equal(certified, dense)
