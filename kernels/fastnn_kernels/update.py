"""The parameter update: one fused loop over the flat parameter vector.

To add an optimizer, write its rule below the others, name it with the decorator ``@optimizer``, write its
twin in ``fastnn/reference/update.py``, and the class that users name in ``fastnn/optimizers.py``. That class
computes the rule's coefficients, the numbers that are the same for all parameters of a step.

Shape letters: P parameters (a whole number of vectors), S values of state for each parameter, G gradients
whose sum is the gradient, C coefficients.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types

from .compiler.jit import kernel
from .compiler.numba_internals import to_fixed_tuple
from .compiler.pointer import FunctionPointer, array_types
from .vectors import vmath
from .vectors.value import Value, emitter, fill, is_zero, reduce_add_squares, reduce_add_weighted
from .vectors.vector import lanes, load, store, view

__all__ = [
    "OPTIMIZERS",
    "add_to_average",
    "limit_norms",
    "optimizer",
    "square_sum",
    "sum_of_squares",
    "update",
    "update_pointer",
]


class Optimizer(NamedTuple):
    """The rule of an optimizer, and the number of its coefficients."""

    rule: Any
    n_coefficients: int


# All rules by name.
OPTIMIZERS: dict[str, Optimizer] = {}


def optimizer(name: str) -> Callable[[Callable], Any]:
    """Return the decorator that compiles a rule and enters it in `OPTIMIZERS` under `name`.

    A rule takes p, g, state and k, then its coefficients, which ``fastnn/optimizers.py`` computes for every
    step: the learning rate first.
    """

    def register(rule: Callable) -> Any:
        n_coefficients = len(inspect.signature(rule).parameters) - 4
        compiled = kernel(rule)
        OPTIMIZERS[name] = Optimizer(compiled, n_coefficients)
        return compiled

    return register


@emitter
def plus(a: Value, factor: Value, b: Value) -> Value:
    """Return ``a + factor b``, rounded once.

    In a sum of two products the compiler would choose which of them is rounded, and not choose alike wherever
    a rule is built in: yet weights that are changed strip by strip must come out as all others.
    """
    return b.fma(factor, a)


# --- the rules: each returns the new values of the vector p of parameters that begins at k, by the derivative
# g, and updates state (S, P). A load from an address that differs by a multiple of 4 KB from where a store
# has just been waits for the store: load all state before any of it is stored.


@optimizer("sgd")
def sgd(p, g, state, k, rate):
    """Return ``p - rate g``."""
    return plus(p, -rate, g)


@optimizer("momentum")
def momentum(p, g, state, k, rate, keep, gain, direct, step):
    """Update ``v = keep v + gain g``; return ``p - (direct g + step v)``.

    Polyak's momentum where `direct` is 0, and Nesterov's; the rate is in `direct` and `step`, or in `gain`.
    """
    v = plus(load(state, 0, k) * fill(state, keep), gain, g)
    store(state, 0, k, v)
    return p - plus(g * fill(state, direct), step, v)


@optimizer("adagrad")
def adagrad(p, g, state, k, rate, eps):
    """Update ``s += g^2``; return ``p - rate g / (sqrt(s) + eps)``."""
    s = plus(load(state, 0, k), g, g)
    store(state, 0, k, s)
    return plus(p, -rate, vmath.over_root(g, s, eps))


@optimizer("rmsprop")
def rmsprop(p, g, state, k, rate, eps, alpha, share, momentum):
    """Update ``s = alpha s + share g^2`` and ``v = momentum v + g / (sqrt(s) + eps)``.

    Return ``p - rate v``.
    """
    s, v = load(state, 0, k), load(state, 1, k)
    s = plus(s * fill(state, alpha), g * fill(state, share), g)
    v = plus(vmath.over_root(g, s, eps), momentum, v)
    store(state, 0, k, s)
    store(state, 1, k, v)
    return plus(p, -rate, v)


@optimizer("adam")
def adam(p, g, state, k, rate, eps, share, beta2, share2):
    """Update the running means m of g and s of g^2; return ``p - rate m / (sqrt(s) + eps)``.

    ``m += share (g - m)`` and ``s = beta2 s + share2 g^2``, where `share` is ``1 - beta1`` and so on.
    The bias corrections of m and sqrt(s) are in `rate` and `eps`.
    """
    m, s = load(state, 0, k), load(state, 1, k)
    m = plus(m, share, g - m)
    s = plus(s * fill(state, beta2), g * fill(state, share2), g)
    store(state, 0, k, m)
    store(state, 1, k, s)
    return plus(p, -rate, vmath.over_root(m, s, eps))


@optimizer("adamw")
def adamw(p, g, state, k, rate, eps, share, beta2, share2, decay):
    """Return `adam` of the parameters ``decay p``."""
    return adam(p * fill(state, decay), g, state, k, rate, eps, share, beta2, share2)


@functools.cache
def update(name: str, with_l1: bool = True) -> Any:
    """Return the kernel ``(gradients, parameters, state, coefficients, l2, l1, shrink, begin, end, first)``.

    The kernel updates the parameters from `begin` to `end`, whole numbers of vectors, by the rule `name` and
    the derivative ``shrink g + l2 p + l1 sign(p)``, where g is the sum of the gradients. It returns True if
    all parameters are still finite.

    gradients (G, ..) begin with the parameter `first`; state (S, P) is updated; coefficients (C,); l2, l1 and
    shrink are scalars of the parameters' dtype. Without `with_l1`, l1 is taken for 0.
    """
    rule, n_coefficients = OPTIMIZERS[name]

    @kernel
    def update(gradients, parameters, state, coefficients, l2, l1, shrink, begin, end, first):
        row = view(parameters, 0, 1, parameters.shape[0])
        sums = fill(gradients, 0)
        # A store might change what is in memory: the coefficients are kept in registers.
        numbers = to_fixed_tuple(coefficients, n_coefficients)
        for k in range(begin, end, lanes(gradients)):
            p = load(row, 0, k)
            g = total(gradients, k - first)
            if shrink != 1:
                g = g * fill(gradients, shrink)
            if l2 != 0:
                g = plus(g, l2, p)
            if with_l1:
                g = plus(g, l1, vmath.sign(p))
            p = rule(p, g, state, k, *numbers)
            store(row, 0, k, p)
            sums = sums + p
        # 0 times infinity or NaN is NaN. The sum of finite parameters may be infinite: look at each then.
        return is_zero(sums * fill(gradients, 0)) or are_finite(parameters, begin, end)

    return update


@functools.cache
def update_pointer(name: str, with_l1: bool, dtype: np.dtype) -> FunctionPointer:
    """Return a pointer to `update`."""
    of = array_types(dtype)
    arrays, numbers = (of.inputs, of.flat, of.matrix, of.flat), (of.scalar,) * 3
    return FunctionPointer(update(name, with_l1), (*arrays, *numbers, *[types.intp] * 3))


@kernel
def are_finite(parameters, begin, end):
    """Return True if the parameters (P,) from `begin` to `end`, whole numbers of vectors, are finite."""
    row = view(parameters, 0, 1, parameters.shape[0])
    trouble = fill(parameters, 0)
    for k in range(begin, end, lanes(parameters)):
        trouble = trouble + load(row, 0, k) * fill(parameters, 0)
    return is_zero(trouble)


@kernel
def total(gradients, k):
    """Return the sum of the vectors at k of all gradients, in their order."""
    g = load(gradients, 0, k)
    for other in range(1, gradients.shape[0]):
        g = g + load(gradients, other, k)
    return g


@kernel
def square_sum(gradients, begin, end):
    """Return the sum of the squares of the summed gradients (G, P) from `begin` to `end`, in float64."""
    result = 0.0
    for k in range(begin, end, lanes(gradients)):
        result += reduce_add_squares(total(gradients, k))
    return result


@kernel
def sum_of_squares(parameters, begin, end):
    """Return the sum of the squares of the parameters (P,) from `begin` to `end`, in their dtype."""
    row = view(parameters, 0, 1, parameters.shape[0])
    squares = fill(parameters, 0)
    for k in range(begin, end, lanes(parameters)):
        p = load(row, 0, k)
        squares = squares + p * p
    return reduce_add_weighted(squares, fill(parameters, 1))


@kernel
def add_to_average(parameters, share, begin, end, average):
    """Update ``average += share (parameters - average)`` from `begin` to `end`, both (P,).

    A share of 1 copies.
    """
    for k in range(begin, end):
        if share == 1:
            average[k] = parameters[k]
        else:
            average[k] += share * (parameters[k] - average[k])


@kernel
def limit_norms(W, limit):
    """Scale every unit's incoming weights, a column of W (I, J), to a norm of `limit` at the most.

    Srivastava et al., "Dropout", 2014, section 5.1.
    """
    for j in range(W.shape[1]):
        squares = 0.0
        for i in range(W.shape[0]):
            squares += np.float64(W[i, j]) * W[i, j]
        if squares > limit * limit:
            factor = W.dtype.type(limit / np.sqrt(squares))
            for i in range(W.shape[0]):
                W[i, j] *= factor
