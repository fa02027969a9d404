"""The parameter update, over the flat vector with the weights first."""

from __future__ import annotations

import numpy as np

__all__ = ["gradient_descent"]


def gradient_descent(gradient, n_weights, epsilon, reg_lambda, parameters):
    """``p -= epsilon * (dp + reg_lambda * p)`` in place, without the second term for the biases.

    Returns whether every parameter is finite still.
    """
    step = gradient.copy()
    step[:n_weights] += reg_lambda * parameters[:n_weights]
    parameters -= epsilon * step
    return bool(np.isfinite(parameters).all())
