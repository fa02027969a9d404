"""Limits and endings of minimisations by L-BFGS, for the trainers of both backends."""

from __future__ import annotations

from typing import NamedTuple

from ..optimizers import LBFGS
from ..reference.lbfgs import (
    CONVERGED_GRADIENT,
    CONVERGED_VALUE,
    MOST_EVALUATIONS,
    MOST_ITERATIONS,
    SEARCH_FAILED,
)
from .job import Job

__all__ = ["ENDINGS", "Ending", "lbfgs_limits", "n_pairs"]

INT64_MAX = 2**63 - 1


class Ending(NamedTuple):
    """How a minimisation has ended, in the terms of SciPy's results.

    Parameters
    ----------
    status : int
        0 if the minimisation has converged, 1 if it has reached a limit, 2 if a line search has failed.
    message : str
        Description of the end.
    """

    status: int
    message: str


# Endings by the status of the minimisers.
ENDINGS = {
    CONVERGED_GRADIENT: Ending(0, "CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL"),
    CONVERGED_VALUE: Ending(0, "CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH"),
    MOST_ITERATIONS: Ending(1, "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT"),
    MOST_EVALUATIONS: Ending(1, "STOP: TOTAL NO. OF F,G EVALUATIONS EXCEEDS LIMIT"),
    SEARCH_FAILED: Ending(2, "ABNORMAL: "),
}


def lbfgs_limits(job: Job) -> tuple[int, int, int, float, float]:
    """Return the limits of a minimisation: the fields of the minimisers' ``Limits``."""
    optimizer = job.optimizer
    assert isinstance(optimizer, LBFGS)
    maxfun = optimizer.maxfun or job.num_passes * (optimizer.maxls + 1)
    return (
        job.num_passes, min(maxfun, INT64_MAX), min(optimizer.maxls, INT64_MAX), float(optimizer.ftol),
        float(optimizer.gtol),
    )  # fmt: skip


def n_pairs(job: Job) -> int:
    """Return the largest number of pairs that the minimisation of a job uses: an iteration adds one."""
    optimizer = job.optimizer
    assert isinstance(optimizer, LBFGS)
    return max(1, min(optimizer.maxcor, job.num_passes - 1))
