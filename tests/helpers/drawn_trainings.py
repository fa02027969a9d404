"""Trainings drawn at random by hypothesis, and run on either backend."""

from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import strategies as st
from strategies import F64, keys, networks, recipes, sample_weights, seeds, targets
from trainings import begin, run_on

from fastnn.engine import limits
from fastnn.engine.job import Job
from fastnn.network.description import Network
from fastnn.optimizers import Adam, Momentum, Nesterov, Optimizer
from fastnn.schedules import Constant, ExponentialDecay, InverseTimeDecay
from fastnn.training.options import SETTINGS

# Numbers of samples: few, a power of two, and one more than a power of two.
counts = st.one_of(st.integers(2, 40), st.sampled_from([128, 129, 513]))

either_backend = st.sampled_from(["numba", "numpy"])
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
    optimizer: Optimizer
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
        options = {"optimizer": self.optimizer, **self.options, **changes}
        return Job(X, y, weights, batch_size=self.batch_size, **options)


# Options of a job that may have any value, whatever the recipe and the data are.
ANY_OPTIONS = {
    "seed": keys,
    "schedule": st.sampled_from([Constant(), InverseTimeDecay(), ExponentialDecay()]),
    "reg_lambda": st.sampled_from([0.0, 0.5]),
    "max_norm": st.sampled_from([0.0, 0.6, 5.0]),
    "clip_norm": st.sampled_from([0.0, 0.5, 100.0]),
    "ema_decay": st.sampled_from([None, 0.8]),
    "record_every": st.integers(1, 3),
    "loss_share": st.sampled_from([1.0, 0.25]),
    # The objective must fall by 0, by about as much as it falls, by more than it ever falls.
    "tol": st.sampled_from([0.0, 1e-3, 0.02, 100.0]),
    "patience": st.integers(0, 2),
    "steps_before": st.sampled_from([0, 1, 1000]),
    "total_steps": st.sampled_from([0, 5000]),
}


def batch_sizes(count):
    """Draw a size that leaves a full last batch, a short one or a single sample, and at most 74 batches.

    Steps of the reference take the most time of all.
    """
    return st.sampled_from([-(-count // 65), count - 1, (count + 1) // 2, min(7, count - 1)])


def switch_coefficient(optimizer, is_switched):
    """Return the optimizer with a switch that reaches kernels as a coefficient: none is compiled for it."""
    if isinstance(optimizer, Adam):
        return replace(optimizer, eps_hat=is_switched)
    if isinstance(optimizer, Momentum | Nesterov):
        return replace(optimizer, rate_in_velocity=is_switched)
    return optimizer


def find_rate(optimizer, batch_size, is_mean):
    """Return a low learning rate: higher ones magnify rounding errors without limit.

    A step that is proportional to the gradient grows with the number of samples in its sum, and a momentum
    lengthens steps by the factor 1 / (1 - momentum).
    """
    rate = 0.05 if is_mean or optimizer.name not in LINEAR else 0.05 / batch_size
    return rate * (1 - getattr(optimizer, "momentum", 0.0))


@st.composite
def trainings(draw, recipes=recipes):
    """Return a training with random values of every option that decides the result."""
    recipe = draw(recipes)
    network = draw(networks(st.just(recipe)))
    optimizer = switch_coefficient(recipe.optimizer, draw(st.booleans()))
    count = draw(counts)
    size = draw(batch_sizes(count)) if recipe.gathered else count
    n_batches, is_mean = -(-count // size), draw(st.booleans())
    options = draw(st.fixed_dictionaries(ANY_OPTIONS)) | {
        "num_passes": draw(st.integers(0, 12 if n_batches == 1 else 4 if n_batches < 10 else 1)),
        "shuffle": recipe.gathered and draw(st.booleans()),
        "reduction": "mean" if is_mean else "sum",
        "of_objective": is_mean and draw(st.booleans()),
        "epsilon": find_rate(optimizer, size, is_mean),
        # The derivative of |p| jumps at 0, and in float32 rounding may decide on which side p lies.
        "l1": draw(st.sampled_from([0.0, 0.03])) if network.dtype == F64 else 0.0,
    }
    left_out = {*SETTINGS} - {*options, "batch_size", "optimizer"}
    assert not left_out, f"add {left_out} to ANY_OPTIONS of drawn_trainings.py"
    return Training(network, optimizer, count, size, draw(seeds), options)


def train(backend: str, network: Network, job: Job, steps_per_call=None, nudge=0.0):
    """Return the arrays of a training after all epochs, or after the epoch at which it halted."""
    trainer, results = begin(backend, network, job, nudge)
    run_on(trainer, job.num_passes, steps_per_call)
    return results
