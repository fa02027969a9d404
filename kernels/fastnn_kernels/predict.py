"""Outputs, classes and the loss of a table of samples, a tile at a time.

Shape letters: N samples, I inputs, K scores and Y targets of a sample, T samples of a tile (a whole
number of vectors).
"""

from __future__ import annotations

from .jit import kernel
from .network import INPUTS, forward_pass, last_outputs
from .output import argmax
from .pointer import call
from .simd import view
from .tile import take_tile

__all__ = ["loss", "outputs", "predict"]

scores = forward_pass()


@kernel
def outputs(activations, transform, plan, parameters, X, tile, units, P):
    """An output of X (N, I): P (N, K).

    activations, transform: `layer.forward_table` and `output.forward_pointer`; `tile`, flat of I * T, and
    `units` are workspaces.
    """
    n_inputs = plan[0, INPUTS]
    T = tile.shape[0] // n_inputs
    X_tile = view(tile, 0, n_inputs, T)
    S = last_outputs(plan, T, units)
    for first in range(0, X.shape[0], T):
        n = min(X.shape[0] - first, T)
        take_tile(X, first, n, X_tile)
        scores(activations, plan, parameters, X_tile, units, None)
        call(transform, (S, S))
        for t in range(n):
            for k in range(S.shape[0]):
                P[first + t, k] = S[k, t]


@kernel
def predict(activations, plan, parameters, X, tile, units, classes):
    """The classes (N,) of X (N, I); the other arguments are those of `outputs`."""
    n_inputs = plan[0, INPUTS]
    T = tile.shape[0] // n_inputs
    X_tile = view(tile, 0, n_inputs, T)
    S = last_outputs(plan, T, units)
    row = view(classes, 0, 1, classes.shape[0])
    for first in range(0, X.shape[0], T):
        n = min(X.shape[0] - first, T)
        take_tile(X, first, n, X_tile)
        scores(activations, plan, parameters, X_tile, units, None)
        argmax(S, 0, first, n, row)


@kernel
def loss(activations, value, plan, parameters, X, y, weights, parameter, tile, targets, row, units):
    """The weighted loss of the samples X (N, I).

    activations, value: `layer.forward_table` and `loss.value_pointer`; y (N, Y): their targets, labels in the
    parameters' dtype where the loss is of labels; weights (N,); parameter: the loss's. `tile`, flat of I * T,
    `targets`, flat of Y * T, `row`, flat of T, and `units` are workspaces.
    """
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
        scores(activations, plan, parameters, X_tile, units, None)
        total += call(value, (last_outputs(plan, T, units), y_tile, weights_tile, parameter))
    return total
