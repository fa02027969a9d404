"""The gradient of one tile: forward pass, derivative of the loss, backward pass.

The training loops call the kernel of the gradient through a pointer, and the kernel calls activations and
the loss through pointers, so each is compiled once, separately, for all networks that use it.

Shape letters: L layers, I inputs, Y targets of a sample, T samples of a tile (a whole number of vectors), P
parameters (a whole number of vectors).
"""

from __future__ import annotations

import functools

from .calls.prediction import DUNITS, OUTPUTS
from .compiler.jit import Kernel, kernel
from .compiler.pointer import call
from .network import backward_pass, forward_pass, last_outputs
from .vectors.vector import view


@functools.cache
def tile_gradient(batch_norm: bool, dropped: bool, sparse: bool) -> Kernel:
    """Return the kernel that computes the gradient of a tile.

    batch_norm, dropped, sparse: True for batch normalisation, for dropout, and for sparse samples.

    The kernel overwrites the gradient (P,) of the `Buffers`, or adds to it if `adds`, and returns the loss if
    `wanted`, else 0. functions: `Functions`; tile: a `Tile`; context: a `PassContext`.
    """
    forward = forward_pass(batch_norm, dropped, sparse)
    backward = backward_pass(batch_norm, dropped, sparse)

    @kernel
    def tile_gradient(functions, plan, parameters, tile, context, wanted, buffers, adds):
        units, dunits, T = buffers.units, buffers.dunits, context.weights.shape[1]
        forward(functions.activate, plan, parameters, parameters, tile.X, units, context)
        last = plan.shape[0] - 1
        dS = view(dunits, plan[last, DUNITS] * T, plan[last, OUTPUTS], T)
        scores = last_outputs(plan, T, units)
        arguments = scores, tile.y, context.weights, context.loss_parameter, wanted, dS
        loss = call(functions.loss_backward, arguments)
        gradient, scratch = buffers.gradient, buffers.scratch
        backward(
            functions.differentiate, plan, parameters, tile.X, units, dunits, scratch, gradient, adds, context
        )
        return loss

    return tile_gradient
