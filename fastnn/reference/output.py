"""The output: what the scores, the last layer's outputs, say about a sample.

Shapes: S (n, k), the scores; y (n,), labels 0 .. k-1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .layer import Sigmoid

__all__ = ["OUTPUTS", "Softmax", "all_finite", "argmax", "output_forward", "softmax_forward"]


def softmax_forward(S):
    """Return the probabilities of the classes, each row summing to 1."""
    e = np.exp(S - np.max(S, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


OUTPUTS: dict[str, Any] = {
    "softmax": softmax_forward,
    "sigmoid": Sigmoid.value,
    "exponential": np.exp,
    "identity": lambda S: S,
}


def output_forward(name, S):
    """Return the output `name` of the scores."""
    return OUTPUTS[name](S)


def argmax(S):
    """Return the class of the highest score, the first of equal ones."""
    return np.argmax(S, axis=1)


def all_finite(S):
    """Return True if no value of S is NaN or infinity."""
    return bool(np.isfinite(S).all())


class Softmax:
    """Softmax and the cross entropy of its probabilities, as in the tutorial."""

    def predict(self, X):
        """Return the probabilities (n, k) of the classes, given the scores X (n, k)."""
        return softmax_forward(X)

    def loss(self, X, y):
        """Return the mean of ``-log p[label]``, given the scores X (n, k) and labels y (n,)."""
        check_labels(X, y)
        # By log-sum-exp, which is finite for any finite scores; in float64, where their sum is too.
        S = (X - np.max(X, axis=1, keepdims=True)).astype(np.float64)
        losses = np.log(np.sum(np.exp(S), axis=1)) - S[np.arange(len(y)), y]
        return float(np.sum(losses / len(y)))

    def diff(self, X, y):
        """Return the derivative (n, k) of the summed loss by the scores: p, less 1 at the label."""
        check_labels(X, y)
        P = softmax_forward(X)
        P[np.arange(len(X)), y] -= 1
        return P


def check_labels(S, y):
    """Raise ValueError unless there is a label 0 .. k-1 for each of the scores (n, k)."""
    n, k = S.shape
    if len(y) != n:
        raise ValueError(f"X has {n} samples, but y has {len(y)} labels")
    if n and not (np.min(y) >= 0 and np.max(y) < k):
        raise ValueError(f"y must hold labels 0 .. {k - 1}, got {np.min(y)} to {np.max(y)}")
