"""Forward pass, backward pass and step as separate calls; the caller computes the derivative of the loss.

The samples of a call are divided into tiles, whose units are all kept until the backward pass. Few samples
are computed by rows (`small_batch`).

Shape letters: N samples, I inputs, K scores, T samples of a tile (a whole number of vectors), P parameters,
R rows of the optimizer's state, C coefficients.
"""

from __future__ import annotations

import functools

import numpy as np

from .calls.formulas import Change
from .calls.prediction import DUNITS, INPUTS, OUTPUTS, UNITS, WEIGHTS
from .calls.training import BLOCK, PassContext
from .compiler.jit import Kernel, kernel
from .network import backward_pass, forward_pass, has_dropout, last_outputs, layer_inputs
from .random import STEPS, draw, dropout_backward
from .small_batch import round_up, rows_backward_pass, rows_forward_pass, view_derivatives, view_units
from .step import update_block
from .update import are_finite
from .vectors.processor import flush_subnormals, restore_mode
from .vectors.product import product_backward
from .vectors.tile import copy_tile, transpose_rows
from .vectors.vector import lanes, load, row, rows, store, view

pass_forward = forward_pass(True, True, False)


@kernel
def copy_columns(tile, first, n, table):
    """Copy the first n columns of a tile (K, T) to the rows from `first` on of a table (N, K)."""
    n_rows, target = tile.shape[0], rows(table, first, first + n)
    whole = n_rows // lanes(tile) * lanes(tile)
    for k in range(0, whole, lanes(tile)):
        transpose_rows(tile, k, n_rows - 1, 0, target, k)
    for t in range(n):
        for k in range(whole, n_rows):
            target[t, k] = tile[k, t]


@kernel
def copy_padded(matrix, result):
    """Copy a matrix to a result with as many rows, or more, and columns; fill the other elements with 0."""
    for t in range(result.shape[0]):
        for k in range(result.shape[1]):
            result[t, k] = matrix[t, k] if t < matrix.shape[0] and k < matrix.shape[1] else 0


@kernel
def copy_to_columns(table, first, n, tile):
    """Copy n rows of a table (N, K), from `first` on, to columns of a tile (K, T); fill the rest with 0."""
    copy_tile(table, first, n, tile)
    for k in range(tile.shape[0]):
        for t in range(n, tile.shape[1]):
            tile[k, t] = 0


@kernel
def is_finite(table):
    """Return True if no value of a table (N, K) is NaN or infinite."""
    finite = True
    for t in range(table.shape[0]):
        for k in range(table.shape[1]):
            finite &= np.isfinite(table[t, k])
    return finite


@kernel
def view_tile(plan, passes, tile):
    """Return the samples (I, T) of a tile, and its units, flat."""
    T, size = passes.width, passes.n_units * passes.width
    X = view(passes.samples, tile * plan[0, INPUTS] * T, plan[0, INPUTS], T)
    return X, row(view(passes.units, tile * size, 1, size), 0)


@kernel
def make_context(passes, first):
    """Return the `PassContext` of the tile whose first sample has the number `first`."""
    key = draw(draw(passes.seed, STEPS), passes.step[0])
    weights = view(passes.weights, first, 1, passes.width)
    return PassContext(weights, passes.statistics, passes.dropout, key, first, 0.0)


