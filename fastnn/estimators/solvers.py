"""Solvers and learning rates: the estimators' parameters as the engine's optimizers and schedules."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..optimizers import LBFGS, OPTIMIZERS, SGD, Adam, AdamW, Momentum, Nesterov, Optimizer, resolve_optimizer
from ..schedules import Constant, Schedule, resolve_schedule
from .fitted import FittedNetwork

__all__ = ["SKLEARN_RATES", "chosen_optimizer", "chosen_schedule", "has_schedule", "is_stochastic"]

# scikit-learn's learning rates. They apply to the solver "sgd" only; the others then have a constant rate.
SKLEARN_RATES = ("constant", "invscaling", "adaptive")
# L-BFGS stops where the objective falls by less than this share: the default of scikit-learn and SciPy.
LBFGS_FTOL = 2.220446049250313e-09


def _sgd(estimator: Any, decay: dict[str, Any]) -> Optimizer:
    if not estimator.momentum:
        return SGD(**decay)
    kind = Nesterov if estimator.nesterovs_momentum else Momentum
    return kind(momentum=float(estimator.momentum), rate_in_velocity=True, **decay)


def _adam(estimator: Any, decay: dict[str, Any], kind: type[Adam] = Adam, eps_hat: bool = True) -> Optimizer:
    if decay:
        kind = AdamW
    betas = float(estimator.beta_1), float(estimator.beta_2)
    return kind(betas=betas, eps=float(estimator.epsilon), eps_hat=eps_hat, **decay)


# Solvers whose optimizer reads parameters of the estimator: functions of the estimator and of the keyword
# arguments for its weight decay. Every other name in `OPTIMIZERS` is made with its defaults.
_SOLVERS: dict[str, Callable[[Any, dict[str, Any]], Optimizer]] = {
    "sgd": _sgd,
    "adam": _adam,
    "adamw": functools.partial(_adam, kind=AdamW, eps_hat=False),
    "momentum": lambda estimator, decay: Momentum(momentum=float(estimator.momentum), **decay),
    "nesterov": lambda estimator, decay: Nesterov(momentum=float(estimator.momentum), **decay),
    "lbfgs": lambda estimator, decay: LBFGS(
        ftol=LBFGS_FTOL, gtol=float(estimator.tol), maxfun=min(int(estimator.max_fun), 2**62)
    ),
}


def chosen_optimizer(estimator: Any) -> Optimizer:
    """Return the optimizer that `solver` names, with the estimator's parameters for it.

    Raises
    ------
    ValueError
        For `weight_decay` beside a solver given as an object; for parameters that L-BFGS cannot honour.
    """
    decay: dict[str, Any] = (
        {} if estimator.weight_decay is None else {"weight_decay": float(estimator.weight_decay)}
    )
    solver = estimator.solver
    if isinstance(solver, str):
        make = _SOLVERS.get(solver)
        optimizer = make(estimator, decay) if make else OPTIMIZERS[solver](**decay)
    elif decay:
        raise ValueError(
            f"weight_decay={estimator.weight_decay} goes with a solver given by its name: set it in "
            f"{solver!r} instead"
        )
    else:
        optimizer = resolve_optimizer(solver)
    if isinstance(optimizer, LBFGS):
        for name in ("dropout", "max_grad_norm", "ema_decay", "weight_decay"):
            if np.any(getattr(estimator, name)):
                raise ValueError(
                    f"solver 'lbfgs' minimises a smooth function that stays the same, which {name} is "
                    f"not made for: leave {name} out or choose another solver"
                )
    return optimizer


def is_stochastic(estimator: Any) -> bool:
    """Return True, for `available_if` of `partial_fit`.

    Raises
    ------
    AttributeError
        For L-BFGS, which needs all samples in every step.
    """
    if estimator.solver == "lbfgs" or isinstance(estimator.solver, LBFGS):
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {estimator.solver} is not stochastic."
        )
    return True


def has_schedule(estimator: Any) -> bool:
    """Return True if `learning_rate` is a schedule of fastnn's or the user's, not one of scikit-learn's."""
    return not (isinstance(estimator.learning_rate, str) and estimator.learning_rate in SKLEARN_RATES)


def chosen_schedule(estimator: Any, state: FittedNetwork, n_samples: int, n_batches: int) -> Schedule:
    """Return the schedule that `learning_rate` names, for passes of `n_batches` steps over `n_samples`."""
    if has_schedule(estimator):
        return resolve_schedule(estimator.learning_rate, "learning_rate")
    if estimator.solver != "sgd" or estimator.learning_rate == "constant":
        return Constant()
    if estimator.learning_rate == "adaptive":
        return _Adaptive(state)
    return _InverseScaling(float(estimator.power_t), estimator.t_, state.n_steps, n_samples, n_batches)


@dataclass(frozen=True)
class _InverseScaling(Schedule):
    """scikit-learn's "invscaling": the rate depends on the number of samples seen when a pass begins."""

    power: float
    samples_before: int
    steps_before: int
    n_samples: int
    n_batches: int

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        passes = (steps - self.steps_before) // self.n_batches
        return np.asarray(self.samples_before + passes * self.n_samples + 1.0) ** -self.power


@dataclass(frozen=True)
class _Adaptive(Schedule):
    """scikit-learn's "adaptive": the fit's state holds how far the rate has fallen."""

    state: FittedNetwork

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        return np.full(steps.shape, self.state.rate_factor)
