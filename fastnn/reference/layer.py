"""Activations, applied to every value, and their derivatives: the tutorial's layers.

To add an activation, write a class with its formula `value` and its derivative `slope` below the others,
register it with the decorator ``@activation``, and write the compiled version in ``fastnn_kernels/layer.py``.
CONTRIBUTING.md shows an example.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def convert_to_floats(values):
    """Return the values as an array of floats: integers become float64, floats keep their dtype."""
    array = np.asarray(values)
    return array if array.dtype.kind == "f" else array.astype(np.float64)


class Layer:
    """Base class of the activations: subclasses define `value` and `slope`.

    `forward` and `backward` are the methods of the tutorial's layers.
    """

    # True if `slope` reads the inputs Z, because the derivative is not a function of the output.
    needs_sums = False
    # Arguments at which the derivative jumps or has a kink: no central difference across them is exact.
    kinks: tuple[float, ...] = ()

    @staticmethod
    def value(Z):
        """Return the activation of every value.

        Parameters
        ----------
        Z : array
            Any shape.

        Returns
        -------
        array
            The shape of Z.
        """
        raise TypeError("Layer is the base of Identity, Sigmoid, Tanh and others: use one of those")

    @staticmethod
    def slope(Z, A):
        """Return the derivative of the activation.

        Parameters
        ----------
        Z : array or None
            The activation's inputs, any shape. Read only where `needs_sums` is True.
        A : array
            The activation's outputs.

        Returns
        -------
        array
            The shape of A.
        """
        raise TypeError("Layer is the base of Identity, Sigmoid, Tanh and others: use one of those")

    def __repr__(self):
        return f"{type(self).__name__}()"

    def forward(self, X):
        """Return the activation of every value.

        Parameters
        ----------
        X : array
            Any shape.

        Returns
        -------
        array
            The shape of X.
        """
        return self.value(convert_to_floats(X))

    def backward(self, X, top_diff):
        """Return the derivative of the loss by X, given the derivative by the output.

        Parameters
        ----------
        X : array
            Argument of `forward`.
        top_diff : array
            Derivative of the loss by the output, in the shape of X.

        Returns
        -------
        array
            The shape of X.
        """
        X = convert_to_floats(X)
        return self.slope(X, self.value(X)) * top_diff


# Registry of all activations by name. `fastnn.Model`, the estimators and the tests read it.
ACTIVATIONS: dict[str, type[Layer]] = {}


def make_registrar(registry: dict[str, Any]) -> Callable[[str], Callable[[T], T]]:
    """Return a function of a name: the decorator that adds a class or a function to a registry."""

    def register(name: str) -> Callable[[T], T]:
        def add(thing: T) -> T:
            registry[name] = thing
            return thing

        return add

    return register


activation = make_registrar(ACTIVATIONS)


@activation("identity")
class Identity(Layer):
    """The identity ``x``."""

    @staticmethod
    def value(Z):
        return Z

    @staticmethod
    def slope(Z, A):
        return np.ones_like(A)


@activation("sigmoid")
class Sigmoid(Layer):
    """The logistic function ``1 / (1 + exp(-x))``, with the derivative ``a (1 - a)`` for the output a.

    Computed from ``exp(-|x|)``, which cannot overflow.

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
        return np.where(np.less(Z, 0), e, np.ones_like(e)) / (1 + e)

    @staticmethod
    def slope(Z, A):
        return (1 - A) * A


@activation("tanh")
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
    def slope(Z, A):
        return 1 - A**2


@activation("relu")
class Relu(Layer):
    """The rectifier ``max(x, 0)``, with the derivative 0 at 0."""

    kinks = (0.0,)

    @staticmethod
    def value(Z):
        return np.maximum(Z, 0)

    @staticmethod
    def slope(Z, A):
        return (A > 0).astype(A.dtype)


@activation("leaky_relu")
class LeakyRelu(Layer):
    """The leaky rectifier: x, and ``0.01 x`` where x is below 0 (Maas, Hannun & Ng, 2013, section 2)."""

    kinks = (0.0,)

    LEAK = 0.01

    @classmethod
    def value(cls, Z):
        return np.where(Z < 0, cls.LEAK * Z, Z)

    @classmethod
    def slope(cls, Z, A):
        return np.where(A > 0, 1, cls.LEAK).astype(A.dtype)


