"""Predictors: they return what `predict` and `predict_proba` return, for a fixed number of rows."""

import re
import threading
import warnings

import numpy as np
import pytest
import scipy.sparse
from example_counts import with_examples
from hypothesis import given
from hypothesis import strategies as st
from processes import PATIENCE
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

import fastnn
from fastnn import MLPClassifier, MLPRegressor, Model

# Fits here end at max_iter.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Stochastic Optimizer. Maximum iterations:sklearn.exceptions.ConvergenceWarning",
)

X, y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
TARGETS = np.column_stack([X @ [1, -2, 0.5, 1], np.sin(2 * X[:, 0]), X[:, 1] * X[:, 2]])
LABELS = np.column_stack([y == 0, y > 0, X[:, 0] > 0]).astype(int)
COUNTS = np.random.RandomState(0).poisson(np.exp(X[:, 0])).astype(float)
NAMES = np.array(["setosa", "versicolor", "virginica"])

# Targets, class of the estimator and its parameters, by name.
PROBLEMS = {
    "binary": (y == 1, MLPClassifier, {}),
    "binary, text": (np.where(y == 1, "yes", "no"), MLPClassifier, {}),
    "multiclass": (y * 10, MLPClassifier, {}),
    "multiclass, text": (NAMES[y], MLPClassifier, {}),
    "multiclass, objects": (NAMES[y].astype(object), MLPClassifier, {}),
    "one class": (np.full(150, "only"), MLPClassifier, {}),
    "labels": (LABELS, MLPClassifier, {}),
    "regression": (TARGETS[:, 0], MLPRegressor, {}),
    "three outputs": (TARGETS, MLPRegressor, {}),
    "poisson": (COUNTS, MLPRegressor, {"loss": "poisson"}),
}
OPTIONS = {
    "plain": {},
    "batch_norm": {"batch_norm": True},
    "average": {"ema_decay": 0.9},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 2, "max_iter": 30},
    "three hidden layers": {"hidden_layer_sizes": (5, 17, 3)},
}
problems = pytest.mark.parametrize(
    ("targets", "kind", "options"), PROBLEMS.values(), ids=PROBLEMS.keys()
)  # fmt: skip


def fitted(targets, kind, samples=X, **options):
    settings = {"hidden_layer_sizes": (7,), "max_iter": 6, "learning_rate_init": 0.02, "random_state": 0}
    return kind(**settings | options).fit(samples, targets)


def methods_of(estimator):
    return [name for name in ("predict", "predict_proba") if hasattr(estimator, name)]


