"""Pictures of decision boundaries: what models of all kinds predict at the pixels."""

import importlib

import numpy as np
import pytest
from views import XLIM, YLIM, X, along, centres, iris, labels, make_classifier, picture, species, y

import fastnn
from fastnn import render_boundary

METHODS, LOGISTIC = ("dense", "certified"), "linear_model.LogisticRegression"
IRIS = (4.0, 8.0), (2.0, 4.5)
NAMES = np.array(["setosa", "versicolor", "virginica"])
Y = np.stack([X[:, 0] > 0.5, X[:, 1] > 0.2, y == 1], axis=1).astype(int)


def test_pixels_show_the_class_at_their_centres():
    np.testing.assert_allclose(along((0.0, 1.0), 4), [0.125, 0.375, 0.625, 0.875])
    assert along((-3.0, 5.0), 1).tolist() == [1.0]
    image = render_boundary(lambda points: points[:, 1] > 0, (0, 1), (-1, 1), (3, 4))
    assert (image.data.tolist(), image.extent) == ([[0] * 3] * 2 + [[1] * 3] * 2, (0.0, 1.0, -1.0, 1.0))


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (500, 301), (1, 400), (700, 1)])
def test_a_picture_of_a_model_is_its_prediction(model, size):
    image = render_boundary(model, XLIM, YLIM, size)
    expected = model.predict(centres(*size)).reshape(size[1], size[0])
    # The reference may sum the products of tables of different lengths in different orders.
    assert (image.data != expected).sum() <= (0 if model.backend == "numba" else 1)
    assert (image.data.dtype, image.classes.tolist()) == (np.uint8, [0, 1])
    assert image.stats.points == image.stats.points_evaluated == size[0] * size[1]
    assert (image.stats.points_filled, image.stats.cells_bounded) == (0, 0)
    assert (image.stats.method, image.path) == ("dense", None)


def make_model(layers, num_passes=0, **options):
    model = fastnn.Model(layers, random_state=0, **options)
    if num_passes:
        model.train(X, y, num_passes, 1e-3, batch_size=50, random_state=0)
    return model


def make_ensemble(table, target):
    return fastnn.MLPEnsembleClassifier(make_classifier(), 3, random_state=0).fit(table, target)


def make_theirs(kind, **options):
    """Return an estimator of scikit-learn, which a browser's Python lacks."""
    module, _, name = kind.rpartition(".")
    return getattr(importlib.import_module(f"sklearn.{module}"), name)(**options)


def make_scaled_tree(**options):
    steps = make_theirs("preprocessing.StandardScaler"), make_theirs("tree.DecisionTreeClassifier", **options)
    return make_theirs("pipeline.Pipeline", steps=[*zip("st", steps, strict=True)])


class Inverted(fastnn.Model):
    """Model that predicts otherwise than its network does."""

    def predict(self, X):
        return 1 - super().predict(X)

    def predict_proba(self, X):
        return super().predict_proba(X)[:, ::-1]


LABELS = {"loss": "sigmoid_binary_cross_entropy", "output_activation": "identity"}
X32 = X.astype(np.float32)
# Functions that return a model.
MODELS = {
    "deep": lambda: make_model([2, 3, 4, 5, 6, 3]),
    "float32": lambda: make_model([2, 40, 30, 5], dtype=np.float32, output_activation="identity"),
    "linear": lambda: make_model([2, 2], output_activation="identity"),
    "numpy": lambda: make_model([2, 6, 4], backend="numpy"),
    "batch normalisation": lambda: make_model([2, 9, 2], 50, batch_norm=True),
    "a label": lambda: make_model([2, 5, 1], **LABELS),
    "labels": lambda: make_model([2, 5, 3], **LABELS),
    "two classes": lambda: make_classifier().fit(X, np.array(["yes", "no"])[y]),
    "two classes, float32": lambda: make_classifier().fit(X32, y),
    "three classes": lambda: make_classifier().fit(iris[:, :2], NAMES[species]),
    "classifier of labels": lambda: make_classifier().fit(X, Y),
    "ensemble of three classes": lambda: make_ensemble(iris[:, :2], species),
    "ensemble of two classes": lambda: make_ensemble(X, y),
    "ensemble of labels": lambda: make_ensemble(X, Y),
    "a subclass": lambda: Inverted([2, 3, 2], random_state=0),
    "logistic regression": lambda: make_theirs(LOGISTIC).fit(iris[:, :2], NAMES[species]),
    "tree": lambda: make_scaled_tree(max_depth=4).fit(X, y),
}


