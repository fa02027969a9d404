"""Schedule, the base class of the schedules, functions as schedules, and the registry."""

from __future__ import annotations

import abc
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..system.validation import check_rate, resolve, shown

__all__ = [
    "DIVISOR",
    "GROWING",
    "ROUNDING",
    "SCHEDULES",
    "FunctionSchedule",
    "Schedule",
    "ScheduleLike",
    "cosine_fall",
    "register",
    "resolve_schedule",
]

# Tolerance for rounding errors in the number of elapsed periods: three tenths of a run of 10 steps are
# 3.0000000000000004 steps in floating point, and the next period must still begin at step 3.
ROUNDING = 1e-9
# Advice that ends the error messages for rising factors and for divisors.
GROWING, DIVISOR = "for a rate that grows pass a function of the step", "the learning rate is divided by it"


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


# Types that `resolve_schedule` accepts.
ScheduleLike = Schedule | str | Callable[..., float]

# Registry of the schedules: classes by name, filled by `register`.
SCHEDULES: dict[str, type[Schedule]] = {}

_ScheduleClass = TypeVar("_ScheduleClass", bound=type[Schedule])


def register(schedule: _ScheduleClass) -> _ScheduleClass:
    """Add a schedule class to `SCHEDULES` under its name in snake case, and return the class."""
    schedule.__module__ = __package__  # pickles name the public place, wherever the file of the class is
    SCHEDULES[re.sub(r"(?<!^)(?=[A-Z])", "_", schedule.__name__).lower()] = schedule
    return schedule


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
        if isinstance(self.function, type) or not _takes_steps(self.function):
            raise ValueError(
                "function must take a step and return the factor of the learning rate, got "
                f"{shown(self.function)}: write, for instance, lambda step: 0.999**step"
            )

    def factors(self, steps: NDArray[np.int64], total: int) -> NDArray[np.float64]:
        more = (total,) if _takes_total(self.function) else ()
        return np.array(
            [
                check_rate(self.function(step, *more), f"the schedule's factor at step {step}")
                for step in steps.tolist()
            ],
            np.float64,
        )


def _takes_steps(function: Any) -> bool:
    """Return True for a function that can be called with a step, or with a step and the number of steps."""
    if not callable(function):
        return False
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions written in C have no signature
        return True
    try:
        signature.bind(*(0, 1)[: 1 + _takes_total(function)])
    except TypeError:
        return False
    return True


def _takes_total(function: Callable[..., float]) -> bool:
    """Return True if a schedule's function also takes the number of steps of the run."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some functions written in C have no signature
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(positional) > 1 and (
        positional[1].default is inspect.Parameter.empty or positional[1].name == "total"
    )


def resolve_schedule(spec: Any, name: str = "schedule") -> Schedule:
    """Return the schedule for an argument that is a schedule, the name of one, or a function.

    Parameters
    ----------
    spec : Schedule, str or callable
        A schedule; a name in `SCHEDULES`, which stands for the schedule with its defaults; or a function of
        the step, counted from 0, or of the step and the number of steps, that returns the factor.
    name : str, default "schedule"
        Name of the argument in error messages.

    Returns
    -------
    Schedule
        The argument itself, an object of the named class, or a `FunctionSchedule`.

    Raises
    ------
    ValueError
        If `spec` is anything else.
    """
    if callable(spec) and not isinstance(spec, type | Schedule):
        return FunctionSchedule(spec)
    also = "a function of the step"
    return resolve(spec, name, Schedule, SCHEDULES, also)  # type: ignore[type-abstract]


def cosine_fall(progress: NDArray[np.float64], end: float) -> NDArray[np.float64]:
    """Return the half cosine that falls from 1 to `end` as `progress` rises from 0 to 1."""
    return end + (1 - end) * (1 + np.cos(np.pi * progress)) / 2
