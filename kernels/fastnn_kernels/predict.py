"""Outputs, classes and the loss of a table of samples, a tile at a time.

Shape letters: N samples, I inputs, K scores and Y targets of a sample, T samples of a tile (a whole
number of vectors).
"""

from __future__ import annotations

import functools
from typing import Any

from .jit import kernel
from .loss import loss_value
from .network import INPUTS, forward_pass, last_outputs
from .output import argmax, output_forward
from .simd import view
from .tile import take_tile

__all__ = ["loss", "outputs", "predict"]


@functools.cache
def outputs(activations: tuple[str, ...], name: str) -> Any:
    """The kernel ``(plan, parameters, X, tile, units, P)``: P (N, K), the output `name` of X (N, I).

    `tile`, flat of I * T, and `units` are workspaces.
    """
    forward = forward_pass(activations)
    transform = output_forward(name)

    @kernel
    def outputs(plan, parameters, X, tile, units, P):
        n_inputs = plan[0, INPUTS]
        T = tile.shape[0] // n_inputs
        X_tile = view(tile, 0, n_inputs, T)
        S = last_outputs(plan, T, units)
        for first in range(0, X.shape[0], T):
            n = min(X.shape[0] - first, T)
            take_tile(X, first, n, X_tile)
            forward(plan, parameters, X_tile, units, None)
            transform(S, S)
            for t in range(n):
                for k in range(S.shape[0]):
                    P[first + t, k] = S[k, t]

    return outputs


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
            forward(plan, parameters, X_tile, units, None)
            argmax(S, 0, first, n, row)

    return predict


@functools.cache
def loss(activations: tuple[str, ...], name: str) -> Any:
    """The kernel ``(plan, parameters, X, y, weights, parameter, tile, targets, row, units)``.

    It returns the weighted loss `name` of the samples X (N, I) with the targets y (N, Y), labels in the
    parameters' dtype where the loss is of labels, and the weights (N,). `tile`, flat of I * T,
    `targets`, flat of Y * T, `row`, flat of T, and `units` are workspaces.
    """
    forward = forward_pass(activations)
    value = loss_value(name)

    @kernel
    def loss(plan, parameters, X, y, weights, parameter, tile, targets, row, units):
        n_inputs = plan[0, INPUTS]
        T = row.shape[0]
        X_tile = view(tile, 0, n_inputs, T)
        y_tile = view(targets, 0, y.shape[1], T)
        weights_tile = view(row, 0, 1, T)
        total = 0.0
        for first in range(0, X.shape[0], T):
            n = min(X.shape[0] - first, T)
            take_tile(X, first, n, X_tile)
            take_tile(y, first, n, y_tile)
            for t in range(n):
                weights_tile[0, t] = weights[first + t]
            for t in range(n, T):
                weights_tile[0, t] = 0
            forward(plan, parameters, X_tile, units, None)
            total += value(last_outputs(plan, T, units), y_tile, weights_tile, parameter)
        return total

    return loss