def assert_same(served, expected):
    """Assert that a prediction is an array equal to another in dtype, shape and all values."""
    assert type(served) is np.ndarray
    assert (served.dtype, served.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(served, expected)


def check_predictors(estimator, samples, n_rows):
    """Check that the estimator's predictors return what its methods return."""
    for name in methods_of(estimator):
        predictor = estimator.predictor(n_rows, name)
        for first in range(0, 140, 20):
            rows = samples[first : first + n_rows]
            assert_same(predictor(rows), getattr(estimator, name)(rows))


@pytest.mark.parametrize("n_rows", [1, 7])
@pytest.mark.parametrize("extra", OPTIONS.values(), ids=OPTIONS.keys())
@problems
def test_a_predictor_returns_what_the_method_returns(targets, kind, options, extra, n_rows):
    estimator = fitted(targets, kind, **options, **extra)
    check_predictors(estimator, X, n_rows)
    assert_same(estimator.predictor()(X[:1]), estimator.predict(X[:1]))


@problems
def test_predictors_of_float32_return_what_the_methods_return(targets, kind, options):
    narrow = X.astype(np.float32)
    estimator = fitted(targets, kind, narrow, **options)
    for n_rows in (1, 7):
        check_predictors(estimator, narrow, n_rows)


def test_a_predictor_returns_every_class_that_was_learned():
    for name in ("binary, text", "multiclass, text", "labels"):
        targets, kind, options = PROBLEMS[name]
        estimator = fitted(targets, kind, **options, max_iter=100)
        served = estimator.predictor(150)(X)
        assert_same(served, estimator.predict(X))
        assert set(served.ravel()) == set(np.ravel(targets))


MODELS = {
    "softmax": {},
    "hinge": {"loss": "multiclass_hinge"},
    "sigmoid": {"loss": "sigmoid_binary_cross_entropy", "output_activation": "identity"},
    "squared": {"loss": "squared_error", "output_activation": "identity"},
    "poisson": {"loss": "poisson", "output_activation": "identity"},
    "batch_norm": {"batch_norm": True},
}


@pytest.mark.parametrize("n_rows", [1, 7])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS.keys())
def test_a_models_predictor_returns_what_the_method_returns(options, backend, dtype, n_rows):
    model = Model([4, 6, 3], random_state=0, backend=backend, dtype=dtype, **options)
    if options.get("batch_norm"):
        model.train(X, y, num_passes=5, epsilon=1e-3)
    has_probabilities = model.loss.output in ("softmax", "sigmoid")
    for name in ("predict", *(["predict_proba"] if has_probabilities else [])):
        predictor = model.predictor(n_rows, name)
        for first in range(0, 140, 20):
            rows = X[first : first + n_rows]
            assert_same(predictor(rows), getattr(model, name)(rows))
    if not has_probabilities:
        with pytest.raises(ValueError, match="has no probabilities: use predict"):
            model.predictor(n_rows, "predict_proba")


@given(
    n_inputs=st.integers(1, 40),
    hidden=st.lists(st.integers(1, 70), max_size=2),
    n_outputs=st.integers(1, 40),
    n_rows=st.one_of(st.integers(1, 20), st.sampled_from([64, 129, 1000])),
    dtype=st.sampled_from([np.float64, np.float32]),
    seed=st.integers(0, 2**32 - 1),
)
@with_examples(40)
def test_predictors_and_methods_agree_for_any_shape(n_inputs, hidden, n_outputs, n_rows, dtype, seed):
    model = Model([n_inputs, *hidden, n_outputs], random_state=seed, dtype=dtype)
    samples = np.random.default_rng(seed).normal(size=(3, n_rows, n_inputs))
    for name in ("predict", "predict_proba"):
        predictor = model.predictor(n_rows, name)
        for rows in samples:
            assert_same(predictor(rows), getattr(model, name)(rows))


# --- independence of later changes -------------------------------------------------------------------


@problems
def test_every_result_is_a_new_array(targets, kind, options):
    estimator = fitted(targets, kind, **options)
    for name in methods_of(estimator):
        predictor = estimator.predictor(7, name)
        first = predictor(X[:7])
        kept = first.copy()
        second = predictor(X[70:77])
        assert not np.shares_memory(first, second)
        np.testing.assert_array_equal(first, kept)
        second[...] = first[...] = 0  # results belong to the caller
        np.testing.assert_array_equal(predictor(X[:7]), kept)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS.keys())
def test_every_result_of_a_model_is_a_new_array(options, backend):
    predictor = Model([4, 6, 3], random_state=0, backend=backend, **options).predictor(7)
    first = predictor(X[:7])
    kept = first.copy()
    second = predictor(X[70:77])
    assert not np.shares_memory(first, second)
    second[...] = 0
    np.testing.assert_array_equal(first, kept)


