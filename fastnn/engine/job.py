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
    """Return True if samples are a CSR matrix of SciPy's, which need not be loaded to find out."""
    return not isinstance(X, np.ndarray)


class Records(NamedTuple):
    """Measurements of the passes that are kept (`Job.kept`), all of float64; the kernels fill them.

    losses (R,), sums over a pass; norms (R,), of the gradient of the last step; ratios (R, layers), of the
    change of the weights in the last step to the weights. Where a job is of the objective, losses alone are
    filled, and hold the objective.
    """

    losses: NDArray[np.float64]
    norms: NDArray[np.float64]
    ratios: NDArray[np.float64]


@dataclass(frozen=True)
class Job:
    """One training: checked data, and every setting. The kernels' settings are derived from the fields.

    Parameters
    ----------
    X : array or scipy.sparse CSR (n, inputs)
    y : array (n, targets)
        Targets of X's dtype; a column of labels where the loss is of labels.
    weights : array (n,) of float64
        Weights of the samples.
    num_passes : int
        Number of passes over the data.
    batch_size : int
        1 to n.
    averaged : bool
        True divides the loss of a batch by the sum of its weights.
    shuffled : bool
        True takes the samples in a new order in every pass.
    seed : int
        Seed of dropout, 0 to 2**64 - 1.
    optimizer : Optimizer
    schedule : Schedule
    epsilon, reg_lambda, l1 : float
        As in `Model.train`.
    max_norm, clip_norm : float
        As in `Model.train`; 0 for none.
    average_share : float
        Share of the parameters in their running average, 1 - ema_decay; 0 for no average.
    record_every : int
        Passes from one that is kept in the records to the next.
    n_threads : int
    of_objective : bool
        True counts the penalty ``reg_lambda / 2 |W|^2`` among what is averaged, as scikit-learn does: a step
        divides it by the batch's sum of weights, and the records hold the objective, that of every batch
        times its number of samples, in place of the losses, and neither norms nor ratios. Goes with
        `averaged`.
    loss_share : float
        Factor of the losses in the recorded objective. Steps do not know of it.
    tol : float
        Least fall of the objective that counts as an improvement.
    patience : int
        Passes without an improvement after which the training halts (`Memory.plateau`), where the objective
        of a pass is its record by the number of samples. Only passes that are kept in the records count.
        0: the training does not halt.
    steps_before : int
        Steps done before this training, from which schedule, optimizer and dropout count on.
    total_steps : int
        Number of steps that the schedule counts on; 0 for the last of this training.
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
    def n_samples(self) -> int:
        """Number of samples."""
        return self.X.shape[0]

    @property
    def n_targets(self) -> int:
        """Number of targets of a sample."""
        return self.y.shape[1]

    @property
    def n_batches(self) -> int:
        """Number of steps of a pass."""
        return -(-self.X.shape[0] // self.batch_size)

    @property
    def last_pass(self) -> int:
        """Number of the last pass, counted from 0."""
        return self.num_passes - 1

    @property
    def is_gathered(self) -> bool:
        """True if batches are gathered from the table; else the one batch is all samples as they lie."""
        return self.batch_size < self.X.shape[0] or self.is_sparse

    @property
    def is_sparse(self) -> bool:
        """True if X is a CSR matrix."""
        return is_sparse(self.X)

    @property
    def weight_scale(self) -> float:
        """Factor of the weights in a step on all samples."""
        return float(1 / self.weights.sum()) if self.averaged else 1.0

    @property
    def common_weight(self) -> float:
        """Weight of every sample, or 0 where the weights differ."""
        return float(self.weights[0]) if (self.weights == self.weights[0]).all() else 0.0

    @property
    def weight_decay(self) -> float:
        """Decoupled weight decay of the optimizer."""
        return self.optimizer.l2

    @property
    def kept(self) -> NDArray[np.int64]:
        """Passes of which records are kept: every `record_every`-th, from the first on, and the last."""
        passes = np.arange(0, self.num_passes, self.record_every)
        return np.unique(np.append(passes, self.num_passes - 1)) if self.num_passes else passes

    def record(self, n_pass: int) -> int | None:
        """Return the index of the record of a pass, or None for a pass that is not kept."""
        if n_pass % self.record_every == 0 or n_pass == self.num_passes - 1:
            return -(-n_pass // self.record_every)
        return None

    def rates(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the learning rates of steps.

        Raises
        ------
        ValueError
            If the schedule, which may be a user's, does not give a finite factor for each step: the kernels
            rely on the number.
        """
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
        """Return the optimizer's coefficients (count, C) for `count` steps from `first` on."""
        steps = np.arange(first, first + count)
        rates = self.rates(steps)
        numbers = self.optimizer.coefficients(rates, steps + self.steps_before)
        # The rules compute with finite numbers: cap what the dtype cannot hold. Training flushes subnormal
        # numbers: make them 0 on either backend.
        limits = np.finfo(dtype)
        numbers = np.where(np.abs(numbers) < limits.tiny, 0.0, np.minimum(numbers, limits.max))
        return np.ascontiguousarray(numbers, dtype)

    def records(self, n_layers: int) -> Records:
        """Return records of zeros."""
        last = self.record(self.num_passes - 1) if self.num_passes else None
        n = 0 if last is None else last + 1
        return Records(np.zeros(n), np.zeros(n), np.zeros((n, n_layers)))


@dataclass
class Memory:
    """Arrays that a training keeps besides the parameters; another training goes on with them.

    Parameters
    ----------
    optimizer : array (S, P)
        State of the optimizer.
    average : array (P,) or (0,)
        Running average of the parameters.
    order : array (n,) of int64
        Order of the samples.
    generator : array (625,) of uint32
        Generator of new orders: a Mersenne Twister, as `fastnn_kernels.random.shuffle` has it.
    plateau : array (2,) of float64
        The best objective of a pass, and the number of passes since one was below the best before by
        `Job.tol`.
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
        """Return the memory of a training that begins with `parameters`.

        Parameters
        ----------
        network : Network
        parameters : array (P,)
        job : Job
        generator : array (625,) of uint32, optional
            Needed if the job is shuffled.
        """
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
