"""Budget of cores: no more threads compute at once than there are cores, even in nested calls.

A training acquires cores for a call into the kernels and releases them about 50 ms later. A single training
may use all cores. Several in parallel on threads (of joblib, Dask or `fit_many`) get one core
each, and wait if there are more of them than cores.
"""

from __future__ import annotations

import contextvars
import ctypes
import functools
import itertools
import numbers
import os
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent import futures
from concurrent.futures import Future, wait
from contextlib import closing, contextmanager, suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

from fastnn_kernels.compiler.interrupts import defer_signals, deliver_interrupts, let_interrupts_through

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

P = TypeVar("P")
R = TypeVar("R")
T = TypeVar("T")

# Environment variables by which joblib, Dask and users limit the number of threads of a process.
LIMITS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS")
# Valid values of these variables: numbers above 0 of at most 9 significant digits.
LIMIT = "0*[1-9][0-9]{0,8}"


def count_cores() -> int:
    """Return the number of cores that this process may use.

    These are the cores that the system lets it use, limited by the threads of a Dask worker and by the
    environment variables. An OMP_NUM_THREADS that Dask has set, to keep BLAS from starting threads beside the
    worker's, does not count.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = min(cores, _read_quota(), _count_dask_threads() or cores)
    for name in LIMITS:
        # OpenMP allows a list of limits, one per nesting level: the first counts.
        value = os.environ.get(name, "").split(",")[0].strip()
        limit = int(value) if re.fullmatch(LIMIT, value) else cores
        if limit < cores and not (name == "OMP_NUM_THREADS" and _is_set_by_dask()):
            cores = limit
    return cores


def count_threads(n_jobs: Any) -> int:
    """Return the number of threads that `n_jobs` asks for: None and -1 for all cores, -2 for all but one."""
    is_integer = isinstance(n_jobs, numbers.Integral) and n_jobs is not True
    if not (n_jobs is None or (is_integer and n_jobs)):
        raise ValueError(f"n_jobs must be None or an integer other than 0, got {n_jobs!r}")
    count = -1 if n_jobs is None else int(n_jobs)
    return count if count > 0 else max(1, count_cores() + 1 + count)


@functools.cache
def _read_quota() -> int:
    """Return the number of cores that the quota of a container allows (Linux, cgroup v2), rounded up."""
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            limit, period = file.read().split()
        return max(1, -(-int(limit) // int(period)))
    except (OSError, ValueError, ZeroDivisionError):  # another system, or the limit is "max"
        return sys.maxsize


def find_dask_worker() -> Any:
    """Return the Dask worker whose task this thread runs; None if it runs none."""
    if "distributed.worker" not in sys.modules:
        return None
    try:
        return sys.modules["distributed.worker"].get_worker()
    except (ValueError, AttributeError):  # not in a task, or another thread is importing Dask
        return None


def _count_dask_threads() -> int | None:
    """Return the number of threads of the Dask workers in this process; None if there are none.

    Dask tells a worker to the threads of its tasks, but not to the threads that these start.
    """
    kind = getattr(sys.modules.get("distributed.worker"), "Worker", None)
    workers = [one for one in getattr(kind, "_instances", ()) if one.status.name in ("running", "paused")]
    return sum(one.state.nthreads for one in workers) or None


def _is_set_by_dask() -> bool:
    """Return True if Dask has set OMP_NUM_THREADS: in workers, and in a process that starts a cluster."""
    if "distributed.worker" not in sys.modules:
        return False
    spawned = sys.modules["dask.config"].get("distributed.nanny.pre-spawn-environ", {})
    limits = {name: str(limit) for name, limit in spawned.items() if limit is not None}
    is_set = "OMP_NUM_THREADS" in limits and all(os.environ.get(name) == limits[name] for name in limits)
    return is_set or _count_dask_threads() is not None


def count_idle_cores() -> int | None:
    """Return the number of cores on which no thread runs now, of any process; None if that is unknown.

    Linux tells how many threads run, but not where. The number says nothing about the cores of a process that
    may use only some.

    Other systems tell how long each core was busy, in ticks of 10 ms (macOS) or 15.6 ms (Windows). A trial of
    `ThreadChoice` is shorter than a tick, and ticks do not tell threads that compute from threads of this
    process that wait for one another: there the result is None, and `ThreadChoice` counts the processor time
    of this process alone.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    try:
        file = os.open("/proc/loadavg", os.O_RDONLY)
        try:
            text = os.read(file, 100)
        finally:
            os.close(file)
        n_running = int(text.split()[3].partition(b"/")[0])
        n_cores = len(os.sched_getaffinity(0))
    except (OSError, ValueError, IndexError):  # another system, or /proc is hidden
        return None
    return max(0, n_cores - n_running) if n_cores == _count_machine_cores() else None


