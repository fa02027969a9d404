"""Pictures of decision boundaries: the classes at the pixels, whatever paints them and wherever they go."""

import os
import re
import signal
import threading
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from committees import SETS, VOTING, draw_network, draw_parameters
from PIL import Image
from processes import run_python
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris, make_moons
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from strategies import DTYPES

import fastnn
from fastnn.boundary import grids, painters
from fastnn.boundary import render as boundary
from fastnn.boundary.committee import Committee
from fastnn.boundary.painters import NetworkPainter
from fastnn.boundary.render import render_boundary
from fastnn.boundary.sinks import png
from fastnn.network.description import Network
from fastnn.reference.layer import ACTIVATIONS
from fastnn.system import threads

X, y = make_moons(200, noise=0.20, random_state=0)
XLIM, YLIM = (-1.5, 2.5), (-1.0, 1.5)
random = np.random.default_rng(0)
iris, species = load_iris(return_X_y=True)


def along(limits, count):
    """Centres of so many pixels between two edges."""
    return boundary.centres(limits, count).part(0, count)


def centres(width, height, xlim=XLIM, ylim=YLIM):
    """The points (width * height, 2) that a picture is asked at."""
    x, y = along(xlim, width), along(ylim, height)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def picture(model, size=(80, 50), **options):
    return render_boundary(model, XLIM, YLIM, size, **options).data


def labels(image):
    """The classes at the pixels, by name."""
    return image.classes[image.data]


@pytest.fixture(scope="module", params=["numba", "numpy"])
def model(request):
    model = fastnn.Model([2, 3, 2], random_state=0, backend=request.param)
    model.train(X, y, num_passes=500)
    return model


@pytest.fixture(scope="module")
def trained():
    """The tutorial's model, by the kernels."""
    model = fastnn.Model([2, 3, 2], random_state=0)
    model.train(X, y, num_passes=2000)
    return model


@pytest.fixture(scope="module")
def classifier():
    return fastnn.MLPClassifier((8,), max_iter=60, random_state=0, early_stopping=True).fit(X, y)


def of_iris(**options):
    return fastnn.MLPClassifier((8,), max_iter=60, random_state=0, early_stopping=True, **options)


# --- what models predict -------------------------------------------------------------------------


def test_the_centres_are_in_the_middle_of_pixels():
    np.testing.assert_allclose(along((0.0, 1.0), 4), [0.125, 0.375, 0.625, 0.875])
    assert along((-3.0, 5.0), 1).tolist() == [1.0]
    image = render_boundary(lambda points: points[:, 1] > 0, (0, 1), (-1, 1), (3, 4))
    assert image.data.tolist() == [[0] * 3] * 2 + [[1] * 3] * 2
    assert image.extent == (0.0, 1.0, -1.0, 1.0)


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (500, 301), (1, 400), (700, 1)])
def test_a_models_picture_is_its_prediction(model, size):
    image = render_boundary(model, XLIM, YLIM, size)
    expected = model.predict(centres(*size)).reshape(size[1], size[0])
    # Of the reference, a table of another length may be summed in another order.
    assert (image.data != expected).sum() <= (0 if model.backend == "numba" else 1)
    assert image.data.dtype == np.uint8
    assert image.classes.tolist() == [0, 1]
    assert image.stats.points == image.stats.points_evaluated == size[0] * size[1]
    assert (image.stats.points_filled, image.stats.cells_bounded) == (0, 0)
    assert (image.stats.method, image.path) == ("dense", None)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layers", [[2, 2], [2, 40, 30, 5], [2, 3, 4, 5, 6, 3]])
@pytest.mark.parametrize("output", ["tanh", "identity"])
def test_every_pixel_is_the_prediction_to_the_bit(layers, output, dtype):
    model = fastnn.Model(layers, random_state=0, dtype=dtype, output_activation=output)
    size = (403, 207)
    expected = model.predict(centres(*size)).reshape(size[::-1])
    for method in ("dense", "certified"):
        np.testing.assert_array_equal(picture(model, size, method=method), expected)


@pytest.mark.parametrize("method", ["dense", "certified"])
def test_both_sides_paint_the_same(method):
    one, other = (fastnn.Model([2, 8, 3], random_state=0, backend=backend) for backend in ("numba", "numpy"))
    images = [render_boundary(model, XLIM, YLIM, (150, 97), method=method) for model in (one, other)]
    assert (images[0].data != images[1].data).sum() <= 1
    filled = [image.stats.points_filled for image in images]
    assert filled[0] == pytest.approx(filled[1], rel=0.1)
    assert (filled[0] > 0) == (method == "certified")


@pytest.mark.parametrize("method", ["dense", "certified"])
@pytest.mark.parametrize("n_threads", [2, 5])
def test_threads_give_the_same_picture(trained, method, n_threads):
    size = (301, 503)
    expected = render_boundary(trained, XLIM, YLIM, size, method=method, n_threads=1)
    image = render_boundary(trained, XLIM, YLIM, size, method=method, n_threads=n_threads)
    np.testing.assert_array_equal(image.data, expected.data)
    assert (expected.stats.n_threads, image.stats.n_threads) == (1, n_threads)
    assert image.stats.cells_bounded == expected.stats.cells_bounded


def test_calls_are_short(trained, monkeypatch):
    expected = picture(trained, (301, 203), method="dense")
    for operations in (1, 5e3, 3e5):  # a pixel, parts of a row, several rows
        monkeypatch.setattr(grids.NumbaGrid, "call_operations", operations)
        size = (301, 203) if operations > 1 else (40, 7)
        again = picture(trained, size, method="dense")
        np.testing.assert_array_equal(again, expected if operations > 1 else picture(trained, size))


def test_many_classes_need_wider_integers():
    model = fastnn.Model([2, 300], random_state=0, output_activation="identity")
    for method in ("dense", "certified"):
        data = picture(model, (64, 64), method=method)
        assert data.dtype == np.uint16
        np.testing.assert_array_equal(data.ravel(), model.predict(centres(64, 64)))
        assert data.max() > 255


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_a_model_of_labels(n_outputs):
    model = fastnn.Model(
        [2, 5, n_outputs], random_state=0, loss="sigmoid_binary_cross_entropy", output_activation="identity"
    )
    for k in range(n_outputs):
        options = {"class_of_interest": k} if n_outputs > 1 else {}
        expected = model.predict(centres(80, 50))[:, k].reshape(50, 80)
        for method in ("dense", "certified"):
            image = render_boundary(model, XLIM, YLIM, (80, 50), method=method, **options)
            np.testing.assert_array_equal(image.data, expected)
            assert image.classes.tolist() == [0, 1]
        P = model.predict_proba(centres(80, 50))[:, k].reshape(50, 80)
        np.testing.assert_allclose(picture(model, response="probability", **options), P, rtol=1e-12)


