"""The gradient of one tile: forward pass, derivative of the loss, backward pass.

The training loops call the kernel of the gradient through a pointer, and the kernel calls activations and
the loss through pointers: each is compiled once, separately, for all networks that use it.

Shape letters: L layers, I inputs, Y targets of a sample, T samples of a tile (a whole number of vectors), P
parameters (a whole number of vectors).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import typeof, types

from .compiler.jit import kernel
from .compiler.pointer import FunctionPointer, PointerTable, array_types, call
from .layer import backward_table, forward_table
from .loss import backward_pointer
from .network import DUNITS, OUTPUTS, Batch, backward_pass, forward_pass, last_outputs
from .small_batch import small_batch_gradient
from .vectors.vector import view

__all__ = ["GradientPointers", "compile_gradient", "gradient_pointers", "tile_gradient"]


@functools.cache
def tile_gradient(batch_norm: bool, dropped: bool, sparse: bool) -> Any:
    """Return the kernel that computes the gradient of a tile.

    batch_norm, dropped, sparse: True for batch normalisation, for dropout, and for sparse samples.

    The kernel's arguments are ``(activate, differentiate, loss_backward, plan, parameters, X, y, weights,
    batch, parameter, wanted, units, dunits, scratch, gradient, adds)``. The first three are described by
    `GradientPointers`. The tile is X (I, T), or the sums of a `sparse.SparseTile`, with y (Y, T) and weights
    (1, T). `parameter` is the parameter of the loss. The others are arguments of `network.backward_pass`. The
    kernel overwrites gradient (P,), or adds to it if `adds`, and returns the loss if `wanted`, else 0.
    """
    forward = forward_pass(batch_norm, dropped, sparse)
    backward = backward_pass(batch_norm, dropped, sparse)

    @kernel
    def tile_gradient(
        activate, differentiate, loss_backward, plan, parameters, X, y, weights, batch, parameter, wanted,
        units, dunits, scratch, gradient, adds,
    ):  # fmt: skip
        T = weights.shape[1]
        forward(activate, plan, parameters, parameters, X, units, batch)
        last = plan.shape[0] - 1
        dS = view(dunits, plan[last, DUNITS] * T, plan[last, OUTPUTS], T)
        loss = call(loss_backward, (last_outputs(plan, T, units), y, weights, parameter, wanted, dS))
        backward(differentiate, plan, parameters, X, units, dunits, scratch, gradient, adds, batch)
        return loss

    return tile_gradient


class GradientPointers(NamedTuple):
    """Pointers to the kernels that compute a gradient."""

    # `tile_gradient` or `small_batch.small_batch_gradient`; None if threads share units.
    gradient_of: FunctionPointer | None
    activate: PointerTable  # `layer.forward_table`
    differentiate: PointerTable  # `layer.backward_table`
    loss_backward: FunctionPointer  # `loss.backward_pointer`


@functools.cache
def gradient_pointers(
    activations: tuple[str, ...], loss: str, batch_norm: bool, dropped: bool, sparse: bool, team: bool,
    dtype: np.dtype, by_rows: bool = False,
) -> GradientPointers:  # fmt: skip
    """Return the pointers for a network with these activations and this loss.

    batch_norm, dropped, sparse: arguments of `tile_gradient`. team: True if threads share units
    (`team.team_gradient`), which excludes sparse samples; then `gradient_of` is None. by_rows:
    True for `small_batch.small_batch_gradient`, which excludes the other four.
    """
    activate, differentiate = forward_table(activations, dtype), backward_table(activations, dtype)
    loss_backward = backward_pointer(loss, dtype)
    if team:
        return GradientPointers(None, activate, differentiate, loss_backward)
    of, plan = array_types(dtype), types.Array(types.int64, 2, "C")
    rates = types.Array(types.float64, 1, "C")
    batch = types.NamedTuple((of.matrix, of.flat, rates, types.uint64, types.intp), Batch)
    arguments = (
        typeof(activate), typeof(differentiate), typeof(loss_backward), plan, of.flat,
        of.matrix, of.inputs, of.inputs, batch, types.float64, types.boolean,
        of.flat, of.flat, of.flat, of.flat, types.boolean,
    )  # fmt: skip
    function = small_batch_gradient if by_rows else tile_gradient(batch_norm, dropped, sparse)
    gradient_of = FunctionPointer(function, arguments, types.float64)
    return GradientPointers(gradient_of, activate, differentiate, loss_backward)


def compile_gradient(
    activations: Sequence[str], loss: str, batch_norm: bool, dropped: bool, sparse: bool, dtype: str,
    by_rows: bool = False,
) -> None:  # fmt: skip
    """Compile, or load, the kernels of `gradient_pointers` for threads that do not share units.

    The companion process calls this function: all arguments are names and booleans.
    """
    pointers = gradient_pointers(
        tuple(activations), loss, batch_norm, dropped, sparse, False, np.dtype(dtype), by_rows
    )
    for pointer in pointers:
        if pointer is not None:
            pointer.compile()
