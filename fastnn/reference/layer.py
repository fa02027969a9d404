"""The layers: an activation applied to every value, and its derivative.

To add an activation: a class with its formula `value` and its derivative `slope` taken from the
output, entered in `ACTIVATIONS`; and its twin in ``fastnn_kernels/layer.py``.
"""

from __future__ import annotations

import numpy as np

from ..validation import as_floats

__all__ = ["ACTIVATIONS", "Identity", "Sigmoid", "Tanh", "activation_backward", "activation_forward"]


class Layer:
    """An activation, as a unit of its own; subclasses give the formulas."""

    @staticmethod
    def value(Z):
        """The activation of every value.

        Parameters
        ----------
        Z : array
            Any shape.

        Returns
        -------
        array
            Of Z's shape.
        """
        raise TypeError("Layer is the base of Identity, Sigmoid and Tanh: use one of those")

    @staticmethod
    def slope(A):
        """The derivative of the activation, from what it gave.

        Parameters
        ----------
        A : array
            Activations, any shape.

        Returns
        -------
        array
            Of A's shape.
        """
        raise TypeError("Layer is the base of Identity, Sigmoid and Tanh: use one of those")

    def forward(self, X):
        """The activation of every value.

        Parameters
        ----------
        X : array
            Any shape.

        Returns
        -------
        array
            Of X's shape.
        """
        return self.value(as_floats(X))

    def backward(self, X, top_diff):
        """Derivative by X, given the derivative by the output.

        Parameters
        ----------
        X : array
            What `forward` was given.
        top_diff : array
            Derivative of the loss by the output, of X's shape.

        Returns
        -------
        array
            Of X's shape.
        """
        return self.slope(self.value(as_floats(X))) * top_diff


class Identity(Layer):
    """The sums themselves.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference.layer import Identity
    >>> Identity().forward(np.array([-1.0, 2.0]))
    array([-1.,  2.])
    """

    @staticmethod
    def value(Z):
        return Z

    @staticmethod
    def slope(A):
        return np.ones_like(A)


class Sigmoid(Layer):
    """``1 / (1 + exp(-x))``, computed from ``exp(-|x|)``, which cannot overflow.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> layer = fastnn.Sigmoid()
    >>> layer.forward(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    >>> layer.backward(np.array([0.0]), np.array([1.0]))
    array([0.25])
    """

    @staticmethod
    def value(Z):
        e = np.exp(-np.abs(Z))
        return np.where(np.asarray(Z) < 0, e, np.ones_like(e)) / (1 + e)

    @staticmethod
    def slope(A):
        return (1 - A) * A


class Tanh(Layer):
    """The hyperbolic tangent, with the derivative ``1 - tanh(x)^2``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastnn
    >>> layer = fastnn.Tanh()
    >>> layer.forward(np.array([0.0, 100.0]))
    array([0., 1.])
    >>> layer.backward(np.array([0.0, 100.0]), np.array([2.0, 2.0]))
    array([2., 0.])
    """

    @staticmethod
    def value(Z):
        return np.tanh(Z)

    @staticmethod
    def slope(A):
        return 1 - A**2


ACTIVATIONS: dict[str, type[Layer]] = {"identity": Identity, "sigmoid": Sigmoid, "tanh": Tanh}


def activation_forward(name, Z):
    """The activation `name` of Z."""
    return ACTIVATIONS[name].value(Z)


def activation_backward(name, A, dA):
    """Derivative by Z, from the output A and the derivative by it."""
    return ACTIVATIONS[name].slope(A) * dA
