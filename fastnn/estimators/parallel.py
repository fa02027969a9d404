"""Fits of many networks in parallel: on threads of this process, or on the workers of a joblib backend.

On one machine threads are enough, since the compiled loops release the GIL. Where the user has chosen a
backend of joblib that runs in other processes (``joblib.parallel_config``), the fits go there in chunks, each
of which runs its fits on the threads of its worker. The result of a fit depends on neither.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import math
import numbers
import pickle
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any, NamedTuple

from joblib.parallel import get_active_backend
from sklearn import config_context, get_config
from sklearn.base import BaseEstimator
from sklearn.utils.parallel import Parallel, delayed

from fastnn_kernels.compiler.interrupts import held_interrupts

from ..system import threads
from ..system.messages import collected_warnings, warn
from ..system.sklearn_internals import CALLBACKS

__all__ = ["Task", "chosen_workers", "count_slots", "fit_all", "run_side_by_side"]

# Type of a function that fits one estimator. Its argument is a function that returns True if the fit must
# end.
Task = Callable[[Callable[[], bool]], None]
# Errors of tasks or fits, by their number.
Errors = dict[int, BaseException]

# Seconds of the fits in a chunk: enough that sending it takes a small part of the time, and few enough that
# the last chunks end at about the same time.
MIN_CHUNK_SECONDS, MAX_CHUNK_SECONDS = 0.1, 1.0
# Chunks per slot into which the fits that are left are divided.
CHUNKS_PER_SLOT = 2
# Number of times in a row that fits are sent to workers without any result before that is an error.
MAX_TRIES = 3
# Seconds between checks that a worker is left.
WATCH_SECONDS = 2.0


class Workers(NamedTuple):
    """Workers of a joblib backend.

    Parameters
    ----------
    backend : ParallelBackendBase
        Backend that the user has chosen.
    n_jobs : int
        Argument of ``joblib.Parallel``.
    n_slots : int
        Number of chunks that run at once.
    """

    backend: Any
    n_jobs: int
    n_slots: int


def fit_all(
    fit: Callable[..., None], estimators: Sequence[Any], own: Sequence[tuple[Any, ...]],
    shared: tuple[Any, ...], n_jobs: int | None, *, groups: Sequence[Hashable] | None = None,
    n_threads: int | None = None, here: dict[str, Any] | None = None, ends_at_error: bool = False,
    arrived: Callable[[int], object] = lambda k: None,
) -> None:  # fmt: skip
    """Fit estimators in place, in parallel; raise the first error afterwards.

    Parameters
    ----------
    fit : callable
        Function of a module that fits an estimator: ``fit(estimator, *own[k], *shared, stopped=stopped)``,
        with a function `stopped` that returns True if the fit must end.
    estimators : sequence
        Estimators, or other objects with the methods `__getstate__` and `__setstate__`.
    own : sequence of tuple
        Further arguments of every fit.
    shared : tuple
        Further arguments of all fits, such as X and y. They are sent to a worker once.
    n_jobs : int, optional
        Number of threads, or of the backend's jobs; by default all.
    groups : sequence of hashable, optional
        Group of every fit. The fits of a group run one after another in this process; a fit of the group
        None may run anywhere. By default that holds for all.
    n_threads : int, optional
        Number of threads where it is not `n_jobs`.
    here : dict, optional
        Further arguments of fits in this process.
    ends_at_error : bool
        True if fits in this process that have not begun are left out after an error.
    arrived : callable
        Function of the number of a fit, called when the fit of a worker has ended.

    Raises
    ------
    Exception
        First error of a fit, with the number of the estimator as a note.
    TimeoutError
        If a cluster has lost all its workers. Fits that had ended before are kept.
    KeyboardInterrupt
        After Ctrl-C. Fits that had ended before are kept.
    """
    groups = [None] * len(estimators) if groups is None else groups
    workers = chosen_workers(n_jobs) if len(estimators) > 1 else None
    sent = [k for k, group in enumerate(groups) if workers and group is None]
    kept = sorted(set(range(len(estimators))).difference(sent))
    errors: Errors = {}

    def task(k: int) -> Task:
        return lambda stopped: fit(estimators[k], *own[k], *shared, stopped=stopped, **(here or {}))

    try:
        if workers and sent:
            _fit_on_workers(workers, fit, estimators, own, shared, sent, errors, arrived)
        tasks, own_groups = [task(k) for k in kept], [groups[k] for k in kept]
        found = _run_on_threads(tasks, n_threads or n_jobs, own_groups, ends_at_error)
        errors.update((kept[place], error) for place, error in found.items())
        _raise_first(errors, len(estimators))
    finally:
        errors.clear()  # see `run_side_by_side`


# --- threads of this process -------------------------------------------------------------------------


def run_side_by_side(tasks: Sequence[Task], n_jobs: int | None) -> None:
    """Run tasks on `n_jobs` threads, by default as many as there are cores; raise the first error afterwards.

    An interrupt ends the other tasks.
    """
    errors = _run_on_threads(tasks, n_jobs, [None] * len(tasks))
    try:
        _raise_first(errors, len(tasks))
    finally:
        # The traceback of an error holds the frames that hold `errors`: without an end of this cycle, the
        # threads of an interrupted fit would wait for the garbage collector.
        errors.clear()


def _raise_first(errors: Errors, n_fits: int) -> None:
    """Raise the first error, if there is one; an interrupt takes precedence."""
    if errors:
        first = min(errors, key=lambda k: (isinstance(errors[k], Exception), k))
        if n_fits > 1:
            errors[first].add_note(f"This was the fit of estimator {first} of {n_fits}, counted from 0.")
        raise errors[first]


def _run_on_threads(
    tasks: Sequence[Task], n_jobs: int | None, groups: Sequence[Hashable], ends_at_error: bool = False
) -> Errors:
    """Run tasks on threads, those of a group other than None one after another; return their errors."""
    places: dict[Hashable, list[int]] = {}
    for k, key in enumerate(groups):
        places.setdefault(("alone", k) if key is None else key, []).append(k)
    errors: Errors = {}
    stopping = threading.Event()
    ended: SimpleQueue[None] = SimpleQueue()

    def run(group: list[int]) -> None:
        try:
            for k in group:
                if stopping.is_set():
                    return
                try:
                    tasks[k](stopping.is_set)
                except KeyboardInterrupt as error:
                    errors[k] = error
                    stopping.set()
                except Exception as error:
                    errors[k] = error
                    if ends_at_error:
                        stopping.set()
                except BaseException:  # such as SystemExit
                    stopping.set()
                    raise
        finally:
            ended.put(None)

    n_threads = min(_count_threads(n_jobs), len(places))
    pool: ThreadPoolExecutor | None = None
    futures: list[Future[None]] = []
    try:
        if n_threads > 1:
            with held_interrupts():
                with suppress(RuntimeError):  # no more threads are available
                    pool = threads.started_pool(n_threads)
                if pool is not None:
                    futures = [pool.submit(_with_settings(run), group) for group in places.values()]
        if pool is None:
            for alone in places.values():
                run(alone)
        for _ in futures:  # an interrupt may end this wait without leaving a lock locked
            ended.get()
        for future in futures:
            future.result()
        return errors
    finally:
        if pool is not None:
            with held_interrupts():  # after an interrupt, running fits end after their present chunk
                stopping.set()
                pool.shutdown()


def _with_settings(run: Callable[[list[int]], None]) -> Callable[[list[int]], None]:
    """Return a function that runs on any thread with this thread's settings of scikit-learn and NumPy."""
    settings, context = get_config(), contextvars.copy_context()

    def run_with_settings(group: list[int]) -> None:
        with config_context(**settings):
            run(group)

    return lambda group: context.run(run_with_settings, group)


