"""fit_many: parallel fits of many networks on threads.

Threads are enough, since the compiled loops release the GIL. The result of a fit does not depend on the fits
that run in parallel.
"""

from __future__ import annotations

import numbers
import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from sklearn.utils import check_random_state

from fastnn_kernels.compiler.interrupts import held_interrupts

from ..system import threads
from ..system.sklearn_internals import with_callbacks
from ..system.validation import shown
from .base import BaseMLP

__all__ = ["Task", "count_threads", "fit_many", "fit_one", "named", "run_side_by_side"]

# Type of a function that fits one estimator. Its argument is a function that returns True if the fit must
# end.
Task = Callable[[Callable[[], bool]], None]


def fit_many(
    estimators: Iterable[Any], X: Any, y: Any, *, sample_weight: Any = None, X_val: Any = None,
    y_val: Any = None, n_jobs: int | None = None,
) -> list[Any]:  # fmt: skip
    """Fit many networks to the same data, in parallel on threads.

    Parameters
    ----------
    estimators : iterable of MLPClassifier or MLPRegressor
        Estimators with any parameters, which are fitted in place exactly as by their `fit`. Estimators whose
        `random_state` is an integer are fitted in parallel. Estimators that share a generator, as all with
        the `random_state` None do, are fitted one after another in the order of the list.
    X, y : array-like
        Samples and targets, as for `fit`.
    sample_weight : array-like (n_samples,), optional
        Weights of the samples.
    X_val, y_val : array-like, optional
        Validation data of all estimators, as for `fit`.
    n_jobs : int, optional
        Number of threads, by default the number of cores; -1 stands for all cores, -2 for all but one. A
        backend chosen in joblib has no effect.

    Returns
    -------
    list
        The fitted estimators.

    Raises
    ------
    ValueError
        If an estimator occurs twice or is not a fastnn estimator, or if `n_jobs` is 0.
    Exception
        First error of a fit, raised after all other fits, with the estimator's index as a note.
    KeyboardInterrupt
        Within a fraction of a second after Ctrl-C. Estimators whose fit has begun keep the epochs done so
        far.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> settings = {"learning_rate_init": 0.02, "max_iter": 1000, "random_state": 0}
    >>> many = [fastnn.MLPClassifier((units,), **settings) for units in (5, 10, 20)]
    >>> [bool(fitted.score(X, y) > 0.9) for fitted in fastnn.fit_many(many, X, y)]
    [True, True, True]
    """
    try:
        estimators = list(estimators)
    except TypeError:
        raise ValueError(
            f"estimators must be a list of fastnn's estimators, got {shown(estimators)}"
        ) from None
    for k, estimator in enumerate(estimators):
        if not isinstance(estimator, BaseMLP):
            raise ValueError(
                f"estimators[{k}] must be a fastnn.MLPClassifier or MLPRegressor, got {named(estimator)}: "
                "fit others with joblib"
            )
    if len({id(estimator) for estimator in estimators}) < len(estimators):
        raise ValueError("estimators holds the same object more than once: clone it")

    def task(estimator: Any) -> Task:
        return lambda stopped: fit_one(estimator, X, y, sample_weight, stopped, X_val=X_val, y_val=y_val)

    tasks = [task(estimator) for estimator in estimators]
    groups = [_generator(k, estimator.random_state) for k, estimator in enumerate(estimators)]
    run_side_by_side(tasks, n_jobs, groups)
    return estimators


@with_callbacks
def fit_one(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    stopped: Callable[[], bool],
    knows_classes: bool = False,
    X_val: Any = None,
    y_val: Any = None,
) -> None:
    """Fit an estimator as its `fit` does; raise KeyboardInterrupt when `stopped` returns True."""
    estimator._validate_params()
    estimator._fit(X, y, sample_weight, X_val, y_val, knows_classes=knows_classes, stopped=stopped)


def named(estimator: Any) -> str:
    """Return an estimator with its module, for messages: scikit-learn has classes of the same names."""
    kind = type(estimator)
    return repr(estimator) if isinstance(estimator, type) else f"{estimator!r} of {kind.__module__}"


def _generator(place: int, random_state: Any) -> Hashable:
    """Return a key that estimators have in common if they draw from the same generator."""
    if isinstance(random_state, numbers.Integral):
        return "own", place
    # None stands for NumPy's global generator, which may also be another's `random_state`.
    return id(check_random_state(None) if random_state is None else random_state)


def run_side_by_side(
    tasks: Sequence[Task], n_jobs: int | None, groups: Sequence[Hashable] | None = None
) -> None:
    """Run tasks on threads; raise the first error afterwards. An interrupt ends the other tasks.

    Parameters
    ----------
    tasks : sequence of callable
        Tasks.
    n_jobs : int, optional
        Number of threads, by default the number of cores.
    groups : sequence of hashable, optional
        Group of every task: the tasks of a group run one after another. By default all may run in parallel.
    """
    places: dict[Hashable, list[int]] = {}
    for k in range(len(tasks)):
        places.setdefault(k if groups is None else groups[k], []).append(k)
    errors: dict[int, BaseException] = {}
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
        finally:
            ended.put(None)

    n_threads = min(count_threads(n_jobs), len(places))
    pool: ThreadPoolExecutor | None = None
    futures: list[Future[None]] = []
    try:
        if n_threads > 1:
            with held_interrupts():
                with suppress(RuntimeError):  # no more threads are available
                    pool = threads.started_pool(n_threads)
                if pool is not None:
                    futures = [pool.submit(run, group) for group in places.values()]
        if pool is None:
            for group in places.values():
                run(group)
        for _ in futures:  # an interrupt may end this wait without leaving a lock locked
            ended.get()
        for future in futures:
            future.result()
        if errors:
            # An interrupt takes precedence over errors.
            first = min(errors, key=lambda k: (isinstance(errors[k], Exception), k))
            if len(tasks) > 1:
                errors[first].add_note(
                    f"This was the fit of estimator {first} of {len(tasks)}, counted from 0."
                )
            raise errors[first]
    finally:
        try:
            if pool is not None:
                with held_interrupts():  # after an interrupt, running fits end after their present chunk
                    stopping.set()
                    pool.shutdown()
        finally:
            # The traceback of an error holds the frames that hold `errors`: without an end of this cycle, the
            # threads of an interrupted fit would wait for the garbage collector.
            errors.clear()


def count_threads(n_jobs: Any) -> int:
    """Return the number of threads for `n_jobs`."""
    is_integer = isinstance(n_jobs, numbers.Integral) and type(n_jobs) is not bool
    if not (n_jobs is None or (is_integer and n_jobs)):
        raise ValueError(f"n_jobs must be None or an integer other than 0, got {n_jobs!r}")
    count = -1 if n_jobs is None else int(n_jobs)
    return count if count > 0 else max(1, threads.available_cores() + 1 + count)