def test_samples_are_neither_changed_nor_kept():
    estimator = fitted(y, MLPClassifier)
    rows = X[:7].copy()
    rows.flags.writeable = False
    predictor = estimator.predictor(7)
    expected = predictor(rows)
    np.testing.assert_array_equal(rows, X[:7])
    # Later changes of the samples do not change the result.
    written = X[:7].copy()
    result = predictor(written)
    written[...] = 1e9
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("extra", OPTIONS.values(), ids=OPTIONS.keys())
@problems
def test_later_fits_do_not_change_a_predictor(targets, kind, options, extra):
    estimator = fitted(targets, kind, **options, **extra)
    served = [(estimator.predictor(150, name), getattr(estimator, name)(X)) for name in methods_of(estimator)]
    estimator.set_params(early_stopping=False).partial_fit(X, targets)
    estimator.model_.W[0][...] = 0
    estimator.model_.b[-1][...] = 5
    for predictor, expected in served:
        assert_same(predictor(X), expected)
    estimator.fit(X[:, :2], LABELS[:, :2])
    for predictor, expected in served:
        assert_same(predictor(X), expected)
    del estimator
    for predictor, expected in served:
        assert_same(predictor(X), expected)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_later_trainings_of_a_model_do_not_change_its_predictor(backend, batch_norm):
    model = Model([4, 6, 3], random_state=0, backend=backend, batch_norm=batch_norm)
    predictor, expected = model.predictor(150, "predict_proba"), model.predict_proba(X)
    model.train(X, y, num_passes=5, epsilon=1e-3)
    model.W[0] = np.ones((4, 6))
    assert not np.array_equal(model.predict_proba(X), expected)
    assert_same(predictor(X), expected)


# --- accepted and refused samples --------------------------------------------------------------------


def test_samples_may_have_any_numeric_type_and_layout():
    estimator = fitted(y, MLPClassifier)
    whole = np.round(10 * X[:7])
    for predict, predictor in (
        (estimator.predict_proba, estimator.predictor(7, "predict_proba")),
        (estimator.predict, estimator.predictor(7)),
    ):
        expected = predict(whole)
        for rows in (
            whole.tolist(), tuple(map(tuple, whole)), list(whole), whole.astype(int), whole.astype(np.int8),
            whole.astype(np.float32), whole.astype(np.float16), whole.astype(object), whole.astype(">f8"),
            np.asfortranarray(whole), np.repeat(whole, 2, axis=0)[::2], np.repeat(whole, 2, axis=1)[:, ::2],
            whole[::-1][::-1], np.ma.masked_array(whole),
        ):  # fmt: skip
            assert_same(predictor(rows), expected)
    assert_same(estimator.predictor(7)(whole > 0), estimator.predict((whole > 0).astype(float)))
    unaligned = np.frombuffer(b"." + whole.tobytes(), np.float64, offset=1).reshape(7, 4)
    assert not unaligned.flags.aligned
    assert_same(estimator.predictor(7)(unaligned), estimator.predict(whole))


@pytest.mark.needs("pandas")
def test_samples_may_be_data_frames():
    import pandas as pd

    frame = pd.DataFrame(X, columns=list("abcd"))
    estimator = fitted(NAMES[y], MLPClassifier, frame)
    predictor = estimator.predictor(7, "predict_proba")
    assert_same(predictor(frame[20:27]), estimator.predict_proba(frame[20:27]))
    assert_same(predictor(X[20:27]), estimator.predict_proba(frame[20:27]))
    mixed = frame[:7].assign(a=[1, 2, 3, 4, 5, 6, 7])
    assert_same(predictor(mixed), estimator.predict_proba(mixed))


def test_one_row_may_have_one_dimension():
    estimator = fitted(y, MLPClassifier)
    predictor = estimator.predictor(1, "predict_proba")
    for k in range(0, 150, 10):
        expected = estimator.predict_proba(X[k : k + 1])
        assert_same(predictor(X[k]), expected)
        assert_same(predictor(X[k].tolist()), expected)
    with pytest.raises(ValueError, match="X must have the shape"):
        estimator.predictor(4)(X[0])


def test_float64_samples_are_rounded_for_a_float32_network():
    estimator = fitted(y, MLPClassifier, X.astype(np.float32))
    assert_same(estimator.predictor(7, "predict_proba")(X[:7]), estimator.predict_proba(X[:7]))


