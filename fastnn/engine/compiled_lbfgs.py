"""Trainer that runs the compiled iterations of L-BFGS."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network.description import Network, aligned_empty
from ..system.threads import acquired_cores
from . import limits
from .arguments import (
    compile_gradient_aside,
    gradient_pointers,
    kernel_settings,
    tile_data,
    training_width,
    training_workspace,
)
from .job import Job
from .lbfgs import ENDINGS, Ending, lbfgs_limits, n_pairs

__all__ = ["NumbaLBFGSTrainer"]

Array = NDArray[Any]

# Names of what is not finite, by the results of the kernel `lbfgs_iterations`.
NON_FINITE = ("", "a parameter", "a running statistic of batch normalisation", "the loss")


class NumbaLBFGSTrainer:
    """L-BFGS trainer on the compiled kernels.

    Parameters
    ----------
    train, lbfgs : module
        Modules ``fastnn_kernels.train`` and ``fastnn_kernels.lbfgs``.
    network : Network
        Description of the network.
    parameters, statistics : array
        Flat vectors of the parameters and running statistics, updated in place after every iteration.
    job : Job
        Data and settings of the training.
    """

    def __init__(
        self, train: Any, lbfgs: Any, network: Network, parameters: Array, statistics: Array, job: Job
    ) -> None:
        self._lbfgs, self._network, self._job = lbfgs, network, job
        self.current, self.statistics = parameters, statistics
        n_samples, size = job.n_samples, network.n_parameters
        width = training_width(network, n_samples)
        self._kernel = lbfgs.lbfgs_iterations(job.is_sparse)
        self._minimiser = lbfgs.new_minimiser(size, n_pairs(job), _aligned_empty)
        self._minimiser.vectors[lbfgs.X] = parameters
        point, gradient = (aligned_empty(size, network.dtype) for _ in range(2))
        self._state = lbfgs.MinimiserState(
            parameters=parameters,
            statistics=statistics,
            minimiser=self._minimiser,
            point=point,
            gradient=gradient,
            statistics_at_point=statistics.copy(),
            losses=np.zeros(3),
            progress=np.zeros(2, np.int64),
        )
        self.records = job.records(len(network.shapes))
        self._n_rounds = -(-n_samples // width)
        self._arguments = (
            *gradient_pointers(train, network, job, team=False),
            lbfgs.advance_pointer(),
            network.training_layout.plan,
            self._state,
            lbfgs.Limits(*lbfgs_limits(job)),
            train.Data(*tile_data(network, job, width)),
            kernel_settings(train, network, job, width, self._n_rounds),
            self.records,
            training_workspace(train, network, job, width, n_threads=1),
        )
        if not self._arguments[0].is_saved:
            compile_gradient_aside(train, network, job, lbfgs.compile_advance)
            self._kernel.compile_for_python(*self._arguments, 0, 1)
        self.non_finite = ""
        self._rounds_a_call = max(1, int(limits.FIRST_CALL_OPERATIONS / (6 * size * width)))

    @property
    def n_passes(self) -> int:
        """Number of iterations done."""
        return int(self._state.progress[0])

    @property
    def n_steps(self) -> int:
        """Number of iterations done: a step is a pass."""
        return self.n_passes

    @property
    def ending(self) -> Ending | None:
        """How the minimisation has ended; None before its end."""
        return ENDINGS.get(int(self._minimiser.counts[self._lbfgs.STATUS]))

    @property
    def halted(self) -> bool:
        """True if the minimisation has ended."""
        return self.ending is not None

    @property
    def value(self) -> float:
        """Function value that is minimised, at the last point evaluated."""
        return float(self._minimiser.numbers[self._lbfgs.VALUE])

    @property
    def objective(self) -> float:
        """Objective after the last iteration as the estimators report it."""
        return float(self._state.losses[2])

    @property
    def _rounds_done(self) -> int:
        """Number of tiles evaluated."""
        n_evaluations = int(self._minimiser.counts[self._lbfgs.N_EVALUATIONS])
        return n_evaluations * self._n_rounds + int(self._state.progress[1])

    def run(self, last_pass: int) -> bool:
        """Run one chunk; return False if the iterate that it has reached is not finite."""
        before, started = self._rounds_done, time.perf_counter()
        # Signals wait within `acquired_cores`, and Ctrl-C is raised at its end.
        with acquired_cores(1):
            result = self._kernel(*self._arguments, last_pass, self._rounds_a_call)
        self.non_finite = NON_FINITE[result]
        rounds_a_second = (self._rounds_done - before) / max(time.perf_counter() - started, 1e-6)
        # A short call measures the speed inaccurately: let the calls grow eightfold at most.
        self._rounds_a_call = max(
            1, min(int(limits.CALL_SECONDS * rounds_a_second), 8 * self._rounds_a_call)
        )  # fmt: skip
        return not self.non_finite


def _aligned_empty(size: int, dtype: Any) -> Array:
    """Return an uninitialised array that begins at a cache line."""
    return aligned_empty(size, np.dtype(dtype))
