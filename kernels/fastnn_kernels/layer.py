"""The layers: an activation applied to every value of a tile, and its derivative.

To add an activation: write its formulas, enter them in `ACTIVATIONS`, and enter the twin in
``fastnn/reference/layer.py`` under the same name. Derivatives are taken from the output.

Shape letters: J units, T samples of a tile (a whole number of vectors).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from . import vmath
from .jit import kernel
from .simd import Value, emitter, lanes, load, store

__all__ = ["ACTIVATIONS", "activation_backward", "activation_forward", "by_code"]


@emitter
def identity(z: Value) -> Value:
    """The value itself."""
    return z


@emitter
def identity_slope(a: Value) -> Value:
    """Derivative of the identity."""
    return a.constant(1.0)


@emitter
def sigmoid_slope(a: Value) -> Value:
    """Derivative of the sigmoid where it is a."""
    return a - a * a


@emitter
def tanh_slope(a: Value) -> Value:
    """Derivative of tanh where it is a."""
    return 1.0 - a * a


# name: (a from z, da/dz from a)
ACTIVATIONS: dict[str, tuple[Any, Any]] = {
    "identity": (identity, identity_slope),
    "sigmoid": (vmath.sigmoid, sigmoid_slope),
    "tanh": (vmath.tanh, tanh_slope),
}


@functools.cache
def activation_forward(name: str) -> Any:
    """The kernel ``(Z, A)``: A = f(Z), both (J, T); A may be Z."""
    activation, _ = ACTIVATIONS[name]

    @kernel
    def activation_forward(Z, A):
        for j in range(Z.shape[0]):
            for t in range(0, Z.shape[1], lanes(Z)):
                store(A, j, t, activation(load(Z, j, t)))

    return activation_forward


@functools.cache
def activation_backward(name: str) -> Any:
    """The kernel ``(A, dA, dZ)``: dZ = dA f'(Z), all (J, T), f' taken from A; dZ may be dA."""
    _, slope = ACTIVATIONS[name]

    @kernel
    def activation_backward(A, dA, dZ):
        for j in range(A.shape[0]):
            for t in range(0, A.shape[1], lanes(A)):
                store(dZ, j, t, load(dA, j, t) * slope(load(A, j, t)))

    return activation_backward


@functools.cache
def by_code(make: Callable[[str], Any], names: tuple[str, ...]) -> Any:
    """The kernel ``(code, *arrays)`` that runs ``make(names[code])`` on the arrays.

    So the layers of a network may differ, and only the activations named are compiled.
    """
    first = make(names[0])
    if len(names) == 1:

        @kernel
        def only(code, *arrays):
            first(*arrays)

        return only
    others = by_code(make, names[1:])

    @kernel
    def choose(code, *arrays):
        if code == 0:
            first(*arrays)
        else:
            others(code - 1, *arrays)

    return choose
