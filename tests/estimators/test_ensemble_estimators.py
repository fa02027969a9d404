"""Ensembles as estimators: scikit-learn's checks, copies, parameters, errors."""

import copy
import pickle
import warnings
from unittest import SkipTest

import numpy as np
import pytest
import sklearn
import sklearn.neural_network
from ensemble_problems import METHODS, assert_same_members, classifier, problems, regressor
from estimator_problems import NAMES, X, y
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

import fastnn
from fastnn import (
    MLPClassifier,
    MLPEnsembleClassifier,
    MLPEnsembleRegressor,
    MLPRegressor,
)

# Fits here end at max_iter.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Stochastic Optimizer. Maximum iterations:sklearn.exceptions.ConvergenceWarning",
    "ignore:lbfgs failed to converge:sklearn.exceptions.ConvergenceWarning",
)


# Ensembles on which scikit-learn's checks of estimators run.
CHECKED = [
    kind(member(hidden_layer_sizes=(6,), max_iter=60, learning_rate_init=0.05), n_estimators=2, method=method)
    for kind, member in ((MLPEnsembleClassifier, MLPClassifier), (MLPEnsembleRegressor, MLPRegressor))
    for method in METHODS
]

# Least number of checks for each estimator; scikit-learn 1.9 has 63 and 56.
MIN_CHECKS = 50

# Checks that may skip themselves, with the reason.
MAY_BE_SKIPPED = {
    "check_array_api_input": "asks for SCIPY_ARRAY_API=1 in the environment",
    "check_classifiers_multilabel_output_format_decision_function": "there is no decision_function",
}

# A bootstrap fails these checks: the rows that it draws depend on the number of rows.
WEIGHT_CHECKS = (
    "check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data"
)  # fmt: skip


def expected_failures(ensemble):
    """Return the checks that an ensemble is expected to fail, each with the reason."""
    if ensemble.method != "bootstrap":
        return {}
    return dict.fromkeys(WEIGHT_CHECKS, "the rows drawn depend on the number of rows")


def name_of(check):
    return getattr(check, "func", check).__name__


@parametrize_with_checks(CHECKED, expected_failed_checks=expected_failures)
def test_the_check_of_scikit_learn_passes(estimator, check):
    skipped = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            check(estimator)
        except SkipTest as reason:
            skipped = reason
    if skipped:
        assert name_of(check) in MAY_BE_SKIPPED, f"{name_of(check)} was skipped: {skipped}"
        pytest.skip(str(skipped))


@pytest.mark.parametrize("ensemble", CHECKED)
def test_only_the_weight_checks_of_a_bootstrap_fail(ensemble):
    """An expected failure is tested to be one, and scikit-learn yields all of its checks."""
    checks = [check for _, check in estimator_checks_generator(ensemble)]
    assert len(checks) >= MIN_CHECKS
    failures = [check for check in checks if name_of(check) in expected_failures(ensemble)]
    assert len(failures) == (2 if ensemble.method == "bootstrap" else 0)
    for check in failures:
        with pytest.raises(AssertionError, match="is not equivalent to fitting with"):
            check(ensemble)


@pytest.mark.parametrize("method", METHODS)
@problems
def test_copies_are_equal_and_independent(member, kind, targets, method):
    ensemble = kind(member(), 2, method, random_state=0).fit(X, targets)
    for other in (pickle.loads(pickle.dumps(ensemble)), copy.deepcopy(ensemble)):
        assert_same_members(other, ensemble.estimators_)
        np.testing.assert_array_equal(other.predict(X), ensemble.predict(X))
        other.estimators_[0].partial_fit(X, targets)
    assert_same_members(clone(ensemble).fit(X, targets), ensemble.estimators_)
    assert not hasattr(clone(ensemble), "estimators_")


def test_parameters_of_the_member_are_parameters_of_the_ensemble():
    member = classifier()
    ensemble = MLPEnsembleClassifier(member)
    shallow = {
        "estimator": member,
        "n_estimators": 10,
        "method": "seeds",
        "n_jobs": None,
        "random_state": None,
    }
    assert ensemble.get_params(deep=False) == shallow
    assert ensemble.get_params() == shallow | {f"estimator__{k}": v for k, v in member.get_params().items()}
    ensemble.set_params(estimator__alpha=0.5, n_estimators=2, estimator__solver="sgd")
    assert (member.alpha, ensemble.n_estimators) == (0.5, 2)
    assert [fitted.alpha for fitted in ensemble.fit(X, y).estimators_] == [0.5, 0.5]
    with pytest.raises(ValueError, match="Invalid parameter 'beta'"):
        ensemble.set_params(estimator__beta=1)
    grid = GridSearchCV(ensemble, {"estimator__alpha": [0, 1.0], "method": METHODS}, cv=2).fit(X, y)
    assert set(grid.best_params_) == {"estimator__alpha", "method"}
    assert cross_val_predict(ensemble, X, y, cv=2, method="predict_proba").shape == (150, 3)
    assert make_pipeline(StandardScaler(), ensemble).fit(X, y).predict(X).shape == (150,)


