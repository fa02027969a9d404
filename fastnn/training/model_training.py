"""The training of a `Model`: from checked arguments to the loop with its hooks, and what it leaves."""

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

__all__ = ["Samples", "check_decay", "check_lbfgs", "train_model"]

Array = NDArray[Any]


class Samples(NamedTuple):
    """Checked samples (n, inputs), targets (n, outputs) and weights (n,)."""

    X: Array
    y: Array
    weights: Array


def train_model(
    model: Any,
    job: Job,
    generator: NDArray[np.uint32] | None,
    validation: Samples | None,
    stopping: EarlyStopping | None,
    functions: Sequence[Callable[[History], Any]],
    hooks: Sequence[Hook],
    print_every: int | None,
    progress: bool,
) -> History:
    """Train a model in place, and return the history.

    Parameters
    ----------
    model : Model
        Its parameters, statistics and `history_` change.
    job : Job
    generator : array (625,) of uint32, optional
        State of the Mersenne Twister that the orders of the samples are drawn from.
    validation : Samples, optional
    stopping : EarlyStopping, optional
        Goes with `validation`.
    functions : sequence of callable
        Called with the history so far.
    hooks : sequence of Hook
        Called before the hooks of the other arguments.
    print_every : int, optional
        Passes from one printed loss to the next.
    progress : bool
        True shows a progress bar.

    Raises
    ------
    DivergenceError
    """
    network, backend = model._network, get_backend(model.backend)
    parameters, statistics = model._parameters, model._statistics
    # A trial with a lower rate begins with copies of these, if the training turns out to need the hint.
    start = (parameters.copy(), statistics.copy()) if may_be_too_high(job) else None
    trainer: Any
    if isinstance(job.optimizer, LBFGS):
        from .lbfgs import LBFGSTrainer

        trainer = LBFGSTrainer(backend, network, parameters, statistics, job)
    else:
        memory = Memory.fresh(network, parameters, job, generator)
        trainer = backend.trainer(network, parameters, statistics, job, memory)

    def loss(samples: Samples) -> float:
        X, y, weights = samples
        folded = network.folded(trainer.current, statistics)
        return backend.loss(network, folded, X, y, weights / weights.sum())

    hooks = list(hooks)
    if print_every:
        training_samples = Samples(job.X, job.y, job.weights)
        hooks.append(PrintLoss(lambda: loss(training_samples), print_every))
    stop_early = None
    if validation:
        hooks.append(ValidateLoss(lambda: loss(validation)))
        if stopping:

            def value() -> float:
                if stopping.scorer is None:
                    return loss(validation)
                seen = copy.copy(model)
                seen._parameters, seen._statistics = trainer.current.copy(), statistics.copy()
                return -float(stopping.scorer(seen, validation.X, _user_targets(network, validation.y)))

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
    """Return the share of the parameters in their running average, 0 for no average."""
    return 0.0 if value is None else 1.0 - check_number(value, "ema_decay", 0.0, 1.0, exclusive_end=True)


def check_lbfgs(network: Network, job: Job) -> None:
    """Raise ValueError where a job asks L-BFGS for what it is not made for."""
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


def _user_targets(network: Network, y: Array) -> Array:
    """Return checked targets as a user would write them: labels as integers in one dimension."""
    return y[:, 0].astype(np.int64) if network.loss.of_labels else y
