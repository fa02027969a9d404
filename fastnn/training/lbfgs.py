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
    """Trainer that minimises by SciPy's L-BFGS-B; an iteration is a pass.

    The objective is the loss plus the penalty ``reg_lambda / 2 |W|^2``. The loss is divided by the sum of the
    sample weights if `Job.averaged` is set, and the penalty if `Job.of_objective` is set.

    Parameters
    ----------
    backend : Backend
        Backend that computes the loss and its gradient.
    network : Network
        Description of the network.
    parameters, statistics : array
        Flat vectors of the parameters and running statistics, updated in place after every iteration. If the
        training diverges, both keep the values of the last finite iteration.
    job : Job
        Job whose optimizer is an `LBFGS`.

    Attributes
    ----------
    objective : float
        Objective after the last iteration as the estimators report it, with the loss multiplied by
        `Job.loss_share`. NaN unless `Job.of_objective` is set.
    result : scipy.optimize.OptimizeResult or None
        Result of SciPy's minimiser; None before its end.
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

    @property
    def n_steps(self) -> int:
        """Number of iterations done."""
        return self.n_passes

    def drive(self, training: Training) -> None:
        """Minimise, and advance the training after every iteration, until the minimiser or the training ends.

        Raises
        ------
        DivergenceError
            If the loss, a parameter or a running statistic becomes infinite or NaN.
        """
        job, optimizer = self._job, self._job.optimizer
        assert isinstance(optimizer, LBFGS)
        if not job.num_passes:
            return

        # SciPy chooses the type of the argument by its name, `intermediate_result`: do not rename it.
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
                    # SciPy allocates all corrections at once, but an iteration adds one at most: cap them.
                    "maxcor": min(optimizer.maxcor, job.num_passes), "ftol": optimizer.ftol,
                    "gtol": optimizer.gtol, "maxls": min(optimizer.maxls, INT32_MAX),
                },
            )  # fmt: skip
            if not np.isfinite(self.result.fun):  # every point of the line search overflowed
                raise training.divergence("the loss")
        finally:
            # Trial points of a line search change the running statistics too, and may be far away: restore.
            if not (all_finite(self.current) and all_finite(self.statistics)):
                self._restore_last_finite()

    def run(self, last_pass: int) -> bool:
        """Record the iteration that SciPy has just finished as one pass; return False if it diverged."""
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
        """Return the objective and its gradient (P,), both in float64, at the parameters `values`."""
        with np.errstate(over="ignore"):  # `run` detects the infinite numbers
            self._point = values.astype(self._network.dtype)
        self._loss, gradient = self._loss_and_gradient(self._point)
        decay = self._reg_lambda * self._is_weight * values
        self._gradient = gradient + decay
        return self._loss + 0.5 * float(decay @ values), self._gradient.astype(np.float64)

    def _record(self) -> None:
        """Record loss or objective, gradient norm and update ratios of the finished iteration."""
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
        """Restore the parameters and statistics of the last finite iteration."""
        self.current[...], self.statistics[...] = self._last_finite