def test_the_class_of_interest_of_one_output():
    model = fastnn.Model(
        [2, 5, 1], random_state=0, loss="sigmoid_binary_cross_entropy", output_activation="identity"
    )
    P = model.predict_proba(centres(80, 50)).reshape(50, 80)
    for which, expected in ((None, P), (1, P), (0, 1 - P)):
        data = picture(model, response="probability", class_of_interest=which)
        np.testing.assert_allclose(data, expected, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="class_of_interest must be one of .0, 1., got 2"):
        picture(model, response="probability", class_of_interest=2)


def test_a_label_does_not_suffer_from_another():
    model = fastnn.Model(
        [2, 4, 2], random_state=0, activation="relu", output_activation="identity", dtype=np.float32,
        loss="sigmoid_binary_cross_entropy",
    )  # fmt: skip
    model.b[0][...] = 1
    model.W[1][:, 0] = np.finfo(np.float32).max  # beyond all numbers in the sum
    with pytest.warns(RuntimeWarning, match="scores are too large for float32"):
        assert model.predict([[0.5, 0.5]]).tolist() == [[1, 1]]
    for k in range(2):
        with pytest.warns(RuntimeWarning, match="scores are too large for float32"):
            expected = model.predict(centres(80, 50))[:, k].reshape(50, 80)
        for method in ("dense", "certified"):
            np.testing.assert_array_equal(picture(model, class_of_interest=k, method=method), expected)


def test_a_model_with_batch_normalisation():
    model = fastnn.Model([2, 9, 2], random_state=0, batch_norm=True)
    model.train(X, y, num_passes=50, batch_size=50, random_state=0, epsilon=1e-3)
    expected = model.predict(centres(90, 70)).reshape(70, 90)
    for method in ("dense", "certified"):
        np.testing.assert_array_equal(picture(model, (90, 70), method=method), expected)


# --- responses -----------------------------------------------------------------------------------


def responses(P, which):
    ordered = np.sort(P, axis=1)
    return {
        "probability": P[:, which],
        "confidence": P.max(axis=1),
        "margin": ordered[:, -1] - ordered[:, -2],
    }


@pytest.mark.parametrize("response", ["probability", "confidence", "margin"])
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_responses_are_those_of_the_probabilities(response, n_classes, dtype, backend):
    model = fastnn.Model([2, 6, n_classes], random_state=0, dtype=dtype, backend=backend)
    for size in ((133, 57), (1, 5), (600, 2)):
        P = model.predict_proba(centres(*size))
        for which in range(n_classes):
            image = render_boundary(model, XLIM, YLIM, size, response=response, class_of_interest=which)
            expected = responses(P, which)[response].reshape(size[::-1])
            np.testing.assert_allclose(image.data, expected, rtol=0, atol=20 * np.finfo(dtype).eps)
            assert image.data.dtype == dtype
            assert image.classes is None


def test_the_probability_is_of_the_second_of_two(trained):
    P = trained.predict_proba(centres(80, 50))[:, 1].reshape(50, 80)
    np.testing.assert_allclose(picture(trained, response="probability"), P, rtol=1e-12)


@pytest.mark.parametrize("response", ["probability", "confidence", "margin"])
def test_responses_of_other_classifiers(response):
    estimator = LogisticRegression().fit(iris[:, :2], species)
    P = responses(estimator.predict_proba(centres(80, 50)), 2)[response].reshape(50, 80)
    image = picture(estimator, response=response, class_of_interest=2)
    np.testing.assert_allclose(image, P, rtol=1e-12)
    assert image.dtype == np.float64


def test_probabilities_of_what_does_not_tell_its_classes():
    class Estimator:
        def predict_proba(self, points):
            P = np.full((len(points), 2), 0.25)
            P[:, 1] = 0.75
            return P

    image = picture(Estimator(), response="probability", classes=["a", "b"], class_of_interest="a")
    assert (image == 0.25).all()


# --- estimators ----------------------------------------------------------------------------------


def test_estimators_and_functions(monkeypatch):
    monkeypatch.setattr(painters, "PORTION_POINTS", 1000)
    estimator = LogisticRegression().fit(X, y)
    pipeline = make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=0)).fit(X, y)
    for model, predict in (
        (estimator, estimator.predict), (estimator.predict, estimator.predict), (pipeline, pipeline.predict)
    ):  # fmt: skip
        image = render_boundary(model, XLIM, YLIM, (80, 50))
        np.testing.assert_array_equal(image.data.ravel(), predict(centres(80, 50)))
        assert image.classes.tolist() == [0, 1]
        assert image.stats.method == "dense"
        assert image.stats.points_evaluated == 4000
        assert image.stats.n_threads == 1


@pytest.mark.parametrize("names", [["b", "a"], np.array([7, -3]), [True, False], [2.0, 1.0]])
def test_the_classes_of_sklearn_and_of_a_function(names):
    target = np.array(names)[y]
    estimator = DecisionTreeClassifier(random_state=0).fit(X, target)
    expected = estimator.predict(centres(80, 50)).reshape(50, 80)
    for options in ({}, {"classes": names}):
        for model in (estimator, estimator.predict):
            image = render_boundary(model, XLIM, YLIM, (80, 50), **options)
            np.testing.assert_array_equal(labels(image), expected)
            assert image.classes.tolist() == sorted(names)
            assert image.data.dtype == np.uint8


def test_classes_that_come_up_late_and_of_different_lengths(monkeypatch):
    monkeypatch.setattr(painters, "PORTION_POINTS", 10)

    def predict(points):
        return np.array(["no"] * len(points) if points[0, 1] < 0 else ["certainly"] * len(points))

    image = render_boundary(predict, XLIM, (-1, 1), (10, 10))
    assert image.classes.tolist() == ["certainly", "no"]
    assert (labels(image)[:5] == "no").all()
    assert (labels(image)[5:] == "certainly").all()


