"""Kernels allocate no arrays: numba's own counter does not grow with the work of a call.

numba counts one allocation for every array argument of a call.
"""

import numba
import numpy as np
import pytest
from drawn_trainings import Training, sharing
from numba.core.runtime import _nrt_python, rtsys
from strategies import RECIPES
from trainings import STEP_OPTIONS, begin

import fastnn
from fastnn.boundary.committee import Committee
from fastnn.boundary.grids import Grid
from fastnn.network.description import Network

random = np.random.default_rng(0)
X = random.normal(size=(1100, 2))
y = random.integers(0, 2, 1100)


@pytest.fixture(autouse=True)
def counters():
    _nrt_python.memsys_enable_stats()
    yield
    _nrt_python.memsys_disable_stats()


def count_allocations(action, *arguments):
    """Return the number of numba's allocations in a call; a first call, not counted, compiles the kernels."""
    action(*arguments)
    before = rtsys.get_allocation_stats().alloc
    action(*arguments)
    return rtsys.get_allocation_stats().alloc - before


def train(network, job, n_passes):
    trainer, _ = begin("numba", network, job)
    trainer._calls.n_steps = 10**9
    assert trainer.run(n_passes)
    assert (trainer.n_passes, trainer._calls.n_running) == (n_passes, job.n_threads)


# The tutorial's training; minibatches with Adam; minibatches with batch normalisation and dropout.
@pytest.mark.parametrize(
    ("recipe", "hidden", "n_threads"),
    [(RECIPES[0], (3,), 2), *((recipe, hidden, 1) for recipe in RECIPES[:3] for hidden in ((3,), (40, 30)))],
)
def test_training_allocates_nothing(recipe, hidden, n_threads):
    activations = *recipe.hidden * len(hidden), recipe.output
    rates = (0.1, *[0.5] * len(hidden)) if recipe.dropped else ()
    network = Network((2, *hidden, 2), activations, recipe.dtype, recipe.loss, recipe.batch_norm, rates)
    count, size = (40, 7) if recipe.gathered else (1100, 1100)
    options = STEP_OPTIONS | {"record_every": 2, "n_threads": n_threads}
    options |= {"num_passes": 1000, "shuffle": recipe.gathered, "reduction": "mean", "epsilon": 1e-3}
    job = Training(network, recipe.optimizer, count, size, 0, options).job()
    with sharing("samples" if n_threads > 1 else None):
        assert count_allocations(train, network, job, 10) == count_allocations(train, network, job, 1000)


def test_prediction_allocates_nothing():
    model = fastnn.Model([2, 3, 2], random_state=0)
    for method in (model.predict, model.predict_proba):
        assert count_allocations(method, X[:1]) == count_allocations(method, X)
    loss = model.calculate_loss
    assert count_allocations(loss, X[:1], y[:1]) == count_allocations(loss, X, y)


@pytest.mark.parametrize("n_members", [1, 3])
def test_grids_allocate_nothing(n_members):
    networks = [Network((2, 3 + 5 * k, 2), ("tanh", "tanh"), np.dtype(float)) for k in range(n_members)]
    members = [(network, network.draw_parameters(np.random.RandomState(0))) for network in networks]
    grid = Grid(Committee(members, votes=n_members > 1))
    xs = np.linspace(-3, 3, 700)

    def paint_classes(n_rows):
        grid.classes(xs, xs[:n_rows], np.empty((n_rows, 700), np.uint8))

    def paint_values(n_rows):
        grid.values("margin", 0, xs, xs[:n_rows], np.empty((n_rows, 700)))

    def paint_certified(n_rows):
        tally = grid.certified_classes(xs, xs[:n_rows], np.empty((n_rows, 700), np.uint8), lambda: False)
        assert tally.points_evaluated + tally.points_filled == n_rows * 700

    for paint in (paint_classes, paint_values, paint_certified):
        assert count_allocations(paint, 1) == count_allocations(paint, 50) == count_allocations(paint, 600)


def test_the_counter_notices_allocations():
    @numba.njit
    def allocate(count):
        total = 0.0
        for _ in range(count):
            total += np.ones(3)[0]
        return total

    assert count_allocations(allocate, 30) > count_allocations(allocate, 1)
