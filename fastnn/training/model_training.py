"""Training of a `Model`: check the arguments, choose trainer and hooks, run the loop, keep the results."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastnn_kernels.compiler.interrupts import held_interrupts, let_interrupts_through

from ..engine.checks import check_batches
from ..engine.choice import get_backend
from ..engine.job import Job, Memory
from ..engine.predictions import check_data
from ..engine.protocol import Trainer
from ..network.description import Network
from ..optimizers import LBFGS, resolve_optimizer
from ..schedules import Constant, resolve_schedule
from ..system.messages import warn
from ..system.progress import progress_bar
from ..system.validation import (
    check_choice,
    check_count,
    check_flag,
    check_limit,
    check_number,
    check_rate,
    check_weights,
    shown,
)
from .callbacks import (
    PRINT_EVERY,
    CallFunctions,
    EarlyStopping,
    PrintLoss,
    StopEarly,
    ValidateLoss,
    sort_callbacks,
)
from .checkpoint import Checkpoint, SaveCheckpoint
from .hints import may_be_too_high, rate_hint, rise_hint
from .history import History, record_every
from .loop import Hook, KeepHistory, Training, run_training
from .progress import ShowProgress, training_figures
from .resuming import Beginning
from .state import TrainingState

__all__ = ["Observers", "check_lbfgs", "checked_job", "checked_observers", "train_model"]

Array = NDArray[Any]


class WeightedSamples(NamedTuple):
    """Checked samples (n, inputs), targets (n, outputs), weights (n,), and the shape of the user's y."""

    X: Array
    y: Array
    weights: Array
    given_shape: tuple[int, ...]


class Observers(NamedTuple):
    """Arguments of `Model.train` that observe or end a training."""

    validation: WeightedSamples | None
    stopping: EarlyStopping | None  # requires `validation`
    functions: Sequence[Callable[[History], Any]]  # users' functions of the history so far
    hooks: Sequence[Hook | Checkpoint]  # users' hooks, called before those of the other fields; checkpoints
    print_every: int | None  # epochs from one printed loss to the next; None prints nothing
    progress: bool  # True shows a progress bar


def checked_job(
    network: Network, X: Any, y: Any, sample_weight: Any, *, num_passes: Any, batch_size: Any,
    reduction: Any, shuffle: Any, optimizer: Any, schedule: Any, epsilon: Any, reg_lambda: Any, l1: Any,
    max_norm: Any, clip_norm: Any, ema_decay: Any, n_threads: Any,
) -> Job:  # fmt: skip
    """Check the data and settings that `Model.train` documents, and return them as a job."""
    X, y = check_data(network, X, y)
    weights = check_weights(sample_weight, X.shape[0])
    chosen = resolve_optimizer(optimizer)
    n_samples = X.shape[0]
    num_passes = check_count(num_passes, "num_passes")
    size = n_samples if batch_size is None else min(check_count(batch_size, "batch_size", 1), n_samples)
    check_batches(network, size, n_samples)
    job = Job(
        X, y, weights,
        num_passes=num_passes,
        batch_size=size,
        averaged=check_choice(reduction, "reduction", ("sum", "mean")) == "mean",
        shuffled=check_flag(shuffle, "shuffle") and size < n_samples,
        optimizer=chosen,
        schedule=resolve_schedule(schedule),
        epsilon=check_rate(epsilon, "epsilon"),
        reg_lambda=check_rate(reg_lambda, "reg_lambda"),
        l1=check_rate(l1, "l1"),
        max_norm=check_limit(max_norm, "max_norm"),
        clip_norm=check_limit(clip_norm, "clip_norm"),
        average_share=_check_decay(ema_decay),
        record_every=record_every(num_passes),
        n_threads=0 if n_threads is None else check_count(n_threads, "n_threads", 1),
    )  # fmt: skip
    if isinstance(chosen, LBFGS):
        check_lbfgs(network, job)
    return job