WRONG_SHAPES = {
    "too few": ((6, 4), "make a predictor for another number of rows"),
    "too many": ((8, 4), "make a predictor for another number of rows"),
    "one": ((1, 4), "make a predictor for another number of rows"),
    "none": ((0, 4), "make a predictor for another number of rows"),
    "narrow": ((7, 3), "the network has 4 inputs"),
    "wide": ((7, 5), "the network has 4 inputs"),
    "transposed": ((4, 7), "the network has 4 inputs"),
    "as many values": ((14, 2), "the network has 4 inputs"),
    "one dimension": ((28,), "the network has 4 inputs"),
    "a row": ((4,), "the network has 4 inputs"),
    "three dimensions": ((1, 7, 4), "the network has 4 inputs"),
    "a number": ((), "the network has 4 inputs"),
}


@pytest.mark.parametrize("as_list", [False, True], ids=["array", "list"])
@pytest.mark.parametrize(("shape", "remedy"), WRONG_SHAPES.values(), ids=WRONG_SHAPES.keys())
def test_wrong_shapes_are_refused(shape, remedy, as_list):
    rows = np.ones(shape)
    if as_list:
        rows, shape = rows.tolist(), np.shape(rows.tolist())
    for predictor in (fitted(y, MLPClassifier).predictor(7), Model([4, 3]).predictor(7)):
        if shape == (0,):  # an empty list has one dimension
            remedy = "the network has 4 inputs"
        message = f"X must have the shape (7, 4), got {shape}: {remedy}"
        with pytest.raises(ValueError, match=re.escape(message)):
            predictor(rows)
        predictor(X[:7])


WRONG_VALUES = {
    "text": ([["a", "b", "c", "d"]], "must hold numbers, got dtype <U1"),
    "digits": ([["1", "2", "3", "4"]], "must hold numbers, got dtype <U1"),
    "array of digits": (np.array([["1", "2", "3", "4"]]), "must hold numbers, got dtype <U1"),
    "a row of digits": (["1", "2", "3", "4"], "must hold numbers, got dtype <U1"),
    "bytes": (np.array([[b"1", b"2", b"3", b"4"]]), r"must hold numbers, got dtype \|S1"),
    "partly text": (
        np.array([[1, 2, "three", 4]], object),
        "must hold numbers, got 'three' at row 0, column 2",
    ),
    "dates": (np.array([["2020-01-01"] * 4], "M8[D]"), "must hold numbers, got dtype datetime64"),
    "times": (np.ones((1, 4), "m8[s]"), "must hold numbers, got dtype timedelta64"),
    "complex": (np.ones((1, 4), complex), "X is complex: pass X.real"),
    "masked": (np.ma.masked_array(np.ones((1, 4)), [[True, False, False, False]]), "X has masked values"),
    "sparse": (scipy.sparse.csr_matrix(np.ones((1, 4))), r"X is a sparse matrix: pass X.toarray\(\)"),
    "ragged": ([[1, 2, 3, 4], [1]], "X is not a rectangular table"),
    "None alone": (None, "X must have the shape"),
    "a dict": ({1: 2}, "X must have the shape"),
}


@pytest.mark.parametrize(("value", "message"), WRONG_VALUES.values(), ids=WRONG_VALUES.keys())
def test_samples_that_are_not_numbers_are_refused(value, message):
    for predictor in (fitted(y, MLPClassifier).predictor(), Model([4, 3]).predictor()):
        expected = predictor(X[:1])
        with pytest.raises(ValueError, match=message):
            predictor(value)
        assert_same(predictor(X[:1]), expected)