@activation("elu")
class Elu(Layer):
    """The exponential linear unit: x, and ``exp(x) - 1`` where x is below 0.

    Clevert, Unterthiner & Hochreiter, 2016, equation 15.
    """

    kinks = (0.0,)

    ALPHA = 1.0
    SCALE = 1.0

    @classmethod
    def value(cls, Z):
        return cls.SCALE * np.where(Z < 0, cls.ALPHA * np.expm1(np.minimum(Z, 0)), Z)

    @classmethod
    def slope(cls, Z, A):
        return np.where(A > 0, cls.SCALE, A + cls.SCALE * cls.ALPHA).astype(A.dtype)


@activation("selu")
class Selu(Elu):
    """The scaled exponential linear unit, which preserves mean 0 and variance 1 from layer to layer.

    Klambauer et al., "Self-normalizing neural networks", 2017, section 2.
    """

    ALPHA = 1.6732632423543772
    SCALE = 1.0507009873554805


@activation("softplus")
class Softplus(Layer):
    """The smooth rectifier ``log(1 + exp(x))``, with the derivative ``1 - exp(-a)`` for the output a.

    Computed from ``exp(-|x|)``, which cannot overflow.
    """

    @staticmethod
    def value(Z):
        return np.maximum(Z, 0) + np.log1p(np.exp(-np.abs(Z)))

    @staticmethod
    def slope(Z, A):
        return -np.expm1(-A)


@activation("silu")
class Silu(Layer):
    """The swish ``x sigmoid(x)`` (Elfwing, Uchibe & Doya, 2018, equation 8)."""

    needs_sums = True

    @staticmethod
    def value(Z):
        return Z * Sigmoid.value(Z)

    @staticmethod
    def slope(Z, A):
        return Sigmoid.value(Z) * (1 + (Z - A))


@activation("gelu")
class Gelu(Layer):
    """The Gaussian error linear unit: ``x sigmoid(2 u)`` with ``u = sqrt(2 / pi) (x + 0.044715 x^3)``.

    This is the approximation by tanh of x times the normal distribution function (Hendrycks & Gimpel,
    "Gaussian error linear units", 2016, section 2).
    """

    needs_sums = True

    @staticmethod
    def value(Z):
        return Z * Gelu.gate(Z)

    @staticmethod
    def slope(Z, A):
        gate, Z = Gelu.gate(Z), np.clip(Z, -1e4, 1e4)
        return gate + gate * (1 - gate) * Z * np.sqrt(8 / np.pi).astype(A.dtype) * (1 + 3 * 0.044715 * Z**2)

    @staticmethod
    def gate(Z):
        """Return ``sigmoid(2 u)``."""
        Z = np.clip(Z, -1e4, 1e4)  # Z^3 could overflow; the gate is constant outside of these limits
        return Sigmoid.value(np.sqrt(8 / np.pi).astype(Z.dtype) * (Z + 0.044715 * Z**3))


@activation("mish")
class Mish(Layer):
    """``x tanh(softplus(x))`` (Misra, "Mish: a self regularized non-monotonic activation function", 2020).

    With ``e = exp(x)`` and ``n = e (e + 2)``, ``tanh(softplus(x)) = n / (n + 2)``.
    """

    needs_sums = True

    @staticmethod
    def value(Z):
        e = np.exp(np.minimum(Z, 20))  # n / (n + 2) is 1 from there on
        n = e * (e + 2)
        return Z * (n / (n + 2))

    @staticmethod
    def slope(Z, A):
        Z = np.minimum(Z, 20)
        e = np.exp(Z)
        n = e * (e + 2)
        return n / (n + 2) + Z * (4 * e * (1 + e) / (n + 2) ** 2)


def activation_forward(name, Z):
    """Return ``f(Z)`` for the activation f named `name`."""
    return ACTIVATIONS[name].value(Z)


def activation_backward(name, Z, A, dA):
    """Return the derivative of the loss by Z, given the outputs A and the derivative dA by them."""
    return ACTIVATIONS[name].slope(Z, A) * dA
