"""Networks: the description, and whole passes, kernels against the reference."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import networks

from fastnn.network import ALIGNMENT, Network, aligned_empty
from fastnn.reference import network as reference
from fastnn.reference.output import softmax_backward, softmax_loss
from fastnn_kernels import network as compiled


def random_parameters(network, random):
    return random.normal(size=network.n_parameters).astype(network.dtype)


@given(networks(), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_passes_are_the_reference(network: Network, count, seed):
    random = np.random.default_rng(seed)
    T = network.tile_width(count)
    parameters = random_parameters(network, random)
    X = random.normal(size=(network.n_inputs, T)).astype(network.dtype)
    units = np.full(network.n_units * T, np.nan, network.dtype)
    compiled.forward_pass(network.kernel_activations)(network.plan, parameters, X, units)
    W, b = (list_(parameters.astype(np.float64)) for list_ in (network.weights, network.biases))
    outputs = reference.forward_pass(network.activations, W, b, X.T.astype(np.float64))
    rtol = 2000 * np.finfo(network.dtype).eps
    largest = max(1.0, *(np.abs(A).max() for A in outputs))
    np.testing.assert_allclose(
        units, np.concatenate([A.T.ravel() for A in outputs[1:]]), rtol=rtol, atol=rtol * largest
    )

    dS = random.normal(size=(network.n_outputs, T)).astype(network.dtype)
    dunits = np.full(network.n_dunits * T, np.nan, network.dtype)
    last = int(network.plan[-1, compiled.DUNITS]) * T
    dunits[last : last + dS.size] = dS.ravel()
    gradient = np.zeros_like(parameters)
    compiled.backward_pass(network.kernel_activations)(network.plan, parameters, X, units, dunits, gradient)
    dW, db = reference.backward_pass(network.activations, W, outputs, dS.T.astype(np.float64))
    expected = np.concatenate([d.ravel() for d in (*dW, *db)])
    np.testing.assert_allclose(gradient, expected, rtol=rtol, atol=rtol * max(1.0, np.abs(expected).max()))


@given(networks(), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_reference_gradient_is_central_differences(network: Network, count, seed):
    random = np.random.default_rng(seed)
    parameters = 0.5 * random.normal(size=network.n_parameters)
    X = random.normal(size=(count, network.n_inputs))
    y = random.integers(0, network.n_outputs, count)

    def loss(values):
        S = reference.scores(network.activations, network.weights(values), network.biases(values), X)
        return softmax_loss(S, y, 1.0)

    W, b = network.weights(parameters), network.biases(parameters)
    outputs = reference.forward_pass(network.activations, W, b, X)
    dW, db = reference.backward_pass(network.activations, W, outputs, softmax_backward(outputs[-1], y))
    gradient = np.concatenate([d.ravel() for d in (*dW, *db)])
    for k in random.permutation(network.n_parameters)[:20]:
        step = np.zeros_like(parameters)
        step[k] = 1e-6
        numeric = (loss(parameters + step) - loss(parameters - step)) / 2e-6
        assert numeric == pytest.approx(gradient[k], rel=1e-5, abs=1e-7 * max(1.0, abs(loss(parameters))))


@given(networks())
def test_views_share_the_flat_vector_weights_first(network: Network):
    parameters = np.arange(network.n_parameters, dtype=network.dtype)
    W, b = network.weights(parameters), network.biases(parameters)
    assert [w.shape for w in W] == list(network.shapes)
    assert [v.shape for v in b] == [(1, n_out) for _, n_out in network.shapes]
    np.testing.assert_array_equal(np.concatenate([v.ravel() for v in (*W, *b)]), parameters)
    for view in (*W, *b):
        view[...] = -1
    assert (parameters == -1).all()


@given(networks(), st.integers(1, 5000))
def test_tiles_are_whole_cache_lines(network: Network, count):
    T = network.tile_width(count)
    assert T * network.dtype.itemsize % ALIGNMENT == 0
    n_tiles = -(-count // T)
    assert (n_tiles - 1) * T < count <= n_tiles * T
    assert network.widest_tile + ALIGNMENT // network.dtype.itemsize >= T


@given(st.integers(1, 300), st.sampled_from([np.dtype(np.float32), np.dtype(np.float64)]))
def test_aligned_empty(size, dtype):
    array = aligned_empty(size, dtype)
    assert array.shape == (size,)
    assert array.dtype == dtype
    assert array.ctypes.data % ALIGNMENT == 0


def test_initialisation_draws_in_the_tutorials_order():
    network = Network.create([2, 3, 4], "tanh", "tanh", np.float64)
    parameters = network.draw_parameters(np.random.RandomState(7))
    expected = np.random.RandomState(7)
    for W, b in zip(network.weights(parameters), network.biases(parameters), strict=True):
        np.testing.assert_array_equal(W, expected.randn(*W.shape) / np.sqrt(W.shape[0]))
        np.testing.assert_array_equal(b, expected.randn(b.shape[1]).reshape(1, -1))
