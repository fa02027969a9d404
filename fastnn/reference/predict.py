"""Probabilities, classes and the loss of a table of samples."""

from __future__ import annotations

from .network import scores
from .output import argmax, softmax_forward, softmax_loss

__all__ = ["loss", "predict", "predict_proba"]


def predict_proba(activations, W, b, X):
    """Probabilities (n, k)."""
    return softmax_forward(scores(activations, W, b, X))


def predict(activations, W, b, X):
    """Classes (n,): of the highest score, the first where several are."""
    return argmax(scores(activations, W, b, X))


def loss(activations, W, b, X, y, scale):
    """Sum over the samples of -scale log p[label]."""
    return softmax_loss(scores(activations, W, b, X), y, scale)
