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
from sklearn.utils.parallel import Parallel, delayed

from fastnn_kernels.compiler.interrupts import defer_signals

from ..system import threads
from ..system.messages import collect_warnings, warn
from ..system.sklearn_internals import CALLBACKS

# Function that runs the fit of a number. Its second argument returns True if the fit must end.
Run = Callable[[int, Callable[[], bool]], None]

# Seconds of the fits in a chunk: enough that sending it takes a small part of the time, and few enough that
# the last chunks end at about the same time.
MIN_CHUNK_SECONDS, MAX_CHUNK_SECONDS = 0.1, 1.0
# Chunks per slot into which the fits that are left are divided.
CHUNKS_PER_SLOT = 2


def fit_all(
    fit: Callable[..., None],
    fits: Sequence[tuple[Any, ...]],
    shared: tuple[Any, ...],
    n_jobs: int | None,
    *,
    groups: Sequence[Hashable] | None = None,
    here: dict[str, Any] | None = None,
    arrived: Callable[[int], object] = lambda k: None,
    remedy: str = "fit again",
) -> None:
    """Fit estimators in place, in parallel; raise the first error afterwards.

    `fit` is a function of a module, which is called as ``fit(*fits[k], *shared, stopped=stopped)``, in this
    process with the arguments `here` too; ``stopped()`` is True if the fit must end. The first of its own
    arguments `fits[k]` is the estimator. `shared`, such as X and y, is sent to a worker once. `n_jobs` is the
    number of threads, or of the backend's jobs; None for all.

    The fits of a group run one after another in this process; a fit of the group None, by default all, may
    run anywhere. `arrived` is called with the number of each fit that has ended on a worker.

    An error has the number of the estimator as a note; that of the workers has the number of the fits that
    had ended, and `remedy`, what to do. Fits that had ended before an error or Ctrl-C are kept.
    """
    n_fits = len(fits)
    workers = _find_workers(n_jobs) if n_fits > 1 else None
    sent: list[int] = []
    queues: dict[Hashable, list[int]] = {}  # in this process, the fits of a queue run one after another
    for k, group in enumerate([None] * n_fits if groups is None else groups):
        if group is None and workers:
            sent.append(k)
        else:
            queues.setdefault(("alone", k) if group is None else group, []).append(k)
    errors: dict[int, BaseException] = {}
    found: list[list[Any]] = [[] for _ in fits]

    def run(k: int, stopped: Callable[[], bool]) -> None:
        with collect_warnings(found[k]):  # a thread cannot see the line of the user's call
            fit(*fits[k], *shared, stopped=stopped, **(here or {}))

    try:
        if workers and sent:
            _fit_on_workers(workers, fit, fits, shared, sent, errors, arrived, remedy)
        _run_on_threads(run, list(queues.values()), n_jobs, errors)
        for k, own in enumerate(found):
            _issue_warnings(own, k, errors)
        if errors:
            # An error such as Ctrl-C has ended the others, whose errors are later ones.
            ends = [k for k, error in errors.items() if not isinstance(error, Exception)]
            first = ends[0] if ends else min(errors)
            if n_fits > 1:
                errors[first].add_note(f"This was the fit of estimator {first} of {n_fits}, counted from 0.")
            raise errors[first]
    finally:
        # The traceback of an error holds the frames that hold `errors`: without an end of this cycle, the
        # threads of an interrupted fit would wait for the garbage collector.
        errors.clear()


def _issue_warnings(found: list[Any], k: int, errors: dict[int, BaseException]) -> None:
    """Issue the warnings of fit k, which the user's filters may turn into its error."""
    try:
        for message, category in found:
            warn(message, category)
    except Exception as raised:  # by filters, or by a `warnings.showwarning` of the user's
        errors.setdefault(k, raised)


# --- threads of this process -------------------------------------------------------------------------


def _run_on_threads(
    run: Run, queues: Sequence[Sequence[int]], n_jobs: int | None, errors: dict[int, BaseException]
) -> None:
    """Run the fits of all queues, those of a queue one after another; add their errors to `errors`.

    An error that is not an Exception, such as an interrupt, ends the others.
    """
    stopping = threading.Event()
    ended: SimpleQueue[None] = SimpleQueue()

    def run_queue(queue: Sequence[int]) -> None:
        for k in queue:
            if not stopping.is_set():
                try:
                    run(k, stopping.is_set)
                except BaseException as error:
                    errors[k] = error
                    if not isinstance(error, Exception):
                        stopping.set()
        ended.put(None)

    n_threads = min(_count_threads(n_jobs), len(queues))
    pool: ThreadPoolExecutor | None = None
    try:
        if n_threads > 1:
            with defer_signals():
                with suppress(RuntimeError):  # no more threads are available
                    pool = threads.start_pool(n_threads)
                if pool is not None:
                    for queue in queues:
                        pool.submit(_keep_settings(run_queue), queue)
        if pool is None:
            for queue in queues:
                run_queue(queue)
        for _ in queues:  # an interrupt may end this wait without leaving a lock locked
            ended.get()
    finally:
        if pool is not None:
            with defer_signals():  # after an interrupt, running fits end after their present chunk
                stopping.set()
                pool.shutdown()


