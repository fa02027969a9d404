"""Optimizers: classes with the hyperparameters, which compute the coefficients of the update rules.

The update rules are in ``fastnn/reference/update.py`` and, compiled, in ``fastnn_kernels/update.py``. A
coefficient is a number that all parameters share in one step. `Model.train` accepts an optimizer as an object
or by its lower-case name. The learning rate is `epsilon` of `Model.train` times the factor of its schedule.

Rules, parameter names and defaults follow ``torch.optim``, with these differences: the learning rate is an
argument of `Model.train`; SGD, momentum and Nesterov's momentum are three optimizers; amsgrad, centered
RMSprop and maximize are left out. As in torch, `weight_decay` applies to all parameters, biases included,
while `reg_lambda` of `Model.train` applies to the weights only.

Equations use p for a parameter, g for the derivative of the loss with respect to p (weight decay included),
and rate for the learning rate.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache, partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .system.validation import (
    check_fields,
    check_flag,
    check_fraction,
    check_number,
    check_positive,
    check_positive_count,
    check_rate,
    make_field,
    make_optional,
    register,
    resolve,
    short_repr,
)
from .system.words import KnowsForeignNames

__all__ = [
    "LBFGS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "LevenbergMarquardt",
    "Momentum",
    "Nesterov",
    "RMSprop",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Optimizer(KnowsForeignNames):
    """Base class of the optimizers.

    Attributes
    ----------
    name : str
        Lower-case name by which users choose the optimizer.
    """

    name: ClassVar[str]

    @property
    def rule(self) -> str:
        """Name of the update rule: usually the optimizer's own name; several optimizers may share a rule."""
        return self.name

    @property
    def l2(self) -> float:
        """Coupled weight decay: the step adds this factor times the parameter to its derivative."""
        return getattr(self, "weight_decay", 0.0)

    @property
    def initial_state(self) -> tuple[float, ...]:
        """Initial values of the optimizer state, one for each number that is kept per parameter."""
        return ()

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """Hyperparameters by name, for the update rule in ``fastnn/reference/update.py``."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def coefficients(self, rates: Array, steps: NDArray[np.int64]) -> Array:
        """Return the coefficients of the kernel update rule in ``fastnn_kernels/update.py`` for some steps.

        Parameters
        ----------
        rates : array (n,)
            Learning rates of the steps.
        steps : array (n,) of int
            Numbers of the steps, counted from 0.

        Returns
        -------
        array (n, C)
            Coefficients, a row per step, in the order of the rule's arguments; the learning rate is first.
        """
        return rates[:, None]

    def __post_init__(self) -> None:
        """Check the hyperparameters by their fields' checks, and store them as plain Python values."""
        check_fields(self)


def _check_betas(betas: Any, name: str) -> tuple[float, ...]:
    if not (isinstance(betas, tuple | list) and len(betas) == 2):
        raise ValueError(f"{name} must be two numbers such as (0.9, 0.999), got {short_repr(betas)}")
    return tuple(check_fraction(beta, f"{name}[{k}]") for k, beta in enumerate(betas))


# A decay may be 1: nothing is forgotten.
_check_momentum = partial(check_number, least=0.0, most=1.0)


def _stack_columns(rates: Array, *columns: Any) -> Array:
    """Return the rates (n,) and further columns, each an array (n,) or a number, as an array (n, C)."""
    table = np.empty((rates.size, 1 + len(columns)))
    for k, column in enumerate((rates, *columns)):
        table[:, k] = column
    return table


def _compute_bias_correction(beta: float, steps: NDArray[np.int64]) -> Array | float:
    """Return ``1 - beta^t``, where t is the number of a step, counted from 1; a number if it is 1 throughout.

    With ``t >= 42 / (1 - beta)``, the power is less than ``exp(-42)``, and the difference is rounded to 1.
    """
    latest = int(42.0 / (1.0 - beta)) + 1
    if steps.size == 1:  # a number takes a tenth of the time of an array
        step = int(steps[0]) + 1
        return 1.0 if step >= latest else 1.0 - _compute_power(beta, step, step)
    done = steps + 1
    if (done >= latest).all():
        return 1.0
    return 1.0 - _compute_power(beta, np.minimum(done, latest), int(done.max()))


