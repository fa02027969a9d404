"""Odd arguments: they are refused by name, before anything has changed."""

import sys
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import StrOptions

import fastnn
from fastnn import optimizers
from fastnn.boundary.render import check_limits
from fastnn.boundary.sinks import FORMATS
from fastnn.system.validation import check_number, shown, sorted_classes, store_checked

X = np.random.RandomState(0).randn(40, 2)
Y = (X[:, 0] > 0).astype(int)
TOO_LARGE = 10**400
# Python refuses to print an integer with this many digits.
UNPRINTABLE = 10**5000


class Odd:
    """An object with a shape, and without a repr."""

    shape = (1, 2)

    def __repr__(self):
        raise RuntimeError("it has no repr")


# --- parameters that are set ---------------------------------------------------------------------------

GOOD = [np.zeros((2, 3)), np.zeros((3, 2))]
BAD_LAYERS = {
    "shape": (np.zeros((2, 2)), r"W\[1\] must have the shape \(3, 2\), got \(2, 2\)"),
    "text": (np.full((3, 2), "1"), r"W\[1\] must hold numbers, got dtype <U1"),
    "ragged": ([[1, 2], [3]], r"W\[1\] is not a rectangular table"),
    "complex": (np.ones((3, 2)) + 1j, r"W\[1\] is complex: pass W\[1\].real"),
    "None": ([[1, None]] * 3, r"W\[1\] must hold numbers, got None among them"),
    "objects": (np.full((3, 2), {}, object), r"W\[1\] must hold numbers, got {} at row 0, column 0"),
    "masked": (np.ma.masked_less(np.eye(3, 2), 1), r"W\[1\] has masked values: fill them"),
    "sparse": (scipy.sparse.eye_array(3, 2), r"W\[1\] is a sparse matrix: pass W\[1\].toarray\(\)"),
    "too large": ([[0, 0], [0, 1e39], [0, 0]], r"W\[1\] holds 1e\+39 at \(1, 1\), too large for float32"),
    "too large for float64": ([[0, TOO_LARGE]] * 3, r"W\[1\] holds numbers too large for float64"),
    "nothing": (None, r"W\[1\] must have the shape"),
}


@pytest.mark.parametrize("case", BAD_LAYERS)
def test_no_layer_is_written_if_one_is_refused(case):
    wrong, message = BAD_LAYERS[case]
    model = fastnn.Model([2, 3, 2], dtype=np.float32, random_state=0)
    before = model._parameters.copy()

    def whole():
        model.W = [GOOD[0], wrong]

    def item():
        model.W[1] = wrong

    def part():
        model.W[0:2] = [GOOD[0], wrong]

    for assign in (whole, item, part):
        with pytest.raises(ValueError, match=message):
            assign()
        np.testing.assert_array_equal(model._parameters, before)


@pytest.mark.parametrize("values", [None, 5, "ab", [GOOD[0]], np.zeros(2), {}])
def test_values_that_are_no_lists_of_arrays_are_refused(values):
    model = fastnn.Model([2, 3, 2], random_state=0)
    for name in ("W", "b"):
        with pytest.raises(ValueError, match=rf"{name}(\[0\])? ?(must|:)"):
            setattr(model, name, values)


def test_integers_booleans_lists_and_objects_are_accepted_as_weights():
    model = fastnn.Model([2, 3, 2], dtype=np.float32, random_state=0)
    for values in (
        np.eye(2, 3, dtype=int),
        np.eye(2, 3) > 0,
        np.eye(2, 3).tolist(),
        np.eye(2, 3).astype(object),
    ):
        model.W[0][...] = 7
        model.W[0] = values
        np.testing.assert_array_equal(model.W[0], np.eye(2, 3))
    model.W[0] = np.full((2, 3), np.nan)
    model.b = [np.full((1, 3), np.inf), np.zeros((1, 2))]
    with pytest.raises(ValueError, match="W or b holds NaN or infinity"):
        model.train(X, Y)


