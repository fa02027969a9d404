"""Outputs, classes and the loss of a table of samples."""

from __future__ import annotations

from .loss import loss_value
from .network import scores
from .output import argmax, output_forward

__all__ = ["loss", "outputs", "predict"]


def outputs(activations, W, b, X, name):
    """Return the output `name` (n, k) of the scores."""
    return output_forward(name, scores(activations, W, b, X))


def predict(activations, W, b, X):
    """Return the classes (n,) of the highest scores, the first of equal ones."""
    return argmax(scores(activations, W, b, X))


def loss(activations, W, b, X, name, y, weights, parameter):
    """Return the weighted loss `name` of the scores."""
    return loss_value(name, scores(activations, W, b, X), y, weights, parameter)
