"""Kernels allocate nothing: numba's own counter does not grow with the work of a call.

A call itself counts one allocation for every array handed over.
"""

import numba
import numpy as np
import pytest
from numba.core.runtime import _nrt_python, rtsys

import fastnn
from fastnn.backends import get_backend
from fastnn.network import aligned_empty

random = np.random.default_rng(0)
X = random.normal(size=(1100, 2))
y = random.integers(0, 2, 1100)


@pytest.fixture(autouse=True)
def counters():
    _nrt_python.memsys_enable_stats()
    yield
    _nrt_python.memsys_disable_stats()


def allocations(action, *arguments):
    action(*arguments)  # compiled
    before = rtsys.get_allocation_stats().alloc
    action(*arguments)
    return rtsys.get_allocation_stats().alloc - before


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("layers_dim", [[2, 3, 2], [2, 40, 30, 5]])
def test_training_allocates_nothing(layers_dim, dtype):
    model = fastnn.Model(layers_dim, dtype=dtype, random_state=0)

    def train(n_passes):
        trainer = get_backend("numba").trainer(
            model._network, model._parameters, X.astype(dtype), y, 1e-4, 0.01
        )
        trainer._tiles_a_call = 10**9  # all in one call
        assert trainer.run(n_passes)
        assert trainer.n_passes == n_passes

    assert allocations(train, 1) == allocations(train, 30)


def test_prediction_allocates_nothing():
    model = fastnn.Model([2, 3, 2], random_state=0)
    for method in (model.predict, model.predict_proba):
        assert allocations(method, X[:1]) == allocations(method, X)
    assert allocations(model.calculate_loss, X[:1], y[:1]) == allocations(model.calculate_loss, X, y)


def test_grid_allocates_nothing():
    network = fastnn.Model([2, 3, 2])._network
    parameters = aligned_empty(network.n_parameters, network.dtype)
    parameters[:] = 0.1
    backend = get_backend("numba")

    def grid(n_rows):
        classes = np.empty((n_rows, 700), np.uint8)
        backend.grid_classes(network, parameters, (0.0, 0.1, 0.0, 0.1), 0, n_rows, classes)

    assert allocations(grid, 1) == allocations(grid, 50)


def test_the_counter_counts():
    @numba.njit
    def allocate(count):
        total = 0.0
        for _ in range(count):
            total += np.ones(3)[0]
        return total

    assert allocations(allocate, 30) > allocations(allocate, 1)
