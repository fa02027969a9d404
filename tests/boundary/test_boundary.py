"""Pictures of decision boundaries: what models of all kinds predict at the pixels."""

import numpy as np
import pytest
from extras import optional
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from strategies import DTYPES
from views import XLIM, YLIM, X, along, centres, iris, labels, of_iris, picture, species, y

import fastnn
from fastnn.boundary import grids, painters
from fastnn.boundary.render import render_boundary

pd = optional("pandas")


def test_pixels_show_the_class_at_their_centres():
    np.testing.assert_allclose(along((0.0, 1.0), 4), [0.125, 0.375, 0.625, 0.875])
    assert along((-3.0, 5.0), 1).tolist() == [1.0]
    image = render_boundary(lambda points: points[:, 1] > 0, (0, 1), (-1, 1), (3, 4))
    assert image.data.tolist() == [[0] * 3] * 2 + [[1] * 3] * 2
    assert image.extent == (0.0, 1.0, -1.0, 1.0)


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (500, 301), (1, 400), (700, 1)])
def test_a_picture_of_a_model_is_its_prediction(model, size):
    image = render_boundary(model, XLIM, YLIM, size)
    expected = model.predict(centres(*size)).reshape(size[1], size[0])
    # The reference may sum the products of tables of different lengths in different orders.
    assert (image.data != expected).sum() <= (0 if model.backend == "numba" else 1)
    assert image.data.dtype == np.uint8
    assert image.classes.tolist() == [0, 1]
    assert image.stats.points == image.stats.points_evaluated == size[0] * size[1]
    assert (image.stats.points_filled, image.stats.cells_bounded) == (0, 0)
    assert (image.stats.method, image.path) == ("dense", None)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layers", [[2, 2], [2, 40, 30, 5], [2, 3, 4, 5, 6, 3]])
@pytest.mark.parametrize("output", ["tanh", "identity"])
def test_every_pixel_of_both_methods_is_the_prediction(layers, output, dtype):
    model = fastnn.Model(layers, random_state=0, dtype=dtype, output_activation=output)
    size = (403, 207)
    expected = model.predict(centres(*size)).reshape(size[::-1])
    for method in ("dense", "certified"):
        np.testing.assert_array_equal(picture(model, size, method=method), expected)


@pytest.mark.parametrize("method", ["dense", "certified"])
def test_both_backends_paint_the_same(method):
    models = [fastnn.Model([2, 8, 3], random_state=0, backend=backend) for backend in ("numba", "numpy")]
    images = [render_boundary(model, XLIM, YLIM, (150, 97), method=method) for model in models]
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


@pytest.mark.parametrize(
    ("operations", "size"),
    [(1, (40, 7)), (5e3, (301, 203)), (3e5, (301, 203))],
    ids=["a pixel", "parts of a row", "several rows"],
)
def test_the_size_of_kernel_calls_makes_no_difference(trained, monkeypatch, operations, size):
    expected = picture(trained, size, method="dense")
    monkeypatch.setattr(grids.NumbaGrid, "call_operations", operations)
    np.testing.assert_array_equal(picture(trained, size, method="dense"), expected)


def test_many_classes_need_wider_integers():
    model = fastnn.Model([2, 300], random_state=0, output_activation="identity")
    for method in ("dense", "certified"):
        data = picture(model, (64, 64), method=method)
        assert data.dtype == np.uint16
        np.testing.assert_array_equal(data.ravel(), model.predict(centres(64, 64)))
        assert data.max() > 255


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_a_picture_of_one_label_is_its_prediction(n_outputs):
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


def test_a_single_output_has_the_probabilities_of_two_classes():
    model = fastnn.Model(
        [2, 5, 1], random_state=0, loss="sigmoid_binary_cross_entropy", output_activation="identity"
    )
    P = model.predict_proba(centres(80, 50)).reshape(50, 80)
    for which, expected in ((None, P), (1, P), (0, 1 - P)):
        data = picture(model, response="probability", class_of_interest=which)
        np.testing.assert_allclose(data, expected, rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match="class_of_interest must be one of .0, 1., got 2"):
        picture(model, response="probability", class_of_interest=2)