def checked_observers(
    network: Network, validation_data: Any, callbacks: Any, print_loss: Any, print_every: Any, progress: Any
) -> Observers:
    """Check the arguments of `Model.train` that observe or end a training, and return them."""
    validation = _check_validation(network, validation_data)
    functions, hooks, stopping = sort_callbacks(callbacks, validation is not None)
    print_loss, progress = check_flag(print_loss, "print_loss"), check_flag(progress, "progress")
    if print_every is not None:
        print_every = check_count(print_every, "print_every", 1)
    elif print_loss:
        print_every = PRINT_EVERY
    return Observers(validation, stopping, functions, hooks, print_every, progress)


def train_model(model: Any, beginning: Beginning, observers: Observers) -> History:
    """Train a model in place, and return its history.

    Parameters
    ----------
    model : Model
        Model whose parameters, running statistics and `history_` are updated; it holds those of `beginning`.
    beginning : Beginning
        Data and settings of the training, and the state that it resumes.
    observers : Observers
        Validation data, callbacks and what is printed.

    Returns
    -------
    History
        History of the training, also in ``model.history_``.

    Raises
    ------
    DivergenceError
        If a parameter, a running statistic, the optimizer's state or the last loss becomes infinite or NaN.
    """
    job, generator, resumed = beginning.job, beginning.generator, beginning.resumed
    validation, stopping, functions, hooks, print_every, progress = observers
    network, backend = model._network, get_backend(model.backend)
    parameters, statistics = model._parameters, model._statistics
    # After the training, a trial with a lower rate may have to start from the same parameters: copy them.
    start = (parameters.copy(), statistics.copy()) if may_be_too_high(job) and not resumed else None
    checkpoints = [hook for hook in hooks if isinstance(hook, Checkpoint)]
    if resumed is None:
        # A digest of all bytes takes time: without checkpoints, the digests of large data cover parts.
        state = TrainingState.of_job(job, whole=bool(checkpoints))
    else:
        state = replace(resumed, num_passes=job.num_passes)
    trainer: Trainer
    if isinstance(job.optimizer, LBFGS):
        lbfgs_memory = None if resumed is None else resumed.memory
        assert not isinstance(lbfgs_memory, Memory)
        trainer = backend.lbfgs_trainer(network, parameters, statistics, job, lbfgs_memory)
    else:
        if resumed is not None and isinstance(resumed.memory, Memory):
            memory = resumed.memory.writeable()
        else:
            memory = Memory.fresh(network, parameters, job, generator)
        trainer = backend.trainer(network, parameters, statistics, job, memory)
    validation_losses = np.full(len(job.kept), np.nan)
    if resumed is not None:
        resumed.fill(job, trainer.records, validation_losses)

    def loss(samples: WeightedSamples) -> float:
        X, y, weights, _ = samples
        folded = network.folded(trainer.current, statistics)
        return backend.loss(network, folded, X, y, weights / weights.sum())

    running: list[Hook] = [hook for hook in hooks if isinstance(hook, Hook)]
    if print_every:
        training_samples = WeightedSamples(job.X, job.y, job.weights, job.y.shape)
        running.append(PrintLoss(lambda: loss(training_samples), print_every))
    stop_early = None
    if validation:
        running.append(ValidateLoss(lambda: loss(validation)))
        if stopping:

            def value() -> float:
                if stopping.scorer is None:
                    return loss(validation)
                scored = copy.copy(model)
                scored._parameters, scored._statistics = trainer.current.copy(), statistics.copy()
                with let_interrupts_through():
                    score = stopping.scorer(scored, validation.X, _user_targets(network, validation))
                try:
                    return -float(score)
                except (TypeError, ValueError):
                    raise ValueError(f"scorer must give a number, got {shown(score)}") from None

            stop_early = StopEarly(stopping, value, None if resumed is None else resumed.best)
            running.append(stop_early)

    def present_state(training: Training) -> TrainingState:
        """Return the state after the last step."""
        n_passes = -(-trainer.n_steps // job.n_batches)
        best = None if stop_early is None else stop_early.best
        n_records = int(np.searchsorted(training.kept, n_passes))
        return replace(state, record_every=job.record_every).after(
            trainer, n_records, training.validation, best
        )

    def outcome() -> tuple[Array, Array]:
        """Return the parameters and statistics that the training leaves if it ends now."""
        if stop_early is not None and stop_early.best is not None:
            return stop_early.best.parameters, stop_early.best.statistics
        return trainer.current, statistics

    n_done = trainer.n_passes
    with progress_bar(
        total=job.num_passes, initial=n_done, unit="epoch", shown=progress, dynamic_ncols=True
    ) as bar:
        if progress:
            figures = training_figures(n_done)
            running.append(ShowProgress(bar, lambda training: training.n_passes, figures, n_done))
        if functions:
            running.append(CallFunctions(functions))
        running.append(KeepHistory(model, present_state))
        subject = _TrainedModel(model, present_state, outcome)
        running += [SaveCheckpoint(checkpoint, subject) for checkpoint in checkpoints]
        run_training(trainer, job, running, validation_losses).check_loss()
    with held_interrupts():
        if outcome()[0] is not parameters:
            model._training.last = parameters.copy(), statistics.copy()
            parameters[...], statistics[...] = outcome()
    hint = None if start is None else rate_hint(backend, network, *start, job, model.history_)
    if hint := hint or rise_hint(job, model.history_):
        warn(hint)
    return model.history_


class _TrainedModel:
    """Model during its training: the `Subject` of checkpoints, whose class documents the methods.

    Parameters
    ----------
    model : Model
        Model that is trained.
    present_state : callable
        Function of the training that returns its present state.
    outcome : callable
        Function that returns the parameters and statistics that the training leaves if it ends now.
    """

    whole_epochs = False

    def __init__(
        self,
        model: Any,
        present_state: Callable[[Training], TrainingState],
        outcome: Callable[[], tuple[Array, Array]],
    ) -> None:
        self._model, self._present_state, self._outcome = model, present_state, outcome

    def progress(self, training: Training) -> tuple[int, int]:
        return training.n_passes, training.trainer.n_steps

    def now(self, training: Training) -> Any:
        model, state = copy.copy(self._model), self._present_state(training)
        model._parameters, model._statistics = self._outcome()
        if model._parameters is not self._model._parameters:
            state.last = self._model._parameters, self._model._statistics
        model._training, model.history_ = state, training.history()
        return model

    def validation(self, training: Training) -> Array:
        return training.validation[: training.n_records]

    def copied(self, training: Training) -> Any:
        model, trainer = copy.copy(self._model), training.trainer
        model._parameters, model._statistics = trainer.current.copy(), trainer.statistics.copy()
        return model


def _check_decay(value: Any) -> float:
    """Return ``1 - ema_decay``, the fraction of the new parameters in their running average; 0 for None."""
    return 0.0 if value is None else 1.0 - check_number(value, "ema_decay", 0.0, 1.0, exclusive_end=True)


def check_lbfgs(network: Network, job: Job) -> None:
    """Raise ValueError if a job has a setting that L-BFGS does not support."""
    for name, value in (
        ("batch_size", job.batch_size < job.X.shape[0]),
        ("schedule", not isinstance(job.schedule, Constant)),
        ("l1", job.l1),
        ("max_norm", job.max_norm),
        ("clip_norm", job.clip_norm),
        ("ema_decay", job.average_share),
        ("dropout", network.dropout),
    ):
        if value:
            raise ValueError(
                f"optimizer 'lbfgs' does not support {name}: it minimises one smooth loss over all samples "
                f"and chooses its own steps. Leave {name} out, or choose another optimizer"
            )


def _check_validation(network: Network, data: Any) -> WeightedSamples | None:
    """Return checked validation data with weights of 1, or None for None."""
    if data is None:
        return None
    if not (isinstance(data, tuple | list) and len(data) == 2):
        count = f" of {len(data)}" if isinstance(data, tuple | list) else ""
        raise ValueError(f"validation_data must be a pair (X, y), got {type(data).__name__}{count}")
    X, y = check_data(network, data[0], data[1], suffix=" of validation_data")
    return WeightedSamples(X, y, np.ones(X.shape[0]), np.shape(data[1]))


def _user_targets(network: Network, validation: WeightedSamples) -> Array:
    """Return checked targets for users' scorers: labels as integers (n,), others in the user's shape."""
    if network.loss.of_labels:
        return validation.y[:, 0].astype(np.int64)
    return validation.y.reshape(validation.given_shape)
