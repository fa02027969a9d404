"""Optimizers: the update of the flat parameter vector.

To add an optimizer, write its rule below the others, register it with the decorator ``@optimizer``, write the
compiled version in ``fastnn_kernels/update.py``, and the class for users in ``fastnn/optimizers.py``. A rule
returns the new parameters. Its positional arguments are the parameters p (P,), the derivative g (P,) of the
loss by p, and state (S, P), which the rule updates. Its keyword arguments are `rate`, the learning rate;
`step`, the number of steps done before; and the hyperparameters of the optimizer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .layer import make_registrar

# Registry of all optimizers by name.
OPTIMIZERS: dict[str, Callable] = {}
optimizer = make_registrar(OPTIMIZERS)


@optimizer("sgd")
def sgd(p, g, state, *, rate, **_):
    """Return ``p - rate g``."""
    return p - rate * g


@optimizer("momentum")
def momentum(p, g, state, *, rate, step, momentum, dampening, rate_in_velocity, **_):
    """Update ``v = momentum v + (1 - dampening) g``; return ``p - rate v``.

    The first step has no dampening. With `rate_in_velocity`, v contains the factor `rate`, as in
    scikit-learn.
    """
    damped = g if step == 0 else (1 - dampening) * g
    if rate_in_velocity:
        state[0] = momentum * state[0] + rate * damped
        return p - state[0]
    state[0] = momentum * state[0] + damped
    return p - rate * state[0]


@optimizer("nesterov")
def nesterov(p, g, state, *, rate, momentum, rate_in_velocity, **_):
    """Update ``v = momentum v + g``; return ``p - rate (g + momentum v)``.

    With `rate_in_velocity`, v contains the factor `rate`, as in scikit-learn.
    """
    if rate_in_velocity:
        state[0] = momentum * state[0] + rate * g
        return p - (rate * g + momentum * state[0])
    state[0] = momentum * state[0] + g
    return p - rate * (g + momentum * state[0])


@optimizer("adagrad")
def adagrad(p, g, state, *, rate, step, lr_decay, eps, **_):
    """Update ``s += g^2``; return ``p - r g / (sqrt(s) + eps)`` with ``r = rate / (1 + step lr_decay)``."""
    state[0] += g * g
    return p - rate / (1 + step * lr_decay) * (g / (root(state[0]) + eps))


@optimizer("rmsprop")
def rmsprop(p, g, state, *, rate, alpha, momentum, eps, **_):
    """Update ``s = alpha s + (1 - alpha) g^2``, ``v = momentum v + g / (sqrt(s) + eps)``.

    Return ``p - rate v``.
    """
    state[0] = alpha * state[0] + (1 - alpha) * g * g
    state[1] = momentum * state[1] + g / (root(state[0]) + eps)
    return p - rate * state[1]


@optimizer("adam")
def adam(p, g, state, *, rate, step, betas, eps, eps_hat, **_):
    """Update the running means m of g and s of g^2; return ``p - rate m' / (sqrt(s') + eps)``.

    m' and s' are m and s divided by ``1 - beta^t`` after t steps, which corrects their bias: both means begin
    at 0. With `eps_hat`, eps is added to ``sqrt(s)`` before the bias correction instead of after it.
    """
    beta1, beta2 = betas
    state[0] = beta1 * state[0] + (1 - beta1) * g
    state[1] = beta2 * state[1] + (1 - beta2) * g * g
    m = state[0] / (1 - beta1 ** (step + 1))
    correction = (1 - beta2 ** (step + 1)) ** 0.5
    if eps_hat:
        return p - rate * (m / ((root(state[1]) + eps) / correction))
    return p - rate * (m / (root(state[1]) / correction + eps))


@optimizer("adamw")
def adamw(p, g, state, *, rate, weight_decay, **others):
    """Return the result of `adam` for the parameters ``(1 - rate weight_decay) p``."""
    return adam((1 - rate * weight_decay) * p, g, state, rate=rate, **others)


def root(square):
    """Return ``sqrt(max(square, tiny))``, where tiny is the smallest normal number: ``0 / root(0)`` is 0."""
    return np.sqrt(np.maximum(square, np.finfo(square.dtype).smallest_normal))


def update(name, gradient, parameters, state, coefficients, l2, l1):
    """Update the parameters (P,) and the state (S, P), and return True if every parameter is still finite.

    The rule `name` takes the derivative ``g + l2 p + l1 sign(p)``, with numbers or arrays (P,) l2 and l1,
    and as keyword arguments the coefficients: `rate`, `step` and the hyperparameters of the optimizer.
    """
    g = gradient + l2 * parameters + l1 * np.sign(parameters)
    parameters[...] = OPTIMIZERS[name](parameters, g, state, **coefficients)
    return bool(np.isfinite(parameters).all())


def add_to_average(parameters, share, average):
    """Compute ``average += share (parameters - average)``; a fraction of 1 copies the parameters."""
    if share == 1:
        average[...] = parameters
    else:
        average += share * (parameters - average)


def limit_norms(W, limit):
    """Scale the incoming weights of each unit, a column of W, to a Euclidean norm of at most `limit`."""
    norms = np.sqrt(np.sum(W.astype(np.float64) ** 2, axis=0))
    W *= np.where(norms > limit, limit / np.maximum(norms, limit), 1).astype(W.dtype)
