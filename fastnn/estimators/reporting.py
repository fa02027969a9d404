"""Hooks that report the progress of a fit: printed lines, a progress bar, scikit-learn's callbacks.

A fit may consist of several training runs. The same hooks serve all of them, count the epochs of the fit
(`n_iter_`), and are closed once, at the end of the fit.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine.job import Job
from ..system.progress import make_progress_bar
from ..system.sklearn_internals import (
    CALLBACK_ATTRIBUTES,
    get_callbacks,
    has_watched_fits,
    safe_indexing,
    start_callbacks,
)
from ..training.loop import Hook, Training
from ..training.progress import ReportingHook, ShowProgress
from .samples import Samples

if TYPE_CHECKING:
    from .base import BaseMLP

# Largest number of tasks into which a fit is divided for scikit-learn's callbacks.
MAX_TASKS = 50


def make_callback_data(estimator: BaseMLP, X: object, data: Samples) -> dict[str, Any]:
    """Return the training data as arguments of scikit-learn's callbacks.

    "X" is a function that returns the samples, with feature names if there are any; "y" are the checked
    targets, and "metadata" further arguments of `fit`.
    """

    def get_samples() -> Any:
        if not hasattr(estimator, "feature_names_in_"):
            return data.X
        return X if data.rows is None else safe_indexing(X, data.rows)

    weights = data.given_weights
    metadata = None if weights is None else {"sample_weight": weights}
    return {"X": get_samples, "y": data.given_y, "metadata": metadata}


class Lines(ReportingHook):
    """Hook that prints a line per epoch, as scikit-learn does for ``verbose=True``."""

    def __init__(self, estimator: BaseMLP) -> None:
        self._estimator = estimator
        self._n_printed, self._n_scores = 0, len(_get_scores(estimator))

    def next_stop(self, training: Training) -> int:
        """Return the number of epochs done after the next iteration of a minimisation."""
        return training.n_passes + 1 if training.is_minimisation else super().next_stop(training)

    def after_chunk(self, training: Training) -> bool:
        estimator, scores = self._estimator, _get_scores(self._estimator)
        done = estimator.n_iter_
        for k in range(self._n_printed, done):
            # L-BFGS has no loss curve, but its chunks are iterations (`next_stop`).
            loss = estimator.loss_ if training.is_minimisation else estimator.loss_curve_[k - done]
            print(f"Iteration {k + 1}, loss = {loss:.8f}")
            if self._n_scores < len(scores):
                print(f"Validation score: {scores[self._n_scores]:f}")
                self._n_scores += 1
        self._n_printed = done
        return False


class Tasks(ReportingHook):
    """Hook that reports a fit, divided into tasks of several epochs, to scikit-learn's callbacks."""

    def __init__(self, estimator: BaseMLP, job: Job, data: dict[str, Any]) -> None:
        self._estimator, self._job, self._data = estimator, job, data
        self._task: Any = None
        self._stop_requested = False
        self._task_length = -(-job.num_passes // MAX_TASKS)
        self._n_reported = 0
        callbacks = get_callbacks(estimator)
        n_tasks = -(-job.num_passes // self._task_length) if callbacks else 0
        self._context = start_callbacks(estimator, n_tasks)
        self._context.call_on_fit_task_begin(estimator=estimator, **self._data)
        if callbacks:
            self._begin_task()

    def next_stop(self, training: Training) -> int:
        """Return the number of epochs done at the end of the present task."""
        if self._task is None:
            return training.job.num_passes
        done = self._estimator.n_iter_
        left = (done // self._task_length + 1) * self._task_length - done
        return min(training.n_passes + left, training.job.num_passes)

    def after_chunk(self, training: Training) -> bool:
        """End the present task if its epochs are done, and begin the next unless a callback ends the fit."""
        done = self._estimator.n_iter_
        # A chunk may end in the middle of an epoch, without a new epoch to report.
        ends = done > self._n_reported and (done % self._task_length == 0 or done == self._job.num_passes)
        self._n_reported = done
        if self._task is not None and ends:
            self._end_task()
            if done < self._job.num_passes and not self._stop_requested:
                self._begin_task()
        return self._stop_requested

    def close(self) -> None:
        """End the last task and the task of the whole fit."""
        if self._task is not None:
            self._end_task()
        self._report_end(self._context)

    def _begin_task(self) -> None:
        self._task = self._context.subcontext(task_name="passes")
        self._task.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def _end_task(self) -> None:
        task, self._task = self._task, None
        self._stop_requested |= self._report_end(task)

    def _report_end(self, context: Any) -> bool:
        estimator = self._estimator
        return context.call_on_fit_task_end(
            estimator=estimator,
            reconstruction_attributes=lambda: {"_state": estimator._state.copy()},
            **self._data,
        )


@contextmanager
def report_fit(estimator: BaseMLP, job: Job, is_whole: bool, data: dict[str, Any]) -> Iterator[list[Hook]]:
    """Yield the hooks for an estimator's parameter `verbose` and its callbacks; end the report with the fit.

    A partial fit has neither a bar nor tasks.
    """
    verbose = estimator.verbose
    wants_bar = verbose == 1 and not isinstance(verbose, bool | np.bool_)
    hooks: list[Hook] = [Lines(estimator)] if verbose and not wants_bar else []
    with ExitStack() as stack:
        if wants_bar and is_whole:
            bar = make_progress_bar(total=job.num_passes, unit="epoch", shown=True, dynamic_ncols=True)
            stack.enter_context(bar)
            figures = functools.partial(_make_figures, estimator, job)
            hooks.append(ShowProgress(bar, lambda _: estimator.n_iter_, figures))
        if is_whole and has_watched_fits(estimator):
            hooks.append(stack.enter_context(closing(Tasks(estimator, job, data))))
        yield hooks


def _make_figures(estimator: BaseMLP, job: Job, training: Training) -> dict[str, str]:
    texts = {}
    if estimator.n_iter_:
        texts["loss"] = f"{estimator.loss_:.4g}"
        if not training.is_minimisation:
            texts["rate"] = f"{job.rates(np.array([estimator._state.n_steps - job.steps_before]))[0]:.3g}"
    if scores := _get_scores(estimator):
        texts["score"] = f"{scores[-1]:.4g}"
    return texts


def _get_scores(estimator: BaseMLP) -> list[float]:
    """Return the validation scores so far; without `early_stopping` there are none."""
    return getattr(estimator, "validation_scores_", None) or []


def restore_attributes(estimator: BaseMLP, before: dict[str, Any]) -> None:
    """Give an estimator the attributes that it had before a fit; the fit's callbacks can still be ended."""
    attributes = estimator.__dict__
    kept = {name: attributes[name] for name in CALLBACK_ATTRIBUTES if name in attributes}
    attributes.clear()
    attributes.update(before | kept)