def _keep_settings(run: Callable[[Sequence[int]], None]) -> Callable[[Sequence[int]], None]:
    """Return a function that runs on any thread with this thread's settings of scikit-learn and NumPy."""
    settings, context = get_config(), contextvars.copy_context()

    def run_with_settings(queue: Sequence[int]) -> None:
        with config_context(**settings):
            run(queue)

    return lambda queue: context.run(run_with_settings, queue)


def _count_threads(n_jobs: Any) -> int:
    is_integer = isinstance(n_jobs, numbers.Integral) and type(n_jobs) is not bool
    if not (n_jobs is None or (is_integer and n_jobs)):
        raise ValueError(f"n_jobs must be None or an integer other than 0, got {n_jobs!r}")
    count = -1 if n_jobs is None else int(n_jobs)
    return count if count > 0 else max(1, threads.count_cores() + 1 + count)


# --- workers of a joblib backend ---------------------------------------------------------------------


class Workers(NamedTuple):
    """Workers of the joblib backend that the user has chosen."""

    backend: Any
    n_jobs: int  # argument of ``joblib.Parallel``
    n_slots: int  # number of chunks that run at once


def count_slots(n_jobs: int | None) -> int:
    """Return the number of fits that run at once, here or on the workers that the user has chosen."""
    workers = _find_workers(n_jobs)
    return workers.n_slots if workers else _count_threads(n_jobs)


def _find_workers(n_jobs: int | None) -> Workers | None:
    """Return the workers of the backend that the user has chosen; None for threads of this process.

    A worker itself computes on its threads, and so does a backend with one slot, which joblib would not use.
    """
    _count_threads(n_jobs)  # check the argument
    backend, configured = get_active_backend(prefer="threads")
    if getattr(backend, "uses_threads", False) or threads.find_dask_worker() is not None:
        return None
    chosen = next((int(n) for n in (n_jobs, configured) if n is not None), -1)
    n_slots = backend.effective_n_jobs(chosen)
    return Workers(backend, chosen, n_slots) if n_slots > 1 else None


def _fit_on_workers(
    workers: Workers,
    fit: Callable[..., None],
    fits: Sequence[tuple[Any, ...]],
    shared: tuple[Any, ...],
    places: Sequence[int],
    errors: dict[int, BaseException],
    arrived: Callable[[int], object],
    remedy: str,
) -> None:
    """Fit estimators on workers, in chunks; add the errors of fits to `errors`."""
    waiting, pace = list(places), Pace()
    shared = _broadcast(workers.backend, shared)
    streams = getattr(workers.backend, "supports_return_generator", False)
    try:
        while waiting:
            # Results that come all at once show the time of a fit too late: a first call measures it.
            sent = waiting if streams or pace.n_fits else waiting[: workers.n_slots]
            calls = (
                delayed(fit_chunk)(fit, chunk, [fits[k] for k in chunk], *shared)
                for chunk in pace.make_chunks(sent, workers.n_slots)
            )
            with _open_results(workers, calls, streams) as chunks:
                for content, chunk, seconds in chunks:
                    pace.add(len(chunk), seconds)
                    outcomes = pickle.loads(content) if isinstance(content, bytes) else content
                    for k, outcome in zip(chunk, outcomes, strict=True):
                        with defer_signals():  # Ctrl-C leaves no fit that has arrived and counts as waiting
                            _adopt(fits[k][0], outcome, k, errors)
                            waiting.remove(k)
                        arrived(k)
    except BaseException as error:
        error.add_note(f"{len(places) - len(waiting)} of {len(places)} fits had ended: {remedy}.")
        raise


