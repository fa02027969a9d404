"""fit_many: parallel fits of many networks on threads.

Threads are enough, since the compiled loops release the GIL. The result of a fit does not depend on the fits
that run in parallel.
"""

from __future__ import annotations

import numbers
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from sklearn.utils import check_random_state

from fastnn_kernels.compiler.interrupts import held_interrupts

from ..system import threads
from ..system.sklearn_internals import with_callbacks
from ..system.validation import shown
from ..training.loop import Hook
from .base import BaseMLP

__all__ = ["Task", "count_threads", "describe", "fit_many", "fit_one", "run_side_by_side"]

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
        Within a fraction of a second after Ctrl-C. Estimators whose fit has begun keep the passes done so
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
                f"estimators[{k}] must be a fastnn.MLPClassifier or MLPRegressor, got {describe(estimator)}: "
                "fit others with joblib"
            )
    if len({id(estimator) for estimator in estimators}) < len(estimators):
        raise ValueError("estimators holds the same object more than once: clone it")

    def task(estimator: Any) -> Task:
        return lambda stopped: fit_one(estimator, X, y, sample_weight, stopped, X_val=X_val, y_val=y_val)

    run_side_by_side([task(estimator) for estimator in estimators], _chains(estimators), n_jobs)
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
    hooks: Sequence[Hook] = (),
    weights_val: Any = None,
) -> None:
    """Fit an estimator as its `fit` does; raise KeyboardInterrupt when `stopped` returns True."""
    estimator._validate_params()
    estimator._fit(
        X, y, sample_weight, X_val, y_val, knows_classes=knows_classes, stopped=stopped, hooks=hooks,
        weights_val=weights_val,
    )  # fmt: skip


def describe(estimator: Any) -> str:
    """Return a description of an estimator with its module: scikit-learn has classes of the same names."""
    kind = type(estimator)
    return repr(estimator) if isinstance(estimator, type) else f"{estimator!r} of {kind.__module__}"


def _chains(estimators: Sequence[Any]) -> list[list[int]]:
    """Return lists of the indices of estimators, one list for each generator from which they draw."""
    chains: dict[Any, list[int]] = {}
    for k, estimator in enumerate(estimators):
        state = estimator.random_state
        if state is None:  # NumPy's global generator, which may also be another's `random_state`
            state = check_random_state(None)
        chains.setdefault(("own", k) if isinstance(state, numbers.Integral) else id(state), []).append(k)
    return list(chains.values())


def run_side_by_side(tasks: Sequence[Task], chains: list[list[int]], n_jobs: int | None) -> None:
    """Run tasks on threads, the tasks of a chain one after another; raise the first error afterwards."""
    errors: dict[int, BaseException] = {}
    try:
        _run_chains(tasks, chains, n_jobs, errors)
        if errors:
            # An interrupt takes precedence over errors.
            first = min(errors, key=lambda k: (isinstance(errors[k], Exception), k))
            if len(tasks) > 1:
                errors[first].add_note(
                    f"This was the fit of estimator {first} of {len(tasks)}, counted from 0."
                )
            raise errors[first]
    finally:
        # The traceback of an error holds the frames that hold `errors`: without an end of this cycle, the
        # threads of an interrupted fit would wait for the garbage collector.
        errors.clear()


def _run_chains(
    tasks: Sequence[Task], chains: list[list[int]], n_jobs: int | None, errors: dict[int, BaseException]
) -> None:
    """Run the tasks, and store their errors; an interrupt ends the other tasks."""
    stopping = threading.Event()

    def run(chain: list[int]) -> None:
        for k in chain:
            if stopping.is_set():
                return
            try:
                tasks[k](stopping.is_set)
            except KeyboardInterrupt as error:
                errors[k] = error
                stopping.set()
            except Exception as error:
                errors[k] = error

    n_threads = min(count_threads(n_jobs), len(chains))
    if n_threads <= 1:
        for chain in chains:
            run(chain)
    else:
        ended: SimpleQueue[None] = SimpleQueue()

        def run_and_signal(chain: list[int]) -> None:
            try:
                run(chain)
            finally:
                ended.put(None)

        pool: ThreadPoolExecutor | None = None
        try:
            with held_interrupts():
                with suppress(RuntimeError):  # no more threads are available
                    pool = threads.started_pool(n_threads)
                futures = [] if pool is None else [pool.submit(run_and_signal, chain) for chain in chains]
            if pool is None:
                for chain in chains:
                    run(chain)
            for _ in futures:  # an interrupt may end this wait without leaving a lock locked
                ended.get()
            for future in futures:
                future.result()
        finally:  # after an interrupt, running fits end after their present chunk
            with held_interrupts():
                stopping.set()
                if pool is not None:
                    pool.shutdown()


def count_threads(n_jobs: Any) -> int:
    """Return the number of threads for `n_jobs`."""
    is_integer = isinstance(n_jobs, numbers.Integral) and type(n_jobs) is not bool
    if not (n_jobs is None or (is_integer and n_jobs)):
        raise ValueError(f"n_jobs must be None or an integer other than 0, got {n_jobs!r}")
    count = -1 if n_jobs is None else int(n_jobs)
    return count if count > 0 else max(1, threads.available_cores() + 1 + count)
