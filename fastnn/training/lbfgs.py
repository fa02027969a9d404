"""Training by L-BFGS: SciPy's minimiser on the loss and gradient of all samples at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from ..engine.job import Job, Memory, Records
from ..engine.protocol import Backend
from ..network.description import Network
from ..optimizers import LBFGS
from ..system.validation import all_finite
from .divergence import DivergenceError
from .history import History
from .loop import Run, Watch

__all__ = ["minimise", "run_lbfgs"]

Array = NDArray[Any]

# SciPy counts the evaluations of a line search with an int32.
INT32_MAX = 2**31 - 1


class _Iterations:
    """SciPy's iterations as a trainer's passes, for who looks on."""

    def __init__(self, records: Records, memory: Memory) -> None:
        self.records, self.memory, self.n_passes = records, memory, 0
        self.halted = False
        self.trouble = ""

    def run(self, last_pass: int) -> bool:
        raise TypeError("SciPy runs these iterations")


def minimise(
    backend: Backend,
    network: Network,
    parameters: Array,
    statistics: Array,
    job: Job,
    optimizer: LBFGS,
    after_iteration: Callable[[float, Array], None],
) -> scipy.optimize.OptimizeResult:
    """Minimise the loss by L-BFGS, `parameters` in place.

    What is minimised is the loss, divided by the sum of the weights where the job says so, and
    ``reg_lambda / 2`` times the sum of the squared weights, divided alike where it is of the objective.

    Parameters
    ----------
    backend : Backend
    network : Network
    parameters, statistics : array
        Changed in place, with every iteration.
    job : Job
    optimizer : LBFGS
    after_iteration : callable
        Called with the loss without the penalty, and the gradient with it. It may raise StopIteration.

    Returns
    -------
    scipy.optimize.OptimizeResult

    Raises
    ------
    DivergenceError
        Where the loss is not finite, or a parameter or a running statistic after an iteration. Parameters
        and statistics are then as the last finite iteration left them.
    """
    total = job.weights.sum()
    weights = job.weights / total if job.averaged else job.weights
    reg_lambda = job.reg_lambda / total if job.of_objective else job.reg_lambda
    evaluate = backend.objective(network, statistics, job.X, job.y, weights, job.seed)
    is_weight = np.arange(network.n_parameters) < network.n_weights
    last: dict[str, Any] = {}
    settled = parameters.copy(), statistics.copy()
    n_iterations = 0

    def objective(values: Array) -> tuple[float, Array]:
        with np.errstate(over="ignore"):  # what is infinite then is seen to
            flat = values.astype(network.dtype)
        loss, gradient = evaluate(flat)
        decay = reg_lambda * is_weight * values
        gradient = gradient + decay
        last.update(point=flat, loss=loss, gradient=gradient)
        return loss + 0.5 * float(decay @ values), gradient.astype(np.float64)

    def callback(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        nonlocal n_iterations
        with np.errstate(over="ignore"):
            parameters[...] = intermediate_result.x
        if not np.array_equal(last["point"], parameters):
            objective(intermediate_result.x)
        for what, values in (
            ("a parameter", parameters), ("a running statistic of batch normalisation", statistics),
        ):  # fmt: skip
            if not all_finite(values):
                raise DivergenceError(n_iterations, job.epsilon, job.reg_lambda, what)
        if not np.isfinite(last["loss"]):
            parameters[...], statistics[...] = settled
            raise DivergenceError(n_iterations, job.epsilon, job.reg_lambda, "the loss")
        for values, kept in zip((parameters, statistics), settled, strict=True):
            kept[...] = values
        n_iterations += 1
        after_iteration(last["loss"], last["gradient"])

    try:
        if not np.isfinite(objective(parameters.astype(np.float64))[0]):
            raise DivergenceError(0, job.epsilon, job.reg_lambda, "the loss")
        result = scipy.optimize.minimize(
            objective, parameters.astype(np.float64), jac=True, method="L-BFGS-B", callback=callback,
            options={
                "maxiter": job.num_passes,
                "maxfun": optimizer.maxfun or job.num_passes * (optimizer.maxls + 1),
                # There are no more corrections than iterations, but SciPy makes room for all it is asked for.
                "maxcor": min(optimizer.maxcor, job.num_passes), "ftol": optimizer.ftol,
                "gtol": optimizer.gtol, "maxls": min(optimizer.maxls, INT32_MAX),
            },
        )  # fmt: skip
        if not np.isfinite(result.fun):  # a line search that found nothing but overflows
            raise DivergenceError(n_iterations, job.epsilon, job.reg_lambda, "the loss")
        return result
    finally:
        # Trial points of a line search move the statistics too, however far away they are.
        if not (all_finite(parameters) and all_finite(statistics)):
            parameters[...], statistics[...] = settled


def run_lbfgs(
    backend: Backend,
    network: Network,
    parameters: Array,
    statistics: Array,
    job: Job,
    optimizer: LBFGS,
    watch: Watch,
) -> History:
    """`minimise`, watched as a training is.

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
        As `minimise` does, and where the loss is not finite at the end.
    """
    trainer = _Iterations(job.records(len(network.shapes)), Memory.fresh(network, parameters, job))
    run = Run(trainer, replace(job, epsilon=np.nan), watch)  # SciPy chooses the steps
    before = parameters.copy()

    def after_iteration(loss: float, gradient: Array) -> None:
        n_pass = trainer.n_passes
        record = job.record(n_pass)
        if record is not None:
            trainer.records.losses[record] = loss * (job.weights.sum() if job.averaged else 1.0)
            trainer.records.norms[record] = np.linalg.norm(gradient)
            pairs = zip(network.weights(parameters), network.weights(before), strict=True)
            for layer, (W, old) in enumerate(pairs):
                size = np.linalg.norm(old)
                trainer.records.ratios[record, layer] = np.linalg.norm(W - old) / size if size else 0.0
        before[...] = parameters
        stop = run.next_stop()
        trainer.n_passes += 1
        run.after_chunk(stop)
        if run.stopped:
            raise StopIteration

    try:
        if job.num_passes:
            minimise(backend, network, parameters, statistics, job, optimizer, after_iteration)
    finally:
        history = run.close()
    run.check_loss()
    return history
