"""Trainings drawn at random by hypothesis, run on either backend, and compared."""

from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import strategies as st
from strategies import F64, find_recipe, keys, networks, recipes, sample_weights, seeds, targets
from trainings import begin, run_on

from fastnn.engine import limits
from fastnn.engine.job import Job
from fastnn.network.description import Network
from fastnn.optimizers import Adam, Momentum, Nesterov
from fastnn.reference.norm import EPS
from fastnn.schedules import Constant, ExponentialDecay, InverseTimeDecay

# Numbers of samples: few, a power of two, and one more than a power of two.
counts = st.one_of(st.integers(2, 40), st.sampled_from([128, 129, 513]))

either_backend = st.sampled_from(["numba", "numpy"])
# Values of `tol`, by which the objective must fall: 0, about as much as it falls, more than it ever falls.
tolerances = st.sampled_from([0.0, 1e-3, 0.02, 100.0])
# Optimizers whose step is proportional to the gradient.
LINEAR = {"sgd", "momentum", "nesterov"}
# How threads divide a step: by its samples, in shards, or by the units of its layers. None: not at all.
SHARED = ["samples", "units"]
shared = st.sampled_from(SHARED)
shared_or_not = st.sampled_from([None, *SHARED])


@contextmanager
def sharing(what):
    """Make threads divide even small steps by `what`, "units" or "samples"; None changes nothing."""
    with pytest.MonkeyPatch.context() as patch:
        if what:
            patch.setattr(limits, "SHARED_OPERATIONS", 0)
            patch.setattr(limits, "MIN_SHARD", 4)
            patch.setattr(limits, "TEAM_SAMPLES", 10**9 if what == "units" else 0)
            patch.setattr(limits, "TEAM_TRAFFIC", 0.0)
        yield


class Training(NamedTuple):
    network: Network
    count: int
    batch_size: int
    data_seed: int
    options: dict

    def job(self, **changes) -> Job:
        network, random = self.network, np.random.default_rng(self.data_seed)
        X = random.normal(size=(self.count, network.n_inputs)).astype(network.dtype)
        y = targets(network.loss, network.n_outputs, self.count, network.dtype, random)
        weights = sample_weights(self.count, random)
        weights[0] = 1.5  # at least one weight is not 0
        options = {"optimizer": find_recipe(network).optimizer, **self.options, **changes}
        return Job(X, y, weights, batch_size=self.batch_size, **options)