def responses(P, which):
    """Return the values of every response, by the probabilities (n, classes) and the class of interest."""
    ordered = np.sort(P, axis=1)
    margin = ordered[:, -1] - ordered[:, -2]
    return {"probability": P[:, which], "confidence": ordered[:, -1], "margin": margin}


@pytest.mark.parametrize("name", MODELS)
def test_pictures_are_predictions(name):
    model, size = MODELS[name](), (143, 107)
    view = IRIS if "three classes" in name or name == "logistic regression" else (XLIM, YLIM)
    rounding = 1e-5 if "float32" in name else 1e-12
    is_network = name not in ("numpy", "a subclass", "logistic regression", "tree")
    points = centres(*size, *view)
    points = points.astype(np.float32) if name == "two classes, float32" else points
    predicted, P = model.predict(points), model.predict_proba(points)
    n_labels = predicted.shape[1] if predicted.ndim == 2 else 0
    for k in range(max(n_labels, 1)):
        options = {"class_of_interest": k} if n_labels > 1 else {}
        scores, expected = P, predicted
        if n_labels:
            scores, expected = np.stack([1 - P[:, k], P[:, k]], axis=1), predicted[:, k]
        # Kernels round the means of an ensemble differently, and the reference may sum in another order.
        is_clear = responses(scores, 0)["margin"] > (
            rounding if "ensemble" in name or name == "numpy" else -1
        )
        for method in METHODS if is_network else ("dense",):
            image = render_boundary(model, *view, size, method=method, **options)
            assert image.stats.method == method
            assert (image.stats.points_filled > 0) == (method == "certified")
            np.testing.assert_array_equal(labels(image).ravel()[is_clear], expected[is_clear])
        for which, label in enumerate(image.classes):
            for response, values in responses(scores, which).items():
                if response == "probability" and n_labels < 2:
                    options = {"class_of_interest": label}
                elif n_labels < 2:
                    options = {}
                elif which == 0:
                    continue  # the probability of a label is that it is there
                image = render_boundary(model, *view, size, response=response, **options)
                np.testing.assert_allclose(image.data.ravel(), values, atol=20 * rounding)
                assert image.classes is None
                assert image.data.dtype == (
                    getattr(model, "dtype", image.data.dtype) if is_network else float
                )


def test_both_backends_paint_the_same():
    models = [fastnn.Model([2, 8, 3], random_state=0, backend=backend) for backend in ("numba", "numpy")]
    kernels, numpy = (render_boundary(model, XLIM, YLIM, (150, 97)) for model in models)
    assert (kernels.data != numpy.data).sum() <= 1
    assert kernels.stats.reason == "the picture has few pixels"
    assert numpy.stats.reason == "the model's backend is 'numpy'"
    with pytest.raises(ValueError, match="'certified' fills areas .*, but the model's backend is 'numpy'"):
        render_boundary(models[1], XLIM, YLIM, 5, method="certified")


@pytest.mark.parametrize(("n_classes", "dtype"), [(256, np.uint8), (257, np.uint16)])
def test_many_classes_need_wider_integers(n_classes, dtype):
    model = fastnn.Model([2, n_classes], random_state=0, output_activation="identity")
    model.W[0][:, -1] *= 10  # the last class wins somewhere
    for method in METHODS:
        data = picture(model, (64, 64), method=method)
        assert (data.dtype, data.max()) == (dtype, n_classes - 1)
        np.testing.assert_array_equal(data.ravel(), model.predict(centres(64, 64)))


def test_an_overflow_of_one_label_leaves_the_others():
    model = make_model([2, 4, 2], activation="relu", dtype=np.float32, **LABELS)
    model.b[0][...] = 1
    model.W[1][:, 0] = np.finfo(np.float32).max  # the sum overflows
    with pytest.warns(RuntimeWarning, match="scores are too large for float32"):
        expected = model.predict(centres(80, 50)).reshape(50, 80, 2)
    assert expected[..., 0].all()
    for k in range(2):
        for method in METHODS:
            data = picture(model, class_of_interest=k, method=method)
            np.testing.assert_array_equal(data, expected[..., k])


def test_probabilities_need_classes_from_the_model_or_the_caller():
    class Estimator:
        def predict_proba(self, points):
            return np.tile([0.25, 0.75], (len(points), 1))

    image = picture(Estimator(), response="probability", classes=["a", "b"], class_of_interest="a")
    assert (image == 0.25).all()
    with pytest.raises(ValueError, match="'probability' needs classes_ of the model, or classes="):
        picture(Estimator(), response="probability")


