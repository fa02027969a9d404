"""The contract of a training: what it is told (Job), what it keeps (Memory), what it measures (Records)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..network.description import Network, aligned_empty
from ..optimizers import SGD, Optimizer
from ..schedules import Constant, Schedule

__all__ = ["Job", "Memory", "Records", "is_sparse"]

Array = NDArray[Any]


def is_sparse(X: Any) -> bool:
    """Whether samples are a table of SciPy's, which need not be loaded to find out."""
    return not isinstance(X, np.ndarray)


class Records(NamedTuple):
    """What is kept of some passes (`Job.kept`): arrays (R,), (R,) and (R, layers) of float64."""

    losses: NDArray[np.float64]
    norms: NDArray[np.float64]
    ratios: NDArray[np.float64]


@dataclass(frozen=True)
class Job:
    """One training: checked data, and all that `Model.train` was told.

    Parameters
    ----------
    X : array or scipy.sparse CSR (n, inputs)
    y : array (n, targets)
        Of X's dtype; a column of labels where the loss is of labels.
    weights : array (n,) of float64
        Of the samples.
    num_passes : int
        Over the data.
    batch_size : int
        1 to n.
    averaged : bool
        Whether a batch's loss is divided by the sum of its weights.
    shuffled : bool
        Whether every pass takes the samples in a new order.
    seed : int
        0 to 2**64 - 1; of dropout.
    optimizer : Optimizer
    schedule : Schedule
    epsilon, reg_lambda, l1 : float
        As `Model.train` takes them.
    max_norm, clip_norm : float
        Likewise; 0 for none.
    average_share : float
        Of the parameters in their running average, 1 - ema_decay; 0 for no average.
    record_every : int
        Passes from one that is kept in the records to the next.
    n_threads : int
    of_objective : bool
        Whether the penalty ``reg_lambda / 2 |W|^2`` belongs to what is averaged, as scikit-learn has it: a
        step's is divided by the batch's sum of weights, and the records hold the objective, every batch
        times the number of its samples, in place of the losses, and neither norms nor ratios. Goes with
        `averaged`.
    loss_share : float
        What the losses are multiplied by in that objective. It is the recorded one; steps do not know of it.
    tol : float
    patience : int
        The training halts after a pass with which the objective, what is recorded of a pass by the number
        of samples, was not below its best by `tol` for more than so many passes (`Memory.plateau`). Only
        the passes that are kept in the records are looked at. 0: it does not.
    steps_before : int
        Steps that were done before this training, and that schedule, optimizer and dropout count on from.
    total_steps : int
        What the schedule takes for the last; 0 for the last of this training.
    """

    X: Array
    y: Array
    weights: NDArray[np.float64]
    num_passes: int
    batch_size: int
    averaged: bool = False
    shuffled: bool = False
    seed: int = 0
    optimizer: Optimizer = SGD()
    schedule: Schedule = Constant()
    epsilon: float = 0.01
    reg_lambda: float = 0.0
    l1: float = 0.0
    max_norm: float = 0.0
    clip_norm: float = 0.0
    average_share: float = 0.0
    record_every: int = 1
    n_threads: int = 1
    of_objective: bool = False
    loss_share: float = 1.0
    tol: float = 0.0
    patience: int = 0
    steps_before: int = 0
    total_steps: int = 0

    @property
    def n_batches(self) -> int:
        """Steps of a pass."""
        return -(-self.X.shape[0] // self.batch_size)

    @property
    def is_gathered(self) -> bool:
        """Whether the batches are gathered from the table, and not all samples as they lie."""
        return self.batch_size < self.X.shape[0] or self.is_sparse

    @property
    def is_sparse(self) -> bool:
        """Whether the table is."""
        return is_sparse(self.X)

    @property
    def kept(self) -> NDArray[np.int64]:
        """The passes of which records are kept: every `record_every`-th, from the first on, and the last."""
        passes = np.arange(0, self.num_passes, self.record_every)
        return np.unique(np.append(passes, self.num_passes - 1)) if self.num_passes else passes

    def record(self, n_pass: int) -> int | None:
        """Which record a pass is kept in; None for a pass that is not kept."""
        if n_pass % self.record_every == 0 or n_pass == self.num_passes - 1:
            return -(-n_pass // self.record_every)
        return None

    def rates(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Learning rates of `steps`, whose number the kernels rely on whoever wrote the schedule."""
        steps = steps + self.steps_before
        total = self.total_steps or max(1, self.steps_before + self.num_passes * self.n_batches)
        factors = np.asarray(self.schedule.factors(steps, total), np.float64)
        if factors.shape != steps.shape or not (np.isfinite(factors) & (factors >= 0)).all():
            raise ValueError(
                f"schedule must give a finite factor not below 0 for each of {steps.size} steps, got "
                f"{factors} of {self.schedule!r}"
            )
        return self.epsilon * factors

    def coefficients(self, first: int, count: int, dtype: np.dtype) -> Array:
        """The optimizer's numbers (count, C) for `count` steps from `first` on."""
        steps = np.arange(first, first + count)
        rates = self.rates(steps)
        numbers = self.optimizer.coefficients(rates, steps + self.steps_before)
        # The rules reckon with finite numbers, as large as they may be. Training flushes subnormal numbers:
        # what is smaller than the smallest normal one is 0 on either backend.
        limits = np.finfo(dtype)
        numbers = np.where(np.abs(numbers) < limits.tiny, 0.0, np.minimum(numbers, limits.max))
        return np.ascontiguousarray(numbers, dtype)

    def records(self, n_layers: int) -> Records:
        """Empty ones."""
        last = self.record(self.num_passes - 1) if self.num_passes else None
        n = 0 if last is None else last + 1
        return Records(np.zeros(n), np.zeros(n), np.zeros((n, n_layers)))


@dataclass
class Memory:
    """What a training keeps besides the parameters. Given to another, that one goes on where it ended.

    Parameters
    ----------
    optimizer : array (S, P)
        The optimizer's state.
    average : array (P,) or (0,)
        Of the parameters.
    order : array (n,) of int64
        Of the samples.
    generator : array (625,) of uint32
        Where new orders come from: a Mersenne Twister, as `fastnn_kernels.random.shuffle` has it.
    plateau : array (2,) of float64
        The best objective of a pass, and passes since one was below the best before it by `Job.tol`.
    """

    optimizer: Array
    average: Array
    order: NDArray[np.int64]
    generator: NDArray[np.uint32]
    plateau: NDArray[np.float64]

    @classmethod
    def fresh(
        cls, network: Network, parameters: Array, job: Job, generator: NDArray[np.uint32] | None = None
    ) -> Memory:
        """That of a training that begins with `parameters`; `generator` is asked if the job is shuffled."""
        values = job.optimizer.initial_state
        optimizer = aligned_empty(len(values) * network.n_parameters, network.dtype)
        optimizer = optimizer.reshape(len(values), network.n_parameters)
        optimizer[...] = np.array(values)[:, None] if values else 0
        return cls(
            optimizer,
            parameters.copy() if job.average_share else np.empty(0, network.dtype),
            np.arange(job.X.shape[0] if job.is_gathered else 0),
            np.zeros(625, np.uint32) if generator is None else generator,
            np.array([np.inf, 0.0]),
        )