def test_bad_weights_of_estimators_are_refused():
    with pytest.warns(ConvergenceWarning):
        estimator = fastnn.MLPClassifier((3,), max_iter=1, random_state=0).fit(X, Y)
    before = [array.copy() for array in (*estimator.coefs_, *estimator.intercepts_)]
    good = [np.zeros((2, 3)), np.zeros((3, 1))]
    for name, values, message in (
        ("coefs_", [good[0], good[1] + 1j], r"coefs_\[1\] is complex"),
        ("coefs_", None, "coefs_ must be a list of 2 arrays"),
        ("intercepts_", [np.zeros(3), [None]], r"intercepts_\[1\] must hold numbers"),
        ("intercepts_", [np.zeros(3)], "intercepts_: 2 layers take 2 arrays, got 1"),
        ("intercepts_", [np.zeros((3, 1)), [0.0]], r"intercepts_\[0\] must have the shape \(3,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            setattr(estimator, name, values)
    for ours, theirs in zip((*estimator.coefs_, *estimator.intercepts_), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # An iterator is accepted, and so are rows as biases, as in Model.
    estimator.intercepts_ = (b for b in [[[1, 2, 3]], [4]])
    np.testing.assert_array_equal(estimator.intercepts_[0], [1, 2, 3])


def test_read_only_parameters_are_replaced():
    model = fastnn.Model([2, 3, 2], random_state=0)
    model._parameters.flags.writeable = False
    model.W = GOOD
    np.testing.assert_array_equal(model.W[1], GOOD[1])


# --- checked arguments are kept --------------------------------------------------------------------------


def test_arguments_are_stored_as_numbers_of_python():
    found = optimizers.LBFGS(maxcor=np.int8(10), ftol=np.float32(0.5), maxls=np.uint8(3), maxfun=np.int16(4))
    assert [type(value) for value in vars(found).values()] == [int, float, float, int, int]
    assert type(optimizers.Adam(betas=[np.float32(0.5), 0]).betas[0]) is float
    assert optimizers.Adam(betas=[0.5, 0]) == optimizers.Adam(betas=(0.5, 0.0))
    assert type(optimizers.Momentum(rate_in_velocity=np.True_).rate_in_velocity) is bool
    assert type(optimizers.Adagrad(lr_decay=2**64).lr_decay) is float
    assert type(fastnn.Huber(Fraction(1, 3)).delta) is float
    assert type(fastnn.SoftmaxCrossEntropy(np.float32(0.5)).label_smoothing) is float
    assert type(fastnn.Quantile(np.float32(0.5)).quantile) is float
    assert type(fastnn.MulticlassHinge(2).margin) is float
    stopping = fastnn.EarlyStopping(np.int8(5), np.float32(0.5))
    assert [type(stopping.patience), type(stopping.min_delta)] == [int, float]


@pytest.mark.parametrize(
    "optimizer",
    [
        fastnn.Adagrad(lr_decay=2**64), fastnn.LBFGS(maxls=2**62, maxfun=2**62), fastnn.LBFGS(maxcor=2**62),
        fastnn.LBFGS(maxcor=np.int8(10)),
    ],
    ids=str,
)  # fmt: skip
def test_very_large_limits_of_optimizers_are_accepted(optimizer):
    model = fastnn.Model([2, 3, 2], output_activation="identity", random_state=0)
    assert np.isfinite(model.train(X, Y, num_passes=3, optimizer=optimizer).loss).all()


# --- numbers in messages ---------------------------------------------------------------------------------


def test_values_in_messages_are_short():
    assert shown("a") == "'a'"
    assert len(shown(list(range(10**4)))) <= 1000
    assert shown(UNPRINTABLE) == "a int whose repr raises ValueError"
    assert shown(Odd()) == "a Odd whose repr raises RuntimeError"
    with pytest.raises(ValueError, match="it must be a finite number of at least 0, got a int"):
        check_number(UNPRINTABLE, "it", 0.0)


@pytest.mark.parametrize("value", [UNPRINTABLE, Odd()], ids=["integer", "object"])
def test_a_value_without_a_repr_is_refused_by_name(value):
    for kind, name in (
        (fastnn.Adam, "eps"), (fastnn.Huber, "delta"), (fastnn.StepDecay, "gamma"),
        (fastnn.EarlyStopping, "scorer"), (fastnn.CosineDecay, "restarts"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"{name} must be"):
            kind(**{name: value})
    for name in ("activation", "batch_norm", "dropout", "random_state", "loss", "backend"):
        with pytest.raises(ValueError, match=f"{name} must be"):
            fastnn.Model([2, 3, 2], **{name: value})


NUMBERS = ["alpha", "learning_rate_init", "tol", "power_t", "epsilon", "weight_decay", "max_grad_norm"]


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_estimators_must_fit_into_a_float(name):
    for value in (TOO_LARGE, UNPRINTABLE, Fraction(TOO_LARGE), np.longdouble("1e4000")):
        if np.longdouble is np.float64 or sys.float_info.max < value:
            with pytest.raises(ValueError, match=f"{name} must be a number that a float can hold, got"):
                fastnn.MLPClassifier((3,), **{name: value}).fit(X, Y)
    options = {"solver": "sgd", "learning_rate": "invscaling"} if name == "power_t" else {}
    for value in (Fraction(1, 3), np.float32(0.5), np.float16(0.5)):
        with pytest.warns(ConvergenceWarning):
            fastnn.MLPClassifier((3,), max_iter=1, **options, **{name: value}).fit(X, Y)


def test_fractions_are_accepted_as_numbers_of_estimators():
    third = Fraction(1, 3)
    options = {
        "momentum": third,
        "beta_1": third,
        "ema_decay": third,
        "dropout": third,
        "label_smoothing": third,
    }
    estimator = fastnn.MLPClassifier(
        (3,), max_iter=2, early_stopping=True, validation_fraction=third, random_state=0, **options
    )
    with pytest.warns(ConvergenceWarning):
        estimator.fit(X, Y)
    assert estimator.coefs_[0].dtype == np.float64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"hidden_layer_sizes": (None,)},
            r"hidden_layer_sizes must be an integer or a list .* got \(None,\)",
        ),
        ({"hidden_layer_sizes": (3, "a")}, r"hidden_layer_sizes must be .* got \(3, 'a'\)"),
        ({"hidden_layer_sizes": (2.5,)}, "hidden_layer_sizes must be"),
        ({"hidden_layer_sizes": np.zeros((2, 2), int)}, "hidden_layer_sizes must be"),
        ({"hidden_layer_sizes": np.ndarray}, "hidden_layer_sizes must be|hidden_layer_sizes' parameter"),
        ({"dropout": np.array(0.5)}, "'dropout' parameter"),
        ({"validation_fraction": 0.0, "early_stopping": True}, "validation_fraction=0.0: "),
        ({"learning_rate": int}, "learning_rate must be one of"),
        ({"scoring": lambda *_: None, "early_stopping": True}, "scoring must give a number, got None"),
    ],
)
def test_bad_parameters_of_estimators_are_refused_by_name(options, message):
    estimator = fastnn.MLPClassifier(**options)
    before = dict(vars(estimator))
    with pytest.raises(ValueError, match=message):
        estimator.fit(X, Y)
    if "scoring" not in options:
        assert vars(estimator) == before


