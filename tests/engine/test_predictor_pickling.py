"""Pickles and copies of predictors predict the same as the original, in other processes, too."""

import copy
import pickle

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_iris

import fastnn

X, y = load_iris(return_X_y=True)
LABELS = np.column_stack([y == 0, y > 0]).astype(int)
ROWS = X[45:55]

MODELS = {
    "labels": ({}, "predict"),
    "probabilities": ({}, "predict_proba"),
    "several labels": ({"loss": "sigmoid_binary_cross_entropy"}, "predict"),
    "regression": ({"loss": "poisson", "batch_norm": True}, "predict"),
}
ESTIMATORS = {
    "two classes": (fastnn.MLPClassifier, np.where(y == 1, "yes", "no"), "predict"),
    "probabilities of two": (fastnn.MLPClassifier, y == 1, "predict_proba"),
    "three classes": (fastnn.MLPClassifier, y * 10, "predict"),
    "probabilities of three": (fastnn.MLPClassifier, y, "predict_proba"),
    "one class": (fastnn.MLPClassifier, np.full(150, "only"), "predict"),
    "probability of one class": (fastnn.MLPClassifier, np.full(150, "only"), "predict_proba"),
    "labels": (fastnn.MLPClassifier, LABELS, "predict"),
    "probabilities of labels": (fastnn.MLPClassifier, LABELS, "predict_proba"),
    "a number": (fastnn.MLPRegressor, X[:, 0], "predict"),
    "two numbers": (fastnn.MLPRegressor, X[:, :2], "predict"),
}


def pickled(predictor):
    return pickle.loads(pickle.dumps(predictor))


def check_copies(predictor):
    """Check that pickles and copies of a predictor predict the same, and share no arrays with it."""
    expected = predictor(ROWS)
    for copied in (
        pickled(predictor),
        pickled(pickled(predictor)),
        copy.copy(predictor),
        copy.deepcopy(predictor),
    ):
        found = copied(ROWS)
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
        # A call of the copy changes neither the original's arrays nor the earlier result.
        copied(ROWS[::-1])
        np.testing.assert_array_equal(predictor(ROWS), expected)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize(("options", "method"), MODELS.values(), ids=MODELS)
def test_copies_of_a_models_predictor_predict_the_same(options, method, backend):
    model = fastnn.Model([4, 5, 3], random_state=0, backend=backend, **options)
    check_copies(model.predictor(len(ROWS), method))


@pytest.mark.parametrize(("kind", "targets", "method"), ESTIMATORS.values(), ids=ESTIMATORS)
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer:sklearn.exceptions.ConvergenceWarning")
def test_copies_of_an_estimators_predictor_predict_the_same(kind, targets, method):
    estimator = kind(hidden_layer_sizes=(5,), max_iter=3, random_state=0).fit(X, targets)
    predictor = estimator.predictor(len(ROWS), method)
    np.testing.assert_array_equal(predictor(ROWS), getattr(estimator, method)(ROWS))
    check_copies(predictor)


def test_a_pickle_keeps_the_parameters_from_before_a_training():
    model = fastnn.Model([4, 5, 3], random_state=0, backend="numpy")
    predictor = model.predictor(len(ROWS), "predict_proba")
    expected = predictor(ROWS)
    model.train(X, y, num_passes=5, epsilon=0.001)
    np.testing.assert_array_equal(pickled(predictor)(ROWS), expected)


def test_predictors_work_in_other_processes():
    predictor = fastnn.Model([4, 5, 3], random_state=0).predictor(len(ROWS), "predict_proba")
    parts = [ROWS, ROWS[::-1]]
    found = joblib.Parallel(n_jobs=2)(joblib.delayed(predictor)(part) for part in parts)
    for part, values in zip(parts, found, strict=True):
        np.testing.assert_array_equal(values, predictor(part))
