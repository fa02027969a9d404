"""How many threads compute at once: never more than there are cores, whatever is nested in what.

Every call into a training kernel takes the cores that it will run on, and gives them back some 50 ms
later. So one training alone may have them all, many trainings on as many threads (joblib's, Dask's,
`fit_many`'s) have one each, and what comes beyond waits its turn instead of slowing the others down.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["available_cores", "taken_cores"]

# Where joblib, Dask and whoever starts a process say how many threads it may have.
LIMITS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS")
# What is taken for a limit: a number above 0, and not one that no machine has.
LIMIT = re.compile("0*[1-9][0-9]{0,8}")


def available_cores() -> int:
    """Cores this process may use: what the system grants, and no more than the environment says."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for name in LIMITS:
        value = os.environ.get(name, "").split(",")[0].strip()  # OpenMP's may be a list, a level each
        if LIMIT.fullmatch(value):
            cores = min(cores, int(value))
    return cores


class _Budget:
    """The cores in use."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.in_use = 0


_budget = _Budget()


def _begin_anew() -> None:
    """In a child process: the threads that hold cores are not there."""
    global _budget
    _budget = _Budget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


@contextmanager
def taken_cores(most: int) -> Iterator[int]:
    """Take cores for what runs inside: as many as are free up to `most`, waiting for the first.

    Parameters
    ----------
    most : int
        At least 1.

    Yields
    ------
    int
        How many: 1 to `most`.
    """
    budget, count = _budget, 0
    try:  # from here on: an interrupt may come as soon as they are taken
        with budget.changed:
            while (free := available_cores() - budget.in_use) < 1:
                budget.changed.wait()
            count = min(most, free)
            budget.in_use += count
        yield count
    finally:
        with budget.changed:
            budget.in_use -= count
            budget.changed.notify_all()
