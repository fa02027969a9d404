"""The public class `fastnn.Softmax`: the reference's softmax unit with its arguments checked.

The public gates and layers are the reference's own classes (``fastnn/reference/gate.py``, ``layer.py``),
which need no checks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .reference import output
from .reference.layer import as_floats
from .system.validation import check_labels

__all__ = ["Softmax"]


class Softmax(output.Softmax):
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

    def predict(self, X: Any) -> NDArray[Any]:
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
        return super().predict(_scores(X))

    def loss(self, X: Any, y: Any) -> float:
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
        X = _scores(X)
        return super().loss(X, check_labels(y, *X.shape))

    def diff(self, X: Any, y: Any) -> NDArray[Any]:
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
        X = _scores(X)
        return super().diff(X, check_labels(y, *X.shape))


def _scores(X: Any) -> NDArray[Any]:
    """Return scores as an array (n, k) of floats; raise ValueError for another number of dimensions."""
    X = np.asarray(as_floats(X))
    if X.ndim != 2:
        raise ValueError(f"X must hold scores of the shape (samples, classes), got the shape {X.shape}")
    return X