def _broadcast(backend: Any, shared: tuple[Any, ...]) -> tuple[Any, ...]:
    """Send arrays and tables to all workers of Dask; return `shared` with futures in their place.

    joblib would send them to one worker. Dask gives a task to a worker that has its data, and moves tasks to
    idle workers later: the others would wait.
    """
    client = getattr(backend, "client", None)  # of joblib's backend for Dask
    data = {k: each for k, each in enumerate(shared) if hasattr(each, "shape")}
    if client is None or not data:
        return shared
    futures = dict(zip(data, client.scatter(list(data.values()), broadcast=True, hash=False), strict=True))
    return tuple(futures.get(k, each) for k, each in enumerate(shared))


@contextmanager
def _open_results(workers: Workers, calls: Iterator[Any], streams: bool) -> Iterator[Any]:
    """Yield an iterable of the results of calls on workers, in the order of their ends if they stream.

    joblib's backend for Dask sets the error of a task that could not run, because its worker lacks a module
    or was killed several times, but calls nobody back: joblib would wait for ever.
    """
    backend, submit = workers.backend, workers.backend.submit

    def submit_and_report(function: Any, callback: Callable[[Any], object]) -> Any:
        task = submit(function, callback)
        if type(task) is Future:
            task.add_done_callback(lambda done: done.exception() and callback(done.exception()))
        return task

    backend.submit = submit_and_report
    results: Any = None
    return_as = "generator_unordered" if streams else "list"
    try:
        results = Parallel(workers.n_jobs, batch_size=1, return_as=return_as)(calls)
        yield results
    finally:
        vars(backend).pop("submit", None)
        if streams and results is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # joblib warns of the tasks that it cancels
                results.close()


class Pace:
    """Time of the fits so far, by which the fits that are left are divided into chunks."""

    def __init__(self) -> None:
        self.n_fits, self.seconds = 0, 0.0

    def add(self, n_fits: int, seconds: float) -> None:
        """Count fits that have ended."""
        self.seconds += seconds  # first: another thread divides by the number
        self.n_fits += n_fits

    def make_chunks(self, places: Sequence[int], n_slots: int) -> Iterator[list[int]]:
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
    fit: Callable[..., None], places: list[int], fits: list[tuple[Any, ...]], *shared: Any
) -> tuple[Any, list[int], float]:
    """Fit estimators on a worker; return their outcomes, their numbers, and the time.

    An outcome is the fitted attributes, the error, and the warnings of a fit. They are returned as one
    string of bytes: an engine would send every array by itself.
    """
    began = time.perf_counter()
    found: list[list[Any]] = [[] for _ in fits]
    errors: dict[int, BaseException] = {}

    def run(k: int, stopped: Callable[[], bool]) -> None:
        with collect_warnings(found[k]):
            fit(*fits[k], *shared, stopped=stopped)

    # A Dask worker of several threads computes as many chunks at once, a process of joblib one.
    n_threads = 1 if threads.find_dask_worker() is not None else None
    _run_on_threads(run, [[k] for k in range(len(fits))], n_threads, errors)
    for error in errors.values():
        if not isinstance(error, Exception):
            raise error
    outcomes: Any = [
        (_get_fitted_state(own[0]), _make_sendable(errors.get(k)), found[k]) for k, own in enumerate(fits)
    ]
    errors.clear()  # as in `fit_all`
    with suppress(Exception):  # classes of the user's program, which the engine's pickles can hold
        outcomes = pickle.dumps(outcomes, pickle.HIGHEST_PROTOCOL)
    return outcomes, places, time.perf_counter() - began


def _make_sendable(error: BaseException | None) -> BaseException | None:
    """Return an error, or what it says if pickles cannot hold it."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError("".join(traceback.format_exception(error)))
    return error


def _get_fitted_state(estimator: Any) -> dict[str, Any]:
    """Return the state of an estimator without what the user has set: parameters and callbacks."""
    kind: Any = type(estimator)
    given = _list_given_names(kind)
    return {name: value for name, value in estimator.__getstate__().items() if name not in given}


@functools.cache
def _list_given_names(kind: Any) -> tuple[str, ...]:
    return (*inspect.signature(kind).parameters, CALLBACKS)


def _adopt(
    estimator: Any, outcome: tuple[dict[str, Any], Any, list[Any]], k: int, errors: dict[int, BaseException]
) -> None:
    """Give an estimator the outcome of its fit on a worker: state, error and warnings."""
    fitted, error, found = outcome
    kind: Any = type(estimator)
    given = {name: value for name, value in vars(estimator).items() if name in _list_given_names(kind)}
    whole = kind.__new__(kind)
    whole.__setstate__(given | fitted)
    vars(estimator).clear()
    vars(estimator).update(vars(whole))
    if error is not None:
        errors[k] = error
    _issue_warnings(found, k, errors)
