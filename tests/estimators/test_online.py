"""Repeated partial fits of a few rows reuse prepared steps: they equal ordinary partial fits bit for bit."""

import itertools
import pickle
import sys
import threading
from copy import copy, deepcopy

import numpy as np
import pytest
from estimator_checks import parameters
from sklearn.base import clone

from fastnn import DivergenceError, MLPClassifier, MLPRegressor

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(600, 5))
CLASSES = np.array(["a", "b", "c"])
LABELS = CLASSES[np.argmax(X[:, :3], axis=1)]
NUMBERS = X[:, 0] - X[:, 1]


def fit_rows(estimator, *counts, dtype=np.float64, ordinary=False, n_calls=10):
    """Return the estimator after partial fits of these numbers of rows; lists of rows need ordinary ones."""
    known = {"classes": CLASSES} if isinstance(estimator, MLPClassifier) else {}
    targets = LABELS if known else NUMBERS.astype(dtype)
    if not known and len(estimator.hidden_layer_sizes) == 2:  # a network of two layers has several outputs
        targets = np.stack([targets, X[:, 2].astype(dtype)], axis=1)
    for k, count in zip(range(n_calls), itertools.cycle(counts or [1])):
        rows = slice(k, k + count)
        own = targets[rows]
        estimator.partial_fit(X[rows].astype(dtype), own.tolist() if ordinary else own, **known)
    return estimator


def regressor(**options):
    return MLPRegressor(**{"hidden_layer_sizes": (3,), "random_state": 0} | options)


def assert_same(one, other):
    """Assert that two estimators have bitwise equal parameters, records and optimizer states."""
    dtype = one.coefs_[0].dtype
    continued = [fit_rows(deepcopy(each), 3, dtype=dtype, ordinary=True) for each in (one, other)]
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
    "several outputs": lambda: regressor(hidden_layer_sizes=(10, 10)),
    "without a seed": lambda: MLPClassifier((5,)),
    "batches of several tiles": lambda: regressor(batch_size=300),
    "without an order": lambda: regressor(random_state=np.random.RandomState(1), shuffle=False),
}


@pytest.mark.parametrize(
    ("counts", "dtype"),
    [([1], np.float64), ([3], np.float32), ([64, 5, 300, 250, 1, 33], np.float64), ([2, 20, 9], np.float32)],
    ids=str,
)
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.filterwarnings("ignore:Got .batch_size")
def test_prepared_steps_equal_ordinary_partial_fits(make, counts, dtype):
    """Coefficients are computed for some hundred steps at once, and Adam's depend on the step."""
    options = {"dtype": dtype, "n_calls": 300 if make is MAKERS["regressor"] and counts == [1] else 12}
    fitted, drawn = [], []
    for ordinary in (False, True):
        np.random.seed(1)
        fitted.append(fit_rows(make(), *counts, **options, ordinary=ordinary))
        drawn.append(np.random.random())
    assert drawn[0] == drawn[1]
    assert_same(*fitted)


def count_calls(estimator, n_rows, targets=NUMBERS, **known):
    """Return the number of calls of Python functions in a further partial fit."""
    calls = []
    sys.setprofile(lambda frame, event, argument: calls.append(event))
    try:
        estimator.partial_fit(X[:n_rows], targets[:n_rows], **known)
    finally:
        sys.setprofile(None)
    return calls.count("call")


@pytest.mark.parametrize(
    "targets", [NUMBERS, NUMBERS.astype(int), LABELS], ids=["numbers", "integers", "labels"]
)
def test_prepared_steps_do_a_small_part_of_the_work(targets):
    listed = {"classes": ["a", "b", "c"]}  # a list, not an array
    estimator, known = (MLPClassifier((3,)), listed) if targets is LABELS else (regressor(), {})
    estimator.partial_fit(X[:1], targets[:1], **known)
    counts = [count_calls(estimator, n_rows, targets, **known) for n_rows in (4, 4, 4, 3, 1, 2)]
    assert 5 * max(counts[2:]) < counts[0]
    assert count_calls(estimator.set_params(alpha=0.5), 1, targets, **known) > 5 * max(counts[2:])


def test_every_partial_fit_of_less_than_a_batch_warns():
    estimator = regressor(batch_size=4)
    for _ in range(4):
        with pytest.warns(UserWarning, match="clipped"):
            estimator.partial_fit(X[:3], NUMBERS[:3])


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
    fit_rows(expected, ordinary=True, n_calls=2)
    np.testing.assert_array_equal(parameters(estimator), parameters(expected))
