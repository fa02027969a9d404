"""Access to the parameters of models and estimators of any kind."""

import numpy as np


def parameters(fitted):
    """Return a copy of all weights, then all biases, as one vector.

    `fitted` is a model, an estimator, an ensemble, whose members' parameters follow one another, or a
    pipeline, whose last step counts.
    """
    if hasattr(fitted, "steps"):
        return parameters(fitted.steps[-1][1])
    if hasattr(fitted, "estimators_"):
        return np.concatenate([parameters(member) for member in fitted.estimators_])
    arrays = (*fitted.W, *fitted.b) if hasattr(fitted, "W") else (*fitted.coefs_, *fitted.intercepts_)
    return np.concatenate([array.ravel() for array in arrays])


def state(model):
    """Return a copy of all that a training changes in a model: parameters, and batch normalisation."""
    return np.concatenate([parameters(model), *(part.ravel() for norm in model.batch_norm for part in norm)])