def test_arrays_without_dimensions_are_numbers_or_refused():
    with pytest.warns(ConvergenceWarning):
        estimator = fastnn.MLPClassifier(np.array(3), max_iter=1).fit(X, Y)
    assert estimator.coefs_[0].shape == (2, 3)
    assert fastnn.Model([2, 3, 2], dropout=np.array(0.5))._network.dropout == (0.0, 0.5)
    with pytest.raises(TypeError, match="layers_dim must be a sequence of integers"):
        fastnn.Model(np.array(3))
    with pytest.raises(ValueError, match="dtype must be float32 or float64, got a int"):
        fastnn.Model([2, 2], dtype=UNPRINTABLE)


def test_networks_larger_than_memory_are_refused():
    for size in (2**31, TOO_LARGE):
        with pytest.raises(
            MemoryError, match=r"a network with the layers \[.* has parameters of .* bytes, and"
        ):
            fastnn.Model([size, size])
    estimator = fastnn.MLPClassifier((2**31, 2**31))
    with pytest.raises(MemoryError, match="choose|fewer or narrower layers"):
        estimator.fit(X, Y)
    assert not hasattr(estimator, "n_features_in_")
    model = fastnn.Model([2, 3, 2], random_state=0)
    for n_rows in (2**40, 2**62):
        with pytest.raises(MemoryError, match=f"n_rows: a table of {n_rows} samples takes"):
            model.predictor(n_rows)


def test_data_too_large_for_floats_are_refused():
    rows = [[0, TOO_LARGE]] * 40
    for kind in (fastnn.MLPClassifier, fastnn.MLPRegressor, fastnn.MLPEnsembleClassifier):
        with pytest.raises(ValueError, match="X or y holds a number too large for a float"):
            kind().fit(rows, Y)
        with pytest.raises(ValueError, match="sample_weight holds a number too large for a float"):
            kind().fit(X, Y, sample_weight=[TOO_LARGE] * 40)


# --- functions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("estimators", [None, 3, fastnn.MLPClassifier(), Odd()], ids=lambda _: "")
def test_fit_many_takes_a_list(estimators):
    with pytest.raises(ValueError, match="estimators must be a list of fastnn's estimators, got"):
        fastnn.fit_many(estimators, X, Y)


