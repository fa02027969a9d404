"""Predictions and the loss of whole tables, and the grid: both backends alike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import draws, networks, widths

from fastnn.backends import get_backend
from fastnn.network import Network
from fastnn.reference import predict as reference
from fastnn.reference.network import scores
from fastnn_kernels import predict as compiled

numba, numpy = get_backend("numba"), get_backend("numpy")
seeds = st.integers(0, 2**32 - 1)
# Tiles are full, nearly full, many.
counts = st.one_of(st.integers(1, 40), st.sampled_from([128, 129, 511, 512, 513, 1100]))


def problem(network, count, seed):
    random = np.random.default_rng(seed)
    parameters = random.normal(size=network.n_parameters).astype(network.dtype)
    X = random.normal(size=(count, network.n_inputs)).astype(network.dtype)
    return parameters, X, random.integers(0, network.n_outputs, count)


def exact_scores(network, parameters, X):
    wide = parameters.astype(np.float64)
    return scores(network.activations, network.weights(wide), network.biases(wide), X.astype(np.float64))


def rounding(network, S):
    """How far scores may be from the exact S."""
    return 500 * float(np.finfo(network.dtype).eps) * max(1.0, float(np.abs(S).max()))


@given(networks(), counts, seeds)
def test_predict_proba_is_the_reference(network: Network, count, seed):
    parameters, X, _ = problem(network, count, seed)
    S = exact_scores(network, parameters, X)
    error = rounding(network, S)
    for backend in (numba, numpy):
        P = backend.predict_proba(network, parameters, X)
        assert P.dtype == network.dtype
        np.testing.assert_allclose(P, reference.softmax_forward(S), rtol=0, atol=error)
        np.testing.assert_allclose(P.sum(axis=1), 1, rtol=20 * np.finfo(network.dtype).eps)


@given(networks(), counts, seeds)
def test_predict_takes_the_highest_score(network: Network, count, seed):
    parameters, X, _ = problem(network, count, seed)
    S = exact_scores(network, parameters, X)
    error = rounding(network, S)
    for backend in (numba, numpy):
        classes = backend.predict(network, parameters, X)
        assert classes.dtype == np.int64
        # Of scores closer than rounding either may win.
        assert (S[np.arange(count), classes] >= S.max(axis=1) - error).all()


@given(networks(), counts, seeds)
def test_loss_is_the_reference(network: Network, count, seed):
    parameters, X, y = problem(network, count, seed)
    S = exact_scores(network, parameters, X)
    expected = reference.softmax_loss(S, y, 1 / count)
    error = rounding(network, S)
    for backend in (numba, numpy):
        assert backend.loss(network, parameters, X, y) == pytest.approx(expected, abs=error)


@given(draws, widths, st.integers(0, 20), st.integers(0, 20))
def test_take_tile_transposes_and_fills_up(draw, n_inputs, first, count):
    X = draw.array(first + count, n_inputs)
    tile = np.full((n_inputs, draw.padded(count)), np.nan, draw.dtype)
    compiled.take_tile(X, first, count, tile)
    np.testing.assert_array_equal(tile[:, :count], X[first:].T)
    assert (tile[:, count:] == 0).all()


@given(
    networks(st.tuples(st.just(2), st.integers(1, 9), st.integers(1, 9))),
    st.integers(1, 40),
    st.sampled_from([1, 5, 64, 129, 700]),
    seeds,
)
def test_grid_is_the_prediction_at_its_points(network: Network, height, width, seed):
    parameters, _, _ = problem(network, 1, seed)
    axes = (-1.0, 3.0 / width, 0.5, 2.0 / height)
    begin, end = height // 3, height - height // 4
    x, y = axes[0] + np.arange(width) * axes[1], axes[2] + np.arange(height) * axes[3]
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(network.dtype)
    expected = numba.predict(network, parameters, points).reshape(height, width)
    S = np.sort(exact_scores(network, parameters, points), axis=1)
    close = np.zeros(len(points), bool)
    if network.n_outputs > 1:
        close = S[:, -1] - S[:, -2] <= rounding(network, S)
    close = close.reshape(height, width)
    for backend in (numba, numpy):
        classes = np.full((height, width), 99, np.uint8)
        backend.grid_classes(network, parameters, axes, begin, end, classes)
        inside = slice(begin, end)
        assert ((classes == expected) | close)[inside].all()
        assert (classes[:begin] == 99).all()
        assert (classes[end:] == 99).all()
