"""Schedules: how the learning rate changes from one optimization step to the next.

A schedule returns the *factor* by which ``epsilon`` is multiplied at every step of a run. NumPy computes
the factors of thousands of steps in one call, and the compiled loop reads them.

A length is an int, which counts steps, or a float above 0 and at most 1, which is a fraction of the run:
``1`` is one step and ``1.0`` is the whole run. A fraction shorter than a step counts as one step. Only
`WarmUp` rounds fractions to whole steps. Elsewhere three thirds of 100 steps, rounded to 33 each, would end
one step early, and a fourth period would begin at the last step.

Every schedule raises ValueError for an argument out of its range. To add a schedule, write a class with a
field for every argument, decorate it with `register`, and add it to ``__all__``.
"""

from __future__ import annotations

import abc
import functools
import inspect
import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .system.validation import (
    check_count,
    check_fields,
    check_flag,
    check_number,
    check_positive_count,
    check_rate,
    make_field,
    register,
    resolve,
    short_repr,
)

__all__ = [
    "Constant",
    "CosineDecay",
    "CosineLog",
    "ExponentialDecay",
    "InverseTimeDecay",
    "OneCycle",
    "StepDecay",
    "WarmUp",
]

# Tolerance for rounding errors in the number of elapsed periods: three tenths of a run of 10 steps are
# 3.0000000000000004 steps in floating point, and the next period must still begin at step 3.
ROUNDING = 1e-9


class Schedule(abc.ABC):
    """Base class of the schedules: a subclass implements `factors`.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import numpy as np; from fastnn.schedules import Schedule
    >>> @dataclass(frozen=True)
    ... class Linear(Schedule):
    ...     def factors(self, steps, total):
    ...         return 1 - steps / total
    >>> Linear().factors(np.arange(4), 4).tolist()
    [1.0, 0.75, 0.5, 0.25]
    """

    @abc.abstractmethod
    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        """Return the factors of the learning rate at some steps of a run.

        Parameters
        ----------
        steps : array of int64, shape (n,)
            Steps, counted from 0, in any order.
        total : int
            Number of steps of the whole run, at least 1.

        Returns
        -------
        array of float64, shape (n,)
            Factors, finite and at least 0.
        """

    def __post_init__(self) -> None:
        check_fields(self)


# Registry of the schedules: classes by name.
SCHEDULES: dict[str, type[Schedule]] = {}


@dataclass(frozen=True)
class FunctionSchedule(Schedule):
    """A schedule defined by a function of the step, or of the step and the length of the run.

    Parameters
    ----------
    function : callable
        Function ``function(step)`` of a step, an int counted from 0, that returns the factor, a finite number
        not below 0. A function with two parameters without defaults, or with a second parameter named
        `total`, is called as ``function(step, total)``; `total` is the number of steps of the run. The factor
        must depend on these arguments alone: the function is called for steps in any order, and more than
        once for the same step.

    Raises
    ------
    ValueError
        If `function` is not a function of these arguments. `factors` raises the error if the function returns
        an invalid factor.

    Notes
    -----
    A pickle holds a function by the name of its module and its own name. A lambda, or a function defined
    within another one, has no such name, and pickle raises a PicklingError, also for models and estimators
    with the schedule: define the function at the top level of a module, or use cloudpickle.
    """

    function: Callable[..., float]

    def __post_init__(self) -> None:
        # A class is callable too, but its instances are not factors: refuse classes.
        if isinstance(self.function, type) or not self._n_arguments:
            raise ValueError(
                "function must take a step and return the factor of the learning rate, got "
                f"{short_repr(self.function)}: write, for instance, lambda step: 0.999**step"
            )

    @functools.cached_property
    def _n_arguments(self) -> int:
        return _count_arguments(self.function)

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        more = (total,) if self._n_arguments == 2 else ()
        return np.array(
            [
                check_rate(self.function(step, *more), f"the schedule's factor at step {step}")
                for step in steps.tolist()
            ],
            np.float64,
        )