@pytest.mark.parametrize("names", [["b", "a"], np.array([7, -3]), [True, False], [2.0, 1.0]])
@pytest.mark.parametrize("size", [(80, 50), (500, 300)], ids=["a call", "several calls"])
def test_classes_of_other_estimators_and_functions_are_sorted(names, size):
    estimator = make_scaled_tree(random_state=0).fit(X, np.array(names)[y])
    expected = estimator.predict(centres(*size)).reshape(size[::-1])
    for options in ({}, {"classes": names}):
        for model in (estimator, estimator.predict):
            image = render_boundary(model, XLIM, YLIM, size, **options)
            np.testing.assert_array_equal(labels(image), expected)
            assert (image.classes.tolist(), image.data.dtype) == (sorted(names), np.uint8)
            assert (image.stats.method, image.stats.n_threads) == ("dense", 1)
            assert image.stats.points_evaluated == expected.size


def test_classes_may_first_occur_late_and_be_longer_strings_or_floats():
    def predict(points):  # the model predicts for some points at a time: the first calls give one label
        return np.where(points[:, 1] < 0.9, "no", "certainly")

    image = render_boundary(predict, XLIM, (-1, 1), (500, 300))
    assert image.classes.tolist() == ["certainly", "no"]
    np.testing.assert_array_equal(labels(image).ravel(), predict(centres(500, 300, XLIM, (-1, 1))))
    image = render_boundary(lambda points: np.floor(points[:, 0]), (0, 300), YLIM, (300, 2))
    assert (image.classes.tolist(), image.data.dtype) == (list(range(300)), np.uint16)
    np.testing.assert_array_equal(image.data, [range(300)] * 2)


@pytest.mark.parametrize("response", ["class", "confidence", "margin"])
@pytest.mark.parametrize("kind", [make_classifier, lambda: make_theirs("dummy.DummyClassifier")])
def test_a_classifier_of_one_class_has_an_even_picture(kind, response):
    image = render_boundary(kind().fit(X, np.full(200, "only")), XLIM, YLIM, (10, 10), response=response)
    # Without a second class, the margin is the probability 1.
    assert (image.data == (response != "class")).all()
    assert response != "class" or image.classes.tolist() == ["only"]


def check_close(data, P):
    """Assert that pixels have the class of the highest probability wherever it is clearly the highest."""
    ordered = np.sort(P, axis=1)
    is_clear = ordered[:, -1] - ordered[:, -2] > 1e-10
    assert is_clear.mean() > 0.99
    np.testing.assert_array_equal(data.ravel()[is_clear], P.argmax(axis=1)[is_clear])


# Two features of four, and the values of the others.
@pytest.mark.parametrize(
    ("features", "fill"), [((2, 0), [5.8, 3.1, 3.8, 1.2]), ((3, 2), 0.5), ((1, 3), [1.0, 2.0, 3.0, 4.0])]
)
def test_other_features_are_held_fixed(features, fill):
    view = (0.0, 8.0), (0.0, 5.0), (90, 71)
    table = np.tile(np.broadcast_to(np.asarray(fill, float), 4), (90 * 71, 1))
    table[:, list(features)] = centres(90, 71, *view[:2])
    options = {"features": features, "fill": fill}
    model = fastnn.Model([4, 6, 3], random_state=0)
    model.train(iris, species, num_passes=300, epsilon=1e-3)
    for each in (model, make_classifier().fit(iris, species), make_ensemble(iris, species)):
        for method in METHODS:
            image = render_boundary(each, *view, method=method, **options)
            check_close(image.data, each.predict_proba(table))
        P = render_boundary(each, *view, response="confidence", **options).data
        np.testing.assert_allclose(P.ravel(), each.predict_proba(table).max(axis=1), atol=1e-10)
    tree = make_scaled_tree().fit(iris, species)
    data = render_boundary(tree, *view, **options).data
    np.testing.assert_array_equal(data.ravel(), tree.predict(table))
    if np.ndim(fill):
        data = render_boundary(lambda points: points.argmax(axis=1), *view, classes=range(4), **options).data
        np.testing.assert_array_equal(data.ravel(), table.argmax(axis=1))


def test_swapped_features_transpose_the_picture(trained):
    data = render_boundary(trained, YLIM, XLIM, (50, 80), features=(1, 0)).data
    np.testing.assert_array_equal(data.T, picture(trained))
    P = trained.predict_proba(centres(80, 50))[:, 1].reshape(50, 80)
    np.testing.assert_allclose(picture(trained, response="probability"), P, rtol=1e-12)  # of the second class
