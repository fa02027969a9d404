"""Problems, estimators and comparisons for the tests of the estimators."""

import numpy as np
import pytest
from estimator_checks import parameters
from sklearn.base import is_classifier
from sklearn.datasets import load_iris
from sklearn.preprocessing import StandardScaler

from fastnn import MLPClassifier, MLPRegressor

# The mark of a module in which most fits end at max_iter.
UNCONVERGED = pytest.mark.filterwarnings(
    "ignore:Stochastic Optimizer. Maximum iterations:sklearn.exceptions.ConvergenceWarning",
    "ignore:lbfgs failed to converge:sklearn.exceptions.ConvergenceWarning",
)

X, y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)

NAMES = np.array(["setosa", "versicolor", "virginica"])
random = np.random.RandomState(0)
TARGETS = np.column_stack([X @ [1, -2, 0.5, 1], np.sin(2 * X[:, 0]), X[:, 1] * X[:, 2]])
LABELS = np.column_stack([y == 0, y > 0, X[:, 0] > 0]).astype(int)
COUNTS = random.poisson(np.exp(X[:, 0])).astype(float)
WEIGHTS = random.randint(0, 4, len(X))

# By the kind of problem: the class of the estimator, targets, and further parameters.
PROBLEMS = {
    "binary": ("MLPClassifier", np.where(y == 1, "yes", "no"), {}),
    "multiclass": ("MLPClassifier", NAMES[y], {}),
    "multilabel": ("MLPClassifier", LABELS, {}),
    "regression": ("MLPRegressor", TARGETS[:, 0], {}),
    "three outputs": ("MLPRegressor", TARGETS, {}),
    "poisson": ("MLPRegressor", COUNTS, {"loss": "poisson"}),
}


def classifier(**parameters):
    """Return a small classifier that is fitted for five epochs."""
    return MLPClassifier(**{"hidden_layer_sizes": (7,), "random_state": 0, "max_iter": 5} | parameters)


def regressor(**parameters):
    """Return a small regressor that is fitted for five epochs."""
    return MLPRegressor(**{"hidden_layer_sizes": (7,), "random_state": 0, "max_iter": 5} | parameters)


def assert_same_fit(one, other):
    """Assert that two fits left bitwise equal parameters, losses and classes."""
    np.testing.assert_array_equal(parameters(one), parameters(other))
    for name in (
        "loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_",
        "validation_loss_curve_", "t_",
    ):  # fmt: skip
        assert getattr(one, name, None) == getattr(other, name, None), name
    if is_classifier(one):
        np.testing.assert_array_equal(one.classes_, other.classes_)
        assert one.classes_.dtype == other.classes_.dtype


def assert_equal_to_theirs(theirs, ours, atol=1e-11, with_losses=True):
    """Assert that two fits agree: scikit-learn's, `theirs`, and fastnn's, `ours`."""
    for one, other in zip(
        theirs.coefs_ + theirs.intercepts_, ours.coefs_ + ours.intercepts_, strict=True
    ):  # fmt: skip
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        np.testing.assert_allclose(other, one, rtol=0, atol=atol)
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(theirs, name) == getattr(ours, name), name
    if is_classifier(ours):
        np.testing.assert_array_equal(theirs.classes_, ours.classes_)
        assert theirs.classes_.dtype == ours.classes_.dtype
    losses = ("loss_", "best_loss_", "loss_curve_") if with_losses else ()
    for name in (*losses, "validation_scores_", "best_validation_score_"):
        assert hasattr(theirs, name) == hasattr(ours, name), name
        expected, value = getattr(theirs, name, None), getattr(ours, name, None)
        assert (expected is None) == (value is None), name
        if expected is not None:
            assert type(value) in (list, float, np.float64), name
            np.testing.assert_allclose(value, expected, rtol=1e-9, atol=atol)


def going_on(**options):
    """Return a classifier that never stops early, for fits in several calls."""
    return classifier(**{"batch_size": 40, "n_iter_no_change": np.inf, "learning_rate_init": 0.01} | options)
