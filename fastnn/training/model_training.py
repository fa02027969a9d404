"""Training of a `Model`: choose trainer and hooks, run the loop, and leave the results in the model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..engine.choice import get_backend
from ..engine.job import Job, Memory
from ..network.description import Network
from ..optimizers import LBFGS
from ..schedules import Constant
from ..system.messages import warn
from ..system.validation import check_number
from .callbacks import (
    CallFunctions,
    EarlyStopping,
    KeepHistory,
    PrintLoss,
    ShowProgress,
    StopEarly,
    ValidateLoss,
)
from .hints import may_be_too_high, rate_hint
from .history import History
from .loop import Hook, run_training

__all__ = ["WeightedSamples", "check_decay", "check_lbfgs", "train_model"]

Array = NDArray[Any]


class WeightedSamples(NamedTuple):
    """Checked samples (n, inputs), targets (n, outputs), weights (n,), and the shape of the user's y."""

    X: Array
    y: Array
    weights: Array
    given_shape: tuple[int, ...]


def train_model(
    model: Any,
    job: Job,
    generator: NDArray[np.uint32] | None,
    validation: WeightedSamples | None,
    stopping: EarlyStopping | None,
    functions: Sequence[Callable[[History], Any]],
    hooks: Sequence[Hook],
    print_every: int | None,
    progress: bool,
) -> History:
    """Train a model in place, and return its history.

    Parameters
    ----------
    model : Model
        Model whose parameters, running statistics and `history_` are updated.
    job : Job
        Data and settings of the training.
    generator : array (625,) of uint32, optional
        State of the Mersenne Twister from which the orders of the samples are drawn.
    validation : WeightedSamples, optional
        Validation data.
    stopping : EarlyStopping, optional
        Early stopping; requires `validation`.
    functions : sequence of callable
        Users' functions of the history so far.
    hooks : sequence of Hook
        Users' hooks, called before the hooks of the other arguments.
    print_every : int, optional
        Number of passes from one printed loss to the next; None prints nothing.
    progress : bool
        True shows a progress bar.

    Returns
    -------
    History
        History of the training, also in ``model.history_``.

    Raises
    ------
    DivergenceError
        If a parameter, a running statistic, the optimizer's state or the last loss becomes infinite or NaN.
    """
    network, backend = model._network, get_backend(model.backend)
    parameters, statistics = model._parameters, model._statistics
    # After the training, a trial with a lower rate may have to start from the same parameters: copy them.
    start = (parameters.copy(), statistics.copy()) if may_be_too_high(job) else None
    trainer: Any
    if isinstance(job.optimizer, LBFGS):
        from .lbfgs import LBFGSTrainer

        trainer = LBFGSTrainer(backend, network, parameters, statistics, job)
    else:
        memory = Memory.fresh(network, parameters, job, generator)
        trainer = backend.trainer(network, parameters, statistics, job, memory)

    def loss(samples: WeightedSamples) -> float:
        X, y, weights, _ = samples
        folded = network.folded(trainer.current, statistics)
        return backend.loss(network, folded, X, y, weights / weights.sum())

    hooks = list(hooks)
    if print_every:
        training_samples = WeightedSamples(job.X, job.y, job.weights, job.y.shape)
        hooks.append(PrintLoss(lambda: loss(training_samples), print_every))
    stop_early = None
    if validation:
        hooks.append(ValidateLoss(lambda: loss(validation)))
        if stopping:

            def value() -> float:
                if stopping.scorer is None:
                    return loss(validation)
                scored = copy.copy(model)
                scored._parameters, scored._statistics = trainer.current.copy(), statistics.copy()
                return -float(stopping.scorer(scored, validation.X, _user_targets(network, validation)))

            stop_early = StopEarly(stopping, value)
            hooks.append(stop_early)
    if progress:
        hooks.append(ShowProgress())
    if functions:
        hooks.append(CallFunctions(functions))
    hooks.append(KeepHistory(model))

    run_training(trainer, job, hooks).check_loss()
    if stop_early is not None and stop_early.best is not None:
        parameters[...], statistics[...] = stop_early.best
    elif trainer.current is not parameters:
        parameters[...] = trainer.current
    if start is not None:
        hint = rate_hint(backend, network, *start, job, model.history_)
        if hint is not None:
            warn(hint)
    return model.history_


def check_decay(value: Any) -> float:
    """Return ``1 - ema_decay``, the share of the new parameters in their running average; 0 for None."""
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
                f"optimizer 'lbfgs' works on all samples and a smooth function that stays the same, which "
                f"{name} is not made for: leave {name} out or choose another optimizer"
            )


def _user_targets(network: Network, validation: WeightedSamples) -> Array:
    """Return checked targets for users' scorers: labels as integers (n,), others in the user's shape."""
    if network.loss.of_labels:
        return validation.y[:, 0].astype(np.int64)
    return validation.y.reshape(validation.given_shape)
