"""L-BFGS trainer on the NumPy reference."""

from __future__ import annotations

import time

import numpy as np

from ..network.description import Array, Network
from ..optimizers import LBFGS
from ..reference import train
from ..reference.lbfgs import SEARCH_FAILED, Iterate, Limits, apply_limits, minimise
from . import limits
from .arrays import make_dense, shape_targets
from .checks import find_non_finite
from .job import Job
from .minimisation import ENDINGS, Ending, LBFGSMemory, check_parameters, make_lbfgs_limits
from .protocol import LBFGSTrainer

# Points of a line search may overflow; iterates are checked afterwards.
_quiet = np.errstate(all="ignore")


class NumpyLBFGSTrainer(LBFGSTrainer):
    """L-BFGS trainer on the NumPy reference."""

    def __init__(
        self,
        network: Network,
        parameters: Array,
        statistics: Array,
        job: Job,
        memory: LBFGSMemory | None = None,
    ) -> None:
        super().__init__(network, parameters, statistics, job)
        weights = (job.weight_scale * job.weights).astype(network.dtype)
        self._data = make_dense(job.X), shape_targets(network, job.y), weights
        self._statistics_at_point = statistics.copy()
        self._reg_lambda = job.reg_lambda * (job.weight_scale if job.of_objective else 1.0)
        self._is_weight = np.arange(network.n_parameters) < network.n_weights
        ends = Limits(*make_lbfgs_limits(job))
        self._n_iterations = 0
        self._loss = self._penalty = self._objective = np.nan
        self._last: Iterate | None = None
        if memory is not None:
            self._last = apply_limits(self._restore_iterate(memory), ends)
            self._n_iterations = self._last.n_iterations
        assert isinstance(job.optimizer, LBFGS)
        self._iterates = minimise(
            self._evaluate, parameters.astype(np.float64), job.optimizer.maxcor, ends, self._last
        )

    @property
    def memory(self) -> LBFGSMemory | None:
        last = self._last
        if last is None or self.non_finite:
            return None
        return LBFGSMemory(
            [last.x, last.gradient, *last.S, *last.Y],
            np.array([last.value, last.before]),
            np.array([last.n_iterations, last.n_evaluations, last.status], np.int64),
            self.statistics,
            np.array([self._loss, self._penalty, self._objective]),
            np.array([self._n_iterations, 0], np.int64),
        )

    def _restore_iterate(self, memory: LBFGSMemory) -> Iterate:
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
        self._loss, self._penalty, self._objective = memory.losses.tolist()
        (value, before), (n_iterations, n_evaluations, status) = (
            memory.numbers.tolist(),
            memory.counts.tolist(),
        )
        x, gradient = x_and_gradient
        check_parameters(x, self.current)
        S, Y = tuple(pairs[:n]), tuple(pairs[n:])
        return Iterate(n_iterations, n_evaluations, x, value, gradient, status, before, S, Y)

    @property
    def n_steps(self) -> int:
        return self._n_iterations

    @property
    def ending(self) -> Ending | None:
        return None if self._last is None else ENDINGS.get(self._last.status)

    @property
    def value(self) -> float:
        return np.nan if self._last is None else self._last.value

    @property
    def objective(self) -> float:
        return self._objective

    @_quiet
    def run(self, last_pass: int, last_step: int | None = None) -> bool:
        finished = time.perf_counter() + limits.CALL_SECONDS
        last_pass = self._job.last_step(last_pass, last_step)  # an iteration is a step and an epoch
        is_due = False
        while self.n_steps < last_pass and not self.halted and not is_due:
            self._last = iterate = next(self._iterates)
            is_due = time.perf_counter() > finished
            if not iterate.n_iterations or iterate.n_iterations > self.n_steps:
                self.non_finite = self._find_non_finite(iterate)
                if self.non_finite:
                    return False
                self._keep(iterate)
            elif not np.isfinite(self._loss + self._penalty):  # all trials of the line search overflowed
                self.non_finite = "the loss"
                return False
        return True

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
        job, network = self._job, self._network
        self.statistics[...] = self._statistics_at_point
        if not iterate.n_iterations:
            return
        self._objective = job.loss_share * self._loss + self._penalty
        point = iterate.x.astype(network.dtype)
        record = job.record(self._n_iterations)
        if record is not None and job.of_objective:
            self.records.losses[record] = self._objective * job.n_samples
        elif record is not None:
            self.records.losses[record] = self._loss / job.weight_scale
            self.records.norms[record] = np.linalg.norm(iterate.gradient)
            pairs = zip(network.weights(point), network.weights(self.current), strict=True)
            for layer, (W, old) in enumerate(pairs):
                size = np.linalg.norm(old)
                self.records.ratios[record, layer] = np.linalg.norm(W - old) / size if size else 0.0
        self.current[...] = point
        self._n_iterations += 1
