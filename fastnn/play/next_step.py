"""The next step of a training that rests, in numbers: gradient of its batch, optimizer state, and result."""

from __future__ import annotations

import copy
import sys
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine import get_backend
from ..engine.job import Job, Memory
from ..network.description import Network
from ..optimizers import SGD
from ..schedules import Constant
from ..training.loop import Training

Array = NDArray[Any]

# Learning rate of the step from which the gradient is read: a power of two, which rounds nothing, and large,
# so that the parameters' own rounding is small beside it.
PROBE_RATE = 2.0**20


def next_step(network: Network, training: Training) -> tuple[dict[str, Any], dict[str, Array]]:
    """Do the next step of a training on copies, on the NumPy reference; return its numbers.

    The header has the coefficients: rate, number of samples, penalties and hyperparameters. The arrays have
    for each parameter the gradient of the batch, the optimizer's numbers before the step, and the parameter
    after it. The training is between two chunks, and its optimizer is not L-BFGS.
    """
    job, trainer = training.job, training.trainer
    step, parameters = trainer.n_steps, trainer.current
    memory: Memory = trainer.memory  # type: ignore[attr-defined]
    n_pass, batch = divmod(step, job.n_batches)
    job = replace(job, steps_done=step, num_passes=max(job.num_passes, n_pass + 1), record_every=sys.maxsize)
    bare = replace(job, reg_lambda=0.0, l1=0.0, max_norm=0.0, ema_decay=None)
    probe = replace(bare, optimizer=SGD(), schedule=Constant(), epsilon=PROBE_RATE)

    def stepped(job: Job) -> Array:
        result = parameters.copy()
        copies = trainer.statistics.copy(), job, copy.deepcopy(memory)
        get_backend("numpy").trainer(network, result, *copies).run(job.num_passes, step + 1)
        return result

    arrays = {"g": (parameters - stepped(probe)) / PROBE_RATE, "next": stepped(job)}
    arrays |= {f"state.{k}": values for k, values in enumerate(memory.optimizer)}
    header = {
        "rate": float(job.rates(np.array([step]))[0]),
        "step": job.steps_before + step,
        "n": min(job.batch_size, job.n_samples - batch * job.batch_size),
        "l2": job.reg_lambda + job.optimizer.l2,
        "l1": job.l1,
        **job.optimizer.hyperparameters,
    }
    return header, {f"update.{name}": values.astype(np.float32) for name, values in arrays.items()}
