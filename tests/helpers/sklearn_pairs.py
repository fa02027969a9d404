"""scikit-learn's estimators and fastnn's, made with the same parameters and compared."""

import estimator_problems
import numpy as np
import sklearn.neural_network
from estimator_checks import parameters

import fastnn

X, y, TARGETS = estimator_problems.X, estimator_problems.y, estimator_problems.TARGETS
CLASSES = [0, 1, 2]
THEIRS, OURS = sklearn.neural_network, fastnn

# Parameters of solvers and schedules for `partial_fit`.
RULES = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 10.0, "n_iter_no_change": 1},
}


def classifier(module, **parameters):
    """Return the small classifier of a module."""
    options = {"hidden_layer_sizes": (7,), "random_state": 3, "max_iter": 5}
    return module.MLPClassifier(**options | parameters)


def regressor(module, **parameters):
    """Return the small regressor of a module."""
    options = {"hidden_layer_sizes": (7,), "random_state": 3, "max_iter": 5}
    return module.MLPRegressor(**options | parameters)


def are_equal(one, other):
    """Return whether two estimators have the same weights up to rounding."""
    return np.allclose(parameters(one), parameters(other), rtol=0, atol=1e-10)


def have_same_bits(one, other):
    """Return whether two estimators have bitwise equal weights."""
    return np.array_equal(parameters(one), parameters(other))


def fitted_in_parts(estimator, n_calls=5, before=None):
    """Return an estimator after `n_calls` calls of `partial_fit`; `before` is called before each."""
    for _ in range(n_calls):
        if before is not None:
            before(estimator)
        estimator.partial_fit(X, y, classes=CLASSES)
    return estimator


def fitted_often(estimator, n_calls=3, before=None):
    """Return an estimator after `n_calls` calls of `fit`; `before` is called before each."""
    for _ in range(n_calls):
        if before is not None:
            before(estimator)
        estimator.fit(X, y)
    return estimator


def reseed(estimator):
    """Give an estimator a new generator with the seed it had."""
    estimator.set_params(random_state=np.random.RandomState(3))
