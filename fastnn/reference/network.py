"""Samples through all layers, forward and back.

A network is its lists W and b and the names of its layers' activations. What is normalised or dropped
comes as a `Batch`, in training.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .gate import affine_backward, affine_forward
from .layer import activation_backward, activation_forward
from .norm import batch_norm_backward, batch_norm_forward
from .random import draw, dropout, dropout_backward

__all__ = ["Batch", "backward_pass", "forward_pass", "scores"]


class Batch(NamedTuple):
    """What a training pass must know besides the samples; lists have an entry a layer.

    weights (n,) of the samples; scales, shifts and running statistics of the normalised layers, None
    for the others; rates of dropout for the inputs of every layer; key of this step's random numbers.
    """

    weights: Any
    scales: list
    shifts: list
    running: list
    rates: tuple
    key: Any


class Trace(NamedTuple):
    """What the way back needs of a layer."""

    X: Any  # what went in
    Z: Any  # what the activation was applied to
    A: Any  # what it gave
    N: Any  # the normalised sums and the inverse deviations, where there are such
    inverse: Any


def forward_pass(activations, W, b, X, batch=None):
    """A `Trace` of every layer."""
    traces = []
    for layer, name in enumerate(activations):
        if batch and batch.rates[layer] > 0:
            X = dropout(X, draw(batch.key, layer), 0, batch.rates[layer])
        Z, N, inverse = affine_forward(W[layer], b[layer], X), None, None
        if batch and batch.scales[layer] is not None:
            Z, N, inverse = batch_norm_forward(
                Z, batch.weights, batch.scales[layer], batch.shifts[layer], batch.running[layer]
            )
        traces.append(Trace(X, Z, activation_forward(name, Z), N, inverse))
        X = traces[-1].A
    return traces


def scores(activations, W, b, X):
    """The last layer's outputs (n, k)."""
    return forward_pass(activations, W, b, X)[-1].A


def backward_pass(activations, W, traces, dS, batch=None):
    """Derivatives (dW, db, dscales, dshifts), lists as W is, from the one by the last layer's outputs."""
    dW: list = [None] * len(W)
    db, dscales, dshifts = dW.copy(), dW.copy(), dW.copy()
    dA = dS
    for layer in reversed(range(len(W))):
        X, Z, A, N, inverse = traces[layer]
        dZ = activation_backward(activations[layer], Z, A, dA)
        if N is not None:
            dZ, dscales[layer], dshifts[layer] = batch_norm_backward(
                N, batch.weights, batch.scales[layer], inverse, dZ
            )
        dW[layer], db[layer], dA = affine_backward(W[layer], X, dZ)
        if batch and layer and batch.rates[layer] > 0:
            dA = dropout_backward(X, dA, batch.rates[layer])
    return dW, db, dscales, dshifts
