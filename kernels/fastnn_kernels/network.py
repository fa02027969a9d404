"""One tile of samples through all layers, forward and back.

A network reaches the kernels as its *plan*, an integer table with a row a layer, and two flat
vectors, parameters and workspace, into which the plan points. So one compiled kernel serves every
depth and width.

Shape letters: L layers, I inputs and J outputs of a layer, T samples of a tile (a whole number of
vectors), P parameters.
"""

from __future__ import annotations

import functools
from typing import Any

from .gate import affine_backward, affine_forward
from .jit import kernel
from .layer import activation_backward, activation_forward, by_code
from .simd import view

__all__ = ["backward_pass", "forward_pass", "last_outputs"]

# Columns of the plan. Offsets into the parameters are in elements, into the workspaces in rows of
# T. UNITS is where a layer's outputs lie, DUNITS where their derivatives do.
INPUTS, OUTPUTS, WEIGHTS, BIASES, UNITS, DUNITS, ACTIVATION = range(7)


@kernel
def layer_inputs(plan, layer, X, units):
    """What a layer reads: the tile itself, or the outputs of the layer below."""
    if layer == 0:
        return X
    T = X.shape[1]
    return view(units, plan[layer - 1, UNITS] * T, plan[layer, INPUTS], T)


@kernel
def last_outputs(plan, T, units):
    """The last layer's outputs (K, T)."""
    last = plan.shape[0] - 1
    return view(units, plan[last, UNITS] * T, plan[last, OUTPUTS], T)


@functools.cache
def forward_pass(activations: tuple[str, ...]) -> Any:
    """The kernel ``(plan, parameters, X, units)`` of networks with these activations.

    plan (L, 7); parameters (P,); X (I, T), a tile; units, flat: overwritten by every layer's
    outputs.
    """
    activate = by_code(activation_forward, activations)

    @kernel
    def forward_pass(plan, parameters, X, units):
        T = X.shape[1]
        for layer in range(plan.shape[0]):
            n_inputs, n_outputs = plan[layer, INPUTS], plan[layer, OUTPUTS]
            W = view(parameters, plan[layer, WEIGHTS], n_inputs, n_outputs)
            b = view(parameters, plan[layer, BIASES], 1, n_outputs)
            A = view(units, plan[layer, UNITS] * T, n_outputs, T)
            affine_forward(W, b, layer_inputs(plan, layer, X, units), A)
            activate(plan[layer, ACTIVATION], A, A)

    return forward_pass


@functools.cache
def backward_pass(activations: tuple[str, ...]) -> Any:
    """The kernel ``(plan, parameters, X, units, dunits, gradient)``, after a forward pass.

    `dunits`, flat, holds the derivatives by the last layer's outputs and is overwritten by those
    of the layers below; gradient (P,) is added to.
    """
    activate = by_code(activation_backward, activations)

    @kernel
    def backward_pass(plan, parameters, X, units, dunits, gradient):
        T = X.shape[1]
        for layer in range(plan.shape[0] - 1, -1, -1):
            n_inputs, n_outputs = plan[layer, INPUTS], plan[layer, OUTPUTS]
            W = view(parameters, plan[layer, WEIGHTS], n_inputs, n_outputs)
            dW = view(gradient, plan[layer, WEIGHTS], n_inputs, n_outputs)
            db = view(gradient, plan[layer, BIASES], 1, n_outputs)
            A = view(units, plan[layer, UNITS] * T, n_outputs, T)
            dA = view(dunits, plan[layer, DUNITS] * T, n_outputs, T)
            activate(plan[layer, ACTIVATION], A, dA, dA)
            # Nobody asks for the derivative by the samples: no rows for it in the first layer.
            below = plan[max(layer - 1, 0), DUNITS]
            dX = view(dunits, below * T, n_inputs if layer else 0, T)
            affine_backward(W, layer_inputs(plan, layer, X, units), dA, dW, db, dX)

    return backward_pass
