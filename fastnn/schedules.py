"""Schedules: how the learning rate changes from one optimization step to the next.

A schedule gives the *factor* of ``epsilon`` at every step of a run. Factors of thousands of steps are
computed at once and read by the compiled loop, so that a schedule in plain NumPy costs nothing there.

A length is an int, a number of steps, or a float above 0 and at most 1, a fraction of the run: ``1`` is
one step and ``1.0`` is the run. A fraction is at least one step. Only `WarmUp` rounds fractions to whole
steps: three rounded thirds of 100 steps would end one step early, and the last step of a run would begin
another period, with a warm restart at the full rate.

Every schedule raises ValueError for an argument out of its range.

To add a schedule: a frozen dataclass with a default for every argument, entered in `SCHEDULES`.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .system.lengths import check_bounded, check_fraction, check_length, in_steps
from .system.validation import check_rate, resolve, shown, store_checked

__all__ = [
    "Constant",
    "CosineDecay",
    "ExponentialDecay",
    "InverseTimeDecay",
    "OneCycle",
    "StepDecay",
    "WarmUp",
]

# Rounding error of a period that is ignored: three tenths of a run of 10 steps are 3.0000000000000004 steps
# in floating point, and the next period still begins at step 3.
ROUNDING = 1e-9
# Remedies in error messages.
GROWING, DIVISOR = "for a rate that grows pass a function of the step", "the learning rate is divided by it"


class Schedule(abc.ABC):
    """Base class of the schedules: a subclass gives the formula.

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
        """Return the factors of the learning rate at steps of a run.

        Parameters
        ----------
        steps : array of int64, shape (n,)
            Steps, counted from 0, in any order.
        total : int
            Number of steps of the whole run, at least 1.

        Returns
        -------
        array of float64, shape (n,)
            Factors, finite and not below 0.
        """


# Types of an argument that names a schedule, for `resolve_schedule`.
ScheduleLike = Schedule | str | Callable[[int], float]


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class StepDecay(Schedule):
    """A rate that falls to a fraction of itself at regular steps: ``gamma ** floor(step / step_size)``.

    Parameters
    ----------
    step_size : int or float, default 1/3
        Length between two falls: an int in steps, a float as a fraction of the run.
    gamma : float, default 0.1
        Factor of every fall, above 0 and at most 1.

    Notes
    -----
    The rule of ``torch.optim.lr_scheduler.StepLR``. Three rates, each a tenth of the one before, are those
    of Krizhevsky, Sutskever & Hinton (2012), "ImageNet classification with deep convolutional neural
    networks", section 5, who set the steps by hand.

    Examples
    --------
    >>> import numpy as np; from fastnn.schedules import StepDecay
    >>> StepDecay(step_size=2, gamma=0.5).factors(np.arange(6), 6).tolist()
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """

    step_size: float = 1 / 3
    gamma: float = 0.1

    def __post_init__(self) -> None:
        """Check the arguments."""
        store_checked(
            self,
            step_size=check_length(self.step_size, "step_size"),
            gamma=check_fraction(self.gamma, "gamma", GROWING),
        )

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        return self.gamma ** np.floor(steps / in_steps(self.step_size, total) + ROUNDING)


@dataclass(frozen=True)
class ExponentialDecay(Schedule):
    """A rate that falls by the same proportion at every step: ``gamma ** (step / decay_steps)``.

    Parameters
    ----------
    decay_steps : int or float, default 1.0
        Length of a fall to `gamma`: an int in steps, a float as a fraction of the run.
    gamma : float, default 0.1
        The factor after `decay_steps`, above 0 and at most 1.

    Notes
    -----
    The rule of ``optax.exponential_decay``, and of PyTorch's ``ExponentialLR`` with ``decay_steps=1``.

    Examples
    --------
    >>> import numpy as np; from fastnn.schedules import ExponentialDecay
    >>> ExponentialDecay(decay_steps=2, gamma=0.25).factors(np.arange(4), 4).tolist()
    [1.0, 0.5, 0.25, 0.125]
    """

    decay_steps: float = 1.0
    gamma: float = 0.1

    def __post_init__(self) -> None:
        """Check the arguments."""
        store_checked(
            self,
            decay_steps=check_length(self.decay_steps, "decay_steps"),
            gamma=check_fraction(self.gamma, "gamma", GROWING),
        )

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        return self.gamma ** (steps / in_steps(self.decay_steps, total))


