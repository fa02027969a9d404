"""Optimizers and schedules for the estimators' parameters `solver` and `learning_rate`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..optimizers import (
    LBFGS,
    OPTIMIZERS,
    SGD,
    STEPPING,
    Adam,
    AdamW,
    LevenbergMarquardt,
    Minimiser,
    Momentum,
    Nesterov,
    Optimizer,
    resolve_optimizer,
)
from ..schedules import Constant, Schedule, resolve_schedule
from ..training.options import NOT_FOR_MINIMISERS, PARAMETERS
from .fitted import FittedNetwork

if TYPE_CHECKING:
    from .base import BaseMLP

# Keyword argument of an optimizer for weight decay, or none.
Decay: TypeAlias = dict[str, Any]
# scikit-learn's names of learning rates. They apply to the solver "sgd" only: for others the rate is
# constant.
SKLEARN_RATES = ("constant", "invscaling", "adaptive")
# L-BFGS ends when an iteration reduces the objective by less than this fraction, SciPy's default.
LBFGS_FTOL = 2.220446049250313e-09


def _make_sgd(estimator: BaseMLP, decay: Decay) -> Optimizer:
    """Return scikit-learn's "sgd": plain gradient descent, or momentum whose velocity includes the rate."""
    if not estimator.momentum:
        return SGD(**decay)
    kind = Nesterov if estimator.nesterovs_momentum else Momentum
    return kind(momentum=float(estimator.momentum), rate_in_velocity=True, **decay)


def _make_adam(estimator: BaseMLP, decay: Decay) -> Optimizer:
    """Return scikit-learn's "adam", which is AdamW if a weight decay is set, or torch's "adamw"."""
    is_adam = estimator.solver == "adam"
    kind = Adam if is_adam and not decay else AdamW
    betas = float(estimator.beta_1), float(estimator.beta_2)
    return kind(betas=betas, eps=float(estimator.epsilon), eps_hat=is_adam, **decay)


# Solvers whose optimizer depends on parameters of the estimator: functions of the estimator and of the
# keyword arguments for weight decay. All other optimizers in `OPTIMIZERS` get their defaults.
_SOLVERS: dict[str, Callable[[BaseMLP, Decay], Optimizer]] = {
    "sgd": _make_sgd,
    "adam": _make_adam,
    "adamw": _make_adam,
    "momentum": lambda estimator, decay: Momentum(momentum=float(estimator.momentum), **decay),
    "nesterov": lambda estimator, decay: Nesterov(momentum=float(estimator.momentum), **decay),
    "lbfgs": lambda estimator, decay: LBFGS(
        ftol=LBFGS_FTOL, gtol=float(estimator.tol), maxfun=min(int(estimator.max_fun), 2**62)
    ),
    "levenberg_marquardt": lambda estimator, decay: LevenbergMarquardt(),
}
_SOLVERS["lm"] = _SOLVERS["levenberg_marquardt"]
# Names of the solvers, and of the minimisers among them.
SOLVERS = {*OPTIMIZERS, *_SOLVERS}
_MINIMISERS = SOLVERS - {*STEPPING}


def make_optimizer(estimator: BaseMLP) -> Optimizer:
    """Return the optimizer for `solver`, with the hyperparameters of the estimator."""
    decay: Decay = {} if estimator.weight_decay is None else {"weight_decay": float(estimator.weight_decay)}
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
    if isinstance(optimizer, Minimiser):
        unsuited = [PARAMETERS[option] for option in NOT_FOR_MINIMISERS if option in PARAMETERS]
        for name in ("dropout", "weight_decay", *unsuited):
            if np.any(getattr(estimator, name)):
                raise ValueError(
                    f"solver {optimizer.name!r} minimises a smooth function that stays the same, which "
                    f"{name} is not made for: leave {name} out or choose another solver"
                )
    return optimizer


def is_stochastic(estimator: BaseMLP) -> bool:
    """Return True, or raise AttributeError: the condition of `available_if` for `partial_fit`."""
    solver = estimator.solver
    if isinstance(solver, Minimiser) or (isinstance(solver, str) and solver in _MINIMISERS):
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {solver} is not stochastic."
        )
    return True


def has_schedule(estimator: BaseMLP) -> bool:
    """Return True if `learning_rate` is a fastnn schedule or a function, and not a scikit-learn name."""
    return not (isinstance(estimator.learning_rate, str) and estimator.learning_rate in SKLEARN_RATES)


def make_schedule(estimator: BaseMLP, state: FittedNetwork, n_samples: int, n_batches: int) -> Schedule:
    """Return the schedule for `learning_rate` and epochs of `n_batches` steps over `n_samples` samples."""
    if has_schedule(estimator):
        return resolve_schedule(estimator.learning_rate, "learning_rate")
    if estimator.solver != "sgd" or estimator.learning_rate == "constant":
        return Constant()
    if estimator.learning_rate == "adaptive":
        return _Adaptive(state)
    return _InverseScaling(float(estimator.power_t), estimator.t_, state.n_steps, n_samples, n_batches)


@dataclass(frozen=True)
class _InverseScaling(Schedule):
    """scikit-learn's "invscaling": an epoch divides the rate by a power of the samples trained on before."""

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
    """scikit-learn's "adaptive": the factor of the rate is `FittedNetwork.rate_factor`."""

    state: FittedNetwork

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        return np.full(steps.shape, self.state.rate_factor)