def _count_threads(n_jobs: Any) -> int:
    """Return the number of threads for `n_jobs`."""
    is_integer = isinstance(n_jobs, numbers.Integral) and type(n_jobs) is not bool
    if not (n_jobs is None or (is_integer and n_jobs)):
        raise ValueError(f"n_jobs must be None or an integer other than 0, got {n_jobs!r}")
    count = -1 if n_jobs is None else int(n_jobs)
    return count if count > 0 else max(1, threads.available_cores() + 1 + count)


# --- workers of a joblib backend ---------------------------------------------------------------------


def count_slots(n_jobs: int | None) -> int:
    """Return the number of fits that run at once, here or on the workers that the user has chosen."""
    workers = chosen_workers(n_jobs)
    return workers.n_slots if workers else _count_threads(n_jobs)


def chosen_workers(n_jobs: int | None) -> Workers | None:
    """Return the workers of the backend that the user has chosen; None for threads of this process.

    A worker itself computes on its threads, and so does a backend with one slot, which joblib would not use.
    """
    _count_threads(n_jobs)  # check the argument
    backend, configured = get_active_backend(prefer="threads")
    if getattr(backend, "uses_threads", False) or threads.dask_worker() is not None:
        return None
    chosen = next((int(n) for n in (n_jobs, configured) if n is not None), -1)
    n_slots = backend.effective_n_jobs(chosen)
    return Workers(backend, chosen, n_slots) if n_slots > 1 else None


