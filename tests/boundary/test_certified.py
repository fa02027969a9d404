"""The method "certified": it is chosen for large pictures, and paints the same pixels as "dense"."""

import numpy as np
import pytest
from committees import SETS, VOTING, draw_network, draw_parameters
from kernel_uses import make_network_painter
from strategies import DTYPES
from views import XLIM, YLIM, along, picture

import fastnn
from fastnn import render_boundary
from fastnn.boundary.committee import Committee
from fastnn.network.description import Network
from fastnn.reference.layer import ACTIVATIONS


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
    response = render_boundary(trained, XLIM, YLIM, (8000, 6000), response="confidence")
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
    certified = render_boundary(model, XLIM, YLIM, size, method="certified")
    assert certified.stats.method == "certified"
    assert certified.stats.cells_bounded > image.stats.cells_bounded


SIZES = ((97, 61), (61, 97), (129, 70), (64, 64), (1, 150), (200, 1), (1, 1), (9, 300))


def paint(committee, xs, ys, method):
    """Return the picture of a committee, and the numbers of pixels evaluated and filled."""
    painter = make_network_painter(committee, method)
    target = np.full((len(ys), len(xs)), 99, painter.dtype)
    return target, painter.paint(xs, ys, target, lambda: False)


def check_certified(committee, x_at, y_at, x_reach, y_reach, size):
    """Compare the methods in a view around a point; return the picture and the fraction of filled pixels."""
    xs, ys = (
        along((at - reach, at + reach), count)
        for at, reach, count in zip((x_at, y_at), (x_reach, y_reach), size, strict=True)
    )
    expected, _ = paint(committee, xs, ys, "dense")
    classes, tally = paint(committee, xs, ys, "certified")
    np.testing.assert_array_equal(classes, expected)
    assert tally.points_evaluated + tally.points_filled == classes.size
    return classes, tally.points_filled / classes.size


def draw_committee(case, k, random, names, dtype):
    """Return a committee of one random network, with what is special in a case."""
    scale = {"random": (0.3, 1.0, 3.0, 100.0)[k % 4], "tied": (1.0, 30.0)[k % 2], "biased": 1.0}[case]
    network = draw_network(random, names, dtype, 128 if case == "random" else 40)
    parameters = draw_parameters(random, network, scale)
    weights, biases = network.weights(parameters), network.biases(parameters)
    if case == "tied":  # the scores of two classes are equal, or of all classes, or all are 0
        which = slice(1, 2 if k < 3 else None)
        for views in (weights, biases):
            views[-1][:, which] = views[-1][:, :1]
            views[-1][...] *= k < 6
    if case == "biased":  # units with huge biases
        fraction, bias = ((1.0, -1e3), (0.9, -1e3), (0.5, -30.0), (0.5, 1e3), (1.0, 1e30))[k % 5]
        for b in biases[:-1]:
            b[:, random.random(b.shape[1]) < fraction] = bias
    return Committee([(network, parameters)], votes=False)


def main_activation(names):
    """Return the activation of a set that is not the identity, or the identity if it is alone."""
    return next((name for name in names if name != "identity"), "identity")


def two_layers(names, dtype, W, b, V, c):
    """Return the network ``V' f(W' x + b) + c``, where f is the main activation of the set."""
    name = main_activation(names)
    network = Network((2, len(W[0]), len(V[0])), (name, "identity" if "identity" in names else name), dtype)
    parameters = network.make_neutral_parameters()
    views = *network.weights(parameters), *network.biases(parameters)
    for view, values in zip(views, (W, V, [b], [c]), strict=True):
        view[...] = values
    return Committee([(network, parameters)], votes=False)


each_set = pytest.mark.parametrize("names", SETS, ids="-".join)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@each_set
@each_dtype
@pytest.mark.parametrize("case", ["random", "tied", "biased"])
def test_certified_is_dense(names, dtype, case):
    random, filled = np.random.default_rng(0), []
    for k in range(12):
        committee = draw_committee(case, k, random, names, dtype)
        at = random.standard_normal(2) if case == "random" else (0, 0)
        classes, fraction = check_certified(committee, *at, 3, 3, SIZES[random.integers(len(SIZES))])
        filled.append(fraction)
        assert case != "tied" or k < 3 or not classes.any()
    assert max(filled) > (0.5 if case == "random" else 0)


@each_set
@each_dtype
def test_certified_is_dense_in_tiny_and_huge_views(names, dtype):
    random = np.random.default_rng(1)
    for _ in range(4):
        committee = draw_committee("random", 1, random, names, dtype)
        # The views around a point of the boundary shrink.
        xs = np.linspace(-3, 3, 300)
        classes, _ = paint(committee, xs, xs, "dense")
        rows, columns = np.nonzero(classes[:, 1:] != classes[:, :-1])
        which = random.integers(len(rows)) if len(rows) else 0
        at = (xs[columns[which]], xs[rows[which]]) if len(rows) else (0.0, 0.0)
        for reach in (1.0, 1e-2, 1e-4, 1e-6, 1e-9):
            check_certified(committee, *at, reach, reach, (75, 41))
        for far in (1e3, 1e6, 1e30):
            check_certified(committee, far, -far, 3.0, 3.0, (33, 41))
            check_certified(committee, 0.0, 0.0, far, far, (33, 41))
            check_certified(committee, 0.0, 0.0, 1.0, far, (33, 41))


