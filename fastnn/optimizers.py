"""Optimizers: how a step changes the parameters.

The rules stand in ``fastnn/reference/update.py`` and, compiled, in ``fastnn_kernels/update.py``; here
is what a user names, and the coefficients of the rules: numbers of a step that are the same for all
parameters. An optimizer is given to `Model.train` as an object or by its lower-case name. The rate is
`epsilon` of `Model.train` times its schedule.

Rules, parameter names and defaults are those of ``torch.optim``, with these differences: the learning
rate is an argument of `Model.train`; SGD, its momentum and Nesterov's are three optimizers; and there is
no amsgrad, no centered RMSprop and no maximize. As there, `weight_decay` concerns all parameters, biases
too, where `reg_lambda` of `Model.train` concerns the weights alone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from .system.validation import check_count, check_flag, check_number, resolve, shown, store_checked

__all__ = [
    "LBFGS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Momentum",
    "Nesterov",
    "RMSprop",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Optimizer:
    """Base of the optimizers; subclasses say what is theirs."""

    name: ClassVar[str]

    @property
    def rule(self) -> str:
        """What the kernels know it by."""
        return self.name

    @property
    def l2(self) -> float:
        """What times a parameter is added to its derivative."""
        return getattr(self, "weight_decay", 0.0)

    @property
    def initial_state(self) -> tuple[float, ...]:
        """The values that are kept for a parameter, as they are before the first step."""
        return ()

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The parameters of the class by name, as the rule in ``fastnn/reference/update.py`` takes them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def coefficients(self, rates: Array, steps: NDArray[np.int64]) -> Array:
        """Return what the rule in ``fastnn_kernels/update.py`` takes: numbers for all parameters of a step.

        Parameters
        ----------
        rates : array (n,)
            Learning rates of the steps.
        steps : array (n,) of int
            Their numbers, counted from 0.

        Returns
        -------
        array (n, C)
            The coefficients in the order in which the rule names them, the learning rate first.
        """
        return rates[:, None]

    def _check(self, *shares: str) -> None:
        """Store the arguments as plain Python values.

        Raise ValueError for a share of 1 or more, a momentum above 1, or any parameter below 0.
        """
        for declared in fields(self):
            field, value = declared.name, getattr(self, declared.name)
            checked: Any
            if field == "betas":
                if not (isinstance(value, tuple | list) and len(value) == 2):
                    raise ValueError(f"betas must be two numbers such as (0.9, 0.999), got {shown(value)}")
                checked = tuple(
                    check_number(beta, f"betas[{k}]", 0.0, 1.0, exclusive_end=True)
                    for k, beta in enumerate(value)
                )
            elif field in shares:
                checked = check_number(value, field, 0.0, 1.0, exclusive_end=field != "momentum")
            elif isinstance(declared.default, bool):
                checked = check_flag(value, field)
            else:
                checked = check_number(value, field, 0.0)
            store_checked(self, **{field: checked})


def _columns(rates: Array, *columns: Any) -> Array:
    """The rates and what else there is, spread over the steps, side by side."""
    table = np.empty((rates.size, 1 + len(columns)))
    for k, column in enumerate((rates, *columns)):
        table[:, k] = column
    return table


# All optimizers by name.
OPTIMIZERS: dict[str, type[Optimizer]] = {}
_OptimizerClass = TypeVar("_OptimizerClass", bound=type[Optimizer])


def register(optimizer: _OptimizerClass) -> _OptimizerClass:
    """Enter a class in `OPTIMIZERS`: a decorator."""
    OPTIMIZERS[optimizer.name] = optimizer
    return optimizer


@register
@dataclass(frozen=True)
class SGD(Optimizer):
    """Gradient descent: ``p -= rate g``.

    Parameters
    ----------
    weight_decay : float, default 0.0
        Added to the gradient of all parameters, times the parameter.

    Raises
    ------
    ValueError
        For a number below 0.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.SGD(weight_decay=1e-4)
    SGD(weight_decay=0.0001)
    """

    name: ClassVar[str] = "sgd"

    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        self._check()


@register
@dataclass(frozen=True)
class Momentum(Optimizer):
    """Gradient descent with momentum: ``v = momentum v + (1 - dampening) g``, ``p -= rate v``.

    ``torch.optim.SGD(momentum=...)``; as there, v is g in the first step. (Polyak, "Some methods of
    speeding up the convergence of iteration methods", 1964.)

    Parameters
    ----------
    momentum : float, default 0.9
        From 0 to 1.
    dampening : float, default 0.0
        Below 1.
    weight_decay : float, default 0.0
        Added to the gradient of all parameters, times the parameter.
    rate_in_velocity : bool, default False
        ``v = momentum v + rate (1 - dampening) g``, ``p -= v`` instead, as scikit-learn has it: a change of
        the rate then concerns the gradients that come, not those that are in v.

    Raises
    ------
    ValueError
        For numbers out of their range.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Momentum(0.95)
    Momentum(momentum=0.95, dampening=0.0, weight_decay=0.0, rate_in_velocity=False)
    """

    name: ClassVar[str] = "momentum"

    momentum: float = 0.9
    dampening: float = 0.0
    weight_decay: float = 0.0
    rate_in_velocity: bool = False

    def __post_init__(self) -> None:
        self._check("momentum", "dampening")

    @property
    def initial_state(self) -> tuple[float, ...]:
        return (0.0,)

    def coefficients(self, rates: Array, steps: NDArray[np.int64]) -> Array:
        undamped = np.where(steps == 0, 1.0, 1.0 - self.dampening)
        if self.rate_in_velocity:
            return _columns(rates, self.momentum, rates * undamped, 0.0, 1.0)
        return _columns(rates, self.momentum, undamped, 0.0, rates)


@register
@dataclass(frozen=True)
class Nesterov(Optimizer):
    """Nesterov's momentum: ``v = momentum v + g``, ``p -= rate (g + momentum v)``.

    ``torch.optim.SGD(momentum=..., nesterov=True)`` (Sutskever et al., "On the importance of
    initialization and momentum in deep learning", 2013, section 2).

    Parameters
    ----------
    momentum : float, default 0.9
        From 0 to 1.
    weight_decay : float, default 0.0
        Added to the gradient of all parameters, times the parameter.
    rate_in_velocity : bool, default False
        ``v = momentum v + rate g``, ``p -= rate g + momentum v`` instead, as scikit-learn has it: a change of
        the rate then concerns the gradients that come, not those that are in v.

    Raises
    ------
    ValueError
        For numbers out of their range.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Nesterov()
    Nesterov(momentum=0.9, weight_decay=0.0, rate_in_velocity=False)
    """

    name: ClassVar[str] = "nesterov"

    momentum: float = 0.9
    weight_decay: float = 0.0
    rate_in_velocity: bool = False

    def __post_init__(self) -> None:
        self._check("momentum")

    @property
    def rule(self) -> str:
        return "momentum"

    @property
    def initial_state(self) -> tuple[float, ...]:
        return (0.0,)

    def coefficients(self, rates: Array, steps: NDArray[np.int64]) -> Array:
        if self.rate_in_velocity:
            return _columns(rates, self.momentum, rates, rates, self.momentum)
        return _columns(rates, self.momentum, 1.0, rates, rates * self.momentum)


@register
@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Rates that fall with the squares seen: ``s += g^2``, ``p -= rate g / (sqrt(s) + eps)``.

    Duchi, Hazan & Singer, "Adaptive subgradient methods", 2011.

    Parameters
    ----------
    lr_decay : float, default 0.0
        The rate is divided by ``1 + step lr_decay``.
    weight_decay : float, default 0.0
        Added to the gradient of all parameters, times the parameter.
    initial_accumulator_value : float, default 0.0
        Of s.
    eps : float, default 1e-10
        Keeps the quotient finite.

    Raises
    ------
    ValueError
        For a number below 0.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Adagrad(lr_decay=0.01).lr_decay
    0.01
    """

    name: ClassVar[str] = "adagrad"

    lr_decay: float = 0.0
    weight_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10

    def __post_init__(self) -> None:
        self._check()

    @property
    def initial_state(self) -> tuple[float, ...]:
        return (self.initial_accumulator_value,)

    def coefficients(self, rates: Array, steps: NDArray[np.int64]) -> Array:
        return _columns(rates / (1.0 + steps * self.lr_decay), self.eps)


@register
@dataclass(frozen=True)
class RMSprop(Optimizer):
    """Rates by the running mean of the squares: ``s = alpha s + (1 - alpha) g^2``, then momentum.

    ``v = momentum v + g / (sqrt(s) + eps)``, ``p -= rate v`` (Tieleman & Hinton, "Lecture 6.5: rmsprop",
    2012).

    Parameters
    ----------
    alpha : float, default 0.99
        Below 1.
    eps : float, default 1e-8
        Keeps the quotient finite.
    weight_decay : float, default 0.0
        Added to the gradient of all parameters, times the parameter.
    momentum : float, default 0.0
        From 0 to 1.

    Raises
    ------
    ValueError
        For numbers out of their range.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.RMSprop(momentum=0.9).alpha
    0.99
    """

    name: ClassVar[str] = "rmsprop"

    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0

    def __post_init__(self) -> None:
        self._check("alpha", "momentum")

    @property
    def initial_state(self) -> tuple[float, ...]:
        return (0.0, 0.0)

    def coefficients(self, rates: Array, steps: NDArray[np.int64]) -> Array:
        return _columns(rates, self.eps, self.alpha, 1.0 - self.alpha, self.momentum)


@register
@dataclass(frozen=True)
class Adam(Optimizer):
    """Momentum by the running mean of the gradients, rates by that of their squares.

    ``m = beta1 m + (1 - beta1) g``, ``s = beta2 s + (1 - beta2) g^2``, and with t steps done
    ``p -= rate m / (1 - beta1^t) / (sqrt(s / (1 - beta2^t)) + eps)`` (Kingma & Ba, "Adam", 2015,
    algorithm 1).

    Parameters
    ----------
    betas : two floats, default (0.9, 0.999)
        Each below 1.
    eps : float, default 1e-8
        Keeps the quotient finite.
    weight_decay : float, default 0.0
        Added to the gradient of all parameters, times the parameter.
    eps_hat : bool, default False
        Whether eps is added to ``sqrt(s)`` before this is corrected, the end of the paper's section 2, as
        scikit-learn and TensorFlow have it.

    Raises
    ------
    ValueError
        For numbers out of their range.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.Adam(betas=(0.9, 0.99))
    Adam(betas=(0.9, 0.99), eps=1e-08, weight_decay=0.0, eps_hat=False)
    """

    name: ClassVar[str] = "adam"

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    eps_hat: bool = False

    def __post_init__(self) -> None:
        self._check()

    @property
    def initial_state(self) -> tuple[float, ...]:
        return (0.0, 0.0)

    def coefficients(self, rates: Array, steps: NDArray[np.int64]) -> Array:
        first, second = self.betas
        done = steps + 1.0
        root = np.sqrt(1.0 - second**done)
        return _columns(
            rates * root / (1.0 - first**done), self.eps if self.eps_hat else self.eps * root,
            1.0 - first, second, 1.0 - second,
        )  # fmt: skip


@register
@dataclass(frozen=True)
class AdamW(Adam):
    """`Adam` with the weight decay apart from the gradient: first ``p *= 1 - rate weight_decay``.

    Loshchilov & Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.

    Parameters
    ----------
    betas : two floats, default (0.9, 0.999)
        Each below 1.
    eps : float, default 1e-8
        Keeps the quotient finite.
    weight_decay : float, default 0.01
        Of all parameters.
    eps_hat : bool, default False
        As in `Adam`.

    Raises
    ------
    ValueError
        For numbers out of their range.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.AdamW().weight_decay
    0.01
    """

    name: ClassVar[str] = "adamw"

    weight_decay: float = 0.01

    @property
    def l2(self) -> float:
        return 0.0

    def coefficients(self, rates: Array, steps: NDArray[np.int64]) -> Array:
        return np.column_stack([super().coefficients(rates, steps), 1.0 - rates * self.weight_decay])


@register
@dataclass(frozen=True)
class LBFGS(Optimizer):
    """Limited-memory BFGS on the whole batch, by ``scipy.optimize``; a pass is an iteration.

    For small data and smooth losses, where it needs far fewer passes than any other. It chooses its own
    steps: `epsilon` and a schedule have no meaning for it. (Liu & Nocedal, "On the limited memory BFGS
    method for large scale optimization", 1989.)

    Parameters
    ----------
    maxcor : int, default 10
        Corrections that are kept.
    ftol : float, default 1e-9
        It ends when the loss falls by less than this share.
    gtol : float, default 1e-5
        It ends when no derivative is larger.
    maxls : int, default 20
        Evaluations of a line search at the most.
    maxfun : int, optional
        Evaluations in all at the most. By default what the passes may need.

    Raises
    ------
    ValueError
        For numbers out of their range.

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

    name: ClassVar[str] = "lbfgs"

    maxcor: int = 10
    ftol: float = 1e-9
    gtol: float = 1e-5
    maxls: int = 20
    maxfun: int | None = None

    def __post_init__(self) -> None:
        store_checked(
            self,
            maxcor=check_count(self.maxcor, "maxcor", 1),
            ftol=check_number(self.ftol, "ftol", 0.0),
            gtol=check_number(self.gtol, "gtol", 0.0),
            maxls=check_count(self.maxls, "maxls", 1),
            maxfun=None if self.maxfun is None else check_count(self.maxfun, "maxfun", 1),
        )


def resolve_optimizer(optimizer: Any) -> Optimizer:
    """Return the optimizer that a user gave as an object or by its name.

    Raises
    ------
    ValueError
        For anything else.
    """
    return resolve(optimizer, "optimizer", Optimizer, OPTIMIZERS)
