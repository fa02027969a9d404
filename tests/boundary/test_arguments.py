"""Arguments of `render_boundary`: which are refused, and which unusual ones are not."""

import re
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from extras import optional
from matplotlib.figure import Figure
from processes import PATIENCE
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from views import XLIM, YLIM, X, centres, iris, labels, make_classifier, picture, species, y

import fastnn
from fastnn import render_boundary

pd = optional("pandas")

MODEL = fastnn.Model([2, 3, 2], random_state=0)
LIMITS = (-2, 3), (-1.5, 2)


SAMPLES = {
    "array": X,
    "list": X.tolist(),
    "frame": pytest.param(pd and pd.DataFrame(X, columns=["a", "b"]), marks=pytest.mark.needs("pandas")),
}
CALLS = {
    "plot_decision_boundary(model, X, y)": lambda X: fastnn.plot_decision_boundary(X, y, MODEL),
    "render_boundary(model, xlim, ylim)": lambda X: fastnn.render_boundary(X, y, MODEL),
    "boundary_lines(model, xlim, ylim)": lambda X: fastnn.boundary_lines(X, *LIMITS),
    "boundary_array(model, xlim, ylim)": lambda X: fastnn.boundary_array(X, y, MODEL),
    "animate_training(model, X, y)": lambda X: fastnn.animate_training(X, y, MODEL),
}


@pytest.mark.parametrize("samples", SAMPLES.values(), ids=SAMPLES)
@pytest.mark.parametrize("usage", CALLS)
@pytest.mark.needs("dask")
def test_the_model_comes_first(usage, samples):
    with pytest.raises(TypeError, match=re.escape(f"the model comes first: {usage}")) as caught:
        CALLS[usage](samples)
    assert len(str(caught.value)) < 200, "the message does not hold the samples"


class Zero:
    """A classifier, of which the class itself is not a model."""

    def predict(self, points):
        return np.zeros(len(points), np.int64)


def test_other_objects_are_not_models():
    assert not picture(Zero()).any()
    for given in (None, 7, "model", {"model": MODEL}):
        with pytest.raises(TypeError, match="model must be a fastnn.Model, have predict or be callable, got"):
            picture(given)
    with pytest.raises(TypeError, match="model must be an instance with predict, or a function, got <class"):
        picture(Zero)


class Predictor(BaseEstimator, ClassifierMixin):
    """A classifier that predicts by a function, its parameter `result`."""

    def __init__(self, result=None):
        self.result = result

    def predict(self, points):
        return self.result(points)

    def __sklearn_is_fitted__(self):
        return True


def repeat(value):
    return lambda points: np.full(len(points), value)


REGRESSOR = fastnn.MLPRegressor()
REGRESSOR.n_features_in_ = 2  # the only fitted attribute that is read before it is refused
LABELS = fastnn.Model([2, 3], loss="sigmoid_binary_cross_entropy")
LOGISTIC, FLOWERS = LogisticRegression().fit(X, y), LogisticRegression().fit(iris[:, :2], species)
PROBABILITY = {"response": "probability"}


def is_right(points):
    return points[:, 0] > 0


UNSUITABLE = [
    (fastnn.Model([3, 2]), {}, "3 inputs, but a picture shows two: choose"),
    (fastnn.Model([1, 2]), {}, "a picture needs"),
    (fastnn.Model([3, 2]), {"fill": [0, np.nan, np.inf]}, "fill must hold finite"),
    (fastnn.Model([2, 2], loss="squared_error"), {}, "the model is a regression"),
    (REGRESSOR, {}, "the model is a regressor"),
    (LinearRegression().fit(X, y), {}, "the model is a regressor"),
    (fastnn.MLPClassifier(), {}, "not fitted"),
    (fastnn.MLPEnsembleClassifier(), {}, "not fitted"),
    (LOGISTIC, {"method": "certified"}, "not a network"),
    (DecisionTreeClassifier().fit(iris, species), {}, "the model has 4 inputs"),
    (DecisionTreeClassifier().fit(X, np.stack([y, y], axis=1)), {}, "the model predicts several outputs"),
    (lambda points: points, {}, "one class per point, got shape (25, 2) for 25"),
    (lambda points: y, {}, "one class per point, got shape (200,) for 25"),
    (lambda points: points[:, 0], {}, "predicts numbers that are not classes"),
    (repeat(np.nan), {}, "that are not classes, such as nan"),
    (repeat(np.datetime64("NaT", "s")), {}, "the model predicts values that are not classes, such as NaT"),
    (lambda points: np.ma.masked_less(points[:, 0], 0), {}, "masked values"),
    (lambda points: np.array([None, "a"], object)[np.arange(25) % 2], {}, "classes that cannot be sorted"),
    (lambda points: np.fromiter([("a", 1)] * 25, object), {}, "classes of several values, such as ('a', 1)"),
    (is_right, {"classes": [0, np.nan]}, "NaN is not a label"),
    (is_right, {"classes": []}, "classes"),
    (repeat(3), {"classes": [1, 2]}, "the model predicts 3, which is none of the classes [1, 2]"),
    (repeat("c"), {"classes": ["a", "b"]}, "which is none of the classes ['a', 'b']"),
    (repeat(0), {"out": np.empty((5, 5))}, "name them with classes="),
    (abs, {"response": "margin"}, "response 'margin' needs predict_proba, or a decision_function with a"),
    (Predictor(len), PROBABILITY, "needs predict_proba"),
    (FLOWERS, PROBABILITY, "response 'probability' is of one class: name it"),
    (LOGISTIC, PROBABILITY | {"class_of_interest": "a"}, "class_of_interest must be one of ["),
    (LABELS, {}, "each of 3 labels independently: choose one, class_of_interest=0 to 2, got None"),
    (LABELS, {"class_of_interest": True}, "class_of_interest=0 to 2, got True"),
    (lambda points: points[:, 3] > 0, {"features": (2, 3), "fill": 1.0}, "fill must hold a number for every"),
]


