"""Problems, estimators and comparisons for the tests of ensembles and of `fit_many`."""

import numpy as np
import pytest
from estimator_problems import LABELS, NAMES, TARGETS, X, assert_same_fit, y

from fastnn import (
    MLPClassifier,
    MLPEnsembleClassifier,
    MLPEnsembleRegressor,
    MLPRegressor,
)

WEIGHTS = np.random.RandomState(0).randint(0, 4, len(X))

METHODS = ("seeds", "bootstrap", "snapshots", "average")


def classifier(**parameters):
    """Return a small classifier that is fitted for four epochs."""
    return MLPClassifier(**{"hidden_layer_sizes": (6,), "random_state": 0, "max_iter": 4} | parameters)


def regressor(**parameters):
    """Return a small regressor that is fitted for four epochs."""
    return MLPRegressor(**{"hidden_layer_sizes": (6,), "random_state": 0, "max_iter": 4} | parameters)


# By the kind of problem: a function that makes a member, the class of the ensemble, and targets.
PROBLEMS = {
    "binary": (classifier, MLPEnsembleClassifier, np.where(y == 1, "yes", "no")),
    "multiclass": (classifier, MLPEnsembleClassifier, NAMES[y]),
    "multilabel": (classifier, MLPEnsembleClassifier, LABELS),
    "regression": (regressor, MLPEnsembleRegressor, TARGETS[:, 0]),
    "three outputs": (regressor, MLPEnsembleRegressor, TARGETS),
}

problems = pytest.mark.parametrize(
    ("member", "kind", "targets"), PROBLEMS.values(), ids=PROBLEMS.keys()
)  # fmt: skip


def assert_same_members(ensemble, expected):
    """Assert that an ensemble's members equal the `expected` estimators bit for bit."""
    assert len(ensemble.estimators_) == len(expected)
    for one, other in zip(ensemble.estimators_, expected, strict=True):
        assert_same_fit(one, other)