# Number of cores of the machine. Linux reads a file for it, which takes 10 us.
_count_machine_cores = functools.cache(os.cpu_count)


class _Budget:
    """Number of cores in use, with the lock that guards it."""

    def __init__(self) -> None:
        # An interrupt in the Python code of a Condition would leave its lock locked: use the lock itself in
        # `with` statements.
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.in_use = 0
        # Numbers of the cores on which the threads of running calls were placed (`CorePlaces`).
        self.places: list[int] = []


_budget = _Budget()


@contextmanager
def acquire_cores(most: int, waits: bool = True) -> Iterator[int]:
    """Acquire the free cores, up to `most`, for the body of a `with`; yield their number.

    The context waits until at least one is free, or yields 0 if not `waits`. Interrupts are held until the
    cores are released, because an exception in between would lose the cores, but not while waiting.
    """
    count = 0
    with defer_signals():
        try:
            with _budget.lock:
                # One core is there for a call alone: counting takes longer than a prediction of a few rows.
                count = int(most == 1 and not _budget.in_use)
                while not count:
                    count = max(0, min(most, count_cores() - _budget.in_use))
                    if count or not waits:
                        break
                    with let_interrupts_through():
                        _budget.changed.wait()
                _budget.in_use += count
            yield count
        finally:
            with _budget.lock:
                _budget.in_use -= count
                _budget.changed.notify_all()


class CorePlaces:
    """Cores of the threads that share one call into the kernels, each on its own core where Linux allows it.

    Linux may wake a thread on the core of the thread that wakes it, and leave both there for milliseconds,
    though other cores are idle. Threads that wait for each other at barriers then take longer than one
    thread alone. Every helper thread therefore takes a place before it enters the kernel, and leaves a core
    that a thread of this or another call has taken. The cores that a thread may use stay the same. Where the
    system does not tell or change the core of a thread, nothing happens.

    Creating the object takes the present core of the calling thread, which is never moved.
    """

    def __init__(self) -> None:
        self._taken = [_find_current_core()]
        with _budget.lock:
            _budget.places += self._taken

    def take(self) -> None:
        """Take a place for the calling thread, a thread of fastnn's: move the thread if its core is taken."""
        with _budget.lock:
            core = _find_current_core()
            if core in _budget.places:
                _leave_cores(_budget.places, self._taken)
                core = _find_current_core()
            self._taken.append(core)
            try:
                _budget.places.append(core)
            except MemoryError:
                self._taken.pop()
                raise

    def release(self) -> None:
        """Give all places back, after the call."""
        with _budget.lock:
            for core in self._taken:
                _budget.places.remove(core)


def _leave_cores(*choices: Iterable[int]) -> None:
    """Move the calling thread off the cores of the first of `choices` that leaves a core to run on.

    The thread may use the same cores afterwards. A system that refuses the move leaves the thread in place.
    """
    set_cores = getattr(os, "sched_setaffinity", None)
    if set_cores is None or not hasattr(os, "sched_getaffinity"):
        return
    with suppress(OSError):
        allowed = os.sched_getaffinity(0)
        for cores in choices:
            if others := allowed.difference(cores):
                try:
                    set_cores(0, others)
                finally:
                    set_cores(0, allowed)
                return


def _find_current_core() -> int:
    return _find_core_function()()


@functools.cache
def _find_core_function() -> Callable[[], int]:
    """Return the C library's function `sched_getcpu`, or a function that returns -1."""
    try:
        return ctypes.PyDLL(None).sched_getcpu  # holds the GIL: the call takes nanoseconds
    except (AttributeError, OSError, TypeError):  # macOS, Windows
        return lambda: -1


def start_pool(n_threads: int) -> ThreadPoolExecutor:
    """Return a pool whose `n_threads` threads have all started, so that none can fail to start later.

    If the system cannot start them, this raises RuntimeError. Callers must submit work and wait for results
    within `defer_signals`: an interrupt in the Python code of the pool could leave a lock locked, and a
    thread would wait forever.
    """
    pool, ready = futures.ThreadPoolExecutor(n_threads), threading.Barrier(n_threads)
    with defer_signals():
        try:
            wait([pool.submit(ready.wait) for _ in range(n_threads)])
        except BaseException:  # a thread could not be started
            ready.abort()
            raise
    return pool


