"""Early stopping for `Model.train`, and the hooks behind its arguments: printing, validation, callbacks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fastnn_kernels.compiler.interrupts import let_interrupts_through

from ..system.messages import warn
from ..system.validation import (
    check_choice,
    check_fields,
    check_positive_count,
    check_rate,
    make_field,
    short_repr,
)
from .checkpoint import Checkpoint, check_best
from .history import History
from .loop import Hook, Training
from .patience import TIES, BestEpoch, Patience


@dataclass(frozen=True)
class EarlyStopping:
    """Callback that ends a training without improvement on the validation data and restores the best weights.

    Pass the object to `Model.train` in `callbacks`, together with `validation_data`.

    Parameters
    ----------
    patience : int, default 10
        Number of epochs without an improvement after which the training ends. The validation data are
        evaluated only after the epochs that the history keeps: every twentieth epoch of a run of 20,000.
    min_delta : float, default 0.0
        Smallest decrease of the validation loss, or increase of the score, that counts as an improvement.
    scorer : callable, optional
        Function ``scorer(model, X, y)`` that returns a score, the higher the better, such as ``lambda model,
        X, y: accuracy_score(y, model.predict(X))``. By default the validation loss decides, the lower the
        better. y is in the shape of the given validation data.
    ties : {"earliest", "latest"}, default "earliest"
        Epoch whose parameters are restored if several epochs have the best loss or score. Epochs that only
        tie do not extend the patience.

    Raises
    ------
    ValueError
        If `patience` is below 1, `min_delta` is below 0, `scorer` is not callable, or `ties` is unknown.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(300, noise=0.3, random_state=0)
    >>> model = fastnn.Model([2, 50, 2], random_state=0)
    >>> history = model.train(X[:200], y[:200], num_passes=5000, epsilon=0.02, reg_lambda=0.0,
    ...                       validation_data=(X[200:], y[200:]),
    ...                       callbacks=[fastnn.EarlyStopping(patience=200)])
    >>> history.stopped_early
    True
    """

    patience: int = make_field(check_positive_count, default=10)
    min_delta: float = make_field(check_rate, default=0.0)
    scorer: Callable[[Any, Any, Any], float] | None = None
    ties: str = make_field(partial(check_choice, choices=TIES), default="earliest")

    def __post_init__(self) -> None:
        check_fields(self)
        if self.scorer is not None and not callable(self.scorer):
            raise ValueError(f"scorer must be a function of model, X and y, got {short_repr(self.scorer)}")


def check_callbacks(callbacks: Any, has_validation: bool) -> list[Any]:
    """Return callbacks as a list; raise ValueError for others, and where validation data are missing."""
    try:
        checked = list(callbacks)
    except TypeError:
        raise ValueError(
            f"callbacks must be a list, as [fastnn.EarlyStopping()], got {short_repr(callbacks)}"
        ) from None
    for callback in checked:
        if isinstance(callback, Checkpoint):
            check_best(callback, has_validation)
        elif isinstance(callback, type):
            name = callback.__name__
            raise ValueError(f"callbacks must be objects, got the class {name}: call it, as in {name}()")
        elif not (callable(callback) or isinstance(callback, EarlyStopping | Hook)):
            raise ValueError(
                "callbacks must be functions, an EarlyStopping() or a Checkpoint(), got "
                f"{short_repr(callback)}"
            )
    n_stoppings = sum(isinstance(callback, EarlyStopping) for callback in checked)
    if n_stoppings > 1:
        raise ValueError("callbacks holds more than one EarlyStopping: leave one")
    if n_stoppings and not has_validation:
        raise ValueError("EarlyStopping watches validation data: pass validation_data=(X, y)")
    return checked


class PrintLoss(Hook):
    """Hook that prints the loss, the result of a function, after epoch 0 and every `every` epochs."""

    def __init__(self, loss: Callable[[], float], every: int) -> None:
        self._loss, self._every = loss, every

    def next_stop(self, training: Training) -> int:
        return training.find_next(self._every)

    def at_stop(self, training: Training) -> None:
        last = training.n_passes - 1
        if last % self._every == 0:
            print(f"Loss after iteration {last}: {self._loss():f}")


class AtKeptEpochs(Hook, ABC):
    """Base class of hooks that act after every epoch that the history keeps."""

    measures = True

    def next_stop(self, training: Training) -> int:
        return training.find_next(training.job.record_every)

    def at_stop(self, training: Training) -> None:
        record = training.job.record(training.n_passes - 1)
        if record is not None:
            self.at_kept(training, record)

    @abstractmethod
    def at_kept(self, training: Training, record: int) -> None:
        """Act after an epoch that the history keeps as entry `record`."""


class ValidateLoss(AtKeptEpochs):
    """Hook that adds validation losses, the results of a function, to the history."""

    def __init__(self, loss: Callable[[], float]) -> None:
        self._loss = loss

    def at_kept(self, training: Training, record: int) -> None:
        training.validation[record] = self._loss()


class KeepBest(AtKeptEpochs):
    """Hook that copies the parameters of the best epoch, and counts the epochs since; follows `ValidateLoss`.

    A function `score` decides, or the validation loss. `best` is the best epoch so far, if there is one.
    """

    def __init__(
        self, patience: Patience, score: Callable[[], float] | None, best: BestEpoch | None = None
    ) -> None:
        self.patience, self._score, self.best = patience, score, best

    def begin(self, training: Training) -> None:
        """Count the epochs of this training, which may be one of several of a fit."""
        self.patience.n_done = 0

    def at_kept(self, training: Training, record: int) -> None:
        """Compare the epoch with the best epoch so far, and copy its parameters if they are to be kept."""
        patience, trainer = self.patience, training.trainer
        value = float(training.validation[record]) if self._score is None else -self._score()
        # Before the first improvement, an infinite loss equals the best value, but is nothing to keep.
        if patience.observe(value, training.n_passes) and value < np.inf:
            # The patience counts from the first of equal epochs.
            n_pass = training.n_passes - 1 - patience.count
            self.best = BestEpoch(value, n_pass, trainer.current.copy(), trainer.statistics.copy())

    def warn_of_no_score(self) -> None:
        """Warn if there were scores, and none that could be the best."""
        if self._score is not None and self.patience.n_done and self.patience.best == np.inf:
            warn(
                "no score was a finite number: the last epoch is kept, and the training may have ended early"
            )


class StopEarly(KeepBest):
    """Hook that also stops the training early."""

    def begin(self, training: Training) -> None:
        """End a resumed training at once if its patience was used up before."""
        if self.best is not None:
            patience = self.patience
            patience.best, patience.n_done = (
                self.best.value,
                int(training.job.kept[training.n_records - 1]) + 1,
            )
            patience.count = patience.n_done - 1 - self.best.n_pass
            training.stopped = patience.is_over

    def after_chunk(self, training: Training) -> bool:
        return self.patience.is_over


def call_scorer(name: str, scorer: Callable[..., Any], *arguments: Any, **options: Any) -> float:
    """Return the score by a user's function, the value of the argument `name`."""
    with let_interrupts_through():
        score = scorer(*arguments, **options)
    try:
        return float(score)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must give a number, got {short_repr(score)}") from None


class CallFunctions(Hook):
    """Hook that calls users' functions with the history so far, after every chunk or minimising iteration.

    A function that returns True ends the training.
    """

    def __init__(self, functions: Iterable[Callable[[History], Any]]) -> None:
        self._functions = list(functions)
        self._n_passes = 0  # at the last call

    def next_stop(self, training: Training) -> int:
        """Return the number of epochs done after the next iteration of a minimisation."""
        return training.n_passes + 1 if training.is_minimisation else super().next_stop(training)

    def after_chunk(self, training: Training) -> bool:
        if not training.n_records:  # the history is empty before the first kept epoch
            return False
        if training.is_minimisation and training.n_passes == self._n_passes:  # within an iteration
            return False
        self._n_passes = training.n_passes
        history = training.history()
        answers = [function(history) for function in self._functions]
        return any(isinstance(answer, bool | np.bool_) and answer for answer in answers)
