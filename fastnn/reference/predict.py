"""Outputs, classes and the loss of a table of samples X; activations, W and b have an entry per layer."""

from .loss import loss_value
from .network import scores
from .output import argmax, output_forward


def outputs(activations, W, b, X, name):
    """Return the outputs (n, k) of the output function `name`, applied to the scores of X."""
    return output_forward(name, scores(activations, W, b, X))


def predict(activations, W, b, X):
    """Return the class (n,) of the highest score of each sample; of equal scores, the first class wins."""
    return argmax(scores(activations, W, b, X))


def loss(activations, W, b, X, name, y, weights, parameter):
    """Return the weighted loss `name` of the scores of X; see `loss_value` for the other arguments."""
    return loss_value(name, scores(activations, W, b, X), y, weights, parameter)
