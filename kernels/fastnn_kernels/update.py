"""Optimizers: the update of the parameters, one fused loop over the flat parameter vector.

To add an optimizer, write its rule below the others, register it with the decorator ``@optimizer``, write the
NumPy version in ``fastnn/reference/update.py``, and the class for users in ``fastnn/optimizers.py``. That
class computes the rule's coefficients, numbers that are the same for all parameters in a step.

Shape letters: P parameters (a whole number of vectors), S values of state per parameter, G gradients of the
shards, whose sum is the gradient, C coefficients.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .compiler.jit import Kernel, kernel
from .compiler.numba_internals import to_fixed_tuple
from .vectors import vmath
from .vectors.value import Value, add_product, emitter, fill, is_zero, reduce_add_squares, reduce_add_weighted
from .vectors.vector import lanes, load, store, view


class RegisteredRule(NamedTuple):
    """The rule of an optimizer, a kernel, and the number of the rule's coefficients."""

    rule: Kernel
    n_coefficients: int


# Registry of all optimizers by name.
OPTIMIZERS: dict[str, RegisteredRule] = {}


def optimizer(name: str) -> Callable[[Callable], Kernel]:
    """Return the decorator that makes a rule a kernel and adds it to `OPTIMIZERS` under `name`.

    The arguments of a rule are p, g, state and k, then its coefficients, which ``fastnn/optimizers.py``
    computes for every step. The first coefficient is the learning rate.
    """

    def register(rule: Callable) -> Kernel:
        n_coefficients = len(inspect.signature(rule).parameters) - 4
        compiled = kernel(rule)
        OPTIMIZERS[name] = RegisteredRule(compiled, n_coefficients)
        return compiled

    return register


@emitter
def mark_non_finite(bad: Value, p: Value) -> Value:
    """Return a vector that is NaN in every lane in which `bad` is NaN or p is not finite, else 0 or -0.

    0 times infinity or NaN is NaN. Combining bits takes a cycle, a quarter of an addition, for which the next
    vector of parameters would have to wait.
    """
    return (bad.bits() | (p * 0.0).bits()).from_bits()


# --- the rules -----------------------------------------------------------------------------------
# A rule returns the new values of a vector of parameters, those from k on, given the old values p and the
# derivative g; it updates state (S, P). 4K aliasing stalls a load right after a store to the same page
# offset: load all state before storing any.


@optimizer("sgd")
def sgd(p, g, state, k, rate):
    """Return ``p - rate g``."""
    return add_product(p, -rate, g)


@optimizer("momentum")
def momentum(p, g, state, k, rate, decay, gain, direct, step):
    """Update ``v = decay v + gain g``; return ``p - (direct g + step v)``.

    With ``direct = 0`` this is Polyak's momentum, otherwise Nesterov's. The learning rate is contained in
    `direct` and `step`, or in `gain`.
    """
    v = add_product(load(state, 0, k) * fill(state, decay), gain, g)
    store(state, 0, k, v)
    return p - add_product(g * fill(state, direct), step, v)


@optimizer("adagrad")
def adagrad(p, g, state, k, rate, eps):
    """Update ``s += g^2``; return ``p - rate g / (sqrt(s) + eps)``."""
    s = add_product(load(state, 0, k), g, g)
    store(state, 0, k, s)
    return add_product(p, -rate, vmath.over_root(g, s, eps))


@optimizer("rmsprop")
def rmsprop(p, g, state, k, rate, eps, alpha, share, momentum):
    """Update ``s = alpha s + share g^2`` and ``v = momentum v + g / (sqrt(s) + eps)``.

    Return ``p - rate v``.
    """
    s, v = load(state, 0, k), load(state, 1, k)
    s = add_product(s * fill(state, alpha), g * fill(state, share), g)
    v = add_product(vmath.over_root(g, s, eps), momentum, v)
    store(state, 0, k, s)
    store(state, 1, k, v)
    return add_product(p, -rate, v)


@optimizer("adam")
def adam(p, g, state, k, rate, eps, share, beta2, share2):
    """Update the running means m of g and s of g^2; return ``p - rate m / (sqrt(s) + eps)``.

    ``m += share (g - m)`` and ``s = beta2 s + share2 g^2``, where `share` is ``1 - beta1`` and `share2` is
    ``1 - beta2``. The bias corrections of m and s are contained in `rate` and `eps`.
    """
    m, s = load(state, 0, k), load(state, 1, k)
    m = add_product(m, share, g - m)
    s = add_product(s * fill(state, beta2), g * fill(state, share2), g)
    store(state, 0, k, m)
    store(state, 1, k, s)
    return add_product(p, -rate, vmath.over_root(m, s, eps))


