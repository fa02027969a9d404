"""Benchmarks of every kernel against its NumPy twin, on one thread, grouped by operation, size and dtype.

A case works on a tile of T samples, a whole number of vectors, through a layer of n_in inputs and
n_out outputs. Kernels hold a sample per column, the reference a sample per row. A case returns two
functions without arguments: the kernel's call, as the engine calls kernels, and the twin's. NumPy's BLAS is
kept to one thread, as the kernels are.

A group of products names the FLOPs of a call, and its results hold ``GFLOP/s`` in `extra_info`. So does
`test_limit`, the machine's limit with which they compare.
"""

import cases
import numpy as np
import pytest
import scipy.special
import threadpoolctl

from fastnn.engine import get_backend
from fastnn.engine.job import Job, Memory
from fastnn.network.description import Network, allocate_empty
from fastnn.optimizers import OPTIMIZERS
from fastnn.reference import gate, layer, norm, random, update
from fastnn.reference import loss as reference_loss
from fastnn.reference import output as reference_output
from fastnn_kernels import gate as compiled_gate
from fastnn_kernels import layer as compiled_layer
from fastnn_kernels import loss as compiled_loss
from fastnn_kernels import norm as compiled_norm
from fastnn_kernels import output as compiled_output
from fastnn_kernels import random as compiled_random
from fastnn_kernels import update as compiled_update
from fastnn_kernels.compiler.entry import FunctionPointer, PreparedCall
from fastnn_kernels.compiler.kinds import BOOL, FLOAT64, INT64, NONE, UINT64, Array, get_scalar
from fastnn_kernels.vectors import tile as compiled_tile

DTYPES = ("float64", "float32")
# Steps of a call of a trainer, enough that the call itself takes a small part of the time.
N_STEPS = 100
SIZES = ((2, 3, 208), (16, 16, 32), (64, 64, 64), (256, 128, 128))  # n_in, n_out, T


def tile(rows, T, dtype):
    """Return a tile of noise, aligned as fastnn allocates tiles."""
    array = allocate_empty(rows * T, np.dtype(dtype)).reshape(rows, T)
    array[...] = np.random.default_rng(rows).normal(size=array.shape)
    return array


def get_kind(value):
    """Return the kind of an argument."""
    if isinstance(value, np.ndarray):
        return Array(get_scalar(value.dtype), value.ndim)
    if isinstance(value, np.floating):
        return get_scalar(value.dtype)
    return {bool: BOOL, int: INT64, np.uint64: UINT64, type(None): NONE, float: FLOAT64}[type(value)]


def prepare_call(kernel, *arguments, result=NONE):
    """Return the call of a kernel with arguments that stay in memory."""
    named = {f"argument{k}": value for k, value in enumerate(arguments)}
    kinds = {name: get_kind(value) for name, value in named.items()}
    return PreparedCall(FunctionPointer(kernel, None, kinds, result), **named)


def affine_forward(n_in, n_out, T, dtype):
    """Return the case of an affine layer's forward pass."""
    W, b, X, Z = tile(n_in, n_out, dtype), tile(1, n_out, dtype), tile(n_in, T, dtype), tile(n_out, T, dtype)
    rows = np.ascontiguousarray(X.T)
    return prepare_call(compiled_gate.affine_forward, W, b, X, None, Z), lambda: gate.affine_forward(
        W, b, rows
    )


def affine_backward(n_in, n_out, T, dtype):
    """Return the case of an affine layer's backward pass."""
    W, X, dZ = tile(n_in, n_out, dtype), tile(n_in, T, dtype), tile(n_out, T, dtype)
    dW, db, dX = np.zeros_like(W), np.zeros((1, n_out), dtype), np.empty_like(X)
    scratch = allocate_empty(T * (n_out + 64), np.dtype(dtype))
    rows, drows = np.ascontiguousarray(X.T), np.ascontiguousarray(dZ.T)
    return (
        prepare_call(compiled_gate.affine_backward, W, X, dZ, dW, db, dX, scratch, False),
        lambda: gate.affine_backward(W, rows, drows),
    )