def map_in_order(
    work: Callable[[T], R], items: Iterable[T], n_threads: int, stop: Callable[[], object] = lambda: None
) -> Generator[tuple[T, Any], None, None]:
    """Yield every item with its result, in the order of the items, while threads compute the next results.

    One thread computes in the calling thread, and so does a single item. With several threads, callers must
    iterate within `defer_signals`, as for `start_pool`. `stop` makes running calls of `work` return soon: it
    is called after the last item, and also when the caller stops early or is interrupted.
    """
    pool, rest = None, iter(items)
    first_items = list(itertools.islice(rest, 2))
    items = itertools.chain(first_items, rest)
    if n_threads > 1 and len(first_items) > 1:
        with suppress(RuntimeError):  # no more threads are available, or the interpreter is exiting
            pool = start_pool(n_threads)
    if pool is None:
        for item in items:
            yield item, work(item)
        return
    try:
        ahead: deque[tuple[T, Future[R]]] = deque()
        for item in items:
            ahead.append((item, _submit(pool, work, item)))
            # Waiting results take memory: submit only as many items as keep the threads busy.
            if len(ahead) > 2 * n_threads:
                first, future = ahead.popleft()
                yield first, future.result()
        while ahead:
            first, future = ahead.popleft()
            yield first, future.result()
    finally:
        stop()
        pool.shutdown(cancel_futures=True)


def map_on_threads(work: Callable[[P], T], items: Sequence[P], n_threads: int = 0) -> list[T]:
    """Return the results of ``work(item)`` for all items, in order, computed by threads.

    There are as many threads as cores are free, at most `n_threads` unless it is 0. Ctrl-C ends the work
    after the running calls. If a user's handler does not raise, the missing results are computed.
    """
    results: dict[int, tuple[T]] = {}
    while missing := [k for k in range(len(items)) if k not in results]:
        interrupted = Flag()

        def run(k: int, interrupted: Flag = interrupted) -> tuple[T] | None:
            return None if interrupted() else (work(items[k]),)

        with (
            defer_signals(interrupted.set),
            # Without waiting, since the caller may hold cores: if none is free, this thread computes alone.
            acquire_cores(min(n_threads or len(items), len(missing)), waits=False) as count,
            closing(map_in_order(run, missing, count, interrupted.set)) as done,
        ):
            for k, result in done:
                if result is not None:
                    results[k] = result
                deliver_interrupts()
    return [results[k][0] for k in range(len(items))]


def run_on_threads(work: Callable[[T, Flag], object], queues: Sequence[Iterable[T]], n_threads: int) -> None:
    """Call ``work(item, stopping)`` for all items on threads, within a queue one after another.

    `work` handles its errors. It may set the flag `stopping`, and so does an interrupt: then no other item
    begins. The threads have the context variables of the calling thread, such as NumPy's settings.
    """
    stopping, waiting = Flag(), iter(queues)
    ended: SimpleQueue[None] = SimpleQueue()
    helpers: list[threading.Thread] = []

    def run_queues() -> None:
        try:
            for queue in waiting:
                for item in queue:
                    if not stopping():
                        work(item, stopping)
        finally:
            ended.put(None)

    try:
        with defer_signals(), suppress(RuntimeError):  # no more threads are available
            for _ in range(min(n_threads, len(queues)) if n_threads > 1 else 0):
                helper = threading.Thread(target=contextvars.copy_context().run, args=[run_queues])
                helper.start()
                helpers.append(helper)
        if not helpers:
            run_queues()
        for _ in helpers:  # an interrupt may end this wait without leaving a lock locked
            ended.get()
    finally:
        stopping.set()
        with defer_signals():
            for helper in helpers:
                helper.join()


def _submit(pool: ThreadPoolExecutor, work: Callable[[T], R], item: T) -> Future[R]:
    """Submit an item to a pool, or compute its result in this thread if the pool is closed.

    Python closes all pools when the interpreter is about to exit, while this thread may still run.
    """
    try:
        return pool.submit(work, item)
    except RuntimeError:
        done: Future[R] = Future()
        done.set_result(work(item))
        return done


class Flag:
    """Flag shared by threads. Unlike an Event, a Flag has no lock: a signal handler may set it safely."""

    def __init__(self) -> None:
        self.is_set = False

    def set(self) -> None:
        """Set the flag."""
        self.is_set = True

    def __call__(self) -> bool:
        """Return True if the flag is set."""
        return self.is_set