def test_a_function_of_whole_numbers_as_floats():
    image = render_boundary(lambda points: np.floor(points[:, 0]), (0, 300), YLIM, (300, 2))
    assert image.classes.tolist() == list(range(300))
    np.testing.assert_array_equal(image.data, [range(300)] * 2)
    assert image.data.dtype == np.uint16


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("names", [np.array([0, 1]), np.array(["yes", "no"])])
def test_a_binary_estimator(names, dtype):
    estimator = of_iris().fit(X.astype(dtype), names[y])
    expected = estimator.predict(centres(300, 200).astype(dtype)).reshape(200, 300)
    for method in ("dense", "certified"):
        image = render_boundary(estimator, XLIM, YLIM, (300, 200), method=method)
        np.testing.assert_array_equal(labels(image), expected)
    P = estimator.predict_proba(centres(80, 50).astype(dtype))
    with pytest.raises(ValueError, match="class_of_interest must be one of"):
        picture(estimator, response="probability", class_of_interest="perhaps")
    for which, name in enumerate(estimator.classes_):
        data = picture(estimator, response="probability", class_of_interest=name)
        np.testing.assert_allclose(
            data.ravel(), P[:, which], rtol=0, atol=1e-5 if dtype == np.float32 else 1e-12
        )


def test_an_estimator_of_several_classes():
    names = np.array(["setosa", "versicolor", "virginica"])
    estimator = of_iris().fit(iris[:, :2], names[species])
    view = (4.0, 8.0), (2.0, 4.5), (130, 111)
    points = centres(130, 111, *view[:2])
    for method in ("dense", "certified"):
        image = render_boundary(estimator, *view, method=method)
        np.testing.assert_array_equal(labels(image).ravel(), estimator.predict(points))
    P = estimator.predict_proba(points)
    for response, expected in responses(P, 1).items():
        image = render_boundary(estimator, *view, response=response, class_of_interest="versicolor")
        np.testing.assert_allclose(image.data.ravel(), expected, atol=1e-12)


def test_an_estimator_of_labels():
    Y = np.stack([X[:, 0] > 0.5, X[:, 1] > 0.2, y == 1], axis=1).astype(int)
    estimator = of_iris().fit(X, Y)
    expected, P = (f(centres(80, 50)) for f in (estimator.predict, estimator.predict_proba))
    for k in range(3):
        for method in ("dense", "certified"):
            data = picture(estimator, method=method, class_of_interest=k)
            np.testing.assert_array_equal(data.ravel(), expected[:, k])
        data = picture(estimator, response="probability", class_of_interest=k)
        np.testing.assert_allclose(data.ravel(), P[:, k], atol=1e-12)


@pytest.mark.parametrize("kind", ["classes", "two classes", "labels"])
def test_an_ensemble(kind):
    table, target = (iris[:, :2], species) if kind == "classes" else (X, y)
    if kind == "labels":
        target = np.stack([X[:, 0] > 0.5, y == 1], axis=1).astype(int)
    view = ((4.0, 8.0), (2.0, 4.5)) if kind == "classes" else (XLIM, YLIM)
    ensemble = fastnn.MLPEnsembleClassifier(of_iris(), 3, random_state=0).fit(table, target)
    points, options = centres(203, 151, *view), {"class_of_interest": 1} if kind == "labels" else {}
    expected, P = ensemble.predict(points), ensemble.predict_proba(points)
    if kind == "labels":
        expected, P = expected[:, 1], np.stack([1 - P[:, 1], P[:, 1]], axis=1)
    images = [
        render_boundary(ensemble, *view, (203, 151), method=method, **options)
        for method in ("dense", "certified")
    ]
    np.testing.assert_array_equal(images[0].data, images[1].data)
    assert images[1].stats.points_filled > 0
    ordered = np.sort(P, axis=1)
    is_clear = ordered[:, -1] - ordered[:, -2] > 1e-12  # means are rounded in another way
    np.testing.assert_array_equal(labels(images[0]).ravel()[is_clear], expected[is_clear])
    for response, values in responses(P, 1).items():
        image = render_boundary(
            ensemble, *view, (203, 151), response=response, **{"class_of_interest": 1} | options
        )
        np.testing.assert_allclose(image.data.ravel(), values, atol=1e-12)


def test_a_pipeline_with_an_estimator_of_ours():
    pipeline = make_pipeline(StandardScaler(), of_iris()).fit(X, y)
    np.testing.assert_array_equal(picture(pipeline).ravel(), pipeline.predict(centres(80, 50)))
    assert render_boundary(pipeline, XLIM, YLIM, (10, 10)).stats.method == "dense"


def test_an_estimator_of_one_class():
    estimator = of_iris().fit(X, np.full(200, "only"))
    image = render_boundary(estimator, XLIM, YLIM, (10, 10))
    assert image.classes.tolist() == ["only"]
    assert not image.data.any()


# --- more than two features ----------------------------------------------------------------------

VIEWS = [((0, 1), None), ((2, 0), None), ((3, 2), 0.5), ((1, 3), [1.0, 2.0, 3.0, 4.0])]


def filled_table(points, features, fill, n_features=4):
    table = np.tile(np.broadcast_to(np.asarray(fill, float), n_features), (len(points), 1))
    table[:, list(features)] = points
    return table


def check_close(data, P, classes=None):
    """That classes are those of the highest probability, wherever one is clearly that."""
    ordered = np.sort(P, axis=1)
    is_clear = ordered[:, -1] - ordered[:, -2] > 1e-10
    assert is_clear.mean() > 0.99
    np.testing.assert_array_equal(data.ravel()[is_clear], P.argmax(axis=1)[is_clear])


@pytest.mark.parametrize(("features", "fill"), VIEWS)
def test_other_features_are_held_fixed(features, fill):
    fill = iris.mean(axis=0) if fill is None else fill
    view = (0.0, 8.0), (0.0, 5.0), (90, 71)
    table = filled_table(centres(90, 71, *view[:2]), features, fill)
    options = {"features": features, "fill": fill}
    model = fastnn.Model([4, 6, 3], random_state=0)
    model.train(iris, species, num_passes=300, epsilon=1e-3)
    ours = [model, of_iris().fit(iris, species)]
    ours.append(fastnn.MLPEnsembleClassifier(of_iris(), 2, random_state=0).fit(iris, species))
    for each in ours:
        for method in ("dense", "certified"):
            check_close(
                render_boundary(each, *view, method=method, **options).data, each.predict_proba(table)
            )
        P = render_boundary(each, *view, response="confidence", **options).data
        np.testing.assert_allclose(P.ravel(), each.predict_proba(table).max(axis=1), atol=1e-10)
    for each in (
        LogisticRegression(max_iter=1000).fit(iris, species),
        DecisionTreeClassifier().fit(iris, species),
    ):
        np.testing.assert_array_equal(
            render_boundary(each, *view, **options).data.ravel(), each.predict(table)
        )
    if np.ndim(fill):
        data = render_boundary(lambda points: points.argmax(axis=1), *view, classes=range(4), **options).data
        np.testing.assert_array_equal(data.ravel(), table.argmax(axis=1))


