"""The gates of a layer: multiplication by the weights, and addition of the bias.

Shapes: X (n, n_in), W (n_in, n_out), b (1, n_out), Z (n, n_out); ``dA`` is the derivative of the
loss by A and has A's shape.
"""

import numpy as np

from .layer import Layer


def affine_forward(W, b, X):
    """Return ``X W + b``: the multiply gate, then the add gate."""
    return AddGate().forward(MultiplyGate().forward(W, X), b)


def affine_backward(W, X, dZ):
    """Return the derivatives (dW, db, dX) of the loss, given the derivative dZ by ``X W + b``."""
    db, dmul = AddGate().backward(dZ, None, dZ)
    dW, dX = MultiplyGate().backward(W, X, dmul)
    return dW, db, dX


class MultiplyGate:
    """The gate of the tutorial that multiplies the samples by the weights.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> gate = fastnn.MultiplyGate()
    >>> W, X = np.array([[1.0, 2.0]]), np.array([[3.0], [4.0]])
    >>> gate.forward(W, X)
    array([[3., 6.],
           [4., 8.]])
    >>> dW, dX = gate.backward(W, X, np.ones((2, 2)))
    >>> dW, dX
    (array([[7., 7.]]), array([[3.],
           [3.]]))
    """

    __repr__ = Layer.__repr__

    def forward(self, W, X):
        """Return ``X W``.

        Parameters
        ----------
        W : array (n_in, n_out)
        X : array (n, n_in)

        Returns
        -------
        array (n, n_out)
        """
        return np.dot(X, W)

    def backward(self, W, X, dZ):
        """Return ``dW = X^T dZ`` and ``dX = dZ W^T``.

        Parameters
        ----------
        W : array (n_in, n_out)
        X : array (n, n_in)
        dZ : array (n, n_out)
            Derivative of the loss by the product.

        Returns
        -------
        dW : array (n_in, n_out)
        dX : array (n, n_in)
        """
        return np.dot(X.T, dZ), np.dot(dZ, W.T)


class AddGate:
    """The gate of the tutorial that adds the bias to every sample.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> gate = fastnn.AddGate()
    >>> X, b = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[10.0, 20.0]])
    >>> gate.forward(X, b)
    array([[11., 22.],
           [13., 24.]])
    >>> db, dX = gate.backward(X, b, np.ones((2, 2)))
    >>> db
    array([[2., 2.]])
    """

    __repr__ = Layer.__repr__

    def forward(self, X, b):
        """Return ``X + b``.

        Parameters
        ----------
        X : array (n, n_out)
        b : array (1, n_out)

        Returns
        -------
        array (n, n_out)
        """
        return X + b

    def backward(self, X, b, dZ):
        """Return ``db``, the column sums of dZ, and ``dX``, which is dZ itself.

        Parameters
        ----------
        X, b
            Arguments of `forward`; the derivatives do not depend on them.
        dZ : array (n, n_out)
            Derivative of the loss by the sum.

        Returns
        -------
        db : array (1, n_out)
        dX : array (n, n_out)
        """
        return np.sum(dZ, axis=0, keepdims=True), dZ