@st.composite
def trainings(draw, recipes=recipes):
    """Return a training with random values of every setting that a job has."""
    network = draw(networks(recipes))
    recipe = find_recipe(network)
    count = size = draw(counts)
    if recipe.gathered:
        # The last batch of an epoch is full, or short, or a single sample. An epoch has at most 74 batches:
        # steps of the reference take the most time of all.
        size = draw(st.sampled_from([-(-count // 65), count - 1, (count + 1) // 2, min(7, count - 1)]))
    n_batches = -(-count // size)
    averaged = draw(st.booleans())
    # Higher rates magnify rounding errors without limit. A step that is proportional to the gradient grows
    # with the number of samples in its sum, and a momentum lengthens steps by the factor 1 / (1 - momentum).
    epsilon = 0.05 if averaged or recipe.optimizer.name not in LINEAR else 0.05 / size
    epsilon *= 1 - getattr(recipe.optimizer, "momentum", 0.0)
    # Switches that reach kernels as coefficients, and compile no further kernels.
    optimizer, switched = recipe.optimizer, draw(st.booleans())
    if isinstance(optimizer, Adam):
        optimizer = replace(optimizer, eps_hat=switched)
    elif isinstance(optimizer, Momentum | Nesterov):
        optimizer = replace(optimizer, rate_in_velocity=switched)
    options = {
        "num_passes": draw(st.integers(0, 12 if n_batches == 1 else 4 if n_batches < 10 else 1)),
        "optimizer": optimizer,
        "reduction": "mean" if averaged else "sum",
        "shuffle": recipe.gathered and draw(st.booleans()),
        "seed": draw(keys),
        "epsilon": epsilon,
        "schedule": draw(st.sampled_from([Constant(), InverseTimeDecay(), ExponentialDecay()])),
        "reg_lambda": draw(st.sampled_from([0.0, 0.5])),
        # The derivative of |p| jumps at 0, and in float32 rounding may decide on which side p lies.
        "l1": draw(st.sampled_from([0.0, 0.03])) if network.dtype == F64 else 0.0,
        "max_norm": draw(st.sampled_from([0.0, 0.6, 5.0])),
        "clip_norm": draw(st.sampled_from([0.0, 0.5, 100.0])),
        "ema_decay": draw(st.sampled_from([None, 0.8])),
        "record_every": draw(st.integers(1, 3)),
        "of_objective": averaged and draw(st.booleans()),
        "loss_share": draw(st.sampled_from([1.0, 0.25])),
        "tol": draw(tolerances),
        "patience": draw(st.integers(0, 2)),
        "steps_before": draw(st.sampled_from([0, 1, 1000])),
        "total_steps": draw(st.sampled_from([0, 5000])),
    }
    return Training(network, count, size, draw(seeds), options)


def train(backend: str, network: Network, job: Job, rounds_per_call=None, nudge=0.0):
    """Return the arrays of a training after all epochs, or after the epoch at which it halted."""
    trainer, results = begin(backend, network, job, nudge)
    run_on(trainer, job.num_passes, rounds_per_call)
    return results


def assert_same_bits(one, other):
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def count_fewest_samples(job):
    """Return the smallest number of samples with a weight that a batch can have, whatever the order."""
    smallest = job.X.shape[0] % job.batch_size or job.batch_size
    return smallest - np.count_nonzero(job.weights == 0)


def largest(results):
    """Return the largest magnitude in each array of real numbers, which are compared within bounds."""
    return {
        name: np.abs(values).max(initial=0)
        for name, values in results.items()
        if name != "plateau" and values.dtype.kind == "f"
    }


def compute_expected(network, job):
    """Return the reference's arrays by name, and the largest permitted error of the kernels' real arrays."""
    expected = train("numpy", network, job)
    # Batch normalisation magnifies rounding errors where the samples of a batch are nearly alike: measure by
    # how much a change of the first parameters by an ulp or two changes the results.
    nudges = [k * np.finfo(network.dtype).eps for k in (-2, -1, 1, 2)] if network.batch_norm else []
    nudged = [train("numpy", network, job, nudge=nudge) for nudge in nudges]
    info = np.finfo(network.dtype)
    error = 50 * info.eps * (1 + job.num_passes * job.n_batches)
    if network.batch_norm and count_fewest_samples(job) < 3:
        # In a batch of one or two samples variances may be 0: normalised sums are then rounding errors,
        # divided by the root of the constant that is added to variances.
        error /= np.sqrt(EPS)
    bounds = {}
    for name, size in largest(expected).items():
        moved = max((np.abs(other[name] - expected[name]).max(initial=0) for other in nudged), default=0.0)
        # Kernels flush subnormal numbers to 0.
        bounds[name] = error * max(1.0, size) + 20 * moved + 4 * info.tiny
    return expected, bounds


def assert_close(ours, expected, bounds):
    """Assert that arrays of `train` agree: real numbers within bounds, integers exactly.

    Of the plateau, the number of epochs is compared, and not the best objective, which is infinite at first.
    """
    for name, values in expected.items():
        if name in bounds:
            np.testing.assert_allclose(ours[name], values, rtol=0, atol=bounds[name], err_msg=name)
        elif name != "plateau":
            np.testing.assert_array_equal(ours[name], values, err_msg=name)
    assert ours["plateau"][1] == expected["plateau"][1]


def has_clear_plateau(job, losses, bound):
    """Return True if rounding cannot change which epochs are an improvement."""
    best = np.minimum.accumulate(losses)[:-1] - job.tol * job.X.shape[0]
    return (np.abs(losses[1:] - best) > 2 * bound).all()