def test_a_predictor_warns_of_nan_and_infinity():
    """The result is returned all the same, and later results are not affected."""
    for name in ("binary", "multiclass, text", "labels", "regression", "three outputs", "poisson"):
        targets, kind, options = PROBLEMS[name]
        estimator = fitted(targets, kind, **options)
        for method in methods_of(estimator):
            predictor = estimator.predictor(1, method)
            expected = predictor(X[:1])
            for value in (np.nan, np.inf, -np.inf):
                with warnings.catch_warnings(record=True) as caught:
                    warnings.simplefilter("always")
                    served = predictor(np.full((1, 4), value))
                # The sigmoid and exp of an infinite score are finite.
                assert len(caught) == 1 or not np.isnan(value)
                assert {warning.category for warning in caught} <= {RuntimeWarning}
                assert (served.shape, served.dtype) == (expected.shape, expected.dtype)
            assert_same(predictor(X[:1]), expected)


# --- wrong calls -------------------------------------------------------------------------------------


def test_wrong_arguments_of_predictor_are_refused():
    for served in (fitted(y, MLPClassifier), Model([4, 3])):
        for n_rows in (0, -1, 1.5, "one", None, True, 2**70):
            limits = r"below 2\*\*63" if n_rows == 2**70 else "of at least 1"
            with pytest.raises(ValueError, match=f"n_rows must be an integer {limits}, got"):
                served.predictor(n_rows)
        for method in ("decision_function", "score", None, 1, ["predict"]):
            with pytest.raises(ValueError, match="method must be one of"):
                served.predictor(1, method)
        assert served.predictor(n_rows=np.int64(2), method="predict")(X[:2]).shape == (2,)
    with pytest.raises(ValueError, match="MLPRegressor has no predict_proba: its predictor is for 'predict'"):
        fitted(TARGETS, MLPRegressor).predictor(1, "predict_proba")
    for estimator in (MLPClassifier(), MLPRegressor()):
        with pytest.raises(NotFittedError):
            estimator.predictor()


# --- several threads ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n_rows", [1, 7])
@pytest.mark.parametrize("source", ["estimator", "numba", "numpy"])
def test_threads_may_share_a_predictor(source, n_rows):
    """Every thread gets the predictions of its own rows."""
    if source == "estimator":
        served = fitted(NAMES[y], MLPClassifier)
    else:
        served = Model([4, 6, 3], random_state=0, backend=source)
    expected = [served.predict_proba(X[k : k + n_rows]) for k in range(140)]
    predictor = served.predictor(n_rows, "predict_proba")
    wrong, started = [], threading.Barrier(6)

    def serve(first):
        started.wait()
        for k in range(first, 6 * 140, 5):
            k %= 140
            if not np.array_equal(predictor(X[k : k + n_rows]), expected[k]):
                wrong.append(k)

    threads = [threading.Thread(target=serve, args=(first,)) for first in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_error_in_one_thread_does_not_block_the_others():
    """The error is raised while the thread holds the predictor's lock."""
    predictor = fitted(y, MLPClassifier).predictor()
    run = predictor._run
    predictor._run = lambda: 1 // 0
    with pytest.raises(ZeroDivisionError):
        predictor(X[:1])
    predictor._run = run
    results = []
    thread = threading.Thread(target=lambda: results.append(predictor(X[:1])), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert len(results) == 1


def test_a_predictor_stays_the_same_while_its_model_is_trained():
    model = Model([4, 6, 3], random_state=0)
    predictor, expected = model.predictor(1, "predict_proba"), model.predict_proba(X[:1])
    ended = threading.Event()

    def train():
        try:
            model.train(X, y, num_passes=2000, epsilon=1e-3)
        finally:
            ended.set()

    thread = threading.Thread(target=train)
    thread.start()
    n_calls = 0
    while not ended.is_set() or not n_calls:
        np.testing.assert_array_equal(predictor(X[:1]), expected)
        n_calls += 1
    thread.join()
    assert not np.array_equal(model.predict_proba(X[:1]), expected)


def test_predictors_are_instances_of_the_documented_class():
    for served in (fitted(y, MLPClassifier), Model([4, 3])):
        assert isinstance(served.predictor(), fastnn.engine.predictor.Predictor)