def test_features_by_name():
    frame = pd.DataFrame(iris, columns=["sl", "sw", "pl", "pw"])
    view = (0.0, 8.0), (0.0, 5.0), (60, 41)
    fill = frame.mean()
    table = pd.DataFrame(filled_table(centres(60, 41, *view[:2]), (2, 1), fill), columns=frame.columns)
    ours, other = of_iris().fit(frame, species), LogisticRegression(max_iter=1000).fit(frame, species)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, species)
    for features in (("pl", "sw"), (2, 1), ("pl", 1), [2, "sw"]):
        data = render_boundary(ours, *view, features=features, fill=fill).data
        check_close(data, ours.predict_proba(table))
        for each in (other, pipeline):
            data = render_boundary(each, *view, features=features, fill=fill).data
            np.testing.assert_array_equal(data.ravel(), each.predict(table))
    P = render_boundary(
        other, *view, features=("pl", "sw"), fill=fill, response="probability", class_of_interest=0
    )
    np.testing.assert_allclose(P.data.ravel(), other.predict_proba(table)[:, 0], atol=1e-12)


def test_the_two_features_the_other_way_round(trained):
    data = render_boundary(trained, YLIM, XLIM, (50, 80), features=(1, 0)).data
    np.testing.assert_array_equal(data.T, picture(trained))


# --- where it goes -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["dense", "certified"])
def test_into_arrays(trained, tmp_path, method):
    expected = picture(trained, (301, 203))
    arrays = [
        np.empty((203, 301), np.uint8),
        np.empty((203, 301), np.int64),
        np.empty((203, 301), np.float32),
        np.empty((301, 203), np.uint8).T,
        np.empty((406, 903), np.uint16)[::-2, 1::3],
        np.memmap(tmp_path / "picture", np.uint8, "w+", shape=(203, 301)),
    ]
    for out in arrays:
        out[...] = 99
        image = render_boundary(trained, XLIM, YLIM, (301, 203), out=out, method=method)
        assert image.data is out
        np.testing.assert_array_equal(out, expected)


def test_into_an_array_by_name(tmp_path):
    out = np.empty((50, 80), np.int16)
    image = render_boundary(
        LogisticRegression().fit(X, np.array(["b", "a"])[y]), XLIM, YLIM, (80, 50), out=out
    )
    assert image.classes.tolist() == ["a", "b"]
    assert image.data is out
    named = render_boundary(lambda points: points[:, 0] > 0, XLIM, YLIM, (80, 50), out=out, classes=[0, 1])
    np.testing.assert_array_equal(named.data, picture(lambda points: points[:, 0] > 0))


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("method", ["dense", "certified"])
def test_into_a_file(trained, tmp_path, method, n_threads, monkeypatch):
    monkeypatch.setattr(png, "PNG_POINTS", 5000)
    path = tmp_path / "boundary.png"
    image = render_boundary(trained, XLIM, YLIM, (301, 203), out=path, method=method, n_threads=n_threads)
    assert (image.data, image.path) == (None, path)
    assert [file.name for file in tmp_path.iterdir()] == ["boundary.png"]
    with Image.open(path) as file:
        np.testing.assert_array_equal(np.asarray(file)[::-1], picture(trained, (301, 203)))
    assert image.stats.seconds["writing"] > 0
    assert str(path) in repr(image)
    with pytest.raises(
        ValueError, match="the picture is in .*boundary.png: render it without out= to save it"
    ):
        image.save(tmp_path / "other.png")
    with pytest.raises(ValueError, match="render it without out= to draw it"):
        image.plot()


def test_a_response_into_a_file(trained, tmp_path):
    render_boundary(trained, XLIM, YLIM, (80, 50), response="probability", out=str(tmp_path / "p.png"))
    with Image.open(tmp_path / "p.png") as file:
        grey = np.asarray(file).astype(float)[::-1] / 65535
    np.testing.assert_allclose(grey, picture(trained, response="probability"), atol=1e-5)


def test_a_picture_is_saved(trained, tmp_path):
    image = render_boundary(trained, XLIM, YLIM, (80, 50))
    image.save(tmp_path / "boundary.png")
    with Image.open(tmp_path / "boundary.png") as file:
        np.testing.assert_array_equal(np.asarray(file)[::-1], image.data)
    assert repr(image).startswith("BoundaryImage(80 x 50, dense, ")


