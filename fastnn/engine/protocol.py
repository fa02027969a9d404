"""Base classes of the trainers, and the protocol of the backends that create them."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, Protocol

import numpy as np

from fastnn_kernels.calls.training import Records

from ..network.description import Array, Network
from ..optimizers import Optimizer
from . import limits
from .job import Job, MatrixLike, Memory
from .minimisation import Ending, MinimiserMemory


class Trainer(ABC):
    """Base class of the objects that run the steps of a job.

    A trainer updates parameters, running statistics and memory in place.
    """

    non_finite = ""  # name of the array that became infinite or NaN, as in `DivergenceError.what`

    def __init__(self, network: Network, parameters: Array, statistics: Array, job: Job) -> None:
        self._network, self._job, self.statistics = network, job, statistics
        self.current = parameters  # what the model would get if the training ended now: the average, if kept
        n = len(job.kept)
        self.records = Records(np.zeros(n), np.zeros(n), np.zeros((n, len(network.shapes))))

    @property
    def n_passes(self) -> int:
        """Number of whole epochs done."""
        return self.n_steps // self._job.n_batches

    @property
    @abstractmethod
    def n_steps(self) -> int:
        """Number of whole steps done, those before `Job.steps_done` included."""

    @property
    @abstractmethod
    def halted(self) -> bool:
        """True if the trainer has ended the training, which then does no more epochs."""

    @abstractmethod
    def run(self, last_pass: int, last_step: int | None = None) -> bool:
        """Run one chunk of about 50 ms; do nothing if halted.

        The chunk ends at the latest when `last_pass` epochs or `last_step` steps have been done in total.

        Returns False if the next step would make a parameter, a running statistic, the optimizer's state or
        the average infinite or NaN; `non_finite` then names the array. All arrays keep the values of the last
        finite step.
        """

    def close(self) -> None:  # noqa: B027
        """Let the threads of the trainer end, if it has some; a later `run` would start others."""


class StepTrainer(Trainer):
    """Base class of the trainers whose job has any other optimizer than a `Minimiser`."""

    def __init__(
        self, network: Network, parameters: Array, statistics: Array, job: Job, memory: Memory
    ) -> None:
        super().__init__(network, memory.average if job.average_weight else parameters, statistics, job)
        self.memory = memory

    @property
    def halted(self) -> bool:
        """True if the objective has not improved for too many epochs (`Job.patience`).

        It is never True before the first epoch, even if the memory comes from a training that halted.
        """
        return self.n_passes > 0 and bool(0 < self._job.patience < self.memory.plateau[1])


class MinimisingTrainer(Trainer):
    """Base class of the trainers whose job has a `Minimiser`; an iteration is a step and an epoch.

    They minimise the loss plus the penalty ``reg_lambda / 2 |W|^2``. The loss is divided by the sum of the
    sample weights if `Job.reduction` is "mean", and the penalty if `Job.of_objective` is set. Parameters and
    running statistics always belong to the last iteration, and are finite. A training that resumes another,
    by its `memory`, begins with the values of the other's last iteration. A memory that contradicts itself or
    the network is a ValueError.
    """

    objective = np.nan  # after the last iteration, with the loss multiplied by `Job.loss_share`
    _n_iterations = 0

    @property
    def n_steps(self) -> int:  # noqa: D102
        return self._n_iterations

    def run(self, last_pass: int, last_step: int | None = None) -> bool:  # noqa: D102
        finished = time.perf_counter() + limits.CALL_SECONDS
        last_pass = self._job.last_step(last_pass, last_step)
        while self.n_steps < last_pass and not self.halted and not self.non_finite:
            with np.errstate(all="ignore"):  # trial points may overflow; iterates are checked
                self._advance()
            if time.perf_counter() > finished:
                break
        return not self.non_finite

    def _advance(self) -> None:
        """Do a part of an iteration."""

    @property
    @abstractmethod
    def memory(self) -> MinimiserMemory | None:
        """State from which another training can be resumed; None after a divergence."""

    @property
    @abstractmethod
    def ending(self) -> Ending | None:
        """How the minimisation has ended; None before its end."""

    @property
    def halted(self) -> bool:
        """True if the minimisation has ended: it has converged, reached a limit or failed."""
        return self.ending is not None

    def _record(self, point: Array, loss: float, gradient_norm: float) -> None:
        """Record an iteration that leads to the parameters `point`, and copy these.

        `loss` is the sum of the weighted losses, whatever `Job.reduction` is.
        """
        job, network = self._job, self._network
        record = job.record(self.n_steps)
        if record is not None and job.of_objective:
            self.records.losses[record] = self.objective * job.n_samples
        elif record is not None:
            self.records.losses[record] = loss
            self.records.norms[record] = gradient_norm
            pairs = zip(network.weights(point), network.weights(self.current), strict=True)
            for layer, (W, old) in enumerate(pairs):
                size = np.linalg.norm(old)
                self.records.ratios[record, layer] = np.linalg.norm(W - old) / size if size else 0.0
        self.current[...] = point


class Passes(Protocol):
    """Forward and backward passes of one network, one batch at a time.

    The network works as in a training step, with dropout and the statistics of the batch, or if `frozen` as
    in predictions. The parameters are read at every pass. `seed` draws the dropout masks, and every forward
    pass has new ones. Batch normalisation weighs the samples by `weights`, (n,) or the same for all. With
    `checks`, NaN or infinity in X or dS is a ValueError, and nothing changes.
    """

    parameters: Array  # (P,)
    gradient: Array  # (P,): derivatives by the parameters, after a backward pass; 0 in the padding
    n_forward: Array  # (1,): number of the last forward pass, which decides its dropout masks; -1 before

    def __init__(
        self,
        network: Network,
        parameters: Array,
        statistics: Array,
        frozen: bool = False,
        seed: int = 0,
        weights: Array | float = 1.0,
        checks: bool = False,
    ) -> None: ...

    def forward(self, X: Array) -> Array:
        """Return the scores (n, K) of the samples; the next pass may overwrite them."""

    def backward(self, dS: Array, adds: bool, inputs: bool, parameters: bool) -> Array | None:
        """Propagate the derivatives dS (n, K) by the scores of the last forward pass back.

        `parameters` overwrites the gradient, or adds to it if `adds`. Returns the derivatives by the samples,
        which the next pass may overwrite, if `inputs`.
        """

    def sample_gradients(self, dS: Array) -> Iterator[Array]:
        """Yield the gradients (m, P) of some consecutive samples each, of a network that does not normalise.

        The next pass or iteration may overwrite them.
        """

    def layer_outputs(self, X: Array) -> list[Array]:
        """Return the outputs (n, units) of every layer."""


class Update(Protocol):
    """An optimizer's update of the parameters (P,), given the gradient (P,) and its state (S, P)."""

    def __init__(
        self, network: Network, optimizer: Optimizer, parameters: Array, gradient: Array, state: Array
    ) -> None: ...

    @property
    def n_steps(self) -> int:
        """Number of steps done."""

    def __call__(self, epsilon: float, reg_lambda: float) -> str:
        """Update parameters and state by a step, and return "".

        If one of them would not stay finite, change nothing and return its name.
        """


