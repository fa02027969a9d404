"""The training loop: both backends alike, whole passes however the calls are cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import networks

from fastnn.backends import get_backend
from fastnn.network import Network
from fastnn.training import run_training

# Tiles are full, nearly full, many.
counts = st.one_of(st.integers(1, 40), st.sampled_from([128, 129, 513, 1100]))


def problem(network, count, seed):
    random = np.random.default_rng(seed)
    parameters = network.draw_parameters(np.random.RandomState(seed))
    X = random.normal(size=(count, network.n_inputs)).astype(network.dtype)
    return parameters, X, random.integers(0, network.n_outputs, count)


@given(networks(), counts, st.integers(0, 12), st.sampled_from([0.0, 0.5]), st.integers(0, 2**32 - 1))
def test_backends_agree(network: Network, count, n_passes, reg_lambda, seed):
    epsilon = 0.05 / count  # far from chaos
    results = []
    for name in ("numba", "numpy"):
        parameters, X, y = problem(network, count, seed)
        trainer = get_backend(name).trainer(network, parameters, X, y, epsilon, reg_lambda)
        run_training(trainer, n_passes, epsilon, reg_lambda)
        assert trainer.n_passes == n_passes
        results.append(parameters)
    eps = np.finfo(network.dtype).eps
    np.testing.assert_allclose(results[0], results[1], rtol=1000 * eps, atol=1000 * eps)


@given(networks(), counts, st.lists(st.integers(0, 4), max_size=6), st.integers(0, 2**32 - 1))
def test_interrupted_and_taken_up_is_the_same_to_the_last_bit(network: Network, count, portions, seed):
    whole, X, y = problem(network, count, seed)
    trainer = get_backend("numba").trainer(network, whole, X, y, 0.01, 0.01)
    while trainer.n_passes < sum(portions):
        trainer.run(sum(portions))
    parts, X, y = problem(network, count, seed)
    trainer = get_backend("numba").trainer(network, parts, X, y, 0.01, 0.01)
    done = 0
    for portion in portions:
        done += portion
        while trainer.n_passes < done:
            trainer._tiles_a_call = 1  # a tile a call: calls end in the middle of passes
            trainer.run(done)
    np.testing.assert_array_equal(parts, whole)


@pytest.mark.parametrize("name", ["numba", "numpy"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_divergence_leaves_the_last_finite_pass(name, dtype):
    network = Network.create([2, 3, 2], "tanh", "tanh", dtype)
    backend = get_backend(name)
    epsilon = np.float64(dtype(1e4))
    parameters, X, y = problem(network, 30, 0)
    trainer = backend.trainer(network, parameters, X, y, epsilon, 1.0)
    while trainer.run(10_000):
        assert trainer.n_passes < 10_000
    n_passes = trainer.n_passes
    assert n_passes > 0
    assert np.isfinite(parameters).all()
    again, _, _ = problem(network, 30, 0)
    trainer = backend.trainer(network, again, X, y, epsilon, 1.0)
    while trainer.n_passes < n_passes:
        assert trainer.run(n_passes)
    np.testing.assert_array_equal(again, parameters)
    assert not trainer.run(n_passes + 1)


def test_trainer_keeps_the_users_data_apart():
    network = Network.create([2, 3, 2], "tanh", "tanh", np.float64)
    parameters, X, y = problem(network, 30, 0)
    kept = X.copy(), y.copy()
    trainer = get_backend("numba").trainer(network, parameters, X, y, 0.01, 0.01)
    X[:] = np.nan
    y[:] = 1 << 40
    assert trainer.run(5)
    expected, _, _ = problem(network, 30, 0)
    assert get_backend("numba").trainer(network, expected, *kept, 0.01, 0.01).run(5)
    np.testing.assert_array_equal(parameters, expected)
