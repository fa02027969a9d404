"""TrainOptions: what `Model.train` is told, checked once, and the job of such a training."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..engine.checks import check_batches, check_data
from ..engine.job import Job
from ..network.description import Network
from ..optimizers import LBFGS, Optimizer, resolve_optimizer
from ..schedules import Constant, Schedule, resolve_schedule
from ..system.validation import (
    check_choice,
    check_count,
    check_flag,
    check_limit,
    check_number,
    check_rate,
    check_weights,
    store_checked,
)
from .callbacks import EarlyStopping, check_callbacks
from .checkpoint import Checkpoint
from .history import History, record_every
from .loop import Hook

# How the losses of a batch's samples become the batch's loss.
REDUCTIONS = ("sum", "mean")


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainOptions:
    """Arguments of `Model.train` besides X and y; its docstring documents them.

    An argument that is invalid for any network and any samples is a ValueError.
    """

    num_passes: int = 20000
    epsilon: float = 0.01
    reg_lambda: float = 0.01
    print_loss: bool | str = False
    print_every: int | None = None
    batch_size: int | None = None
    optimizer: str | Optimizer = "sgd"
    schedule: str | Schedule | Callable[[int], float] = "constant"
    reduction: str = "sum"
    shuffle: bool = True
    sample_weight: ArrayLike | None = None
    l1: float = 0.0
    max_norm: float | None = None
    clip_norm: float | None = None
    ema_decay: float | None = None
    n_threads: int | None = 1
    validation_data: tuple[ArrayLike, ArrayLike] | None = None
    callbacks: Iterable[Callable[[History], Any] | EarlyStopping | Checkpoint | Hook] = ()
    progress: bool = False
    random_state: int | np.random.RandomState | None = None
    rng: int | np.random.Generator | None = None
    resume: bool | str | os.PathLike[str] | Checkpoint | None = None

    def __post_init__(self) -> None:
        store_checked(
            self,
            num_passes=check_count(self.num_passes, "num_passes"),
            epsilon=check_rate(self.epsilon, "epsilon"),
            reg_lambda=check_rate(self.reg_lambda, "reg_lambda"),
            print_loss=check_choice(self.print_loss, "print_loss, unless a boolean,", ["objective"])
            if isinstance(self.print_loss, str)
            else check_flag(self.print_loss, "print_loss"),
            print_every=_check_optional_count(self.print_every, "print_every"),
            batch_size=_check_optional_count(self.batch_size, "batch_size"),
            optimizer=resolve_optimizer(self.optimizer),
            schedule=resolve_schedule(self.schedule),
            reduction=check_choice(self.reduction, "reduction", REDUCTIONS),
            shuffle=check_flag(self.shuffle, "shuffle"),
            l1=check_rate(self.l1, "l1"),
            max_norm=check_limit(self.max_norm, "max_norm"),
            clip_norm=check_limit(self.clip_norm, "clip_norm"),
            n_threads=_check_optional_count(self.n_threads, "n_threads"),
            callbacks=check_callbacks(self.callbacks, self.validation_data is not None),
            progress=check_flag(self.progress, "progress"),
        )
        if self.ema_decay is not None:
            decay = check_number(self.ema_decay, "ema_decay", 0.0, 1.0, exclusive_end=True)
            store_checked(self, ema_decay=decay)


def _check_optional_count(value: int | None, name: str) -> int | None:
    return None if value is None else check_count(value, name, 1)


def make_job(network: Network, X: object, y: object, options: TrainOptions) -> Job:
    """Check samples and targets, and return the job of their training.

    An option that the network or its optimizer does not support is a ValueError, as are those of
    `check_data`.
    """
    X, y = check_data(network, X, y)
    n_samples = len(X)
    batch_size = min(options.batch_size or n_samples, n_samples)
    check_batches(network, batch_size, n_samples)
    assert isinstance(options.optimizer, Optimizer)  # `TrainOptions` has found them by their names
    assert isinstance(options.schedule, Schedule)
    job = Job(
        X,
        y,
        check_weights(options.sample_weight, n_samples),
        num_passes=options.num_passes,
        batch_size=batch_size,
        reduction=options.reduction,
        shuffle=options.shuffle,
        optimizer=options.optimizer,
        schedule=options.schedule,
        epsilon=options.epsilon,
        reg_lambda=options.reg_lambda,
        l1=options.l1,
        max_norm=options.max_norm or 0.0,
        clip_norm=options.clip_norm or 0.0,
        ema_decay=options.ema_decay,
        record_every=record_every(options.num_passes),
        n_threads=options.n_threads or 0,
    )
    if isinstance(job.optimizer, LBFGS):
        _check_lbfgs(network, job)
    return job


def _check_lbfgs(network: Network, job: Job) -> None:
    """Raise ValueError if a job has a setting that L-BFGS does not support."""
    for name, value in (
        ("batch_size", job.batch_size < job.n_samples),
        ("schedule", not isinstance(job.schedule, Constant)),
        ("l1", job.l1),
        ("max_norm", job.max_norm),
        ("clip_norm", job.clip_norm),
        ("ema_decay", job.average_weight),
        ("dropout", network.dropout),
    ):
        if value:
            raise ValueError(
                f"optimizer 'lbfgs' does not support {name}: it minimises one smooth loss over all samples "
                f"and chooses its own steps. Leave {name} out, or choose another optimizer"
            )