@pytest.mark.parametrize(("model", "options", "message"), UNSUITABLE)
def test_unsuitable_models_are_refused(model, options, message):
    with pytest.raises(NotFittedError if message == "not fitted" else ValueError, match=re.escape(message)):
        picture(model, (5, 5), **options)


def test_a_function_that_is_rendered_may_itself_render_and_train():
    model = fastnn.Model([2, 3, 2], random_state=0)

    def predict(points):
        model.train(X, y, num_passes=2)
        return picture(model, 4).ravel()[:1].repeat(len(points))

    done = threading.Event()
    worker = threading.Thread(target=lambda: (picture(predict, 8, n_threads=1), done.set()), daemon=True)
    worker.start()
    worker.join(PATIENCE)
    assert done.is_set()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((XLIM, YLIM, 0), "size must be an integer of at least 1"),
        ((XLIM, YLIM, (0, 5)), "width must be an integer of at least 1"),
        ((XLIM, YLIM, (10, 2.5)), "height must be an integer"),
        ((XLIM, YLIM, 0.02), "size must be (width, height) in pixels, or one integer, got 0.02"),
        ((XLIM, YLIM, (1, 2, 3)), "size must be (width, height) in pixels"),
        (((1, 1), YLIM, 5), "xlim must be two finite numbers, the lower first, got (1, 1)"),
        ((XLIM, (2, 1), 5), "ylim must be two finite numbers, the lower first"),
        (((0, np.inf), YLIM, 5), "xlim must be two finite numbers"),
        (((-1e308, 1e308), YLIM, 5), "xlim must be two finite numbers whose difference is finite"),
        (((0, 5e-324), YLIM, (5, 5)), "xlim must be two finite numbers"),
        (("ab", YLIM, 5), "xlim must be two finite numbers"),
        (((1, 2, 3), YLIM, 5), "xlim must be two finite numbers"),
    ],
)
@pytest.mark.needs("dask")
def test_wrong_views_are_refused(arguments, message):
    for call in (render_boundary, fastnn.boundary_array):
        with pytest.raises(ValueError, match=re.escape(message)):
            call(MODEL, *arguments)


@pytest.mark.parametrize(
    ("size", "shape", "view"),
    [
        (80, (56, 80), LIMITS),
        (np.int32(80), (80, 56), LIMITS[::-1]),
        (80, (80, 80), ((0, 1), (5, 6))),
        (80, (10, 80), ((0, 8), (0, 1))),
        (80, (80, 10), ((0, 1e-6), (0, 1e6))),  # the longer side is at most 8 times the shorter one
        *((size, (1, size), ((0, 100), (0, 1))) for size in (1, 2, 3)),
        ((3, 7), (7, 3), ((0, 1e6), (0, 1))),
        (1024, (717, 1024), LIMITS),
    ],
    ids=str,
)
@pytest.mark.needs("dask")
def test_one_number_is_the_longer_side(size, shape, view):
    assert render_boundary(MODEL, *view, size).data.shape == shape
    assert fastnn.boundary_array(MODEL, *view, size).shape == shape
    assert size != 1024 or render_boundary(MODEL, *view).data.shape == shape  # by default


def test_a_plot_has_the_proportion_of_its_axes():
    figure = Figure(figsize=(6, 3))
    # The size does not depend on the units of the data.
    for width, scale, shape in ((1, 1, (25, 50)), (0.5, 1e5, (50, 50))):
        ax = figure.add_axes((0, 0, width, 1))
        fastnn.plot_decision_boundary(MODEL, X * [1, scale], y, ax=ax, resolution=50)
        assert ax.images[0].get_array().shape[:2] == shape