def test_progress(trained, capsys):
    picture(trained)
    assert capsys.readouterr() == ("", "")
    picture(trained, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "100%" in err
    assert "pixel" in err


# --- which way is taken --------------------------------------------------------------------------


def test_small_pictures_are_dense_and_large_ones_certified(trained, monkeypatch):
    assert render_boundary(trained, XLIM, YLIM, (200, 100)).stats.method == "dense"
    monkeypatch.setattr(painters, "CERTIFIED_OPERATIONS", 1e6)
    image = render_boundary(trained, XLIM, YLIM, (200, 100))
    stats = image.stats
    assert stats.method == "certified"
    assert stats.points_evaluated + stats.points_filled == stats.points == 20_000
    assert 0 < stats.points_evaluated < stats.points_filled
    assert 0 < stats.cells_bounded < 2000
    assert stats.seconds["total"] > 0
    assert set(stats.seconds) == {"bounding", "evaluating", "filling", "writing", "total"}
    np.testing.assert_array_equal(image.data, picture(trained, (200, 100), method="dense"))
    response = render_boundary(trained, XLIM, YLIM, (200, 100), response="confidence")
    assert response.stats.method == "dense"


def tied_model(backend="numba"):
    """One whose scores are the same all over."""
    model = fastnn.Model([2, 3, 2], random_state=0, backend=backend)
    for array in (*model.W, *model.b):
        array[...] = 0
    return model


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_where_bounds_do_not_close_every_pixel_is_looked_at(backend, n_threads, monkeypatch):
    monkeypatch.setattr(painters, "CERTIFIED_OPERATIONS", 1)
    monkeypatch.setattr(painters, "PROBED_POINTS", 3000)
    model = tied_model(backend)
    image = render_boundary(model, XLIM, YLIM, (60, 700), n_threads=n_threads)
    assert image.stats.method == "certified, then dense"
    assert not image.data.any()
    assert image.stats.points_evaluated == image.stats.points == 42_000
    assert image.stats.points_filled == 0
    stubborn = render_boundary(model, XLIM, YLIM, (60, 700), method="certified")
    assert stubborn.stats.method == "certified"
    assert stubborn.stats.cells_bounded > image.stats.cells_bounded


# --- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((XLIM, YLIM, 0), "size must be an integer not below 1"),
        ((XLIM, YLIM, (0, 5)), "width must be an integer not below 1"),
        ((XLIM, YLIM, (10, -1)), "height must be an integer not below 1"),
        ((XLIM, YLIM, (10, 2.5)), "height must be an integer"),
        ((XLIM, YLIM, 0.02), "size must be pixels, (width, height) or one number, got 0.02"),
        ((XLIM, YLIM, (1, 2, 3)), "size must be pixels"),
        ((XLIM, YLIM, None), "size must be pixels"),
        (((1, 1), YLIM, 5), "xlim must be two finite numbers, the lower first, got (1, 1)"),
        ((XLIM, (2, 1), 5), "ylim must be two finite numbers, the lower first"),
        (((0, np.inf), YLIM, 5), "xlim must be two finite numbers"),
        (((np.nan, 1), YLIM, 5), "xlim must be two finite numbers"),
        (((-1e308, 1e308), YLIM, 5), "xlim must be two finite numbers"),
        (((0, 5e-324), YLIM, (5, 5)), "xlim must be two finite numbers"),
        (("ab", YLIM, 5), "xlim must be two finite numbers"),
        ((3, YLIM, 5), "xlim must be two finite numbers"),
        (((1, 2, 3), YLIM, 5), "xlim must be two finite numbers"),
    ],
)
def test_bad_views(trained, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        render_boundary(trained, *arguments)


BAD_OPTIONS = [
    ({"n_threads": 0}, "n_threads must be an integer not below 1"),
    ({"progress": 2}, "progress must be"),
    ({"method": "exact"}, "method must be one of"),
    ({"response": "entropy"}, "response must be one of"),
    ({"response": "margin", "method": "certified"}, "response 'margin' differs from pixel to pixel"),
    ({"features": (0, 0)}, "features must be two different features"),
    ({"features": (0, 2)}, "features must be two numbers from 0 to 1, got (0, 2)"),
    ({"features": (0,)}, "features must be two different features"),
    ({"features": 1}, "features must be two different features"),
    ({"features": (0, True)}, "features must be two numbers from 0 to 1"),
    ({"features": ("a", "b")}, "features must be two numbers from 0 to 1"),
    ({"features": "ab"}, "features must be two numbers from 0 to 1"),
    ({"fill": "x"}, "fill must be a number or 2 numbers, one a feature, got 'x'"),
    ({"fill": [1, 2, 3]}, "fill must be a number or 2 numbers"),
    ({"classes": [0, 2]}, "classes are [0, 1], the model's own"),
    ({"class_of_interest": 1}, "class_of_interest is the class that a probability is of"),
    ({"response": "probability", "class_of_interest": 7}, "class_of_interest must be one of [0, 1], got 7"),
    ({"out": "picture.gif"}, "picture.gif must end in one of .png"),
    ({"out": np.empty((3, 3), np.uint8)}, "out must be an array of shape (5, 5)"),
    ({"out": np.empty((5, 5), bool)}, "out must have a dtype that holds 2 classes"),
]


@pytest.mark.parametrize(("options", "message"), BAD_OPTIONS)
def test_bad_options(trained, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        render_boundary(trained, XLIM, YLIM, (5, 5), **options)


def test_a_class_of_interest_is_of_a_probability():
    tree = DecisionTreeClassifier(max_depth=3).fit(X, y)
    with pytest.raises(ValueError, match="class_of_interest is the class that a probability is of"):
        render_boundary(tree, XLIM, YLIM, (5, 5), class_of_interest=1)


def test_a_function_does_not_say_how_many_features_it_takes():
    with pytest.raises(ValueError, match="fill must hold a number for every feature"):
        render_boundary(lambda points: points[:, 3] > 0, XLIM, YLIM, (5, 5), features=(2, 3), fill=1.0)
    image = render_boundary(
        lambda points: points[:, 3] > 0, XLIM, YLIM, (5, 5), features=(2, 3), fill=[1, 1, 0, 0]
    )
    assert image.classes.tolist() == [False, True]


def test_values_of_the_other_features_by_their_names():
    X, y = load_iris(return_X_y=True, as_frame=True)
    for model in (
        LogisticRegression(max_iter=500).fit(X, y),
        fastnn.MLPClassifier((4,), random_state=0, tol=1.0).fit(X, y),
    ):
        view = {"xlim": (0, 8), "ylim": (-1, 4), "size": 40, "features": tuple(X.columns[2:])}
        expected = render_boundary(model, fill=X.mean().to_numpy(), **view).data
        for fill in (X.mean(), X.mean().sort_index(), dict(X.mean()), dict(X.mean()[:2])):
            np.testing.assert_array_equal(render_boundary(model, fill=fill, **view).data, expected)
        with pytest.raises(
            ValueError, match=r"fill must have a value for every feature .* not for .'sepal len"
        ):
            render_boundary(model, fill={X.columns[1]: 1.0}, **view)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_that_overflow_on_their_way(dtype):
    model = fastnn.Model([2, 3, 2], activation="relu", output_activation="identity", dtype=dtype)
    largest = float(np.finfo(dtype).max)
    model.W[0][...] = [[1, 1, 1], [0, 0, 0]]
    model.b[0][...] = 0
    model.W[1][...] = [[0.3 * largest, 0], [0.3 * largest, 0], [-0.6 * largest, 0]]
    model.b[1][...] = [[0, 0.1 * largest]]
    for view in (((1.5, 1.75), (0, 1)), ((0.1, 0.2), (0, 1)), ((-3, 3), (-1, 1))):
        dense, certified = (render_boundary(model, *view, 64, method=m).data for m in ("dense", "certified"))
        np.testing.assert_array_equal(certified, dense)


def test_coordinates_so_small_that_they_lose_their_digits():
    model = fastnn.Model([2, 2], output_activation="identity", dtype=np.float32)
    w = 5.024695685830084e37
    model.W[0][...] = [[w, 0], [-w, 0]]
    low, high = 5.14e-42, 5.149e-42  # a few subnormal numbers, which many pixels share
    # The score is w x - w y, of which rounding leaves something where x is y.
    for threshold in np.linspace(-4e-11, 4e-11, 41):
        model.b[0][...] = [[0, threshold]]
        view = (low, high), (low, high), 35
        dense, certified = (render_boundary(model, *view, method=m).data for m in ("dense", "certified"))
        np.testing.assert_array_equal(certified, dense)


@pytest.mark.parametrize("method", ["dense", "certified"])
def test_into_an_array_that_is_not_aligned(tmp_path, method):
    model = fastnn.Model([2, 3, 300], random_state=0, output_activation="identity")
    expected = render_boundary(model, XLIM, YLIM, (300, 200), method=method).data
    assert expected.dtype == np.uint16
    out = np.memmap(tmp_path / "picture", np.uint16, "w+", offset=101, shape=(200, 300))
    assert not out.flags.aligned
    render_boundary(model, XLIM, YLIM, (300, 200), out=out, method=method)
    np.testing.assert_array_equal(out, expected)


def test_a_function_may_render_and_train_itself(monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 1)
    model = fastnn.Model([2, 3, 2], random_state=0)

    def predict(points):
        model.train(X, y, num_passes=2)
        return render_boundary(model, XLIM, YLIM, 4).data.ravel()[:1].repeat(len(points))

    done = threading.Event()
    worker = threading.Thread(
        target=lambda: (render_boundary(predict, XLIM, YLIM, 8, n_threads=1), done.set()), daemon=True
    )
    worker.start()
    worker.join(60)
    assert done.is_set()


def test_a_picture_too_wide_for_a_strip(tmp_path, monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=10**9))
    with pytest.raises(MemoryError, match="strips that take .* bytes.*write it to .zarr or .dzi"):
        render_boundary(
            lambda points: points[:, 0] > 0,
            XLIM,
            YLIM,
            (2**31 - 1, 5),
            out=tmp_path / "a.png",
            classes=[0, 1],
        )


def test_masked_and_mixed_classes():
    with pytest.raises(ValueError, match="masked values"):
        render_boundary(lambda points: np.ma.masked_less(points[:, 0], 0), XLIM, YLIM, (5, 5))
    with pytest.raises(ValueError, match="classes that cannot be sorted"):
        render_boundary(lambda points: np.array([None, "a"], object)[np.arange(25) % 2], XLIM, YLIM, (5, 5))


def test_classes_keep_their_type():
    days = np.array(["2020-01-01", "2021-01-01"], "datetime64[ns]")
    image = render_boundary(lambda points: days[(points[:, 0] > 0).astype(int)], XLIM, YLIM, (5, 5))
    assert image.classes.dtype == days.dtype
    large = np.array([2**63 + 1, 2**63 + 3], np.uint64)
    image = render_boundary(lambda points: large[(points[:, 0] > 0).astype(int)], XLIM, YLIM, (5, 5))
    np.testing.assert_array_equal(image.classes, large)


class Predictor(BaseEstimator, ClassifierMixin):
    """A classifier that predicts what it is told."""

    def __init__(self, result=None):
        self.result = result

    def predict(self, points):
        return self.result(points)

    def __sklearn_is_fitted__(self):
        return True


def test_classes_in_an_order_of_the_models_own():
    class Estimator(Predictor):
        classes_, n_features_in_ = np.array(["b", "a"]), 2

        def predict_proba(self, points):
            is_first = points[:, 0] > 0.5
            return np.stack([is_first, ~is_first], axis=1).astype(float)

    estimator = Estimator(lambda points: np.where(points[:, 0] > 0.5, "b", "a"))
    image = render_boundary(estimator, XLIM, YLIM, (80, 50))
    np.testing.assert_array_equal(labels(image).ravel(), estimator.predict(centres(80, 50)))
    P = picture(estimator, response="probability", class_of_interest="b")
    np.testing.assert_array_equal(P, (labels(image) == "b"))


def fitted_regressor():
    regressor = fastnn.MLPRegressor()
    regressor.n_features_in_ = 2  # all that is looked at
    return regressor


@pytest.mark.parametrize(
    ("make", "options", "error", "message"),
    [
        (lambda: fastnn.Model([3, 2]), {}, ValueError, "the model has 3 inputs and a picture two: name them"),
        (lambda: fastnn.Model([1, 2]), {}, ValueError, "a picture needs"),
        (lambda: fastnn.Model([3, 2]), {"fill": [0, np.nan, np.inf]}, ValueError, "fill must hold finite"),
        (lambda: fastnn.Model([2, 2], loss="squared_error"), {}, ValueError, "the model is a regression"),
        (fitted_regressor, {}, ValueError, "the model is a regressor"),
        (lambda: LinearRegression().fit(X, y), {}, ValueError, "the model is a regressor"),
        (lambda: fastnn.MLPClassifier(), {}, NotFittedError, "not fitted"),
        (lambda: LogisticRegression(), {}, NotFittedError, "not fitted"),
        (lambda: fastnn.MLPEnsembleClassifier(), {}, NotFittedError, "not fitted"),
        (lambda: 7, {}, TypeError, "have predict or be callable, got 7"),
        (lambda: LogisticRegression().fit(X, y), {"method": "certified"}, ValueError, "is for networks of"),
        (lambda: DecisionTreeClassifier().fit(iris, species), {}, ValueError, "the model has 4 inputs"),
        (
            lambda: DecisionTreeClassifier().fit(X, np.stack([y, 1 - y], axis=1)), {}, ValueError,
            "the model predicts several outputs",
        ),
        (lambda: lambda points: points, {}, ValueError, "for 25 points it gave shape (25, 2)"),
        (lambda: lambda points: y, {}, ValueError, "for 25 points it gave shape (200,)"),
        (lambda: lambda points: points[:, 0], {}, ValueError, "predicts numbers that are no classes"),
        (lambda: lambda points: points[:, 0] * np.nan, {}, ValueError, "that are no classes, such as nan"),
        (
            lambda: lambda points: np.full(len(points), 3), {"classes": [1, 2]}, ValueError,
            "the model predicts 3, which is none of the classes [1, 2]",
        ),
        (
            lambda: lambda points: np.full(len(points), "c"), {"classes": ["a", "b"]}, ValueError,
            "which is none of the classes ['a', 'b']",
        ),
        (
            lambda: lambda points: np.full(len(points), "c"), {"classes": [1, 2]}, ValueError,
            "which is none of the classes [1, 2]",
        ),
        (lambda: lambda points: points[:, 0] > 0, {"classes": []}, ValueError, "classes"),
        (lambda: abs, {"response": "margin"}, ValueError, "response 'margin' needs predict_proba"),
        (
            lambda: Predictor(len), {"response": "probability"}, ValueError, "needs predict_proba",
        ),
        (
            lambda: LogisticRegression().fit(iris[:, :2], species), {"response": "probability"}, ValueError,
            "response 'probability' is of one class: name it",
        ),
        (
            lambda: LogisticRegression().fit(X, y), {"response": "probability", "class_of_interest": "a"},
            ValueError, "class_of_interest must be one of [",
        ),
        (lambda: lambda points: y, {"out": np.empty((5, 5))}, ValueError, "name them with classes="),
        (
            lambda: fastnn.Model([2, 3], loss="sigmoid_binary_cross_entropy"), {}, ValueError,
            "each of 3 labels by itself: choose one, class_of_interest=0 to 2, got None",
        ),
        (
            lambda: fastnn.Model([2, 3], loss="sigmoid_binary_cross_entropy"), {"class_of_interest": 3},
            ValueError, "choose one, class_of_interest=0 to 2, got 3",
        ),
    ],
)  # fmt: skip
def test_models_that_do_not_fit(make, options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        render_boundary(make(), XLIM, YLIM, (5, 5), **options)


def test_features_of_a_named_model():
    model = of_iris().fit(pd.DataFrame(iris, columns=list("abcd")), species)
    with pytest.raises(ValueError, match="or names of .'a', 'b', 'c', 'd'., got"):
        render_boundary(model, XLIM, YLIM, (5, 5), features=("a", "x"), fill=0)


def test_a_picture_that_memory_does_not_hold(trained):
    with pytest.raises(MemoryError, match='takes 1,000,000,000,000 bytes.*out="boundary.png".*numpy.memmap'):
        render_boundary(trained, XLIM, YLIM, (10**6, 10**6))
    with pytest.raises(MemoryError, match="takes 8,000,000,000,000 bytes"):
        render_boundary(trained, XLIM, YLIM, (10**6, 10**6), response="margin")


# --- what is broken off --------------------------------------------------------------------------


def interrupted(seconds):
    """A timer that presses Ctrl-C, which the system tells the main thread of."""
    timer = threading.Timer(seconds, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
    timer.start()
    return timer


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("method", ["dense", "certified"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_an_interrupt_leaves_nothing_behind(tmp_path, method, n_threads, suffix):
    # It would take hours.
    model = fastnn.Model([2, 100, 100, 2], random_state=0)
    path = tmp_path / f"boundary{suffix}"
    picture(model, (10, 10), method=method, out=path)  # everything is imported and compiled
    path.unlink()
    timer = interrupted(0.3)
    with pytest.raises(KeyboardInterrupt):
        render_boundary(model, (-1e3, 1e3), (-1e3, 1e3), 10**6, method=method, out=path, n_threads=n_threads)
    timer.join()
    assert list(tmp_path.iterdir()) == []
    assert picture(model, (10, 10)).shape == (10, 10)
    assert not [thread for thread in threading.enumerate() if "ThreadPool" in thread.name]


@pytest.mark.parametrize("method", ["dense", "certified"])
def test_an_interrupt_of_the_reference(tmp_path, method):
    model = fastnn.Model([2, 30, 2], random_state=0, backend="numpy")
    timer = interrupted(0.3)
    with pytest.raises(KeyboardInterrupt):
        render_boundary(model, XLIM, YLIM, 10**5, method=method, out=tmp_path / "boundary.png", n_threads=1)
    timer.join()
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_of_somebody_elses_model(tmp_path):
    timer = interrupted(0.3)
    with pytest.raises(KeyboardInterrupt):
        render_boundary(LogisticRegression().fit(X, y), XLIM, YLIM, 10**5, out=tmp_path / "boundary.png")
    timer.join()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".png", ".tif", ".zarr", ".dzi"])
def test_an_error_of_a_model_leaves_no_file(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(painters, "PORTION_POINTS", 1000)
    calls = []

    def predict(points):
        calls.append(len(points))
        if len(calls) == 3:
            raise RuntimeError("no more")
        return np.zeros(len(points), int)

    with pytest.raises(RuntimeError, match="no more"):
        render_boundary(predict, XLIM, YLIM, 200, classes=[0, 1], out=tmp_path / f"boundary{suffix}")
    assert len(calls) == 3
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_grow_with_the_width(tmp_path):
    asked = []

    def predict(points):
        asked.append(len(points))
        if len(asked) == 4:
            raise MemoryError("enough")
        return np.zeros(len(points), int)

    with pytest.raises(MemoryError, match="enough"):
        render_boundary(predict, XLIM, YLIM, (10**12, 1), classes=[0], out=tmp_path / "b.zarr")
    assert asked == [2048] * 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_paints_too():
    program = """
        import multiprocessing
        import warnings

        import numpy as np
        import fastnn

        warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
        model = fastnn.Model([2, 3, 2], random_state=0)

        def painted(method):
            image = fastnn.render_boundary(model, (-1, 1), (-1, 1), (300, 500), method=method, n_threads=2)
            return image.data.tobytes()

        expected = painted("dense")
        assert painted("certified") == expected
        with multiprocessing.get_context("fork").Pool(2) as pool:
            found = pool.map(painted, ["dense", "certified"] * 2)
        assert found == [expected] * 4
        print("the same")
    """
    assert run_python(program).split() == ["the", "same"]


# --- certified equals dense, pixel for pixel -----------------------------------------------------

SIZES = ((97, 61), (61, 97), (129, 70), (64, 64), (1, 150), (200, 1), (1, 1), (9, 300))


def painted(committee, xs, ys, method):
    """The picture of a committee, and what it took."""
    painter = NetworkPainter(committee, np.arange(committee.n_classes), "class", 0, method, "numba")
    target = np.full((len(ys), len(xs)), 99, painter.dtype)
    return target, painter.paint(xs, ys, target, lambda: False)


def check_certified(committee, x_at, y_at, x_reach, y_reach, size):
    """Of a view around a place; returns the picture and the share of its pixels that were filled."""
    xs, ys = (
        along((at - reach, at + reach), count)
        for at, reach, count in zip((x_at, y_at), (x_reach, y_reach), size, strict=True)
    )
    expected, _ = painted(committee, xs, ys, "dense")
    classes, tally = painted(committee, xs, ys, "certified")
    np.testing.assert_array_equal(classes, expected)
    assert tally.points_evaluated + tally.points_filled == classes.size
    return classes, tally.points_filled / classes.size


def chosen_size(random):
    return SIZES[random.integers(len(SIZES))]


def random_committee(random, names, dtype, scale=1.0, widest=128):
    network = draw_network(random, names, dtype, widest)
    return Committee([(network, draw_parameters(random, network, scale))], votes=False)


def kinds_of(names):
    """The smooth activation of a set, or the only one."""
    return next((name for name in names if name != "identity"), "identity")


def two_layers(names, dtype, W, b, V, c):
    """The network ``V' f(W' x + b) + c`` in which f is the set's activation."""
    name = kinds_of(names)
    network = Network((2, len(W[0]), len(V[0])), (name, "identity" if "identity" in names else name), dtype)
    parameters = network.neutral_parameters()
    views = *network.weights(parameters), *network.biases(parameters)
    for view, values in zip(views, (W, V, [b], [c]), strict=True):
        view[...] = values
    return Committee([(network, parameters)], votes=False)


each_set = pytest.mark.parametrize("names", SETS, ids="-".join)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@each_set
@each_dtype
@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0, 100.0])
def test_certified_is_dense_for_random_networks(names, dtype, scale):
    random = np.random.default_rng(0)
    filled = []
    for _ in range(8):
        committee = random_committee(random, names, dtype, scale)
        size = chosen_size(random)
        filled.append(check_certified(committee, *random.standard_normal(2), 3, 3, size)[1])
    # Of values in the millions a float32 knows little.
    assert max(filled) > (0.5 if scale < 100 else 0.25)


@each_set
@each_dtype
def test_certified_is_dense_near_and_far(names, dtype):
    random = np.random.default_rng(1)
    for _ in range(4):
        committee = random_committee(random, names, dtype)
        # Where the boundary is, and from there closer and closer.
        xs = np.linspace(-3, 3, 300)
        classes, _ = painted(committee, xs, xs, "dense")
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
def test_certified_is_dense_where_scores_are_tied(names, dtype):
    random = np.random.default_rng(2)
    for k in range(8):
        committee = random_committee(random, names, dtype, (1.0, 30.0)[k % 2], 40)
        ((network, parameters),) = committee.members
        W, b = network.weights(parameters)[-1], network.biases(parameters)[-1]
        if k < 6:  # two classes, or all of them
            W[:, 1 : 2 if k < 3 else None], b[:, 1 : 2 if k < 3 else None] = W[:, :1], b[:, :1]
        else:  # all 0
            W[...], b[...] = 0, 0
        classes, _ = check_certified(committee, 0, 0, 3, 3, chosen_size(random))
        assert k < 3 or not classes.any()


@each_set
@each_dtype
def test_certified_is_dense_for_dead_and_sleeping_units(names, dtype):
    random = np.random.default_rng(3)
    for share, bias in ((1.0, -1e3), (0.9, -1e3), (0.5, -30.0), (0.5, 1e3), (1.0, 1e30)):
        committee = random_committee(random, names, dtype, 1.0, 40)
        ((network, parameters),) = committee.members
        for b in network.biases(parameters)[:-1]:
            b[:, random.random(b.shape[1]) < share] = bias
        check_certified(committee, 0, 0, 3, 3, chosen_size(random))


@each_set
@each_dtype
@pytest.mark.parametrize("along", ["columns", "rows", "corners", "diagonal of rectangles"])
def test_certified_is_dense_where_the_boundary_goes_through_centres(names, dtype, along):
    # Pixels are 1/64 wide, and so the centres and what comes of them are exact.
    direction, constant = {
        "columns": ((1.0, 0.0), 0.5 / 64),
        "rows": ((0.0, 1.0), 0.5 / 64),
        "corners": ((1.0, -1.0), 0.0),
        "diagonal of rectangles": ((1.0, -2.0), 1 / 64),
    }[along]
    for sign in (1, -1):
        for steep in (1.0, 64.0, 1e-3):
            W = sign * steep * np.array([[direction[0], 0.0], [direction[1], 0.0]])
            b = [-sign * steep * constant, 0.0]
            committee = two_layers(names, dtype, W, b, np.eye(2), np.zeros(2))
            for size, reach in (((128, 128), 1.0), ((192, 64), 1.5)):
                reaches = (reach, reach * size[1] / size[0])
                classes, filled = check_certified(committee, 0.0, 0.0, *reaches, size)
                assert filled > 0.25  # half of the plane is tied, where the activation is 0 there
                assert set(np.unique(classes)) <= {0, 1}
                if steep == 1.0 and kinds_of(names) not in ("relu", "identity"):
                    assert len(np.unique(classes)) == 2


@each_set
@each_dtype
def test_certified_sees_a_class_of_a_single_pixel(names, dtype):
    if names == ("identity",):
        pytest.skip("planes have no bumps")
    f = ACTIVATIONS[kinds_of(names)].value
    # A bump of three units along each axis, or of two: the sum of both is high where both are.
    u = np.linspace(-6, 6, 24_001)
    weights = (1.0, -2.0, 1.0) if kinds_of(names) not in ("sigmoid", "tanh") else (1.0, 0.0, -1.0)
    bump = sum(weight * f(u + shift) for weight, shift in zip(weights, (1.0, 0.0, -1.0), strict=True))
    top = u[bump.argmax()]
    next_best = max(bump[np.abs(u - top) > 2].max(), 0)
    threshold = bump.max() + (next_best + bump.max()) / 2
    random = np.random.default_rng(4)
    for _ in range(6):
        size = (int(random.integers(60, 200)), int(random.integers(60, 200)))
        xs, ys = (along((-1, 1), count) for count in size)
        column, row = random.integers(size[0]), random.integers(size[1])
        steep = 2.0 * max(size)  # two units of u a pixel and more
        W, b, V = np.zeros((2, 6)), np.zeros(6), np.zeros((6, 2))
        for axis, at in enumerate((xs[column], ys[row])):
            for k, shift in enumerate((1.0, 0.0, -1.0)):
                unit = 3 * axis + k
                W[axis, unit], b[unit], V[unit, 1] = steep, top + shift - steep * at, weights[k]
        if "identity" in names:
            committee = two_layers(names, dtype, W, b, V, [threshold, 0.0])
        else:  # the output is bounded too
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
            size = chosen_size(random)
            filled.append(check_certified(committee, *random.standard_normal(2), 3, 3, size)[1])
            check_certified(committee, *random.standard_normal(2), 1e-5, 1e-5, size)
            twice = Committee([members[0], members[0]], votes=True)
            check_certified(twice, 0, 0, 3, 3, size)
            # Two classes that are the same.
            network, parameters = members[0]
            for views in (network.weights(parameters), network.biases(parameters)):
                views[-1][:, 1] = views[-1][:, 0]
            check_certified(Committee(members[:1], votes=True), 0, 0, 3, 3, size)
    assert max(filled) > 0.5
