"""Training of a `Model`: its job, where it starts, its hooks, and what it leaves in the model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastnn_kernels.compiler.interrupts import defer_signals

from ..engine import get_backend
from ..engine.checks import check_data
from ..engine.job import Memory
from ..engine.protocol import MinimisingTrainer, StepTrainer, Trainer
from ..network.description import Network
from ..optimizers import Minimiser
from ..system.messages import warn
from ..system.progress import make_progress_bar
from ..system.validation import Array
from .callbacks import CallFunctions, EarlyStopping, PrintLoss, StopEarly, ValidateLoss, call_scorer
from .checkpoint import Checkpoint, SaveCheckpoint
from .hints import find_range_hint, find_rate_hint, find_rise_hint, may_be_too_high
from .history import History
from .loop import Hook, Training, run_chunks
from .options import TrainOptions, make_job
from .patience import BestEpoch, Patience
from .progress import ShowProgress, make_training_figures
from .resuming import StartPoint, find_start, use_start
from .state import TrainingState

if TYPE_CHECKING:
    from ..model import Model


def train_in_chunks(model: Model, X: Any, y: Any, options: TrainOptions) -> Generator[None, None, History]:
    """Train a model in place, and yield before every chunk of epochs; return its history.

    `Model.train` documents X, y, the options and the errors; a ValueError leaves the model unchanged.
    """
    network = model._network
    job = make_job(network, X, y, options)
    held_out = _check_validation(network, options.validation_data)
    if hint := find_range_hint(network, job.y):
        warn(hint)
    start = find_start(model, job, options)
    with use_start(model, start):
        # After the training, a trial with a lower rate may start from the same parameters: copy them.
        tries = start.resumed is None and may_be_too_high(job)
        first = (start.parameters.copy(), start.statistics.copy()) if tries else None
        is_flat = not network.loss.of_labels and np.ndim(y) == 1
        run = _ModelRun(model, start, options, held_out, is_flat)
        yield from run.train()
    history = model.history_
    assert history is not None
    hint = find_rate_hint(get_backend(model.backend), network, *first, start.job, history) if first else None
    if hint := hint or find_rise_hint(history.loss, f"epsilon={start.job.epsilon:g}"):
        warn(hint)
    return history


class _WeightedSamples(NamedTuple):
    """Checked samples (n, inputs), targets (n, outputs) and weights (n,) with a sum of 1."""

    X: Array
    y: Array
    weights: Array
    given_shape: tuple[int, ...]  # of the user's y


def _check_validation(network: Network, data: Any) -> _WeightedSamples | None:
    if data is None:
        return None
    if not (isinstance(data, tuple | list) and len(data) == 2):
        count = f" of {len(data)}" if isinstance(data, tuple | list) else ""
        raise ValueError(f"validation_data must be a pair (X, y), got {type(data).__name__}{count}")
    X, y = check_data(network, data[0], data[1], suffix=" of validation_data")
    return _WeightedSamples(X, y, np.ones(len(X)) / len(X), np.shape(data[1]))


def _compute_score(
    scorer: Callable[[Any, Any, Any], float], model: Model, trainer: Trainer, held_out: _WeightedSamples
) -> float:
    """Return the present score by a user's scorer, which gets the targets as the user gave them."""
    X, y, _, given_shape = held_out
    is_label = model.loss.of_labels and len(given_shape) == 1
    targets = y[:, 0].astype(np.int64) if is_label else y.reshape(given_shape)
    return call_scorer("scorer", scorer, model._copy_with(trainer.current, trainer.statistics), X, targets)


