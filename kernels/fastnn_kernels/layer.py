"""Activations, applied to every value of a tile, and their derivatives.

To add an activation, write a class with its formula `value` and its derivative `slope` below the others,
register it with the decorator ``@activation``, and write the NumPy version in ``fastnn/reference/layer.py``.
CONTRIBUTING.md shows an example. A slope that reads z needs `needs_sums` in the reference.

Shape letters: J units, T samples of a tile (a whole number of vectors).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from .compiler.jit import Kernel, kernel
from .vectors import vmath
from .vectors.elementwise import elementwise
from .vectors.value import Value, emitter
from .vectors.vector import N_INTERLEAVED, flat, lanes, load, load_several, store


class Activation(NamedTuple):
    """The formulas of an activation, callable from kernels."""

    value: Any  # z -> a
    slope: Any  # (z, a) -> da/dz


# Registry of all activations by name.
ACTIVATIONS: dict[str, Activation] = {}


def activation(name: str) -> Callable[[type], type]:
    """Return the decorator that adds the formulas of a class to `ACTIVATIONS` under `name`.

    `value` and `slope` must be static methods of the class itself, not inherited ones, because the cache
    identifies kernels by the qualified names of these functions.
    """

    def register(formulas: type) -> type:
        value, slope = (emitter(vars(formulas)[part].__func__) for part in ("value", "slope"))
        ACTIVATIONS[name] = Activation(value, slope)
        return formulas

    return register


@activation("identity")
class Identity:
    """The identity z."""

    @staticmethod
    def value(z: Value) -> Value:
        return z

    @staticmethod
    def slope(z: Value, a: Value) -> Value:
        return a.constant(1.0)


@activation("sigmoid")
class Sigmoid:
    """The logistic function ``1 / (1 + exp(-z))``."""

    @staticmethod
    def value(z: Value) -> Value:
        return vmath.sigmoid.formula(z)

    @staticmethod
    def slope(z: Value, a: Value) -> Value:
        return (-a).fma(a, a)  # a (1 - a)


@activation("tanh")
class Tanh:
    """The hyperbolic tangent."""

    @staticmethod
    def value(z: Value) -> Value:
        return vmath.tanh.formula(z)

    @staticmethod
    def slope(z: Value, a: Value) -> Value:
        return (-a).fma(a, 1.0)  # 1 - a^2


@activation("relu")
class Relu:
    """The rectifier ``max(z, 0)``."""

    @staticmethod
    def value(z: Value) -> Value:
        return z.at_least(0.0)

    @staticmethod
    def slope(z: Value, a: Value) -> Value:
        return a.constant(1.0).where(a > 0.0, 0.0)


LEAK = 0.01


@activation("leaky_relu")
class LeakyRelu:
    """The leaky rectifier: z, and ``LEAK z`` below 0."""

    @staticmethod
    def value(z: Value) -> Value:
        return (z * LEAK).where(z < 0.0, z)

    @staticmethod
    def slope(z: Value, a: Value) -> Value:
        return a.constant(1.0).where(a > 0.0, LEAK)


ALPHA = 1.0


def _elu(z: Value, alpha: float) -> Value:
    """Return z, and ``alpha (exp(z) - 1)`` below 0."""
    return (vmath.expm1_below(z.at_most(0.0)) * alpha).where(z < 0.0, z)


@activation("elu")
class Elu:
    """The exponential linear unit: z, and ``ALPHA (exp(z) - 1)`` below 0."""

    @staticmethod
    def value(z: Value) -> Value:
        return _elu(z, ALPHA)

    @staticmethod
    def slope(z: Value, a: Value) -> Value:
        return a.constant(1.0).where(a > 0.0, a + ALPHA)


# Klambauer, Unterthiner, Mayr & Hochreiter, "Self-normalizing neural networks", 2017, section 2.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


@activation("selu")
class Selu:
    """The scaled exponential linear unit: `Elu` with SELU_ALPHA, times SELU_SCALE."""

    @staticmethod
    def value(z: Value) -> Value:
        return _elu(z, SELU_ALPHA) * SELU_SCALE

    @staticmethod
    def slope(z: Value, a: Value) -> Value:
        return a.constant(SELU_SCALE).where(a > 0.0, a + SELU_SCALE * SELU_ALPHA)


@activation("softplus")
class Softplus:
    """The smooth rectifier ``log(1 + exp(z))``."""

    @staticmethod
    def value(z: Value) -> Value:
        return vmath.compute_softplus(z)

    @staticmethod
    def slope(z: Value, a: Value) -> Value:
        return -vmath.expm1_below(-a)


@activation("silu")
class Silu:
    """The swish ``z sigmoid(z)``."""

    @staticmethod
    def value(z: Value) -> Value:
        return z * vmath.sigmoid_to_zero(z)

    @staticmethod
    def slope(z: Value, a: Value) -> Value:
        gate = vmath.sigmoid_to_zero(z)
        return gate.fma(z - a, gate)


def _gelu_gate(z: Value) -> Value:
    """Return ``sigmoid(2 u)``, ``u = sqrt(2 / pi) (z + 0.044715 z^3)``."""
    z = z.at_least(-1e4).at_most(1e4)  # z^3 could overflow; the gate is constant outside of these limits
    scale = 2 * math.sqrt(2 / math.pi)
    return vmath.sigmoid_to_zero(z * (z * z).fma(0.044715 * scale, scale))


@activation("gelu")
class Gelu:
    """The Gaussian error linear unit, approximated by tanh: ``z sigmoid(2 u)``, with u as in `_gelu_gate`."""

    @staticmethod
    def value(z: Value) -> Value:
        return z * _gelu_gate(z)

    @staticmethod
    def slope(z: Value, a: Value) -> Value:
        """Return ``g + g (1 - g) z (2 u)'`` with ``g = sigmoid(2 u)``."""
        gate = _gelu_gate(z)
        z = z.at_least(-1e4).at_most(1e4)
        scale = 2 * math.sqrt(2 / math.pi)
        bend = z * (z * z).fma(3 * 0.044715 * scale, scale)  # z (2 u)'
        return (-gate).fma(gate, gate).fma(bend, gate)