def _fit_on_workers(
    workers: Workers, fit: Callable[..., None], estimators: Sequence[Any], own: Sequence[tuple[Any, ...]],
    shared: tuple[Any, ...], places: Sequence[int], errors: Errors, arrived: Callable[[int], object],
) -> None:  # fmt: skip
    """Fit estimators on workers; collect the errors of fits. What failing workers have lost is sent again."""
    waiting, pace, n_failures = list(places), Pace(), 0
    streams = getattr(workers.backend, "supports_return_generator", False)
    while waiting:
        # Results that come all at once show the time of a fit too late: a first call measures it.
        sent = waiting if streams or pace.n_fits else waiting[: workers.n_slots]
        try:
            with _outcomes(workers, fit, estimators, own, shared, sent, pace, streams) as chunks:
                for content, chunk, seconds in chunks:
                    outcomes = pickle.loads(content) if isinstance(content, bytes) else content
                    pace.add(len(chunk), seconds)
                    for k, outcome in zip(chunk, outcomes, strict=True):
                        _adopt(estimators[k], outcome, k, errors)
                        waiting.remove(k)
                        arrived(k)
                    n_failures = 0
        except NoWorkersError as error:
            raise TimeoutError(
                f"no worker is left: {len(places) - len(waiting)} of {len(places)} fits have ended, and are "
                "kept; start workers, and fit the others again"
            ) from error.__cause__
        except Exception as error:
            n_failures += 1
            if n_failures == MAX_TRIES:
                kind = type(workers.backend).__name__
                error.add_note(f"fastnn has sent the fits to {kind} {n_failures} times without a result.")
                raise


class NoWorkersError(Exception):
    """The backend has lost all its workers."""


@contextmanager
def _outcomes(
    workers: Workers, fit: Callable[..., None], estimators: Sequence[Any], own: Sequence[tuple[Any, ...]],
    shared: tuple[Any, ...], places: Sequence[int], pace: Pace, streams: bool,
) -> Iterator[Any]:  # fmt: skip
    """Send fits to workers in chunks; yield an iterable of the chunks' results, in the order of their ends.

    If all workers are lost, the engine may wait for ever: a thread asks joblib for the number of workers, and
    an error of its time-out ends the wait. So does a task that failed outside of a fit, and a process that
    was killed while it sent its results.
    """
    parallel = Parallel(workers.n_jobs, batch_size=1, return_as="generator_unordered" if streams else "list")
    scattered: list[int] = []
    ended = threading.Event()
    lost: list[BaseException] = []
    failed: list[BaseException] = []

    def watch() -> None:
        killed: set[int] = set()
        while not (lost or failed or ended.wait(WATCH_SECONDS)):
            with suppress(Exception):  # parts of the executor that joblib does not promise
                killed = _noticed_killed(getattr(workers.backend, "_workers", None), killed)
            # joblib's backend for Dask reports the ends of tasks, but not that Dask could not run one.
            with suppress(RuntimeError):  # the set changes
                for task in [getattr(one, "job", None) for one in getattr(parallel, "_jobs_set", ())]:
                    if isinstance(task, Future) and task.done() and not task.cancelled():
                        failed.extend(filter(None, [task.exception()]))
            try:
                workers.backend.effective_n_jobs(workers.n_jobs)
            except Exception as error:
                lost.append(error)
        if lost or failed:
            parallel.timeout = 1e-3  # `Parallel` raises TimeoutError now

    calls = (
        delayed(fit_chunk)(fit, chunk, [estimators[k] for k in chunk], [own[k] for k in chunk], *shared)
        for chunk in pace.chunks(places, workers.n_slots)
    )
    watching = threading.Thread(target=watch, daemon=True)
    chunks: Any = ()
    try:
        watching.start()
        if len(places) >= workers.n_slots:
            scattered = _broadcast(workers.backend, shared)
        chunks = parallel(calls)
        yield chunks
    except Exception as error:  # the TimeoutError of the engine's own module
        if failed:
            raise failed[0] from None
        if lost or isinstance(error, TimeoutError):
            raise NoWorkersError from (lost[0] if lost else error)
        raise
    finally:
        ended.set()
        watching.join(0.1)  # it may be asking a cluster without workers
        if getattr(chunks, "gi_frame", None) is not None:  # an interrupt has left results
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # joblib warns of the tasks that it cancels
                chunks.close()
        for key in scattered:
            workers.backend.data_futures.pop(key, None)


def _noticed_killed(executor: Any, killed_before: set[int]) -> set[int]:
    """Return the processes of joblib's executor that have been killed; let the executor notice them.

    As soon as a process is killed, the executor fails, unless the process was sending results: then it waits
    for the rest, for ever. If it has not failed since the last call, let it read the end of the pipe, which
    all processes must have closed, this one included.
    """
    processes = dict(getattr(executor, "_processes", None) or {})
    killed = {number for number, process in processes.items() if process.exitcode}
    writer = getattr(getattr(executor, "_result_queue", None), "_writer", None)
    if killed & killed_before and writer is not None:
        for process in processes.values():
            process.terminate()
        writer.close()
    return killed