def test_representations_and_tags_describe_the_ensemble():
    ensemble = MLPEnsembleClassifier(classifier(alpha=0.5), 3)
    assert repr(ensemble).startswith("MLPEnsembleClassifier(estimator=MLPClassifier(")
    for shown in (ensemble, clone(ensemble).fit(X, y), MLPEnsembleClassifier([classifier()] * 2)):
        assert "MLPEnsembleClassifier" in shown._repr_html_()
        assert "alpha=0.5" in repr(shown) or isinstance(shown.estimator, list)
    assert sklearn.utils.get_tags(ensemble).classifier_tags.multi_label
    assert sklearn.utils.get_tags(ensemble).input_tags.sparse
    assert is_classifier(ensemble)
    assert is_regressor(MLPEnsembleRegressor())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("estimator", 3, "The 'estimator' parameter"),
        ("estimator", MLPClassifier, "The 'estimator' parameter"),
        ("n_estimators", 0, "The 'n_estimators' parameter"),
        ("n_estimators", 1.5, "The 'n_estimators' parameter"),
        ("method", "boosting", "The 'method' parameter"),
        ("n_jobs", 1.5, "The 'n_jobs' parameter"),
        ("n_jobs", 0, "n_jobs must be None or an integer other than 0"),
        ("random_state", "zero", "The 'random_state' parameter"),
        ("estimator", [], "estimator is an empty list"),
        ("estimator", regressor(), "estimator must be a fastnn.MLPClassifier, got MLPRegressor"),
        ("estimator", [classifier(), 3], r"estimator\[1\] must be a fastnn.MLPClassifier, got 3"),
        (
            "estimator", [sklearn.neural_network.MLPClassifier()],
            r"estimator\[0\] must be .* got MLPClassifier\(\) of sklearn.neural_network",
        ),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_wrong_parameters_are_refused(name, value, message):
    ensemble = MLPEnsembleClassifier(**{"estimator": classifier(), "n_estimators": 2} | {name: value})
    with pytest.raises(ValueError, match=message):
        ensemble.fit(X, y)
    assert not hasattr(ensemble, "estimators_")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("name", "value"), [("alpha", -1), ("max_iter", "many"), ("batch_size", "all"), ("solver", "newton")]
)
def test_wrong_parameters_of_members_are_refused(method, name, value):
    ensemble = MLPEnsembleClassifier(classifier(**{name: value}), 2, method)
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of MLPClassifier must be"):
        ensemble.fit(X, y)


def test_sample_weights_are_checked():
    ensemble = MLPEnsembleClassifier(classifier(), 2, random_state=0)
    for weights in (np.zeros(150), -np.ones(150), np.ones(149), np.full(150, np.nan), ["a"] * 150):
        with pytest.raises(ValueError):  # noqa: PT011, test_estimator_data.py tests the messages
            ensemble.fit(X, y, weights)
    same = clone(ensemble).fit(X, y, 1.0)  # one weight for all samples, as a member takes it
    assert_same_members(same, ensemble.fit(X, y).estimators_)


# Changes of an ensemble or of its data with which a fit is refused, and a part of the message.
REFUSED = {
    "n_jobs": ({"n_jobs": 0}, {}, "n_jobs must be None or an integer other than 0"),
    "estimator": ({"estimator": []}, {}, "estimator is an empty list"),
    "a member": ({"estimator": classifier(hidden_layer_sizes=(0,))}, {}, "hidden_layer_sizes must be > 0"),
    "X": ({}, {"X": np.full((len(X), 3), np.nan)}, "contains NaN"),
    "y": ({}, {"y": NAMES[y][:-1]}, "inconsistent numbers of samples"),
    "sample_weight": ({}, {"sample_weight": -np.ones(len(X))}, r"sample_weight\[0\] is -1"),
    "X_val": ({}, {"X_val": X[:, :1], "y_val": NAMES[y]}, "X_val, y_val"),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_a_fit_that_is_refused_leaves_the_earlier_fit(wrong):
    changes, data, message = REFUSED[wrong]
    ensemble = MLPEnsembleClassifier(classifier(), 2, n_jobs=1, random_state=0).fit(X, y)
    before = ensemble.predict_proba(X)
    ensemble.set_params(**changes)
    with pytest.raises(ValueError, match=message):
        ensemble.fit(**{"X": X[:, :3], "y": NAMES[y]} | data)
    assert ensemble.n_features_in_ == X.shape[1]
    np.testing.assert_array_equal(ensemble.classes_, np.unique(y))
    np.testing.assert_array_equal(ensemble.predict_proba(X), before)


@pytest.mark.parametrize("method", METHODS)
def test_a_fit_that_diverges_discards_the_earlier_fit(method):
    ensemble = MLPEnsembleClassifier(classifier(), 2, method).fit(X, y)
    ensemble.set_params(estimator=classifier(solver="sgd", learning_rate_init=1e300))
    with pytest.raises(fastnn.DivergenceError):
        ensemble.fit(X[:, :3], NAMES[y])
    with pytest.raises(NotFittedError):
        ensemble.predict(X)
    ensemble.set_params(estimator=classifier()).fit(X, y).predict(X)
