"""Outputs, classes and the loss of a table of samples, computed a tile at a time.

Shape letters: N samples, I inputs, K scores and Y targets of a sample, T samples of a tile (a whole number of
vectors). network is a `PackedNetwork`; X is an array (N, I), or a `prediction.SparseTable` if `sparse`. The
workspaces `units` and `tile` are flat; `tile` has I * T elements, or the size of `sparse.SparseTile.sums` if
`sparse`.
"""

from __future__ import annotations

import functools

import numpy as np

from .calls.prediction import INPUTS
from .compiler.jit import Kernel, kernel
from .compiler.pointer import call
from .network import forward_pass, last_outputs, sparse_forward, sparse_width
from .output import all_finite, argmax
from .sparse import SparseTile
from .vectors.tile import copy_tile
from .vectors.vector import view

# Key of the random numbers for dropout, which predictions do without.
NO_KEY = np.uint64(0)


@kernel
def input_width(plan, parameters):
    """Return the number of rows of a dense tile; the signature equals `sparse_width`'s."""
    return plan[0, INPUTS]


@functools.cache
def tile_scores(sparse: bool) -> Kernel:
    """Return the kernel that returns the scores (K, T) of the samples ``first : first + n``.

    The scores are a window of `units`.
    """
    forward = forward_pass(False, False, sparse)

    @kernel
    def tile_scores(network, X, first, n, tile, T, units):
        activations, plan, parameters, packed = network
        if sparse:
            inputs = view(tile, 0, T, sparse_width(plan, parameters))
            samples = SparseTile(X, first, first + n - 1, inputs)
            sparse_forward(plan, parameters, samples, NO_KEY, 0, 0.0, 0, T)
        else:
            inputs = view(tile, 0, plan[0, INPUTS], T)
            copy_tile(X, first, n, inputs)
        forward(activations, plan, parameters, packed, inputs, units, None)
        return last_outputs(plan, T, units)

    return tile_scores


@functools.cache
def outputs(sparse: bool) -> Kernel:
    """Return the kernel that fills P (N, K) with the outputs of X; True if they are all finite.

    transform is an `output.forward_pointer`.
    """
    scores, width = tile_scores(sparse), sparse_width if sparse else input_width

    @kernel
    def outputs(network, X, transform, tile, units, P):
        T = tile.shape[0] // width(network.plan, network.parameters)
        finite = True
        for first in range(0, P.shape[0], T):
            n = min(P.shape[0] - first, T)
            S = scores(network, X, first, n, tile, T, units)
            call(transform, (S, S))
            # The padding repeats the last sample: it is finite if the samples are.
            finite &= all_finite(S)
            for t in range(n):
                for k in range(S.shape[0]):
                    P[first + t, k] = S[k, t]
        return finite

    return outputs


@functools.cache
def predict(sparse: bool) -> Kernel:
    """Return the kernel of the classes.

    It fills classes (N,), of any integer dtype, with the class of the highest score of each sample.
    The result is True if all scores are finite.
    """
    scores, width = tile_scores(sparse), sparse_width if sparse else input_width

    @kernel
    def predict(network, X, tile, units, classes):
        T = tile.shape[0] // width(network.plan, network.parameters)
        row = view(classes, 0, 1, classes.shape[0])
        finite = True
        for first in range(0, classes.shape[0], T):
            n = min(classes.shape[0] - first, T)
            S = scores(network, X, first, n, tile, T, units)
            finite &= all_finite(S)
            argmax(S, 0, first, n, row)
        return finite

    return predict


@functools.cache
def loss(sparse: bool) -> Kernel:
    """Return the kernel that returns the weighted loss of X.

    value: a `loss.value_pointer`; y (N, Y): targets, or labels in the parameters' dtype; weights (N,);
    parameter: the parameter of the loss; targets, flat: a workspace of (Y + 1) * T elements.
    """
    scores = tile_scores(sparse)

    @kernel
    def loss(network, X, value, y, weights, parameter, tile, targets, units):
        n_targets = y.shape[1]
        T = targets.shape[0] // (n_targets + 1)
        y_tile, weights_tile = view(targets, 0, n_targets, T), view(targets, n_targets * T, 1, T)
        total = 0.0
        for first in range(0, y.shape[0], T):
            n = min(y.shape[0] - first, T)
            copy_tile(y, first, n, y_tile)
            for t in range(n):
                weights_tile[0, t] = weights[first + t]
            for t in range(n, T):
                weights_tile[0, t] = 0
            S = scores(network, X, first, n, tile, T, units)
            total += call(value, (S, y_tile, weights_tile, parameter))
        return total

    return loss