def activation_forward(name):
    """Return a function that makes the case of an activation's forward pass."""

    def case(n_in, n_out, T, dtype):
        Z, A = tile(n_out, T, dtype), tile(n_out, T, dtype)
        kernel = compiled_layer.activation_forward(name)
        return prepare_call(kernel, Z, A), lambda: layer.activation_forward(name, Z)

    return case


def activation_backward(name):
    """Return a function that makes the case of an activation's backward pass."""

    def case(n_in, n_out, T, dtype):
        Z, dA, dZ = tile(n_out, T, dtype), tile(n_out, T, dtype), tile(n_out, T, dtype)
        A = np.ascontiguousarray(layer.activation_forward(name, Z))
        kernel = compiled_layer.activation_backward(name)
        return prepare_call(kernel, Z, A, dA, dZ), lambda: layer.activation_backward(name, Z, A, dA)

    return case


def output(operation):
    """Return a function that makes the case of an output function or of argmax."""

    def case(n_in, n_out, T, dtype):
        S, P = tile(n_out, T, dtype), tile(n_out, T, dtype)
        rows, classes = np.ascontiguousarray(S.T), np.empty((1, T), np.int64)
        if operation == "argmax":
            return prepare_call(compiled_output.argmax, S, 0, 0, T, classes), lambda: reference_output.argmax(
                rows
            )
        kernel = compiled_output.output_forward(operation)
        return prepare_call(kernel, S, P), lambda: reference_output.output_forward(operation, rows)

    return case


def loss(name, operation):
    """Return a function that makes the case of a loss's value or backward pass."""

    def case(n_in, n_out, T, dtype):
        S, dS, weights = tile(n_out, T, dtype), tile(n_out, T, dtype), np.ones((1, T), dtype)
        of_labels = compiled_loss.LOSSES[name].of_labels
        labels = np.random.default_rng(0).integers(0, n_out, T)
        y = labels.astype(dtype)[None] if of_labels else np.abs(tile(n_out, T, dtype))
        rows, targets = np.ascontiguousarray(S.T), labels if of_labels else np.ascontiguousarray(y.T)
        if operation == "value":
            kernel = compiled_loss.loss_value(name)
            return (
                prepare_call(kernel, S, y, weights, 0.5, result=FLOAT64),
                lambda: reference_loss.loss_value(name, rows, targets, weights[0], 0.5),
            )
        kernel = compiled_loss.loss_backward(name)
        return (
            prepare_call(kernel, S, y, weights, 0.5, False, dS, result=FLOAT64),
            lambda: reference_loss.loss_backward(name, rows, targets, weights[0], 0.5),
        )

    return case


def optimizer(name):
    """Return a function that makes the case of an optimizer's step on 16 * n_in * n_out parameters."""

    def case(n_in, n_out, T, dtype):
        chosen = OPTIMIZERS[name]()
        n_states = len(chosen.initial_state)
        parameters = tile(1, 16 * n_in * n_out, dtype)[0]
        gradient, state = tile(1, parameters.size, dtype), np.abs(tile(n_states, parameters.size, dtype))
        (c,) = chosen.coefficients(np.array([1e-9]), np.array([9])).astype(dtype)
        numbers = {"rate": 1e-9, "step": 9, **chosen.hyperparameters}
        scalars = [np.dtype(dtype).type(value) for value in (1e-9, 0.0, 1.0)]
        kernel = compiled_update.update(name)
        return (
            prepare_call(kernel, gradient, parameters, state, c, *scalars, 0, parameters.size, result=BOOL),
            lambda: update.update(name, gradient[0], parameters, state, numbers, scalars[0], scalars[1]),
        )

    return case


def gather(n_in, n_out, T, dtype):
    """Return the case of gathering T samples of a table of 10,000 into a tile."""
    X = np.random.default_rng(0).normal(size=(10_000, n_in)).astype(dtype)
    indices = np.random.default_rng(1).permutation(len(X))
    result = tile(n_in, T, dtype)
    return prepare_call(compiled_tile.gather_tile, X, indices, 0, T, result), lambda: X[indices[:T]]


