"""Fits of many networks in parallel: on threads of this process, or on the workers of a joblib backend.

On one machine threads are enough, since the compiled loops release the GIL. Where the user has chosen a
backend of joblib that runs in other processes (``joblib.parallel_config``), joblib sends the fits there, in
batches whose size it adapts to their time. The result of a fit depends on neither.
"""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Generator, Hashable, Iterable, Sequence
from contextlib import closing
from typing import Any

from joblib.parallel import get_active_backend
from sklearn import config_context, get_config
from sklearn.utils.parallel import Parallel, delayed

from fastnn_kernels.compiler.interrupts import defer_signals

from ..system import threads
from ..system.messages import collect_warnings, warn
from ..system.sklearn_internals import CALLBACKS

# Error of a fit or None, and its warnings: text and class of each.
Outcome = tuple[BaseException | None, list[Any]]


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
    process with `here` too; ``stopped()`` is True if the fit must end. ``fits[k][0]`` is the estimator.
    `n_jobs` is the number of threads, or of the backend's jobs; None for all. The fits of a group run one
    after another in this process; a fit of the group None may run anywhere. `arrived` is called with the
    number of each fit that has ended on a worker.

    An error has the number of its fit as a note; an error of the backend has the number of the fits that had
    ended, and `remedy`. Fits that had ended before an error or Ctrl-C are kept.
    """
    n_fits = len(fits)
    workers = _find_workers(n_jobs) if n_fits > 1 else None
    sent: list[int] = []
    queues: dict[Hashable, list[int]] = {}  # in this process, the fits of a queue run one after another
    for k, group in enumerate(groups or [None] * n_fits):
        if group is None and workers:
            sent.append(k)
        else:
            queues.setdefault(("alone", k) if group is None else group, []).append(k)
    outcomes: dict[int, Outcome] = {}
    errors: dict[int, BaseException] = {}
    settings = get_config()  # of scikit-learn, which each thread has its own of

    def run(k: int, stopping: threads.Flag) -> None:
        with config_context(**settings):
            outcomes[k] = error, _ = _attempt(fit, fits[k], shared, stopping, **(here or {}))
        if error is not None and not isinstance(error, Exception):  # such as an interrupt
            stopping.set()

    try:
        try:
            if workers and sent:
                calls = (delayed(fit_on_worker)(k, fit, fits[k], *shared) for k in sent)
                try:
                    with closing(_call(*workers, calls)) as results:
                        for k, content in results:
                            with defer_signals():  # Ctrl-C leaves no fit that has arrived and does not count
                                outcomes[k] = _adopt(fits[k][0], content)
                            arrived(k)
                except BaseException as error:
                    error.add_note(f"{len(outcomes)} of {len(sent)} fits had ended: {remedy}.")
                    raise
            threads.run_on_threads(run, list(queues.values()), threads.count_threads(n_jobs))
        finally:
            errors = _issue_warnings(outcomes)
        if errors:
            # An error such as Ctrl-C has ended the others, whose errors are later ones.
            first = min(errors, key=lambda k: (isinstance(errors[k], Exception), k))
            if n_fits > 1:
                errors[first].add_note(f"This was the fit of estimator {first} of {n_fits}, counted from 0.")
            raise errors[first]
    finally:
        # The traceback of an error holds the frames that hold the errors: without an end of this cycle, the
        # threads of an interrupted fit would wait for the garbage collector.
        outcomes.clear()
        errors.clear()


def _attempt(
    fit: Callable[..., None], own: tuple[Any, ...], shared: tuple[Any, ...], stopped: Any, **here: Any
) -> Outcome:
    """Run a fit; return its error and its warnings, since a thread cannot see the line of the user's call."""
    found: list[Any] = []
    try:
        with collect_warnings(found):
            fit(*own, *shared, stopped=stopped, **here)
    except BaseException as error:
        return error, found
    return None, found


def _issue_warnings(outcomes: dict[int, Outcome]) -> dict[int, BaseException]:
    """Issue the warnings of all fits; return their errors, which filters may make of a warning."""
    errors = {}
    for k, (error, found) in sorted(outcomes.items()):
        try:
            for message, category in found:
                warn(message, category)
        except Exception as raised:  # by filters, or by a `warnings.showwarning` of the user's
            error = error or raised
        if error is not None:
            errors[k] = error
    return errors


def _find_workers(n_jobs: int | None) -> tuple[Any, int] | None:
    """Return the backend that the user has chosen and its number of jobs; None for threads of this process.

    A worker itself computes on its threads, and so does a backend with one slot, which joblib would not use.
    """
    threads.count_threads(n_jobs)  # check the argument
    backend, configured = get_active_backend(prefer="threads")
    if getattr(backend, "uses_threads", False) or threads.find_dask_worker() is not None:
        return None
    chosen = int(n_jobs or configured or -1)
    return (backend, chosen) if backend.effective_n_jobs(chosen) > 1 else None


def count_slots(n_jobs: int | None) -> int:
    """Return the number of fits that run at once, here or on the workers that the user has chosen."""
    workers = _find_workers(n_jobs)
    return workers[0].effective_n_jobs(workers[1]) if workers else threads.count_threads(n_jobs)


def _call(backend: Any, n_jobs: int, calls: Iterable[Any]) -> Generator[Any, None, None]:
    streams = getattr(backend, "supports_return_generator", False)
    yield from Parallel(n_jobs, return_as="generator_unordered" if streams else "list")(calls)


def fit_on_worker(k: int, fit: Callable[..., None], own: tuple[Any, ...], *shared: Any) -> tuple[int, Any]:
    """Run a fit on a worker; return its number and its result: fitted attributes, error, and warnings."""
    error, found = _attempt(fit, own, shared, lambda: False)
    if error is not None and not isinstance(error, Exception):
        raise error
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError("".join(traceback.format_exception(error)))
    names = _list_given_names(own[0])
    result = {name: value for name, value in own[0].__getstate__().items() if name not in names}, error, found
    try:  # an engine would send every array by itself
        return k, pickle.dumps(result, pickle.HIGHEST_PROTOCOL)
    except Exception:  # classes of the user's program, which the engine's pickles can hold
        return k, result


def _adopt(estimator: Any, content: Any) -> Outcome:
    """Give an estimator the result of `fit_on_worker`; return error and warnings."""
    fitted, error, found = pickle.loads(content) if isinstance(content, bytes) else content
    for name in vars(estimator).keys() - _list_given_names(estimator):  # of an earlier fit
        delattr(estimator, name)
    estimator.__setstate__(fitted)
    return error, found


def _list_given_names(estimator: Any) -> set[str]:
    return {*estimator._get_param_names(), CALLBACKS}