def _broadcast(backend: Any, shared: tuple[Any, ...]) -> list[int]:
    """Send arrays and tables to all workers of Dask; return their keys in the backend.

    joblib would send them to one worker. Dask gives a task to a worker that has its data, and moves tasks to
    idle workers later: the others would wait.
    """
    known = getattr(backend, "data_futures", None)  # of joblib's backend for Dask
    if known is None:
        return []
    data = {id(each): each for each in shared if hasattr(each, "shape") and id(each) not in known}
    if not data:  # Dask scatters no empty list
        return []
    # Without workers, wait as long as joblib would.
    options = {"broadcast": True, "hash": False, "timeout": backend.wait_for_workers_timeout or 0}
    known.update(zip(data, backend.client.scatter(list(data.values()), **options), strict=True))
    return list(data)


class Pace:
    """Time of the fits so far, by which the fits that are left are divided into chunks."""

    def __init__(self) -> None:
        self.n_fits, self.seconds = 0, 0.0

    def add(self, n_fits: int, seconds: float) -> None:
        """Count fits that have ended."""
        self.seconds += seconds  # first: another thread divides by the number
        self.n_fits += n_fits

    def chunks(self, places: Sequence[int], n_slots: int) -> Iterator[list[int]]:
        """Yield the numbers of the fits of every chunk: one each while their time is unknown."""
        places = list(places)
        while places:
            size = 1
            if self.n_fits:
                each = max(self.seconds / self.n_fits, 1e-9)
                left = each * len(places) / (CHUNKS_PER_SLOT * n_slots)
                size = math.ceil(min(MAX_CHUNK_SECONDS, max(MIN_CHUNK_SECONDS, left)) / each)
            chunk, places = places[:size], places[size:]
            yield chunk


def fit_chunk(
    fit: Callable[..., None], places: list[int], estimators: list[Any], own: list[tuple[Any, ...]],
    *shared: Any,
) -> tuple[Any, list[int], float]:  # fmt: skip
    """Fit estimators on a worker; return their outcomes, their numbers, and the time.

    An outcome is the fitted attributes, the error, and the warnings of a fit. They are returned as one
    string of bytes: an engine would send every array by itself.
    """
    began = time.perf_counter()
    found: list[list[Any]] = [[] for _ in estimators]

    def task(k: int) -> Task:
        def run(stopped: Callable[[], bool]) -> None:
            with collected_warnings(found[k]):
                fit(estimators[k], *own[k], *shared, stopped=stopped)

        return run

    # A Dask worker of several threads computes as many chunks at once, a process of joblib one.
    n_threads = 1 if threads.dask_worker() is not None else None
    errors = _run_on_threads([task(k) for k in range(len(estimators))], n_threads, [None] * len(estimators))
    for error in errors.values():
        if isinstance(error, KeyboardInterrupt):
            raise error
    outcomes: Any = [(_fitted(one), _sendable(errors.get(k)), found[k]) for k, one in enumerate(estimators)]
    errors.clear()  # see `run_side_by_side`
    with suppress(Exception):  # classes of the user's program, which the engine's pickles can hold
        outcomes = pickle.dumps(outcomes, pickle.HIGHEST_PROTOCOL)
    return outcomes, places, time.perf_counter() - began


def _sendable(error: BaseException | None) -> BaseException | None:
    """Return an error, or what it says if pickles cannot hold it."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error


def _fitted(estimator: Any) -> dict[str, Any]:
    """Return the state of an estimator without what the user has set: parameters and callbacks."""
    kind: Any = type(estimator)
    given = _given_names(kind)
    return {name: value for name, value in estimator.__getstate__().items() if name not in given}


@functools.cache
def _given_names(kind: type) -> tuple[str, ...]:
    """Return the names of the attributes that the user sets: the parameters of a class of estimators."""
    return (*inspect.signature(kind).parameters, CALLBACKS) if issubclass(kind, BaseEstimator) else ()


def _adopt(estimator: Any, outcome: tuple[dict[str, Any], Any, list[Any]], k: int, errors: Errors) -> None:
    """Give an estimator the outcome of its fit on a worker: state, error and warnings."""
    fitted, error, found = outcome
    kind: Any = type(estimator)
    given = {name: vars(estimator)[name] for name in _given_names(kind) if name in vars(estimator)}
    whole = kind.__new__(kind)
    whole.__setstate__({**given, **fitted})
    with held_interrupts():
        vars(estimator).clear()
        vars(estimator).update(vars(whole))
    if error is not None:
        errors[k] = error
    try:
        for message, category in found:
            warn(message, category)
    except Exception as raised:  # by the user's filters, or by a `warnings.showwarning` of the user's
        errors.setdefault(k, raised)
