"""Repeated partial fits of a few rows reuse prepared steps: they equal ordinary partial fits bit for bit."""

import pickle
import sys
import threading
from copy import copy, deepcopy

import numpy as np
import pytest
import sklearn.neural_network
from estimator_checks import parameters
from sklearn.base import clone

from fastnn import DivergenceError, MLPClassifier, MLPRegressor

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(600, 5))
CLASSES = np.array(["a", "b", "c"])
LABELS = CLASSES[np.argmax(X[:, :3], axis=1)]
NUMBERS = X[:, 0] - X[:, 1]


def fit_rows(estimator, count=1, dtype=np.float64, *, ordinary=False, n_rows=30):
    """Return the estimator after partial fits of `count` rows each; lists of rows need ordinary ones."""
    known = {"classes": CLASSES} if isinstance(estimator, MLPClassifier) else {}
    targets = LABELS if known else NUMBERS.astype(dtype)
    for k in range(0, n_rows, count):
        samples, own = X[k : k + count].astype(dtype), targets[k : k + count]
        estimator.partial_fit(samples, own.tolist() if ordinary else own, **known)
    return estimator


def regressor(**options):
    return MLPRegressor(**{"hidden_layer_sizes": (3,), "random_state": 0} | options)


def assert_same(one, other):
    """Assert that two estimators have bitwise equal parameters, records and optimizer states."""
    dtype = one.coefs_[0].dtype
    continued = [fit_rows(deepcopy(each), 3, dtype, ordinary=True, n_rows=9) for each in (one, other)]
    for some in ([one, other], continued):
        np.testing.assert_array_equal(*map(parameters, some))
        for name in ("loss_curve_", "loss_", "best_loss_", "n_iter_", "t_"):
            values = [getattr(each, name) for each in some]
            assert values[0] == values[1], name


CLIPPED = {"solver": "sgd", "label_smoothing": 0.1, "max_grad_norm": 0.1}
MAKERS = {
    "classifier": lambda: MLPClassifier((7,), random_state=0),
    "clipped classifier": lambda: MLPClassifier((7, 4), random_state=0, **CLIPPED),
    "regressor": lambda: regressor(hidden_layer_sizes=(20,), alpha=0.1),
    "without a seed": lambda: seed_globally(MLPClassifier((5,))),
    "without an order": lambda: regressor(random_state=np.random.RandomState(1), shuffle=False),
}


def seed_globally(estimator):
    np.random.seed(1)
    return estimator


@pytest.mark.parametrize(
    ("count", "dtype"), [(1, np.float64), (3, np.float32), (32, np.float64), (64, np.float32)]
)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_prepared_steps_equal_ordinary_partial_fits(make, count, dtype):
    """Coefficients are computed for some hundred steps at once, and those of Adam depend on the step."""
    n_rows = 300 if make is MAKERS["regressor"] and count == 1 else 10 * count
    estimator = fit_rows(make(), count, dtype, n_rows=n_rows)
    assert_same(estimator, fit_rows(make(), count, dtype, ordinary=True, n_rows=n_rows))


@pytest.mark.parametrize("random_state", [None, 0])
@pytest.mark.parametrize("count", [1, 2, 32, 64])
def test_prepared_steps_of_several_outputs_are_scikit_learns(count, random_state):
    found = []
    targets = np.stack([NUMBERS, X[:, 2]], axis=1)
    for kind in (MLPRegressor, sklearn.neural_network.MLPRegressor):
        estimator = kind(hidden_layer_sizes=(10, 10), random_state=random_state)
        np.random.seed(5)
        for k in range(0, 8 * count, count):
            estimator.partial_fit(X[k : k + count], targets[k : k + count])
        found.append([*estimator.coefs_, estimator.loss_curve_, np.random.random(3)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)


def count_calls(estimator):
    """Return the number of calls of Python functions in a further partial fit of a row."""
    calls = []
    sys.setprofile(lambda frame, event, argument: calls.append(event))
    try:
        estimator.partial_fit(X[:1], NUMBERS[:1])
    finally:
        sys.setprofile(None)
    return calls.count("call")


def test_prepared_steps_do_a_small_part_of_the_work():
    estimator = fit_rows(regressor(), n_rows=1)
    counts = [count_calls(estimator) for _ in range(5)]
    assert 5 * counts[-1] < counts[0]
    assert count_calls(estimator.set_params(alpha=0.5)) > 5 * counts[-1]


def test_without_a_seed_a_single_row_draws_no_order():
    found = []
    for ordinary in (False, True):
        np.random.seed(3)
        found.append(parameters(fit_rows(regressor(random_state=None), ordinary=ordinary)))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("duplicate", [copy, deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_continue_without_the_prepared_steps(duplicate):
    estimator = fit_rows(regressor())
    other = duplicate(estimator)
    assert_same(fit_rows(other), fit_rows(fit_rows(regressor())))
    assert len(pickle.dumps(other)) < len(pickle.dumps(fit_rows(regressor(), 3))) + 2000
    assert not hasattr(clone(estimator), "coefs_")


def diverge(estimator, ordinary):
    with pytest.raises(DivergenceError):
        estimator.partial_fit(X[:1] * 1e300, NUMBERS[:1].tolist() if ordinary else NUMBERS[:1])


CHANGES = {
    "rate": lambda estimator, _: estimator.set_params(learning_rate_init=0.1),
    "weights": lambda estimator, _: setattr(estimator, "coefs_", [2 * W for W in estimator.coefs_]),
    "more rows": lambda estimator, _: estimator.partial_fit(X, NUMBERS),
    "a weighted row": lambda estimator, _: estimator.partial_fit(X[:1], NUMBERS[:1], sample_weight=[2.0]),
    "a step that diverges is undone": diverge,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_changes_between_partial_fits_take_effect(change):
    results = []
    for ordinary in (False, True):
        estimator = fit_rows(regressor(), ordinary=ordinary)
        change(estimator, ordinary)
        results.append(fit_rows(estimator, ordinary=ordinary))
    assert_same(*results)


def test_wrong_samples_raise_the_usual_errors():
    estimator = fit_rows(MLPClassifier((3,), random_state=0))
    before = deepcopy(estimator)
    for samples, label, options, message in (
        (X[:1] * np.nan, LABELS[:1], {}, "NaN"),
        (X[:1, :4], LABELS[:1], {}, "features"),
        (X[:1], np.array(["d"]), {}, "classes not in"),
        (X[:2], LABELS[:1], {}, "inconsistent"),
        (X[:1], LABELS[:1], {"classes": CLASSES[:2]}, "not the same as on last call"),
    ):
        with pytest.raises(ValueError, match=message):
            estimator.partial_fit(samples, label, **options)
        assert_same(estimator, before)


def test_a_second_thread_runs_ordinary_partial_fits():
    """It calls while the first records a prepared step, in a curve that a user has put there."""

    class Curve(list):
        def __iadd__(self, losses):
            if calls:
                worker = threading.Thread(target=calls.pop())
                worker.start()
                worker.join()
            return super().__iadd__(losses)

    calls = []
    estimator, expected = fit_rows(regressor()), fit_rows(regressor(), ordinary=True)
    estimator.loss_curve_ = Curve()
    calls.append(lambda: estimator.partial_fit(X[1:2], NUMBERS[1:2]))
    estimator.partial_fit(X[:1], NUMBERS[:1])
    assert not calls
    fit_rows(expected, ordinary=True, n_rows=2)
    np.testing.assert_array_equal(parameters(estimator), parameters(expected))
