"""The tutorial's softmax unit, as users call it: with its arguments checked.

The gates and the layers need no check: ``fastnn/reference/gate.py`` and ``layer.py`` have them.
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
            For scores that are not a table.
        """
        return super().predict(_scores(X))

    def loss(self, X: Any, y: Any) -> float:
        """Return the mean of ``-log p[label]``.

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
            For scores that are not a table; for labels of another length, no integers, or out of range.
        """
        X = _scores(X)
        return super().loss(X, check_labels(y, *X.shape))

    def diff(self, X: Any, y: Any) -> NDArray[Any]:
        """Return the derivative of the summed loss by the scores: p, less 1 at the label.

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

        Raises
        ------
        ValueError
            For scores that are not a table; for labels of another length, no integers, or out of range.
        """
        X = _scores(X)
        return super().diff(X, check_labels(y, *X.shape))


def _scores(X: Any) -> NDArray[Any]:
    """Return scores as a table of floats."""
    X = np.asarray(as_floats(X))
    if X.ndim != 2:
        raise ValueError(f"scores must have the shape (samples, classes), got {X.shape}")
    return X
