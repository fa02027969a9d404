"""Training by L-BFGS: SciPy's minimiser on the loss and gradient of all samples at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from .backends import Backend, Job, Records
from .network import Network
from .optimizers import LBFGS
from .training import DivergenceError, History, Run, Watch

__all__ = ["run_lbfgs"]

Array = NDArray[Any]


class _Iterations:
    """SciPy's iterations as a trainer's passes, for who looks on."""

    def __init__(self, records: Records, dtype: np.dtype) -> None:
        self.records, self.n_passes = records, 0
        self.average = np.empty(0, dtype)

    def run(self, last_pass: int) -> bool:
        raise TypeError("SciPy runs these iterations")


def run_lbfgs(
    backend: Backend,
    network: Network,
    parameters: Array,
    statistics: Array,
    job: Job,
    optimizer: LBFGS,
    watch: Watch,
) -> History:
    """Minimise the loss by L-BFGS, `parameters` in place.

    What is minimised is the loss, divided by the sum of the weights where the job says so, and
    ``reg_lambda / 2`` times the sum of the squared weights.

    Parameters
    ----------
    backend : Backend
    network : Network
    parameters, statistics : array
        Changed in place.
    job : Job
    optimizer : LBFGS
    watch : Watch

    Returns
    -------
    History
        With the gradient of what is minimised, and NaN for the learning rate.

    Raises
    ------
    DivergenceError
        Where the loss is not finite at the start.
    """
    total = job.weights.sum()
    weights = job.weights / total if job.averaged else job.weights
    evaluate = backend.objective(network, statistics, job.X, job.y, weights, job.seed)
    is_weight = np.arange(network.n_parameters) < network.n_weights
    last: dict[str, Any] = {"before": parameters.copy()}

    def objective(values: Array) -> tuple[float, Array]:
        flat = values.astype(network.dtype)
        loss, gradient = evaluate(flat)
        decay = job.reg_lambda * is_weight * values
        gradient = gradient + decay
        last.update(point=flat, loss=loss, gradient=gradient)
        return loss + 0.5 * float(decay @ values), gradient.astype(np.float64)

    trainer = _Iterations(job.records(len(network.shapes)), network.dtype)
    run = Run(trainer, replace(job, epsilon=np.nan), watch)  # SciPy chooses the steps

    def after_iteration(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        parameters[...] = intermediate_result.x
        if not np.array_equal(last["point"], parameters):
            objective(intermediate_result.x)
        n_pass = trainer.n_passes
        record = job.record(n_pass)
        if record is not None:
            trainer.records.losses[record] = last["loss"] * (total if job.averaged else 1.0)
            trainer.records.norms[record] = np.linalg.norm(last["gradient"])
            pairs = zip(network.weights(parameters), network.weights(last["before"]), strict=True)
            for layer, (W, old) in enumerate(pairs):
                size = np.linalg.norm(old)
                trainer.records.ratios[record, layer] = np.linalg.norm(W - old) / size if size else 0.0
        last["before"] = parameters.copy()
        stop = run.next_stop()
        trainer.n_passes += 1
        run.after_chunk(stop)
        if run.stopped:
            raise StopIteration

    try:
        if job.num_passes:
            if not np.isfinite(objective(parameters.astype(np.float64))[0]):
                raise DivergenceError(0, job.epsilon, job.reg_lambda)
            scipy.optimize.minimize(
                objective, parameters.astype(np.float64), jac=True, method="L-BFGS-B",
                callback=after_iteration,
                options={
                    "maxiter": job.num_passes, "maxfun": job.num_passes * (optimizer.maxls + 1),
                    "maxcor": optimizer.maxcor, "ftol": optimizer.ftol, "gtol": optimizer.gtol,
                    "maxls": optimizer.maxls,
                },
            )  # fmt: skip
    finally:
        run.close()
    return run.history()