@functools.cache
def forward(by_rows: bool) -> Kernel:
    """Return the kernel of the forward pass.

    It fills S (N, K) with the scores of X (N, I), keeps what `backward` needs in the `Passes`, and returns
    True. It returns False and does nothing if `passes.checks`, and X holds NaN or infinity. by_rows: True for
    few samples and a network without dropout and batch normalisation.
    """

    @kernel
    def forward(activations, plan, parameters, X, passes, S):
        if passes.checks and not is_finite(X):
            return False
        passes.step[0] += 1
        mode = flush_subnormals()
        n_samples, T, last = X.shape[0], passes.width, plan.shape[0] - 1
        if by_rows:
            samples = view(passes.samples, 0, n_samples, X.shape[1])
            copy_padded(X, samples)
            rows_forward_pass(activations, plan, parameters, samples, passes.units)
            A = view_units(plan, last, UNITS, n_samples, passes.units)
            for t in range(n_samples):
                for k in range(S.shape[1]):
                    S[t, k] = A[t, k]
        else:
            for tile in range(-(-n_samples // T)):
                first = tile * T
                n = min(n_samples - first, T)
                inputs, units = view_tile(plan, passes, tile)
                copy_tile(X, first, n, inputs)
                context = make_context(passes, first)
                pass_forward(activations, plan, parameters, parameters, inputs, units, context)
                copy_columns(last_outputs(plan, T, units), first, n, S)
        restore_mode(mode)
        return True

    return forward


@functools.cache
def backward(by_rows: bool, wanted: int) -> Kernel:
    """Return the kernel of the backward pass.

    See `forward` for by_rows and `network.backward_pass` for wanted. dS (N, K) are the derivatives by the
    scores. The kernel works on the tiles from ``tiles[0]`` to before ``tiles[1]``. It overwrites gradient
    (P,), or adds to it if `adds`; with `EACH` it fills gradient (P, T) of the only tile, or (N, P) by rows;
    with `NO_GRADIENT` only a normalised network overwrites it. dX (N, I) is overwritten with the derivatives
    by the samples, or has no rows. Like `forward`, the kernel returns False if `passes.checks`, and dS is not
    finite.
    """
    back, rows_back = backward_pass(True, True, False, wanted), rows_backward_pass(wanted)

    @kernel
    def backward(activations, plan, parameters, dS, passes, tiles, gradient, adds, dX):
        if passes.checks and tiles[0] == 0 and not is_finite(dS):
            return False
        mode = flush_subnormals()
        n_samples, T, last, n_inputs = dS.shape[0], passes.width, plan.shape[0] - 1, plan[0, INPUTS]
        if by_rows:
            X = view(passes.samples, 0, n_samples, n_inputs)
            copy_padded(dS, view_derivatives(plan, last, n_samples, passes.dunits))
            D = view(passes.dinputs, 0, dX.shape[0], round_up(n_inputs, lanes(dX)))
            rows_back(activations, plan, parameters, X, passes.units, passes.dunits, gradient, adds, D)
            for t in range(dX.shape[0]):
                for i in range(n_inputs):
                    dX[t, i] = D[t, i]
        else:
            for tile in range(tiles[0], tiles[1]):
                first = tile * T
                n = min(n_samples - first, T)
                X, units = view_tile(plan, passes, tile)
                context = make_context(passes, first)
                copy_to_columns(dS, first, n, view(passes.dunits, plan[last, DUNITS] * T, dS.shape[1], T))
                more = adds or tile > tiles[0]
                buffers = passes.dunits, passes.scratch, gradient
                back(activations, plan, parameters, X, units, *buffers, more, context)
                if dX.shape[0] > 0:
                    W = view(parameters, plan[0, WEIGHTS], n_inputs, plan[0, OUTPUTS])
                    dZ = view(passes.dunits, plan[0, DUNITS] * T, plan[0, OUTPUTS], T)
                    D = view(passes.dinputs, 0, n_inputs, T)
                    product_backward(W, dZ, D)
                    if has_dropout(plan, 0):
                        dropout_backward(layer_inputs(plan, 0, X, units), D, context.dropout[0], D)
                    copy_columns(D, first, n, dX)
        restore_mode(mode)
        return True

    return backward


@kernel
def copy_values(source, begin, end, target):
    """Copy the values from `begin` to `end`, whole vectors, of an array (P,) to another."""
    rows, result = view(source, 0, 1, source.shape[0]), view(target, 0, 1, target.shape[0])
    for k in range(begin, end, lanes(source)):
        store(result, 0, k, load(rows, 0, k))


@kernel
def step(update, gradient, parameters, n_weights, change, counts, saved):
    """Update parameters (P,) and the optimizer's state (R, P) if they stay finite; otherwise keep both.

    Return 0, or what would not be finite: 1 for a parameter, 2 for the state. For update and n_weights, see
    `step.update_block`; gradient is (1, P). The change has coefficients (N, C), a row for every step. counts
    (2,) are the number of steps done, to which this one is added, and the step of the first row of
    coefficients. saved (1 + R, P) is overwritten.
    """
    mode = flush_subnormals()
    state, coefficients, l2, l2_others, l1, shrink = change
    now = Change(state, row(coefficients, counts[0] - counts[1]), l2, l2_others, l1, shrink)
    P, R = parameters.shape[0], state.shape[0]
    parameters_finite, state_finite = True, True
    for begin in range(0, P, BLOCK):
        end = min(begin + BLOCK, P)
        copy_values(parameters, begin, end, row(saved, R))
        for k in range(R):
            copy_values(row(state, k), begin, end, row(saved, k))
        parameters_finite &= update_block(update, gradient, parameters, n_weights, now, begin, end)
        for k in range(R):
            state_finite &= are_finite(row(state, k), begin, end)
    if parameters_finite and state_finite:
        counts[0] += 1
    else:
        copy_values(row(saved, R), 0, P, parameters)
        for k in range(R):
            copy_values(row(saved, k), 0, P, row(state, k))
    restore_mode(mode)
    return (0 if state_finite else 2) if parameters_finite else 1
