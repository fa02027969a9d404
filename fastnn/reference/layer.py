"""The layers: an activation applied to every value, and its derivative.

To add an activation: a class with its formula `value` and its derivative `slope`, taken from the
output where that is possible, entered in `ACTIVATIONS`; and its twin in ``fastnn_kernels/layer.py``.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from ..system.validation import as_floats

__all__ = [
    "ACTIVATIONS",
    "Elu",
    "Gelu",
    "Identity",
    "Knot",
    "LeakyRelu",
    "Relu",
    "Selu",
    "Sigmoid",
    "Silu",
    "Softplus",
    "Tanh",
    "activation_backward",
    "activation_forward",
]


class Knot(NamedTuple):
    """Where an activation changes from convex to concave or back: somewhere from `begin` to `end`.

    There its slopes are from `least` to `most`.
    """

    begin: float
    end: float
    least: float
    most: float


class Layer:
    """An activation, as a unit of its own; subclasses give the formulas."""

    # Whether the derivative cannot be had from the output alone.
    needs_sums = False
    # Whether the derivative jumps at 0, or bends.
    has_kink = False
    # From the left it is convex or concave, and the other from one knot to the next.
    begins_convex = True
    knots: ClassVar[tuple[Knot, ...]] = ()

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
        raise TypeError("Layer is the base of Identity, Sigmoid, Tanh and others: use one of those")

    @staticmethod
    def slope(A, Z=None):
        """The derivative of the activation, from what it gave.

        Parameters
        ----------
        A : array
            Activations, any shape.
        Z : array, optional
            What they are the activations of; for those that need it alone.

        Returns
        -------
        array
            Of A's shape.
        """
        raise TypeError("Layer is the base of Identity, Sigmoid, Tanh and others: use one of those")

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
        X = as_floats(X)
        return self.slope(self.value(X), X) * top_diff


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
    def slope(A, Z=None):
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

    knots = (Knot(0.0, 0.0, 0.25, 0.25),)

    @staticmethod
    def value(Z):
        e = np.exp(-np.abs(Z))
        return np.where(np.asarray(Z) < 0, e, np.ones_like(e)) / (1 + e)

    @staticmethod
    def slope(A, Z=None):
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

    knots = (Knot(0.0, 0.0, 1.0, 1.0),)

    @staticmethod
    def value(Z):
        return np.tanh(Z)

    @staticmethod
    def slope(A, Z=None):
        return 1 - A**2


class Relu(Layer):
    """``max(x, 0)``, with the derivative 0 at 0.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference.layer import Relu
    >>> Relu().forward(np.array([-1.0, 2.0]))
    array([0., 2.])
    """

    has_kink = True

    @staticmethod
    def value(Z):
        return np.maximum(Z, 0)

    @staticmethod
    def slope(A, Z=None):
        return (A > 0).astype(A.dtype)


class LeakyRelu(Layer):
    """x, and a hundredth of it below 0 (Maas, Hannun & Ng, 2013, section 2).

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference.layer import LeakyRelu
    >>> LeakyRelu().forward(np.array([-1.0, 2.0]))
    array([-0.01,  2.  ])
    """

    has_kink = True

    LEAK = 0.01

    @classmethod
    def value(cls, Z):
        return np.where(Z < 0, cls.LEAK * Z, Z)

    @classmethod
    def slope(cls, A, Z=None):
        return np.where(A > 0, 1, cls.LEAK).astype(A.dtype)


class Elu(Layer):
    """x, and ``exp(x) - 1`` below 0 (Clevert, Unterthiner & Hochreiter, 2016, equation 15).

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference.layer import Elu
    >>> Elu().forward(np.array([-np.inf, 2.0]))
    array([-1.,  2.])
    """

    has_kink = True

    ALPHA = 1.0
    SCALE = 1.0

    @classmethod
    def value(cls, Z):
        return cls.SCALE * np.where(Z < 0, cls.ALPHA * np.expm1(np.minimum(Z, 0)), Z)

    @classmethod
    def slope(cls, A, Z=None):
        return np.where(A > 0, cls.SCALE, A + cls.SCALE * cls.ALPHA).astype(A.dtype)


class Selu(Elu):
    """The elu that keeps mean 0 and variance 1 (Klambauer et al., 2017, section 2).

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference.layer import Selu
    >>> Selu().forward(np.array([0.0, 1.0])).round(4)
    array([0.    , 1.0507])
    """

    ALPHA = 1.6732632423543772
    SCALE = 1.0507009873554805
    knots = (Knot(0.0, 0.0, SCALE, SCALE * ALPHA + 1e-6),)


class Softplus(Layer):
    """``log(1 + exp(x))``, computed from ``exp(-|x|)``, which cannot overflow.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference.layer import Softplus
    >>> Softplus().forward(np.array([-1000.0, 0.0, 3.0])).round(4)
    array([0.    , 0.6931, 3.0486])
    """

    @staticmethod
    def value(Z):
        return np.maximum(Z, 0) + np.log1p(np.exp(-np.abs(Z)))

    @staticmethod
    def slope(A, Z=None):
        return -np.expm1(-A)


class Silu(Layer):
    """``x sigmoid(x)``; its derivative is taken from x too (Elfwing, Uchibe & Doya, 2018, equation 8).

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference.layer import Silu
    >>> Silu().forward(np.array([-1000.0, 0.0, 2.0])).round(4)
    array([-0.    ,  0.    ,  1.7616])
    """

    needs_sums = True
    begins_convex = False
    knots = (Knot(-2.3995, -2.3992, -0.09984, -0.09983), Knot(2.3992, 2.3995, 1.09983, 1.09984))

    @staticmethod
    def value(Z):
        return Z * Sigmoid.value(Z)

    @staticmethod
    def slope(A, Z=None):
        return Sigmoid.value(Z) * (1 + (Z - A))


class Gelu(Layer):
    """``x sigmoid(2 u)``, ``u = sqrt(2 / pi) (x + 0.044715 x^3)``; its derivative is taken from x too.

    The approximation by tanh of x times the normal distribution (Hendrycks & Gimpel, "Gaussian error
    linear units", 2016, section 2).

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.reference.layer import Gelu
    >>> Gelu().forward(np.array([-1000.0, 0.0, 2.0])).round(4)
    array([-0.    ,  0.    ,  1.9546])
    """

    needs_sums = True
    begins_convex = False
    knots = (Knot(-1.4187, -1.4183, -0.129, -0.12899), Knot(1.4183, 1.4187, 1.12899, 1.129))

    @staticmethod
    def value(Z):
        return Z * Gelu.gate(Z)

    @staticmethod
    def slope(A, Z=None):
        gate, Z = Gelu.gate(Z), np.clip(Z, -1e4, 1e4)
        return gate + gate * (1 - gate) * Z * np.sqrt(8 / np.pi).astype(A.dtype) * (1 + 3 * 0.044715 * Z**2)

    @staticmethod
    def gate(Z):
        Z = np.clip(Z, -1e4, 1e4)  # the cube is finite there
        return Sigmoid.value(np.sqrt(8 / np.pi).astype(Z.dtype) * (Z + 0.044715 * Z**3))


ACTIVATIONS: dict[str, type[Layer]] = {
    "identity": Identity,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "relu": Relu,
    "leaky_relu": LeakyRelu,
    "elu": Elu,
    "selu": Selu,
    "softplus": Softplus,
    "silu": Silu,
    "gelu": Gelu,
}


def activation_forward(name, Z):
    """The activation `name` of Z."""
    return ACTIVATIONS[name].value(Z)


def activation_backward(name, Z, A, dA):
    """Derivative by Z, from the sums Z, the outputs A and the derivative by those."""
    return ACTIVATIONS[name].slope(A, Z) * dA
