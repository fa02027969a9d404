"""Training by L-BFGS: SciPy's minimiser on the loss and gradient of all samples at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from ..engine.checks import find_non_finite
from ..engine.job import Job
from ..engine.protocol import Backend
from ..network.description import Network
from ..optimizers import LBFGS
from ..system.validation import all_finite
from .loop import Driver, Training

__all__ = ["LBFGSTrainer"]

Array = NDArray[Any]

# SciPy counts the evaluations of a line search with an int32.
INT32_MAX = 2**31 - 1


class LBFGSTrainer(Driver):
    """Trainer whose passes are the iterations of SciPy's minimiser L-BFGS-B, to be run with `drive`.

    The objective is the loss, divided by the sum of the weights where the job is averaged, plus
    ``reg_lambda / 2`` times the sum of the squared weights, divided alike where the job is of the objective.

    Parameters
    ----------
    backend : Backend
    network : Network
    parameters, statistics : array
        Changed in place with every iteration. Where the training diverges, they are as the last finite
        iteration left them.
    job : Job
        With `LBFGS` as its optimizer.

    Attributes
    ----------
    objective : float
        Objective as the estimators report it, with the share `Job.loss_share` of the loss, after the last
        iteration. Computed where the job is of the objective.
    result : scipy.optimize.OptimizeResult or None
        SciPy's result; None before the minimisation has ended.
    """

    def __init__(
        self, backend: Backend, network: Network, parameters: Array, statistics: Array, job: Job
    ) -> None:
        self._network, self._job = network, job
        self.current, self.statistics = parameters, statistics
        self._total = job.weights.sum()
        weights = job.weights / self._total if job.averaged else job.weights
        self._reg_lambda = job.reg_lambda / self._total if job.of_objective else job.reg_lambda
        self._loss_and_gradient = backend.objective(network, statistics, job.X, job.y, weights, job.seed)
        self._is_weight = np.arange(network.n_parameters) < network.n_weights
        self._last_finite = parameters.copy(), statistics.copy()
        self.records = job.records(len(network.shapes))
        self.n_passes, self.non_finite, self.halted = 0, "", False
        self.objective = np.nan
        self.result: scipy.optimize.OptimizeResult | None = None

    def drive(self, training: Training) -> None:
        """Minimise, and advance the training after every iteration, until either ends.

        Raises
        ------
        DivergenceError
            If the loss, a parameter or a running statistic is not finite.
        """
        job, optimizer = self._job, self._job.optimizer
        assert isinstance(optimizer, LBFGS)
        if not job.num_passes:
            return

        # SciPy looks at the parameter's name.
        def iterated(intermediate_result: scipy.optimize.OptimizeResult) -> None:
            self._found = intermediate_result.x
            training.advance()
            if training.stopped:
                raise StopIteration

        try:
            if not np.isfinite(self._evaluate(self.current.astype(np.float64))[0]):
                raise training.divergence("the loss")
            self.result = scipy.optimize.minimize(
                self._evaluate, self.current.astype(np.float64), jac=True, method="L-BFGS-B",
                callback=iterated,
                options={
                    "maxiter": job.num_passes,
                    "maxfun": optimizer.maxfun or job.num_passes * (optimizer.maxls + 1),
                    # SciPy makes room for all corrections, though an iteration adds one at the most.
                    "maxcor": min(optimizer.maxcor, job.num_passes), "ftol": optimizer.ftol,
                    "gtol": optimizer.gtol, "maxls": min(optimizer.maxls, INT32_MAX),
                },
            )  # fmt: skip
            if not np.isfinite(self.result.fun):  # a line search that found nothing but overflows
                raise training.divergence("the loss")
        finally:
            # Trial points of a line search move the statistics too, however far away they are.
            if not (all_finite(self.current) and all_finite(self.statistics)):
                self._restore_last_finite()

    def run(self, last_pass: int) -> bool:
        """Take in the iteration that SciPy has just finished, as one pass."""
        with np.errstate(over="ignore"):
            self.current[...] = self._found
        if not np.array_equal(self._point, self.current):
            self._evaluate(self._found)
        self.non_finite = find_non_finite(self.current, self.statistics)
        if not self.non_finite and not np.isfinite(self._loss):
            self.non_finite = "the loss"
        if self.non_finite:
            self._restore_last_finite()
            return False
        self._record()
        for kept, values in zip(self._last_finite, (self.current, self.statistics), strict=True):
            kept[...] = values
        self.n_passes += 1
        return True

    def _evaluate(self, values: Array) -> tuple[float, Array]:
        """Return the objective and its gradient at a point in float64."""
        with np.errstate(over="ignore"):  # `run` finds what is infinite then
            self._point = values.astype(self._network.dtype)
        self._loss, gradient = self._loss_and_gradient(self._point)
        decay = self._reg_lambda * self._is_weight * values
        self._gradient = gradient + decay
        return self._loss + 0.5 * float(decay @ values), self._gradient.astype(np.float64)

    def _record(self) -> None:
        job, network = self._job, self._network
        record = job.record(self.n_passes)
        if job.of_objective:
            W = self.current[: network.n_weights].astype(np.float64)
            penalty = 0.5 * job.reg_lambda * float(W @ W) / self._total
            self.objective = job.loss_share * self._loss + penalty
            if record is not None:
                self.records.losses[record] = self.objective * job.X.shape[0]
        elif record is not None:
            self.records.losses[record] = self._loss * (self._total if job.averaged else 1.0)
            self.records.norms[record] = np.linalg.norm(self._gradient)
            pairs = zip(network.weights(self.current), network.weights(self._last_finite[0]), strict=True)
            for layer, (W, old) in enumerate(pairs):
                size = np.linalg.norm(old)
                self.records.ratios[record, layer] = np.linalg.norm(W - old) / size if size else 0.0

    def _restore_last_finite(self) -> None:
        """Return to the last finite iteration."""
        self.current[...], self.statistics[...] = self._last_finite
