"""One tile of samples through all layers, forward and back.

A network reaches the kernels as a *plan*, an integer table with a row for each layer; as flat vectors,
parameters and workspaces, into which the plan points; and as a table of pointers to its activations. So one
compiled kernel serves every network.

Shape letters: L layers, I inputs and J outputs of a layer, T samples of a tile (a whole number of
vectors), P parameters.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from .compiler.jit import kernel
from .compiler.pointer import call
from .gate import affine_backward, affine_forward
from .norm import batch_norm_backward, batch_norm_forward
from .random import draw, dropout, dropout_backward
from .sparse import sparse_affine_backward, sparse_affine_forward
from .vectors.processor import LINE_BYTES
from .vectors.vector import view

__all__ = ["Batch", "backward_pass", "forward_pass", "last_outputs", "turned_width"]

# Columns of the plan. Offsets into the parameters and the statistics count elements, those into the
# workspaces rows of T. SOURCE points to a layer's inputs, -1 for the tile itself; SUMS to the activation's
# inputs, UNITS to its outputs, DUNITS to the derivatives by them, NORMALISED to the normalised sums.
(
    INPUTS, OUTPUTS, WEIGHTS, BIASES, SCALES, SHIFTS, STATISTICS,
    SOURCE, SUMS, NORMALISED, UNITS, DUNITS, ACTIVATION,
) = range(13)  # fmt: skip
N_COLUMNS = 13


class Batch(NamedTuple):
    """The arguments of a training pass besides the samples.

    weights (1, T) of the samples; statistics, flat: running means, running variances and the last inverse
    deviations of every normalised layer; dropout (L,): rates for the inputs of every layer; key of this
    step's random numbers; first: position of the tile in the batch.
    """

    weights: Any
    statistics: Any
    dropout: Any
    key: Any
    first: Any


@kernel
def layer_inputs(plan, layer, X, units):
    """Return a layer's inputs: the tile itself, or rows of the workspace."""
    if plan[layer, SOURCE] < 0:
        return X
    T = X.shape[1]
    return view(units, plan[layer, SOURCE] * T, plan[layer, INPUTS], T)