# A power is the product of a number for each digit of the exponent, to this base.
DIGIT_BITS = 6


def _compute_power(base: float, exponent: Any, largest: int) -> Any:
    """Return ``base ** exponent`` for an exponent above 0, or an array of exponents up to `largest`.

    The result is a product of a few numbers, whose bits are the same on every processor. NumPy's powers are
    not: it has several implementations.
    """
    result: Any = 1.0
    for table in _make_power_tables(base, (largest.bit_length() - 1) // DIGIT_BITS + 1):
        result = result * table[exponent & ((1 << DIGIT_BITS) - 1)]
        exponent = exponent >> DIGIT_BITS
    return result


@lru_cache(maxsize=64)
def _make_power_tables(base: float, n_digits: int) -> list[Array]:
    """Return the powers of `base` for every value of each digit of an exponent, lowest digit first."""
    tables = []
    for _ in range(n_digits):
        table = np.full(1 << DIGIT_BITS, base)
        table[0] = 1.0
        tables.append(np.multiply.accumulate(table))
        base = float(tables[-1][-1]) * base
    return tables


# Registry of the optimizers: classes by name.
OPTIMIZERS: dict[str, type[Optimizer]] = {}


@register(OPTIMIZERS, "sgd")
class SGD(Optimizer):
    """Gradient descent: ``p -= rate g``.

    Parameters
    ----------
    weight_decay : float, default 0.0
        L2 penalty: this factor, at least 0, times the parameter is added to the parameter's derivative.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.SGD(weight_decay=1e-4)
    SGD(weight_decay=0.0001)
    """

    weight_decay: float = make_field(check_rate, default=0.0)


@register(OPTIMIZERS, "momentum")
class Momentum(Optimizer):
    """Gradient descent with momentum: ``v = momentum v + (1 - dampening) g``, ``p -= rate v``.

    The rule of ``torch.optim.SGD(momentum=...)``, with v = g in the first step (Polyak, "Some methods of
    speeding up the convergence of iteration methods", 1964).

    Parameters
    ----------
    momentum : float, default 0.9
        Decay of the velocity v, from 0 to 1.
    dampening : float, default 0.0
        Fraction of the derivative that is left out of the velocity, at least 0 and below 1.
    weight_decay : float, default 0.0
        L2 penalty: this factor, at least 0, times the parameter is added to the parameter's derivative.
    rate_in_velocity : bool, default False
        Use scikit-learn's rule ``v = momentum v + rate (1 - dampening) g``, ``p -= v``: a change of the rate
        then affects later gradients only, not those already in v.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Momentum(0.95)
    Momentum(momentum=0.95, dampening=0.0, weight_decay=0.0, rate_in_velocity=False)
    """

    initial_state = (0.0,)

    momentum: float = make_field(_check_momentum, default=0.9)
    dampening: float = make_field(check_fraction, default=0.0)
    weight_decay: float = make_field(check_rate, default=0.0)
    rate_in_velocity: bool = make_field(check_flag, default=False)

    def coefficients(self, rates: Array, steps: NDArray[np.int64]) -> Array:
        undamped = np.where(steps == 0, 1.0, 1.0 - self.dampening)
        if self.rate_in_velocity:
            return _stack_columns(rates, self.momentum, rates * undamped, 0.0, 1.0)
        return _stack_columns(rates, self.momentum, undamped, 0.0, rates)


@register(OPTIMIZERS, "nesterov")
class Nesterov(Optimizer):
    """Nesterov's momentum: ``v = momentum v + g``, ``p -= rate (g + momentum v)``.

    The rule of ``torch.optim.SGD(momentum=..., nesterov=True)`` (Sutskever et al., "On the importance of
    initialization and momentum in deep learning", 2013, section 2).

    Parameters
    ----------
    momentum : float, default 0.9
        Decay of the velocity v, from 0 to 1.
    weight_decay : float, default 0.0
        L2 penalty: this factor, at least 0, times the parameter is added to the parameter's derivative.
    rate_in_velocity : bool, default False
        Use scikit-learn's rule ``v = momentum v + rate g``, ``p -= rate g + momentum v``: a change of the
        rate then affects later gradients only, not those already in v.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Nesterov()
    Nesterov(momentum=0.9, weight_decay=0.0, rate_in_velocity=False)
    """

    rule = "momentum"
    initial_state = (0.0,)

    momentum: float = make_field(_check_momentum, default=0.9)
    weight_decay: float = make_field(check_rate, default=0.0)
    rate_in_velocity: bool = make_field(check_flag, default=False)

    def coefficients(self, rates: Array, steps: NDArray[np.int64]) -> Array:
        if self.rate_in_velocity:
            return _stack_columns(rates, self.momentum, rates, rates, self.momentum)
        return _stack_columns(rates, self.momentum, 1.0, rates, rates * self.momentum)


@register(OPTIMIZERS, "adagrad")
class Adagrad(Optimizer):
    """Adagrad: ``s += g^2``, ``p -= rate g / (sqrt(s) + eps)``.

    Duchi, Hazan & Singer, "Adaptive subgradient methods", 2011.

    Parameters
    ----------
    lr_decay : float, default 0.0
        Decay of the learning rate, at least 0: ``1 + step lr_decay`` divides the rate; steps count from 0.
    weight_decay : float, default 0.0
        L2 penalty: this factor, at least 0, times the parameter is added to the parameter's derivative.
    initial_accumulator_value : float, default 0.0
        Initial value of s, at least 0.
    eps : float, default 1e-10
        Constant, at least 0, in the denominator that keeps the quotient finite.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Adagrad(lr_decay=0.01).lr_decay
    0.01
    """

    lr_decay: float = make_field(check_rate, default=0.0)
    weight_decay: float = make_field(check_rate, default=0.0)
    initial_accumulator_value: float = make_field(check_rate, default=0.0)
    eps: float = make_field(check_rate, default=1e-10)

    @property
    def initial_state(self) -> tuple[float, ...]:
        return (self.initial_accumulator_value,)

    def coefficients(self, rates: Array, steps: NDArray[np.int64]) -> Array:
        return _stack_columns(rates / (1.0 + steps * self.lr_decay), self.eps)


@register(OPTIMIZERS, "rmsprop")
class RMSprop(Optimizer):
    """RMSprop: the learning rate is divided by the root of a running mean of the squared derivatives.

    ``s = alpha s + (1 - alpha) g^2``, ``v = momentum v + g / (sqrt(s) + eps)``, ``p -= rate v`` (Tieleman &
    Hinton, "Lecture 6.5: rmsprop", 2012).

    Parameters
    ----------
    alpha : float, default 0.99
        Decay of the running mean, at least 0 and below 1.
    eps : float, default 1e-8
        Constant, at least 0, in the denominator that keeps the quotient finite.
    weight_decay : float, default 0.0
        L2 penalty: this factor, at least 0, times the parameter is added to the parameter's derivative.
    momentum : float, default 0.0
        Decay of the velocity v, from 0 to 1.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.RMSprop(momentum=0.9).alpha
    0.99
    """

    initial_state = (0.0, 0.0)

    alpha: float = make_field(check_fraction, default=0.99)
    eps: float = make_field(check_rate, default=1e-8)
    weight_decay: float = make_field(check_rate, default=0.0)
    momentum: float = make_field(_check_momentum, default=0.0)

    def coefficients(self, rates: Array, steps: NDArray[np.int64]) -> Array:
        return _stack_columns(rates, self.eps, self.alpha, 1.0 - self.alpha, self.momentum)


@register(OPTIMIZERS, "adam")
class Adam(Optimizer):
    """Adam, with running means of the derivatives and of their squares.

    ``m = beta1 m + (1 - beta1) g``, ``s = beta2 s + (1 - beta2) g^2``, and in step t, counted from 1,
    ``p -= rate m / (1 - beta1^t) / (sqrt(s / (1 - beta2^t)) + eps)`` (Kingma & Ba, "Adam", 2015,
    algorithm 1).

    Parameters
    ----------
    betas : two floats, default (0.9, 0.999)
        Decay rates of the two running means, at least 0 and below 1.
    eps : float, default 1e-8
        Constant, at least 0, in the denominator that keeps the quotient finite.
    weight_decay : float, default 0.0
        L2 penalty: this factor, at least 0, times the parameter is added to the parameter's derivative.
    eps_hat : bool, default False
        Add eps to ``sqrt(s)`` before the bias correction, as scikit-learn and TensorFlow do (end of section 2
        of the paper).

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Adam(betas=(0.9, 0.99))
    Adam(betas=(0.9, 0.99), eps=1e-08, weight_decay=0.0, eps_hat=False)
    """

    initial_state = (0.0, 0.0)

    betas: tuple[float, float] = make_field(_check_betas, default=(0.9, 0.999))
    eps: float = make_field(check_rate, default=1e-8)
    weight_decay: float = make_field(check_rate, default=0.0)
    eps_hat: bool = make_field(check_flag, default=False)

    def coefficients(self, rates: Array, steps: NDArray[np.int64]) -> Array:
        first, second = self.betas
        root = np.sqrt(_compute_bias_correction(second, steps))
        return _stack_columns(
            rates * root / _compute_bias_correction(first, steps),
            self.eps if self.eps_hat else self.eps * root,
            1.0 - first,
            second,
            1.0 - second,
        )


@register(OPTIMIZERS, "adamw")
class AdamW(Adam):
    """Adam with decoupled weight decay: every step begins with ``p *= 1 - rate weight_decay``.

    Loshchilov & Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.

    Parameters
    ----------
    betas : two floats, default (0.9, 0.999)
        Decay rates of the two running means, at least 0 and below 1.
    eps : float, default 1e-8
        Constant, at least 0, in the denominator that keeps the quotient finite.
    weight_decay : float, default 0.01
        Decoupled weight decay: a step subtracts ``rate weight_decay p`` from every parameter.
    eps_hat : bool, default False
        Add eps to ``sqrt(s)`` before the bias correction, as for `Adam`.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.AdamW().weight_decay
    0.01
    """

    l2 = 0.0

    weight_decay: float = make_field(check_rate, default=0.01)

    def coefficients(self, rates: Array, steps: NDArray[np.int64]) -> Array:
        return np.column_stack([super().coefficients(rates, steps), 1.0 - rates * self.weight_decay])


class Minimiser(Optimizer):
    """Base class of the optimizers that minimise one loss over all samples; an epoch is one iteration.

    They choose the lengths of their steps, so that `epsilon` and schedules have no effect.
    """


@register(OPTIMIZERS, "lbfgs")
class LBFGS(Minimiser):
    """Limited-memory BFGS on full batches; an epoch is one iteration.

    On small data sets and smooth losses, L-BFGS needs far fewer epochs than the other optimizers. A line
    search chooses the step lengths, so that `epsilon` and schedules have no effect (Liu & Nocedal, "On the
    limited memory BFGS method for large scale optimization", 1989). Except for rounding, the iterates equal
    the iterates of ``scipy.optimize.minimize(..., method="L-BFGS-B")``.

    Parameters
    ----------
    maxcor : int, default 10
        Number of past steps from which the Hessian is approximated.
    ftol : float, default 1e-9
        Relative tolerance: the training ends when an iteration reduces the objective by at most this
        fraction of its value, or of 1 if the value is smaller.
    gtol : float, default 1e-5
        Gradient tolerance: the training ends when no derivative exceeds this value.
    maxls : int, default 20
        Largest number of evaluations in a line search.
    maxfun : int, optional
        Largest number of evaluations of the loss in the whole training. By default ``num_passes (maxls +
        1)``, which sets no further limit.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import make_moons
    >>> X, y = make_moons(200, noise=0.2, random_state=0)
    >>> model = fastnn.Model([2, 8, 2], output_activation="identity", random_state=0)
    >>> history = model.train(X, y, num_passes=200, reg_lambda=1e-3, optimizer=fastnn.LBFGS())
    >>> bool(history.loss[-1] < 0.05)
    True
    """

    maxcor: int = make_field(check_positive_count, default=10)
    ftol: float = make_field(check_rate, default=1e-9)
    gtol: float = make_field(check_rate, default=1e-5)
    maxls: int = make_field(check_positive_count, default=20)
    maxfun: int | None = make_field(make_optional(check_positive_count), default=None)


@register(OPTIMIZERS, "levenberg_marquardt")
class LevenbergMarquardt(Minimiser):
    """Levenberg-Marquardt: damped Gauss-Newton steps on full batches, for the squared error alone.

    An iteration solves ``(J'J + reg_lambda + damping) step = g``, where J has the derivatives of all outputs
    by the parameters and g is the gradient. The damping rises until the step lowers the objective, and falls
    after the step (Marquardt, "An algorithm for least-squares estimation of nonlinear parameters", 1963;
    Hagan & Menhaj, "Training feedforward networks with the Marquardt algorithm", 1994). On smooth functions
    without noise and up to some 200 parameters, it ends lower than L-BFGS, and sooner. Time and memory grow
    with the square of the number of parameters, and from about 1,300 on L-BFGS is the better one. All
    computation is in float64, whatever the model's dtype.

    Parameters
    ----------
    damping : float, default 1e-3
        First damping, above 0.
    down, up : float, default 0.1 and 10
        Factors of the damping after a step that lowers the objective, above 0 and below 1, and after one that
        does not, above 1.
    bayesian : bool, default False
        Choose the strength of the L2 penalty by its evidence after every iteration, in place of `reg_lambda`
        (MacKay, "A practical Bayesian framework for backpropagation networks", 1992; Foresee & Hagan,
        "Gauss-Newton approximation to Bayesian learning", 1997). The penalty then applies to the biases too.
        Choose it for noisy targets.
    gtol : float, default 1e-7
        Gradient tolerance: the training ends when no derivative exceeds this value.

    Examples
    --------
    >>> import fastnn
    >>> import numpy as np
    >>> X = np.linspace(-1, 1, 50)[:, None]
    >>> model = fastnn.Model([1, 6, 1], output_activation="identity", loss="squared_error", random_state=0)
    >>> history = model.train(X, np.sin(4 * X), num_passes=60, reg_lambda=0, optimizer="levenberg_marquardt")
    >>> bool(history.loss[-1] < 1e-6)
    True
    """

    damping: float = make_field(check_positive, default=1e-3)
    down: float = make_field(partial(check_positive, most=1.0, exclusive_end=True), default=0.1)
    up: float = make_field(partial(check_number, least=1.0, exclusive_start=True), default=10.0)
    bayesian: bool = make_field(check_flag, default=False)
    gtol: float = make_field(check_rate, default=1e-7)


# Names of the optimizers that have an update rule.
STEPPING = [name for name, optimizer in OPTIMIZERS.items() if not issubclass(optimizer, Minimiser)]


def resolve_optimizer(optimizer: Any, name: str = "optimizer") -> Optimizer:
    """Return the optimizer that an argument is or names; raise ValueError for anything else."""
    return resolve(optimizer, name, Optimizer, OPTIMIZERS)
