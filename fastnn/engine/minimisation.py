"""Endings and memory of minimisations, and limits of L-BFGS, for the trainers of both backends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..network.description import Array
from ..optimizers import LBFGS
from ..reference.lbfgs import (
    CONVERGED_GRADIENT,
    CONVERGED_VALUE,
    MAX_EVALUATIONS,
    MAX_ITERATIONS,
    SEARCH_FAILED,
)
from .job import Job

INT64_MAX = 2**63 - 1


class Ending(NamedTuple):
    """How a minimisation has ended, in the terms of SciPy's results."""

    status: int  # 0 if it has converged, 1 if it has reached a limit, 2 if a line search has failed
    message: str


# Endings by the status of the minimisers.
ENDINGS = {
    CONVERGED_GRADIENT: Ending(0, "CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL"),
    CONVERGED_VALUE: Ending(0, "CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH"),
    MAX_ITERATIONS: Ending(1, "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT"),
    MAX_EVALUATIONS: Ending(1, "STOP: TOTAL NO. OF F,G EVALUATIONS EXCEEDS LIMIT"),
    SEARCH_FAILED: Ending(2, "ABNORMAL: "),
}


@dataclass
class MinimiserMemory:
    """State of a minimisation besides the parameters, from which another training can be resumed.

    The trainers fill the arrays differently. P is the length of the flat parameter vector.
    """

    vectors: Array | Sequence[Array]  # each (P,), float64: points, gradients and pairs of the minimiser
    numbers: NDArray[np.float64]  # (N,): numbers of the minimiser and of its line search
    counts: NDArray[np.int64]  # (C,): counts of the minimiser, and its status
    statistics: Array  # running statistics after the last evaluation
    losses: NDArray[np.float64]  # (3,) of L-BFGS: loss and penalty at the last point, and the objective
    progress: NDArray[np.int64]  # (1,): iterations done


def check_parameters(iterate: Array, parameters: Array) -> None:
    """Raise ValueError unless the parameters of a resumed training equal its last iterate."""
    if not np.array_equal(iterate.astype(parameters.dtype), parameters):
        raise ValueError(
            "resume: the parameters have been changed since the minimisation, which would not "
            "continue from the new ones: leave resume out to begin a new training from the present parameters"
        )


def make_lbfgs_limits(job: Job) -> tuple[int, int, int, float, float]:
    """Return the limits of a minimisation: the fields of the minimisers' ``Limits``."""
    optimizer = job.optimizer
    assert isinstance(optimizer, LBFGS)
    maxfun = optimizer.maxfun or job.num_passes * (optimizer.maxls + 1)
    return (
        job.num_passes,
        min(maxfun, INT64_MAX),
        min(optimizer.maxls, INT64_MAX),
        float(optimizer.ftol),
        float(optimizer.gtol),
    )
