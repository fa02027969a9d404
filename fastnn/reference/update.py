"""The parameter update, over the flat vector with the weights first.

To add an optimizer: a rule with its formula, entered in `OPTIMIZERS`; its twin in
``fastnn_kernels/update.py``; and what a user names, with the coefficients, in ``fastnn/optimizers.py``.

Shapes: p, g (P,), the parameters and the derivative by them; state (S, P), c (C,), the rule's
coefficients, of which the first is the learning rate.
"""

from __future__ import annotations

import numpy as np

__all__ = ["OPTIMIZERS", "add_to_average", "limit_norms", "update"]


def over_root(a, square, offset):
    """``a / (sqrt(square) + offset)``, the square taken into the normal range: 0 / 0 is 0."""
    root = np.sqrt(np.maximum(square, np.finfo(square.dtype).tiny))
    return a / (root + offset)


def sgd(p, g, state, c):
    """``p - rate g``."""
    return p - c[0] * g


def momentum(p, g, state, c):
    """``v = c1 v + c2 g``; ``p - (c3 g + c4 v)``, which is Polyak's momentum, and Nesterov's."""
    state[0] = c[1] * state[0] + c[2] * g
    return p - (c[3] * g + c[4] * state[0])


def adagrad(p, g, state, c):
    """``s += g^2``; ``p - rate g / (sqrt(s) + eps)``."""
    state[0] += g * g
    return p - c[0] * over_root(g, state[0], c[1])


def rmsprop(p, g, state, c):
    """``s = alpha s + (1 - alpha) g^2``; ``v = momentum v + g / (sqrt(s) + eps)``; ``p - rate v``."""
    state[0] = c[2] * state[0] + c[3] * g * g
    state[1] = c[4] * state[1] + over_root(g, state[0], c[1])
    return p - c[0] * state[1]


def adam(p, g, state, c):
    """``m``, ``s``: running means of g and g^2; ``p - rate m / (sqrt(s) + eps)``."""
    state[0] += c[2] * (g - state[0])
    state[1] = c[3] * state[1] + c[4] * g * g
    return p - c[0] * over_root(state[0], state[1], c[1])


def adamw(p, g, state, c):
    """`adam` on parameters that were first multiplied by ``c[5]``."""
    return adam(c[5] * p, g, state, c)


OPTIMIZERS = {
    "sgd": sgd,
    "momentum": momentum,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
}


def update(name, gradient, parameters, state, coefficients, l2, l1):
    """Update `parameters` by the rule `name` and the derivative ``g + l2 p + l1 sign(p)``.

    l2 and l1 are (P,) or numbers. Returns whether every parameter is finite still.
    """
    g = gradient + l2 * parameters + l1 * np.sign(parameters)
    parameters[...] = OPTIMIZERS[name](parameters, g, state, coefficients)
    return bool(np.isfinite(parameters).all())


def add_to_average(parameters, share, average):
    """``average += share (parameters - average)``. A share of 1 is a copy."""
    if share == 1:
        average[...] = parameters
    else:
        average += share * (parameters - average)


def limit_norms(W, limit):
    """Scale every unit's incoming weights, a column of W, to a norm of `limit` at the most."""
    norms = np.sqrt(np.sum(W.astype(np.float64) ** 2, axis=0))
    W *= np.where(norms > limit, limit / np.maximum(norms, limit), 1).astype(W.dtype)
