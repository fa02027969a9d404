"""Every kernel against its numpy twin, grouped by operation, size and dtype.

Each works on a tile of T samples, a whole number of vectors, through a layer of n_in inputs and
n_out outputs. Kernels hold a sample a column, the reference a sample a row.
"""

import cases
import numpy as np
import pytest
import scipy.special

from fastnn.backends import get_backend
from fastnn.network import Network, aligned_empty
from fastnn.reference import gate, layer, network, output, update
from fastnn_kernels import gate as compiled_gate
from fastnn_kernels import layer as compiled_layer
from fastnn_kernels import network as compiled_network
from fastnn_kernels import output as compiled_output
from fastnn_kernels import update as compiled_update

DTYPES = ("float64", "float32")
SIZES = ((2, 3, 208), (16, 16, 32), (64, 64, 64), (256, 128, 128))  # n_in, n_out, T


def tile(rows, T, dtype):
    """A tile as `fastnn` allocates them, filled with noise."""
    array = aligned_empty(rows * T, np.dtype(dtype)).reshape(rows, T)
    array[...] = np.random.default_rng(rows).normal(size=array.shape)
    return array


def affine_forward(n_in, n_out, T, dtype):
    W, b, X, Z = tile(n_in, n_out, dtype), tile(1, n_out, dtype), tile(n_in, T, dtype), tile(n_out, T, dtype)
    rows = np.ascontiguousarray(X.T)
    return lambda: compiled_gate.affine_forward(W, b, X, Z), lambda: gate.affine_forward(W, b, rows)


def affine_backward(n_in, n_out, T, dtype):
    W, X, dZ = tile(n_in, n_out, dtype), tile(n_in, T, dtype), tile(n_out, T, dtype)
    dW, db, dX = np.zeros_like(W), np.zeros((1, n_out), dtype), np.empty_like(X)
    rows, drows = np.ascontiguousarray(X.T), np.ascontiguousarray(dZ.T)
    return (
        lambda: compiled_gate.affine_backward(W, X, dZ, dW, db, dX),
        lambda: gate.affine_backward(W, rows, drows),
    )


def activation_forward(name):
    def case(n_in, n_out, T, dtype):
        Z, A = tile(n_out, T, dtype), tile(n_out, T, dtype)
        kernel = compiled_layer.activation_forward(name)
        return lambda: kernel(Z, A), lambda: layer.activation_forward(name, Z)

    return case


def activation_backward(name):
    def case(n_in, n_out, T, dtype):
        A, dA, dZ = tile(n_out, T, dtype), tile(n_out, T, dtype), tile(n_out, T, dtype)
        kernel = compiled_layer.activation_backward(name)
        return lambda: kernel(A, dA, dZ), lambda: layer.activation_backward(name, A, dA)

    return case


def softmax(operation):
    def case(n_in, n_out, T, dtype):
        S, P = tile(n_out, T, dtype), tile(n_out, T, dtype)
        labels = np.random.default_rng(0).integers(0, n_out, T)
        y, rows = labels.astype(dtype)[None], np.ascontiguousarray(S.T)
        classes = np.empty((1, T), np.int64)
        ours = {
            "forward": lambda: compiled_output.softmax_forward(S, P),
            "loss": lambda: compiled_output.softmax_loss(S, y, 1.0, T),
            "backward": lambda: compiled_output.softmax_backward(S, y, T, P),
            "argmax": lambda: compiled_output.argmax(S, 0, 0, T, classes),
        }
        twins = {
            "forward": lambda: output.softmax_forward(rows),
            "loss": lambda: output.softmax_loss(rows, labels, 1.0),
            "backward": lambda: output.softmax_backward(rows, labels),
            "argmax": lambda: output.argmax(rows),
        }
        return ours[operation], twins[operation]

    return case


def gradient_descent(n_in, n_out, T, dtype):
    n_weights = n_in * n_out
    parameters, gradient = tile(2, n_weights + n_out, dtype)
    rates = np.dtype(dtype).type(1e-9), np.dtype(dtype).type(1e-9)
    return (
        lambda: compiled_update.gradient_descent(gradient, n_weights, *rates, parameters),
        lambda: update.gradient_descent(gradient, n_weights, *rates, parameters),
    )