class Backend(Protocol):
    """Protocol of the operations on a network.

    All arguments have been checked. `parameters` is the flat vector. X (n, inputs) is an array or a SciPy CSR
    matrix. y (n, targets) has the network's dtype, weights have the shape (n,). `n_threads` is the largest
    number of threads, 0 for as many as are useful. Predictions need parameters with batch normalisation
    folded in (`Network.fold_batch_norm`). They warn of samples whose predictions are not finite, unless
    `warns` is False.
    """

    passes: type[Passes]
    update: type[Update]
    # Trainers of the jobs whose optimizer is a `Minimiser`, by its name, called as `MinimisingTrainer` is.
    # The fifth argument is None, or the memory of an earlier training by the same trainer to be resumed.
    minimisers: ClassVar[Mapping[str, Callable[..., MinimisingTrainer]]]

    def outputs(
        self,
        network: Network,
        parameters: Array,
        X: MatrixLike,
        name: str | None,
        n_threads: int = 0,
        warns: bool = True,
    ) -> Array:
        """Return the outputs (n, outputs), the function `name` of the scores; for None the classes (n,)."""

    def bind(
        self, network: Network, X: MatrixLike, name: str | None, n_threads: int = 0
    ) -> tuple[Callable[[Array], object], Array]:
        """Return a function of the parameters that predicts the present contents of X, and what it fills.

        The function fills the array with what `outputs` returns for `name`, and returns True if all scores
        are finite. One thread at a time may call it.
        """

    def loss(
        self, network: Network, X: MatrixLike, y: Array, weights: Array, n_threads: int = 0
    ) -> Callable[[Array], float]:
        """Return a function of the parameters: the sum of the samples' losses times their weights.

        One thread at a time may call it.
        """

    def trainer(
        self, network: Network, parameters: Array, statistics: Array, job: Job, memory: Memory
    ) -> StepTrainer:
        """Return a trainer for a job whose optimizer is not a `Minimiser`."""
