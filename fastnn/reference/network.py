"""Samples through all layers, forward and back.

A network is a chain of units: of every layer `Affine`, the sums, and `Activation`. A training puts a unit
`Dropout` before the sums and a unit `Normalisation` behind them where the network has such. Each unit's
`forward` takes what the unit before returned and remembers what `backward` needs; `backward` takes the
derivative of the loss by the unit's output and returns the derivative by its input.

Shapes: X, Z, A (n, units), W (n_in, n_out), b (1, n_out); ``dA`` is the derivative of the loss by A and has
A's shape.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .gate import affine_backward, affine_forward
from .layer import activation_backward, activation_forward
from .norm import batch_norm_backward, batch_norm_forward
from .random import draw, dropout, dropout_backward

__all__ = [
    "Activation",
    "Affine",
    "Batch",
    "Dropout",
    "Normalisation",
    "backward_pass",
    "chain_of",
    "forward_pass",
    "scores",
]


# --- backpropagation -----------------------------------------------------------------------------


def forward_pass(chain, X):
    """Return the output of the last unit, the scores (n, k), for the samples X."""
    for unit in chain:
        X = unit.forward(X)
    return X


def backward_pass(chain, dS):
    """Return the derivative by the samples, given the one by the scores; units keep those by parameters."""
    for unit in reversed(chain):
        dS = unit.backward(dS)
    return dS


class Affine:
    """The sums ``Z = X W + b``; `dW` and `db` are the derivatives by the parameters."""

    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, X):
        """Return the sums of X."""
        self.X = X
        return affine_forward(self.W, self.b, X)

    def backward(self, dZ):
        """Return dX."""
        self.dW, self.db, dX = affine_backward(self.W, self.X, dZ)
        return dX


class Activation:
    """An activation ``A = f(Z)``, by its name."""

    def __init__(self, name):
        self.name = name

    def forward(self, Z):
        """Return ``f(Z)``."""
        self.Z, self.A = Z, activation_forward(self.name, Z)
        return self.A

    def backward(self, dA):
        """Return dZ."""
        return activation_backward(self.name, self.Z, self.A, dA)


# --- units of a training -------------------------------------------------------------------------


class Normalisation:
    """Batch normalisation of the sums; `dscale` and `dshift` are the derivatives by the parameters."""

    def __init__(self, weights, scale, shift, running):
        self.weights, self.scale, self.shift, self.running = weights, scale, shift, running

    def forward(self, Z):
        """Return the normalised sums, scaled and shifted."""
        normalised, self.N, self.inverse = batch_norm_forward(
            Z, self.weights, self.scale, self.shift, self.running
        )
        return normalised

    def backward(self, dZ):
        """Return the derivative by the sums that came in."""
        dZ, self.dscale, self.dshift = batch_norm_backward(self.N, self.weights, self.scale, self.inverse, dZ)
        return dZ


class Dropout:
    """Values that are dropped at a rate, by the random numbers of a key."""

    def __init__(self, rate, key):
        self.rate, self.key = rate, key

    def forward(self, X):
        """Return X, some values of which are dropped."""
        self.D = dropout(X, self.key, 0, self.rate)
        return self.D

    def backward(self, dD):
        """Return dX."""
        return dropout_backward(self.D, dD, self.rate)


class Batch(NamedTuple):
    """Parts of a training's chain besides the parameters; lists have an entry for each layer.

    weights (n,) of the samples; scales, shifts and running statistics of the normalised layers, None for the
    others; rates of dropout for the inputs of every layer; key of this step's random numbers.
    """

    weights: Any
    scales: list
    shifts: list
    running: list
    rates: tuple
    key: Any


def chain_of(activations, W, b, batch=None):
    """Return the units of a network: lists of names and parameters, one for each layer."""
    chain: list[Any] = []
    for layer, name in enumerate(activations):
        if batch and batch.rates[layer] > 0:
            chain.append(Dropout(batch.rates[layer], draw(batch.key, layer)))
        chain.append(Affine(W[layer], b[layer]))
        if batch and batch.scales[layer] is not None:
            scale, shift, running = batch.scales[layer], batch.shifts[layer], batch.running[layer]
            chain.append(Normalisation(batch.weights, scale, shift, running))
        chain.append(Activation(name))
    return chain


def scores(activations, W, b, X):
    """Return the scores (n, k) of the samples X."""
    return forward_pass(chain_of(activations, W, b), X)