@dataclass(frozen=True)
class InverseTimeDecay(Schedule):
    """A rate that falls as one over the time: ``1 / (1 + decay_rate * step / decay_steps)``.

    Parameters
    ----------
    decay_steps : int or float, default 1.0
        Length of a fall to ``1 / (1 + decay_rate)``: an int in steps, a float as a fraction of the run.
    decay_rate : float, default 9.0
        Depth of that fall, not below 0. By default a run ends at a tenth of the rate, as with
        `ExponentialDecay`.

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

    decay_steps: float = 1.0
    decay_rate: float = 9.0

    def __post_init__(self) -> None:
        """Check the arguments."""
        store_checked(
            self,
            decay_steps=check_length(self.decay_steps, "decay_steps"),
            decay_rate=check_bounded(
                self.decay_rate, "decay_rate", 0, math.inf, "9 ends decay_steps at a tenth"
            ),
        )

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        with np.errstate(over="ignore"):  # one over infinity is the 0 it should be
            return 1 / (1 + self.decay_rate * (steps / in_steps(self.decay_steps, total)))


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """A rate that falls along half a cosine, once or in cycles that start anew (SGDR).

    At the fraction p of a cycle the factor is ``minimum + (1 - minimum) * (1 + cos(pi * p)) / 2``.

    Parameters
    ----------
    cycle : int or float, default 1.0
        Length of the first cycle: an int in steps, a float as a fraction of the run.
    restarts : bool, default False
        True begins another cycle at the full rate after each; False stays at `minimum` after the first.
    growth : float, default 1.0
        Factor of the length from one cycle to the next, at least 1.
    minimum : float, default 0.0
        The factor at the end of a cycle, from 0 to 1.

    Raises
    ------
    ValueError
        If an argument is out of its range, and for a `growth` without `restarts`.

    Notes
    -----
    Loshchilov & Hutter (2017), "SGDR: Stochastic gradient descent with warm restarts", section 3,
    equation 5: `cycle` is their T_0 and `growth` their T_mult. A run ends with the end of a cycle
    where the cycle is ``1 / n`` of it without growth, and ``(growth - 1) / (growth**n - 1)`` with it:
    1/3, 1/7 and 1/15 for two, three and four cycles, each twice as long as the one before.

    Examples
    --------
    >>> import numpy as np; from fastnn.schedules import CosineDecay
    >>> CosineDecay().factors(np.arange(4), 4).round(3).tolist()
    [1.0, 0.854, 0.5, 0.146]
    >>> CosineDecay(cycle=2, restarts=True, growth=2, minimum=0.5).factors(np.arange(6), 6).round(3).tolist()
    [1.0, 0.75, 1.0, 0.927, 0.75, 0.573]
    """

    cycle: float = 1.0
    restarts: bool = False
    growth: float = 1.0
    minimum: float = 0.0

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not isinstance(self.restarts, (bool, np.bool_)):
            raise ValueError(
                f"restarts must be True or False, got {shown(self.restarts)}: how many restarts there are "
                "follows from cycle and growth"
            )
        store_checked(
            self,
            cycle=check_length(self.cycle, "cycle"),
            restarts=bool(self.restarts),
            growth=check_bounded(
                self.growth, "growth", 1, math.inf, "1 keeps the cycles as long as the first"
            ),
            minimum=check_bounded(
                self.minimum, "minimum", 0, 1, "it is a factor of the learning rate, not a rate"
            ),
        )
        if self.growth != 1 and not self.restarts:
            raise ValueError(
                f"growth is {self.growth!r}, but without restarts there is one cycle: set restarts=True, "
                "or leave growth out"
            )

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        progress = steps / in_steps(self.cycle, total)
        if self.restarts:
            progress = self._since_restart(progress)
        return _cosine_fall(np.clip(progress, 0, 1), self.minimum)

    def _since_restart(self, elapsed: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the fraction of the present cycle that has passed, of a time in first cycles."""
        if self.growth == 1:
            return elapsed - np.floor(elapsed + ROUNDING)
        # The square of 2**63 does not overflow, and a second cycle longer than any run is long enough.
        growth = min(self.growth, 2.0**63)
        # The geometric series of the cycles' lengths, solved for the cycle. A growth close to 1 cancels
        # digits: log1p and expm1 keep them.
        log_growth = math.log(growth)
        n_before = np.floor(np.log1p(elapsed * (growth - 1)) / log_growth + ROUNDING)
        begin = np.expm1(n_before * log_growth) / (growth - 1)
        return (elapsed - begin) / np.exp(n_before * log_growth)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """A rate that rises to its peak and falls to almost nothing, both along half a cosine.

    ``epsilon`` is the peak, the factor 1. It can be several times what a constant rate can be.

    Parameters
    ----------
    pct_start : float, default 0.3
        Position of the peak, a fraction of the run, above 0 and at most 1.
    div_factor : float, default 25.0
        The first factor is ``1 / div_factor``. At least 1.
    final_div_factor : float, default 1e4
        The last factor is the first divided by this number, at least 1.

    Notes
    -----
    Smith & Topin (2018), "Super-convergence: very fast training of neural networks using large
    learning rates", section 3, with the two cosines of ``torch.optim.lr_scheduler.OneCycleLR``, whose
    names and defaults the arguments have. The peak is at step ``pct_start * total - 1``; of a run too
    short for a rise it is the first step.

    Examples
    --------
    >>> import numpy as np; from fastnn.schedules import OneCycle
    >>> OneCycle(pct_start=0.5, div_factor=5, final_div_factor=2).factors(np.arange(6), 6).round(3).tolist()
    [0.2, 0.6, 1.0, 0.775, 0.325, 0.1]
    """

    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4

    def __post_init__(self) -> None:
        """Check the arguments."""
        store_checked(
            self,
            pct_start=check_fraction(
                self.pct_start, "pct_start", "it is a fraction of the run, 0.3 by default"
            ),
            div_factor=check_bounded(self.div_factor, "div_factor", 1, math.inf, DIVISOR),
            final_div_factor=check_bounded(self.final_div_factor, "final_div_factor", 1, math.inf, DIVISOR),
        )

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        first = 1 / self.div_factor
        last = first / self.final_div_factor
        peak = in_steps(self.pct_start, total) - 1
        # Without steps to rise or to fall in, the quotient is 0 or not used: divide by 1 instead of 0.
        rise = np.clip((peak - steps) / (peak or 1.0), 0, 1)
        fall = np.clip((steps - peak) / (total - 1 - peak or 1.0), 0, 1)
        return np.where(steps < peak, _cosine_fall(rise, first), _cosine_fall(fall, last))


