"""The output: what the scores, the last layer's outputs, say about a sample.

Shapes: S (n, k), the scores; y (n,), labels 0 .. k-1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..system.validation import as_floats, check_labels
from .layer import Sigmoid

__all__ = ["OUTPUTS", "Softmax", "all_finite", "argmax", "output_forward", "softmax_forward"]


def softmax_forward(S):
    """Probabilities of the classes, each row summing to 1."""
    e = np.exp(S - np.max(S, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


OUTPUTS: dict[str, Any] = {
    "softmax": softmax_forward,
    "sigmoid": Sigmoid.value,
    "exponential": np.exp,
    "identity": lambda S: S,
}


def output_forward(name, S):
    """The output `name` of the scores."""
    return OUTPUTS[name](S)


def argmax(S):
    """The class of the highest score, the first where several are."""
    return np.argmax(S, axis=1)


def all_finite(S):
    """Return whether no value of S is NaN or infinity."""
    return bool(np.isfinite(S).all())


class Softmax:
    """Softmax and the cross entropy of its probabilities, as in the tutorial.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> softmax = fastnn.Softmax()
    >>> scores, labels = np.array([[0.0, 0.0], [0.0, 1000.0]]), np.array([0, 1])
    >>> softmax.predict(scores)
    array([[0.5, 0.5],
           [0. , 1. ]])
    >>> round(softmax.loss(scores, labels), 6)
    0.346574
    >>> softmax.diff(scores, labels)
    array([[-0.5,  0.5],
           [ 0. ,  0. ]])
    """

    def predict(self, X):
        """Probabilities of the classes.

        Parameters
        ----------
        X : array (n, k)
            Scores.

        Returns
        -------
        array (n, k)
            Each row sums to 1.
        """
        return softmax_forward(_scores(X))

    def loss(self, X, y):
        """Mean of -log p[label].

        Parameters
        ----------
        X : array (n, k)
            Scores.
        y : array (n,)
            Labels 0 .. k-1.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            For labels of another length, no integers, or out of range.
        """
        X = _scores(X)
        y = check_labels(y, *X.shape)
        # By log-sum-exp, which is finite for any finite scores; in float64, where their sum is too.
        S = (X - np.max(X, axis=1, keepdims=True)).astype(np.float64)
        losses = np.log(np.sum(np.exp(S), axis=1)) - S[np.arange(len(y)), y]
        return float(np.sum(losses / len(y)))

    def diff(self, X, y):
        """Derivative of the summed loss by the scores: p, less 1 at the label.

        Not divided by the number of samples, as in the tutorial.

        Parameters
        ----------
        X : array (n, k)
            Scores.
        y : array (n,)
            Labels 0 .. k-1.

        Returns
        -------
        array (n, k)
        """
        X = _scores(X)
        P = softmax_forward(X)
        P[np.arange(len(X)), check_labels(y, *X.shape)] -= 1
        return P


def _scores(X):
    X = as_floats(X)
    if X.ndim != 2:
        raise ValueError(f"scores must have the shape (samples, classes), got {X.shape}")
    return X
