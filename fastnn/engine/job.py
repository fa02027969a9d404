"""Data structures of a training: Job (data and settings) and Memory (state)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastnn_kernels.compiler.interrupts import let_interrupts_through

from ..network.description import Array, Network, allocate_zeros
from ..optimizers import SGD, Optimizer
from ..schedules import Constant, Schedule
from ..system.validation import check_layout

# An array, or a CSR matrix or array of scipy.sparse, which has no types.
MatrixLike: TypeAlias = Any


def is_sparse(X: MatrixLike) -> bool:
    """Return True if X is a SciPy CSR matrix: checked samples are otherwise NumPy arrays."""
    return not isinstance(X, np.ndarray)


@dataclass(frozen=True)
class Job:
    """Checked data and all settings of one training.

    The kernels' settings are copied from the fields by name.
    """

    X: Array  # (n, inputs): samples, an array or a SciPy CSR matrix
    y: Array  # (n, targets), of X's dtype; one column of class numbers for the losses of labels
    weights: NDArray[np.float64]  # (n,): weights of the samples
    num_passes: int  # number of epochs, passes over the data
    batch_size: int  # number of samples in a step, 1 to n
    reduction: str = "sum"  # "sum", or "mean", which divides the loss of a batch by the sum of its weights
    shuffle: bool = False  # True draws a new order for every epoch, unless a batch holds all samples
    seed: int = 0  # of the dropout masks, 0 to 2**64 - 1
    optimizer: Optimizer = SGD()
    schedule: Schedule = Constant()
    epsilon: float = 0.01  # learning rate
    reg_lambda: float = 0.0  # strengths of the L2 and L1 regularisation of the weights
    l1: float = 0.0
    max_norm: float = 0.0  # largest norms of the weights into a unit and of a step's gradient; 0 for no limit
    clip_norm: float = 0.0
    ema_decay: float | None = None  # decay of a running average of the parameters; None for no average
    record_every: int = 1  # distance, in epochs, between two kept epochs
    n_threads: int = 1  # threads that share a step, at most; 0 for as many as are fastest (`ThreadChoice`)
    # True treats the penalty ``reg_lambda / 2 |W|^2`` as scikit-learn does: a step divides the penalty, like
    # the loss, by the batch's sum of sample weights. The records then hold the sum over the batches of
    # objective times number of samples instead of the losses, and neither norms nor ratios. Requires the
    # reduction "mean".
    of_objective: bool = False
    # Factor of the losses in the recorded objective, and in the value that L-BFGS minimises; the gradients do
    # not have this factor.
    loss_share: float = 1.0
    # Largest loss of a sample, or of a label, in these two; 0 for no limit. Only L-BFGS limits losses, and
    # only cross-entropies without smoothing.
    max_loss: float = 0.0
    tol: float = 0.0  # smallest decrease of the objective that counts as an improvement
    # Number of epochs without an improvement of the objective after which the training halts
    # (`Memory.plateau`). An epoch's objective is its record divided by the number of samples; only kept
    # epochs count. 0 never halts the training.
    patience: int = 0
    steps_before: int = 0  # steps before this training, from which schedule, optimizer and dropout count on
    total_steps: int = 0  # length of the run in steps for the schedule; 0 if it ends with this training
    # Number of steps of this training that have been done: the trainer begins after them, and they count
    # among its epochs. They are not part of `steps_before`.
    steps_done: int = 0

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
        """Number of steps of an epoch."""
        return -(-self.X.shape[0] // self.batch_size)

    @property
    def last_pass(self) -> int:
        """Number of the last epoch, counted from 0."""
        return self.num_passes - 1

    def last_step(self, last_pass: int, last_step: int | None) -> int:
        """Return the number of steps that ends a chunk: `last_pass` epochs of steps, up to `last_step`."""
        steps = last_pass * self.n_batches
        return steps if last_step is None else min(steps, last_step)

    @property
    def is_gathered(self) -> bool:
        """True if batches are gathered from rows of X; False if the only batch is all samples in order."""
        return self.batch_size < self.X.shape[0] or self.is_sparse

    @property
    def is_sparse(self) -> bool:
        """True if X is a CSR matrix."""
        return is_sparse(self.X)

    @property
    def is_mean(self) -> bool:
        """True if the loss of a batch is divided by the sum of its weights."""
        return self.reduction == "mean"

    @property
    def shuffled(self) -> bool:
        """True if a new order of the samples is drawn for every epoch."""
        return self.shuffle and self.batch_size < self.n_samples

    @property
    def average_weight(self) -> float:
        """Fraction of the new parameters in their running average; 0 for no average."""
        return 0.0 if self.ema_decay is None else 1.0 - self.ema_decay

    @cached_property
    def weight_scale(self) -> float:
        """Factor of the sample weights in a step on all samples: 1, or for averaged losses 1 / their sum."""
        return 1 / self.total_weight if self.is_mean else 1.0

    @cached_property
    def total_weight(self) -> float:
        """Sum of the weights."""
        return float(self.weights.sum())

    @cached_property
    def common_weight(self) -> float:
        """Weight of every sample if all weights are equal and batches are gathered, else 0."""
        is_common = self.is_gathered and (self.weights == self.weights[0]).all()
        return float(self.weights[0]) if is_common else 0.0

    @property
    def weight_decay(self) -> float:
        """Coupled weight decay of the optimizer, an L2 penalty on all parameters."""
        return self.optimizer.l2

    @cached_property
    def kept(self) -> NDArray[np.int64]:
        """Numbers (R,) of the kept epochs: every `record_every`-th from epoch 0 on, and the last."""
        passes, last = np.arange(0, self.num_passes, self.record_every, dtype=np.int64), self.num_passes - 1
        return np.append(passes, last) if last % self.record_every and self.num_passes else passes

    def record(self, n_pass: int) -> int | None:
        """Return the index of an epoch's record, or None if the epoch is not kept."""
        if n_pass % self.record_every == 0 or n_pass == self.num_passes - 1:
            return -(-n_pass // self.record_every)
        return None

    def rates(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the learning rates of some steps; raise ValueError for an invalid factor of a schedule."""
        if type(self.schedule) is Constant:  # no factors to compute and check
            return np.full(steps.shape, float(self.epsilon))
        steps = steps + self.steps_before
        total = self.total_steps or max(1, self.steps_before + self.num_passes * self.n_batches)
        with let_interrupts_through():  # a schedule may be a user's function
            given = np.asarray(self.schedule.factors(steps, total))
        # Complex numbers would lose a part, and text is not a number even if a float can be read from it.
        factors = np.asarray(given, np.float64) if given.dtype.kind in "fiubO" else np.empty(0)
        if factors.shape != steps.shape or not (np.isfinite(factors) & (factors >= 0)).all():
            raise ValueError(
                f"schedule must give a finite factor of at least 0 for each of {steps.size} steps, got "
                f"{given} of {self.schedule!r}"
            )
        return self.epsilon * factors

    def coefficients(self, first: int, count: int, dtype: np.dtype) -> Array:
        """Return the optimizer's coefficients (count, C) for `count` steps from `first` on."""
        steps = np.arange(first, first + count, dtype=np.int64)
        numbers = self.optimizer.coefficients(self.rates(steps), steps + self.steps_before)
        return fit_coefficients(numbers, dtype)


def fit_coefficients(numbers: NDArray[np.float64], dtype: np.dtype) -> Array:
    """Return an optimizer's coefficients in the dtype of the parameters.

    Update rules need finite coefficients: numbers that the dtype cannot hold are capped. The kernels flush
    subnormal numbers to 0: so does this function, for both backends.
    """
    finfo = np.finfo(dtype)
    fitted = np.minimum(numbers, finfo.max)
    fitted[np.abs(numbers) < finfo.smallest_normal] = 0.0
    return np.ascontiguousarray(fitted, dtype)


def make_optimizer_state(network: Network, optimizer: Optimizer) -> Array:
    """Return the state (S, P) of an optimizer that has done no step."""
    values = optimizer.initial_state
    state = allocate_zeros(len(values) * network.n_parameters, network.dtype)
    state = state.reshape(len(values), network.n_parameters)
    if any(values):
        state[...] = np.array(values)[:, None]
    return state


@dataclass
class Memory:
    """State of a training besides the parameters, from which another training can continue.

    P is the length of the flat parameter vector.
    """

    optimizer: Array  # (S, P): S numbers for each parameter
    average: Array  # (P,): running average of the parameters; (0,) if none is kept
    order: NDArray[np.int64]  # (n,): order of the samples in the present epoch
    # (625,): state of the Mersenne Twister from which new orders are drawn (`fastnn_kernels.random.shuffle`).
    generator: NDArray[np.uint32]
    # (2,): the best objective of any epoch, and the number of epochs since the objective last fell below the
    # best by at least `Job.tol`.
    plateau: NDArray[np.float64]

    def take(self, old: Memory, *names: str) -> None:
        """Replace arrays by an earlier memory's; copy read-only arrays, such as a memory map's.

        An array that the kernels cannot use in place of this memory's is a ValueError.
        """
        for name in names:
            mine = getattr(self, name)
            array = check_layout(getattr(old, name), mine.shape, mine.dtype, f"{name} of the training")
            setattr(self, name, array if array.flags.writeable else array.copy())
        # The kernels use these numbers as indices without a check.
        order, n_samples = self.order, self.order.size
        if n_samples and not (order.min() >= 0 and order.max() < n_samples and np.bincount(order).all()):
            raise ValueError("the saved order of the samples is not a permutation")
        if self.generator[-1] >= self.generator.size:
            raise ValueError("the saved position of the generator is beyond its numbers")

    @classmethod
    def fresh(
        cls, network: Network, parameters: Array, job: Job, generator: NDArray[np.uint32] | None = None
    ) -> Memory:
        """Return the memory of a training that has done no step and begins with `parameters`.

        A job that is shuffled needs the state of the generator of orders.
        """
        return cls(
            make_optimizer_state(network, job.optimizer),
            parameters.copy() if job.average_weight else np.empty(0, network.dtype),
            np.arange(job.n_samples if job.is_gathered else 0, dtype=np.int64),
            np.zeros(625, np.uint32) if generator is None else generator,
            np.array([np.inf, 0.0]),
        )
