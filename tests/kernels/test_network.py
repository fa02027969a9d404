"""Networks: their description and initialisation, and the gradient of the reference."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, PARTS, is_padding, keys, networks, sample_weights, seeds, targets, wide

from fastnn.engine.tiles import choose_tile_width, choose_training_width, find_widest_tile
from fastnn.network.description import ALIGNMENT, Network, allocate_empty
from fastnn.reference import network as reference
from fastnn.reference.layer import ACTIVATIONS
from fastnn.reference.norm import EPS
from fastnn.reference.train import loss_and_gradient


def draw_parameters(network, random):
    """Return parameters that are 0 only where they belong to no layer."""
    parameters = network.make_neutral_parameters()
    parameters[...] = random.normal(size=parameters.size) * ~is_padding(network)
    return parameters


def draw_statistics(network, random):
    statistics = network.make_statistics()
    for running in network.running(statistics):
        if running is not None:
            running[...] = random.normal(size=running.shape[1]), random.uniform(0.1, 3, running.shape[1])
    return statistics


@given(networks(), st.integers(2, 8), seeds, keys)
def test_reference_gradient_matches_central_differences(network: Network, count, seed, key):
    network = replace(network, dtype=DTYPES[0])
    random = np.random.default_rng(seed)
    parameters = 0.5 * draw_parameters(network, random)
    X = random.normal(size=(count, network.n_inputs))
    y = targets(network.loss, network.n_outputs, count, network.dtype, random)
    y = y[:, 0] if network.loss.of_labels else y
    weights = sample_weights(count, random)

    def evaluate(values):
        return loss_and_gradient(network, values, network.make_statistics(), X, y, weights, key)

    loss, gradient = evaluate(parameters)
    scale = max(1.0, abs(loss), np.abs(gradient).max())
    n_kinks = 0
    for k in random.permutation(np.flatnonzero(~is_padding(network)))[:20]:
        step = 1e-6 * (np.arange(parameters.size) == k)
        above, below = evaluate(parameters + step)[0], evaluate(parameters - step)[0]
        # A difference across a jump of the derivative approximates nothing: skip it.
        if abs(above - 2 * loss + below) > 1e-9 * scale:
            n_kinks += 1
        else:
            assert gradient[k] == pytest.approx((above - below) / 2e-6, rel=1e-5, abs=1e-7 * scale)
    assert n_kinks <= 5
    assert (gradient[is_padding(network)] == 0).all()


@given(networks())
def test_views_share_the_flat_vector_weights_first(network: Network):
    parameters = np.arange(network.n_parameters, dtype=np.float64)
    views = [[view for view in part(network, parameters) if view is not None] for part in PARTS]
    # Each element is in one view, without gaps. Padding to a cache line follows the weights and the others.
    weights, others = (
        np.concatenate([view.ravel() for part in parts for view in part]) for parts in (views[:1], views[1:])
    )
    np.testing.assert_array_equal(weights, np.arange(weights.size))
    np.testing.assert_array_equal(np.sort(others), network.n_weights + np.arange(others.size))
    assert network.n_weights == network.whole_tile(weights.size)
    assert network.n_parameters == network.n_weights + network.whole_tile(others.size)
    assert all(np.shares_memory(view, parameters) for part in views for view in part)


@given(networks(), seeds)
def test_conversion_to_another_dtype_keeps_the_parameters(network: Network, seed):
    other = replace(network, dtype=next(dtype for dtype in DTYPES if dtype != network.dtype))
    parameters = draw_parameters(network, np.random.default_rng(seed))
    converted = other.convert_parameters(network, parameters)
    assert converted.dtype == other.dtype
    expected = parameters[~is_padding(network)].astype(other.dtype)
    np.testing.assert_array_equal(converted[~is_padding(other)], expected)
    assert (converted[is_padding(other)] == 0).all()


@given(networks(), seeds)
def test_folded_parameters_predict_as_the_normalised_network(network: Network, seed):
    plain, network = replace(network, batch_norm=False), replace(network, batch_norm=True)
    random = np.random.default_rng(seed)
    parameters, statistics = draw_parameters(network, random), draw_statistics(network, random)
    X = random.normal(size=(7, network.n_inputs))
    folded = wide(network.fold_batch_norm(parameters, statistics))
    # The prediction with running statistics, layer by layer in float64.
    exact, A, largest = wide(parameters), X, 1.0
    parts = [part(network, exact) for part in PARTS]
    running = network.running(wide(statistics))
    for name, W, b, scale, shift, moments in zip(network.activations, *parts, running, strict=True):
        Z = A @ W + b
        if moments is not None:
            Z = (Z - moments[0]) / np.sqrt(moments[1] + EPS) * scale + shift
        A, largest = ACTIVATIONS[name].value(Z), max(largest, np.abs(Z).max())
    S = reference.scores(network.activations, network.weights(folded), network.biases(folded), X)
    np.testing.assert_allclose(S, A, rtol=0, atol=500 * np.finfo(network.dtype).eps * largest)
    # Without batch normalisation there is nothing to fold, and no copy.
    assert np.shares_memory(plain.fold_batch_norm(parameters, statistics), parameters)


@given(networks(), st.integers(1, 5000))
def test_tiles_are_whole_cache_lines(network: Network, count):
    for T in (choose_training_width(network, count), choose_tile_width(network, count)):
        assert T * network.dtype.itemsize % ALIGNMENT == 0
        n_tiles = -(-count // T)
        assert (n_tiles - 1) * T < count <= n_tiles * T
    assert find_widest_tile(network) + ALIGNMENT // network.dtype.itemsize >= T
    whole = network.whole_tile(count)
    assert whole * network.dtype.itemsize % ALIGNMENT == 0
    assert 0 <= whole - count < ALIGNMENT // network.dtype.itemsize


@given(st.integers(1, 300), st.sampled_from(DTYPES))
def test_allocated_memory_begins_at_a_cache_line(size, dtype):
    array = allocate_empty(size, dtype)
    assert (array.shape, array.dtype) == ((size,), dtype)
    assert array.ctypes.data % ALIGNMENT == 0
