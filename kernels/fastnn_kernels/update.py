"""The parameter update: one fused loop over the flat parameter vector.

To add an optimizer: write its rule, enter it in `OPTIMIZERS`, enter the twin in
``fastnn/reference/update.py`` under the same name, and name it in ``fastnn/optimizers.py``, which
computes the rule's coefficients: numbers that are the same for all parameters of a step.

Shape letters: P parameters (a whole number of vectors), S values of state a parameter has, G gradients
that make up the one, C coefficients.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import types

from .compiler.jit import kernel
from .compiler.numba_internals import to_fixed_tuple
from .compiler.pointer import FunctionPointer, array_types
from .vectors import vmath
from .vectors.simd import (
    Value,
    emitter,
    fill,
    is_zero,
    lanes,
    load,
    reduce_add_squares,
    reduce_add_weighted,
    store,
    view,
)

__all__ = [
    "OPTIMIZERS",
    "add_to_average",
    "limit_norms",
    "square_sum",
    "sum_of_squares",
    "update",
    "update_pointer",
]

# --- the rules: the new values of the vector p of parameters that begins at k, by the derivative g.
# The first coefficient is the learning rate; `state` (S, P) is updated. All of it is loaded before any of
# it is stored: a load from where a store has just been, but for a multiple of 4 KB, waits for it.


@emitter
def plus(a: Value, factor: Value, b: Value) -> Value:
    """``a + factor b``, rounded once.

    Where a sum has two products, which of them is rounded would be the compiler's choice, and not the same
    wherever a rule is built in: yet weights that are changed strip by strip must come out as all others.
    """
    return b.fma(factor, a)


@kernel
def sgd(p, g, state, k, c):
    """``p - rate g``."""
    return plus(p, -c[0], g)


@kernel
def momentum(p, g, state, k, c):
    """``v = c1 v + c2 g``; ``p - (c3 g + c4 v)``, which is Polyak's momentum, and Nesterov's."""
    v = plus(load(state, 0, k) * fill(state, c[1]), c[2], g)
    store(state, 0, k, v)
    return p - plus(g * fill(state, c[3]), c[4], v)


@kernel
def adagrad(p, g, state, k, c):
    """``s += g^2``; ``p - rate g / (sqrt(s) + eps)``."""
    s = plus(load(state, 0, k), g, g)
    store(state, 0, k, s)
    return plus(p, -c[0], vmath.over_root(g, s, c[1]))


@kernel
def rmsprop(p, g, state, k, c):
    """``s = alpha s + (1 - alpha) g^2``; ``v = momentum v + g / (sqrt(s) + eps)``; ``p - rate v``."""
    s, v = load(state, 0, k), load(state, 1, k)
    s = plus(s * fill(state, c[2]), g * fill(state, c[3]), g)
    v = plus(vmath.over_root(g, s, c[1]), c[4], v)
    store(state, 0, k, s)
    store(state, 1, k, v)
    return plus(p, -c[0], v)


@kernel
def adam(p, g, state, k, c):
    """``m``, ``s``: running means of g and g^2; ``p - rate m / (sqrt(s) + eps)``.

    The rate and eps have the corrections of m and sqrt(s) in them.
    """
    m, s = load(state, 0, k), load(state, 1, k)
    m = plus(m, c[2], g - m)
    s = plus(s * fill(state, c[3]), g * fill(state, c[4]), g)
    store(state, 0, k, m)
    store(state, 1, k, s)
    return plus(p, -c[0], vmath.over_root(m, s, c[1]))


@kernel
def adamw(p, g, state, k, c):
    """`adam` on parameters that were first multiplied by ``c[5]``."""
    return adam(p * fill(state, c[5]), g, state, k, c)


class Optimizer(NamedTuple):
    """A rule, and how many coefficients it takes."""

    rule: Any
    n_coefficients: int


OPTIMIZERS: dict[str, Optimizer] = {
    "sgd": Optimizer(sgd, 1),
    "momentum": Optimizer(momentum, 5),
    "adagrad": Optimizer(adagrad, 2),
    "rmsprop": Optimizer(rmsprop, 5),
    "adam": Optimizer(adam, 5),
    "adamw": Optimizer(adamw, 6),
}


@functools.cache
def update(name: str, with_l1: bool = True) -> Any:
    """The kernel ``(gradients, parameters, state, coefficients, l2, l1, shrink, begin, end, first)``.

    It updates the parameters from `begin` to `end`, whole numbers of vectors, by the rule `name` and the
    derivative ``shrink g + l2 p + l1 sign(p)``, where g is the sum of the gradients, and returns whether all
    of them are finite still. gradients (G, ..), of the parameters from `first` on; state (S, P) is updated;
    coefficients (C,); l2, l1 and shrink are scalars of the parameters' dtype. Without `with_l1`, l1 is taken
    for 0.
    """
    rule, n_coefficients = OPTIMIZERS[name]

    @kernel
    def update(gradients, parameters, state, coefficients, l2, l1, shrink, begin, end, first):
        row = view(parameters, 0, 1, parameters.shape[0])
        sums = fill(gradients, 0)
        # In registers: what is in memory might be changed by every store.
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
            p = rule(p, g, state, k, numbers)
            store(row, 0, k, p)
            sums = sums + p
        # 0 times infinity or NaN is NaN. A sum may be infinite where nothing that it is of is.
        return is_zero(sums * fill(gradients, 0)) or are_finite(parameters, begin, end)

    return update


@functools.cache
def update_pointer(name: str, with_l1: bool, dtype: np.dtype) -> FunctionPointer:
    """A pointer to `update`."""
    of = array_types(dtype)
    arrays, numbers = (of.inputs, of.flat, of.matrix, of.flat), (of.scalar,) * 3
    return FunctionPointer(update(name, with_l1), (*arrays, *numbers, *[types.intp] * 3))


@kernel
def are_finite(parameters, begin, end):
    """Whether the parameters (P,) from `begin` to `end`, whole numbers of vectors, are."""
    row = view(parameters, 0, 1, parameters.shape[0])
    trouble = fill(parameters, 0)
    for k in range(begin, end, lanes(parameters)):
        trouble = trouble + load(row, 0, k) * fill(parameters, 0)
    return is_zero(trouble)


@kernel
def total(gradients, k):
    """Sum of the vectors at k of all gradients, in their order."""
    g = load(gradients, 0, k)
    for other in range(1, gradients.shape[0]):
        g = g + load(gradients, other, k)
    return g


@kernel
def square_sum(gradients, begin, end):
    """Sum of the squares of the summed gradients (G, P) from `begin` to `end`, in float64."""
    result = 0.0
    for k in range(begin, end, lanes(gradients)):
        result += reduce_add_squares(total(gradients, k))
    return result


@kernel
def sum_of_squares(parameters, begin, end):
    """Sum of the squares of the parameters (P,) from `begin` to `end`, in their dtype."""
    row = view(parameters, 0, 1, parameters.shape[0])
    squares = fill(parameters, 0)
    for k in range(begin, end, lanes(parameters)):
        p = load(row, 0, k)
        squares = squares + p * p
    return reduce_add_weighted(squares, fill(parameters, 1))


@kernel
def add_to_average(parameters, share, begin, end, average):
    """``average += share (parameters - average)`` from `begin` to `end`, both (P,); by 1 a copy."""
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