@each_set
@each_dtype
@pytest.mark.parametrize("course", ["columns", "rows", "corners", "diagonal of rectangles"])
def test_certified_is_dense_where_the_boundary_goes_through_centres(names, dtype, course):
    # Pixels are 1/64 wide: centres and scores are exact.
    direction, constant = {
        "columns": ((1.0, 0.0), 0.5 / 64),
        "rows": ((0.0, 1.0), 0.5 / 64),
        "corners": ((1.0, -1.0), 0.0),
        "diagonal of rectangles": ((1.0, -2.0), 1 / 64),
    }[course]
    for sign in (1, -1):
        for steep in (1.0, 64.0, 1e-3):
            W = sign * steep * np.array([[direction[0], 0.0], [direction[1], 0.0]])
            b = [-sign * steep * constant, 0.0]
            committee = two_layers(names, dtype, W, b, np.eye(2), np.zeros(2))
            for size, reach in (((128, 128), 1.0), ((192, 64), 1.5)):
                reaches = (reach, reach * size[1] / size[0])
                classes, filled = check_certified(committee, 0.0, 0.0, *reaches, size)
                assert filled > 0.25  # half of the plane is tied where an activation is 0
                assert set(np.unique(classes)) <= {0, 1}
                if steep == 1.0 and main_activation(names) not in ("relu", "identity"):
                    assert len(np.unique(classes)) == 2


@each_set
@each_dtype
def test_certified_sees_a_class_of_a_single_pixel(names, dtype):
    if names == ("identity",):
        pytest.skip("a sum of planes has no bump")
    f = ACTIVATIONS[main_activation(names)].value
    # Two or three units form a bump along each axis: the score exceeds the threshold where two bumps cross.
    u = np.linspace(-6, 6, 24_001)
    weights = (1.0, -2.0, 1.0) if main_activation(names) not in ("sigmoid", "tanh") else (1.0, 0.0, -1.0)
    bump = sum(weight * f(u + shift) for weight, shift in zip(weights, (1.0, 0.0, -1.0), strict=True))
    top = u[bump > bump.max() - 1e-9].mean()  # the bump of a piecewise quadratic activation is flat on top
    next_best = max(bump[np.abs(u - top) > 3].max(), 0)
    threshold = bump.max() + (next_best + bump.max()) / 2
    random = np.random.default_rng(4)
    for _ in range(6):
        size = (int(random.integers(60, 200)), int(random.integers(60, 200)))
        xs, ys = (along((-1, 1), count) for count in size)
        column, row = random.integers(size[0]), random.integers(size[1])
        steep = 2.0 * max(size)  # a pixel is at least two wide in u
        W, b, V = np.zeros((2, 6)), np.zeros(6), np.zeros((6, 2))
        for axis, at in enumerate((xs[column], ys[row])):
            for k, shift in enumerate((1.0, 0.0, -1.0)):
                unit = 3 * axis + k
                W[axis, unit], b[unit], V[unit, 1] = steep, top + shift - steep * at, weights[k]
        if "identity" in names:
            committee = two_layers(names, dtype, W, b, V, [threshold, 0.0])
        else:  # the output activation bounds the scores: keep them small
            committee = two_layers(names, dtype, W, b, 0.2 * V, [0.2 * threshold, 0.0])
        classes, filled = check_certified(committee, 0.0, 0.0, 1.0, 1.0, size)
        assert classes[row, column] == 1
        assert classes.sum() <= 9
        assert filled > 0.25


@pytest.mark.parametrize("votes", VOTING, ids="-".join)
@each_dtype
def test_certified_is_dense_for_committees(votes, dtype):
    random = np.random.default_rng(5)
    filled = []
    for scale in (0.3, 1.0, 10.0, 100.0):
        for n_classes in (2, 7):
            networks = [
                draw_network(
                    random, votes if k == 0 else (str(random.choice(votes)),), dtype, 40, 2, n_classes
                )
                for k in range(3)
            ]
            members = [(network, draw_parameters(random, network, scale)) for network in networks]
            committee = Committee(members, votes=True)
            size = SIZES[random.integers(len(SIZES))]
            filled.append(check_certified(committee, *random.standard_normal(2), 3, 3, size)[1])
            check_certified(committee, *random.standard_normal(2), 1e-5, 1e-5, size)
            twice = Committee([members[0], members[0]], votes=True)
            check_certified(twice, 0, 0, 3, 3, size)
            # Give two classes the same scores.
            network, parameters = members[0]
            for views in (network.weights(parameters), network.biases(parameters)):
                views[-1][:, 1] = views[-1][:, 0]
            check_certified(Committee(members[:1], votes=True), 0, 0, 3, 3, size)
    assert max(filled) > 0.5


@pytest.mark.parametrize("dtype", DTYPES)
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


@pytest.mark.parametrize("dtype", DTYPES)
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
