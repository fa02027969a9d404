"""Repeated partial fits of up to a batch, without the work that they have in common.

A partial fit of a few rows spends a thousand times as long on checks and allocations as on the step itself.
After two partial fits, an estimator keeps an `OnlineSteps`, which has a trainer with its buffers: the next
call copies the samples there and runs the kernel once. Every other call, and every call that would fail, runs
`fit_network`, with the same results.
"""

from __future__ import annotations

import functools
import math
import numbers
import operator
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from sklearn.utils import check_random_state

from ..engine import get_backend, limits
from ..engine.arguments import divide_step
from ..engine.job import Job
from ..engine.tiles import choose_training_width
from ..schedules import Constant
from ..system.sklearn_internals import has_watched_fits
from ..system.validation import Array, all_finite
from .fitted import record_epochs
from .samples import is_kernel_table

if TYPE_CHECKING:
    from .base import BaseMLP

# What an estimator keeps for its next partial fit: steps, or True if that call is to prepare them.
Kept: TypeAlias = "OnlineSteps | bool"


def try_online_steps(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method `partial_fit` that tries the estimator's `OnlineSteps` before `method`."""

    @functools.wraps(method)
    def partial_fit(self, X, y, *args, **options):
        steps = self.__dict__.get("_online")
        if isinstance(steps, OnlineSteps) and not args and steps.advance(self, X, y, **options):
            return self
        return method(self, X, y, *args, **options)

    return partial_fit


def make_online_steps(estimator: BaseMLP, job: Job, before: Kept) -> Kept:
    """Return what an estimator keeps for its next fit: an `OnlineSteps` if it kept something from the last.

    Two partial fits suggest a third.
    """
    is_plain = _is_plain(estimator, job)
    return OnlineSteps(estimator, job) if is_plain and before else is_plain


def _is_plain(estimator: BaseMLP, job: Job) -> bool:
    """Return True if nothing but samples and the number of steps changes from one partial fit to the next."""
    network, loss = estimator._state.network, estimator._state.network.loss
    return not (
        estimator.verbose
        or has_watched_fits(estimator)
        or getattr(estimator, "class_weight", None) is not None
        or getattr(estimator, "_has_labels", False)
        or job.is_gathered
        or job.is_sparse
        or job.average_weight
        or network.dropout
        or network.batch_norm
        or (job.n_targets > 1 and hasattr(estimator, "classes_"))
        or divide_step(network, job.batch_size) != (1, False)
        or not isinstance(job.schedule, Constant)
        or "feature_names_in_" in estimator.__dict__
        or not (job.weights == 1).all()
        or not (loss.of_labels or loss.bounds == (None, None) or hasattr(estimator, "classes_"))
        or not all(_is_constant(value) for value in _get_parameters(estimator))
    )


def _is_constant(value: object) -> bool:
    """Return True for a value that no program can change without replacing it."""
    if isinstance(value, tuple):
        return all(map(_is_constant, value))
    return value is None or isinstance(value, str | numbers.Number | np.random.RandomState)


def _get_parameters(estimator: BaseMLP) -> tuple[Any, ...]:
    return _make_getter(type(estimator))(estimator.__dict__)


@functools.cache
def _make_getter(kind: type[BaseMLP]) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    return operator.itemgetter(*kind._get_param_names())


class OnlineSteps:
    """Partial fits of one estimator, each a single step, with about as many samples as `job` or fewer."""

    def __init__(self, estimator: BaseMLP, job: Job) -> None:
        state = estimator._state
        # Room for the next power of two lets calls of more and more rows grow it a few times only.
        n = estimator._compute_batch_size(1 << (job.n_samples - 1).bit_length())
        if choose_training_width(state.network, n) < n or divide_step(state.network, n) != (1, False):
            n = job.n_samples
        memory = state.trained_memory
        self._values, self._state, self._memory = _get_parameters(estimator), state, memory
        self._arrays = state.parameters, memory.optimizer, memory.plateau
        self._saved = [array.copy() for array in self._arrays]
        X, y = (np.zeros((n, *array.shape[1:]), array.dtype) for array in (job.X, job.y))
        self._job = replace(job, X=X, y=y, weights=np.ones(n), batch_size=n, steps_before=state.n_steps)
        self._trainer: Any = get_backend("numba").trainer(
            state.network, state.parameters, state.statistics, self._job, memory
        )
        self._dtype, self._n_features = state.network.dtype, job.X.shape[1]
        self._y_tail = job.y.shape[1:] if job.n_targets > 1 else ()
        # scikit-learn draws an order from a user's generator even if a batch is all samples.
        self._draws = estimator.shuffle and not isinstance(estimator.random_state, numbers.Integral)
        self._n_done = 0
        # Two threads may share an estimator, but not the trainer: the second runs `fit_network`.
        self._lock = threading.Lock()
        self._encoding: dict[Any, float] | None = None
        if hasattr(estimator, "classes_"):
            self._classes = estimator.classes_
            encoded = estimator._encode(self._classes, self._dtype)[:, 0]
            self._encoding = dict(zip(self._classes.tolist(), encoded.tolist(), strict=True))

    def advance(self, estimator: BaseMLP, X: Any, y: object, **options: Any) -> bool:
        """Train for one step on X and y, as a partial fit does, and return True; False changes nothing."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            targets = self._encode_targets(estimator, X, y, **options)
            if targets is None:
                return False
            estimator._warn_of_batch_size(len(X))
            return self._advance(estimator, X, targets)
        finally:
            self._lock.release()

    def _encode_targets(
        self, estimator: BaseMLP, X: object, y: object, sample_weight: Any = None, classes: Any = None
    ) -> Array | None:
        """Return encoded targets (n, outputs), or None if more than the samples differs from last time."""
        state = self._state
        if not (
            sample_weight is None
            and estimator._state is state
            and state.memory is self._memory
            and state.parameters is self._arrays[0]
            and state.best is None
            and state.n_steps == self._job.steps_before + self._n_done
            and all(map(operator.is_, _get_parameters(estimator), self._values))
            and not has_watched_fits(estimator)
            and is_kernel_table(X, (self._dtype,))
            and X.shape[1] == self._n_features
            and X.shape[0] <= self._job.n_samples
            and self._trainer.has_room(X.shape[0])
            and type(y) is np.ndarray
            and y.shape == (X.shape[0], *self._y_tail)
        ):
            return None
        if self._encoding is None:
            y = y.astype(self._dtype) if y.dtype.kind in "iu" else y
            return y.reshape(len(y), -1) if y.dtype == self._dtype and all_finite(y) else None
        if y.dtype.kind != self._classes.dtype.kind or estimator.classes_ is not self._classes:
            return None
        if classes is not None and not np.array_equal(classes, self._classes):
            return None
        try:
            return np.array([self._encoding[value] for value in y.tolist()], self._dtype)[:, None]
        except KeyError:
            return None

    def _advance(self, estimator: BaseMLP, X: Array, targets: Array) -> bool:
        k = self._n_done % limits.STEPS_AHEAD
        if k == 0:
            self._coefficients = self._job.coefficients(self._n_done, limits.STEPS_AHEAD, self._dtype)
        state = self._state
        for copy, array in zip(self._saved, self._arrays, strict=True):
            np.copyto(copy, array)
        done = False
        try:
            loss = self._trainer.single_step(X, targets, self._coefficients[k])
            if math.isfinite(loss) and all_finite(self._memory.optimizer):
                self._n_done += 1
                state.n_steps += 1
                done = True
        finally:
            if not done:  # Ctrl-C, or the step diverged: `fit_network` repeats it, and raises the error
                for copy, array in zip(self._saved, self._arrays, strict=True):
                    np.copyto(array, copy)
        if done:
            estimator.n_iter_ = 0
            record_epochs(estimator, state, [loss / len(X)], len(X))
            if self._draws and len(X) > 1:
                check_random_state(estimator.random_state).shuffle(np.arange(len(X)))
        return done