def dropout(n_in, n_out, T, dtype):
    """Return the case of dropout at rate 0.2."""
    A, D = tile(n_out, T, dtype), tile(n_out, T, dtype)
    key, rows = np.uint64(1), np.ascontiguousarray(A.T)
    return (
        prepare_call(compiled_random.dropout, A, key, 0, 0.2, D),
        lambda: random.dropout(rows, key, 0, 0.2),
    )


def batch_norm(n_in, n_out, T, dtype):
    """Return the case of batch normalisation, forward and backward."""
    Z, N, dZ = tile(n_out, T, dtype), tile(n_out, T, dtype), tile(n_out, T, dtype)
    weights = np.ones((1, T), dtype)
    scale, shift, inverse, dscale, dshift = (tile(1, n_out, dtype) for _ in range(5))
    running = tile(2, n_out, dtype)
    rows, drows = np.ascontiguousarray(Z.T), np.ascontiguousarray(dZ.T)

    forward = prepare_call(
        compiled_norm.batch_norm_forward, Z, weights, scale, shift, running[:1], running[1:], N, inverse
    )
    backward = prepare_call(compiled_norm.batch_norm_backward, N, weights, scale, inverse, dZ, dscale, dshift)

    def ours():
        forward()
        backward()

    def twin():
        _, kept, deviation = norm.batch_norm_forward(rows, weights[0], scale, shift, running[:1], running[1:])
        norm.batch_norm_backward(kept, weights[0], scale, deviation, drows)

    return ours, twin


def make_whole_call(operation):
    """Return a function that makes the case of an operation of the whole network [n_in, n_out, n_out, 2]."""

    def case(n_in, n_out, T, dtype):
        net = Network.create([n_in, n_out, n_out, 2], dtype=dtype)
        parameters = net.draw_parameters(np.random.RandomState(0))
        X = np.random.default_rng(0).normal(size=(T, n_in)).astype(dtype)
        y = np.random.default_rng(1).integers(0, 2, (T, 1)).astype(dtype)

        def make_call(backend):
            if operation == "loss":
                compute = backend.loss(net, X, y, np.ones(T))
                return lambda: compute(parameters)
            output = {"predict": None, "outputs": "softmax"}[operation]
            return lambda: backend.outputs(net, parameters, X, output)

        return make_call(get_backend("numba")), make_call(get_backend("numpy"))

    return case


def gradient(n_in, n_out, T, dtype):
    """Return the case of both passes of T samples through the network [n_in, n_out, n_out, 2]."""
    net = Network.create([n_in, n_out, n_out, 2], dtype=dtype)
    parameters, statistics = net.draw_parameters(np.random.RandomState(0)), net.make_statistics()
    X = np.random.default_rng(0).normal(size=(T, n_in)).astype(dtype)

    def make_call(name):
        passes = get_backend(name).passes(net, parameters, statistics)
        return lambda: passes.backward(passes.forward(X), adds=False, inputs=False, parameters=True)

    return tuple(map(make_call, ("numba", "numpy")))


def train_steps(n_in, n_out, T, dtype):
    """Return the case of `N_STEPS` steps of gradient descent on T samples through [n_in, n_out, n_out, 2]."""
    net = Network.create([n_in, n_out, n_out, 2], dtype=dtype)
    X = np.random.default_rng(0).normal(size=(T, n_in)).astype(dtype)
    y = np.random.default_rng(1).integers(0, 2, (T, 1)).astype(dtype)
    job = Job(X, y, np.ones(T), 10**9, T, epsilon=1e-6, record_every=10**9)
    trainers = []
    for name in ("numba", "numpy"):
        parameters = net.draw_parameters(np.random.RandomState(0))
        memory = Memory.fresh(net, parameters, job)
        trainers.append(get_backend(name).trainer(net, parameters, net.make_statistics(), job, memory))
    return tuple(lambda t=t: t.run(t.n_passes + N_STEPS) for t in trainers)