def whole(operation):
    """A whole network's operation on both backends: [n_in, n_out, n_out, 2] on T samples."""

    def case(n_in, n_out, T, dtype):
        net = Network.create([n_in, n_out, n_out, 2], "tanh", "tanh", dtype)
        parameters = net.draw_parameters(np.random.RandomState(0))
        X = np.random.default_rng(0).normal(size=(T, n_in)).astype(dtype)
        y = np.random.default_rng(1).integers(0, 2, T)
        backends = get_backend("numba"), get_backend("numpy")
        if operation == "loss":
            return tuple(lambda b=b: b.loss(net, parameters, X, y) for b in backends)
        return tuple(lambda b=b: getattr(b, operation)(net, parameters, X) for b in backends)

    return case


def passes(operation):
    """A tile through the whole network [n_in, n_out, n_out, 2], forward, or forward and back."""

    def case(n_in, n_out, T, dtype):
        net = Network.create([n_in, n_out, n_out, 2], "tanh", "tanh", dtype)
        parameters = net.draw_parameters(np.random.RandomState(0))
        gradient = aligned_empty(net.n_parameters, net.dtype)
        X, units, dunits = (
            tile(n_in, T, dtype),
            tile(net.n_units, T, dtype).ravel(),
            tile(net.n_dunits, T, dtype).ravel(),
        )
        rows, W, b = np.ascontiguousarray(X.T), net.weights(parameters), net.biases(parameters)
        dS = np.ascontiguousarray(tile(2, T, dtype).T)
        forward = compiled_network.forward_pass(net.kernel_activations)
        backward = compiled_network.backward_pass(net.kernel_activations)
        gradient[:] = 0

        def ours():
            forward(net.plan, parameters, X, units)
            if operation == "backward":
                backward(net.plan, parameters, X, units, dunits, gradient)

        def twin():
            outputs = network.forward_pass(net.activations, W, b, rows)
            if operation == "backward":
                network.backward_pass(net.activations, W, outputs, dS)

        return ours, twin

    return case


def train_passes(n_in, n_out, T, dtype):
    """One pass of gradient descent on T samples through [n_in, n_out, n_out, 2]."""
    net = Network.create([n_in, n_out, n_out, 2], "tanh", "tanh", dtype)
    X = np.random.default_rng(0).normal(size=(T, n_in)).astype(dtype)
    y = np.random.default_rng(1).integers(0, 2, T)
    trainers = [
        get_backend(name).trainer(net, net.draw_parameters(np.random.RandomState(0)), X, y, 1e-6, 0.01)
        for name in ("numba", "numpy")
    ]
    return tuple(lambda t=t: t.run(t.n_passes + 1) for t in trainers)


OPERATIONS = {
    "affine_forward": affine_forward,
    "affine_backward": affine_backward,
    **{f"{name}_forward": activation_forward(name) for name in layer.ACTIVATIONS},
    **{f"{name}_backward": activation_backward(name) for name in layer.ACTIVATIONS},
    **{f"softmax_{name}": softmax(name) for name in ("forward", "loss", "backward")},
    "argmax": softmax("argmax"),
    "gradient_descent": gradient_descent,
    "forward_pass": passes("forward"),
    "forward_and_backward_pass": passes("backward"),
    "train_passes": train_passes,
    **{name: whole(name) for name in ("predict", "predict_proba", "loss")},
}


@pytest.mark.parametrize("side", ["numba", "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize("operation", OPERATIONS)
def test_kernel(benchmark, operation, size, dtype, side):
    benchmark.group = f"{operation} {'x'.join(map(str, size))} {dtype}"
    action = OPERATIONS[operation](*size, dtype)[side == "numpy"]
    action()  # compiled
    benchmark(action)


@pytest.mark.parametrize("side", ["vmath", "numpy"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["exp", "log", "tanh", "sigmoid"])
def test_function(benchmark, name, dtype, side):
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
    benchmark.group = "predict one row"
    one = cases.X[:1].copy()
    predict = (cases.trained() if side == "fastnn" else cases.trained_sklearn()).predict
    predict(one)
    benchmark(predict, one)
