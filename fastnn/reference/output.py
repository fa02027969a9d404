"""Output functions: from scores, the outputs of the last layer, to probabilities, classes or targets.

Shapes: S (n, k), the scores; y (n,), labels 0 .. k-1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .layer import Layer, Sigmoid, convert_to_floats


def softmax_forward(S):
    """Return the probabilities (n, k) of the classes; each row sums to 1."""
    e = np.exp(S - np.max(S, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


# Output functions by name.
OUTPUTS: dict[str, Callable] = {
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

    __repr__ = Layer.__repr__

    def predict(self, X):
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : array (n, k)
            Scores.

        Returns
        -------
        array (n, k)
            Each row sums to 1.

        Raises
        ------
        ValueError
            If X does not have two dimensions.
        """
        return softmax_forward(_check_scores(X))

    def loss(self, X, y):
        """Return the mean cross entropy, ``-log p[label]`` averaged over the samples.

        Parameters
        ----------
        X : array (n, k)
            Scores.
        y : array (n,)
            Labels 0 .. k-1.

        Returns
        -------
        float
            Mean loss of the samples.

        Raises
        ------
        ValueError
            If X does not have two dimensions, or if y has another length than X or holds anything but
            integers 0 .. k-1.
        """
        X = _check_scores(X)
        y = _check_labels(X, y)
        # log-sum-exp is finite for any finite scores, and in float64 the sum of the losses is, too.
        S = (X - np.max(X, axis=1, keepdims=True)).astype(np.float64)
        losses = np.log(np.sum(np.exp(S), axis=1)) - S[np.arange(len(y)), y]
        return float(np.sum(losses / len(y)))

    def diff(self, X, y):
        """Return the gradient of the summed loss with respect to the scores: p, minus 1 at the label.

        As in the tutorial, the gradient is not divided by the number of samples.

        Parameters
        ----------
        X : array (n, k)
            Scores.
        y : array (n,)
            Labels 0 .. k-1.

        Returns
        -------
        array (n, k)
            Gradient, a row per sample.

        Raises
        ------
        ValueError
            If X does not have two dimensions, or if y has another length than X or holds anything but
            integers 0 .. k-1.
        """
        X = _check_scores(X)
        y = _check_labels(X, y)
        P = softmax_forward(X)
        P[np.arange(len(X)), y] -= 1
        return P


def _check_scores(X):
    """Return scores as an array (n, k) of floats; raise ValueError for another number of dimensions."""
    X = convert_to_floats(X)
    if X.ndim != 2:
        raise ValueError(f"X must hold scores of the shape (samples, classes), got the shape {X.shape}")
    return X


def _check_labels(S, y):
    """Return labels as an array (n,); raise ValueError unless they are 0 .. k-1, for scores S (n, k)."""
    (n, k), y = S.shape, np.asarray(y)
    if y.ndim != 1:
        raise ValueError(f"y must have one dimension, got the shape {y.shape}: number the classes from 0")
    if len(y) != n:
        raise ValueError(f"X has {n} samples, but y has {len(y)} labels")
    if y.dtype.kind not in "iub" or not np.isin(y, np.arange(k)).all():
        raise ValueError(f"y must hold the labels 0 .. {k - 1}, got {y}: number the classes from 0")
    return y.astype(np.int64)