CASES = {
    "affine_forward": affine_forward,
    "affine_backward": affine_backward,
    # NumPy does nothing for the identity.
    **{f"{name}_forward": activation_forward(name) for name in layer.ACTIVATIONS if name != "identity"},
    **{f"{name}_backward": activation_backward(name) for name in layer.ACTIVATIONS if name != "identity"},
    **{name: output(name) for name in ("softmax", "argmax")},
    **{
        f"{name}_{operation}": loss(name, operation)
        for name in compiled_loss.LOSSES
        for operation in ("value", "backward")
    },
    **{name: optimizer(name) for name in compiled_update.OPTIMIZERS},
    "gather": gather,
    "dropout": dropout,
    "batch_norm": batch_norm,
    "gradient": gradient,
    "train_steps": train_steps,
    **{name: make_whole_call(name) for name in ("predict", "outputs", "loss")},
}


def step_flops(n_in, n_out, T):
    """Return the FLOPs of the products of a step of [n_in, n_out, n_out, 2]."""
    return 2 * T * (2 * n_in * n_out + 3 * n_out * n_out + 3 * n_out * 2)


# FLOPs of the products of a call, by the sizes of a case. A step multiplies for the units, for the
# derivatives by the parameters, and for those by the units of all layers but the first.
FLOPS = {
    "affine_forward": lambda n_in, n_out, T: 2 * n_in * n_out * T,
    "affine_backward": lambda n_in, n_out, T: 4 * n_in * n_out * T,
    "gradient": step_flops,
    "train_steps": lambda *size: N_STEPS * step_flops(*size),
}


@pytest.mark.parametrize("side", ["numba", "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize("operation", CASES)
def test_kernel(benchmark, operation, size, dtype, side):
    """Benchmark the kernel or its NumPy twin in a case."""
    benchmark.group = f"{operation} {'x'.join(map(str, size))} {dtype}, 1 thread"
    action = CASES[operation](*size, dtype)[side == "numpy"]
    with threadpoolctl.threadpool_limits(1):
        action()  # compile outside the timing
        benchmark(action)
    if operation in FLOPS and benchmark.stats:
        flops = FLOPS[operation](*size)
        benchmark.group += f", {flops / 1e6:.3g} MFLOP"
        benchmark.stats.group = benchmark.group
        benchmark.extra_info["GFLOP/s"] = round(flops / benchmark.stats.stats.min / 1e9, 2)


@pytest.mark.parametrize("dtype", DTYPES)
def test_limit(benchmark, dtype):
    """Benchmark a large product by NumPy's BLAS on one thread."""
    benchmark.group = f"the limit: product of 768 x 768 {dtype}, 1 thread"
    A, B, C = (tile(768, 768, dtype) for _ in range(3))
    with threadpoolctl.threadpool_limits(1):
        benchmark(np.dot, A, B, out=C)
    if benchmark.stats:
        benchmark.extra_info["GFLOP/s"] = round(2 * 768**3 / benchmark.stats.stats.min / 1e9, 2)


@pytest.mark.parametrize("side", ["vmath", "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["exp", "log", "tanh", "sigmoid"])
def test_function(benchmark, name, dtype, side):
    """Benchmark a vector function on 16384 values."""
    benchmark.group = f"{name} of 16384 {dtype}"
    x = np.abs(tile(1, 1 << 14, dtype))
    y = np.empty_like(x)
    if side == "vmath":
        kernel = cases.vector_function(name)
        kernel(x, y)
        benchmark(kernel, x, y)
    else:
        benchmark(scipy.special.expit if name == "sigmoid" else getattr(np, name), x, out=y)


@pytest.mark.parametrize("side", ["fastnn", "scikit-learn"])
def test_one_row(benchmark, side):
    """Benchmark the prediction of one row."""
    benchmark.group = "predict one row"
    one = cases.X[:1].copy()
    predict = (cases.train_fastnn() if side == "fastnn" else cases.train_sklearn_twin()).predict
    predict(one)
    benchmark(predict, one)