@dataclass(frozen=True)
class WarmUp(Schedule):
    """A rate that rises linearly to the first one of another schedule, which follows.

    The other schedule counts its steps, and takes its fractions, from the end of the warm-up on.

    Parameters
    ----------
    schedule : Schedule, str or callable, default "constant"
        Schedule after the warm-up, as `resolve_schedule` takes it.
    length : int or float, default 0.05
        Length of the warm-up: an int in steps, a float as a fraction of the run, rounded to whole steps.
    start : float, default 0.0
        Start of the rise, from 0 to 1, as a fraction of the other schedule's first factor.

    Notes
    -----
    "Gradual warmup" of Goyal et al. (2017), "Accurate, large minibatch SGD: training ImageNet in 1
    hour", section 2.2. The fraction at a step is ``start + (1 - start) * (step + 1) / length``: with a
    `start` of 0, a step at the start itself would change nothing.

    Examples
    --------
    >>> import numpy as np; from fastnn.schedules import StepDecay, WarmUp
    >>> WarmUp(length=4).factors(np.arange(6), 6).tolist()
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    >>> WarmUp(StepDecay(2, gamma=0.5), length=2).factors(np.arange(6), 6).tolist()
    [0.5, 1.0, 1.0, 1.0, 0.5, 0.5]
    """

    schedule: ScheduleLike = "constant"
    length: float = 0.05
    start: float = 0.0

    def __post_init__(self) -> None:
        """Check the arguments."""
        store_checked(
            self,
            schedule=resolve_schedule(self.schedule),
            length=check_length(self.length, "length"),
            start=check_bounded(
                self.start, "start", 0, 1, "it is a fraction of the factor that the warm-up rises to"
            ),
        )

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        length = round(in_steps(self.length, total))
        rise = np.minimum((steps + 1) / length, 1.0)
        # Up to its end, the warm-up is a fraction of the factor of the schedule's step 0.
        since = np.maximum(steps - length, 0)
        follows = resolve_schedule(self.schedule).factors(since, max(1, total - length))
        return follows * (self.start + (1 - self.start) * rise)


@dataclass(frozen=True)
class FunctionSchedule(Schedule):
    """A schedule given by a function of one step.

    Parameters
    ----------
    function : callable
        Takes a step, an int counted from 0, and returns the factor, a finite number not below 0, which
        must depend on the step alone: steps come in any order, and twice.

    Raises
    ------
    ValueError
        If it is no function; from `factors`, if it returns no such factor.
    """

    function: Callable[[int], float]

    def __post_init__(self) -> None:
        """Check the arguments."""
        # A class is callable, too, but its instances are no factors.
        if not callable(self.function) or isinstance(self.function, type):
            raise ValueError(
                "function must take a step and return the factor of the learning rate, got "
                f"{shown(self.function)}: write, for instance, lambda step: 0.999**step"
            )

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        return np.array(
            [
                check_rate(self.function(step), f"the schedule's factor at step {step}")
                for step in steps.tolist()
            ],
            np.float64,
        )


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "cosine_decay": CosineDecay,
    "exponential_decay": ExponentialDecay,
    "inverse_time_decay": InverseTimeDecay,
    "one_cycle": OneCycle,
    "step_decay": StepDecay,
    "warm_up": WarmUp,
}


def resolve_schedule(spec: Any, name: str = "schedule") -> Schedule:
    """Return the schedule that an argument names.

    Parameters
    ----------
    spec : Schedule, str or callable
        A schedule, the name of one in `SCHEDULES` with its defaults, or a function of the step, counted
        from 0, that returns the factor.
    name : str, default "schedule"
        Name of the argument in error messages.

    Returns
    -------
    Schedule

    Raises
    ------
    ValueError
        If spec is anything else.
    """
    if callable(spec) and not isinstance(spec, type | Schedule):
        return FunctionSchedule(spec)
    also = "a function of the step"
    return resolve(spec, name, Schedule, SCHEDULES, also)  # type: ignore[type-abstract]


def _cosine_fall(progress: NDArray[np.float64], end: float) -> NDArray[np.float64]:
    """Return half a cosine that falls from 1 to `end` while progress goes from 0 to 1."""
    return end + (1 - end) * (1 + np.cos(np.pi * progress)) / 2
