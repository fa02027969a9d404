"""A tile through all layers, forward and back, in parts that two threads may share.

Threads that share the samples each compute a gradient of all weights, which have to be added, and in
every step fetch the half of the weights that the other has changed. Here a part has some of the units of
every layer, and the weights that lead on from them: a thread reads and updates the weights of its part
alone, which stay in its cache, and what goes from one to the other are sums and derivatives of a layer's
units, a tenth of that. A layer's sum is one of its parts' sums, whoever computes them: the result has the
same bits for one thread and for two.

Shape letters: L layers, I inputs and J outputs of a layer, T samples of a tile (a whole number of
vectors), P parameters.
"""

from __future__ import annotations

import functools
from typing import Any

from .barrier import wait
from .gate import affine_backward, affine_forward
from .jit import kernel
from .layer import activation_backward, activation_forward, by_code
from .loss import loss_backward, loss_value
from .network import (
    ACTIVATION,
    BIASES,
    DUNITS,
    INPUTS,
    OUTPUTS,
    SUMS,
    UNITS,
    WEIGHTS,
    last_outputs,
    layer_inputs,
)
from .simd import lanes, load, rows, store, view
from .tile import gather_block

__all__ = ["N_PARTS", "gather_part", "team_gradient", "team_update"]

N_PARTS = 2


