"""Repeated partial fits of a few rows reuse prepared steps: they equal ordinary partial fits bit for bit."""

import pickle
import threading
from copy import copy, deepcopy

import numpy as np
import pytest
from sklearn.base import clone

from fastnn import MLPClassifier, MLPRegressor
from fastnn.estimators.online import OnlineSteps
from fastnn.training.divergence import DivergenceError

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(60, 5))
CLASSES = np.array(["a", "b", "c"])
LABELS = CLASSES[np.argmax(X[:, :3], axis=1)]
NUMBERS = X[:, 0] - X[:, 1]


def parts(count, dtype=np.float64):
    """Return the samples, labels and numbers in parts of `count` rows."""
    return [
        (X[k : k + count].astype(dtype), LABELS[k : k + count], NUMBERS[k : k + count].astype(dtype))
        for k in range(0, len(X), count)
    ]


def fitted(estimator, count, dtype=np.float64, *, ordinary=False):
    """Return the estimator after partial fits of `count` rows each.

    If `ordinary`, the prepared steps are deleted before every call, which then runs an ordinary partial fit.
    """
    for samples, labels, numbers in parts(count, dtype):
        if ordinary:
            estimator.__dict__.pop("_online", None)
        if isinstance(estimator, MLPClassifier):
            estimator.partial_fit(samples, labels, classes=CLASSES)
        else:
            estimator.partial_fit(samples, numbers)
    return estimator


def assert_same(one, other):
    """Assert that two estimators have bitwise equal parameters, records and optimizer states."""
    for value, expected in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_array_equal(value, expected)
    for name in ("loss_curve_", "loss_", "best_loss_", "n_iter_", "t_", "_no_improvement_count"):
        assert getattr(one, name) == getattr(other, name), name
    assert one._state.n_steps == other._state.n_steps
    np.testing.assert_array_equal(one._state.memory.optimizer, other._state.memory.optimizer)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    "make",
    [
        lambda: MLPClassifier((7,), random_state=0),
        lambda: MLPClassifier((7, 4), random_state=0, solver="sgd", label_smoothing=0.1, max_grad_norm=0.1),
        lambda: MLPRegressor(hidden_layer_sizes=(20,), random_state=0, alpha=0.1),
    ],
    ids=["classifier", "clipped classifier", "regressor"],
)
def test_prepared_steps_equal_ordinary_partial_fits(make, count, dtype):
    estimator = fitted(make(), count, dtype)
    assert isinstance(estimator._online, OnlineSteps)
    assert_same(estimator, fitted(make(), count, dtype, ordinary=True))


def test_coefficients_are_computed_anew_after_their_last_step(monkeypatch):
    """`STEPS` is the number of steps whose coefficients are computed at once."""
    monkeypatch.setattr("fastnn.estimators.online.STEPS", 7)
    estimator = fitted(MLPRegressor(hidden_layer_sizes=(3,), random_state=0), 1)
    assert_same(estimator, fitted(MLPRegressor(hidden_layer_sizes=(3,), random_state=0), 1, ordinary=True))


def test_without_a_seed_a_single_row_draws_no_order():
    np.random.seed(3)
    estimator = fitted(MLPRegressor(hidden_layer_sizes=(3,)), 1)
    assert isinstance(estimator._online, OnlineSteps)
    np.random.seed(3)
    assert_same(estimator, fitted(MLPRegressor(hidden_layer_sizes=(3,)), 1, ordinary=True))


@pytest.mark.parametrize(
    "duplicate",
    [copy, deepcopy, lambda estimator: pickle.loads(pickle.dumps(estimator))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copies_continue_without_the_prepared_steps(duplicate):
    estimator = fitted(MLPRegressor(hidden_layer_sizes=(3,), random_state=0), 1)
    other = duplicate(estimator)
    expected = fitted(fitted(MLPRegressor(hidden_layer_sizes=(3,), random_state=0), 1), 1)
    assert_same(fitted(other, 1), expected)
    assert b"OnlineSteps" not in pickle.dumps(other)
    assert not hasattr(clone(estimator), "_online")


def change_rate(estimator):
    estimator.set_params(learning_rate_init=0.1)


def set_weights(estimator):
    estimator.coefs_ = [2 * W for W in estimator.coefs_]


def fit_more(estimator):
    estimator.partial_fit(X, NUMBERS)


def fit_a_weighted_row(estimator):
    estimator.partial_fit(X[:1], NUMBERS[:1], sample_weight=[2.0])


@pytest.mark.parametrize("change", [change_rate, set_weights, fit_more, fit_a_weighted_row])
def test_changes_between_partial_fits_take_effect(change):
    results = []
    for ordinary in (False, True):
        estimator = fitted(MLPRegressor(hidden_layer_sizes=(3,), random_state=0), 1, ordinary=ordinary)
        change(estimator)
        results.append(fitted(estimator, 1, ordinary=ordinary))
    assert_same(*results)


def test_wrong_samples_raise_the_usual_errors():
    estimator = fitted(MLPClassifier((3,), random_state=0), 1)
    before = deepcopy(estimator)
    for samples, label, message in (
        (X[:1] * np.nan, LABELS[:1], "NaN"),
        (X[:1, :4], LABELS[:1], "features"),
        (X[:1], np.array(["d"]), "classes not in"),
        (X[:2], LABELS[:1], "inconsistent"),
    ):
        with pytest.raises(ValueError, match=message):
            estimator.partial_fit(samples, label)
        assert_same(estimator, before)
    with pytest.raises(ValueError, match="not the same as on last call"):
        estimator.partial_fit(X[:1], LABELS[:1], classes=CLASSES[:2])


def test_a_diverging_step_is_undone_and_raises():
    def diverged(ordinary):
        estimator = fitted(
            MLPRegressor(hidden_layer_sizes=(3,), random_state=0, solver="sgd", max_iter=1), 1,
            ordinary=ordinary,
        )  # fmt: skip
        if ordinary:
            estimator.__dict__.pop("_online", None)
        with pytest.raises(DivergenceError):
            estimator.partial_fit(X[:1] * 1e300, NUMBERS[:1])
        return estimator

    assert_same(diverged(ordinary=False), diverged(ordinary=True))


def test_a_second_thread_runs_ordinary_partial_fits():
    estimator = fitted(MLPRegressor(hidden_layer_sizes=(3,), random_state=0), 1)
    expected = fitted(deepcopy(estimator), 1, ordinary=True)
    steps = estimator._online
    with steps._lock:
        worker = threading.Thread(target=estimator.partial_fit, args=(X[:1], NUMBERS[:1]))
        worker.start()
        worker.join()
    assert estimator._state.n_steps == len(X) + 1
    for samples, _, numbers in parts(1)[1:]:
        estimator.partial_fit(samples, numbers)
    assert_same(estimator, expected)
