"""Predictions of few rows, whose calls stay prepared: those of many rows, whoever predicted before."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastnn
from fastnn.engine import limits

X = np.random.default_rng(0).normal(size=(200, 3))
Y = (X[:, 0] > X[:, 1]).astype(int)


def trained(seed, dtype="float64", num_passes=20):
    model = fastnn.Model([3, 8, 2], dtype=dtype, random_state=seed)
    model.train(X, Y, num_passes=num_passes, epsilon=0.01, optimizer="adam")
    return model


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [1, 2, limits.FEW_ROWS, limits.FEW_ROWS + 1])
def test_few_rows_are_predicted_as_many_are(dtype, n):
    model, other = trained(0, dtype), trained(1, dtype)  # equal networks share their prepared calls
    for first in (0, 50, 100):
        rows = slice(first, first + n)
        for one in (model, other, model):
            np.testing.assert_array_equal(one.predict(X[rows]), one.predict(X)[rows])
            np.testing.assert_array_equal(one.predict_proba(X[rows]), one.predict_proba(X)[rows])


def test_predictions_follow_the_training():
    model, row = trained(0), X[:1]
    before = model.predict_proba(row)
    model.train(X, Y, num_passes=20, epsilon=0.01, optimizer="adam")
    after = model.predict_proba(row)
    assert (before != after).any()
    np.testing.assert_array_equal(after, model.predict_proba(X)[:1])


def test_results_are_new_arrays():
    model = trained(0)
    first = model.predict_proba(X[:1])
    copy = first.copy()
    model.predict_proba(X[1:2])
    np.testing.assert_array_equal(first, copy)
    first[...] = 7
    np.testing.assert_array_equal(model.predict_proba(X[:1]), copy)


def test_read_only_rows_are_predicted():
    model, row = trained(0), X[:1].copy()
    row.flags.writeable = False
    np.testing.assert_array_equal(model.predict_proba(row), model.predict_proba(X)[:1])


def test_scores_that_are_not_finite_cause_a_warning():
    model = fastnn.Model([3, 8, 2], output_activation="identity", random_state=0)
    model.W[0][...], model.W[1][...] = 1, 1e308
    with pytest.warns(RuntimeWarning, match="too large"):
        model.predict_proba([[1, 1, 1]])


def test_threads_predict_rows_of_their_own():
    models = [trained(seed) for seed in range(4)]
    expected = [model.predict_proba(X) for model in models]

    def predict(k):
        model, row = k % len(models), k % len(X)
        return (models[model].predict_proba(X[row : row + 1]) == expected[model][row]).all()

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(predict, range(4000)))
