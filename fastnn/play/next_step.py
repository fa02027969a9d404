"""The next step of a training that rests, in numbers: gradient of its batch, optimizer state, and result."""

from __future__ import annotations

import copy
import sys
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..engine.job import Memory
from ..engine.numpy import NumpyTrainer
from ..network.description import Network
from ..training.loop import Training

Array = NDArray[Any]


def next_step(network: Network, training: Training) -> tuple[dict[str, Any], dict[str, Array]]:
    """Do the next step of a training on copies, on the NumPy reference; return its numbers.

    The header has the coefficients: rate, number of samples, penalties and hyperparameters. The arrays have
    for each parameter the gradient of the batch, the optimizer's numbers before the step, and the parameter
    after it. The training is between two chunks, and its optimizer is not L-BFGS.
    """
    job, trainer = training.job, training.trainer
    step, parameters = trainer.n_steps, trainer.current.copy()
    memory: Memory = copy.deepcopy(trainer.memory)  # type: ignore[attr-defined]
    arrays = {f"state.{k}": values.copy() for k, values in enumerate(memory.optimizer)}
    n_pass, batch = divmod(step, job.n_batches)
    job = replace(job, steps_done=step, num_passes=max(job.num_passes, n_pass + 1), record_every=sys.maxsize)
    twin = NumpyTrainer(network, parameters, trainer.statistics.copy(), job, memory)
    twin.run(job.num_passes, step + 1)
    arrays |= {"g": twin.gradient, "next": parameters}
    header = {
        "rate": float(job.rates(np.array([step]))[0]),
        "step": job.steps_before + step,
        "n": min(job.batch_size, job.n_samples - batch * job.batch_size),
        "l2": job.reg_lambda + job.optimizer.l2,
        "l1": job.l1,
        **job.optimizer.hyperparameters,
    }
    return header, {f"update.{name}": values.astype(np.float32) for name, values in arrays.items()}
