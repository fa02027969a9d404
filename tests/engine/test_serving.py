"""Predictors and predictions of few rows: they return what the same network returns for many rows."""

import copy
import pickle
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse
from example_counts import with_examples
from extras import optional
from hypothesis import given
from hypothesis import strategies as st
from problems import COUNTS, LABELS, NAMES, TARGETS, UNCONVERGED, X, y
from sklearn.exceptions import NotFittedError

from fastnn import MLPClassifier, MLPRegressor, Model
from fastnn.engine import limits

pd = optional("pandas")

pytestmark = UNCONVERGED

# Targets, class of the estimator and its parameters, by name.
PROBLEMS = {
    "binary": (y == 1, MLPClassifier, {}),
    "binary, text": (np.where(y == 1, "yes", "no"), MLPClassifier, {"batch_norm": True}),
    "multiclass": (y * 10, MLPClassifier, {"ema_decay": 0.9}),
    "multiclass, text": (NAMES[y], MLPClassifier, {"hidden_layer_sizes": (5, 17, 3)}),
    "multiclass, objects": (NAMES[y].astype(object), MLPClassifier, {}),
    "one class": (np.full(150, "only"), MLPClassifier, {}),
    "labels": (LABELS, MLPClassifier, {"batch_norm": True}),
    "regression": (TARGETS[:, 0], MLPRegressor, {"early_stopping": True, "n_iter_no_change": 2}),
    "three outputs": (TARGETS, MLPRegressor, {"batch_norm": True}),
    "poisson": (COUNTS, MLPRegressor, {"loss": "poisson", "ema_decay": 0.9}),
}


def fit(targets, kind, samples=X, **options):
    settings = {"hidden_layer_sizes": (7,), "max_iter": 6, "learning_rate_init": 0.02, "random_state": 0}
    return kind(**settings | options).fit(samples, targets)


def list_methods(served):
    has_probabilities = not isinstance(served, Model) or served.loss.output in ("softmax", "sigmoid")
    names = ("predict", "predict_proba") if has_probabilities else ("predict",)
    return [name for name in names if hasattr(served, name)]


