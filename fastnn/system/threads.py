"""How many threads compute at once: never more than there are cores, whatever is nested in what.

Every call into a training kernel takes the cores that it will run on, and gives them back some 50 ms
later. So one training alone may have them all, many trainings on as many threads (joblib's, Dask's,
`fit_many`'s) have one each, and what comes beyond waits its turn instead of slowing the others down.
"""

from __future__ import annotations

import os
import re
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from fastnn_kernels.compiler.interrupts import held_interrupts

__all__ = [
    "Flag",
    "available_cores",
    "in_turn",
    "spare_cores",
    "started_pool",
    "taken_cores",
]

T = TypeVar("T")

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
        # The lock itself is what is entered: an interrupt in a Condition's own code would leave it locked.
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.in_use = 0


_budget = _Budget()


def _begin_anew() -> None:
    """In a child process: the threads that hold cores are not there."""
    global _budget
    _budget = _Budget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


@contextmanager
def _held_cores(most: int) -> Iterator[int]:
    """Take as many cores as are free, up to `most`, which may be none.

    Signals wait until they are given back: an exception of a handler between the two would keep them.
    """
    budget, count = _budget, 0
    with held_interrupts():
        try:
            with budget.lock:
                count = max(0, min(most, available_cores() - budget.in_use))
                budget.in_use += count
            yield count
        finally:
            with budget.lock:
                budget.in_use -= count
                budget.changed.notify_all()


@contextmanager
def taken_cores(most: int) -> Iterator[int]:
    """Take cores for what runs inside: as many as are free up to `most`, waiting for the first.

    What runs inside is within `held_interrupts`; the waiting is not.

    Parameters
    ----------
    most : int
        At least 1.

    Yields
    ------
    int
        How many: 1 to `most`.
    """
    while True:
        with _held_cores(most) as count:
            if count:
                yield count
                return
        budget = _budget
        with budget.lock:
            while available_cores() - budget.in_use < 1:
                budget.changed.wait()


@contextmanager
def spare_cores(most: int) -> Iterator[int]:
    """As `taken_cores`, but without waiting: where none is free, it is one that is not counted.

    For what may be called where cores are held already.
    """
    with _held_cores(most) as count:
        yield max(1, count)


def started_pool(n_threads: int) -> ThreadPoolExecutor:
    """A pool whose threads all run: one that could not be started later would keep the others waiting.

    Whoever hands it work, and waits for that, does so within `held_interrupts`: an interrupt in the middle of
    Python's own code for it would leave a lock locked, and a thread waiting for ever.
    """
    pool, ready = ThreadPoolExecutor(n_threads), threading.Barrier(n_threads)
    with held_interrupts():
        try:
            wait([pool.submit(ready.wait) for _ in range(n_threads)])
        except BaseException:  # no more threads to be had
            ready.abort()
            raise
    return pool


def in_turn(
    work: Callable[[T], Any], items: Iterable[T], n_threads: int, stop: Callable[[], object] = lambda: None
) -> Generator[tuple[T, Any], None, None]:
    """What `work` gives for every item, in the order of the items, of which a few are worked on ahead.

    With several threads it goes within `held_interrupts`, as a `started_pool` does.

    Parameters
    ----------
    work : callable
    items : iterable
    n_threads : int
        Threads that work; 1: the caller's own.
    stop : callable
        What makes running calls of `work` end soon. It is called where the caller has had enough, or was
        interrupted, and at the end.
    """
    pool = None
    if n_threads > 1:
        with suppress(RuntimeError):  # the system has no more threads, or the interpreter is about to end
            pool = started_pool(n_threads)
    if pool is None:
        for item in items:
            yield item, work(item)
        return
    try:
        ahead: deque[tuple[T, Future]] = deque()
        for item in items:
            ahead.append((item, _submitted(pool, work, item)))
            # Not more than the threads are busy with: the rest would lie about finished.
            if len(ahead) > 2 * n_threads:
                first, future = ahead.popleft()
                yield first, future.result()
        while ahead:
            first, future = ahead.popleft()
            yield first, future.result()
    finally:
        stop()
        pool.shutdown(cancel_futures=True)


def _submitted(pool: ThreadPoolExecutor, work: Callable[[T], Any], item: T) -> Future:
    """Hand `item` to a pool, or work on it here where the interpreter is about to end: pools are closed then,
    while this thread may still run."""
    try:
        return pool.submit(work, item)
    except RuntimeError:
        done: Future = Future()
        done.set_result(work(item))
        return done


class Flag:
    """Told once, seen by all. Unlike an Event, it may be told from where a signal is handled."""

    def __init__(self) -> None:
        self.is_raised = False

    def hoist(self) -> None:
        self.is_raised = True

    def __call__(self) -> bool:
        return self.is_raised
