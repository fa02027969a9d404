"""Hints at targets out of reach, a loss that has risen, and a rate too high for a sum over the samples.

Too high a rate saturates units in the first steps, or makes the loss oscillate for the whole training. The
losses alone look the same for data that are hard to learn. Therefore a short trial with lower rates, from the
same initial parameters, decides about the hint. The trial runs only if the loss has hardly fallen and the
rate is higher than the tutorial's for the same number of samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..engine.job import Job, Memory
from ..engine.protocol import Backend
from ..network.description import Array, Network
from ..optimizers import SGD, Momentum, Nesterov
from ..schedules import Constant
from .divergence import DivergenceError
from .history import History, record_every
from .loop import run_training

# Product of learning rate and number of samples in the tutorial: 0.01 times 200. A training with a smaller
# product gets no hint. Trials have this product and a fifth of it, since large values in X need a lower rate.
USUAL_PRODUCT = 2.0
TRIED_PRODUCTS = (USUAL_PRODUCT, USUAL_PRODUCT / 5)
# A loss below this fraction of its first value has fallen enough: no hint.
FALLEN_FRACTION = 0.25
# A trial whose loss is below this fraction of the training's loss is better by more than chance.
BETTER_FRACTION = 0.75
# A loss of more than this multiple of its first value has risen, by more than batches and dropout vary it.
RISEN_MULTIPLE = 10
# Ranges of the activations that have bounds other than a small negative value.
RANGES = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "elu": (-1.0, np.inf)}
RANGES |= dict.fromkeys(("relu", "softplus"), (0.0, np.inf))
# Fewest and most epochs of a trial, and most FLOPs, about 0.1 s. Fewer epochs prove nothing.
MIN_EPOCHS, MAX_EPOCHS, MAX_OPERATIONS = 100, 1000, 5e9


def find_range_hint(network: Network, y: Array) -> str | None:
    """Return a hint if the outputs, whose errors the loss measures, cannot reach some targets, else None."""
    activation, loss = network.activations[-1], network.loss
    if activation not in RANGES or loss.of_labels or loss.output != "identity":
        return None
    (least, most), (lowest, highest) = RANGES[activation], (float(y.min()), float(y.max()))
    if least <= lowest and highest <= most:
        return None
    reach = f"from {least:g} to {most:g}" if most < np.inf else f"of at least {least:g}"
    return (
        f"y holds targets from {lowest:.4g} to {highest:.4g}, but output_activation={activation!r} has "
        f'outputs {reach}: choose output_activation="identity", or rescale y'
    )


def may_be_too_high(job: Job) -> bool:
    """Return True if the job sums the gradient over enough samples that its rate may be too high."""
    return (
        type(job.optimizer) in (SGD, Momentum, Nesterov)
        and not (job.is_mean or job.clip_norm)
        and job.batch_size == job.n_samples
        and job.epsilon * job.total_weight > USUAL_PRODUCT * (1 + 1e-9)
    )


def find_rise_hint(losses: Sequence[float] | NDArray[np.float64], rate: str) -> str | None:
    """Return a hint to lower the rate, an argument with its value, if the loss has risen far, else None."""
    if not len(losses) or not losses[-1] > RISEN_MULTIPLE * losses[0] > 0:
        return None
    return (
        f"the loss has risen from {losses[0]:.4g} to {losses[-1]:.4g}: lower {rate}, or standardise X, and y "
        "if it holds large numbers"
    )


def find_rate_hint(
    backend: Backend, network: Network, parameters: Array, statistics: Array, job: Job, history: History
) -> str | None:
    """Return a hint that names a lower rate if a trial with it beats the training by far, else None.

    The trials begin with the initial `parameters` and `statistics` of the training, which are not changed.
    `may_be_too_high` is True for the job.
    """
    if not len(history):
        return None
    loss = min(np.median(history.loss[len(history) // 2 :]), history.loss[-1])
    operations = network.training_operations * job.n_samples
    n_tried = min(history.n_passes, MAX_EPOCHS, int(MAX_OPERATIONS / operations))
    if n_tried < MIN_EPOCHS or loss < FALLEN_FRACTION * history.loss[0]:
        return None
    total = job.total_weight
    trials = []
    for product in TRIED_PRODUCTS:
        epsilon = float(f"{product / total:.1g}")  # one significant digit, as a user would write it
        trial = replace(
            job, epsilon=epsilon, schedule=Constant(), num_passes=n_tried, record_every=record_every(n_tried)
        )
        trials.append(
            (_find_last_loss(backend, network, parameters.copy(), statistics.copy(), trial), epsilon)
        )
    tried, epsilon = min(trials)
    if not tried < BETTER_FRACTION * loss:
        return None
    return (
        f"epsilon={job.epsilon:g} seems too high for the sum of the gradients of {job.n_samples} samples: "
        f"the loss ended at {history.loss[-1]:.4g}, and with epsilon={epsilon:g} it is {tried:.4g} after "
        f"{n_tried} epochs. Lower epsilon, or choose reduction='mean', with which a rate suits any number of "
        "samples."
    )


def _find_last_loss(
    backend: Backend, network: Network, parameters: Array, statistics: Array, job: Job
) -> float:
    """Train in place; return the mean loss of the last epoch, or infinity if the training diverges."""
    trainer = backend.trainer(network, parameters, statistics, job, Memory.fresh(network, parameters, job))
    try:
        run_training(trainer, job)
    except DivergenceError:
        return np.inf
    return float(trainer.records.losses[-1] / job.total_weight)
