"""Arguments of `render_boundary`: which are refused, and which unusual ones are not."""

import re
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from extras import optional
from processes import PATIENCE
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from strategies import DTYPES
from views import XLIM, YLIM, X, centres, iris, labels, of_iris, picture, species, y

import fastnn
from fastnn.boundary.render import render_boundary
from fastnn.system import threads

pd = optional("pandas")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((XLIM, YLIM, 0), "size must be an integer of at least 1"),
        ((XLIM, YLIM, (0, 5)), "width must be an integer of at least 1"),
        ((XLIM, YLIM, (10, -1)), "height must be an integer of at least 1"),
        ((XLIM, YLIM, (10, 2.5)), "height must be an integer"),
        ((XLIM, YLIM, 0.02), "size must be (width, height) in pixels, or one integer, got 0.02"),
        ((XLIM, YLIM, (1, 2, 3)), "size must be (width, height) in pixels"),
        ((XLIM, YLIM, None), "size must be (width, height) in pixels"),
        (((1, 1), YLIM, 5), "xlim must be two finite numbers, the lower first, got (1, 1)"),
        ((XLIM, (2, 1), 5), "ylim must be two finite numbers, the lower first"),
        (((0, np.inf), YLIM, 5), "xlim must be two finite numbers"),
        (((np.nan, 1), YLIM, 5), "xlim must be two finite numbers"),
        (
            ((-1e308, 1e308), YLIM, 5),
            "xlim must be two finite numbers whose difference, divided by 1, is finite",
        ),
        (((0, 5e-324), YLIM, (5, 5)), "xlim must be two finite numbers"),
        (("ab", YLIM, 5), "xlim must be two finite numbers"),
        ((3, YLIM, 5), "xlim must be two finite numbers"),
        (((1, 2, 3), YLIM, 5), "xlim must be two finite numbers"),
    ],
)
def test_wrong_views_are_refused(trained, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        render_boundary(trained, *arguments)


WRONG_OPTIONS = [
    ({"n_threads": 0}, "n_threads must be an integer of at least 1"),
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
    ({"fill": "x"}, "fill must be a number or 2 numbers, one per feature, got 'x'"),
    ({"fill": [1, 2, 3]}, "fill must be a number or 2 numbers"),
    ({"fill": [[1], [2, 3]]}, "fill must be a number or 2 numbers"),
    ({"fill": [1, "u"]}, "fill must hold numbers, got 'u' for feature 1: in a picture, all features are"),
    ({"classes": [0, 2]}, "classes are [0, 1], the model's own"),
    ({"class_of_interest": 1}, "class_of_interest is the class that a probability is of"),
    ({"response": "probability", "class_of_interest": 7}, "class_of_interest must be one of [0, 1], got 7"),
    (
        {"response": "probability", "class_of_interest": [0, 9, 9]},
        "class_of_interest must be one of [0, 1], got [0, 9, 9]",
    ),
    ({"response": "probability", "class_of_interest": [0, 9]}, "class_of_interest must be one of [0, 1]"),
    ({"out": "picture.gif"}, "picture.gif must end in one of .png"),
    ({"out": np.empty((3, 3), np.uint8)}, "out must be an array of shape (5, 5)"),
    ({"out": np.empty((5, 5), bool)}, "out must have a dtype that holds 2 classes"),
]


@pytest.mark.parametrize(("options", "message"), WRONG_OPTIONS)
def test_wrong_options_are_refused(trained, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        render_boundary(trained, XLIM, YLIM, (5, 5), **options)


@pytest.mark.parametrize("response", ["class", "confidence", "margin"])
def test_a_class_of_interest_needs_the_response_probability(trained, tmp_path, response):
    message = re.escape(
        f"class_of_interest is the class that a probability is of, and response is {response!r}: leave "
        "class_of_interest=1 out, or choose response='probability'"
    )
    options = {"response": response, "class_of_interest": 1}
    for model in (trained, DecisionTreeClassifier(max_depth=3).fit(X, y)):
        with pytest.raises(ValueError, match=message):
            render_boundary(model, XLIM, YLIM, (5, 5), **options)
        with pytest.raises(ValueError, match=message):
            fastnn.plot_decision_boundary(model, X, y, **options)
        with pytest.raises(ValueError, match=message):
            fastnn.animate_training([model], X, y, tmp_path / "a.gif", **options)


@pytest.mark.parametrize("response", ["class", "confidence", "margin"])
def test_a_label_is_of_every_response(response):
    Y = np.stack([X[:, 0] > 0.5, y == 1], axis=1).astype(int)
    model = fastnn.Model([2, 3, 2], loss="sigmoid_binary_cross_entropy", random_state=0)
    model.train(X, Y, 100)
    options = {"response": response}
    first, second = (render_boundary(model, XLIM, YLIM, 9, class_of_interest=k, **options) for k in (0, 1))
    assert (first.data != second.data).any()


@pytest.mark.parametrize("response", ["class", "probability"])
def test_classes_must_be_those_that_the_model_knows(response):
    tree = DecisionTreeClassifier(max_depth=3).fit(X, y)
    with pytest.raises(ValueError, match=r"classes are \[0, 1\], the model's own: leave the argument out"):
        render_boundary(tree, XLIM, YLIM, (5, 5), response=response, classes=[0, 2])
    image = render_boundary(tree, XLIM, YLIM, (5, 5), response=response, classes=[1, 0])
    np.testing.assert_array_equal(
        image.data, render_boundary(tree, XLIM, YLIM, (5, 5), response=response).data
    )


def test_a_python_class_is_no_model():
    class Zero:
        def predict(self, points):
            return np.zeros(len(points), np.int64)

    assert not render_boundary(Zero(), XLIM, YLIM, (5, 5)).data.any()
    with pytest.raises(TypeError, match="model must be an instance with predict, or a function, got <class"):
        render_boundary(Zero, XLIM, YLIM, (5, 5))


def test_fill_tells_the_number_of_features_of_a_function():
    with pytest.raises(ValueError, match="fill must hold a number for every feature"):
        render_boundary(lambda points: points[:, 3] > 0, XLIM, YLIM, (5, 5), features=(2, 3), fill=1.0)
    image = render_boundary(
        lambda points: points[:, 3] > 0, XLIM, YLIM, (5, 5), features=(2, 3), fill=[1, 1, 0, 0]
    )
    assert image.classes.tolist() == [False, True]


@pytest.mark.needs("pandas")
def test_fill_may_give_values_by_the_names_of_features():
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
            ValueError, match=r"fill must have a value for every feature .* none for .'sepal len"
        ):
            render_boundary(model, fill={X.columns[1]: 1.0}, **view)
        with pytest.raises(ValueError, match=r"none for .'sepal length \(cm\)'.; unknown are .'a'."):
            render_boundary(model, fill={"a": 1.0, X.columns[1]: 1.0}, **view)
        with pytest.raises(ValueError, match="fill has values for .'a'., but the model's features are"):
            render_boundary(model, fill={"a": 5, **X.mean()}, **view)
        with pytest.raises(ValueError, match="fill must hold numbers, got 'u' for feature 'sepal width"):
            render_boundary(model, fill={X.columns[0]: 1.0, X.columns[1]: "u"}, **view)


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
    low, high = 5.14e-42, 5.149e-42  # the range has few subnormal numbers, and many pixels share each
    # The score is w x - w y. Rounding leaves a remainder where x equals y.
    for threshold in np.linspace(-4e-11, 4e-11, 41):
        model.b[0][...] = [[0, threshold]]
        view = (low, high), (low, high), 35
        dense, certified = (render_boundary(model, *view, method=m).data for m in ("dense", "certified"))
        np.testing.assert_array_equal(certified, dense)


@pytest.mark.parametrize("method", ["dense", "certified"])
def test_out_may_be_an_array_that_is_not_aligned(tmp_path, method):
    model = fastnn.Model([2, 3, 300], random_state=0, output_activation="identity")
    expected = render_boundary(model, XLIM, YLIM, (300, 200), method=method).data
    assert expected.dtype == np.uint16
    out = np.memmap(tmp_path / "picture", np.uint16, "w+", offset=101, shape=(200, 300))
    assert not out.flags.aligned
    render_boundary(model, XLIM, YLIM, (300, 200), out=out, method=method)
    np.testing.assert_array_equal(out, expected)


def test_a_function_that_is_rendered_may_itself_render_and_train(monkeypatch):
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
    worker.join(PATIENCE)
    assert done.is_set()


def test_a_picture_whose_strips_exceed_memory_is_refused(tmp_path, monkeypatch):
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


def test_masked_and_unsortable_classes_are_refused():
    with pytest.raises(ValueError, match="masked values"):
        render_boundary(lambda points: np.ma.masked_less(points[:, 0], 0), XLIM, YLIM, (5, 5))
    with pytest.raises(ValueError, match="classes that cannot be sorted"):
        render_boundary(lambda points: np.array([None, "a"], object)[np.arange(25) % 2], XLIM, YLIM, (5, 5))


def test_classes_keep_their_dtype():
    days = np.array(["2020-01-01", "2021-01-01"], "datetime64[ns]")
    image = render_boundary(lambda points: days[(points[:, 0] > 0).astype(int)], XLIM, YLIM, (5, 5))
    assert image.classes.dtype == days.dtype
    large = np.array([2**63 + 1, 2**63 + 3], np.uint64)
    image = render_boundary(lambda points: large[(points[:, 0] > 0).astype(int)], XLIM, YLIM, (5, 5))
    np.testing.assert_array_equal(image.classes, large)


class Predictor(BaseEstimator, ClassifierMixin):
    """A classifier that predicts by a function, its parameter `result`."""

    def __init__(self, result=None):
        self.result = result

    def predict(self, points):
        return self.result(points)

    def __sklearn_is_fitted__(self):
        return True


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


def fitted_regressor():
    """Return a regressor with the only fitted attribute that is read before it is refused."""
    regressor = fastnn.MLPRegressor()
    regressor.n_features_in_ = 2
    return regressor


@pytest.mark.parametrize(
    ("make", "options", "error", "message"),
    [
        (lambda: fastnn.Model([3, 2]), {}, ValueError, "3 inputs, but a picture shows two: choose"),
        (lambda: fastnn.Model([1, 2]), {}, ValueError, "a picture needs"),
        (lambda: fastnn.Model([3, 2]), {"fill": [0, np.nan, np.inf]}, ValueError, "fill must hold finite"),
        (lambda: fastnn.Model([2, 2], loss="squared_error"), {}, ValueError, "the model is a regression"),
        (fitted_regressor, {}, ValueError, "the model is a regressor"),
        (lambda: LinearRegression().fit(X, y), {}, ValueError, "the model is a regressor"),
        (lambda: fastnn.MLPClassifier(), {}, NotFittedError, "not fitted"),
        (lambda: LogisticRegression(), {}, NotFittedError, "not fitted"),
        (lambda: fastnn.MLPEnsembleClassifier(), {}, NotFittedError, "not fitted"),
        (lambda: 7, {}, TypeError, "have predict or be callable, got 7"),
        (lambda: LogisticRegression().fit(X, y), {"method": "certified"}, ValueError, "only with networks"),
        (lambda: DecisionTreeClassifier().fit(iris, species), {}, ValueError, "the model has 4 inputs"),
        (
            lambda: DecisionTreeClassifier().fit(X, np.stack([y, 1 - y], axis=1)), {}, ValueError,
            "the model predicts several outputs",
        ),
        (lambda: lambda points: points, {}, ValueError, "for 25 points it gave shape (25, 2)"),
        (lambda: lambda points: y, {}, ValueError, "for 25 points it gave shape (200,)"),
        (lambda: lambda points: points[:, 0], {}, ValueError, "predicts numbers that are not classes"),
        (lambda: lambda points: points[:, 0] * np.nan, {}, ValueError, "that are not classes, such as nan"),
        (
            lambda: lambda points: np.full(len(points), np.datetime64("NaT", "s")), {}, ValueError,
            "the model predicts values that are not classes, such as NaT",
        ),
        (lambda: lambda points: points[:, 0] > 0, {"classes": [0, np.nan]}, ValueError, "NaN is not a label"),
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
            "each of 3 labels independently: choose one, class_of_interest=0 to 2, got None",
        ),
        (
            lambda: fastnn.Model([2, 3], loss="sigmoid_binary_cross_entropy"), {"class_of_interest": 3},
            ValueError, "choose one, class_of_interest=0 to 2, got 3",
        ),
    ],
)  # fmt: skip
def test_unsuitable_models_are_refused(make, options, error, message):
    with pytest.raises(error, match=re.escape(message)):
        render_boundary(make(), XLIM, YLIM, (5, 5), **options)


@pytest.mark.needs("pandas")
def test_unknown_names_of_features_are_refused():
    model = of_iris().fit(pd.DataFrame(iris, columns=list("abcd")), species)
    with pytest.raises(ValueError, match="or names of .'a', 'b', 'c', 'd'., got"):
        render_boundary(model, XLIM, YLIM, (5, 5), features=("a", "x"), fill=0)


def test_a_picture_larger_than_memory_is_refused(trained):
    with pytest.raises(MemoryError, match='takes 1,000,000,000,000 bytes.*out="boundary.png".*numpy.memmap'):
        render_boundary(trained, XLIM, YLIM, (10**6, 10**6))
    with pytest.raises(MemoryError, match="takes 8,000,000,000,000 bytes"):
        render_boundary(trained, XLIM, YLIM, (10**6, 10**6), response="margin")
