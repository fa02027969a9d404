"""Forward and backward pass of one tile of samples through all layers of a network.

A network is described by data, so that one compiled kernel serves every network: a *plan*, an integer table
with a row for each layer; flat vectors of parameters and workspaces, into which the plan has offsets; and a
table of pointers to the activations.

Shape letters: L layers, I inputs and J outputs of a layer, T samples of a tile (a whole number of
vectors), P parameters.
"""

from __future__ import annotations

import functools

from .calls.passes import EACH, SUM
from .calls.prediction import (
    ACTIVATION,
    BIASES,
    DUNITS,
    INPUTS,
    NORMALISED,
    OUTPUTS,
    PACKED,
    SCALES,
    SHIFTS,
    SOURCE,
    STATISTICS,
    SUMS,
    UNITS,
    WEIGHTS,
)
from .compiler.jit import Kernel, kernel
from .compiler.pointer import call
from .gate import affine_backward, affine_forward, count_packed_weights, pack
from .norm import batch_norm_backward, batch_norm_forward
from .random import draw, dropout, dropout_backward
from .sparse import sparse_affine_backward, sparse_affine_forward
from .vectors.packing import PACKED_BYTES
from .vectors.processor import LINE_BYTES
from .vectors.product import product_backward
from .vectors.sample_sums import column_sums
from .vectors.tile import transpose
from .vectors.vector import lanes, load, store, view


@kernel
def layer_inputs(plan, layer, X, units):
    """Return the inputs (I, T) of a layer: the tile X itself, or a window of the workspace `units`."""
    if plan[layer, SOURCE] < 0:
        return X
    T = X.shape[1]
    return view(units, plan[layer, SOURCE] * T, plan[layer, INPUTS], T)


