"""Problems and estimators for the tests of the estimators, of ensembles and of `fit_many`."""

import numpy as np
import pytest
import sklearn.neural_network
from sklearn.datasets import load_iris
from sklearn.preprocessing import StandardScaler

import fastnn

# The mark of a module in which most fits end at max_iter.
UNCONVERGED = pytest.mark.filterwarnings(
    "ignore:Stochastic Optimizer. Maximum iterations:sklearn.exceptions.ConvergenceWarning",
    "ignore:lbfgs failed to converge:sklearn.exceptions.ConvergenceWarning",
)
THEIRS, OURS = sklearn.neural_network, fastnn

X, y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)

NAMES = np.array(["setosa", "versicolor", "virginica"])
random = np.random.RandomState(0)
TARGETS = np.column_stack([X @ [1, -2, 0.5, 1], np.sin(2 * X[:, 0]), X[:, 1] * X[:, 2]])
LABELS = np.column_stack([y == 0, y > 0, X[:, 0] > 0]).astype(int)
COUNTS = random.poisson(np.exp(X[:, 0])).astype(float)
WEIGHTS = random.randint(0, 4, len(X))

SMALL = {"hidden_layer_sizes": (7,), "random_state": 0, "max_iter": 5}


def classifier(module=OURS, **parameters):
    """Return a small classifier of a module, which is fitted for five epochs."""
    return module.MLPClassifier(**SMALL | parameters)


def regressor(module=OURS, **parameters):
    """Return a small regressor of a module, which is fitted for five epochs."""
    return module.MLPRegressor(**SMALL | parameters)


# By the kind of problem: a function that makes an estimator, targets, and further parameters.
PROBLEMS = {
    "binary": (classifier, np.where(y == 1, "yes", "no"), {}),
    "multiclass": (classifier, NAMES[y], {}),
    "multilabel": (classifier, LABELS, {}),
    "regression": (regressor, TARGETS[:, 0], {}),
    "three outputs": (regressor, TARGETS, {}),
    "poisson": (regressor, COUNTS, {"loss": "poisson"}),
}
ENSEMBLES = {classifier: fastnn.MLPEnsembleClassifier, regressor: fastnn.MLPEnsembleRegressor}
# A function that makes a member, the class of the ensemble, and targets, for all problems but one.
ensembles = pytest.mark.parametrize(
    ("member", "kind", "targets"),
    [(make, ENSEMBLES[make], targets) for make, targets, options in PROBLEMS.values() if not options],
    ids=[name for name, (*_, options) in PROBLEMS.items() if not options],
)


def going_on(**options):
    """Return a classifier that never stops early, for fits in several calls."""
    return classifier(**{"batch_size": 40, "n_iter_no_change": np.inf, "learning_rate_init": 0.01} | options)