def test_an_overflow_of_one_label_leaves_the_others():
    model = fastnn.Model(
        [2, 4, 2], random_state=0, activation="relu", output_activation="identity", dtype=np.float32,
        loss="sigmoid_binary_cross_entropy",
    )  # fmt: skip
    model.b[0][...] = 1
    model.W[1][:, 0] = np.finfo(np.float32).max  # the sum overflows
    with pytest.warns(RuntimeWarning, match="scores are too large for float32"):
        assert model.predict([[0.5, 0.5]]).tolist() == [[1, 1]]
    for k in range(2):
        with pytest.warns(RuntimeWarning, match="scores are too large for float32"):
            expected = model.predict(centres(80, 50))[:, k].reshape(50, 80)
        for method in ("dense", "certified"):
            np.testing.assert_array_equal(picture(model, class_of_interest=k, method=method), expected)


def test_a_picture_of_a_batch_normalised_model_is_its_prediction():
    model = fastnn.Model([2, 9, 2], random_state=0, batch_norm=True)
    model.train(X, y, num_passes=50, batch_size=50, random_state=0, epsilon=1e-3)
    expected = model.predict(centres(90, 70)).reshape(70, 90)
    for method in ("dense", "certified"):
        np.testing.assert_array_equal(picture(model, (90, 70), method=method), expected)


def responses(P, which):
    """Return the values of every response, by the probabilities (n, classes) and the class of interest."""
    ordered = np.sort(P, axis=1)
    return {
        "probability": P[:, which],
        "confidence": P.max(axis=1),
        "margin": ordered[:, -1] - ordered[:, -2],
    }


def of_class(response, which):
    """Return the option that names a class, for the one response that is of a class."""
    return {"class_of_interest": which} if response == "probability" else {}


@pytest.mark.parametrize("response", ["probability", "confidence", "margin"])
@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_responses_are_those_of_the_probabilities(response, n_classes, dtype, backend):
    model = fastnn.Model([2, 6, n_classes], random_state=0, dtype=dtype, backend=backend)
    for size in ((133, 57), (1, 5), (600, 2)):
        P = model.predict_proba(centres(*size))
        for which in range(n_classes):
            options = of_class(response, which)
            image = render_boundary(model, XLIM, YLIM, size, response=response, **options)
            expected = responses(P, which)[response].reshape(size[::-1])
            np.testing.assert_allclose(image.data, expected, rtol=0, atol=20 * np.finfo(dtype).eps)
            assert image.data.dtype == dtype
            assert image.classes is None


def test_the_probability_is_that_of_the_second_class_by_default(trained):
    P = trained.predict_proba(centres(80, 50))[:, 1].reshape(50, 80)
    np.testing.assert_allclose(picture(trained, response="probability"), P, rtol=1e-12)


@pytest.mark.parametrize("response", ["probability", "confidence", "margin"])
def test_responses_of_other_classifiers(response):
    estimator = LogisticRegression().fit(iris[:, :2], species)
    P = responses(estimator.predict_proba(centres(80, 50)), 2)[response].reshape(50, 80)
    image = picture(estimator, response=response, **of_class(response, 2))
    np.testing.assert_allclose(image, P, rtol=1e-12)
    assert image.dtype == np.float64


def test_probabilities_need_classes_from_the_model_or_the_caller():
    class Estimator:
        def predict_proba(self, points):
            P = np.full((len(points), 2), 0.25)
            P[:, 1] = 0.75
            return P

    image = picture(Estimator(), response="probability", classes=["a", "b"], class_of_interest="a")
    assert (image == 0.25).all()
    with pytest.raises(ValueError, match="'probability' needs classes_ of the model, or classes="):
        picture(Estimator(), response="probability")


def test_pictures_of_other_estimators_and_functions_are_predictions(monkeypatch):
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
def test_classes_of_other_estimators_and_functions_are_sorted(names):
    target = np.array(names)[y]
    estimator = DecisionTreeClassifier(random_state=0).fit(X, target)
    expected = estimator.predict(centres(80, 50)).reshape(50, 80)
    for options in ({}, {"classes": names}):
        for model in (estimator, estimator.predict):
            image = render_boundary(model, XLIM, YLIM, (80, 50), **options)
            np.testing.assert_array_equal(labels(image), expected)
            assert image.classes.tolist() == sorted(names)
            assert image.data.dtype == np.uint8


