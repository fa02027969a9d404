"""Output functions: from scores, the outputs of the last layer, to probabilities, classes or targets.

Shapes: S (n, k), the scores; y (n,), labels 0 .. k-1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .layer import Sigmoid

__all__ = ["OUTPUTS", "Softmax", "all_finite", "argmax", "output_forward", "softmax_forward"]


def softmax_forward(S):
    """Return the probabilities (n, k) of the classes; each row sums to 1."""
    e = np.exp(S - np.max(S, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


# Output functions by name.
OUTPUTS: dict[str, Any] = {
    "softmax": softmax_forward,
    "sigmoid": Sigmoid.value,
    "exponential": np.exp,
    "identity": lambda S: S,
}


def output_forward(name, S):
    """Return the result of the output function `name` for the scores S."""
    return OUTPUTS[name](S)


def argmax(S):
    """Return the class (n,) of the highest score of each sample; of equal scores, the first class wins."""
    return np.argmax(S, axis=1)


def all_finite(S):
    """Return True if no value of S is NaN or infinite."""
    return bool(np.isfinite(S).all())


class Softmax:
    """The tutorial's output: softmax, and the cross-entropy of its probabilities."""

    def predict(self, X):
        """Return the probabilities (n, k) of the classes, given the scores X (n, k)."""
        return softmax_forward(X)

    def loss(self, X, y):
        """Return the mean of ``-log p[label]``, given the scores X (n, k) and labels y (n,)."""
        check_labels(X, y)
        # log-sum-exp is finite for any finite scores, and in float64 the sum of the losses is, too.
        S = (X - np.max(X, axis=1, keepdims=True)).astype(np.float64)
        losses = np.log(np.sum(np.exp(S), axis=1)) - S[np.arange(len(y)), y]
        return float(np.sum(losses / len(y)))

    def diff(self, X, y):
        """Return the derivative (n, k) of the summed loss by the scores: probabilities, minus 1 at labels."""
        check_labels(X, y)
        P = softmax_forward(X)
        P[np.arange(len(X)), y] -= 1
        return P


def check_labels(S, y):
    """Raise ValueError unless y has n labels from 0 to k - 1, for scores S (n, k)."""
    n, k = S.shape
    if len(y) != n:
        raise ValueError(f"X has {n} samples, but y has {len(y)} labels")
    if n and not (np.min(y) >= 0 and np.max(y) < k):
        raise ValueError(f"y must hold labels 0 .. {k - 1}, got {np.min(y)} to {np.max(y)}")
