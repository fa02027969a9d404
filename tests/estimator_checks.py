"""What tests look at in models and estimators."""

import numpy as np


def parameters(fitted):
    """Return all weights, then all biases, in one vector, a copy.

    They are a model's, an estimator's, those of the members of an ensemble, or of a pipeline's last step.
    """
    if hasattr(fitted, "steps"):
        return parameters(fitted.steps[-1][1])
    if hasattr(fitted, "estimators_"):
        return np.concatenate([parameters(member) for member in fitted.estimators_])
    arrays = (*fitted.W, *fitted.b) if hasattr(fitted, "W") else (*fitted.coefs_, *fitted.intercepts_)
    return np.concatenate([array.ravel() for array in arrays])