def test_pictures_that_exceed_memory_are_refused(tmp_path, monkeypatch):
    with pytest.raises(MemoryError, match='takes 1,000,000,000,000 bytes.*out="boundary.png".*numpy.memmap'):
        picture(MODEL, (10**6, 10**6))
    with pytest.raises(MemoryError, match="takes 8,000,000,000,000 bytes"):
        picture(MODEL, (10**6, 10**6), response="margin")
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=10**9))
    size, out = (2**31 - 1, 5), tmp_path / "a.png"
    with pytest.raises(MemoryError, match="strips that take 12,884,901,882 bytes.*write it to .zarr or .dzi"):
        picture(lambda points: points[:, 0] > 0, size, out=out, classes=[0, 1])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_threads": 0}, "n_threads must be an integer of at least 1"),
        ({"progress": 2}, "progress must be"),
        ({"method": "exact"}, "method must be one of"),
        ({"response": "entropy"}, "response must be one of"),
        ({"response": "margin", "method": "certified"}, "response 'margin' differs from pixel to pixel"),
        ({"features": (0, 0)}, "features must be two different features"),
        ({"features": (0, 2)}, "features must be two numbers from 0 to 1, got (0, 2)"),
        ({"features": (0, True)}, "features must be two numbers from 0 to 1"),
        ({"features": ("a", "b")}, "features must be two numbers from 0 to 1"),
        ({"fill": "x"}, "fill must be a number or 2 numbers, one per feature, got 'x'"),
        ({"fill": [[1], [2, 3]]}, "fill must be a number or 2 numbers"),
        ({"fill": [1, "u"]}, "fill must hold numbers, got 'u' for feature 1: in a picture, all features are"),
        ({"classes": [0, 2]}, "classes are [0, 1], the model's own: leave the argument out"),
        (PROBABILITY | {"class_of_interest": 7}, "class_of_interest must be one of [0, 1], got 7"),
        (PROBABILITY | {"class_of_interest": [0, 9, 9]}, "one of [0, 1], got [0, 9, 9]"),
        ({"out": np.empty((3, 3), np.uint8)}, "out must be an array of shape (5, 5)"),
    ],
)
def test_wrong_options_are_refused(trained, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        picture(trained, (5, 5), **options)


@pytest.mark.parametrize("response", ["class", "confidence", "margin"])
def test_a_class_of_interest_needs_the_response_probability(response):
    message = re.escape(
        f"class_of_interest is the class that a probability is of, and response is {response!r}: leave "
        "class_of_interest=1 out, or choose response='probability'"
    )
    options = {"response": response, "class_of_interest": 1}
    for call in (picture, lambda model, **options: fastnn.plot_decision_boundary(model, X, y, **options)):
        for model in (MODEL, LOGISTIC):
            with pytest.raises(ValueError, match=message):
                call(model, **options)


@pytest.mark.parametrize("response", ["class", "probability"])
def test_classes_may_be_those_that_the_model_knows(response):
    tree = DecisionTreeClassifier(max_depth=3).fit(X, y)
    data = picture(tree, response=response, classes=[1, 0])
    np.testing.assert_array_equal(data, picture(tree, response=response))


def test_classes_keep_the_order_of_the_model():
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


@pytest.mark.parametrize(
    "values",
    [np.array(["2020-01-01", "2021-01-01"], "datetime64[ns]"), np.array([2**63 + 1, 2**63 + 3], np.uint64)],
)
def test_classes_keep_their_dtype(values):
    image = render_boundary(lambda points: values[is_right(points).astype(int)], XLIM, YLIM, (5, 5))
    assert image.classes.dtype == values.dtype
    np.testing.assert_array_equal(image.classes, values)


@pytest.mark.needs("pandas")
def test_fill_may_give_values_by_the_names_of_features():
    X, y = load_iris(return_X_y=True, as_frame=True)
    for model in (LogisticRegression(max_iter=500), fastnn.MLPClassifier((4,), random_state=0, tol=1.0)):
        model.fit(X, y)
        view = {"xlim": (0, 8), "ylim": (-1, 4), "size": 40, "features": tuple(X.columns[2:])}
        expected = render_boundary(model, fill=X.mean().to_numpy(), **view).data
        for fill in (X.mean(), X.mean().sort_index(), dict(X.mean()), dict(X.mean()[:2])):
            np.testing.assert_array_equal(render_boundary(model, fill=fill, **view).data, expected)
        first, second = X.columns[:2]
        for fill, message in (
            ({second: 1.0}, r"fill must have a value for every feature .* none for .'sepal len"),
            ({"a": 1.0, second: 1.0}, r"none for .'sepal length \(cm\)'.; unknown are .'a'."),
            ({"a": 5, **X.mean()}, "fill has values for .'a'., but the model's features are"),
            ({first: 1.0, second: "u"}, "fill must hold numbers, got 'u' for feature 'sepal width"),
        ):
            with pytest.raises(ValueError, match=message):
                render_boundary(model, fill=fill, **view)


@pytest.mark.needs("pandas")
def test_unknown_names_of_features_are_refused():
    model = make_classifier().fit(pd.DataFrame(iris, columns=list("abcd")), species)
    with pytest.raises(ValueError, match="or names of .'a', 'b', 'c', 'd'., got"):
        picture(model, features=("a", "x"), fill=0)
