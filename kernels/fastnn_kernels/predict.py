"""Probabilities, classes and the loss of a table of samples, a tile at a time.

Shape letters: N samples, I inputs, K classes, T samples of a tile (a whole number of vectors).
"""

from __future__ import annotations

import functools
from typing import Any

from .jit import kernel
from .network import INPUTS, forward_pass, last_outputs
from .output import argmax, softmax_forward, softmax_loss
from .simd import view

__all__ = ["loss", "predict", "predict_proba", "take_tile"]


@kernel
def take_tile(X, first, n, tile):
    """Samples `first` to `first` + `n` of a table as columns, zeros behind them.

    Parameters
    ----------
    X : array (N, I)
    first, n : int
    tile : array (I, T)
        Overwritten.
    """
    for i in range(tile.shape[0]):
        for t in range(n):
            tile[i, t] = X[first + t, i]
        for t in range(n, tile.shape[1]):
            tile[i, t] = 0


@functools.cache
def predict_proba(activations: tuple[str, ...]) -> Any:
    """The kernel ``(plan, parameters, X, tile, units, P)``: P (N, K) of X (N, I).

    `tile`, flat of I * T, and `units` are workspaces.
    """
    forward = forward_pass(activations)

    @kernel
    def predict_proba(plan, parameters, X, tile, units, P):
        n_inputs = plan[0, INPUTS]
        T = tile.shape[0] // n_inputs
        X_tile = view(tile, 0, n_inputs, T)
        S = last_outputs(plan, T, units)
        for first in range(0, X.shape[0], T):
            n = min(X.shape[0] - first, T)
            take_tile(X, first, n, X_tile)
            forward(plan, parameters, X_tile, units)
            softmax_forward(S, S)
            for t in range(n):
                for k in range(S.shape[0]):
                    P[first + t, k] = S[k, t]

    return predict_proba


@functools.cache
def predict(activations: tuple[str, ...]) -> Any:
    """The kernel ``(plan, parameters, X, tile, units, classes)``: classes (N,) of X (N, I).

    `tile`, flat of I * T, and `units` are workspaces.
    """
    forward = forward_pass(activations)

    @kernel
    def predict(plan, parameters, X, tile, units, classes):
        n_inputs = plan[0, INPUTS]
        T = tile.shape[0] // n_inputs
        X_tile = view(tile, 0, n_inputs, T)
        S = last_outputs(plan, T, units)
        row = view(classes, 0, 1, classes.shape[0])
        for first in range(0, X.shape[0], T):
            n = min(X.shape[0] - first, T)
            take_tile(X, first, n, X_tile)
            forward(plan, parameters, X_tile, units)
            argmax(S, 0, first, n, row)

    return predict


@functools.cache
def loss(activations: tuple[str, ...]) -> Any:
    """The kernel ``(plan, parameters, X, y, scale, tile, label_tile, units)``: scaled loss of X (N, I).

    It is the sum over the samples of their loss times `scale`, as in `softmax_loss`. y (N,), the labels
    in the parameters' dtype; `tile`, flat of I * T, `label_tile`, flat of T,
    and `units` are workspaces.
    """
    forward = forward_pass(activations)

    @kernel
    def loss(plan, parameters, X, y, scale, tile, label_tile, units):
        n_inputs = plan[0, INPUTS]
        T = label_tile.shape[0]
        X_tile = view(tile, 0, n_inputs, T)
        y_tile = view(label_tile, 0, 1, T)
        y_column = view(y, 0, y.shape[0], 1)
        total = 0.0
        for first in range(0, X.shape[0], T):
            n = min(X.shape[0] - first, T)
            take_tile(X, first, n, X_tile)
            take_tile(y_column, first, n, y_tile)
            forward(plan, parameters, X_tile, units)
            total += softmax_loss(last_outputs(plan, T, units), y_tile, scale, n)
        return total

    return loss
