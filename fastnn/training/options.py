"""TrainOptions: what `Model.train` is told, checked once, and the job of that training."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..engine.checks import check_batches, check_data, check_optimizer
from ..engine.job import Job
from ..network.description import Network
from ..optimizers import Minimiser, Optimizer, resolve_optimizer
from ..schedules import Schedule, resolve_schedule
from ..system.validation import (
    Check,
    check_choice,
    check_count,
    check_fields,
    check_flag,
    check_fraction,
    check_limit,
    check_positive_count,
    check_rate,
    check_weights,
    list_checks,
    make_field,
    make_optional,
)
from .callbacks import EarlyStopping, check_callbacks
from .checkpoint import Checkpoint
from .history import History, record_every
from .loop import Hook

# How the losses of a batch's samples become the batch's loss.
REDUCTIONS = ("sum", "mean")


def _check_print_loss(value: object, name: str) -> bool | str:
    if isinstance(value, str):
        return check_choice(value, f"{name}, unless a boolean,", ["objective"])
    return check_flag(value, name)


def _make_option(
    default: Any,
    check: Check,
    *,
    decides_result: bool = False,
    suits_minimiser: bool = True,
    parameter: str | None = None,
) -> Any:
    """Return a field of `TrainOptions` with what there is to know about the option.

    A training is resumed with the same value of an option that `decides_result`. A `Minimiser` takes only
    the default of one that does not suit it. `parameter` names the parameter of the estimators that sets it.
    """
    return make_field(
        check,
        default=default,
        decides_result=decides_result,
        suits_minimiser=suits_minimiser,
        parameter=parameter,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainOptions:
    """Arguments of `Model.train` besides X and y; its docstring documents them.

    An argument that is invalid for any network and any samples is a ValueError. An option reaches the kernels
    by its name: `make_job` copies it to the `Job`, from which `make_kernel_settings` copies it.
    """

    num_passes: int = _make_option(20000, check_count)
    epsilon: float = _make_option(0.01, check_rate, decides_result=True, parameter="learning_rate_init")
    reg_lambda: float = _make_option(0.01, check_rate, decides_result=True, parameter="alpha")
    print_loss: bool | str = _make_option(False, _check_print_loss)
    print_every: int | None = _make_option(None, make_optional(check_positive_count))
    batch_size: int | None = _make_option(None, make_optional(check_positive_count), decides_result=True)
    optimizer: str | Optimizer = _make_option("sgd", resolve_optimizer, decides_result=True)
    schedule: str | Schedule | Callable[[int], float] = _make_option(
        "constant", resolve_schedule, decides_result=True, suits_minimiser=False
    )
    reduction: str = _make_option("sum", partial(check_choice, choices=REDUCTIONS), decides_result=True)
    shuffle: bool = _make_option(True, check_flag, decides_result=True, parameter="shuffle")
    sample_weight: ArrayLike | None = None
    l1: float = _make_option(0.0, check_rate, decides_result=True, suits_minimiser=False)
    max_norm: float | None = _make_option(None, check_limit, decides_result=True, suits_minimiser=False)
    clip_norm: float | None = _make_option(
        None, check_limit, decides_result=True, suits_minimiser=False, parameter="max_grad_norm"
    )
    ema_decay: float | None = _make_option(
        None, make_optional(check_fraction), decides_result=True, suits_minimiser=False, parameter="ema_decay"
    )
    n_threads: int | None = _make_option(1, make_optional(check_positive_count))
    validation_data: tuple[ArrayLike, ArrayLike] | None = None
    callbacks: Iterable[Callable[[History], Any] | EarlyStopping | Checkpoint | Hook] = ()
    progress: bool = _make_option(False, check_flag)
    random_state: int | np.random.RandomState | None = None
    rng: int | np.random.Generator | None = None
    resume: bool | str | os.PathLike[str] | Checkpoint | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        callbacks = check_callbacks(self.callbacks, self.validation_data is not None)
        object.__setattr__(self, "callbacks", callbacks)


def _list_options(key: str) -> dict[str, Any]:
    return {each.name: each.metadata[key] for each in fields(TrainOptions) if each.metadata}


# Options that decide the result, and options that a `Minimiser` does not take.
SETTINGS = [name for name, decides in _list_options("decides_result").items() if decides]
NOT_FOR_MINIMISERS = [name for name, suits in _list_options("suits_minimiser").items() if not suits]
# Parameters of the estimators that set an option, by the name of the option.
PARAMETERS = {name: parameter for name, parameter in _list_options("parameter").items() if parameter}
# Options that a `Job` has under the same name.
_COPIED = [each.name for each in fields(Job) if each.name in TrainOptions.__dataclass_fields__]


def read_parameters(estimator: object) -> dict[str, Any]:
    """Return the options that an estimator's parameters set, checked, by the names of the options."""
    checks = list_checks(TrainOptions)
    return {
        name: checks[name][0](getattr(estimator, parameter), parameter)
        for name, parameter in PARAMETERS.items()
    }


def make_job(network: Network, X: object, y: object, options: TrainOptions) -> Job:
    """Check samples and targets, and return the job of their training.

    An option that the network or its optimizer does not support is a ValueError, as is what
    `check_data` refuses.
    """
    X, y = check_data(network, X, y)
    n_samples = len(X)
    batch_size = min(options.batch_size or n_samples, n_samples)
    check_batches(network, batch_size, n_samples)
    copied = {name: getattr(options, name) for name in _COPIED}
    computed = {
        "batch_size": batch_size,
        "record_every": record_every(options.num_passes),
        "n_threads": options.n_threads or 0,
    }
    job = Job(X, y, check_weights(options.sample_weight, n_samples), **copied | computed)
    check_optimizer(network, job.optimizer)
    if isinstance(job.optimizer, Minimiser):
        _check_minimiser(network, job, job.optimizer)
    return job


def _check_minimiser(network: Network, job: Job, optimizer: Minimiser) -> None:
    """Raise ValueError if a job has a setting that its optimizer does not support."""
    usual = TrainOptions()
    used = {name: getattr(job, name) != getattr(usual, name) for name in NOT_FOR_MINIMISERS}
    used |= {"batch_size": job.batch_size < job.n_samples, "dropout": bool(network.dropout)}
    for name, is_used in used.items():
        if is_used:
            raise ValueError(
                f"optimizer {optimizer.name!r} does not support {name}: it minimises one smooth loss over "
                f"all samples and chooses its own steps. Leave {name} out, or choose another optimizer"
            )
