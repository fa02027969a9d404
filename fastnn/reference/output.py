"""The output: softmax over the scores, its loss and its difference to the labels.

Shapes: S (n, k), the scores of k classes; y (n,), labels 0 .. k-1.
"""

from __future__ import annotations

import numpy as np

from ..validation import as_floats, check_labels

__all__ = ["Softmax", "argmax", "softmax_backward", "softmax_forward", "softmax_loss"]


def softmax_forward(S):
    """Probabilities of the classes, each row summing to 1."""
    e = np.exp(S - np.max(S, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def softmax_loss(S, y, scale):
    """Sum over the samples of -scale log p[label], by log-sum-exp.

    With one over the number of samples for `scale` it is the mean, finite wherever the samples' own
    losses are.
    """
    S = S - np.max(S, axis=1, keepdims=True)
    losses = np.log(np.sum(np.exp(S), axis=1)) - S[np.arange(len(y)), y]
    return np.sum(scale * losses.astype(np.float64))


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
        return float(softmax_loss(X, check_labels(y, *X.shape), 1 / len(X)))

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
        return softmax_backward(X, check_labels(y, *X.shape))


def _scores(X):
    X = as_floats(X)
    if X.ndim != 2:
        raise ValueError(f"scores must have the shape (samples, classes), got {X.shape}")
    return X