@activation("mish")
class Mish:
    """``z tanh(softplus(z))``: with ``e = exp(z)`` and ``n = e (e + 2)``, ``z n / (n + 2)``."""

    @staticmethod
    def value(z: Value) -> Value:
        """Return ``z n / (n + 2)``."""
        e = vmath.compute_exp(z.at_most(20.0))  # n / (n + 2) is 1 from there on
        n = e * (e + 2.0)
        return z * (n / (n + 2.0))

    @staticmethod
    def slope(z: Value, a: Value) -> Value:
        """Return ``n / (n + 2) + 4 z e (1 + e) / (n + 2)^2``."""
        z = z.at_most(20.0)
        e = vmath.compute_exp(z)
        n = e * (e + 2.0)
        below = 1.0 / (n + 2.0)
        return n.fma(below, z * (4.0 * e * (1.0 + e) * below * below))


@functools.cache
def activation_forward(name: str) -> Kernel:
    """Return the kernel ``(Z, A)``, which computes A = f(Z) for the activation `name`.

    Z and A are (J, T); A may be Z itself.
    """
    return elementwise(ACTIVATIONS[name].value)


@functools.cache
def activation_backward(name: str) -> Kernel:
    """Return the kernel ``(Z, A, dA, dZ)``, which computes dZ = dA f'(Z), given Z and A = f(Z).

    All are (J, T). dZ may be dA itself; Z may be A itself if the slope of the activation does not read Z.
    """
    slope = ACTIVATIONS[name].slope

    @kernel
    def activation_backward(Z, A, dA, dZ):
        Z, A, dA, dZ = flat(Z), flat(A), flat(dA), flat(dZ)
        block = N_INTERLEAVED * lanes(A)
        whole = A.shape[1] - A.shape[1] % block
        for k in range(0, whole, block):
            derivative = slope(load_several(Z, 0, k, N_INTERLEAVED), load_several(A, 0, k, N_INTERLEAVED))
            store(dZ, 0, k, load_several(dA, 0, k, N_INTERLEAVED) * derivative)
        for k in range(whole, A.shape[1], lanes(A)):
            store(dZ, 0, k, load(dA, 0, k) * slope(load(Z, 0, k), load(A, 0, k)))

    return activation_backward
