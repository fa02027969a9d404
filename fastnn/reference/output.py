"""The output: softmax over the scores, its loss and its difference to the labels.

Shapes: S (n, k), the scores of k classes; y (n,), labels 0 .. k-1.
"""

from __future__ import annotations

import numpy as np

__all__ = ["Softmax", "argmax", "softmax_backward", "softmax_forward", "softmax_loss"]


def softmax_forward(S):
    """Probabilities of the classes, each row summing to 1."""
    e = np.exp(S - np.max(S, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def softmax_loss(S, y):
    """Sum over the samples of -log p[label], by log-sum-exp: finite for any finite scores."""
    S = S - np.max(S, axis=1, keepdims=True)
    return np.sum(np.log(np.sum(np.exp(S), axis=1)) - S[np.arange(len(y)), y], dtype=np.float64)


def softmax_backward(S, y):
    """Derivative of the summed loss by the scores: p, less 1 at the label."""
    P = softmax_forward(S)
    P[np.arange(len(y)), y] -= 1
    return P


def argmax(S):
    """The class of the highest score, the first where several are."""
    return np.argmax(S, axis=1)


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
        return softmax_forward(np.asarray(X))

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
        """
        return float(softmax_loss(np.asarray(X), np.asarray(y)) / len(y))

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
        return softmax_backward(np.asarray(X), np.asarray(y))
