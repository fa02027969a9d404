"""L-BFGS trainer on the NumPy reference."""

from __future__ import annotations

import numpy as np

from ..network.description import Array, Network
from ..optimizers import LBFGS
from ..reference import train
from ..reference.lbfgs import SEARCH_FAILED, Iterate, Limits, apply_limits, minimise
from .arrays import make_dense, shape_targets
from .checks import find_non_finite
from .job import Job
from .minimisation import ENDINGS, Ending, MinimiserMemory, check_parameters, make_lbfgs_limits
from .protocol import MinimisingTrainer


class NumpyLBFGSTrainer(MinimisingTrainer):
    """L-BFGS trainer on the NumPy reference."""

    def __init__(
        self, network: Network, parameters: Array, statistics: Array, job: Job, memory: MinimiserMemory | None
    ) -> None:
        super().__init__(network, parameters, statistics, job)
        weights = (job.weight_scale * job.weights).astype(network.dtype)
        self._data = make_dense(job.X), shape_targets(network, job.y), weights
        self._statistics_at_point = statistics.copy()
        self._reg_lambda = job.reg_lambda * (job.weight_scale if job.of_objective else 1.0)
        self._is_weight = np.arange(network.n_parameters) < network.n_weights
        ends = Limits(*make_lbfgs_limits(job))
        self._loss = self._penalty = self.objective = np.nan
        self._last: Iterate | None = None
        if memory is not None:
            self._last = apply_limits(self._restore_iterate(memory), ends)
            self._n_iterations = self._last.n_iterations
        assert isinstance(job.optimizer, LBFGS)
        self._iterates = minimise(
            self._evaluate, parameters.astype(np.float64), job.optimizer.maxcor, ends, self._last
        )

    @property
    def memory(self) -> MinimiserMemory | None:
        last = self._last
        if last is None or self.non_finite:
            return None
        return MinimiserMemory(
            [last.x, last.gradient, *last.S, *last.Y],
            np.array([last.value, last.before]),
            np.array([last.n_iterations, last.n_evaluations, last.status], np.int64),
            self.statistics,
            np.array([self._loss, self._penalty, self.objective]),
            np.array([self._n_iterations, 0], np.int64),
        )

    def _restore_iterate(self, memory: MinimiserMemory) -> Iterate:
        """Return the iterate of a memory; raise ValueError if it contradicts itself or the network."""
        x_and_gradient, pairs = memory.vectors[:2], memory.vectors[2:]
        n = len(pairs) // 2
        if not (
            len(x_and_gradient) == 2
            and len(pairs) == 2 * n
            and {len(row) for row in memory.vectors} == {self._network.n_parameters}
            and memory.numbers.shape == (2,)
            and memory.counts.shape == (3,)
            and memory.counts.min() >= 0
            and memory.counts.max() < 2**62
            and memory.counts[2] <= SEARCH_FAILED
            and memory.losses.shape == (3,)
        ):
            raise ValueError("the state of L-BFGS contradicts itself or the network: train again")
        self._loss, self._penalty, self.objective = memory.losses.tolist()
        (value, before), (n_iterations, n_evaluations, status) = (
            memory.numbers.tolist(),
            memory.counts.tolist(),
        )
        x, gradient = x_and_gradient
        check_parameters(x, self.current)
        S, Y = tuple(pairs[:n]), tuple(pairs[n:])
        return Iterate(n_iterations, n_evaluations, x, value, gradient, status, before, S, Y)

    @property
    def ending(self) -> Ending | None:
        return None if self._last is None else ENDINGS.get(self._last.status)

    def _advance(self) -> None:
        self._last = iterate = next(self._iterates)
        if not iterate.n_iterations or iterate.n_iterations > self.n_steps:
            self.non_finite = self._find_non_finite(iterate)
            if not self.non_finite:
                self._keep(iterate)
        elif not np.isfinite(self._loss + self._penalty):  # all trials of the line search overflowed
            self.non_finite = "the loss"

    def _evaluate(self, values: Array) -> tuple[float, Array]:
        """Return the objective and its gradient (P,), both in float64, at the parameters `values`."""
        network, job, statistics = self._network, self._job, self._statistics_at_point
        point, limit = values.astype(network.dtype), -job.max_loss or network.loss.parameter
        self._loss, gradient = train.loss_and_gradient(
            network, point, statistics, *self._data, job.seed, limit
        )
        decay = self._reg_lambda * self._is_weight * values
        self._penalty = 0.5 * float(decay @ values)
        return job.loss_share * self._loss + self._penalty, gradient + decay

    def _find_non_finite(self, iterate: Iterate) -> str:
        of_loss = "" if np.isfinite(iterate.value) else "the loss"
        if not iterate.n_iterations and of_loss:
            return of_loss
        point = iterate.x.astype(self._network.dtype)
        return find_non_finite(point, self._statistics_at_point) or of_loss

    def _keep(self, iterate: Iterate) -> None:
        job = self._job
        self.statistics[...] = self._statistics_at_point
        self.objective = job.loss_share * self._loss + self._penalty
        if not iterate.n_iterations:
            return
        point = iterate.x.astype(self._network.dtype)
        norm = float(np.linalg.norm(iterate.gradient))
        self._record(point, self._loss / job.weight_scale, norm)
        self._n_iterations += 1
