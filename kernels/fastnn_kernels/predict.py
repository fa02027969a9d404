"""Outputs, classes and the loss of a table of samples, a tile at a time.

Shape letters: N samples, I inputs, K scores and Y targets of a sample, T samples of a tile (a whole
number of vectors). X is an array (N, I), or a `sparse.Table`; `tile`, flat of I * T, or of a
`SparseTile.turned`, and `units` are workspaces.
"""

from __future__ import annotations

import functools
from typing import Any

from .compiler.jit import kernel
from .compiler.pointer import call
from .network import INPUTS, forward_pass, last_outputs, turned_width
from .output import all_finite, argmax
from .sparse import SparseTile
from .vectors.tile import take_tile
from .vectors.vector import view

__all__ = ["loss", "outputs", "predict"]


@kernel
def input_width(plan, parameters):
    """Return the number of rows of a tile."""
    return plan[0, INPUTS]


@functools.cache
def tile_scores(sparse: bool) -> Any:
    """Return the kernel ``(activations, plan, parameters, X, first, n, tile, T, units)`` of the scores."""
    forward = forward_pass(False, False, sparse)

    @kernel
    def tile_scores(activations, plan, parameters, X, first, n, tile, T, units):
        if sparse:
            turned = view(tile, 0, T, turned_width(plan, parameters))
            samples = SparseTile(X, first, first + n - 1, turned)
        else:
            samples = view(tile, 0, plan[0, INPUTS], T)
            take_tile(X, first, n, samples)
        forward(activations, plan, parameters, samples, units, None)
        return last_outputs(plan, T, units)

    return tile_scores


@functools.cache
def outputs(sparse: bool) -> Any:
    """Return the kernel ``(activations, transform, plan, parameters, X, tile, units, P)``: outputs P (N, K).

    activations, transform: `layer.forward_table` and `output.forward_pointer`. The kernel returns True if all
    of P is finite.
    """
    scores, width = tile_scores(sparse), turned_width if sparse else input_width

    @kernel
    def outputs(activations, transform, plan, parameters, X, tile, units, P):
        T = tile.shape[0] // width(plan, parameters)
        finite = True
        for first in range(0, P.shape[0], T):
            n = min(P.shape[0] - first, T)
            S = scores(activations, plan, parameters, X, first, n, tile, T, units)
            call(transform, (S, S))
            # The padding repeats the last sample: it is finite where the samples are.
            finite &= all_finite(S)
            for t in range(n):
                for k in range(S.shape[0]):
                    P[first + t, k] = S[k, t]
        return finite

    return outputs


@functools.cache
def predict(sparse: bool) -> Any:
    """Return the kernel ``(activations, plan, parameters, X, tile, units, classes)``: classes (N,) of X.

    The kernel returns True if all scores are finite; where they are not, a class means nothing.
    """
    scores, width = tile_scores(sparse), turned_width if sparse else input_width

    @kernel
    def predict(activations, plan, parameters, X, tile, units, classes):
        T = tile.shape[0] // width(plan, parameters)
        row = view(classes, 0, 1, classes.shape[0])
        finite = True
        for first in range(0, classes.shape[0], T):
            n = min(classes.shape[0] - first, T)
            S = scores(activations, plan, parameters, X, first, n, tile, T, units)
            finite &= all_finite(S)
            argmax(S, 0, first, n, row)
        return finite

    return predict


@functools.cache
def loss(sparse: bool) -> Any:
    """Return the kernel that computes the weighted loss of X.

    Its arguments are activations, value, plan, parameters, X, y, weights, parameter, tile, targets, row,
    units. activations, value: `layer.forward_table` and `loss.value_pointer`; y (N, Y): targets, labels in
    the parameters' dtype where the loss is of labels; weights (N,); parameter: the loss's. `targets`, flat of
    Y * T, and `row`, flat of T, are workspaces, too.
    """
    scores = tile_scores(sparse)

    @kernel
    def loss(activations, value, plan, parameters, X, y, weights, parameter, tile, targets, row, units):
        T = row.shape[0]
        y_tile = view(targets, 0, y.shape[1], T)
        weights_tile = view(row, 0, 1, T)
        total = 0.0
        for first in range(0, y.shape[0], T):
            n = min(y.shape[0] - first, T)
            take_tile(y, first, n, y_tile)
            for t in range(n):
                weights_tile[0, t] = weights[first + t]
            for t in range(n, T):
                weights_tile[0, t] = 0
            S = scores(activations, plan, parameters, X, first, n, tile, T, units)
            total += call(value, (S, y_tile, weights_tile, parameter))
        return total

    return loss