def assert_same(served, expected):
    assert type(served) is np.ndarray
    assert (served.dtype, served.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(served, expected)


def check_predictors(served, samples=X):
    for n_rows in (1, 7):
        for name in list_methods(served):
            predictor, results = served.predictor(n_rows, name), []
            copies = pickle.loads(pickle.dumps(predictor)), copy.copy(predictor), copy.deepcopy(predictor)
            for first in range(0, 140, 20):
                rows = samples[first : first + n_rows].copy()
                rows.flags.writeable = False
                expected = getattr(served, name)(rows)
                results += [(each(rows), expected) for each in (predictor, *copies)]
            for result, expected in results:
                assert_same(result, expected)
                result[...] = result[0]  # results belong to the caller
            assert_same(predictor(rows), expected)


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_predictor_returns_what_the_method_returns_whatever_follows(name, dtype):
    targets, kind, options = PROBLEMS[name]
    samples = X.astype(dtype)
    estimator = fit(targets, kind, samples, **options)
    check_predictors(estimator, samples)
    assert_same(estimator.predictor(7)(X[:7]), estimator.predict(X[:7].astype(dtype)))  # float64 is rounded
    # Predictors have copies of the parameters.
    served = [(estimator.predictor(150, m), getattr(estimator, m)(samples)) for m in list_methods(estimator)]
    estimator.set_params(early_stopping=False).partial_fit(samples, targets)
    estimator.model_.W[0][...] = 0
    estimator.fit(X[:, :2], LABELS[:, :2])
    del estimator
    for predictor, expected in served:
        assert_same(predictor(samples), expected)


MODELS = {
    "softmax": {},
    "hinge": {"loss": "multiclass_hinge"},
    "sigmoid": {"loss": "sigmoid_binary_cross_entropy", "output_activation": "identity"},
    "poisson": {"loss": "poisson", "output_activation": "identity"},
    "batch_norm": {"batch_norm": True},
}


@pytest.mark.parametrize("name", MODELS)
def test_a_models_predictor_returns_what_the_method_returns(name, backend, dtype):
    model = Model([4, 6, 3], random_state=0, backend=backend, dtype=dtype, **MODELS[name])
    if model.batch_norm:
        model.train(X, y, num_passes=5, epsilon=1e-3)
    check_predictors(model)
    if "predict_proba" not in list_methods(model):
        with pytest.raises(ValueError, match="has no probabilities: use predict"):
            model.predictor(7, "predict_proba")
    predictor, expected = model.predictor(150), model.predict(X)
    model.train(X, y if model.loss.of_labels else LABELS, num_passes=5, epsilon=1e-3)
    model.W[0] = np.ones((4, 6))
    assert_same(predictor(X), expected)


@given(
    n_inputs=st.integers(1, 40),
    hidden=st.lists(st.integers(1, 70), max_size=2),
    n_outputs=st.integers(1, 40),
    n_rows=st.one_of(
        st.integers(1, 20), st.sampled_from([limits.FEW_ROWS, limits.FEW_ROWS + 1, 64, 129, 1000])
    ),
    dtype=st.sampled_from([np.float64, np.float32]),
    seed=st.integers(0, 2**32 - 2),
)
@with_examples(40)
def test_predictors_and_methods_agree_for_any_row_count(n_inputs, hidden, n_outputs, n_rows, dtype, seed):
    """Predictions of few rows share prepared calls, also with other networks of the same layers."""
    models = [Model([n_inputs, *hidden, n_outputs], random_state=seed + k, dtype=dtype) for k in range(2)]
    samples = np.random.default_rng(seed).normal(size=(3 * n_rows, n_inputs))
    for name in ("predict", "predict_proba"):
        predictors = [model.predictor(n_rows, name) for model in models]
        for rows in (slice(k, k + n_rows) for k in range(0, 3 * n_rows, n_rows)):
            for model, predictor in zip(models, predictors, strict=True):
                expected = getattr(model, name)(samples)[rows]
                found = getattr(model, name)(samples[rows])
                assert_same(found, expected)
                found[...] = 7
                assert_same(predictor(samples[rows]), expected)


def test_samples_may_have_any_numeric_type_and_layout():
    estimator = fit(y, MLPClassifier)
    whole = np.round(10 * X[:7])
    kinds = [whole.astype(kind) for kind in (int, np.int8, np.float16, np.float32, object, ">f8")]
    layouts = [np.asfortranarray(whole), np.repeat(whole, 2, axis=0)[::2], whole[::-1][::-1]]
    unaligned = np.frombuffer(b"." + whole.tobytes(), np.float64, offset=1).reshape(7, 4)
    for name in ("predict", "predict_proba"):
        predictor, expected = estimator.predictor(7, name), getattr(estimator, name)(whole)
        for rows in (whole.tolist(), list(whole), *kinds, *layouts, unaligned, np.ma.masked_array(whole)):
            assert_same(predictor(rows), expected)
    assert_same(estimator.predictor(7)(whole > 0), estimator.predict((whole > 0).astype(float)))
    alone = estimator.predictor(1, "predict_proba")
    for row in (X[3], X[3].tolist()):  # one row may have one dimension
        assert_same(alone(row), estimator.predict_proba(X[3:4]))


OTHER_ROWS, OTHER_INPUTS = "make a predictor for another number of rows", "the network has 4 inputs"
WRONG = [
    *((np.ones(shape), f"the shape (7, 4), got {shape}: {OTHER_ROWS}") for shape in [(6, 4), (0, 4)]),
    *((np.ones(s), f"got {s}: {OTHER_INPUTS}") for s in [(7, 3), (14, 2), (28,), (4,), (1, 7, 4), ()]),
    (np.array([[1, 2, "three", 4]] * 7, object), "must hold numbers, got 'three' at row 0, column 2"),
    (np.ones((7, 4), complex), "X is complex: pass X.real"),
    (scipy.sparse.csr_matrix(np.ones((7, 4))), "X is a sparse matrix: pass X.toarray()"),
    ([[1, 2, 3, 4], [1]], "X is not a rectangular table"),
    (None, "X must have the shape"),
]


@pytest.mark.parametrize(("value", "message"), WRONG)
def test_wrong_samples_are_refused(value, message):
    for predictor in (fit(y, MLPClassifier).predictor(7), Model([4, 3]).predictor(7)):
        expected = predictor(X[:7])
        with pytest.raises(ValueError, match=re.escape(message)):
            predictor(value)
        assert_same(predictor(X[:7]), expected)


def test_wrong_arguments_of_predictor_are_refused():
    for served in (fit(y, MLPClassifier), Model([4, 3])):
        for n_rows in (0, -1, 1.5, "one", None, True, 2**70):
            limit = r"below 2\*\*63" if n_rows == 2**70 else "of at least 1"
            with pytest.raises(ValueError, match=f"n_rows must be an integer {limit}, got"):
                served.predictor(n_rows)
        for method in ("decision_function", "score", None, 1, ["predict"]):
            with pytest.raises(ValueError, match="method must be one of"):
                served.predictor(1, method)
        assert served.predictor(n_rows=np.int64(2), method="predict")(X[:2]).shape == (2,)
    with pytest.raises(ValueError, match="MLPRegressor has no predict_proba: its predictor is for 'predict'"):
        fit(TARGETS, MLPRegressor).predictor(1, "predict_proba")
    for estimator in (MLPClassifier(), MLPRegressor()):
        with pytest.raises(NotFittedError):
            estimator.predictor()


def test_what_a_subclass_predicts_is_neither_served_nor_exported():
    class Cautious(MLPClassifier):
        def predict_proba(self, X):
            return super().predict_proba(X) / 2

    class Double(Model):
        def predict(self, X):
            return 2 * super().predict(X)

    for served in (fit(y, Cautious), Double([4, 3])):
        for use in (served.predictor, served.to_sklearn):
            with pytest.raises(TypeError, match="overrides predict.*: use an object of fastnn's own class"):
                use()


@pytest.mark.needs("pandas")
def test_columns_must_be_those_of_the_fit():
    frame = pd.DataFrame(X[:7], columns=list("abcd"))
    predictor = MLPClassifier(max_iter=1).fit(frame, y[:7]).predictor(7)
    assert_same(pickle.loads(pickle.dumps(predictor))(frame), predictor(X[:7]))
    with pytest.raises(ValueError, match=r"columns \['a', 'b', 'c', 'd'\] in this order, got \['d'"):
        predictor(frame[list("dcba")])


@pytest.mark.parametrize("source", ["numba", "numpy", "few rows"])
def test_threads_may_share_a_predictor(source):
    """Every thread gets the predictions of its own rows."""
    model = Model([4, 6, 3], random_state=0, backend="numpy" if source == "numpy" else "numba")
    expected = [model.predict_proba(X[k : k + 1]) for k in range(140)]
    predict = model.predict_proba if source == "few rows" else model.predictor(1, "predict_proba")

    def serve(first):
        started.wait()
        numbers = [k % 140 for k in range(first, 6 * 140, 5)]
        return [k for k in numbers if not np.array_equal(predict(X[k : k + 1]), expected[k])]

    started = threading.Barrier(6)
    with ThreadPoolExecutor(6) as pool:
        assert not any(pool.map(serve, range(6)))