@kernel
def sparse_width(plan, parameters):
    """Return the number of columns of `sparse.SparseTile.sums`.

    This number is the outputs of the first layer, rounded up to whole cache lines.
    """
    line = LINE_BYTES // parameters.itemsize
    return -(-plan[0, OUTPUTS] // line) * line


@kernel
def sparse_forward(plan, parameters, X, key, first, rate, begin, end):
    """Fill the sums of the samples from `begin` to `end` of a `sparse.SparseTile`, before the forward pass.

    key, first: fields of the `PassContext`; rate: dropout rate of the samples.
    """
    b = view(parameters, plan[0, BIASES], 1, plan[0, OUTPUTS])
    sparse_affine_forward(X, parameters, plan[0, WEIGHTS], b, draw(key, 0), first, rate, begin, end)


@kernel
def sparse_backward(plan, X, key, first, rate, begin, end, gradient):
    """Add the derivatives by the weights of the features from `begin` to `end`, after the backward pass.

    gradient (P,). X has the derivatives that the backward pass left in its sums. See `sparse_forward` for the
    other arguments.
    """
    at, n_outputs = plan[0, WEIGHTS], plan[0, OUTPUTS]
    sparse_affine_backward(X, gradient, at, n_outputs, draw(key, 0), first, rate, begin, end)


@kernel
def input_rate(dropout):
    """Return the dropout rate of the samples; dropout (L,) is empty if there is none."""
    return dropout[0] if dropout.shape[0] > 0 else 0.0


@kernel
def last_outputs(plan, T, units):
    """Return the outputs (J, T) of the last layer, a window of the workspace `units`."""
    last = plan.shape[0] - 1
    return view(units, plan[last, UNITS] * T, plan[last, OUTPUTS], T)


@kernel
def plan_packing(plan, itemsize, sparse):
    """Fill the column PACKED of a plan, and return the number of elements of the packed weights.

    itemsize: bytes of a parameter. The weights of a layer are packed if they take more than `PACKED_BYTES`,
    except weights by which `sparse` samples are multiplied.
    """
    total = 0
    for layer in range(plan.shape[0]):
        size = count_packed_weights(plan[layer, INPUTS], plan[layer, OUTPUTS])
        if size * itemsize > PACKED_BYTES and not (sparse and layer == 0):
            plan[layer, PACKED] = total
            total += size
        else:
            plan[layer, PACKED] = -1
    return total


@kernel
def get_packed_weights(plan, layer, packed):
    """Return the packed weights of a layer, a row of the flat `packed`; without columns if there are none."""
    at, size = plan[layer, PACKED], 0
    if at >= 0:
        size = count_packed_weights(plan[layer, INPUTS], plan[layer, OUTPUTS])
    return view(packed, max(at, 0), 1, size)


@kernel
def pack_weights(plan, parameters, packed):
    """Pack the weights of a plan that `plan_packing` filled into `packed`, a flat array."""
    for layer in range(plan.shape[0]):
        if plan[layer, PACKED] >= 0:
            W = view(parameters, plan[layer, WEIGHTS], plan[layer, INPUTS], plan[layer, OUTPUTS])
            pack(W, get_packed_weights(plan, layer, packed))


@kernel
def has_dropout(plan, layer):
    """Return True if dropout is applied to a layer's inputs, which then have their own rows in the workspace.

    The plan decides, not the rate. A subnormal rate is 0 for a thread that flushes subnormal numbers, so such
    a thread would skip dropout and read rows that were not filled.
    """
    source = plan[layer, SOURCE]
    return source >= 0 if layer == 0 else source != plan[layer - 1, UNITS]


@kernel
def normalise(plan, layer, begin, end, parameters, weights, statistics, units):
    """Apply `norm.batch_norm_forward` to the sums of the units from `begin` to `end` of a layer.

    weights (1, T) of the samples; statistics, flat: a field of the `PassContext`; units, flat: the workspace.
    """
    T, n = weights.shape[1], end - begin
    Z = view(units, (plan[layer, SUMS] + begin) * T, n, T)
    N = view(units, (plan[layer, NORMALISED] + begin) * T, n, T)
    scale = view(parameters, plan[layer, SCALES] + begin, 1, n)
    shift = view(parameters, plan[layer, SHIFTS] + begin, 1, n)
    at, n_outputs = plan[layer, STATISTICS] + begin, plan[layer, OUTPUTS]
    means, variances = view(statistics, at, 1, n), view(statistics, at + n_outputs, 1, n)
    inverse = view(statistics, at + 2 * n_outputs, 1, n)
    batch_norm_forward(Z, weights, scale, shift, means, variances, N, inverse)


@kernel
def normalise_backward(plan, layer, begin, end, parameters, weights, statistics, units, dunits, gradient):
    """Apply `norm.batch_norm_backward` to the units from `begin` to `end` of a layer.

    dunits, flat, has the derivatives by the normalised sums; the derivatives by the sums replace them.
    """
    T, n = weights.shape[1], end - begin
    N = view(units, (plan[layer, NORMALISED] + begin) * T, n, T)
    dZ = view(dunits, (plan[layer, DUNITS] + begin) * T, n, T)
    scale = view(parameters, plan[layer, SCALES] + begin, 1, n)
    dscale = view(gradient, plan[layer, SCALES] + begin, 1, n)
    dshift = view(gradient, plan[layer, SHIFTS] + begin, 1, n)
    inverse = view(statistics, plan[layer, STATISTICS] + begin + 2 * plan[layer, OUTPUTS], 1, n)
    batch_norm_backward(N, weights, scale, inverse, dZ, dscale, dshift)


@functools.cache
def forward_pass(batch_norm: bool, dropped: bool, sparse: bool) -> Kernel:
    """Return the kernel of the forward pass.

    batch_norm, dropped, sparse: True for batch normalisation, for dropout, and for sparse samples.

    The kernel takes activations, a `layer.forward_table`; plan (L, `N_COLUMNS`); parameters (P,); packed,
    flat, the packed weights of the plan, or any array if it has none; X (I, T), a tile, or the sums (T, V) of
    a `sparse.SparseTile` if `sparse`; units, flat, a workspace that is overwritten with the sums and outputs
    of every layer; and context, a `PassContext`, or None without batch normalisation and dropout.
    """

    @kernel
    def forward_pass(activations, plan, parameters, packed, X, units, context):
        if sparse:
            T = X.shape[0]
        else:
            T = X.shape[1]
            if dropped and has_dropout(plan, 0):
                inputs = layer_inputs(plan, 0, X, units)
                dropout(X, draw(context.key, 0), context.first, context.dropout[0], inputs)
        for layer in range(plan.shape[0]):
            n_inputs, n_outputs = plan[layer, INPUTS], plan[layer, OUTPUTS]
            W = view(parameters, plan[layer, WEIGHTS], n_inputs, n_outputs)
            blocks = get_packed_weights(plan, layer, packed)
            b = view(parameters, plan[layer, BIASES], 1, n_outputs)
            Z = view(units, plan[layer, SUMS] * T, n_outputs, T)
            A = view(units, plan[layer, UNITS] * T, n_outputs, T)
            if sparse:
                if layer == 0:
                    transpose(X, Z)
                else:
                    inputs = view(units, plan[layer, SOURCE] * T, n_inputs, T)
                    affine_forward(W, b, inputs, blocks, Z)
            else:
                affine_forward(W, b, layer_inputs(plan, layer, X, units), blocks, Z)
            if batch_norm and plan[layer, STATISTICS] >= 0:
                normalise(plan, layer, 0, n_outputs, parameters, context.weights, context.statistics, units)
            call(activations[plan[layer, ACTIVATION]], (Z, A))
            above = layer + 1
            if dropped and above < plan.shape[0] and has_dropout(plan, above):
                D = view(units, plan[above, SOURCE] * T, n_outputs, T)
                dropout(A, draw(context.key, above), context.first, context.dropout[above], D)

    return forward_pass


@kernel
def write_sample_products(plan, layer, X, dZ, gradient):
    """Write the derivatives by a layer's weights and biases, sample by sample, to rows of gradient (P, T)."""
    n_inputs, (n_outputs, T) = X.shape[0], dZ.shape
    products = view(gradient, plan[layer, WEIGHTS] * T, n_inputs * n_outputs, T)
    biases = view(gradient, plan[layer, BIASES] * T, n_outputs, T)
    for j in range(n_outputs):
        for t in range(0, T, lanes(dZ)):
            d = load(dZ, j, t)
            store(biases, j, t, d)
            for i in range(n_inputs):
                store(products, i * n_outputs + j, t, load(X, i, t) * d)


@functools.cache
def backward_pass(batch_norm: bool, dropped: bool, sparse: bool, wanted: int = SUM) -> Kernel:
    """Return the kernel of the backward pass, which is called after the forward pass of the same tile.

    wanted: `SUM` for the gradient, `EACH` for the gradient of every sample of a tile that is neither sparse
    nor normalised, a row of ``gradient`` (P, T) per parameter; `NONE` for the derivatives by the units alone.

    activations is a `layer.backward_table`. dunits, flat, has the derivative by the last layer's outputs at
    the call, and is overwritten with the derivatives by the outputs of the other layers. scratch is the
    workspace of `affine_backward`. gradient (P,) is overwritten, except for its padding, or added to if
    `adds`. See `forward_pass` for the other arguments. If `sparse`, the derivatives
    by the sums of the first layer are left in X: `sparse_backward` adds their products with the samples to
    the gradient.
    """

    @kernel
    def backward_pass(activations, plan, parameters, X, units, dunits, scratch, gradient, adds, context):
        if sparse:
            T = X.shape[0]
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
            if dropped and above < plan.shape[0] and has_dropout(plan, above):
                D = view(units, plan[above, SOURCE] * T, n_outputs, T)
                dropout_backward(D, dA, context.dropout[above], dA)
            call(activations[plan[layer, ACTIVATION]], (Z, A, dA, dA))
            if batch_norm and plan[layer, STATISTICS] >= 0:
                weights, statistics = context.weights, context.statistics
                normalise_backward(
                    plan, layer, 0, n_outputs, parameters, weights, statistics, units, dunits, gradient
                )
            # The derivative by the samples is not needed: dX of the first layer has no rows.
            below = plan[max(layer - 1, 0), DUNITS]
            dX = view(dunits, below * T, n_inputs if layer else 0, T)
            if sparse:
                if layer == 0:
                    transpose(dA, X)
                    column_sums(X, db, adds)
                    for t in range(T):  # `sparse_backward` adds whole vectors of a row
                        for j in range(n_outputs, X.shape[1]):
                            X[t, j] = 0
                else:
                    inputs = view(units, plan[layer, SOURCE] * T, n_inputs, T)
                    affine_backward(W, inputs, dA, dW, db, dX, scratch, adds)
            elif wanted == SUM:
                affine_backward(W, layer_inputs(plan, layer, X, units), dA, dW, db, dX, scratch, adds)
            else:
                if wanted == EACH:
                    write_sample_products(plan, layer, layer_inputs(plan, layer, X, units), dA, gradient)
                if layer > 0:
                    product_backward(W, dA, dX)

    return backward_pass