@pytest.mark.parametrize("samples", [np.ndarray, Odd(), Odd, int, None, object(), {}, "ab"], ids=lambda _: "")
def test_predictors_refuse_what_is_no_table(samples):
    for n_rows in (1, 3):
        with pytest.raises(ValueError, match="X must|X has"):
            fastnn.Model([2, 3, 2], random_state=0).predictor(n_rows)(samples)


def test_classes_must_be_labels_of_one_kind():
    np.testing.assert_array_equal(sorted_classes(["b", "a", "b"]), ["a", "b"])
    np.testing.assert_array_equal(sorted_classes(np.array(["b", "a"], object)), ["a", "b"])
    for classes in (
        [0, None],
        [None],
        {},
        object(),
        [[1], [1, 2]],
        np.ndarray,
        [np.datetime64("2020")],
        [0, np.nan],
    ):
        with pytest.raises(ValueError, match="classes must hold labels of one kind"):
            sorted_classes(classes)
        with pytest.raises(ValueError, match="classes must hold labels of one kind"):
            fastnn.render_boundary(lambda points: points[:, 0] > 0, (0, 1), (0, 1), 4, classes=classes)
    with pytest.raises(ValueError, match="classes must name at least one class"):
        sorted_classes([])


LIMITS = [(0, TOO_LARGE), (0, np.inf), ("0", "1"), (0, 1j), (1, 0), 5, None, (0, 1, 2), (0, Odd())]


@pytest.mark.parametrize("limits", LIMITS, ids=lambda _: "")
def test_limits_must_be_two_numbers(limits):
    with pytest.raises(ValueError, match="xlim must be two finite numbers, the lower first, got"):
        check_limits(limits, 10, "xlim")


@pytest.mark.parametrize(
    "fill", [TOO_LARGE, 1j, [0, 0, TOO_LARGE], [0, 0, None], "a", Odd()], ids=lambda _: ""
)
def test_fill_must_be_numbers(fill):
    model = fastnn.Model([3, 3, 2], random_state=0)
    with pytest.raises(ValueError, match="fill must"):
        fastnn.render_boundary(model, (0, 1), (0, 1), 4, fill=fill)


def test_fill_of_a_function_must_be_numbers():
    for fill in ([[1], [1, 2]], [0, 1j], {}, np.ndarray, [0, TOO_LARGE]):
        with pytest.raises(ValueError, match="fill"):
            fastnn.render_boundary(lambda points: points[:, 0] > 0, (0, 1), (0, 1), 4, fill=fill)


@pytest.mark.parametrize(
    "tolerance", [TOO_LARGE, 1j, (0.1, TOO_LARGE), np.longdouble("1e4000"), Odd()], ids=lambda _: ""
)
def test_tolerances_must_be_numbers(tolerance):
    with pytest.raises(ValueError, match="tolerance must be a number above 0, or two for x and y, got"):
        fastnn.boundary_lines(fastnn.Model([2, 3, 2]), (0, 1), (0, 1), tolerance=tolerance)


def test_what_cannot_be_plotted_is_refused():
    model = fastnn.Model([2, 3, 2], random_state=0)
    history = model.train(X, Y, num_passes=2)
    for wrong in (None, 3, [1, 2], Odd()):
        with pytest.raises(TypeError, match="history must be what Model.train returned, got"):
            fastnn.plot_history(wrong)
    with pytest.raises(TypeError, match="axes must be four axes of matplotlib"):
        fastnn.plot_history(history, [1, 2, 3, 4])
    with pytest.raises(ValueError, match="X is not a rectangular table"):
        fastnn.plot_decision_boundary(model, [[1], [1, 2]], [0, 1])
    with pytest.raises(ValueError, match="y is not a list of labels"):
        fastnn.plot_decision_boundary(model, X[:2], [[1], [1, 2]])


def test_a_class_is_not_a_model():
    for model in (fastnn.Model, np.ndarray, int):
        with pytest.raises(TypeError, match="model must be"):
            fastnn.render_boundary(model, (0, 1), (0, 1), 4)


NAMES = {"with a NUL": "a\0b", "too long": "a" * 300, "of half a character": "\ud800"}