def test_classes_may_first_occur_late_and_be_longer_strings(monkeypatch):
    monkeypatch.setattr(painters, "PORTION_POINTS", 10)

    def predict(points):
        return np.array(["no"] * len(points) if points[0, 1] < 0 else ["certainly"] * len(points))

    image = render_boundary(predict, XLIM, (-1, 1), (10, 10))
    assert image.classes.tolist() == ["certainly", "no"]
    assert (labels(image)[:5] == "no").all()
    assert (labels(image)[5:] == "certainly").all()


def test_whole_numbers_as_floats_are_classes():
    image = render_boundary(lambda points: np.floor(points[:, 0]), (0, 300), YLIM, (300, 2))
    assert image.classes.tolist() == list(range(300))
    np.testing.assert_array_equal(image.data, [range(300)] * 2)
    assert image.data.dtype == np.uint16


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("names", [np.array([0, 1]), np.array(["yes", "no"])])
def test_pictures_of_a_binary_classifier_are_predictions(names, dtype):
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


def test_pictures_of_a_classifier_of_three_classes_are_predictions():
    names = np.array(["setosa", "versicolor", "virginica"])
    estimator = of_iris().fit(iris[:, :2], names[species])
    view = (4.0, 8.0), (2.0, 4.5), (130, 111)
    points = centres(130, 111, *view[:2])
    for method in ("dense", "certified"):
        image = render_boundary(estimator, *view, method=method)
        np.testing.assert_array_equal(labels(image).ravel(), estimator.predict(points))
    P = estimator.predict_proba(points)
    for response, expected in responses(P, 1).items():
        options = of_class(response, "versicolor")
        image = render_boundary(estimator, *view, response=response, **options)
        np.testing.assert_allclose(image.data.ravel(), expected, atol=1e-12)


def test_pictures_of_a_multilabel_classifier_are_predictions():
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
def test_pictures_of_an_ensemble_are_predictions(kind):
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
    is_clear = ordered[:, -1] - ordered[:, -2] > 1e-12  # kernels round the means differently
    np.testing.assert_array_equal(labels(images[0]).ravel()[is_clear], expected[is_clear])
    for response, values in responses(P, 1).items():
        image = render_boundary(
            ensemble, *view, (203, 151), response=response, **of_class(response, 1) | options
        )
        np.testing.assert_allclose(image.data.ravel(), values, atol=1e-12)


def test_pictures_of_a_pipeline_with_a_network_are_predictions():
    pipeline = make_pipeline(StandardScaler(), of_iris()).fit(X, y)
    np.testing.assert_array_equal(picture(pipeline).ravel(), pipeline.predict(centres(80, 50)))
    assert render_boundary(pipeline, XLIM, YLIM, (10, 10)).stats.method == "dense"


@pytest.mark.parametrize("kind", [of_iris, DummyClassifier])
def test_a_classifier_of_one_class_has_an_even_picture(kind):
    estimator = kind().fit(X, np.full(200, "only"))
    image = render_boundary(estimator, XLIM, YLIM, (10, 10))
    assert image.classes.tolist() == ["only"]
    assert not image.data.any()
    for response in ("confidence", "margin"):  # without a second class, the margin is the probability 1
        assert (picture(estimator, response=response) == 1).all()


# Two features of four, and the values of the others; None for their means.
VIEWS = [((0, 1), None), ((2, 0), None), ((3, 2), 0.5), ((1, 3), [1.0, 2.0, 3.0, 4.0])]


def filled_table(points, features, fill, n_features=4):
    """Return samples with two features from `points` and the others from `fill`."""
    table = np.tile(np.broadcast_to(np.asarray(fill, float), n_features), (len(points), 1))
    table[:, list(features)] = points
    return table


def check_close(data, P):
    """Assert that pixels have the class of the highest probability wherever it is clearly the highest."""
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
    ensemble = fastnn.MLPEnsembleClassifier(of_iris(), 2, random_state=0).fit(iris, species)
    for each in (model, of_iris().fit(iris, species), ensemble):
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


@pytest.mark.needs("pandas")
def test_features_may_be_chosen_by_name():
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


def test_swapped_features_transpose_the_picture(trained):
    data = render_boundary(trained, YLIM, XLIM, (50, 80), features=(1, 0)).data
    np.testing.assert_array_equal(data.T, picture(trained))
