"""scikit-learn's estimators and fastnn's, made with the same parameters and compared."""

import estimator_problems
import sklearn.neural_network

import fastnn

X, y, TARGETS = estimator_problems.X, estimator_problems.y, estimator_problems.TARGETS
THEIRS, OURS = sklearn.neural_network, fastnn


def classifier(module, **parameters):
    """Return the small classifier of a module."""
    options = {"hidden_layer_sizes": (7,), "random_state": 3, "max_iter": 5}
    return module.MLPClassifier(**options | parameters)


def regressor(module, **parameters):
    """Return the small regressor of a module."""
    options = {"hidden_layer_sizes": (7,), "random_state": 3, "max_iter": 5}
    return module.MLPRegressor(**options | parameters)
