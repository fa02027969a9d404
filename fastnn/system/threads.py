"""The budget of cores: no more threads compute at once than there are cores, however calls are nested.

Every call into a training kernel takes the cores that it runs on, and gives them back some 50 ms later. One
training alone may have all cores; many trainings on as many threads (joblib's, Dask's, `fit_many`'s) have one
each; further ones wait instead of slowing the others down.
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
    "acquired_cores",
    "available_cores",
    "map_in_order",
    "spare_cores",
    "started_pool",
]

T = TypeVar("T")

# Environment variables in which joblib, Dask and users limit the threads of a process.
LIMITS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS")
# Values that count as a limit: numbers above 0, of at most 9 digits.
LIMIT = re.compile("0*[1-9][0-9]{0,8}")


def available_cores() -> int:
    """Return the number of cores that the system grants this process, within the environment's limits."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for name in LIMITS:
        value = os.environ.get(name, "").split(",")[0].strip()  # OpenMP allows a list, one limit a level
        if LIMIT.fullmatch(value):
            cores = min(cores, int(value))
    return cores


class _Budget:
    """The number of cores in use."""

    def __init__(self) -> None:
        # `with` takes the lock itself: an interrupt in the Python code of a Condition would leave it locked.
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.in_use = 0


_budget = _Budget()


def _reset_after_fork() -> None:
    """Reset the budget in a forked child, in which the threads that hold cores do not exist."""
    global _budget
    _budget = _Budget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)


@contextmanager
def _try_acquire_cores(most: int) -> Iterator[int]:
    """Take as many cores as are free, up to `most`; none if none is free.

    Signals wait until the cores are given back: an exception of a handler in between would lose the cores.
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
def acquired_cores(most: int) -> Iterator[int]:
    """Take as many cores as are free, up to `most`, for the body of a `with`; wait for the first.

    The body runs within `held_interrupts`, the waiting does not.

    Parameters
    ----------
    most : int
        Most cores to take, at least 1.

    Yields
    ------
    int
        Number of cores, from 1 to `most`.
    """
    while True:
        with _try_acquire_cores(most) as count:
            if count:
                yield count
                return
        budget = _budget
        with budget.lock:
            while available_cores() - budget.in_use < 1:
                budget.changed.wait()


@contextmanager
def spare_cores(most: int) -> Iterator[int]:
    """Take as many cores as are free, up to `most`, without waiting; yield 1 uncounted core if none is free.

    Unlike `acquired_cores`, it may be nested in a `with` that holds cores already.
    """
    with _try_acquire_cores(most) as count:
        yield max(1, count)


def started_pool(n_threads: int) -> ThreadPoolExecutor:
    """Return a pool whose threads have all started: none can fail to start while others wait for it.

    Submit work and wait for it within `held_interrupts`: an interrupt in Python's code of the pool would
    leave a lock locked, and a thread waiting for ever.
    """
    pool, ready = ThreadPoolExecutor(n_threads), threading.Barrier(n_threads)
    with held_interrupts():
        try:
            wait([pool.submit(ready.wait) for _ in range(n_threads)])
        except BaseException:  # the system has no more threads
            ready.abort()
            raise
    return pool


def map_in_order(
    work: Callable[[T], Any], items: Iterable[T], n_threads: int, stop: Callable[[], object] = lambda: None
) -> Generator[tuple[T, Any], None, None]:
    """Yield every item with the result of `work`, in the order of the items, and work on a few ahead.

    With several threads, iterate within `held_interrupts`, as for a `started_pool`.

    Parameters
    ----------
    work : callable
        Function of an item.
    items : iterable
        Arguments of `work`.
    n_threads : int
        Threads that work; 1 stands for the caller's own.
    stop : callable
        Function that makes running calls of `work` end soon. It is called at the end, and when the caller
        stops early or is interrupted.
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
            # No more items ahead than keep the threads busy: further results would only take memory.
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
    """Submit an item to a pool, or work on it here if the pool is closed.

    Pools are closed when the interpreter is about to end, while this thread may still run.
    """
    try:
        return pool.submit(work, item)
    except RuntimeError:
        done: Future = Future()
        done.set_result(work(item))
        return done


class Flag:
    """A flag that all threads see. Unlike an Event, it takes no lock, so that a signal handler may set it."""

    def __init__(self) -> None:
        self.is_set = False

    def set(self) -> None:
        """Set the flag."""
        self.is_set = True

    def __call__(self) -> bool:
        """Return whether the flag is set."""
        return self.is_set