class _ModelRun(Hook):
    """A training of a model: its trainer, measures for hooks, what it leaves and saves (`ModelInTraining`).

    As a hook, it leaves history and state in the model, even if the training fails. A training that another
    hook refuses at its beginning changes neither. `is_flat` says that the targets have one dimension.
    """

    whole_epochs = False

    def __init__(
        self,
        model: Model,
        start: StartPoint,
        options: TrainOptions,
        held_out: _WeightedSamples | None,
        is_flat: bool,
    ) -> None:
        self._is_flat = is_flat
        self._model, self._job, self._resumed, self._held_out = model, start.job, start.resumed, held_out
        self._network = model._network
        self._backend = get_backend(model.backend)
        self._options = options
        self._checkpoints = [each for each in options.callbacks if isinstance(each, Checkpoint)]
        if start.resumed is None:
            # A digest of all bytes takes time: without checkpoints, the digests of large data cover parts.
            self._state = TrainingState.from_job(start.job, whole=bool(self._checkpoints))
        else:
            self._state = replace(
                start.resumed, num_passes=start.job.num_passes, record_every=start.job.record_every
            )
        self._trainer = self._make_trainer(start)
        self._stop_early: StopEarly | None = None

    def _make_trainer(self, start: StartPoint) -> StepTrainer | MinimisingTrainer:
        model, job, network, backend = self._model, start.job, self._network, self._backend
        memory = None if start.resumed is None else start.resumed.memory
        if isinstance(job.optimizer, Minimiser):
            assert not isinstance(memory, Memory)
            make = backend.minimisers[job.optimizer.name]
            return make(network, model._parameters, model._statistics, job, memory)
        fresh = Memory.fresh(network, model._parameters, job, start.generator)
        if isinstance(memory, Memory):
            fresh.take(memory, *vars(fresh))
        return backend.trainer(network, model._parameters, model._statistics, job, fresh)

    def train(self) -> Generator[None, None, None]:
        job, trainer, model = self._job, self._trainer, self._model
        with make_progress_bar(
            total=job.num_passes,
            initial=trainer.n_passes,
            unit="epoch",
            shown=self._options.progress,
            dynamic_ncols=True,
        ) as bar:
            training = yield from run_chunks(trainer, job, self._make_hooks(bar))
            n = training.n_records
            if n and self._best is None and not np.isfinite(trainer.records.losses[n - 1]):
                raise training.divergence("the loss", int(training.job.kept[n - 1]))
            if self._stop_early is not None:
                self._stop_early.warn_of_no_score()
        parameters, statistics = self._get_outcome()
        if parameters is not model._parameters:
            assert model._training is not None
            with defer_signals():
                model._training.last = model._parameters.copy(), model._statistics.copy()
                model._parameters[...], model._statistics[...] = parameters, statistics

    def _make_hooks(self, bar: Any) -> list[Hook]:
        """Return the hooks of the training in the order of their calls; `bar` is the progress bar."""
        options, job, n_done = self._options, self._job, self._trainer.n_passes
        hooks: list[Hook] = [each for each in options.callbacks if isinstance(each, Hook)]
        if options.print_loss or options.print_every:
            samples = _WeightedSamples(job.X, job.y, job.weights / job.total_weight, job.y.shape)
            loss = self._make_loss(samples)
            penalty = self._compute_penalty if options.print_loss == "objective" else lambda: 0.0
            hooks.append(PrintLoss(lambda: loss() + penalty(), options.print_every or 1000))
        if self._held_out is not None:
            hooks.append(ValidateLoss(self._make_loss(self._held_out)))
            for each in options.callbacks:
                if isinstance(each, EarlyStopping):
                    # A method of this hook would be a cycle, which keeps the arrays of the training.
                    score = each.scorer and partial(
                        _compute_score, each.scorer, self._model, self._trainer, self._held_out
                    )
                    best = None if self._resumed is None else self._resumed.best
                    patience = Patience(each.patience, each.min_delta, each.ties)
                    self._stop_early = StopEarly(patience, score, best)
                    hooks.append(self._stop_early)
        if options.progress:
            figures = make_training_figures(n_done)
            hooks.append(ShowProgress(bar, lambda training: training.n_passes, figures, n_done))
        functions = [each for each in options.callbacks if callable(each)]
        if functions:
            hooks.append(CallFunctions(functions))
        return [*hooks, self, *(SaveCheckpoint(checkpoint, self) for checkpoint in self._checkpoints)]

    # --- what hooks measure ----------------------------------------------------------------------------

    def _make_loss(self, samples: _WeightedSamples) -> Callable[[], float]:
        network, trainer = self._network, self._trainer
        compute = self._backend.loss(network, samples.X, samples.y, samples.weights)
        return lambda: compute(network.fold_batch_norm(trainer.current, trainer.statistics))

    def _compute_penalty(self) -> float:
        job, reg_lambda = self._job, self._options.reg_lambda
        return self._network.compute_penalty(
            self._trainer.current, reg_lambda, job.reduction, job.total_weight
        )

    # --- what the training leaves, and checkpoints save --------------------------------------------------

    def begin(self, training: Training) -> None:
        if self._resumed is not None:
            self._resumed.fill(self._job, self._trainer.records, training.validation)

    def before_chunk(self, training: Training) -> None:
        self._model._training, self._model._is_flat = None, self._is_flat

    def end(self, training: Training) -> None:
        if training.has_begun:
            self._model.history_, self._model._training = training.history(), self._make_state(training)
            self._model._is_flat = self._is_flat

    def _make_state(self, training: Training) -> TrainingState:
        n_passes = -(-self._trainer.n_steps // self._job.n_batches)
        n_records = int(np.searchsorted(training.job.kept, n_passes))
        return self._state.move_on(self._trainer, n_records, training.validation, self._best)

    @property
    def _best(self) -> BestEpoch | None:
        return None if self._stop_early is None else self._stop_early.best

    def _get_outcome(self) -> tuple[Array, Array]:
        if self._best is not None:
            return self._best.parameters, self._best.statistics
        return self._trainer.current, self._trainer.statistics

    def count_progress(self, training: Training) -> tuple[int, int]:
        return training.n_passes, self._trainer.n_steps

    def make_model(self, training: Training) -> Model:
        state, (parameters, statistics) = self._make_state(training), self._get_outcome()
        model = copy.copy(self._model)
        if parameters is not model._parameters:
            state.last = model._parameters, model._statistics
        model._parameters, model._statistics = parameters, statistics
        model._training, model.history_ = state, training.history()
        return model

    def get_validation(self, training: Training) -> Array:
        return training.validation[: training.n_records]

    def copy_model(self, training: Training) -> Model:
        return self._model._copy_with(self._trainer.current, self._trainer.statistics)
