"""The layers: an activation applied to every value of a tile, and its derivative.

To add an activation: write its formulas, enter them in `ACTIVATIONS`, and enter the twin in
``fastnn/reference/layer.py`` under the same name. Derivatives are taken from the output where the
formula allows it; where not, the sums are kept beside the outputs.

Shape letters: J units, T samples of a tile (a whole number of vectors).
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np

from .compiler.jit import kernel
from .compiler.pointer import FunctionPointer, PointerTable, array_types
from .vectors import vmath
from .vectors.simd import Value, emitter, flat, lanes, load, store

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "activation_backward",
    "activation_forward",
    "backward_table",
    "forward_table",
]

LEAK = 0.01
ALPHA = 1.0
# Klambauer, Unterthiner, Mayr & Hochreiter, "Self-normalizing neural networks", 2017, section 2.
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


@emitter
def identity(z: Value) -> Value:
    """The value itself."""
    return z


@emitter
def identity_slope(z: Value, a: Value) -> Value:
    """Derivative of the identity."""
    return a.constant(1.0)


@emitter
def sigmoid_slope(z: Value, a: Value) -> Value:
    """Derivative of the sigmoid where it is a."""
    return a - a * a


@emitter
def tanh_slope(z: Value, a: Value) -> Value:
    """Derivative of tanh where it is a."""
    return 1.0 - a * a


@emitter
def relu(z: Value) -> Value:
    """max(z, 0)."""
    return z.at_least(0.0)


@emitter
def relu_slope(z: Value, a: Value) -> Value:
    """Derivative of relu, 0 at the kink."""
    return a.constant(1.0).where(a > 0.0, 0.0)


@emitter
def leaky_relu(z: Value) -> Value:
    """z, and LEAK z below zero."""
    return (z * LEAK).where(z < 0.0, z)


@emitter
def leaky_relu_slope(z: Value, a: Value) -> Value:
    """Derivative of leaky_relu, LEAK at the kink."""
    return a.constant(1.0).where(a > 0.0, LEAK)


def _elu(z: Value, alpha: float) -> Value:
    return (vmath.expm1_below(z.at_most(0.0)) * alpha).where(z < 0.0, z)


@emitter
def elu(z: Value) -> Value:
    """z, and ALPHA (exp(z) - 1) below zero."""
    return _elu(z, ALPHA)


@emitter
def elu_slope(z: Value, a: Value) -> Value:
    """Derivative of elu where it is a."""
    return a.constant(1.0).where(a > 0.0, a + ALPHA)


@emitter
def selu(z: Value) -> Value:
    """elu with SELU_ALPHA, times SELU_SCALE."""
    return _elu(z, SELU_ALPHA) * SELU_SCALE


@emitter
def selu_slope(z: Value, a: Value) -> Value:
    """Derivative of selu where it is a."""
    return a.constant(SELU_SCALE).where(a > 0.0, a + SELU_SCALE * SELU_ALPHA)


@emitter
def softplus(z: Value) -> Value:
    """log(1 + exp(z))."""
    return vmath.softplus_of(z)


@emitter
def softplus_slope(z: Value, a: Value) -> Value:
    """Derivative of softplus where it is a: the sigmoid, 1 - exp(-a)."""
    return -vmath.expm1_below(-a)


@emitter
def silu(z: Value) -> Value:
    """z sigmoid(z)."""
    return z * vmath.sigmoid_to_zero(z)


@emitter
def silu_slope(z: Value, a: Value) -> Value:
    """Derivative of silu at z, where it is a."""
    gate = vmath.sigmoid_to_zero(z)
    return gate.fma(z - a, gate)


def _gelu_gate(z: Value) -> Value:
    """sigmoid(2 u), u = sqrt(2 / pi) (z + 0.044715 z^3)."""
    z = z.at_least(-1e4).at_most(1e4)  # whose cube is finite, and far from where the gate changes
    scale = 2 * math.sqrt(2 / math.pi)
    return vmath.sigmoid_to_zero(z * (z * z).fma(0.044715 * scale, scale))


@emitter
def gelu(z: Value) -> Value:
    """z sigmoid(2 u): the approximation of z Phi(z) by tanh."""
    return z * _gelu_gate(z)


@emitter
def gelu_slope(z: Value, a: Value) -> Value:
    """Derivative of gelu at z, where it is a."""
    gate = _gelu_gate(z)
    z = z.at_least(-1e4).at_most(1e4)
    scale = 2 * math.sqrt(2 / math.pi)
    bend = z * (z * z).fma(3 * 0.044715 * scale, scale)  # z (2 u)'
    return (gate - gate * gate).fma(bend, gate)


class Knot(NamedTuple):
    """Where an activation changes from convex to concave or back: somewhere from `begin` to `end`.

    There its slopes are from `least` to `most`.
    """

    begin: float
    end: float
    least: float
    most: float


class Activation(NamedTuple):
    """Formulas of an activation, for the compiler, and its shape, for bounds."""

    value: Any  # a from z
    slope: Any  # da/dz from z and a
    needs_sums: bool = False  # whether the slope reads z
    # From the left it is convex or concave, and the other from one knot to the next.
    begins_convex: bool = True
    knots: tuple[Knot, ...] = ()


ACTIVATIONS: dict[str, Activation] = {
    "identity": Activation(identity, identity_slope),
    "sigmoid": Activation(vmath.sigmoid, sigmoid_slope, knots=(Knot(0.0, 0.0, 0.25, 0.25),)),
    "tanh": Activation(vmath.tanh, tanh_slope, knots=(Knot(0.0, 0.0, 1.0, 1.0),)),
    "relu": Activation(relu, relu_slope),
    "leaky_relu": Activation(leaky_relu, leaky_relu_slope),
    "elu": Activation(elu, elu_slope),
    "selu": Activation(
        selu, selu_slope, knots=(Knot(0.0, 0.0, SELU_SCALE, SELU_SCALE * SELU_ALPHA + 1e-6),)
    ),
    "softplus": Activation(softplus, softplus_slope),
    "silu": Activation(
        silu, silu_slope, needs_sums=True, begins_convex=False,
        knots=(Knot(-2.3995, -2.3992, -0.09984, -0.09983), Knot(2.3992, 2.3995, 1.09983, 1.09984)),
    ),
    "gelu": Activation(
        gelu, gelu_slope, needs_sums=True, begins_convex=False,
        knots=(Knot(-1.4187, -1.4183, -0.129, -0.12899), Knot(1.4183, 1.4187, 1.12899, 1.129)),
    ),
}  # fmt: skip


@functools.cache
def activation_forward(name: str) -> Any:
    """The kernel ``(Z, A)``: A = f(Z), both (J, T); A may be Z."""
    activation = ACTIVATIONS[name].value

    @kernel
    def activation_forward(Z, A):
        Z, A = flat(Z), flat(A)
        for k in range(0, Z.shape[1], lanes(Z)):
            store(A, 0, k, activation(load(Z, 0, k)))

    return activation_forward


@functools.cache
def activation_backward(name: str) -> Any:
    """The kernel ``(Z, A, dA, dZ)``: dZ = dA f'(Z), all (J, T); A = f(Z); dZ may be dA.

    Z may be A where the activation's slope does not read the sums.
    """
    slope = ACTIVATIONS[name].slope

    @kernel
    def activation_backward(Z, A, dA, dZ):
        Z, A, dA, dZ = flat(Z), flat(A), flat(dA), flat(dZ)
        for k in range(0, A.shape[1], lanes(A)):
            store(dZ, 0, k, load(dA, 0, k) * slope(load(Z, 0, k), load(A, 0, k)))

    return activation_backward


@functools.cache
def forward_table(names: tuple[str, ...], dtype: np.dtype) -> PointerTable:
    """Pointers to `activation_forward` of each of the names."""
    of = array_types(dtype)
    return PointerTable([FunctionPointer(activation_forward(name), (of.inputs, of.matrix)) for name in names])


@functools.cache
def backward_table(names: tuple[str, ...], dtype: np.dtype) -> PointerTable:
    """Pointers to `activation_backward` of each of the names."""
    of = array_types(dtype)
    arguments = of.inputs, of.inputs, of.inputs, of.matrix
    return PointerTable([FunctionPointer(activation_backward(name), arguments) for name in names])