@kernel
def bounds(n_units, part, n_lanes):
    """The first unit of a part, and the one behind its last; parts end with whole vectors of units."""
    half = (-(-n_units // n_lanes) + 1) // 2 * n_lanes
    return (0, min(half, n_units)) if part == 0 else (min(half, n_units), n_units)


@kernel
def gather_part(X, indices, first, n, part, tile):
    """The features that are a part's of what `tile.gather_tile` gathers."""
    begin, end = bounds(X.shape[1], part, lanes(X))
    for t in range(0, tile.shape[1], lanes(X)):
        for i in range(begin, end, lanes(X)):
            gather_block(X, indices, first + t, first + n - 1, i, tile, i, t)


@functools.cache
def team_gradient(activations: tuple[str, ...], loss: str) -> Any:
    """The kernel that computes a tile's gradient, called by all `n_threads` at once.

    Its arguments are plan, parameters, X, y, weights, parameter, wanted, units, dunits, sums, zeros,
    scratch, gradient, adds, thread, n_threads, barrier: most as of `train.tile_gradient`. sums, flat: room
    for the outputs of the widest layer, twice, T samples of them; zeros, as many as it has outputs: the
    biases of the second part. All but `scratch` and `thread` are the same for all threads. The first
    returns the loss if it is `wanted`, the other 0.
    """
    activate = by_code(activation_forward, activations)
    differentiate = by_code(activation_backward, activations)
    value = loss_value(loss)
    slope = loss_backward(loss)

    @kernel
    def team_gradient(
        plan, parameters, X, y, weights, parameter, wanted, units, dunits, sums, zeros, scratch, gradient,
        adds, thread, n_threads, barrier,
    ):  # fmt: skip
        T = X.shape[1]
        n_lanes = lanes(X)
        last = plan.shape[0] - 1
        half = sums.shape[0] // 2
        for layer in range(plan.shape[0]):
            n_inputs, n_outputs = plan[layer, INPUTS], plan[layer, OUTPUTS]
            inputs = layer_inputs(plan, layer, X, units)
            Z = view(units, plan[layer, SUMS] * T, n_outputs, T)
            A = view(units, plan[layer, UNITS] * T, n_outputs, T)
            # The second part's; another for the next layer, where the other thread may still read this.
            other = view(sums, layer % 2 * half, n_outputs, T)
            for part in range(thread, N_PARTS, n_threads):
                begin, end = bounds(n_inputs, part, n_lanes)
                W = view(parameters, plan[layer, WEIGHTS] + begin * n_outputs, end - begin, n_outputs)
                if part == 0:
                    b = view(parameters, plan[layer, BIASES], 1, n_outputs)
                    affine_forward(W, b, rows(inputs, begin, end), Z)
                else:
                    affine_forward(W, view(zeros, 0, 1, n_outputs), rows(inputs, begin, end), other)
            if n_threads > 1:
                wait(barrier, n_threads)
            for part in range(thread, N_PARTS, n_threads):
                begin, end = own(plan, layer, part, n_lanes)
                for j in range(begin, end):
                    for t in range(0, T, n_lanes):
                        store(Z, j, t, load(Z, j, t) + load(other, j, t))
                if end > begin:
                    activate(plan[layer, ACTIVATION], rows(Z, begin, end), rows(A, begin, end))
        total = 0.0
        if thread == 0:
            S = last_outputs(plan, T, units)
            total = value(S, y, weights, parameter) if wanted else 0.0
            slope(S, y, weights, parameter, view(dunits, plan[last, DUNITS] * T, plan[last, OUTPUTS], T))

        for layer in range(last, -1, -1):
            n_inputs, n_outputs = plan[layer, INPUTS], plan[layer, OUTPUTS]
            inputs = layer_inputs(plan, layer, X, units)
            Z = view(units, plan[layer, SUMS] * T, n_outputs, T)
            A = view(units, plan[layer, UNITS] * T, n_outputs, T)
            dA = view(dunits, plan[layer, DUNITS] * T, n_outputs, T)
            for part in range(thread, N_PARTS, n_threads):
                begin, end = own(plan, layer, part, n_lanes)
                if end > begin:
                    dA_own = rows(dA, begin, end)
                    differentiate(
                        plan[layer, ACTIVATION], rows(Z, begin, end), rows(A, begin, end), dA_own, dA_own
                    )
            if n_threads > 1:
                wait(barrier, n_threads)
            for part in range(thread, N_PARTS, n_threads):
                begin, end = bounds(n_inputs, part, n_lanes)
                at = plan[layer, WEIGHTS] + begin * n_outputs
                W = view(parameters, at, end - begin, n_outputs)
                dW = view(gradient, at, end - begin, n_outputs)
                db = view(gradient, plan[layer, BIASES], 1, n_outputs)
                if part > 0:  # which the first computes
                    db = view(sums, 0, 1, n_outputs)
                below = plan[max(layer - 1, 0), DUNITS] + begin
                dX = view(dunits, below * T, end - begin if layer else 0, T)
                if end > begin or part == 0:
                    affine_backward(W, rows(inputs, begin, end), dA, dW, db, dX, scratch, adds)
        return total

    return team_gradient


@kernel
def own(plan, layer, part, n_lanes):
    """The units of a layer that a part has; the last layer's, which the loss takes, are all the first's."""
    n_units = plan[layer, OUTPUTS]
    if layer < plan.shape[0] - 1:
        return bounds(n_units, part, n_lanes)
    return (0, n_units) if part == 0 else (n_units, n_units)


@functools.cache
def team_update(change: Any) -> Any:
    """The kernel ``(plan, gradients, parameters, state, coefficients, l2, l2_others, l1, shrink, n_weights,
    part)``: what `change`, an `update` kernel, does to the parameters of a part.

    l2 and l1 concern the weights, l2_others all behind `n_weights`, which are the first part's. Returns
    whether all are finite still.
    """

    @kernel
    def team_update(
        plan, gradients, parameters, state, coefficients, l2, l2_others, l1, shrink, n_weights, part
    ):
        n_lanes = lanes(gradients)
        finite = True
        for layer in range(plan.shape[0]):
            begin, end = bounds(plan[layer, INPUTS], part, n_lanes)
            # A vector that has values of two parts, or layers, is the former's.
            begin = plan[layer, WEIGHTS] + begin * plan[layer, OUTPUTS]
            end = plan[layer, WEIGHTS] + end * plan[layer, OUTPUTS]
            begin, end = (begin + n_lanes - 1) // n_lanes * n_lanes, (end + n_lanes - 1) // n_lanes * n_lanes
            finite &= change(gradients, parameters, state, coefficients, l2, l1, shrink, begin, end)
        if part == 0:
            none = parameters.dtype.type(0)
            finite &= change(
                gradients, parameters, state, coefficients, l2_others, none, shrink, n_weights,
                parameters.shape[0],
            )  # fmt: skip
        return finite

    return team_update
