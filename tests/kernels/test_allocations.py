"""Kernels allocate no arrays: numba's own counter does not grow with the work of a call.

numba counts one allocation for every array argument of a call.
"""

import numba
import numpy as np
import pytest
from numba.core.runtime import _nrt_python, rtsys
from strategies import RECIPES

import fastnn
from fastnn.boundary.committee import Committee
from fastnn.boundary.grids import NumbaGrid
from fastnn.engine import limits
from fastnn.engine.choice import get_backend
from fastnn.engine.job import Job, Memory
from fastnn.network.description import Network

random = np.random.default_rng(0)
X = random.normal(size=(1100, 2))
y = random.integers(0, 2, 1100)


@pytest.fixture(autouse=True)
def counters():
    """Count numba's allocations during a test."""
    _nrt_python.memsys_enable_stats()
    yield
    _nrt_python.memsys_disable_stats()


def allocations(action, *arguments):
    """Return the number of numba's allocations in a call; a first call, not counted, compiles the kernels."""
    action(*arguments)
    before = rtsys.get_allocation_stats().alloc
    action(*arguments)
    return rtsys.get_allocation_stats().alloc - before


def train(network, job, n_passes):
    """Train a network from the start for some epochs, in one call; return the trainer."""
    parameters = network.draw_parameters(np.random.RandomState(0))
    trainer = get_backend("numba").trainer(
        network, parameters, network.initial_statistics(), job, Memory.fresh(network, parameters, job)
    )
    trainer._calls.n_rounds = 10**9
    assert trainer.run(n_passes)
    assert trainer.n_passes == n_passes
    return trainer


# The tutorial's training; minibatches with Adam; minibatches with batch normalisation and dropout.
@pytest.mark.parametrize("recipe", RECIPES[:3])
@pytest.mark.parametrize("hidden", [(3,), (40, 30)])
def test_training_allocates_nothing(recipe, hidden):
    network = Network(
        (2, *hidden, 2), (*recipe.hidden * len(hidden), recipe.output), recipe.dtype, recipe.loss,
        recipe.batch_norm, (0.1, *[0.5] * len(hidden)) if recipe.dropped else (),
    )  # fmt: skip
    n_samples, size = (40, 7) if recipe.gathered else (1100, 1100)
    options = {
        "shuffled": recipe.gathered, "averaged": True, "optimizer": recipe.optimizer, "epsilon": 1e-3,
        "l1": 1e-3, "max_norm": 1.0, "clip_norm": 1.0, "average_share": 0.1, "record_every": 2,
    }  # fmt: skip
    targets = y[:, None] if recipe.loss.of_labels else X
    job = Job(
        X[:n_samples].astype(recipe.dtype), targets[:n_samples].astype(recipe.dtype), np.ones(n_samples),
        num_passes=1000, batch_size=size, **options,
    )  # fmt: skip

    assert allocations(train, network, job, 10) == allocations(train, network, job, 1000)


def test_threads_allocate_nothing(monkeypatch):
    monkeypatch.setattr(limits, "SHARED_OPERATIONS", 0)
    recipe = RECIPES[0]
    network = Network((2, 3, 2), (*recipe.hidden, recipe.output), recipe.dtype, recipe.loss)
    job = Job(X, y[:, None].astype(float), np.ones(1100), 1000, 1100, epsilon=1e-4, n_threads=2)

    def train_on_two_threads(n_passes):
        assert train(network, job, n_passes)._calls.n_running == 2

    assert allocations(train_on_two_threads, 10) == allocations(train_on_two_threads, 1000)


def test_prediction_allocates_nothing():
    model = fastnn.Model([2, 3, 2], random_state=0)
    for method in (model.predict, model.predict_proba):
        assert allocations(method, X[:1]) == allocations(method, X)
    assert allocations(model.calculate_loss, X[:1], y[:1]) == allocations(model.calculate_loss, X, y)


def committee_of(n_members):
    """Return a committee of networks of different widths."""
    networks = [Network((2, 3 + 5 * k, 2), ("tanh", "tanh"), np.dtype(float)) for k in range(n_members)]
    members = [(network, network.draw_parameters(np.random.RandomState(0))) for network in networks]
    return Committee(members, votes=n_members > 1)


@pytest.mark.parametrize("n_members", [1, 3])
def test_grids_allocate_nothing(n_members):
    grid = NumbaGrid(committee_of(n_members))
    xs = np.linspace(-3, 3, 700)

    def classes(n_rows):
        grid.classes(xs, xs[:n_rows], np.empty((n_rows, 700), np.uint8))

    def values(n_rows):
        grid.values("margin", 0, xs, xs[:n_rows], np.empty((n_rows, 700)))

    def certified(n_rows):
        tally = grid.certified(xs, xs[:n_rows], np.empty((n_rows, 700), np.uint8), lambda: False)
        assert tally.points_evaluated + tally.points_filled == n_rows * 700

    for paint in (classes, values, certified):
        assert allocations(paint, 1) == allocations(paint, 50) == allocations(paint, 600)


def test_the_counter_notices_allocations():
    @numba.njit
    def allocate(count):
        total = 0.0
        for _ in range(count):
            total += np.ones(3)[0]
        return total

    assert allocations(allocate, 30) > allocations(allocate, 1)