@kernel
def turned_width(plan, parameters):
    """Return the columns of a `sparse.SparseTile.turned`: first layer's outputs, up to whole cache lines."""
    line = LINE_BYTES // parameters.itemsize
    return -(-plan[0, OUTPUTS] // line) * line


@kernel
def last_outputs(plan, T, units):
    """Return the last layer's outputs (K, T)."""
    last = plan.shape[0] - 1
    return view(units, plan[last, UNITS] * T, plan[last, OUTPUTS], T)


@kernel
def drops_inputs(batch):
    """Return the dropout arguments of the samples: stream, position and rate."""
    return draw(batch.key, 0), batch.first, batch.dropout[0]


@kernel
def keeps_inputs(batch):
    """Return the dropout arguments that keep every input: rate 0."""
    return np.uint64(0), 0, 0.0


@kernel
def is_dropped(plan, layer):
    """Return whether dropout lies below a layer: its inputs have rows of their own then.

    The plan alone decides, not the rate: a rate below the normal range is 0 for a thread that flushes
    subnormal numbers, and rows that nobody has filled would be read.
    """
    source = plan[layer, SOURCE]
    return source >= 0 if layer == 0 else source != plan[layer - 1, UNITS]


@functools.cache
def forward_pass(batch_norm: bool, dropped: bool, sparse: bool) -> Any:
    """Return the kernel ``(activations, plan, parameters, X, units, batch)`` of the forward pass.

    activations: a `layer.forward_table`; plan (L, `N_COLUMNS`); parameters (P,); X (I, T), a tile, or a
    `sparse.SparseTile`; units, flat: overwritten by every layer's outputs; batch: a `Batch`, or None where
    nothing is normalised or dropped.
    """
    input_dropout = drops_inputs if dropped else keeps_inputs

    @kernel
    def forward_pass(activations, plan, parameters, X, units, batch):
        if sparse:
            T = X.turned.shape[0]
        else:
            T = X.shape[1]
            if dropped and is_dropped(plan, 0):
                inputs = layer_inputs(plan, 0, X, units)
                dropout(X, draw(batch.key, 0), batch.first, batch.dropout[0], inputs)
        for layer in range(plan.shape[0]):
            n_inputs, n_outputs = plan[layer, INPUTS], plan[layer, OUTPUTS]
            W = view(parameters, plan[layer, WEIGHTS], n_inputs, n_outputs)
            b = view(parameters, plan[layer, BIASES], 1, n_outputs)
            Z = view(units, plan[layer, SUMS] * T, n_outputs, T)
            A = view(units, plan[layer, UNITS] * T, n_outputs, T)
            if sparse:
                if layer == 0:
                    key, position, rate = input_dropout(batch)
                    sparse_affine_forward(parameters, plan[0, WEIGHTS], b, X, key, position, rate, Z)
                else:
                    affine_forward(W, b, view(units, plan[layer, SOURCE] * T, n_inputs, T), Z)
            else:
                affine_forward(W, b, layer_inputs(plan, layer, X, units), Z)
            if batch_norm and plan[layer, STATISTICS] >= 0:
                scale = view(parameters, plan[layer, SCALES], 1, n_outputs)
                shift = view(parameters, plan[layer, SHIFTS], 1, n_outputs)
                running = view(batch.statistics, plan[layer, STATISTICS], 2, n_outputs)
                inverse = view(batch.statistics, plan[layer, STATISTICS] + 2 * n_outputs, 1, n_outputs)
                N = view(units, plan[layer, NORMALISED] * T, n_outputs, T)
                batch_norm_forward(Z, batch.weights, scale, shift, running, N, inverse)
            call(activations[plan[layer, ACTIVATION]], (Z, A))
            above = layer + 1
            if dropped and above < plan.shape[0] and is_dropped(plan, above):
                D = view(units, plan[above, SOURCE] * T, n_outputs, T)
                dropout(A, draw(batch.key, above), batch.first, batch.dropout[above], D)

    return forward_pass


@functools.cache
def backward_pass(batch_norm: bool, dropped: bool, sparse: bool) -> Any:
    """Return the kernel of the backward pass, which follows a forward pass.

    Its arguments are ``(activations, plan, parameters, X, units, dunits, scratch, gradient, adds, batch)``.
    activations: a `layer.backward_table`; `dunits`, flat, holds the derivatives by
    the last layer's outputs and is overwritten by those of the layers below; `scratch` is for
    `affine_backward`; gradient (P,) is overwritten, except for the padding, or added to if `adds`.
    """
    input_dropout = drops_inputs if dropped else keeps_inputs

    @kernel
    def backward_pass(activations, plan, parameters, X, units, dunits, scratch, gradient, adds, batch):
        if sparse:
            T = X.turned.shape[0]
        else:
            T = X.shape[1]
        for layer in range(plan.shape[0] - 1, -1, -1):
            n_inputs, n_outputs = plan[layer, INPUTS], plan[layer, OUTPUTS]
            W = view(parameters, plan[layer, WEIGHTS], n_inputs, n_outputs)
            dW = view(gradient, plan[layer, WEIGHTS], n_inputs, n_outputs)
            db = view(gradient, plan[layer, BIASES], 1, n_outputs)
            Z = view(units, plan[layer, SUMS] * T, n_outputs, T)
            A = view(units, plan[layer, UNITS] * T, n_outputs, T)
            dA = view(dunits, plan[layer, DUNITS] * T, n_outputs, T)
            above = layer + 1
            if dropped and above < plan.shape[0] and is_dropped(plan, above):
                D = view(units, plan[above, SOURCE] * T, n_outputs, T)
                dropout_backward(D, dA, batch.dropout[above], dA)
            call(activations[plan[layer, ACTIVATION]], (Z, A, dA, dA))
            if batch_norm and plan[layer, STATISTICS] >= 0:
                scale = view(parameters, plan[layer, SCALES], 1, n_outputs)
                dscale = view(gradient, plan[layer, SCALES], 1, n_outputs)
                dshift = view(gradient, plan[layer, SHIFTS], 1, n_outputs)
                inverse = view(batch.statistics, plan[layer, STATISTICS] + 2 * n_outputs, 1, n_outputs)
                N = view(units, plan[layer, NORMALISED] * T, n_outputs, T)
                batch_norm_backward(N, batch.weights, scale, inverse, dA, dscale, dshift)
            # The derivative by the samples is not needed: the first layer has no rows for it.
            below = plan[max(layer - 1, 0), DUNITS]
            dX = view(dunits, below * T, n_inputs if layer else 0, T)
            if sparse:
                if layer == 0:
                    key, position, rate = input_dropout(batch)
                    at = plan[0, WEIGHTS]
                    sparse_affine_backward(X, dA, gradient, at, dW, db, key, position, rate, adds)
                else:
                    inputs = view(units, plan[layer, SOURCE] * T, n_inputs, T)
                    affine_backward(W, inputs, dA, dW, db, dX, scratch, adds)
            else:
                affine_backward(W, layer_inputs(plan, layer, X, units), dA, dW, db, dX, scratch, adds)

    return backward_pass
