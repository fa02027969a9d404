"""Hooks that end chunks after a number of steps, in the middle of an epoch."""

import numpy as np
import pytest
from sklearn.datasets import make_moons

import fastnn
from fastnn.training.loop import Hook

X, y = make_moons(50, noise=0.2, random_state=0)
LBFGS = {"optimizer": "lbfgs", "num_passes": 6}
MINIBATCHES = {"batch_size": 8, "num_passes": 3, "optimizer": "adam", "random_state": 0}


class StopAtSteps(Hook):
    """Hook that ends chunks at certain steps, and records steps and epochs at the end of every chunk."""

    def __init__(self, stops):
        self.stops, self.seen = stops, []

    def next_step(self, training):
        """Return the next stop, or None after the last."""
        return next((stop for stop in self.stops if stop > training.trainer.n_steps), None)

    def after_chunk(self, training):
        """Record the numbers of steps and epochs done."""
        self.seen.append((training.trainer.n_steps, training.n_passes))
        return False


def trained(backend, options, hooks=(), **network):
    model = fastnn.Model([2, 3, 2], backend=backend, random_state=0, **network)
    history = model.train(X, y, callbacks=list(hooks), **options)
    return model, history


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize(
    ("options", "network", "steps_per_epoch"),
    [
        ({"num_passes": 5}, {}, 1),
        (MINIBATCHES, {}, 7),
        (MINIBATCHES, {"batch_norm": True, "dropout": 0.3}, 7),
        (LBFGS, {}, 1),
    ],
    ids=["whole", "minibatches", "normalised", "lbfgs"],
)
def test_chunks_end_at_the_steps_of_hooks_and_change_no_bit(backend, options, network, steps_per_epoch):
    undisturbed, history = trained(backend, options, **network)
    total = options["num_passes"] * steps_per_epoch
    hooks = StopAtSteps(range(1, total + 1)), StopAtSteps([4, total + 100])
    model, other = trained(backend, options, hooks, **network)
    steps = [step for step, _ in hooks[0].seen]
    assert [step for step in range(1, total + 1) if step not in steps] == []
    assert all(n_passes == step // steps_per_epoch for step, n_passes in hooks[0].seen)
    assert (model._parameters == undisturbed._parameters).all()
    assert (model._statistics == undisturbed._statistics).all()
    for name in ("loss", "gradient_norm", "update_ratio"):
        np.testing.assert_array_equal(getattr(history, name), getattr(other, name))


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_the_earliest_stop_counts(backend):
    first, second = StopAtSteps([3, 9]), StopAtSteps([5])
    trained(backend, MINIBATCHES, (first, second))
    steps = [step for step, _ in first.seen]
    assert {3, 5, 9} <= set(steps)  # a chunk may also end earlier, after 50 ms
    assert steps[-1] == 21