def _count_arguments(function: Any) -> int:
    """Return 2 for a function of the step and the number of steps, 1 for one of the step, 0 for others."""
    if not callable(function):
        return 0
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C have no signature
        return 1
    positional = [
        p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    takes_total = len(positional) > 1 and (
        positional[1].default is signature.empty or positional[1].name == "total"
    )
    try:
        signature.bind(*range(1 + takes_total))
    except TypeError:
        return 0
    return 1 + takes_total


def resolve_schedule(spec: Any, name: str = "schedule") -> Schedule:
    """Return the schedule for an argument that is a schedule, the name of one, or a function.

    A name in `SCHEDULES` stands for the schedule with its defaults. A function of the step, counted from 0,
    or of the step and the number of steps, that returns the factor becomes a `FunctionSchedule`. Anything
    else is a ValueError, whose message calls the argument `name`.
    """
    if callable(spec) and not isinstance(spec, type | Schedule):
        return FunctionSchedule(spec)
    also = "a function of the step"
    return resolve(spec, name, Schedule, SCHEDULES, also)  # type: ignore[type-abstract]


# --- lengths and curves ------------------------------------------------------------------------------


def _check_length(value: Any, name: str) -> float:
    """Return a length: an int, which counts steps, or a float above 0, which is a fraction of the run."""
    try:
        if isinstance(value, numbers.Integral):
            return check_count(value, name, 1)
        return check_number(value, name, 0, 1, exclusive_start=True)
    except ValueError:
        raise ValueError(
            f"{name} must be an int of at least 1, in steps, or a float above 0 and at most 1, "
            f"a fraction of the run, got {short_repr(value)}: write 100 for a hundred steps, 0.1 for a "
            "tenth of the run"
        ) from None


_check_factor = partial(check_number, least=0, most=1, exclusive_start=True)
_check_gamma = partial(_check_factor, remedy="for a rate that grows pass a function of the step")
_check_peak = partial(_check_factor, remedy="it is a fraction of the run, 0.3 by default")
_check_divisor = partial(check_number, least=1, remedy="the learning rate is divided by it")


def _count_steps(length: float, total: int) -> float:
    """Convert a checked length to steps, at least one and not rounded, for a run of `total` steps."""
    return length if isinstance(length, int) else max(1.0, length * total)


def _compute_cosine_fall(progress: NDArray[np.float64], end: float) -> NDArray[np.float64]:
    """Return the half cosine that falls from 1 to `end` as `progress` rises from 0 to 1."""
    return end + (1 - end) * (1 + np.cos(np.pi * progress)) / 2


# --- schedules ---------------------------------------------------------------------------------------


@register(SCHEDULES, "constant")
class Constant(Schedule):
    """A constant learning rate: the factor is 1 at every step.

    Examples
    --------
    >>> import numpy as np; from fastnn.schedules import Constant
    >>> Constant().factors(np.arange(3), 3).tolist()
    [1.0, 1.0, 1.0]
    """

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        return np.ones(steps.shape)


@register(SCHEDULES, "step_decay")
class StepDecay(Schedule):
    """A rate that is multiplied by gamma at regular steps: ``gamma ** floor(step / step_size)``.

    Parameters
    ----------
    step_size : int or float, default 1/3
        Length from one fall to the next: an int counts steps, a float is a fraction of the run.
    gamma : float, default 0.1
        Factor by which the rate is multiplied at every fall, above 0 and at most 1.

    Notes
    -----
    The rule is ``torch.optim.lr_scheduler.StepLR``'s. The default, three rates of which each is a tenth
    of the one before, follows Krizhevsky, Sutskever & Hinton (2012), "ImageNet classification with deep
    convolutional neural networks", section 5, who chose the steps by hand.

    Examples
    --------
    >>> import numpy as np; from fastnn.schedules import StepDecay
    >>> StepDecay(step_size=2, gamma=0.5).factors(np.arange(6), 6).tolist()
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    step_size: float = make_field(_check_length, default=1 / 3)
    gamma: float = make_field(_check_gamma, default=0.1)

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        return self.gamma ** np.floor(steps / _count_steps(self.step_size, total) + ROUNDING)


@register(SCHEDULES, "exponential_decay")
class ExponentialDecay(Schedule):
    """A rate that falls by the same proportion at every step: ``gamma ** (step / decay_steps)``.

    Parameters
    ----------
    decay_steps : int or float, default 1.0
        Length after which the factor is `gamma`: an int counts steps, a float is a fraction of the run.
    gamma : float, default 0.1
        Factor after `decay_steps`, above 0 and at most 1.

    Notes
    -----
    The rule is ``optax.exponential_decay``; with ``decay_steps=1`` it is also PyTorch's ``ExponentialLR``.

    Examples
    --------
    >>> import numpy as np; from fastnn.schedules import ExponentialDecay
    >>> ExponentialDecay(decay_steps=2, gamma=0.25).factors(np.arange(4), 4).tolist()
    [1.0, 0.5, 0.25, 0.125]
    """

    decay_steps: float = make_field(_check_length, default=1.0)
    gamma: float = make_field(_check_gamma, default=0.1)

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        return self.gamma ** (steps / _count_steps(self.decay_steps, total))


@register(SCHEDULES, "inverse_time_decay")
class InverseTimeDecay(Schedule):
    """A rate inversely proportional to the time: ``1 / (1 + decay_rate * step / decay_steps)``.

    Parameters
    ----------
    decay_steps : int or float, default 1.0
        Length after which the factor is ``1 / (1 + decay_rate)``: an int counts steps, a float is a fraction
        of the run.
    decay_rate : float, default 9.0
        Strength of the decay, not below 0. The default of 9 ends a run at a tenth of the initial rate, as
        `ExponentialDecay` does by default.

    Notes
    -----
    "Search then converge" of Darken & Moody (1990), "Note on learning rate schedules for stochastic
    optimization"; Bottou (2012), "Stochastic gradient descent tricks", section 5.2.

    Examples
    --------
    >>> import numpy as np; from fastnn.schedules import InverseTimeDecay
    >>> InverseTimeDecay(decay_steps=1, decay_rate=1).factors(np.array([0, 1, 3]), 4).tolist()
    [1.0, 0.5, 0.25]
    """

    decay_steps: float = make_field(_check_length, default=1.0)
    decay_rate: float = make_field(
        partial(check_number, least=0, remedy="9 lowers the rate to a tenth within decay_steps"), default=9.0
    )

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        with np.errstate(over="ignore"):  # the denominator may overflow to infinity: the factor is then 0
            return 1 / (1 + self.decay_rate * (steps / _count_steps(self.decay_steps, total)))


@register(SCHEDULES, "cosine_decay")
class CosineDecay(Schedule):
    """A rate that falls along half a cosine, once or in cycles with warm restarts (SGDR).

    At the fraction p of a cycle the factor is ``minimum + (1 - minimum) * (1 + cos(pi * p)) / 2``.

    Parameters
    ----------
    cycle : int or float, default 1.0
        Length of the first cycle: an int counts steps, a float is a fraction of the run.
    restarts : bool, default False
        True begins a new cycle at the full rate after each cycle; False keeps the factor `minimum` after the
        first cycle.
    growth : float, default 1.0
        Ratio of the lengths of a cycle and the cycle before it, at least 1; without restarts it is 1.
    minimum : float, default 0.0
        Factor at the end of a cycle, from 0 to 1.

    Notes
    -----
    Loshchilov & Hutter (2017), "SGDR: Stochastic gradient descent with warm restarts", section 3, equation 5:
    `cycle` is their T_0 and `growth` their T_mult. For a run of exactly n cycles, choose `cycle` as ``1 / n``
    without growth and as ``(growth - 1) / (growth**n - 1)`` with growth. With ``growth=2``, these are 1/3,
    1/7 and 1/15 for two, three and four cycles.

    Examples
    --------
    >>> import numpy as np; from fastnn.schedules import CosineDecay
    >>> CosineDecay().factors(np.arange(4), 4).round(3).tolist()
    [1.0, 0.854, 0.5, 0.146]
    >>> CosineDecay(cycle=2, restarts=True, growth=2, minimum=0.5).factors(np.arange(6), 6).round(3).tolist()
    [1.0, 0.75, 1.0, 0.927, 0.75, 0.573]
    """

    cycle: float = make_field(_check_length, default=1.0)
    restarts: bool = make_field(check_flag, default=False)
    growth: float = make_field(
        partial(check_number, least=1, remedy="1 keeps the cycles as long as the first"), default=1.0
    )
    minimum: float = make_field(
        partial(check_number, least=0, most=1, remedy="it is a factor of the learning rate, not a rate"),
        default=0.0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.growth != 1 and not self.restarts:
            raise ValueError(
                f"growth is {self.growth!r}, but without restarts there is one cycle: set restarts=True, "
                "or leave growth out"
            )

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        progress = steps / _count_steps(self.cycle, total)
        if self.restarts:
            progress = self._since_restart(progress)
        return _compute_cosine_fall(np.clip(progress, 0, 1), self.minimum)

    def _since_restart(self, elapsed: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the elapsed fraction of the present cycle.

        `elapsed` is the time since the beginning of the run, in units of the first cycle's length.
        """
        if self.growth == 1:
            return elapsed - np.floor(elapsed + ROUNDING)
        # Cap the growth at 2**63: its square does not overflow, and the second cycle already outlasts any
        # run.
        growth = min(self.growth, 2.0**63)
        # Solve the geometric series of the cycles' lengths for the number of finished cycles. For a growth
        # close to 1 the direct formula would lose digits by cancellation: use log1p and expm1.
        log_growth = math.log(growth)
        n_before = np.floor(np.log1p(elapsed * (growth - 1)) / log_growth + ROUNDING)
        begin = np.expm1(n_before * log_growth) / (growth - 1)
        return (elapsed - begin) / np.exp(n_before * log_growth)


@register(SCHEDULES, "cosine_log")
class CosineLog(Schedule):
    """A rate that rises from 0 and falls back to 0 in cycles of doubling length: RealMLP's coslog.

    The factor is ``(1 - cos(2 pi log2(1 + (2^cycles - 1) t))) / 2``, where ``t = (step + 1/2) / total`` is
    the fraction of the run in the middle of a step.

    Parameters
    ----------
    cycles : int, default 4
        Number of cycles, from 1 to 52. The last takes about half of the run.

    Notes
    -----
    "coslog4" of Holzmüller, Grinsztajn & Steinwart (2024), "Better by default: strong pre-tuned MLPs and
    boosted trees on tabular data", section 3. The rate is 0 at the fractions ``(2^k - 1) / (2^cycles - 1)``
    for k = 0 ... cycles, the *valleys*; `valleys` returns those above 0, the ends of the cycles: 1/15, 3/15,
    7/15 and 1 for four cycles. Parameters have settled there, so that a run can be evaluated, and ended, in
    any valley. The authors take the fraction at the beginning of a step: their first step has the rate 0 and
    changes nothing.

    Examples
    --------
    >>> import numpy as np; from fastnn.schedules import CosineLog
    >>> CosineLog(cycles=2).factors(np.arange(6), 6).round(3).tolist()
    [0.718, 0.324, 0.259, 0.984, 0.653, 0.083]
    >>> CosineLog(cycles=2).valleys(6).tolist()
    [2, 6]
    """

    cycles: int = make_field(check_positive_count, default=4)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cycles > 52:  # the first cycle would be shorter than a float's resolution
            raise ValueError(f"cycles must be at most 52, got {self.cycles}: 4 is usual")

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        phase = np.log2(1 + (2**self.cycles - 1) * ((steps + 0.5) / total))
        return (1 - np.cos(2 * np.pi * phase)) / 2

    def valleys(self, total: int) -> NDArray[np.int64]:
        """Return the ends of the cycles in a run, where the rate is 0.

        Parameters
        ----------
        total : int
            Length of the run, at least 1, in steps or any other unit such as epochs.

        Returns
        -------
        array of int64, shape (cycles,)
            Ends of the cycles in the same unit, rounded; the last is `total`.
        """
        ends = np.exp2(np.arange(1, self.cycles + 1)) - 1
        return np.rint(ends * total / ends[-1]).astype(np.int64)


@register(SCHEDULES, "one_cycle")
class OneCycle(Schedule):
    """A rate that rises to its peak and falls to almost nothing, both along half a cosine.

    At the peak the factor is 1 and the learning rate is ``epsilon``, which may be several times as high as a
    constant rate.

    Parameters
    ----------
    pct_start : float, default 0.3
        Position of the peak as a fraction of the run, above 0 and at most 1.
    div_factor : float, default 25.0
        The first factor is ``1 / div_factor``; at least 1.
    final_div_factor : float, default 1e4
        The last factor is the first factor divided by this number; at least 1.

    Notes
    -----
    Smith & Topin (2018), "Super-convergence: very fast training of neural networks using large
    learning rates", section 3. The two cosines, and the names and defaults of the arguments, follow
    ``torch.optim.lr_scheduler.OneCycleLR``. The peak is at step ``pct_start * total - 1``, or at the first
    step if the run is too short for a rise.

    Examples
    --------
    >>> import numpy as np; from fastnn.schedules import OneCycle
    >>> OneCycle(pct_start=0.5, div_factor=5, final_div_factor=2).factors(np.arange(6), 6).round(3).tolist()
    [0.2, 0.6, 1.0, 0.775, 0.325, 0.1]
    """

    pct_start: float = make_field(_check_peak, default=0.3)
    div_factor: float = make_field(_check_divisor, default=25.0)
    final_div_factor: float = make_field(_check_divisor, default=1e4)

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        first = 1 / self.div_factor
        last = first / self.final_div_factor
        peak = _count_steps(self.pct_start, total) - 1
        # If the rise or the fall has no steps, its quotient is 0 or unused: divide by 1 instead of 0.
        rise = np.clip((peak - steps) / (peak or 1.0), 0, 1)
        fall = np.clip((steps - peak) / (total - 1 - peak or 1.0), 0, 1)
        return np.where(steps < peak, _compute_cosine_fall(rise, first), _compute_cosine_fall(fall, last))


@register(SCHEDULES, "warm_up")
class WarmUp(Schedule):
    """A linear warm-up before another schedule: the rate rises to the other schedule's first rate.

    For the other schedule, the run begins at the end of the warm-up: steps count, and fractions are measured,
    from there.

    Parameters
    ----------
    schedule : Schedule, str or callable, default "constant"
        Schedule after the warm-up: an object, a name, or a function of the step.
    length : int or float, default 0.05
        Length of the warm-up: an int counts steps, a float is a fraction of the run and is rounded to whole
        steps.
    start : float, default 0.0
        Fraction of the other schedule's first factor from which the rise begins, from 0 to 1.

    Notes
    -----
    "Gradual warmup" of Goyal et al. (2017), "Accurate, large minibatch SGD: training ImageNet in 1
    hour", section 2.2. The fraction at a step is ``start + (1 - start) * (step + 1) / length``. It counts
    from ``step + 1`` because a first step at rate 0 would change nothing.

    Examples
    --------
    >>> import numpy as np; from fastnn.schedules import StepDecay, WarmUp
    >>> WarmUp(length=4).factors(np.arange(6), 6).tolist()
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    >>> WarmUp(StepDecay(2, gamma=0.5), length=2).factors(np.arange(6), 6).tolist()
    [0.5, 1.0, 1.0, 1.0, 0.5, 0.5]
    """

    schedule: Schedule | str | Callable[..., float] = make_field(resolve_schedule, default="constant")
    length: float = make_field(_check_length, default=0.05)
    start: float = make_field(
        partial(
            check_number, least=0, most=1, remedy="it is a fraction of the factor that the warm-up rises to"
        ),
        default=0.0,
    )

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        length = round(_count_steps(self.length, total))
        rise = np.minimum((steps + 1) / length, 1.0)
        # During the warm-up, `since` is 0: the rise is a fraction of the other schedule's first factor.
        since = np.maximum(steps - length, 0)
        follows = resolve_schedule(self.schedule).factors(since, max(1, total - length))
        return follows * (self.start + (1 - self.start) * rise)
