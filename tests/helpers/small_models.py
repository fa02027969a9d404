"""Two-class data of two features, and the small models that tests train on them."""

import numpy as np
from estimator_checks import state

import fastnn
from fastnn.play.datasets import moons

CLOSE = {"rtol": 1e-10, "atol": 1e-12}

X, y = moons(200, 0.2, 0)
X_val, y_val = moons(70, 0.35, 1)
few, few_y = X[:37], y[:37]
# Random labels, which a network can only memorise.
noise_y = np.random.default_rng(3).integers(0, 2, 37)


def model_for(backend="numba", **options):
    options = {"random_state": 0} | options
    return fastnn.Model([2, 3, 2], backend=backend, **options)


def trained(X=X, y=y, **options):
    model = fastnn.Model([2, 3, 2], random_state=1, **options)
    model.train(X, y, num_passes=50)
    return model


def everything(model):
    """Return all that a training may change: parameters, statistics, and the state of NumPy's generator."""
    return np.concatenate([state(model), np.random.get_state()[1]])