@pytest.mark.parametrize("case", NAMES)
@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_names_that_no_file_can_have_are_refused_before_the_work(case, suffix, tmp_path):
    out = f"{tmp_path}/{NAMES[case]}{suffix}"
    image = fastnn.render_boundary(lambda points: points[:, 0] > 0.5, (0, 1), (0, 1), 4)
    with pytest.raises(ValueError, match="path: a file cannot be called"):
        image.save(out)

    def predict(points):
        raise AssertionError("the picture was begun before the name was checked")

    with pytest.raises(ValueError, match="out: a file cannot be called"):
        fastnn.render_boundary(predict, (0, 1), (0, 1), 4, classes=[0, 1], out=out)
    if suffix == ".png":
        model = fastnn.Model([2, 3, 2], random_state=0)
        before = model._parameters.copy()
        with pytest.raises(ValueError, match="path: a file cannot be called"):
            fastnn.animate_training(model, X, Y, out, frames=1, num_passes=1)
        np.testing.assert_array_equal(model._parameters, before)
    assert list(tmp_path.iterdir()) == []


def test_the_name_of_a_pyramids_folder_must_not_be_too_long(tmp_path):
    image = fastnn.render_boundary(lambda points: points[:, 0] > 0.5, (0, 1), (0, 1), 4)
    with pytest.raises(ValueError, match="path: a file cannot be called .*_files"):
        image.save(tmp_path / f"{'a' * 251}.dzi")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", [None, 3, np.zeros((4, 4), np.uint8), b"a.png"], ids=str)
def test_what_is_no_path_is_refused(path):
    image = fastnn.render_boundary(lambda points: points[:, 0] > 0.5, (0, 1), (0, 1), 4)
    with pytest.raises(TypeError, match="path must be a path, got"):
        image.save(path)
    with pytest.raises(TypeError, match="path must be a path, got"):
        fastnn.animate_training(fastnn.Model([2, 3, 2]), X, Y, path)


@pytest.mark.parametrize("suffix", [".zarr", ".tif", ".png"])
def test_pictures_that_would_take_days_are_refused(suffix, tmp_path):
    model = fastnn.Model([2, 3, 2], random_state=0)
    with pytest.raises(
        ValueError, match=r"size: a picture of .* takes more than [\d,]+ days, .* choose at most"
    ):
        fastnn.render_boundary(model, (0, 1), (0, 1), (10**9, 10**9), out=tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.needs("zarr")
def test_a_picture_of_a_million_squared_pixels_is_begun(tmp_path):
    """A picture of 10^12 pixels takes a night, not days: it is not refused."""

    class EnoughError(Exception):
        pass

    def predict(points):
        raise EnoughError

    for model in (predict, fastnn.Model([2, 3, 2], random_state=0)):
        from fastnn.boundary.render import _check_duration

        _check_duration(10**6, 10**6, model is not predict, 1)
    with pytest.raises(EnoughError):
        fastnn.render_boundary(
            predict, (0, 1), (0, 1), (10**6, 10**6), classes=[0, 1], out=tmp_path / "a.zarr"
        )


@pytest.mark.needs("dask")
def test_arrays_of_too_many_chunks_are_refused():
    with pytest.raises(ValueError, match="chunks: a picture of .* has 238,419,311,524 chunks of 2048 x 2048"):
        fastnn.boundary_array(fastnn.Model([2, 3, 2]), (0, 1), (0, 1), (10**9, 10**9))


def test_the_number_of_threads_is_bounded():
    model = fastnn.Model([2, 3, 2], random_state=0)
    image = fastnn.render_boundary(model, (0, 1), (0, 1), 4, n_threads=2**62)
    assert image.stats.n_threads <= 256


def test_store_checked_sets_attributes_of_frozen_dataclasses():
    found = fastnn.Huber()
    store_checked(found, delta=2.0)
    assert found == fastnn.Huber(2.0)


def test_a_registered_optimizer_is_a_solver(monkeypatch):
    """A registered optimizer is a solver; only scikit-learn's parameters need an entry in the estimators."""
    from fastnn.optimizers import OPTIMIZERS

    monkeypatch.setitem(OPTIMIZERS, "made up", fastnn.Adagrad)
    monkeypatch.setitem(
        fastnn.MLPClassifier._parameter_constraints,
        "solver",
        [StrOptions(set(OPTIMIZERS)), fastnn.Adagrad],
    )
    X, y = np.eye(4), [0, 1, 0, 1]
    options = {"learning_rate": fastnn.Constant(), "max_iter": 3, "random_state": 0}
    made_up = fastnn.MLPClassifier((3,), solver="made up", weight_decay=0.1, **options).fit(X, y)
    known = fastnn.MLPClassifier((3,), solver=fastnn.Adagrad(weight_decay=0.1), **options).fit(X, y)
    np.testing.assert_array_equal(made_up.coefs_[0], known.coefs_[0])
