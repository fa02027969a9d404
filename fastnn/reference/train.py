"""The training loop: gradient descent on the whole batch."""

from __future__ import annotations

import numpy as np

from .network import backward_pass, forward_pass
from .output import softmax_backward
from .update import gradient_descent

__all__ = ["train_passes"]


def train_passes(network, parameters, X, y, n_passes, epsilon, reg_lambda):
    """Train for `n_passes` passes, `parameters` in place.

    Returns the number of passes that left every parameter finite: fewer than `n_passes` where the
    training diverged, and the parameters are then those of the last such pass.
    """
    W, b = network.weights(parameters), network.biases(parameters)
    for n_done in range(n_passes):
        outputs = forward_pass(network.activations, W, b, X)
        dW, db = backward_pass(network.activations, W, outputs, softmax_backward(outputs[-1], y))
        gradient = np.concatenate([d.ravel() for d in (*dW, *db)])
        before = parameters.copy()
        if not gradient_descent(gradient, network.n_weights, epsilon, reg_lambda, parameters):
            parameters[...] = before
            return n_done
    return n_passes