@optimizer("adamw")
def adamw(p, g, state, k, rate, eps, share, beta2, share2, decay):
    """Return the result of `adam` after the parameters have decayed to ``decay p``."""
    return adam(p * fill(state, decay), g, state, k, rate, eps, share, beta2, share2)


@functools.cache
def update(name: str, with_l1: bool = True, plain: bool = False) -> Kernel:
    """Return the kernel that updates the parameters from `begin` to `end`, whole vectors.

    The update follows the rule `name` and the derivative ``shrink g + l2 p + l1 sign(p)``, where g is the sum
    of the gradients. The kernel returns True if the updated parameters are all finite.

    gradients (G, P or more); parameters (P,) and state (S, P) are updated; coefficients (C,); l2, l1 and
    shrink are scalars of the parameters' dtype. If `with_l1` is False, l1 is ignored. If `plain`, G is 1, and
    l2, l1 and shrink are ignored, so the derivative is g.
    """
    rule, n_coefficients = OPTIMIZERS[name]

    @kernel
    def update(gradients, parameters, state, coefficients, l2, l1, shrink, begin, end):
        row = view(parameters, 0, 1, parameters.shape[0])
        bad = fill(gradients, 0)
        # The compiler must assume that a store may change the array of coefficients: copy them to a tuple,
        # which stays in registers.
        numbers = to_fixed_tuple(coefficients, n_coefficients)
        for k in range(begin, end, lanes(gradients)):
            p = load(row, 0, k)
            if plain:
                g = load(gradients, 0, k)
            else:
                g = sum_gradients(gradients, k)
                # Branches on the penalties would take longer than computing with factors of 1 and 0.
                g = add_product(g * fill(gradients, shrink), l2, p)
                if with_l1:
                    g = add_product(g, l1, vmath.sign(p))
            p = rule(p, g, state, k, *numbers)
            store(row, 0, k, p)
            bad = mark_non_finite(bad, p)
        return is_zero(bad)

    return update


@kernel
def are_finite(parameters, begin, end):
    """Return True if the parameters (P,) from `begin` to `end`, whole vectors, are finite."""
    row = view(parameters, 0, 1, parameters.shape[0])
    bad = fill(parameters, 0)
    for k in range(begin, end, lanes(parameters)):
        bad = mark_non_finite(bad, load(row, 0, k))
    return is_zero(bad)


@kernel
def sum_gradients(gradients, k):
    """Return the vector ``gradients[:, k : k + lanes].sum(axis=0)``, added in the order of the rows."""
    g = load(gradients, 0, k)
    for other in range(1, gradients.shape[0]):
        g = g + load(gradients, other, k)
    return g


@kernel
def sum_gradient_squares(gradients, begin, end):
    """Return the sum of squares of the summed gradients (G, P) from `begin` to `end`, in float64."""
    result = 0.0
    for k in range(begin, end, lanes(gradients)):
        result += reduce_add_squares(sum_gradients(gradients, k))
    return result


@kernel
def sum_parameter_squares(parameters, begin, end):
    """Return the sum of squares of the parameters (P,) from `begin` to `end`.

    Squares are added in the parameters' dtype, the lanes of the result in float64.
    """
    row = view(parameters, 0, 1, parameters.shape[0])
    squares = fill(parameters, 0)
    for k in range(begin, end, lanes(parameters)):
        p = load(row, 0, k)
        squares = add_product(squares, p, p)
    return reduce_add_weighted(squares, fill(parameters, 1))


@kernel
def add_to_average(parameters, share, begin, end, average):
    """Compute ``average += share (parameters - average)`` from `begin` to `end`; both are (P,).

    A share of 1 copies the parameters.
    """
    for k in range(begin, end):
        if share == 1:
            average[k] = parameters[k]
        else:
            average[k] += share * (parameters[k] - average[k])


@kernel
def limit_norms(W, limit):
    """Scale the incoming weights of each unit, a column of W (I, J), to a Euclidean norm of at most `limit`.

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
